// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/lifetime"
)

// "In such cases, the router MAY transmit up to MAX_INITIAL_RTR_ADVERTISEMENTS unsolicited
// advertisements, using the same rules as when an interface becomes an advertising interface."
func TestRFC4861_6_2_4_ChangeIsSentThreeTimes(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	wantSent(t, w.at(100*time.Second, SetContent{content(forever(prefixA), forever(prefixB))}), "1m40s ff02::1")
	wantSent(t, w.until(700*time.Second), "1m56s ff02::1", "2m12s ff02::1", "10m57s ff02::1")
}

// The same with the floor: the change waits for it.
func TestRFC4861_6_2_6_ChangeKeepsDistance(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(17*time.Second, SetContent{content(forever(prefixA), forever(prefixB))})
	wantSent(t, w.until(36*time.Second), "19s ff02::1", "35s ff02::1")
	if !w.sent[len(w.sent)-2].has(prefixB) {
		t.Error("the RA at 19 s lacks the new prefix")
	}
}

// Ten changes within a second: one RA for the first, at once, and one for the state at the floor.
func TestManyChangesMakeFewAdvertisements(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(100 * time.Second)
	n := len(w.sent)
	for i := range 10 {
		c := content(forever(prefixA))
		c.LinkMTU = uint32(1400 + i)
		w.at(100*time.Second+time.Duration(i)*100*time.Millisecond, SetContent{c})
	}
	w.until(140 * time.Second)
	wantSent(t, w.sent[n:], "1m40s ff02::1", "1m43s ff02::1", "1m59s ff02::1", "2m15s ff02::1")
	if last := w.sent[n+1].ra; !slices.Contains(last.Options, Option(MTU(1409))) {
		t.Errorf("options at 103 s: %v, want MTU 1409", last.Options)
	}
}

func TestSameContentDoesNothing(t *testing.T) {
	c := content(forever(prefixA))
	c.DNSSL = []string{"Lan.Example."}
	w := startWorld(t, half, c)
	c.DNSSL = []string{"lan.example"}
	w.at(100*time.Second, SetContent{c})
	wantSent(t, w.until(500*time.Second))
}

// "stale … prefixes [are advertised] with both lifetimes 0 and A and L unchanged" (RFC 9096 section
// 3.5), in every RA for as long as a host may hold them.
func TestRFC9096_L13_StalePrefixWithdrawn(t *testing.T) {
	a := forever(prefixA)
	a.OnLink = false // client isolation: to be kept
	w := startWorld(t, seeded(7), content(a))
	w.at(99*time.Second, rsFrom(hostA)) // unicast at 99.x s: hold runs from there
	w.until(100 * time.Second)
	told := w.sent[len(w.sent)-1].at
	ras := w.step(SetContent{content(forever(prefixB))})
	if pio := ras[0].pio(t, prefixA); pio != (PrefixInformation{Prefix: prefixA, Autonomous: true}) {
		t.Errorf("stale option %+v, want 0/0 with A and without L", pio)
	}
	if pio := ras[0].pio(t, prefixB); pio.Valid != 5400 || pio.Preferred != 2700 {
		t.Errorf("new prefix %d/%d in the same RA, want 5400/2700", pio.Valid, pio.Preferred)
	}
	end := told + NDValidLimit
	w.at(end-time.Second, rsFrom(hostA))
	if r := w.until(end - time.Nanosecond); len(r) == 0 || !r[len(r)-1].has(prefixA) {
		t.Errorf("a unicast RA before %v lacks the stale prefix: %v", end, r)
	}
	if n := len(w.s.Announced(boot.Add(w.now)).Prefixes); n != 2 {
		t.Errorf("%d prefixes announced, want 2", n)
	}
	if r := w.at(end, PortUp{}); len(r) != 1 || r[0].has(prefixA) {
		t.Errorf("sent at %v: %v, want one RA without the stale prefix", end, r)
	}
}

func TestRFC9096_L13_PrefixThatComesBackIsActive(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, SetContent{content(forever(prefixB))})
	ras := w.at(200*time.Second, SetContent{content(forever(prefixA))})
	if pio := ras[0].pio(t, prefixA); pio.Valid != 5400 || pio.Preferred != 2700 {
		t.Errorf("prefix that came back has %d/%d", pio.Valid, pio.Preferred)
	}
	if pio := ras[0].pio(t, prefixB); pio.Valid != 0 {
		t.Errorf("the other has %d/%d", pio.Valid, pio.Preferred)
	}
	for _, p := range w.s.Announced(boot.Add(w.now)).Prefixes {
		if p.Stale != (p.Prefix == prefixB) {
			t.Errorf("%v stale: %v", p.Prefix, p.Stale)
		}
	}
}

// The list is bounded: the prefix that hosts forget first is dropped, with a note.
func TestRFC9096_L13_StaleListIsBounded(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	for i := range 40 {
		p := netip.MustParsePrefix(fmt.Sprintf("2001:db8:ff:%x::/64", i))
		w.at(time.Duration(i+1)*10*time.Second, SetContent{content(forever(p))})
	}
	last := w.sent[len(w.sent)-1]
	n := 0
	for _, o := range last.ra.Options {
		if pio, ok := o.(PrefixInformation); ok && pio.Valid == 0 {
			n++
		}
	}
	if n != maxStale {
		t.Errorf("%d stale prefixes, want %d", n, maxStale)
	}
	if last.has(netip.MustParsePrefix("2001:db8:ff:16::/64")) || !last.has(netip.MustParsePrefix("2001:db8:ff:17::/64")) {
		t.Errorf("kept the wrong ones: %v", last.ra.Options)
	}
	if !w.hasNote("too many stale announcements: no longer withdrawn prefix=2001:db8:a::/64") {
		t.Error("no note")
	}
}

// Link down withdraws nothing; only the content does.
func TestRFC9096_L13_CarrierLossMakesNothingStale(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, LinkDown{})
	ras := w.at(105*time.Second, linkUp)
	if pio := ras[0].pio(t, prefixA); pio.Valid != 5400 || pio.Preferred != 2700 {
		t.Errorf("after carrier loss %d/%d", pio.Valid, pio.Preferred)
	}
}

// A prefix lost while the link is down is withdrawn when it is back, even if its time is over.
func TestRFC9096_L13_WithdrawnAfterThePause(t *testing.T) {
	for _, pause := range []time.Duration{time.Minute, 5 * time.Hour} {
		w := startWorld(t, half, content(forever(prefixA)))
		w.at(100*time.Second, LinkDown{})
		w.at(110*time.Second, SetContent{content(forever(prefixB))})
		ras := w.at(110*time.Second+pause, linkUp)
		if pio := ras[0].pio(t, prefixA); pio.Valid != 0 {
			t.Errorf("after %v: %d/%d", pause, pio.Valid, pio.Preferred)
		}
	}
}

// "CE routers […] MUST NOT […] lifetimes that exceed the remaining lifetimes" of the delegation.
func TestRFC9096_L15_NeverMoreThanTheDelegationHas(t *testing.T) {
	w := startWorld(t, seeded(8), content(lease(prefixA, 0, 3000, 7000)))
	ras := append(w.sent[:1:1], w.until(7100*time.Second)...)
	last := PrefixInformation{Valid: 5401, Preferred: 2701}
	for _, r := range ras {
		if r.at >= 7000*time.Second {
			break
		}
		pio := r.pio(t, prefixA)
		left := uint32((7000*time.Second - r.at) / time.Second)
		if pio.Valid != min(left, 5400) || pio.Valid > last.Valid || pio.Preferred > last.Preferred {
			t.Errorf("at %v: %d/%d, %d s left, before %d/%d", r.at, pio.Valid, pio.Preferred, left, last.Valid, last.Preferred)
		}
		last = pio
	}
	i := slices.IndexFunc(ras, func(r sentRA) bool { return r.at == 7000*time.Second })
	if i < 5 {
		t.Fatalf("no RA at 7000 s: %v", ras)
	}
	end := ras[i]
	if pio := end.pio(t, prefixA); pio.Valid != 0 || end.ra.RouterLifetime != 0 {
		t.Errorf("at the end (%v): %d/%d, router lifetime %d", end.at, pio.Valid, pio.Preferred, end.ra.RouterLifetime)
	}
}

// The expiry itself is news: it is told in that instant, not with the next periodic RA.
func TestRFC9096_L15_ExpiryIsToldAtOnce(t *testing.T) {
	w := startWorld(t, half, content(lease(prefixA, 0, 100, 200)))
	ras := w.until(230 * time.Second)
	if pio := ras[2].pio(t, prefixA); ras[2].at != 100*time.Second || pio.Preferred != 0 || pio.Valid != 100 ||
		ras[2].ra.RouterLifetime != 2700 {
		t.Errorf("at %v: %d/%d, router lifetime %d", ras[2].at, pio.Valid, pio.Preferred, ras[2].ra.RouterLifetime)
	}
	wantSent(t, ras, "16s ff02::1", "32s ff02::1", "1m40s ff02::1", "1m56s ff02::1", "2m12s ff02::1",
		"3m20s ff02::1", "3m36s ff02::1")
	if r := ras[5]; r.ra.RouterLifetime != 0 || r.pio(t, prefixA).Valid != 0 {
		t.Errorf("after the end: %v", r.ra)
	}
}

// "the lesser of the remaining preferred lifetime […] and ND_PREFERRED_LIMIT […] ND_VALID_LIMIT".
func TestRFC9096_L16_LifetimesAreCapped(t *testing.T) {
	for _, c := range []struct{ preferred, valid, wantPreferred, wantValid uint32 }{
		{14400, 86400, 2700, 5400},
		{lifetime.Infinity, lifetime.Infinity, 2700, 5400},
		{2700, 5400, 2700, 5400},
		{2699, 5399, 2699, 5399},
		{500, 1000, 500, 1000},
		{0, 1000, 0, 1000}, // deprecated by the server: still valid
		{2000, 1000, 1000, 1000},
		{1, 1, 1, 1},
	} {
		w := startWorld(t, half, content(lease(prefixA, 0, c.preferred, c.valid)))
		pio := w.sent[0].pio(t, prefixA)
		if pio.Preferred != c.wantPreferred || pio.Valid != c.wantValid {
			t.Errorf("%d/%d: advertised %d/%d, want %d/%d", c.valid, c.preferred, pio.Valid, pio.Preferred, c.wantValid, c.wantPreferred)
		}
	}
}

// A static prefix never gets less.
func TestRFC9096_L16_InfiniteLeaseStays(t *testing.T) {
	w := startWorld(t, seeded(9), content(forever(prefixA)))
	for _, r := range w.until(72 * time.Hour) {
		if pio := r.pio(t, prefixA); pio.Valid != 5400 || pio.Preferred != 2700 {
			t.Fatalf("at %v: %d/%d", r.at, pio.Valid, pio.Preferred)
		}
	}
}

// RFC 7084 G-4: without default router on the WAN, "the 'Router Lifetime' field is set to zero".
func TestRFC7084_G4_UplinkDown(t *testing.T) {
	up := content(forever(prefixA))
	up.Preference = High
	down := up
	down.DefaultRouter = false
	w := startWorld(t, half, up)
	if b := w.sent[0].data[0][5]; b != byte(High)<<3 {
		t.Errorf("flags %08b, want preference high", b)
	}
	ras := w.at(100*time.Second, SetContent{down})
	wantSent(t, ras, "1m40s ff02::1")
	if r := ras[0]; r.ra.RouterLifetime != 0 || r.data[0][5] != 0 || r.pio(t, prefixA).Valid != 5400 {
		t.Errorf("uplink down: %+v", r.ra)
	}
	wantSent(t, w.until(130*time.Second), "1m56s ff02::1")
	ras = w.at(140*time.Second, SetContent{up})
	if len(ras) != 1 || ras[0].ra.RouterLifetime != 2700 || ras[0].ra.Preference != High {
		t.Errorf("uplink up again: %+v", ras)
	}
	// It goes on speaking while there is no uplink.
	w.at(200*time.Second, SetContent{down})
	if n := len(w.until(2 * time.Hour)); n < 12 {
		t.Errorf("%d RAs in two hours without uplink", n)
	}
}

// A flapping uplink: multicasts keep the floor, and the last one has the final state.
func TestRFC7084_G4_FlappingUplink(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	w.at(20*time.Second, rsFrom(hostA))
	w.until(100 * time.Second)
	n := len(w.sent)
	for i := range 101 {
		c.DefaultRouter = i%2 == 1
		w.at(100*time.Second+time.Duration(i)*100*time.Millisecond, SetContent{c})
	}
	if got := len(multicasts(w.sent[n:])); got > 4 {
		t.Errorf("%d multicasts in 10 s", got)
	}
	ras := multicasts(w.until(150 * time.Second))
	if len(ras) == 0 || ras[len(ras)-1].ra.RouterLifetime != 0 {
		t.Errorf("final state not told: %v", ras)
	}
}

// RFC 7084 ULA-5: no default router "whenever all of its configured and delegated prefixes are ULA".
func TestCE_2_7_07_OnlyULAIsNoDefaultRouter(t *testing.T) {
	w := startWorld(t, half, content(forever(ulaP)))
	if r := w.sent[0]; r.ra.RouterLifetime != 0 || r.pio(t, ulaP).Valid != 5400 {
		t.Errorf("only ULA: %+v", r.ra)
	}
}

func TestCE_2_7_04_DNSInRA(t *testing.T) {
	c := content(forever(prefixA))
	c.RDNSS, c.DNSSL = []netip.Addr{dns1, dns2}, []string{"lan.example", "example.net"}
	r := startWorld(t, half, c).sent[0]
	for _, a := range c.RDNSS {
		if l, ok := r.server(a); !ok || l != 5400 {
			t.Errorf("server %v: %d, %v", a, l, ok)
		}
	}
	for _, d := range c.DNSSL {
		if l, ok := r.domain(d); !ok || l != 5400 {
			t.Errorf("domain %v: %d, %v", d, l, ok)
		}
	}
}

func TestCE_2_7_05_PrefixChange(t *testing.T) {
	long := netip.MustParsePrefix("2001:db8:a::/60") // another length is another prefix
	w := startWorld(t, half, content(forever(prefixA)))
	r := w.at(100*time.Second, SetContent{content(forever(long))})[0]
	if r.pio(t, prefixA).Valid != 0 || r.pio(t, long).Valid != 5400 {
		t.Errorf("options %v", r.ra.Options)
	}
}

// RFC 8106 section 5.1: "The value of Lifetime SHOULD by default be at least 3 * MaxRtrAdvInterval"; and
// hosts drop less than the router lifetime or 180 s.
func TestRFC8106_5_1_DNSLifetime(t *testing.T) {
	for _, c := range []struct {
		max   time.Duration
		valid uint32
		want  uint32
	}{{0, lifetime.Infinity, 5400}, {0, 86400, 5400}, {0, 4000, 4000}, {0, 100, 2700}, {1800 * time.Second, 100, 5400}} {
		w := newWorld(t, Config{MaxInterval: c.max}, half)
		w.step(linkUp)
		ct := content(lease(prefixA, 0, c.valid, c.valid))
		ct.RDNSS, ct.DNSSL = []netip.Addr{dns2}, []string{"example"}
		w.step(SetContent{ct})
		l1, _ := w.sent[0].server(dns2)
		l2, _ := w.sent[0].domain("example")
		if l1 != c.want || l2 != c.want {
			t.Errorf("Max %v, valid %d: lifetimes %d and %d, want %d", c.max, c.valid, l1, l2, c.want)
		}
	}
}

// "A value of zero means that the RDNSS addresses MUST no longer be used": what hosts may hold is
// withdrawn by name beside the new.
func TestRFC8106_5_1_ReplacedServerIsWithdrawn(t *testing.T) {
	c := content(forever(prefixA))
	c.RDNSS, c.DNSSL = []netip.Addr{dns1}, []string{"old.example", "lan.example"}
	w := startWorld(t, half, c)
	w.until(90 * time.Second)
	c.RDNSS, c.DNSSL = []netip.Addr{dns2}, []string{"lan.example"}
	r := w.at(100*time.Second, SetContent{c})[0]
	if l, ok := r.server(dns1); !ok || l != 0 {
		t.Errorf("old server: %d, %v", l, ok)
	}
	if l, ok := r.server(dns2); !ok || l != 5400 {
		t.Errorf("new server: %d, %v", l, ok)
	}
	if l, ok := r.domain("old.example"); !ok || l != 0 {
		t.Errorf("old domain: %d, %v", l, ok)
	}
	if l, _ := r.domain("lan.example"); l != 5400 {
		t.Errorf("kept domain: %d", l)
	}
	if a := w.s.Announced(boot.Add(w.now)); !slices.Equal(a.RDNSS, []netip.Addr{dns2}) || !slices.Equal(a.DNSSL, []string{"lan.example"}) {
		t.Errorf("Announced %v %v", a.RDNSS, a.DNSSL)
	}
	end := 32*time.Second + NDValidLimit // told last at 32 s
	w.until(end)
	r = w.step(PortUp{})[0]
	if _, ok := r.server(dns1); ok {
		t.Errorf("the old server is still named at %v", end)
	}
	if _, ok := r.domain("old.example"); ok {
		t.Errorf("the old domain is still named at %v", end)
	}
}

// What is taken away goes by unicast at once to those who ever solicited if the floor holds back the
// multicast.
func TestTakenAwayIsToldAtOnce(t *testing.T) {
	base := content(forever(prefixA), forever(prefixB))
	base.RDNSS = []netip.Addr{dns2}
	without := map[string]func(*Content){
		"prefix": func(c *Content) { c.Prefixes = c.Prefixes[:1] },
		"router": func(c *Content) { c.DefaultRouter = false },
		"server": func(c *Content) { c.RDNSS = nil },
		"preferred": func(c *Content) {
			c.Prefixes = []Prefix{forever(prefixA), lease(prefixB, 0, 0, 5000)}
		},
	}
	for name, change := range without {
		w := startWorld(t, half, base)
		w.at(5*time.Second, rsFrom(hostA))
		w.at(6*time.Second, rsFrom(hostB))
		w.until(17 * time.Second)
		c := base
		change(&c)
		ras := w.step(SetContent{c})
		wantSent(t, ras, "17s fe80::a", "17s fe80::b")
		if &ras[0].data[0][0] != &ras[1].data[0][0] {
			t.Errorf("%s: the same RA was built twice", name)
		}
		wantSent(t, w.step(SetContent{c}))
		wantSent(t, w.until(20*time.Second), "19s ff02::1")
		// Given and taken again while the floor holds: those who were told meanwhile hear of it.
		w.at(20*time.Second, SetContent{base})
		w.at(20*time.Second+100*time.Millisecond, SetContent{c})
		if got := w.until(22*time.Second - 1); len(got) != 0 {
			t.Errorf("%s: nobody was told of it, but %v", name, got)
		}
		w.at(25*time.Second, SetContent{c})
		w.until(60 * time.Second)
		w.at(60*time.Second, PortUp{})
		w.at(60*time.Second+100*time.Millisecond, SetContent{base})
		w.at(60*time.Second+200*time.Millisecond, rsFrom(hostA))
		wantSent(t, w.until(61*time.Second), "1m0.45s fe80::a")
		wantSent(t, w.step(SetContent{c}), "1m1s fe80::a", "1m1s fe80::b")
	}
}

// What is given waits for the floor: nothing breaks by it.
func TestGivenWaitsForTheFloor(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(5*time.Second, rsFrom(hostA))
	wantSent(t, w.at(17*time.Second, SetContent{content(forever(prefixA), forever(prefixB))}))
	wantSent(t, w.until(20*time.Second), "19s ff02::1")
}

// A renewal is no news while hosts have enough; a long series of them costs nothing.
func TestRenewalsDoNotAddMulticasts(t *testing.T) {
	w := startWorld(t, seeded(10), content(lease(prefixA, 0, 2700, 5400)))
	for d := 1350 * time.Second; d < 24*time.Hour; d += 1350 * time.Second {
		w.at(d, SetContent{content(lease(prefixA, d, 2700, 5400))})
	}
	if n := len(w.sent); n > 24*8 {
		t.Errorf("%d multicasts a day, want at most %d", n, 24*8)
	}
}

// With a short lease the renewal must reach hosts before they run out.
func TestShortLeaseIsRefreshed(t *testing.T) {
	w := startWorld(t, seeded(11), content(lease(prefixA, 0, 300, 600)))
	until := time.Duration(0) // preferred lifetime as a host has it
	i := 0
	for d := 150 * time.Second; d < 3*time.Hour; d += 150 * time.Second {
		w.at(d, SetContent{content(lease(prefixA, d, 300, 600))})
		for ; i < len(w.sent); i++ {
			r := w.sent[i]
			if until < r.at && i > 0 {
				t.Fatalf("a host's address is deprecated at %v, the next RA comes at %v", until, r.at)
			}
			until = r.at + time.Duration(r.pio(t, prefixA).Preferred)*time.Second
		}
	}
}

// A delegation that was shortened: hosts must not go on with the old promise.
func TestRFC9096_L15_ShortenedDelegationIsTold(t *testing.T) {
	w := startWorld(t, half, content(lease(prefixA, 0, 2700, 5400)))
	r := w.at(100*time.Second, SetContent{content(lease(prefixA, 100*time.Second, 300, 600))})
	wantSent(t, r, "1m40s ff02::1")
	if pio := r[0].pio(t, prefixA); pio.Preferred != 300 || pio.Valid != 600 {
		t.Errorf("%d/%d", pio.Preferred, pio.Valid)
	}
	wantSent(t, w.step(SetContent{content(lease(prefixA, 101*time.Second, 300, 600))}))
	// After its end hosts that heard 5400 may still hold it.
	r = w.at(3000*time.Second, PortUp{})
	if len(r) != 1 || r[0].pio(t, prefixA).Valid != 0 {
		t.Errorf("at 3000 s: %v", r)
	}
}

// Deviates from RFC 4861 section 6.2.6 (the floor), stated in the conformance table. Section 6.2.5: on
// ceasing to advertise, "Router Lifetime field of zero".
func TestRFC4861_6_2_5_FinalAdvertisement(t *testing.T) {
	c := content(forever(prefixA))
	c.RDNSS, c.DNSSL, c.Preference = []netip.Addr{dns2}, []string{"example"}, High
	w := startWorld(t, half, c)
	ras := w.at(17*time.Second, Stop{Final: true}) // 1 s after the last
	wantSent(t, ras, "17s ff02::1")
	r := ras[0]
	if r.ra.RouterLifetime != 0 || r.ra.Preference != Medium {
		t.Errorf("router lifetime %d, preference %d", r.ra.RouterLifetime, r.ra.Preference)
	}
	if pio := r.pio(t, prefixA); pio.Valid != 5400 || pio.Preferred != 2700 {
		t.Errorf("prefix %d/%d: hosts may go on talking to each other", pio.Valid, pio.Preferred)
	}
	if l, ok := r.server(dns2); !ok || l != 0 {
		t.Errorf("server: %d, %v", l, ok)
	}
	if l, ok := r.domain("example"); !ok || l != 0 {
		t.Errorf("domain: %d, %v", l, ok)
	}
	if !w.wake.IsZero() {
		t.Errorf("wake %v after the end", w.wake)
	}
	for _, ev := range []Event{Tick{}, rsFrom(hostA), SetContent{c}, linkUp, PortUp{}, Stop{Final: true}} {
		wantSent(t, w.step(ev))
	}
}

func TestStopForASuccessorIsSilent(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	wantSent(t, w.at(17*time.Second, Stop{}))
	wantSent(t, w.step(Stop{Final: true}))
	if !w.wake.IsZero() {
		t.Errorf("wake %v after the end", w.wake)
	}
}

// Nothing was ever said, or nothing can be said: no last word.
func TestFinalOnlyAfterSomething(t *testing.T) {
	w := startWorld(t, half, Content{})
	wantSent(t, w.step(Stop{Final: true}))
	w = startWorld(t, half, content(forever(prefixA)))
	w.at(time.Second, LinkDown{})
	wantSent(t, w.step(Stop{Final: true}))
}

func TestCE_2_4_16_HeaderFields(t *testing.T) {
	c := content(forever(prefixA))
	c.Managed, c.OtherConfig, c.LinkMTU, c.Preference = true, true, 1420, Low
	ra := startWorld(t, half, c).sent[0].ra
	if ra.CurHopLimit != 64 || !ra.Managed || !ra.OtherConfig || ra.Preference != Low || ra.ReachableTime != 0 ||
		ra.RetransTimer != 0 || ra.RouterLifetime != 2700 {
		t.Errorf("header %+v", ra)
	}
	want := []Option{SourceLinkLayer(ourMAC), MTU(1420),
		PrefixInformation{Prefix: prefixA, OnLink: true, Autonomous: true, Valid: 5400, Preferred: 2700}}
	if !slices.Equal(ra.Options, want) {
		t.Errorf("options %v, want %v", ra.Options, want)
	}
}

// What may not be sent is left out, said once, and does not hide the rest.
func TestRefusedContent(t *testing.T) {
	c := content(forever(prefixA), forever(netip.MustParsePrefix("fe80::/64")), forever(netip.MustParsePrefix("192.0.2.0/24")),
		forever(netip.MustParsePrefix("2001:db8:a::77/64")), forever(netip.MustParsePrefix("ff05::/64")), forever(netip.Prefix{}),
		forever(netip.MustParsePrefix("::/0")), forever(netip.MustParsePrefix("::/64")))
	c.RDNSS = []netip.Addr{dns2, netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("::1"), netip.MustParseAddr("ff02::fb"), {}, dns2}
	c.DNSSL = []string{"a..b", "", ".", "exämple", strings.Repeat("x", 64) + ".example", strings.Repeat("abc.", 70), "ok.example", "OK.example."}
	c.LinkMTU, c.Preference = 1279, Preference(2)
	w := newWorld(t, Config{}, half)
	w.step(linkUp)
	a := w.s.Step(boot, SetContent{c})
	ra, _, drop := ParseRA(ourLL, 255, a.Send[0].Data)
	want := []Option{SourceLinkLayer(ourMAC), PrefixInformation{Prefix: prefixA, OnLink: true, Autonomous: true, Valid: 5400, Preferred: 2700}}
	if drop != Accepted || len(ra.Options) != 4 || !slices.Equal(ra.Options[:2], want) || ra.Preference != Medium {
		t.Errorf("RA %v %+v", drop, ra)
	}
	if got := ra.Options[2].(RDNSS).Servers; !slices.Equal(got, []netip.Addr{dns2}) {
		t.Errorf("servers %v", got)
	}
	if got := ra.Options[3].(DNSSL).Domains; !slices.Equal(got, []string{"ok.example"}) {
		t.Errorf("domains %v", got)
	}
	if n := len(a.Notes); n != 1+7+4+6+2 { // MTU, prefixes, servers, domains, two of Info
		t.Errorf("%d notes: %v", n, a.Notes)
	}
	if again := w.s.Step(boot.Add(time.Second), SetContent{c}); len(again.Notes) != 0 {
		t.Errorf("said again: %v", again.Notes)
	}
}

// More content than one packet takes: several, each with header and link-layer address, prefixes first.
func TestRFC6980_5_ManyOptionsInSeveralPackets(t *testing.T) {
	var c Content
	c.DefaultRouter, c.LinkMTU = true, 1420
	for i := range 80 {
		c.Prefixes = append(c.Prefixes, forever(netip.MustParsePrefix(fmt.Sprintf("2001:db8:1:%x::/64", i))))
		c.RDNSS = append(c.RDNSS, netip.MustParseAddr(fmt.Sprintf("2001:db8:53::%x", i+1)))
		c.DNSSL = append(c.DNSSL, strings.Repeat("a-long-label.", 15)+fmt.Sprintf("s%d.example", i))
	}
	w := newWorld(t, Config{}, half)
	w.step(linkUp)
	a := w.s.Step(boot, SetContent{c})
	var prefixes, servers, domains int
	for i, d := range a.Send {
		ra, problems, drop := ParseRA(ourLL, 255, d.Data)
		if drop != Accepted || len(problems) != 0 || len(d.Data) > 1240 || d.To != AllNodes || ra.RouterLifetime != 2700 {
			t.Fatalf("packet %d: %v %v, %d octets to %v", i, drop, problems, len(d.Data), d.To)
		}
		if ra.Options[0] != Option(SourceLinkLayer(ourMAC)) {
			t.Errorf("packet %d begins with %v", i, ra.Options[0])
		}
		for _, o := range ra.Options[1:] {
			switch o := o.(type) {
			case PrefixInformation:
				prefixes++
				if servers+domains > 0 {
					t.Error("a prefix after DNS")
				}
			case RDNSS:
				servers += len(o.Servers)
			case DNSSL:
				domains += len(o.Domains)
			}
		}
	}
	if prefixes != maxPrefixes || servers != maxServers || domains != maxDomains {
		t.Errorf("%d prefixes, %d servers, %d domains", prefixes, servers, domains)
	}
	if st := w.s.Stats(); st.Sent != uint64(len(a.Send)) || st.Multicast != st.Sent {
		t.Errorf("Stats %+v for %d packets", st, len(a.Send))
	}
	if !a.Wake.Equal(boot.Add(16 * time.Second)) {
		t.Errorf("wake %v", a.Wake)
	}
}

// RFC 4861 section 6.2.7: others are looked at, never followed; one line for each.
func TestRFC4861_6_2_7_ForeignRouterIsNoted(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	foreign, _ := RouterAdvertisement{RouterLifetime: 1800, Options: []Option{SourceLinkLayer{0, 0, 0x5e, 0, 0x53, 9}}}.Append(nil)
	for range 3 {
		wantSent(t, w.at(w.now+time.Second, Received{hostB, 255, foreign}))
	}
	if n := len(w.notes); n != 3 || !w.hasNote("another router advertises on this LAN from=fe80::b router_lifetime=1800") {
		t.Errorf("notes %v", w.notes)
	}
	own := w.sent[0].data[0]
	w.step(Received{ourLL.WithZone("br-lan"), 255, own})
	w.step(Received{hostB, 64, own})
	w.step(Received{netip.MustParseAddr("2001:db8::1"), 255, own})
	if st := w.s.Stats(); st.ForeignRAs != 3 || st.Dropped["own message"] != 1 || st.Dropped["hop limit not 255"] != 1 ||
		st.Dropped["wrong source address"] != 1 {
		t.Errorf("Stats %+v", st)
	}
	w.step(Received{ourLL, 255, foreign})
	if !w.hasNote("another router uses our link-local address") {
		t.Errorf("notes %v", w.notes)
	}
	for i := range 100 {
		w.step(Received{netip.MustParseAddr(fmt.Sprintf("fe80::1:%x", i)), 255, foreign})
	}
	if n := len(w.s.routers); n != maxRouters {
		t.Errorf("%d routers remembered, want %d", n, maxRouters)
	}
}

func TestAnnounced(t *testing.T) {
	w := newWorld(t, Config{}, half)
	if a := w.s.Announced(boot); a.RouterLifetime != 0 || a.Prefixes != nil || a.RDNSS != nil {
		t.Errorf("before the first RA: %+v", a)
	}
	c := content(lease(prefixA, 0, 1000, 2000), forever(ulaP))
	c.LinkMTU, c.RDNSS, c.DNSSL = 1420, []netip.Addr{dns2}, []string{"lan.example"}
	w.step(linkUp)
	w.step(SetContent{c})
	w.until(10 * time.Second)
	a := w.s.Announced(boot.Add(w.now))
	if a.RouterLifetime != 2700 || a.LinkMTU != 1420 || !slices.Equal(a.RDNSS, c.RDNSS) || !slices.Equal(a.DNSSL, c.DNSSL) {
		t.Errorf("%+v", a)
	}
	want := []AnnouncedPrefix{
		{Prefix: prefixA, OnLink: true, Autonomous: true, Preferred: 990 * time.Second, Valid: 1990 * time.Second, Held: 1990 * time.Second},
		{Prefix: ulaP, OnLink: true, Autonomous: true, Preferred: 2690 * time.Second, Valid: 5390 * time.Second, Held: 5390 * time.Second},
	}
	if !slices.Equal(a.Prefixes, want) {
		t.Errorf("prefixes %v, want %v", a.Prefixes, want)
	}
	w.step(SetContent{content(forever(ulaP))})
	want = []AnnouncedPrefix{{Prefix: prefixA, OnLink: true, Autonomous: true, Stale: true, Held: 1990 * time.Second},
		{Prefix: ulaP, OnLink: true, Autonomous: true, Preferred: 2700 * time.Second, Valid: 5400 * time.Second, Held: 5400 * time.Second}}
	if a = w.s.Announced(boot.Add(w.now)); a.RouterLifetime != 0 || !slices.Equal(a.Prefixes, want) || a.RDNSS != nil {
		t.Errorf("after the change: %+v", a)
	}
}
