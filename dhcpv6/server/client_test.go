// SPDX-License-Identifier: MIT

package server

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
)

// lossy is a link in virtual time between our client and a server: it loses, repeats and delays.
type lossy struct {
	w      *world
	c      *client.Client
	cAct   client.Actions
	rand   *rand.Rand
	loss   float64
	flying []flight
}

type flight struct {
	at       time.Time
	data     []byte
	toServer bool
}

func (l *lossy) carry(data []byte, toServer bool) {
	for range 1 + l.rand.IntN(2)*l.rand.IntN(2) {
		if l.rand.Float64() >= l.loss {
			l.flying = append(l.flying, flight{l.w.now.Add(time.Duration(1+l.rand.IntN(300)) * time.Millisecond), data, toServer})
		}
	}
}

func (l *lossy) client(ev client.Event) {
	l.cAct = l.c.Step(l.w.now, ev)
	for _, m := range l.cAct.Send {
		l.carry(m, true)
	}
}

func (l *lossy) server(ev Event) {
	l.sent(l.w.step(l.w.now, ev))
}

func (l *lossy) sent(act Actions) {
	for _, d := range act.Send {
		l.carry(d.Data, false)
	}
}

// run goes from event to event for a time, or until done.
func (l *lossy) run(d time.Duration, done func() bool) {
	for end := l.w.now.Add(d); !done(); {
		next := earlier(l.cAct.Wake, l.w.act.Wake)
		i := -1
		for j, f := range l.flying {
			if next.IsZero() || !f.at.After(next) {
				next, i = f.at, j
			}
		}
		if next.IsZero() || next.After(end) {
			l.w.now = end
			return
		}
		l.w.now = next
		switch {
		case i >= 0:
			f := l.flying[i]
			l.flying = slices.Delete(l.flying, i, i+1)
			if f.toServer {
				l.server(Received{Link: "lan", Src: address("cl"), Data: f.data})
			} else {
				l.client(client.Received{From: netip.MustParseAddr("fe80::1"), To: address("cl"), Data: f.data})
			}
		case next.Equal(l.cAct.Wake):
			l.client(client.Tick{})
		default:
			l.server(Tick{})
		}
	}
}

// prefixes are those that the client prefers.
func (l *lossy) prefixes() (all []netip.Prefix) {
	for _, p := range append(l.c.Lease().Prefixes(), l.c.Lease().Addresses()...) {
		if !p.Preferred.Over(l.w.now) {
			all = append(all, p.Prefix)
		}
	}
	return all
}

// in says that the client prefers one prefix in the pool and one address on the link, and nothing else.
func (l *lossy) in(pool, link string) bool {
	p := l.prefixes()
	return len(p) == 2 && netip.MustParsePrefix(pool).Contains(p[0].Addr()) && netip.MustParsePrefix(link).Contains(p[1].Addr())
}

func forever() bool { return false }

// Our client against our server, with 20 % lost each way: it binds, renews, is renumbered by Reconfigure within seconds,
// survives a crash of the server and one with all forgotten, and in the end both agree on what it has.
func TestOurClientOverALossyLink(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t)
		l := &lossy{w: w, rand: r, loss: 0.2, c: client.New(client.Config{DUID: client0,
			IAs: []client.Wanted{{Type: dhcpv6.PD, IAID: 1, Hint: netip.MustParsePrefix("::/62")}, {Type: dhcpv6.NA, IAID: 1}}}, r.Float64)}
		l.client(client.LinkUp{})
		l.run(10*time.Minute, func() bool { return l.in("2001:db8:1::/56", "2001:db8:1::/64") })
		if !l.in("2001:db8:1::/56", "2001:db8:1::/64") {
			t.Fatalf("seed %d: not bound, %s, has %v", seed, l.c.Status().State, l.prefixes())
		}
		first := l.prefixes()
		if first[0].Bits() != 62 || !l.c.Status().Reconfigure {
			t.Fatalf("seed %d: %v, reconfigure %v", seed, first, l.c.Status().Reconfigure)
		}
		l.run(3*time.Hour, forever)
		w.restart() // a crash, between two renewals or in the midst of one
		l.sent(w.act)
		l.run(3*time.Hour, forever)
		if !slices.Equal(l.prefixes(), first) {
			t.Fatalf("seed %d: %v after renewals and a crash, want %v", seed, l.prefixes(), first)
		}
		w.set(renumbered())
		l.sent(w.act)
		began := w.now
		l.run(10*time.Minute, func() bool { return l.in("2001:db8:2::/56", "2001:db8:2::/64") })
		if took := w.now.Sub(began); !l.in("2001:db8:2::/56", "2001:db8:2::/64") || took > 5*time.Minute {
			t.Fatalf("seed %d: renumbered after %v: %v", seed, took, l.prefixes())
		}
		w.disk = nil // all is forgotten
		w.restart()
		w.set(renumbered())
		l.run(4*time.Hour, forever)
		if st := l.c.Status(); !l.in("2001:db8:2::/56", "2001:db8:2::/64") || st.State != client.Bound && st.State != client.Renewing {
			t.Fatalf("seed %d: %s with %v after the server forgot everything: %s", seed, st.State, l.prefixes(), st.LastError)
		}
		has := map[netip.Prefix]time.Duration{}
		for _, b := range w.s.Bindings(w.now) {
			for _, x := range b.Leases {
				has[x.Prefix] = x.Valid.Left(w.now)
			}
		}
		for _, p := range append(l.c.Lease().Prefixes(), l.c.Lease().Addresses()...) {
			// A Reply that was on its way for a while counts from when it came.
			if left := p.Valid.Left(w.now); has[p.Prefix] < left-time.Second {
				t.Fatalf("seed %d: the client has %s for %v, by the server's account %v", seed, p.Prefix, left, has)
			}
		}
	}
}

// client0 is the DUID of our client.
const client0 = dhcpv6.DUID("\x00\x04cccccccccccccccc")
