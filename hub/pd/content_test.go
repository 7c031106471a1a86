// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
	"oasis6/dhcpv6/server"
	"oasis6/internal/wgkey"
)

// reconfigured reads a Reconfigure and checks its signature.
func (w *world) reconfigured(d Datagram) dhcpv6.Message {
	w.t.Helper()
	m, _, err := dhcpv6.ParseMessage(d.Data)
	if err == nil && m.Type == dhcpv6.Reconfigure && m.ReconfigureMessage == dhcpv6.Renew && len(m.IAs) == 0 {
		err = dhcpv6.VerifyReconfigure(d.Data, m, server.ReconfigureKey(testConfig.Secret, string(d.Site[:])))
	}
	if err != nil || m.Type != dhcpv6.Reconfigure {
		w.t.Fatalf("%s: %s: %v", d.Site, dhcpv6test.Text(m), err)
	}
	return m
}

// A new pool: nothing is cut. What sites have is told with preferred 0 and what is left of valid, which never grows (RFC
// 9096), and stays routed; what is new comes in the same Reply. Sites that accept Reconfigure are told at once.
func TestRenumber(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	w.ask("request site=b pd1")
	w.wait(1000 * time.Second)
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:2::/56") })
	w.did(true, false)
	if len(w.act.Send) != 1 || w.act.Send[0].Site != keyOfSite("a") || w.noted("leases are to be replaced when their sites ask") != 1 {
		t.Fatalf("%+v", w.act)
	}
	w.reconfigured(w.act.Send[0])
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.wantAll("a pd1 2001:db8:1:1::/64=1700/4400/stale| b pd1 2001:db8:1:2::/64=1700/4400/stale") // until there is another
	w.restart()
	w.wantAll("a pd1 2001:db8:1:1::/64=1700/4400/stale| b pd1 2001:db8:1:2::/64=1700/4400/stale")
	w.wait(200 * time.Second)
	w.want("renew pd1 2001:db8:1:1::/64 accept", "reply accept pd1 2001:db8:2::/64=2700/5400 2001:db8:1:1::/64=0/4200")
	w.did(true, true)
	w.wantRouted("a", "2001:db8:1:1::/64 2001:db8:2::/64")
	w.want("renew site=b pd1 2001:db8:1:2::/64", "reply pd1 2001:db8:2:1::/64=2700/5400 2001:db8:1:2::/64=0/4200")
	w.wait(1350 * time.Second)
	w.want("renew pd1 2001:db8:1:1::/64 2001:db8:2::/64 accept", "reply accept pd1 2001:db8:2::/64=2700/5400 2001:db8:1:1::/64=0/2850")
	w.did(false, false)
	w.wait(2850 * time.Second)
	w.wantRouted("a", "2001:db8:2::/64")
	w.want("renew pd1 2001:db8:1:1::/64 2001:db8:2::/64 accept", "reply accept pd1 2001:db8:2::/64=2700/5400 2001:db8:1:1::/64=0/0")
}

// A pool that is back before the old leases are over makes them good again, and what came in between stale.
func TestRenumberAndBack(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	old := w.content
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:2::/56") })
	w.wait(100 * time.Second)
	w.ask("renew pd1 accept")
	w.set(old)
	if len(w.act.Send) != 1 {
		t.Errorf("%+v", w.act.Send)
	}
	w.wait(100 * time.Second)
	w.want("renew pd1 accept", "reply accept pd1 2001:db8:1:1::/64=2700/5400 2001:db8:2::/64=0/5300")
	w.wait(24 * time.Hour) // nothing is routed now, and both are remembered
	w.wantRouted("a", "")
	w.set(Content{Pools: prefixes("2001:db8:2::/56"), Sites: sites("a b"), Valid: 90 * time.Minute})
	w.want("request site=b pd1", "reply pd1 2001:db8:2:1::/64=2700/5400")
	w.want("request pd1", "reply pd1 2001:db8:2::/64=2700/5400")
}

// Without any pool that has room a site goes on with what it has, and asks again soon.
func TestRenumberWithoutRoom(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.ask("request site=b pd1")
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:2::/64") })
	w.want("renew pd1", "reply pd1 2001:db8:2::/64=2700/5400 2001:db8:1:1::/64=0/5400")
	w.want("renew site=b pd1", "reply pd1 2001:db8:1:2::/64=2700/5400")
	w.wait(300 * time.Second)
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:2::/63") })
	w.want("renew site=b pd1", "reply pd1 2001:db8:2:1::/64=2700/5400 2001:db8:1:2::/64=0/5100")
}

// Issue 6: "no site without a prefix at any moment". A pool of which nothing can be delegated takes nothing from anybody, for
// however long it is there, with restarts and with a site that accepts Reconfigure or not; what is held is renewed without a
// write each time, said once an hour, and replaced as soon as there is something.
func TestNothingIsTakenBackForWantOfAnother(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*Content)
	}{
		{"no pool", func(c *Content) { c.Pools = nil }},
		{"a pool that is taken", func(c *Content) { c.Pools, c.Taken = prefixes("2001:db8:2::/56"), prefixes("2001:db8:2::/48") }},
		{"the old pool is taken", func(c *Content) { c.Taken = prefixes("2001:db8:1::/48") }},
		{"a pool that is reserved for another", func(c *Content) { c.Pools, c.Sites = prefixes("2001:db8:2::/64"), sites("a b=2001:db8:2::/60 c") }},
		{"reserved for another, and nothing else free", func(c *Content) { c.Pools, c.Sites = prefixes("2001:db8:1::/62"), sites("a b=2001:db8:1::/62 c") }},
	} {
		w := newWorld(t)
		w.ask("request pd1 accept")
		w.change(tc.change)
		warned, written := 0, 0
		for i := range 40 {
			accept := []string{"", " accept"}[i%2]
			w.want("renew pd1"+accept, "reply"+accept+" pd1 2001:db8:1:1::/64=2700/5400")
			warned += w.noted("no other prefix is left to delegate, so leases go on that should be replaced")
			written += len(w.act.Commit)
			if n := w.m.Held(); n != 1 {
				t.Fatalf("%s: %d are held, want 1", tc.what, n)
			}
			w.wait(5 * time.Minute)
			if i == 20 {
				w.restart()
			}
		}
		if warned < 3 || warned > 6 || written > 8 {
			t.Errorf("%s: %d warnings and %d writes in 200 minutes", tc.what, warned, written)
		}
		w.change(func(c *Content) {
			c.Pools, c.Taken, c.Sites = append(slices.Clone(c.Pools), prefixes("2001:db8:3::/56")...), nil, sites("a b c")
		})
		if got, m := w.ask("renew pd1 accept"); len(m.IAs) != 1 || m.IAs[0].Prefixes[0].Preferred != 2700 || w.m.Held() != 0 {
			t.Errorf("%s: with room again: %s, %d held", tc.what, got, w.m.Held())
		}
	}
}

// A lease around the whole new pool leaves no room for another: its site goes on with it.
func TestALeaseAroundTheNewPool(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 ::/60", "reply pd1 2001:db8:1:10::/60=2700/5400")
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:1:14::/62") })
	for range 3 {
		w.want("renew pd1", "reply pd1 2001:db8:1:10::/60=2700/5400")
		w.wait(40 * time.Minute)
	}
	w.want("request site=b pd1", "reply pd1 NoPrefixAvail")
}

// Pools in order: the next one when the first is full.
func TestPoolsInOrder(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:3::/63 2001:db8:2::/63"); c.Sites = sites("a b c d e") })
	for i, want := range []string{"2001:db8:3::", "2001:db8:3:1::", "2001:db8:2::", "2001:db8:2:1::"} {
		w.want("request pd1 site="+string(rune('a'+i)), "reply pd1 "+want+"/64=2700/5400")
	}
	w.want("request pd1 site=e", "reply pd1 NoPrefixAvail")
	if got := w.m.Exhausted(); !slices.Equal(got, w.content.Pools) {
		t.Errorf("exhausted are %v", got)
	}
}

// A reservation goes to its site before anything else, whatever is wished, and to nobody else.
func TestReservation(t *testing.T) {
	w := newWorld(t)
	w.change(func(c *Content) { c.Sites = sites("a=2001:db8:1:40::/58 b=2001:db8:9::/64,2001:db8:9:8::/61 c") })
	w.want("request site=c pd1 2001:db8:1:40::/64", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.want("request pd1 ::/64", "reply pd1 2001:db8:1:40::/58=2700/5400")
	w.want("request pd2", "reply pd2 2001:db8:1:2::/64=2700/5400") // the next IA has nothing reserved left
	w.want("solicit site=b pd1 pd2 2001:db8:9:8::/61", "advertise pd1 2001:db8:9::/64=2700/5400 pd2 2001:db8:9:8::/61=2700/5400")
	w.want("request site=b pd1", "reply pd1 2001:db8:9::/64=2700/5400 2001:db8:9:8::/61=2700/5400")
	w.wait(24 * time.Hour)
	w.want("request site=c pd2 2001:db8:1:40::/60", "reply pd2 2001:db8:1:10::/60=2700/5400") // nor when it is over
	w.want("request pd1", "reply pd1 2001:db8:1:40::/58=2700/5400")
}

// A site with a lease gets a reservation: it moves there, as by a renumbering.
func TestReservationComesLater(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	w.ask("request pd2 accept")
	w.change(func(c *Content) { c.Sites = sites("a=2001:db8:9::/64 b c") })
	if len(w.act.Send) != 1 {
		t.Fatalf("%+v", w.act.Send)
	}
	w.want("renew pd1 pd2 accept", "reply accept pd1 2001:db8:9::/64=2700/5400 2001:db8:1:1::/64=0/5400 pd2 2001:db8:1:2::/64=2700/5400")
	w.change(func(c *Content) { c.Sites = sites("a b c") })
	w.wantAll("a pd1 2001:db8:1:1::/64=0/5400 2001:db8:9::/64=2700/5400/stale| a pd2 2001:db8:1:2::/64=2700/5400")
	w.want("renew pd1 accept", "reply accept pd1 2001:db8:1:1::/64=2700/5400 2001:db8:9::/64=0/5400")
}

// What is reserved is another's: that lease is taken back, and the owner has something from the pool until it is over.
func TestReservationOfWhatAnotherHas(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	w.ask("request site=b pd1 accept")
	w.change(func(c *Content) { c.Sites = sites("a b=2001:db8:1:1::/64 c") })
	if len(w.act.Send) != 1 || w.act.Send[0].Site != keyOfSite("a") {
		t.Errorf("%+v", w.act.Send)
	}
	w.want("renew site=b pd1 accept", "reply accept pd1 2001:db8:1:2::/64=2700/5400")
	w.want("renew pd1 accept", "reply accept pd1 2001:db8:1:3::/64=2700/5400 2001:db8:1:1::/64=0/5400")
	for range 3 {
		w.wait(1350 * time.Second)
		w.want("renew site=b pd1 accept", "reply accept pd1 2001:db8:1:2::/64=2700/5400")
		w.ask("renew pd1 accept")
	}
	w.wait(1350 * time.Second)
	w.wantRouted("a", "2001:db8:1:3::/64")
	if len(w.act.Send) != 1 || w.act.Send[0].Site != keyOfSite("b") {
		t.Fatalf("b is not told that it is over: %+v", w.act.Send)
	}
	w.reconfigured(w.act.Send[0])
	w.want("renew site=b pd1 accept", "reply accept pd1 2001:db8:1:1::/64=2700/5400 2001:db8:1:2::/64=0/4050")
}

// A reservation with the site's own lease in it takes its place at once; one within its lease is there already.
func TestReservationAroundAnOwnLease(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 2001:db8:1:41::/64", "reply pd1 2001:db8:1:41::/64=2700/5400")
	w.change(func(c *Content) { c.Sites = sites("a=2001:db8:1:40::/60 b c") })
	w.want("solicit pd1", "advertise pd1 2001:db8:1:40::/60=2700/5400 2001:db8:1:41::/64=0/0")
	w.want("renew pd1 2001:db8:1:41::/64", "reply pd1 2001:db8:1:40::/60=2700/5400 2001:db8:1:41::/64=0/0")
	w.wantRouted("a", "2001:db8:1:40::/60")
	w.change(func(c *Content) { c.Sites = sites("a=2001:db8:1:42::/64 b c") })
	w.want("renew pd1", "reply pd1 2001:db8:1:40::/60=2700/5400")
}

// What the hub takes for itself is taken back from a site.
func TestTaken(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.ask("request pd1 site=b")
	w.change(func(c *Content) { c.Taken = prefixes("2001:db8:1::/64 2001:db8:1:1::5/128") })
	w.want("renew pd1", "reply pd1 2001:db8:1:3::/64=2700/5400 2001:db8:1:1::/64=0/5400")
	w.want("renew pd1 site=b", "reply pd1 2001:db8:1:2::/64=2700/5400")
}

// The first sixteen at once, the others at a pace at which their answers can be written; again after 2 s, 4 s and so on,
// eight times (RFC 9915 section 18.3.11), until they answer.
func TestRFC9915_18_3_11_ReconfigureOfMany(t *testing.T) {
	const n = 1000
	w := newWorld(t)
	w.big = true
	w.change(func(c *Content) { c.Pools, c.Sites = prefixes("2001:db8:4::/48"), manySites(n) })
	for i := range n {
		w.ask(fmt.Sprintf("request pd1 accept site=s%d", i))
	}
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:5::/48") })
	if len(w.act.Send) != atOnce || len(w.act.Commit) != n {
		t.Fatalf("%d at once, %d to write", len(w.act.Send), len(w.act.Commit))
	}
	start, told := w.now, map[wgkey.Public][]time.Duration{}
	hear := func(sent []Datagram) {
		for _, d := range sent {
			m := w.reconfigured(d)
			if told[d.Site] = append(told[d.Site], w.now.Sub(start)); len(told)%2 == 1 && len(told[d.Site]) == 1 { // every other one answers
				ev, q := w.query("renew pd1 accept")
				q.ClientID = m.ClientID
				w.step(w.now, Received{Site: d.Site, Data: q.Append(ev.Data[:0])})
			}
		}
	}
	hear(w.act.Send)
	for !w.act.Wake.After(start.Add(10 * time.Minute)) {
		act := w.step(w.act.Wake, Tick{})
		if len(act.Send) > 2*perPace {
			t.Fatalf("%d in one step", len(act.Send))
		}
		hear(act.Send)
	}
	once, often := 0, 0
	for k, at := range told {
		switch len(at) {
		case 1:
			once++
		case server.RecMaxRC:
			often++
		}
		if at[0] > pace(n) || len(at) > 1 && !slices.Equal(at, after(at[0], 0, 2, 6, 14, 30, 62, 126, 254)) {
			t.Errorf("%s is told after %v", k, at)
		}
	}
	if once != n/2 || often != n/2 || len(told) != n || pace(n) > time.Second {
		t.Errorf("%d sites are told, %d once, %d eight times, within %v", len(told), once, often, pace(n))
	}
}

// after is the instant and so many seconds.
func after(at time.Duration, seconds ...int) (all []time.Duration) {
	for _, s := range seconds {
		all = append(all, at+time.Duration(s)*time.Second)
	}
	return all
}

// manySites are s0, s1 and so on.
func manySites(n int) map[wgkey.Public]Site {
	all := map[wgkey.Public]Site{}
	for i := range n {
		name := fmt.Sprintf("s%d", i)
		all[keyOfSite(name)] = Site{Name: name}
	}
	return all
}

// A site is told what else has changed, and only if it has something, accepts it, and has our key (RFC 9915 section 20.4).
func TestReconfigureForWhat(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(*Content)
		want   string
	}{
		{"nothing", func(c *Content) { c.Sites = sites("a b c x") }, ""},
		{"another name", func(c *Content) { c.Sites = sites("a b c"); c.Sites[keyOfSite("a")] = Site{Name: "other"} }, ""},
		{"one more pool", func(c *Content) { c.Pools = append(slices.Clone(c.Pools), prefixes("2001:db8:2::/56")...) }, ""},
		{"lifetimes", func(c *Content) { c.Preferred /= 2 }, ""},
		{"a resolver", func(c *Content) { c.Info.DNS = []netip.Addr{netip.MustParseAddr("2001:db8::54")} }, "a"},
		{"a pool less", func(c *Content) { c.Pools = nil }, "a"},
		{"a reservation", func(c *Content) { c.Sites = sites("a=2001:db8:9::/64 b=2001:db8:8::/64 c") }, "a"},
	} {
		w := newWorld(t)
		w.ask("request pd1 accept")
		w.ask("request site=b pd1")
		w.ask("renew site=b pd1 accept") // too late: it has no key
		w.ask("solicit site=c pd1 accept")
		w.change(tc.change)
		got := ""
		for _, d := range w.act.Send {
			w.reconfigured(d)
			got += strings.TrimRight(string(d.Site[:]), "\x00")
		}
		if got != tc.want {
			t.Errorf("%s: told are %q, want %q", tc.what, got, tc.want)
		}
	}
}

// The key comes with the first Reply, and is the site's whatever DUID it uses: another site with this DUID learns nothing.
func TestRFC9915_20_4_2_ReconfigureKeyIsTheSites(t *testing.T) {
	w := newWorld(t)
	keys := map[dhcpv6.ReconfigureKey]string{}
	for _, site := range []string{"a", "b"} {
		_, m := w.ask("request pd1 accept duid=a site=" + site)
		k, ok := m.Auth.ReconfigureKey()
		if !ok || keys[k] != "" {
			t.Errorf("%s gets %v %v", site, ok, keys)
		}
		keys[k] = site
	}
	if _, m := w.ask("renew pd1 accept"); m.Auth != nil {
		t.Error("the key comes with a Renew")
	}
	w.m = New(Config{DUID: ourDUID})
	w.routes = map[wgkey.Public][]netip.Prefix{}
	w.set(testContent())
	w.want("request pd1 accept", "reply pd1 2001:db8:1:1::/64=2700/5400") // without a secret there is no key
}

// Replay values grow over restarts, and are never told before they are on disk (checked by each step).
func TestRFC9915_20_3_ReplayGrowsAtTheHub(t *testing.T) {
	w := newWorld(t)
	last := uint64(0)
	for i := range 3000 {
		if i%1000 == 999 {
			w.restart()
		}
		_, m := w.ask("request pd1 accept")
		if m.Auth == nil || m.Auth.Replay <= last {
			t.Fatalf("%d after %d", m.Auth.Replay, last)
		}
		last = m.Auth.Replay
	}
	if w.writes > 10 {
		t.Errorf("%d writes for 3000 keys", w.writes)
	}
}
