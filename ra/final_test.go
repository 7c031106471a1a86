// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// "the router SHOULD transmit one or more […] final multicast Router Advertisements on the interface with
// a Router Lifetime field of zero." At once: the floor is not kept, which the conformance table states.
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
	for _, ev := range []Event{Tick{}, rsFrom(hostA), SetContent{Content: c}, linkUp, PortUp{}, Stop{Final: true}} {
		wantSent(t, w.step(ev))
	}
}

func TestRA_29_StopForASuccessorIsSilent(t *testing.T) {
	// Not even what expires in this instant, with somebody to be told and the floor in the way.
	e := startWorld(t, half, content(lease(prefixA, 0, 17, 17)))
	e.at(5*time.Second, rsFrom(hostA))
	e.until(16 * time.Second)
	e.now = 17 * time.Second
	wantSent(t, e.step(Stop{}))
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
	a := w.s.Step(boot, SetContent{Content: c})
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
	if again := w.s.Step(boot.Add(time.Second), SetContent{Content: c}); len(again.Notes) != 0 {
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
	a := w.s.Step(boot, SetContent{Content: c})
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

func TestAnnounced(t *testing.T) {
	w := newWorld(t, Config{}, half)
	if a := w.s.Announced(boot); a.RouterLifetime != 0 || a.Prefixes != nil || a.RDNSS != nil {
		t.Errorf("before the first RA: %+v", a)
	}
	c := content(lease(prefixA, 0, 1000, 2000), forever(ulaP))
	c.LinkMTU, c.RDNSS, c.DNSSL = 1420, []netip.Addr{dns2}, []string{"lan.example"}
	w.step(linkUp)
	w.step(SetContent{Content: c})
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
	w.step(SetContent{Content: content(forever(ulaP))})
	want = []AnnouncedPrefix{{Prefix: prefixA, OnLink: true, Autonomous: true, Stale: true, Held: 1990 * time.Second},
		{Prefix: ulaP, OnLink: true, Autonomous: true, Preferred: 2700 * time.Second, Valid: 5400 * time.Second, Held: 5400 * time.Second}}
	if a = w.s.Announced(boot.Add(w.now)); a.RouterLifetime != 0 || !slices.Equal(a.Prefixes, want) || a.RDNSS != nil {
		t.Errorf("after the change: %+v", a)
	}
}
