// SPDX-License-Identifier: MIT

package server

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"oasis6/dhcpv6"
)

// believer is what a client thinks that it has, from the Replies that reached it: the server must never give that to
// somebody else, whatever was lost, saved or not, or crashed in between.
type believer struct {
	name   string
	leases []belief
}

type belief struct {
	ia     string
	prefix netip.Prefix
	until  time.Time
}

// hear takes a Reply over.
func (c *believer) hear(now time.Time, m dhcpv6.Message) {
	for _, ia := range m.IAs {
		for _, p := range ia.Prefixes {
			c.leases = slices.DeleteFunc(c.leases, func(b belief) bool { return b.prefix == p.Prefix })
			if p.Valid > 0 {
				c.leases = append(c.leases, belief{ia.Type.String() + ia.IAID.String(), p.Prefix, now.Add(time.Duration(p.Valid) * time.Second)})
			}
		}
	}
}

// named is the IA in the words of a query, with what the client thinks it has.
func (c *believer) named(ia string) string {
	key := strings.NewReplacer("pd", "IA_PD0x", "na", "IA_NA0x").Replace(ia)
	for _, b := range c.leases {
		if b.ia == key {
			ia += " " + b.prefix.String()
		}
	}
	return ia
}

// Random clients, contents, losses, failing writes and crashes. After each step: no two clients think that they have
// the same (checked here), nothing is given twice by the server's own account, nothing is told that is not in the
// content or for longer than that, and nothing outside of it is in Bindings unless it is stale (checked by step).
func TestRandomOperations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := worldWith(rt, Config{DUID: ourDUID, Secret: [32]byte{9}, MaxBindings: 12, MaxPerClient: 3}, randomContent(rt, t0))
		w.oracle = false
		var clients []*believer
		for i := range 6 {
			clients = append(clients, &believer{name: fmt.Sprintf("c%d", i)})
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0:
				w.set(randomContent(rt, w.now))
			case 1:
				w.wait(time.Duration(rapid.IntRange(1, 7000).Draw(rt, "wait")) * time.Second)
			case 2:
				w.restart()
			case 3:
				w.diskFull = !w.diskFull
			default:
				c := rapid.SampledFrom(clients).Draw(rt, "client")
				q := rapid.SampledFrom([]string{"solicit", "solicit rapid", "request", "request", "renew", "rebind", "confirm", "release", "decline"}).Draw(rt, "message")
				link := rapid.SampledFrom([]string{"lan", "lan", "guest"}).Draw(rt, "link")
				ias := rapid.SampledFrom([]string{"pd1", "na1", "pd2", "na1 pd1", "pd1 ::/60", "pd1 ::/57", "pd1 2001:db8:1:42::/64", "pd3 na2"}).Draw(rt, "ias")
				if q != "solicit" && q != "request" {
					f := strings.Fields(ias)
					for i := range f {
						if !strings.Contains(f[i], ":") {
							f[i] = c.named(f[i])
						}
					}
					ias = strings.Join(f, " ")
				}
				accept := rapid.SampledFrom([]string{"", " accept"}).Draw(rt, "accept")
				heard := rapid.IntRange(0, 4).Draw(rt, "lost") > 0
				if strings.HasPrefix(q, "release") || strings.HasPrefix(q, "decline") {
					// "The client MUST stop using the leases" before it sends: it believes in them no longer.
					for _, p := range strings.Fields(ias) {
						c.leases = slices.DeleteFunc(c.leases, func(b belief) bool { return b.prefix.String() == p })
					}
				}
				_, m := w.ask(q + " client=" + c.name + " link=" + link + " " + ias + accept)
				if m.Type == dhcpv6.Reply && heard {
					c.hear(w.now, m)
				}
			}
			disjoint(rt, w, clients)
		}
	})
}

// disjoint: what clients think that they have does not overlap.
func disjoint(t *rapid.T, w *world, clients []*believer) {
	for _, a := range clients {
		a.leases = slices.DeleteFunc(a.leases, func(b belief) bool { return !w.now.Before(b.until) })
	}
	for i, a := range clients {
		for _, b := range clients[i+1:] {
			for _, x := range a.leases {
				for _, y := range b.leases {
					if x.prefix.Overlaps(y.prefix) && x.ia[:5] == y.ia[:5] {
						t.Fatalf("%v: %s thinks it has %+v, %s %+v; the server: %s", w.now.Sub(t0), a.name, x, b.name, y, w.bound())
					}
				}
			}
		}
	}
}

// randomContent is a small one, so that things run out and overlap.
func randomContent(t *rapid.T, now time.Time) Content {
	until := func(what string) time.Duration {
		return now.Sub(t0) + time.Duration(rapid.SampledFrom([]int{0, 300, 4000, 100000}).Draw(t, what))*time.Second
	}
	var c Content
	for _, p := range []string{"2001:db8:1::/60", "2001:db8:1:40::/62", "fd00:1::/61"} {
		if rapid.Bool().Draw(t, "pool") {
			x := Pool{Prefix: netip.MustParsePrefix(p), Preferred: at(until("preferred")), Valid: at(until("valid"))}
			if rapid.Bool().Draw(t, "taken") {
				x.Taken = []netip.Prefix{netip.PrefixFrom(x.Prefix.Addr(), 64), netip.MustParsePrefix("2001:db8:1:f::/64")}
			}
			c.Pools = append(c.Pools, x)
		}
	}
	onLink := map[string]string{"lan": "2001:db8:1::/112 fd00:1::/64", "guest": "2001:db8:1:1::/112 fd00:1:0:1::/64"}
	for _, name := range []string{"lan", "guest"} {
		if rapid.IntRange(0, 9).Draw(t, "gone") == 0 {
			continue
		}
		l := Link{Name: name, Stateful: rapid.Bool().Draw(t, "stateful"), Delegate: rapid.IntRange(0, 4).Draw(t, "delegate") > 0}
		for _, p := range prefixes(onLink[name]) {
			if rapid.Bool().Draw(t, "on link") {
				l.OnLink = append(l.OnLink, OnLink{Prefix: p, Preferred: at(until("preferred")), Valid: at(until("valid"))})
			}
		}
		c.Links = append(c.Links, l)
	}
	return c
}
