// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/lifetime"
)

// "In such cases, the router MAY transmit up to MAX_INITIAL_RTR_ADVERTISEMENTS unsolicited
// advertisements, using the same rules as when an interface becomes an advertising interface."
func TestRFC4861_6_2_4_ChangeIsSentThreeTimes(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	wantSent(t, w.at(100*time.Second, SetContent{Content: content(forever(prefixA), forever(prefixB))}), "1m40s ff02::1")
	wantSent(t, w.until(700*time.Second), "1m56s ff02::1", "2m12s ff02::1", "10m57s ff02::1")
}

// The same with the floor: the change waits for it.
func TestRFC4861_6_2_6_ChangeKeepsDistance(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(17*time.Second, SetContent{Content: content(forever(prefixA), forever(prefixB))})
	wantSent(t, w.until(36*time.Second), "19s ff02::1", "35s ff02::1")
	if !w.sent[len(w.sent)-2].has(prefixB) {
		t.Error("the RA at 19 s lacks the new prefix")
	}
}

// Ten changes within a second: one RA for the first, at once, and one for the state at the floor.
func TestRA_15_ManyChangesMakeFewAdvertisements(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(100 * time.Second)
	n := len(w.sent)
	for i := range 10 {
		c := content(forever(prefixA))
		c.LinkMTU = uint32(1400 + i)
		w.at(100*time.Second+time.Duration(i)*100*time.Millisecond, SetContent{Content: c})
	}
	w.until(140 * time.Second)
	wantSent(t, w.sent[n:], "1m40s ff02::1", "1m43s ff02::1", "1m59s ff02::1", "2m15s ff02::1")
	if last := w.sent[n+1].ra; !slices.Contains(last.Options, Option(MTU(1409))) {
		t.Errorf("options at 103 s: %v, want MTU 1409", last.Options)
	}
}

// Each part of the content is news by itself.
func TestAnyChangeIsTold(t *testing.T) {
	base := content(forever(prefixA))
	for name, change := range map[string]func(*Content){
		"server":     func(c *Content) { c.RDNSS = []netip.Addr{dns2} },
		"domain":     func(c *Content) { c.DNSSL = []string{"lan.example"} },
		"MTU":        func(c *Content) { c.LinkMTU = 1420 },
		"M":          func(c *Content) { c.Managed = true },
		"O":          func(c *Content) { c.OtherConfig = true },
		"preference": func(c *Content) { c.Preference = Low },
		"router":     func(c *Content) { c.DefaultRouter = false },
		"L":          func(c *Content) { c.Prefixes = []Prefix{forever(prefixA)}; c.Prefixes[0].OnLink = false },
		"A":          func(c *Content) { c.Prefixes = []Prefix{forever(prefixA)}; c.Prefixes[0].Autonomous = false },
	} {
		w := startWorld(t, half, base)
		c := base
		change(&c)
		if got := w.at(100*time.Second, SetContent{Content: c}); len(got) != 1 {
			t.Errorf("%s: sent %v", name, got)
		}
	}
}

func TestSameContentDoesNothing(t *testing.T) {
	c := content(forever(prefixA))
	c.DNSSL = []string{"Lan.Example."}
	w := startWorld(t, half, c)
	c.DNSSL = []string{"lan.example"}
	w.at(100*time.Second, SetContent{Content: c})
	wantSent(t, w.until(500*time.Second))
}

// RFC 9096 section 3.5: stale prefixes go out with both lifetimes 0 and the A and L flags unchanged, for
// as long as a host may hold them; in every RA, since sleepers miss single ones.
func TestRFC9096_L13_StalePrefixWithdrawn(t *testing.T) {
	a := forever(prefixA)
	a.OnLink = false // client isolation: to be kept
	w := startWorld(t, seeded(7), content(a))
	w.at(99*time.Second, rsFrom(hostA)) // unicast at 99.x s: hold runs from there
	w.until(100 * time.Second)
	told := w.sent[len(w.sent)-1].at
	ras := w.step(SetContent{Content: content(forever(prefixB))})
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
	w.at(100*time.Second, SetContent{Content: content(forever(prefixB))})
	ras := w.at(200*time.Second, SetContent{Content: content(forever(prefixA))})
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
		w.at(time.Duration(i+1)*10*time.Second, SetContent{Content: content(forever(p))})
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
		w.at(110*time.Second, SetContent{Content: content(forever(prefixB))})
		ras := w.at(110*time.Second+pause, linkUp)
		if pio := ras[0].pio(t, prefixA); pio.Valid != 0 {
			t.Errorf("after %v: %d/%d", pause, pio.Valid, pio.Preferred)
		}
	}
}

// "using lifetimes that exceed the remaining lifetimes of the corresponding prefixes learned on the WAN
// side" is a MUST NOT.
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

// RFC 9096 section 3.4: the lesser of what is left and ND_PREFERRED_LIMIT or ND_VALID_LIMIT.
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
	ras := w.at(100*time.Second, SetContent{Content: down})
	wantSent(t, ras, "1m40s ff02::1")
	if r := ras[0]; r.ra.RouterLifetime != 0 || r.data[0][5] != 0 || r.pio(t, prefixA).Valid != 5400 {
		t.Errorf("uplink down: %+v", r.ra)
	}
	wantSent(t, w.until(130*time.Second), "1m56s ff02::1")
	ras = w.at(140*time.Second, SetContent{Content: up})
	if len(ras) != 1 || ras[0].ra.RouterLifetime != 2700 || ras[0].ra.Preference != High {
		t.Errorf("uplink up again: %+v", ras)
	}
	// It goes on speaking while there is no uplink.
	w.at(200*time.Second, SetContent{Content: down})
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
		w.at(100*time.Second+time.Duration(i)*100*time.Millisecond, SetContent{Content: c})
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
	r := w.at(100*time.Second, SetContent{Content: content(forever(long))})[0]
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
		w.step(SetContent{Content: ct})
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
	r := w.at(100*time.Second, SetContent{Content: c})[0]
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

// What is given waits for the floor: nothing breaks by it.
func TestGivenWaitsForTheFloor(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(5*time.Second, rsFrom(hostA))
	wantSent(t, w.at(17*time.Second, SetContent{Content: content(forever(prefixA), forever(prefixB))}))
	wantSent(t, w.until(20*time.Second), "19s ff02::1")
}

// The multicast said "router", unicast took it back behind the floor, and now it is true again: what the
// last multicast said is what is so, yet hosts were told otherwise since.
func TestBackBehindTheSameFloorIsToldAtOnce(t *testing.T) {
	up := content(forever(prefixA))
	down := up
	down.DefaultRouter = false
	w := startWorld(t, half, up)
	w.at(5*time.Second, rsFrom(hostA))
	w.until(16 * time.Second)
	wantSent(t, w.at(17*time.Second, SetContent{Content: down}), "17s fe80::a")
	wantSent(t, w.at(18*time.Second, SetContent{Content: up}), "18s fe80::a")
	wantSent(t, w.until(20*time.Second), "19s ff02::1")
}

// A renewal is no news while hosts have enough; a long series of them costs nothing.
func TestRenewalsDoNotAddMulticasts(t *testing.T) {
	w := startWorld(t, seeded(10), content(lease(prefixA, 0, 2700, 5400)))
	for d := 1350 * time.Second; d < 24*time.Hour; d += 1350 * time.Second {
		w.at(d, SetContent{Content: content(lease(prefixA, d, 2700, 5400))})
	}
	if n := len(w.sent); n > 24*8 {
		t.Errorf("%d multicasts a day, want at most %d", n, 24*8)
	}
}

// With a short lease the renewal must reach hosts before they run out.
func TestShortLeaseIsRefreshed(t *testing.T) {
	for _, preferred := range []uint32{300, 100, 40, 12} {
		t1 := time.Duration(preferred) * time.Second / 2
		w := startWorld(t, seeded(11), content(lease(prefixA, 0, preferred, 2*preferred)))
		until := time.Duration(0) // preferred lifetime as a host has it
		i := 0
		for d := t1; d < 3*time.Hour; d += t1 {
			w.at(d, SetContent{Content: content(lease(prefixA, d, preferred, 2*preferred))})
			for ; i < len(w.sent); i++ {
				r := w.sent[i]
				if until < r.at && i > 0 {
					t.Fatalf("preferred lifetime %d s: a host's address is deprecated at %v, the next RA comes at %v", preferred, until, r.at)
				}
				until = r.at + time.Duration(r.pio(t, prefixA).Preferred)*time.Second
			}
		}
	}
}

// A delegation that was shortened: hosts must not go on with the old promise.
func TestRFC9096_L15_ShortenedDelegationIsTold(t *testing.T) {
	w := startWorld(t, half, content(lease(prefixA, 0, 2700, 5400)))
	r := w.at(100*time.Second, SetContent{Content: content(lease(prefixA, 100*time.Second, 300, 600))})
	wantSent(t, r, "1m40s ff02::1")
	if pio := r[0].pio(t, prefixA); pio.Preferred != 300 || pio.Valid != 600 {
		t.Errorf("%d/%d", pio.Preferred, pio.Valid)
	}
	wantSent(t, w.step(SetContent{Content: content(lease(prefixA, 101*time.Second, 300, 600))}))
	// After its end hosts that heard 5400 may still hold it.
	r = w.at(3000*time.Second, PortUp{})
	if len(r) != 1 || r[0].pio(t, prefixA).Valid != 0 {
		t.Errorf("at 3000 s: %v", r)
	}
}
