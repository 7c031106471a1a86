// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

// renumbered is the content with another pool and other prefixes on the links.
func renumbered() Content {
	c := testContent()
	c.Pools[0].Prefix, c.Pools[0].Taken = netip.MustParsePrefix("2001:db8:2::/56"), prefixes("2001:db8:2::/64 2001:db8:2:1::/64")
	c.Links[0].OnLink[0].Prefix = netip.MustParsePrefix("2001:db8:2::/64")
	c.Links[1].OnLink[0].Prefix = netip.MustParsePrefix("2001:db8:2:1::/64")
	return c
}

// "the DHCPv6 server [...] SHOULD [...] lifetimes of 0": the old prefix goes beside the new one, and stands in Bindings as
// stale until the client knows, or until the time it was told is over.
func TestRFC9096_3_5_StalePrefixIsTakenBackDownstream(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request client=c2 pd1", "reply pd1 2001:db8:1:fe::/64=2700/5400")
	w.wait(100 * time.Second)
	w.set(renumbered())
	w.did(true, true)
	w.wantBound("lan c1 pd1 2001:db8:1:ff::/64=2600/5300/stale lan c2 pd1 2001:db8:1:fe::/64=2600/5300/stale")
	w.want("solicit pd1", "advertise pd1 2001:db8:2:ff::/64=2700/5400")
	m := w.want("renew pd1 2001:db8:1:ff::/64", "reply pd1 2001:db8:2:ff::/64=2700/5400 2001:db8:1:ff::/64=0/0")
	w.did(true, true)
	if m.IAs[0].T1 != 1350 {
		t.Errorf("T1 %d", m.IAs[0].T1)
	}
	w.wantBound("lan c1 pd1 2001:db8:1:ff::/64=0/5300/stale 2001:db8:2:ff::/64=2700/5400 lan c2 pd1 2001:db8:1:fe::/64=2600/5300/stale")
	// The Reply was lost: the copy of the Renew is told again. A Renew that does not name it any more ends it.
	w.want("renew pd1 2001:db8:1:ff::/64", "reply pd1 2001:db8:2:ff::/64=2700/5400 2001:db8:1:ff::/64=0/0")
	w.did(false, false)
	w.want("renew pd1 2001:db8:2:ff::/64", "reply pd1 2001:db8:2:ff::/64=2700/5400")
	w.did(true, true)
	w.wantBound("lan c1 pd1 2001:db8:2:ff::/64=2700/5400 lan c2 pd1 2001:db8:1:fe::/64=2600/5300/stale")
	w.wait(5299 * time.Second)
	w.want("renew pd1", "reply pd1 2001:db8:2:ff::/64=2700/5400")
	w.wantBound("lan c1 pd1 2001:db8:2:ff::/64=2700/5400 lan c2 pd1 2001:db8:1:fe::/64=0/1/stale")
	w.wait(time.Second)
	w.did(true, true)
	w.wantBound("lan c1 pd1 2001:db8:2:ff::/64=2699/5399")
	// With nothing in its place the client is still told.
	c := renumbered()
	c.Pools = nil
	w.set(c)
	w.want("rebind pd1 2001:db8:2:ff::/64", "reply pd1 2001:db8:2:ff::/64=0/0")
	w.wantBound("lan c1 pd1 2001:db8:2:ff::/64=0/5399/stale")
	w.want("rebind pd1", "reply pd1 NoPrefixAvail")
	w.wantBound("")
}

// The Reply that takes a prefix back is lost, and the content comes to hold it again: nobody else gets it while the client
// may still use it, and the client itself keeps it.
func TestPrefixTakenBackIsNotGivenToOthers(t *testing.T) {
	w := poolWorld(t, "2001:db8:1::/64", "", 0)
	c := w.content
	w.want("request pd1", "reply pd1 2001:db8:1::/64=2700/5400")
	w.set(Content{Links: c.Links})
	w.want("request pd1", "reply pd1 2001:db8:1::/64=0/0")
	w.set(c)
	w.want("request client=c2 pd1", "reply pd1 NoPrefixAvail")
	w.want("renew pd1 2001:db8:1::/64", "reply pd1 2001:db8:1::/64=2700/5400")
}

// A prefix that comes to be that of a LAN is stale, one that no longer is can be given again.
func TestPrefixThatALANTakes(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 ::/60", "reply pd1 2001:db8:1:f0::/60=2700/5400")
	c := testContent()
	c.Pools[0].Taken = append(c.Pools[0].Taken, netip.MustParsePrefix("2001:db8:1:f7::/64"))
	w.set(c)
	w.did(true, true)
	w.wantBound("lan c1 pd1 2001:db8:1:f0::/60=2700/5400/stale")
	w.set(testContent()) // it was a mistake
	w.did(true, true)
	w.wantBound("lan c1 pd1 2001:db8:1:f0::/60=2700/5400")
	w.set(c)
	w.want("renew pd1 ::/60", "reply pd1 2001:db8:1:e0::/60=2700/5400 2001:db8:1:f0::/60=0/0")
}

// The same content again does nothing.
func TestSameContentDoesNothing(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 na1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400 na1 "+addr1(w)+"=2700/5400")
	w.set(testContent())
	if w.did(false, false); len(w.act.Send)+len(w.act.Notes) > 0 {
		t.Errorf("%+v", w.act)
	}
}

// "MUST NOT [...] longer than the remaining": checkSent compares every message; here the edges.
func TestRFC9096_L15_LifetimesNeverAboveThePools(t *testing.T) {
	c := testContent()
	c.Pools[0].Preferred, c.Pools[0].Valid = at(1000500*time.Millisecond), at(2000500*time.Millisecond)
	w := worldWith(t, testConfig, c)
	m := w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=1000/2000")
	if m.IAs[0].T1 != 500 || m.IAs[0].T2 != 800 {
		t.Errorf("T1 %d T2 %d", m.IAs[0].T1, m.IAs[0].T2)
	}
	w.wait(999 * time.Second)
	m = w.want("renew pd1", "reply pd1 2001:db8:1:ff::/64=1/1001")
	if m.IAs[0].T1 > 1 || m.IAs[0].T2 > 1 {
		t.Errorf("T1 %d T2 %d", m.IAs[0].T1, m.IAs[0].T2)
	}
	w.wait(2 * time.Second)
	w.want("renew pd1", "reply pd1 2001:db8:1:ff::/64=0/999")
	w.want("request client=c2 pd1", "reply pd1 NoPrefixAvail")
	w.wait(999 * time.Second)
	w.wantBound("")
	w.want("renew pd1", "reply pd1 NoBinding")
}

// 45 and 90 minutes at most, however long the delegation lasts.
func TestRFC9096_L16_LifetimesAreCapped(t *testing.T) {
	c := testContent()
	c.Pools[0].Preferred, c.Pools[0].Valid = at(1e6*time.Hour), at(2e6*time.Hour)
	w := worldWith(t, testConfig, c)
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
}

// reconfigured reads the Reconfigures that the last step sent to a client.
func (w *world) reconfigured(sent []Datagram, name string) (n int) {
	w.t.Helper()
	for _, d := range sent {
		m, _, _ := dhcpv6.ParseMessage(d.Data)
		if m.Type != dhcpv6.Reconfigure || m.ClientID != dhcpv6test.DUID(name) {
			continue
		}
		n++
		if err := dhcpv6.VerifyReconfigure(d.Data, m, ReconfigureKey(testConfig.Secret, string(dhcpv6test.DUID(name)))); err != nil || m.XID != 0 || m.ReconfigureMessage != dhcpv6.Renew || d.To != address(name) || len(m.IAs) > 0 {
			w.t.Errorf("%v, to %s: %+v", err, d.To, m)
		}
		if m.Auth.Replay > w.disk.Replay {
			w.t.Errorf("replay value %d is used, on the disk is %d", m.Auth.Replay, w.disk.Replay)
		}
	}
	return n
}

// The key comes with the Reply that binds, to those that accept; not in an Advertise, not with a Renew.
func TestRFC9915_20_4_2_KeyInTheFirstReply(t *testing.T) {
	w := newWorld(t)
	w.want("solicit pd1 accept", "advertise accept pd1 2001:db8:1:ff::/64=2700/5400")
	m := w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
	key, ok := m.Auth.ReconfigureKey()
	if !ok || key != ReconfigureKey(testConfig.Secret, string(dhcpv6test.DUID("c1"))) || key == ReconfigureKey(testConfig.Secret, string(dhcpv6test.DUID("c2"))) {
		t.Errorf("key %x %v", [16]byte(key), ok)
	}
	w.want("renew pd1 accept", "reply accept pd1 2001:db8:1:ff::/64=2700/5400")
	again := w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
	if again.Auth.Replay <= m.Auth.Replay || again.Auth.Replay > w.disk.Replay {
		t.Errorf("replay value %d after %d, on disk %d", again.Auth.Replay, m.Auth.Replay, w.disk.Replay)
	}
	w.want("solicit client=c2 rapid accept pd1", "reply rapid accept auth pd1 2001:db8:1:fe::/64=2700/5400")
	w.want("request client=c3 pd1", "reply pd1 2001:db8:1:fd::/64=2700/5400")
	// Without a secret there is nothing to make keys of.
	w = worldWith(t, Config{DUID: ourDUID}, testContent())
	w.want("request pd1 accept", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	if w.set(renumbered()); len(w.act.Send) > 0 {
		t.Error("a Reconfigure that anybody could have signed")
	}
}

// "REC_TIMEOUT [...] doubles [...] until REC_MAX_RC unsuccessful attempts have been made": 0, 2, 6, 14, 30 s and so on.
func TestRFC9915_18_3_11_ReconfigureIsSentAgain(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request client=c2 pd1", "reply pd1 2001:db8:1:fe::/64=2700/5400")
	w.set(renumbered())
	if n := w.reconfigured(w.act.Send, "c1"); n != 1 || len(w.act.Send) != 1 {
		t.Fatalf("%d Reconfigures of %d messages, want one for the client that accepts", n, len(w.act.Send))
	}
	first := w.act.Send[0].Data
	after := time.Duration(0)
	for i := 1; i < RecMaxRC; i++ {
		gap := RecTimeout << (i - 1)
		if n := len(w.wait(gap - 1)); n != 0 {
			t.Fatalf("%d messages before %v", n, after+gap)
		}
		after += gap
		if sent := w.wait(1); w.reconfigured(sent, "c1") != 1 || string(sent[0].Data) != string(first) {
			t.Fatalf("%v: not the same message again: %d", after, len(sent))
		}
	}
	if n := len(w.wait(20 * time.Minute)); n != 0 {
		t.Errorf("%d messages after REC_MAX_RC", n)
	}
}

// "until [...] receives a Renew, Rebind or Information-request": each ends it, a Solicit and other clients do not.
func TestRFC9915_18_3_11_ReconfigureEndsWithTheAnswer(t *testing.T) {
	for q, ends := range map[string]bool{"renew pd1": true, "rebind pd1": true, "information-request": true, "solicit pd1": false, "renew pd1 client=c2": false,
		"renew pd1 server=other": false} {
		w := newWorld(t)
		w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
		w.set(renumbered())
		w.ask(q)
		if got := len(w.wait(time.Minute)) == 0; got != ends {
			t.Errorf("%s ends it: %v, want %v", q, got, ends)
		}
	}
}

// What makes a client ask: a stale lease, a new pool, a prefix that should not be used any more, other configuration.
func TestRFC9915_18_3_11_ReconfigureForWhatChanged(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(c *Content)
		want   int
	}{
		"stale":             {func(c *Content) { *c = renumbered() }, 1},
		"taken":             {func(c *Content) { c.Pools[0].Taken = prefixes("2001:db8:1:80::/57") }, 1},
		"pool for new ones": {func(c *Content) { c.Pools[0].Taken = prefixes("2001:db8:1::/57") }, 0},
		"no delegation":     {func(c *Content) { c.Links[0].Delegate = false }, 1},
		"new pool": {func(c *Content) {
			c.Pools = append(c.Pools, Pool{Prefix: netip.MustParsePrefix("fd00:1::/48"), Preferred: at(9 * time.Hour), Valid: at(9 * time.Hour)})
		}, 1},
		"deprecated":     {func(c *Content) { c.Pools[0].Preferred = at(0) }, 1},
		"renewed":        {func(c *Content) { c.Pools[0].Preferred, c.Pools[0].Valid = at(900*time.Hour), at(900*time.Hour) }, 0},
		"DNS":            {func(c *Content) { c.Links[0].Info.DNS = []netip.Addr{netip.MustParseAddr("2001:db8::53")} }, 1},
		"captive portal": {func(c *Content) { c.Links[0].Info.CaptivePortal = "" }, 1},
		"other link":     {func(c *Content) { c.Links[1].Info.Search = []string{"guest.example"} }, 0},
		"link is gone":   {func(c *Content) { c.Links = c.Links[1:] }, 0},
		"nothing":        {func(*Content) {}, 0},
	} {
		w := newWorld(t)
		w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
		c := testContent()
		tc.change(&c)
		w.set(c)
		if got := w.reconfigured(w.act.Send, "c1"); got != tc.want || len(w.act.Send) != got {
			t.Errorf("%s: %d Reconfigures of %d messages, want %d", what, got, len(w.act.Send), tc.want)
		}
	}
}

// Who stops to accept is left alone; who begins without having our key too.
func TestRFC9915_21_20_ReconfigureAcceptIsMeant(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("request client=c2 pd1", "reply pd1 2001:db8:1:fe::/64=2700/5400")
	w.want("renew pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("renew client=c2 accept pd1", "reply accept pd1 2001:db8:1:fe::/64=2700/5400")
	if w.set(renumbered()); len(w.act.Send) > 0 {
		t.Errorf("%d messages", len(w.act.Send))
	}
}

// The replay value only grows, over a crash at any point; what was not saved was not used.
func TestRFC9915_20_3_ReplayValueGrowsOverRestarts(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
	last := uint64(0)
	for i := range 600 {
		c := testContent()
		c.Links[0].Info.Search = []string{"lan" + number(i) + ".example"}
		w.set(c)
		if w.reconfigured(w.act.Send, "c1") != 1 {
			t.Fatalf("round %d: %d messages", i, len(w.act.Send))
		}
		m, _, _ := dhcpv6.ParseMessage(w.act.Send[0].Data)
		if m.Auth.Replay <= last {
			t.Fatalf("round %d: replay value %d after %d", i, m.Auth.Replay, last)
		}
		last = m.Auth.Replay
		if i%7 == 0 {
			w.restart()
		}
		w.wait(time.Second)
	}
	if w.writes > 1000 {
		t.Errorf("%d writes", w.writes)
	}
}

// After a restart into other prefixes the client is told as well, with the key that it has.
func TestRFC9096_3_5_RenumberedWhileAway(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400")
	w.content = renumbered()
	w.restart()
	if w.reconfigured(w.act.Send, "c1") != 1 {
		t.Errorf("%d messages", len(w.act.Send))
	}
	w.want("renew pd1 2001:db8:1:ff::/64 accept", "reply accept pd1 2001:db8:2:ff::/64=2700/5400 2001:db8:1:ff::/64=0/0")
}

// A thousand clients are not told in one instant, but all within two seconds.
func TestReconfiguresAreSpread(t *testing.T) {
	w := newWorld(t)
	w.oracle, w.big = false, true
	c := testContent()
	c.Pools[0].Prefix = netip.MustParsePrefix("2001:db8:1::/48")
	w.set(c)
	for i := range 200 {
		w.now = w.now.Add(grantEvery)
		w.ask("request pd1 accept client=" + number(i))
	}
	w.set(renumbered())
	if n := len(w.act.Send); n > 20 {
		t.Errorf("%d at once", n)
	}
	told := map[dhcpv6.DUID]bool{}
	for _, d := range append(w.act.Send, w.wait(2*time.Second)...) {
		m, _, _ := dhcpv6.ParseMessage(d.Data)
		told[m.ClientID] = true
	}
	if len(told) != 200 {
		t.Errorf("%d of 200 clients were told", len(told))
	}
}

// While nobody knows how long a delegation lasts, clients are told of its Limit at a time, again and again.
func TestLimitOfAPool(t *testing.T) {
	c := testContent()
	c.Pools[0].Preferred, c.Pools[0].Valid, c.Pools[0].Limit = at(100*time.Hour), at(200*time.Hour), 10*time.Minute
	w := worldWith(t, testConfig, c)
	m := w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=600/600")
	if m.IAs[0].T1 != 300 || m.IAs[0].T2 != 480 {
		t.Errorf("T1 %d T2 %d", m.IAs[0].T1, m.IAs[0].T2)
	}
	w.wait(5 * time.Minute)
	w.want("renew pd1", "reply pd1 2001:db8:1:ff::/64=600/600")
}
