// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/note"
)

var otherMAC = SourceLinkLayer{0, 0, 0x5e, 0, 0x53, 9}

// foreign is an RA of another router, which says of itself what ours would.
func foreign(src netip.Addr, change func(*RouterAdvertisement), opts ...Option) Received {
	m := RouterAdvertisement{CurHopLimit: 64, RouterLifetime: 1800, Options: append([]Option{otherMAC}, opts...)}
	if change != nil {
		change(&m)
	}
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return Received{Src: src, HopLimit: 255, Data: b}
}

func (w *world) routers() []Router { return w.s.Routers(boot.Add(w.now)) }

// Others are looked at, never followed; one line for each. An echo of ours is none, nor what is not valid.
func TestRFC4861_6_2_7_ForeignRouterIsNoted(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	for range 3 {
		wantSent(t, w.at(w.now+time.Second, foreign(hostB, nil, PrefixInformation{Prefix: prefixB, OnLink: true, Valid: 1000})))
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
	want := Router{Addr: hostB, LinkLayer: otherMAC, HasLinkLayer: true, RouterLifetime: 1800, Prefixes: []netip.Prefix{prefixB}, Heard: boot.Add(3 * time.Second)}
	if got := w.routers(); len(got) != 1 || fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if w.s.Clash() != "" {
		t.Error(w.s.Clash())
	}
}

// "[…] Cur Hop Limit values (except for the unspecified value of zero […]). Values of the M
// or O flags. […] Values in the MTU options. Preferred and Valid Lifetimes for the same prefix."
func TestRA_37_Inconsistencies(t *testing.T) {
	same := PrefixInformation{Prefix: prefixA, OnLink: true, Autonomous: true, Valid: 5400, Preferred: 2700}
	box := "advertises our prefix 2001:db8:a::/64: a second box with the same key?"
	for _, c := range []struct {
		name string
		ra   Received
		want []string
	}{
		{"the same", foreign(hostB, nil, MTU(1420)), nil},
		{"nothing said", foreign(hostB, func(m *RouterAdvertisement) { m.CurHopLimit = 0 }), nil},
		{"timers that we leave open", foreign(hostB, func(m *RouterAdvertisement) { m.ReachableTime, m.RetransTimer = 30000, 1000 }), nil},
		{"hop limit", foreign(hostB, func(m *RouterAdvertisement) { m.CurHopLimit = 32 }), []string{"hop limit 32, ours 64"}},
		{"M", foreign(hostB, func(m *RouterAdvertisement) { m.Managed = true }), []string{"M flag 1, ours 0"}},
		{"O", foreign(hostB, func(m *RouterAdvertisement) { m.OtherConfig = true }), []string{"O flag 1, ours 0"}},
		{"MTU", foreign(hostB, nil, MTU(1500)), []string{"MTU 1500, ours 1420"}},
		{"another prefix", foreign(hostB, nil, PrefixInformation{Prefix: prefixB, Valid: 86400, Preferred: 14400}), nil},
		{"our prefix", foreign(hostB, nil, same), []string{box}},
		{"within the skew", foreign(hostB, nil, PrefixInformation{Prefix: prefixA, Valid: 5390, Preferred: 2710}), []string{box}},
		{"beyond the skew", foreign(hostB, nil, PrefixInformation{Prefix: prefixA, Valid: 5389, Preferred: 2711}),
			[]string{box, "2001:db8:a::/64 valid lifetime 5389, ours 5400", "2001:db8:a::/64 preferred lifetime 2711, ours 2700"}},
		{"our prefix withdrawn", foreign(hostB, nil, PrefixInformation{Prefix: prefixA}),
			[]string{"2001:db8:a::/64 valid lifetime 0, ours 5400", "2001:db8:a::/64 preferred lifetime 0, ours 2700"}},
	} {
		ct := content(forever(prefixA))
		ct.LinkMTU = 1420
		w := startWorld(t, half, ct)
		w.until(100 * time.Second)
		before := len(w.notes)
		wantSent(t, w.step(c.ra))
		w.step(c.ra) // said once
		if got := w.routers(); len(got) != 1 || !slices.Equal(got[0].Conflicts, c.want) {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
		notes := w.notes[before:]
		if len(notes) != 1+len(c.want) {
			t.Errorf("%s: notes %v", c.name, notes)
		}
		for _, n := range notes[1:] {
			if n.Level != note.Warn || !strings.Contains(n.Detail(), "from=fe80::b") {
				t.Errorf("%s: %v", c.name, n)
			}
		}
		wantSent(t, w.until(105*time.Second))
		if w.s.truth(boot.Add(w.now)).equal(w.s.said) != true {
			t.Errorf("%s: it changed what we say", c.name)
		}
	}
	w := startWorld(t, half, content(forever(prefixA)))
	w.step(foreign(hostB, nil, same))
	if !w.hasNote("another router advertises our prefix: a second box with the same key? prefix=2001:db8:a::/64 from=fe80::b") {
		t.Errorf("%v", w.notes)
	}
}

// Lifetimes that count down on both sides are the same lifetimes.
func TestRFC4861_6_2_7_DecrementingLifetimes(t *testing.T) {
	w := startWorld(t, half, content(lease(prefixA, 0, 2000, 3000)))
	for i := range 30 {
		at := time.Duration(i) * 60 * time.Second
		w.at(at, foreign(hostB, nil, PrefixInformation{Prefix: prefixA, Valid: 3000 - uint32(i)*60, Preferred: 2000 - uint32(i)*60}))
		if c := w.routers()[0].Conflicts; len(c) != 1 {
			t.Fatalf("at %v: %q", at, c)
		}
	}
}

// A conflict that is over is not shown any more, and said anew if it comes again; one of a prefix that is no longer ours
// is none.
func TestRFC4861_6_2_7_ConflictsEnd(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	bad := foreign(hostB, func(m *RouterAdvertisement) { m.Managed = true }, PrefixInformation{Prefix: prefixA, Valid: 5400, Preferred: 2700})
	w.step(bad)
	n := len(w.notes)
	w.step(foreign(hostB, nil)) // the second half of an RA in two messages
	if c := w.routers()[0].Conflicts; len(c) != 1 || !strings.Contains(c[0], "our prefix") {
		t.Errorf("M flag is over: %q", c)
	}
	w.step(bad)
	if len(w.notes) != n+1 {
		t.Errorf("notes %v", w.notes[n:])
	}
	w.step(SetContent{Content: content(forever(prefixB))})
	w.step(bad)
	if c := w.routers()[0].Conflicts; len(c) != 1 || c[0] != "M flag 1, ours 0" {
		t.Errorf("%q", c)
	}
	silent := newWorld(t, Config{}, half) // who says nothing contradicts nobody
	silent.step(linkUp)
	silent.step(bad)
	if r := silent.routers(); len(r) != 1 || r[0].Conflicts != nil {
		t.Errorf("%+v", r)
	}
}

// The table is bounded, the one not heard for longest makes room, and a flood of forged routers does not fill the log.
func TestRFC4861_6_2_7_TableIsBounded(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	n := len(w.notes)
	for i := range 5000 {
		var pios []Option
		for j := range 30 {
			pios = append(pios, PrefixInformation{Prefix: pfx(fmt.Sprintf("2001:db8:%x:%x::/64", i, j)), Valid: 100})
		}
		w.at(time.Duration(i)*time.Millisecond, foreign(netip.MustParseAddr(fmt.Sprintf("fe80::1:%x", i)), func(m *RouterAdvertisement) { m.Managed = true }, pios...))
		w.step(foreign(hostB, nil))
	}
	r := w.routers()
	if len(r) != maxRouters || !slices.ContainsFunc(r, func(r Router) bool { return r.Addr == hostB }) {
		t.Errorf("%d routers", len(r))
	}
	for _, x := range r {
		if len(x.Prefixes) > maxRouterPrefixes || len(x.Conflicts) > maxConflicts {
			t.Errorf("%+v", x)
		}
	}
	if said := len(w.notes) - n; said > routerNotes+5 {
		t.Errorf("%d notes", said)
	}
	for i := range 30 {
		w.step(SetContent{Content: content(forever(pfx(fmt.Sprintf("2001:db8:1:%x::/64", i))))})
		w.step(foreign(hostB, nil, PrefixInformation{Prefix: pfx(fmt.Sprintf("2001:db8:1:%x::/64", i)), Valid: 1}))
	}
}

// A router is forgotten 90 minutes after its last RA, or with its lifetime, a prefix with its own.
func TestRFC4861_6_2_7_RoutersAreForgotten(t *testing.T) {
	for _, c := range []struct {
		lifetime uint16
		end      time.Duration
	}{{0, 90 * time.Minute}, {1800, 90 * time.Minute}, {9000, 9000 * time.Second}} {
		w := startWorld(t, half, content(forever(prefixA)))
		w.step(foreign(hostB, func(m *RouterAdvertisement) { m.RouterLifetime = c.lifetime }, PrefixInformation{Prefix: prefixB, Valid: 1000}))
		w.until(1000*time.Second - 1)
		if r := w.routers(); len(r[0].Prefixes) != 1 {
			t.Errorf("%+v", r)
		}
		w.until(1000 * time.Second)
		if r := w.routers(); len(r[0].Prefixes) != 0 {
			t.Errorf("%+v", r)
		}
		w.until(c.end - 1)
		if r := w.routers(); len(r) != 1 {
			t.Errorf("lifetime %d: forgotten before %v", c.lifetime, c.end)
		}
		w.until(c.end)
		if r := w.routers(); len(r) != 0 {
			t.Errorf("lifetime %d: %v at %v", c.lifetime, r, c.end)
		}
	}
}

// A node with our link-local address: not a word beside it, also not the last one, until it is not heard any more.
func TestRA_37_AddressClash(t *testing.T) {
	for _, c := range []struct {
		name  string
		ra    Received
		quiet time.Duration
		who   string
	}{
		{"another MAC", foreign(ourLL, nil), 1800 * time.Second, "00:00:5e:00:53:09"},
		{"no MAC", foreign(ourLL, func(m *RouterAdvertisement) { m.Options = nil }), 1800 * time.Second, "unknown"},
		{"for long", foreign(ourLL, func(m *RouterAdvertisement) { m.RouterLifetime = 65535 }), 1800 * time.Second, "00:00:5e:00:53:09"},
		{"for 100 s", foreign(ourLL, func(m *RouterAdvertisement) { m.RouterLifetime = 100 }), 100 * time.Second, "00:00:5e:00:53:09"},
		{"leaves", foreign(ourLL, func(m *RouterAdvertisement) { m.RouterLifetime = 0 }), 30 * time.Second, "00:00:5e:00:53:09"},
	} {
		w := startWorld(t, half, content(forever(prefixA)))
		w.at(50*time.Second, rsFrom(hostA))
		wantSent(t, w.step(c.ra))
		want := "another node uses our link-local address fe80::200:5eff:fe00:5301: MAC " + c.who
		if got := w.s.Clash(); got != want {
			t.Errorf("%s: %q", c.name, got)
		}
		if r := w.routers(); len(r) != 1 || !slices.Contains(r[0].Conflicts, want) {
			t.Errorf("%s: %+v", c.name, r)
		}
		last := w.notes[len(w.notes)-1]
		if last.Level != note.Error || last.Msg != "no router advertisements: another node uses our link-local address" || !strings.Contains(last.Detail(), "mac="+c.who) {
			t.Errorf("%s: %+v", c.name, last)
		}
		w.step(c.ra)
		w.step(rsFrom(hostA))
		w.step(PortUp{})
		w.step(SetContent{Content: content(forever(prefixB))})
		w.step(linkUp)
		if n := len(w.notes); n != 3 {
			t.Errorf("%s: notes %v", c.name, w.notes)
		}
		end := 50*time.Second + c.quiet
		wantSent(t, w.until(end-1))
		wantSent(t, w.until(end), end.String()+" ff02::1")
		if r := w.sent[len(w.sent)-1]; r.pio(t, prefixA).Valid != 0 || r.pio(t, prefixB).Valid != 5400 || w.s.Clash() != "" {
			t.Errorf("%s: %+v, %q", c.name, r, w.s.Clash())
		}
		if !w.hasNote("router advertisements go on") {
			t.Errorf("%s: %v", c.name, w.notes)
		}
	}
}

// Each RA of the other puts the end off; another link-local address of ours ends it at once; the stop for good is silent.
func TestRFC4861_4_2_ClashLastsAndEnds(t *testing.T) {
	clash := foreign(ourLL, nil)
	w := startWorld(t, half, content(forever(prefixA)))
	for i := range 10 {
		wantSent(t, w.at(50*time.Second+time.Duration(i)*600*time.Second, clash))
	}
	wantSent(t, w.at(w.now+time.Second, LinkDown{}))
	wantSent(t, w.at(w.now+time.Second, linkUp))
	other := linkUp
	other.LinkLocal = netip.MustParseAddr("fe80::5")
	if r := w.step(other); len(r) != 1 || w.s.Clash() != "" {
		t.Errorf("sent %v, %q", r, w.s.Clash())
	}
	w = startWorld(t, half, content(forever(prefixA)))
	w.step(clash)
	wantSent(t, w.step(Stop{Final: true}))
	w = startWorld(t, half, content(forever(prefixA)))
	w.step(clash)
	w.step(LinkDown{})
	wantSent(t, w.at(3*time.Hour, linkUp), "3h0m0s ff02::1") // over meanwhile
}

// Found before the first word: none is said.
func TestRFC4861_4_2_ClashBeforeTheFirst(t *testing.T) {
	w := newWorld(t, Config{}, half)
	w.step(linkUp)
	w.step(foreign(ourLL, nil))
	wantSent(t, w.step(SetContent{Content: content(forever(prefixA))}))
	wantSent(t, w.until(1800*time.Second), "30m0s ff02::1")
}

// Our own RA that comes back, also with the MAC that the bridge had a moment ago, is none; nor is one without a MAC where
// we have none.
func TestRFC4861_4_2_EchoIsNoClash(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	echo := Received{ourLL, 255, w.sent[0].data[0]}
	w.step(echo)
	up := linkUp
	up.MAC[5]++
	w.at(50*time.Second, up)
	w.step(echo)
	if w.s.Clash() != "" || len(w.routers()) != 0 {
		t.Errorf("%q %v", w.s.Clash(), w.routers())
	}
	w.at(61*time.Second, echo) // ten seconds later somebody else has it
	if w.s.Clash() == "" {
		t.Error("another node with our old MAC is a clash")
	}
	bare := newWorld(t, Config{}, half)
	bare.step(LinkUp{LinkLocal: ourLL})
	bare.step(SetContent{Content: content(forever(prefixA))})
	bare.step(Received{ourLL, 255, bare.sent[0].data[0]})
	if bare.s.Clash() != "" {
		t.Error(bare.s.Clash())
	}
	bare.step(foreign(ourLL, nil))
	if bare.s.Clash() == "" {
		t.Error("a MAC where we have none is somebody else's")
	}
}

// Who forges clashes for hours makes no more than a few lines of them.
func TestRFC4861_4_2_ForgedClashesAreBounded(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	clash := foreign(ourLL, func(m *RouterAdvertisement) { m.RouterLifetime = 0 })
	for i := range 1000 {
		w.at(time.Duration(i)*31*time.Second, clash)
	}
	n := 0
	for _, x := range w.notes {
		if x.Level == note.Error {
			n++
		}
	}
	if n > clashNotes+31000/600+1 {
		t.Errorf("%d notes of Error in %v", n, w.now)
	}
}
