// SPDX-License-Identifier: MIT

package pd

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/wgkey"
)

// tunnels are links in virtual time between our clients and the machine: they lose and delay.
type tunnels struct {
	w      *world
	boxes  map[wgkey.Public]*box
	rand   *rand.Rand
	loss   float64
	flying []flight
	after  func() // each event
}

type box struct {
	c    *client.Client
	wake time.Time
}

type flight struct {
	at       time.Time
	site     wgkey.Public
	data     []byte
	toServer bool
}

var (
	hubAddress = netip.MustParseAddr("fe80::1")
	boxAddress = netip.MustParseAddr("fe80::2")
)

func (l *tunnels) carry(site wgkey.Public, data []byte, toServer bool) {
	if l.rand.Float64() >= l.loss {
		l.flying = append(l.flying, flight{l.w.now.Add(time.Duration(1+l.rand.IntN(200)) * time.Millisecond), site, data, toServer})
	}
}

func (l *tunnels) client(k wgkey.Public, ev client.Event) {
	act := l.boxes[k].c.Step(l.w.now, ev)
	l.boxes[k].wake = act.Wake
	for _, m := range act.Send {
		l.carry(k, m, true)
	}
}

func (l *tunnels) server(act Actions) {
	for _, d := range act.Send {
		l.carry(d.Site, d.Data, false)
	}
}

// run goes from event to event for a time, or until done.
func (l *tunnels) run(d time.Duration, done func() bool) {
	l.w.t.Helper()
	for end := l.w.now.Add(d); !done(); l.after() {
		next, flies := l.w.act.Wake, -1
		var ticks wgkey.Public
		for k, b := range l.boxes {
			if !b.wake.IsZero() && (next.IsZero() || b.wake.Before(next) || b.wake.Equal(next) && compareKeys(k, ticks) < 0) {
				next, ticks = b.wake, k
			}
		}
		for i, f := range l.flying {
			if next.IsZero() || f.at.Before(next) {
				next, flies = f.at, i
			}
		}
		if next.IsZero() || next.After(end) {
			l.w.now = end
			return
		}
		l.w.now = next
		switch {
		case flies >= 0:
			f := l.flying[flies]
			l.flying = slices.Delete(l.flying, flies, flies+1)
			if f.toServer {
				l.server(l.w.step(next, Received{Site: f.site, Data: f.data}))
			} else {
				l.client(f.site, client.Received{From: hubAddress, To: boxAddress, Data: f.data})
			}
		case ticks != wgkey.Public{}:
			l.client(ticks, client.Tick{})
		default:
			l.server(l.w.step(next, Tick{}))
		}
	}
}

// preferred are the prefixes that a box may use now.
func (l *tunnels) preferred(k wgkey.Public) (all []netip.Prefix) {
	for _, p := range l.boxes[k].c.Lease().Prefixes() {
		if !p.Preferred.Over(l.w.now) {
			all = append(all, p.Prefix)
		}
	}
	return all
}

// all says that each box prefers one prefix, in that pool.
func (l *tunnels) all(pool string) bool {
	for k := range l.boxes {
		if p := l.preferred(k); len(p) != 1 || !covers(netip.MustParsePrefix(pool), p[0]) {
			return false
		}
	}
	return true
}

// Our clients through lossy tunnels, over renewals, a crash, a full disk and a renumbering: from the first prefix on a box
// always has one that it prefers, and whatever it holds is routed to it.
func TestOurClientsOverLossyTunnels(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 2
	}
	for seed := range uint64(seeds) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t)
		l := &tunnels{w: w, rand: r, loss: 0.2, boxes: map[wgkey.Public]*box{}, after: func() {}}
		for i, name := range []string{"a", "b", "c"} {
			k := keyOfSite(name)
			l.boxes[k] = &box{c: client.New(client.Config{DUID: dhcpv6.DUID("\x00\x04cccccccccccccccc"), PointToPoint: true, LossyLink: true,
				IAs: []client.Wanted{{Type: dhcpv6.PD, IAID: dhcpv6.DefaultIAID, Hint: prefixes("::/64 ::/62 ::/56")[i]}}}, r.Float64)}
			l.client(k, client.LinkUp{})
		}
		l.run(10*time.Minute, func() bool { return l.all("2001:db8:1::/56") })
		if !l.all("2001:db8:1::/56") {
			t.Fatalf("seed %d: not bound:\n%s", seed, w.dump())
		}
		l.after = func() { l.online(seed) }
		forever := func() bool { return false }
		l.run(3*time.Hour, forever)
		w.restart()
		l.server(w.act)
		l.run(time.Hour, forever)
		w.diskFull = true
		l.run(30*time.Minute, forever)
		w.diskFull = false
		l.run(2*time.Hour, forever)
		w.change(func(c *Content) { c.Pools = prefixes("2001:db8:2::/56") })
		l.server(w.act)
		began := w.now
		l.run(time.Hour, func() bool { return l.all("2001:db8:2::/56") })
		if took := w.now.Sub(began); took > 5*time.Minute {
			t.Fatalf("seed %d: renumbered after %v:\n%s", seed, took, w.dump())
		}
		l.run(3*time.Hour, forever)
		if len(w.routes) != 3 || w.m.Stats().Live != 3 {
			t.Fatalf("seed %d: in the end there are\n%s", seed, w.dump())
		}
	}
}

// online: each box has something that it prefers, and all it holds is routed to it.
func (l *tunnels) online(seed uint64) {
	l.w.t.Helper()
	for k, b := range l.boxes {
		if len(l.preferred(k)) == 0 {
			l.w.t.Fatalf("seed %d, %v: %s has nothing: %+v", seed, l.w.now.Sub(t0), k, b.c.Lease().Prefixes())
		}
		for _, p := range b.c.Lease().Prefixes() {
			// A Reply that was on its way for a while counts from when it came.
			if p.Valid.Left(l.w.now) > time.Second && !slices.Contains(l.w.routes[k], p.Prefix) {
				l.w.t.Fatalf("seed %d, %v: %s holds %s, routed is %v", seed, l.w.now.Sub(t0), k, p.Prefix, l.w.routes[k])
			}
		}
	}
}
