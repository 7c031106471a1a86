// SPDX-License-Identifier: MIT

package server

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

// poolWorld has one LAN that delegates from one pool.
func poolWorld(t tester, pool, taken string, shortest int) *world {
	return worldWith(t, testConfig, Content{Links: []Link{{Name: "lan", Delegate: true}},
		Pools: []Pool{{Prefix: netip.MustParsePrefix(pool), Taken: prefixes(taken), Shortest: shortest, Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)}}})
}

// Lengths that clients wish: nothing else than 1 to 128 is a length, longer ones than 64 get a /64, shorter ones than the
// pool allows get what it allows.
func TestRFC8168_3_2_PrefixLengthHints(t *testing.T) {
	for _, tc := range []struct {
		pool     string
		shortest int
		hint     int
		want     string
	}{
		{"2001:db8:1::/56", 0, -1, "2001:db8:1:ff::/64"},
		{"2001:db8:1::/56", 0, 0, "2001:db8:1:ff::/64"}, // not a length: as if it were not there
		{"2001:db8:1::/56", 0, 1, "2001:db8:1:f0::/60"},
		{"2001:db8:1::/56", 0, 47, "2001:db8:1:f0::/60"},
		{"2001:db8:1::/56", 0, 56, "2001:db8:1:f0::/60"},
		{"2001:db8:1::/56", 0, 60, "2001:db8:1:f0::/60"},
		{"2001:db8:1::/56", 0, 61, "2001:db8:1:f8::/61"},
		{"2001:db8:1::/56", 0, 64, "2001:db8:1:ff::/64"},
		{"2001:db8:1::/56", 0, 65, "2001:db8:1:ff::/64"},
		{"2001:db8:1::/56", 0, 128, "2001:db8:1:ff::/64"},
		{"2001:db8:1::/56", 0, 129, "2001:db8:1:ff::/64"},
		{"2001:db8:1::/56", 0, 255, "2001:db8:1:ff::/64"},
		{"2001:db8:1::/56", 57, 48, "2001:db8:1:80::/57"},
		{"2001:db8:1::/56", 40, 48, "2001:db8:1::/56"}, // never shorter than the pool
		{"2001:db8:1::/56", 72, 64, "2001:db8:1:ff:ff00::/72"},
		{"2001:db8:1::/62", 0, 48, "2001:db8:1:3::/64"}, // /66 is no LAN
		{"2001:db8:1::/64", 0, -1, "2001:db8:1::/64"},
		{"2001:db8::/32", 0, 48, "2001:db8:ffff::/48"},
		{"2001:db8::/32", 0, 33, "2001:db8:f000::/36"},
	} {
		w := poolWorld(t, tc.pool, "", tc.shortest)
		ev, _ := w.query("request pd1")
		if tc.hint >= 0 {
			ev.Data = withHint(ev.Data, byte(tc.hint), netip.IPv6Unspecified())
		}
		m, _, err := dhcpv6.ParseMessage(w.step(t0, ev).Send[0].Data)
		if want := "reply pd1 " + tc.want + "=2700/5400"; err != nil || dhcpv6test.Text(m) != want {
			t.Errorf("%+v: %s", tc, dhcpv6test.Text(m))
		}
	}
}

// withHint puts an IA Prefix option into the IA_PD that ends the message; our codec would not write every length.
func withHint(data []byte, bits byte, a netip.Addr) []byte {
	i := strings.LastIndex(string(data), "\x00\x19\x00\x0c")
	data = slices.Clone(data)
	data[i+3] += 29
	opt := append([]byte{0, 26, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, bits}, a.AsSlice()...)
	return slices.Insert(data, i+16, opt...)
}

// A wished prefix is given if it is free; else one of its length, else the nearest longer one.
func TestRFC9818_5_1_HINT_IsHonouredWhereThereIsRoom(t *testing.T) {
	w := poolWorld(t, "2001:db8:1::/56", "2001:db8:1::/64", 0)
	w.want("request client=c1 pd1 2001:db8:1:42::/64", "reply pd1 2001:db8:1:42::/64=2700/5400")
	w.want("request client=c2 pd1 2001:db8:1:42::/64", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request client=c3 pd1 2001:db8:1::/64", "reply pd1 2001:db8:1:fe::/64=2700/5400")
	w.want("request client=c4 pd1 2001:db8:1:50::/60", "reply pd1 2001:db8:1:50::/60=2700/5400")
	w.want("request client=c5 pd1 2001:db8:1:50::/60", "reply pd1 2001:db8:1:e0::/60=2700/5400")
	w.want("request client=c6 pd1 2001:db8:1:80::/57", "reply pd1 2001:db8:1:80::/60=2700/5400")
	// No whole /60 is left in a small pool: the nearest that is.
	w = poolWorld(t, "2001:db8:1::/59", "2001:db8:1::/64 2001:db8:1:10::/64", 60)
	w.want("request client=c1 pd1 ::/60", "reply pd1 2001:db8:1:18::/61=2700/5400")
	w.want("request client=c2 pd1 ::/60", "reply pd1 2001:db8:1:8::/61=2700/5400")
	w.want("request client=c3 pd1 ::/60", "reply pd1 2001:db8:1:14::/62=2700/5400")
}

// A bound client keeps its prefix whatever it wishes now; with nothing but a memory, the new wish counts.
func TestRFC8168_3_3_HintOfAClientThatHasAPrefix(t *testing.T) {
	w := poolWorld(t, "2001:db8:1::/56", "", 0)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("renew pd1 2001:db8:1:ff::/64 ::/60", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("release pd1 2001:db8:1:ff::/64", "reply Success")
	w.want("solicit pd1", "advertise pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request pd1 ::/60", "reply pd1 2001:db8:1:f0::/60=2700/5400")
}

// Default is a /64.
func TestRFC9818_5_1_LENGTH_IsSixtyFour(t *testing.T) {
	w := poolWorld(t, "2001:db8::/44", "", 0)
	w.want("solicit pd1", "advertise pd1 2001:db8:f:ffff::/64=2700/5400")
}

// Our own LANs have theirs first: a /64 delegation that the LAN has itself leaves nothing, which is said once.
func TestRFC9818_5_1_EXHAUSTED_IsLoggedOnce(t *testing.T) {
	const msg = "no prefix is left to delegate"
	w := poolWorld(t, "2001:db8:1::/64", "2001:db8:1::/64", 0)
	w.want("solicit pd1", "advertise pd1 NoPrefixAvail")
	if w.noted(msg) != 1 {
		t.Errorf("notes %v", w.act.Notes)
	}
	for range 5 {
		w.want("solicit pd1", "advertise pd1 NoPrefixAvail")
		w.want("request pd1", "reply pd1 NoPrefixAvail")
		if w.noted(msg) != 0 {
			t.Errorf("notes %v", w.act.Notes)
		}
	}
	if w.bound() != "" || len(w.s.bindings) != 0 {
		t.Errorf("bindings of nothing: %s", w.bound())
	}
	// Four routers fit into a /62, the fifth does not; when one leaves, it does, and the next time it is said again.
	w = poolWorld(t, "2001:db8:1::/62", "", 0)
	for i := range 4 {
		w.want(fmt.Sprintf("request client=r%d pd1", i), fmt.Sprintf("reply pd1 2001:db8:1%s::/64=2700/5400", []string{":3", ":2", ":1", ""}[i]))
	}
	w.want("request client=r4 pd1", "reply pd1 NoPrefixAvail")
	if w.noted(msg) != 1 {
		t.Errorf("notes %v", w.act.Notes)
	}
	w.want("release client=r2 pd1 2001:db8:1:1::/64", "reply Success")
	w.want("request client=r4 pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request client=r2 pd1", "reply pd1 NoPrefixAvail")
	if w.noted(msg) != 1 {
		t.Errorf("notes %v", w.act.Notes)
	}
}

// Nothing of a subnet that a LAN has goes to a client, on whatever link it asks.
func TestRFC9818_5_1_OWN_SubnetsAreNotDelegated(t *testing.T) {
	w := poolWorld(t, "2001:db8:1::/62", "2001:db8:1::/64 2001:db8:1:3::/64", 62)
	w.want("request client=a pd1 2001:db8:1::/64", "reply pd1 2001:db8:1:2::/64=2700/5400")
	w.want("request client=b pd1 ::/62", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request client=c pd1", "reply pd1 NoPrefixAvail")
	// Delegate off: nothing at all.
	c := w.content
	c.Links = []Link{{Name: "lan"}}
	w = worldWith(t, testConfig, c)
	w.want("request pd1", "reply pd1 NoPrefixAvail")
}

// One prefix from each pool, and the same again: while it is bound, after its end, after a restart.
func TestRFC9818_5_1_SAME_PrefixAgain(t *testing.T) {
	c := testContent()
	ula := Pool{Prefix: netip.MustParsePrefix("fd00:1::/48"), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)}
	c.Pools = append(c.Pools, ula)
	w := worldWith(t, testConfig, c)
	const got = "reply pd1 2001:db8:1:ff::/64=2700/5400 fd00:1:0:ffff::/64=2700/5400"
	w.want("request pd1", got)
	w.want("request client=c2 pd1", strings.ReplaceAll(strings.ReplaceAll(got, ":ffff:", ":fffe:"), ":ff:", ":fe:"))
	w.want("request pd1", got)
	w.restart()
	w.want("renew pd1", got)
	w.wait(6 * time.Hour)
	w.wantBound("")
	w.restart()
	// Others do not get what is remembered as long as there is something else.
	w.want("request client=c3 pd1", strings.ReplaceAll(strings.ReplaceAll(got, ":ffff:", ":fffd:"), ":ff:", ":fd:"))
	w.want("request pd1", got)
}

// What is remembered goes to whoever needs it.
func TestRememberedPrefixIsGivenAway(t *testing.T) {
	w := poolWorld(t, "2001:db8:1::/63", "", 0)
	w.want("request client=a pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request client=b pd1", "reply pd1 2001:db8:1::/64=2700/5400")
	w.want("release client=a pd1 2001:db8:1:1::/64", "reply Success")
	w.want("request client=c pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request client=a pd1", "reply pd1 NoPrefixAvail")
	if len(w.s.bindings) != 2 {
		t.Errorf("%d bindings, want 2", len(w.s.bindings))
	}
}

// Two IA_PDs of one Solicit are not offered the same.
func TestOffersOfOneMessageDiffer(t *testing.T) {
	w := newWorld(t)
	w.want("solicit pd1 pd2 pd3 ::/60", "advertise pd1 2001:db8:1:ff::/64=2700/5400 pd2 2001:db8:1:fe::/64=2700/5400 pd3 2001:db8:1:e0::/60=2700/5400")
	w.want("solicit pd1 2001:db8:1:42::/64 pd2 2001:db8:1:42::/64", "advertise pd1 2001:db8:1:42::/64=2700/5400 pd2 2001:db8:1:ff::/64=2700/5400")
}

// A router that moves to another LAN keeps its prefix, and the route follows.
func TestDelegationFollowsTheLink(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("solicit pd1 link=guest", "advertise pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(false, false)
	w.want("rebind pd1 link=guest", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	if w.did(false, true); w.s.Bindings(w.now)[0].Link != "guest" {
		t.Errorf("%+v", w.s.Bindings(w.now))
	}
}

// fit finds the highest one that a slow search finds.
func TestFitAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pool := netip.MustParsePrefix("2001:db8:1::/58")
	for range 3000 {
		var used []netip.Prefix
		for range r.IntN(8) {
			b := netip.MustParseAddr("2001:db8:1::").As16()
			b[7] = byte(r.IntN(80))
			used = append(used, netip.PrefixFrom(netip.AddrFrom16(b), 58+r.IntN(9)).Masked())
		}
		bits := 57 + r.IntN(8)
		var want netip.Prefix
		for sub := 63; sub >= 0 && bits >= 58; sub-- {
			b := pool.Addr().As16()
			b[7] = byte(sub)
			p := netip.PrefixFrom(netip.AddrFrom16(b), bits)
			if p == p.Masked() && !slices.ContainsFunc(used, p.Overlaps) {
				want = p
				break
			}
		}
		if got := fit(pool, bits, used); got != want {
			t.Fatalf("fit(%s, %d, %v) = %s, want %s", pool, bits, used, got, want)
		}
	}
}
