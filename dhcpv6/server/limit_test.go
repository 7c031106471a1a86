// SPDX-License-Identifier: MIT

package server

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"oasis6/dhcpv6"
)

// Forged DUIDs get 64 bindings at once and then four a second; who has a binding is served as ever.
func TestNewBindingsAreRateLimited(t *testing.T) {
	w := newWorld(t)
	w.want("request client=old pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.wait(time.Minute)
	flood := func(n int) (got int) {
		for i := range n {
			if a, _ := w.ask(fmt.Sprintf("request na1 client=%d-%d", w.xid, i)); a != "" {
				got++
			}
		}
		return got
	}
	if n := flood(200); n != grantBurst {
		t.Errorf("%d at once, want %d", n, grantBurst)
	}
	for range 10 {
		w.wait(time.Second)
		if n := flood(50); n != 4 {
			t.Errorf("%d in a second, want 4", n)
		}
		w.want("renew client=old pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
		w.want("rebind client=old pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	}
	if w.s.Stats("lan").Dropped["too many new clients"] == 0 {
		t.Error("not counted")
	}
	// Offers make no binding, but work: they have a limit of their own.
	got := 0
	for i := range 500 {
		if a, _ := w.ask(fmt.Sprintf("solicit na1 client=s%d", i)); a != "" {
			got++
		}
	}
	if got != offerBurst {
		t.Errorf("%d offers at once, want %d", got, offerBurst)
	}
	w.want("solicit client=old pd1", "advertise pd1 2001:db8:1:ff::/64=2700/5400")
}

// When all places are taken, nobody new gets anything, and that is said once.
func TestFullServer(t *testing.T) {
	cfg := testConfig
	cfg.MaxBindings = 5
	c := testContent()
	c.Links = c.Links[:1] // one of several has a share only, see below
	w := worldWith(t, cfg, c)
	for i := range 5 {
		w.ask(fmt.Sprintf("request pd1 client=%d", i))
	}
	w.want("request pd1 na1 client=new", "reply pd1 NoPrefixAvail na1 NoAddrsAvail")
	if n := w.act.Notes; w.noted("DHCPv6 server full") != 1 || n[0].Detail() != "bindings=5" {
		t.Errorf("notes %v", n)
	}
	w.want("solicit na1 client=new", "advertise na1 NoAddrsAvail")
	w.want("request pd1 client=new", "reply pd1 NoPrefixAvail")
	if w.noted("DHCPv6 server full") != 0 {
		t.Error("it is said again")
	}
	w.want("renew pd1 client=3", "reply pd1 2001:db8:1:fc::/64=2700/5400")
	// One leaves: its memory makes room.
	w.want("release pd1 2001:db8:1:ff::/64 client=0", "reply Success")
	w.want("request pd1 client=new", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request pd1 client=0", "reply pd1 NoPrefixAvail")
	if len(w.s.bindings) != 5 || w.noted("DHCPv6 server full") != 1 {
		t.Errorf("%d bindings, notes %v", len(w.s.bindings), w.act.Notes)
	}
}

// One client has eight IAs of each type at most.
func TestIAsOfOneClient(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 8; i++ {
		w.want(fmt.Sprintf("request pd%d", i), fmt.Sprintf("reply pd%d 2001:db8:1:%x::/64=2700/5400", i, 0x100-i))
	}
	w.want("request pd9", "reply pd9 NoPrefixAvail")
	if got, _ := w.ask("request na1 na2"); len(w.s.bindings) != 10 {
		t.Errorf("%s: %d bindings", got, len(w.s.bindings))
	}
	w.want("release pd3 2001:db8:1:fd::/64", "reply Success")
	w.want("request pd9", "reply pd9 2001:db8:1:fd::/64=2700/5400") // in the place of pd3, which is forgotten
	w.want("request client=c2 pd1", "reply pd1 2001:db8:1:f7::/64=2700/5400")
	if len(w.s.bindings) != 11 {
		t.Errorf("%d bindings", len(w.s.bindings))
	}
}

// Declining without end fills no memory.
func TestDeclinedListIsBounded(t *testing.T) {
	w := newWorld(t)
	for range 3 * maxDeclined {
		w.wait(time.Second)
		a := addr1(w)
		w.want("request na1", "reply na1 "+a+"=2700/5400")
		if got, _ := w.ask("decline na1 " + a); got != "reply Success" {
			t.Fatal(got)
		}
		if len(w.s.bindings) > 0 || len(w.s.declined) > maxDeclined {
			t.Fatalf("%d bindings, %d declined", len(w.s.bindings), len(w.s.declined))
		}
		if len(w.s.declined) == addressTries {
			break // all numbers that are tried are out of use
		}
	}
	w.want("request na1", "reply na1 NoAddrsAvail")
}

// Pools that come and go leave no more than maxLeases behind in a binding.
func TestLeasesOfABindingAreBounded(t *testing.T) {
	w := newWorld(t)
	w.oracle = false
	for i := range 3 * maxLeases {
		c := testContent()
		b := netip.MustParseAddr("2001:db8:100::").As16()
		b[5] = byte(i)
		c.Pools = []Pool{{Prefix: netip.PrefixFrom(netip.AddrFrom16(b), 56), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)}}
		w.set(c)
		w.ask("request pd1")
		w.ask("release pd1 " + w.s.bindings[0].Leases[0].Prefix.String())
		for _, b := range w.s.bindings {
			if len(b.Leases) > maxLeases {
				t.Fatalf("%d leases", len(b.Leases))
			}
		}
		w.wait(time.Second)
	}
	if got, _ := w.ask("request pd1"); got == "reply pd1 NoPrefixAvail" {
		t.Error("the memory of what it had keeps the client from getting anything")
	}
	many := testContent()
	for i := range 40 {
		b := netip.MustParseAddr("2001:db8:200::").As16()
		b[5] = byte(i)
		many.Pools = append(many.Pools, Pool{Prefix: netip.PrefixFrom(netip.AddrFrom16(b), 56), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)})
	}
	w.set(many)
	if _, m := w.ask("request client=c2 pd1"); len(m.IAs[0].Prefixes) != maxLeases {
		t.Errorf("%d prefixes of %d pools, want %d", len(m.IAs[0].Prefixes), len(many.Pools), maxLeases)
	}
}

// Wake is never later than the end of a lease, and none is needed where nothing waits.
func TestWake(t *testing.T) {
	w := newWorld(t)
	if !w.act.Wake.IsZero() {
		t.Errorf("wake %v", w.act.Wake)
	}
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	if got := w.act.Wake.Sub(t0); got != 5400*time.Second {
		t.Errorf("wake %v", got)
	}
	// A Tick too early does nothing; garbage leaves the deadline as it is.
	if act := w.step(t0.Add(time.Second), Tick{}); act.Persist != nil || act.Changed || act.Wake.Sub(t0) != 5400*time.Second {
		t.Errorf("%+v", act)
	}
	if act := w.step(t0.Add(time.Second), Received{Link: "lan", Src: address("c1"), Data: []byte{byte(dhcpv6.RelayForward), 0, 0, 0}}); act.Wake.Sub(t0) != 5400*time.Second {
		t.Errorf("%+v", act)
	}
}

// Who hops between two links, or releases and asks again, makes the disk write: that has the limit of new clients.
func TestChurnOfOneClientIsRateLimited(t *testing.T) {
	w := newWorld(t)
	w.oracle = false
	w.ask("request na1")
	got := 0
	for i := range 300 {
		if a, _ := w.ask("rebind na1 link=" + []string{"guest", "lan"}[i%2]); a != "" {
			got++
		}
	}
	// Half of them are from where the client is by then: those cost nothing. Each link has its own limit.
	if got > 2*grantBurst+150+1 || w.writes > 2*grantBurst+2 {
		t.Errorf("%d answers, %d writes", got, w.writes)
	}
	c := testContent()
	c.Pools = append(c.Pools, Pool{Prefix: netip.MustParsePrefix("fd00:1::/48"), Preferred: at(100 * time.Hour), Valid: at(200 * time.Hour)})
	w = worldWith(t, testConfig, c)
	w.ask("request pd1")
	for range 300 {
		w.ask("release pd1 fd00:1:0:ffff::/64")
		w.ask("renew pd1 2001:db8:1:ff::/64")
	}
	if w.writes > 2*grantBurst+2 {
		t.Errorf("%d writes", w.writes)
	}
}

// A message costs a token for each IA that it gets: many in one are no way around the limit.
func TestManyIAsInAMessageCostAsMany(t *testing.T) {
	w := newWorld(t)
	w.oracle = false
	for i := range 64 {
		w.ask(fmt.Sprintf("request na1 na2 na3 na4 na5 na6 na7 na8 client=m%d", i))
	}
	if n := len(w.s.Bindings(w.now)); n > grantBurst {
		t.Errorf("%d bindings at once, want %d at most", n, grantBurst)
	}
}

// A client whose address changes with every message makes no more work than one that is new each time.
func TestMovingNextHopIsRateLimited(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	changed := 0
	for i := range 400 {
		b := w.s.bindings[0]
		m := dhcpv6.Message{Type: dhcpv6.Renew, XID: uint32(i), ClientID: b.Client, ServerID: testConfig.DUID, IAs: []dhcpv6.IA{{Type: dhcpv6.PD, IAID: b.IAID, Prefixes: []dhcpv6.IAPrefix{{Prefix: b.Leases[0].Prefix}}}}}
		src := netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(i >> 8), 15: byte(i)})
		if w.s.Step(w.now, Received{Link: "lan", Src: src, Data: m.Append(nil)}).Changed {
			changed++
		}
	}
	if changed > grantBurst {
		t.Errorf("%d changes for the kernel, want %d at most", changed, grantBurst)
	}
}

// One of several links has three quarters of all places at most.
func TestGuestsLeaveRoomForOthers(t *testing.T) {
	cfg := testConfig
	cfg.MaxBindings = 16
	w := worldWith(t, cfg, testContent())
	w.oracle = false
	for i := range 20 {
		w.ask(fmt.Sprintf("request na1 link=guest client=g%d", i))
	}
	if n := len(w.s.Bindings(w.now)); n != 12 {
		t.Errorf("the guests have %d of 16 places", n)
	}
	if a, _ := w.ask("request pd1"); a != "reply pd1 2001:db8:1:ff::/64=2700/5400" {
		t.Errorf("another link gets %q", a)
	}
}

// What was put off is written at the end, and a restored lease is for no longer than any Reply can have promised.
func TestStopWritesWhatWasPutOff(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.wait(10 * time.Second)
	w.s.later(w.now)
	act := w.s.Step(w.now, Stop{})
	if act.Persist == nil {
		t.Fatal("nothing was written")
	}
	next := New(testConfig, func() float64 { return 0.5 })
	next.Step(w.now, Restored{State: *act.Persist})
	if l := next.Bindings(w.now)[0].Leases[0]; l.Valid.Left(w.now) != MaxValid {
		t.Errorf("valid for %v after a restart", l.Valid.Left(w.now))
	}
	if next.replay <= act.Persist.Replay+1000 {
		t.Errorf("replay value %d after a restart, on disk was %d", next.replay, act.Persist.Replay)
	}
}
