// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"oasis6/dhcpv6"
	"oasis6/internal/wgkey"
)

// believer is what a site thinks that it has, from the Replies that reached it: nobody else may get that, whatever was
// lost, saved or not, or crashed in between.
type believer struct {
	name   string
	leases []belief
}

type belief struct {
	iaid   dhcpv6.IAID
	prefix netip.Prefix
	until  time.Time
}

// hear takes a Reply over.
func (c *believer) hear(now time.Time, m dhcpv6.Message) {
	for _, ia := range m.IAs {
		for _, p := range ia.Prefixes {
			c.leases = slices.DeleteFunc(c.leases, func(b belief) bool { return b.prefix == p.Prefix })
			if p.Valid > 0 {
				c.leases = append(c.leases, belief{ia.IAID, p.Prefix, now.Add(time.Duration(p.Valid) * time.Second)})
			}
		}
	}
}

// named is the IA in the words of a query, with what the site thinks it has.
func (c *believer) named(iaid dhcpv6.IAID) string {
	words := fmt.Sprintf("pd%d", iaid)
	for _, b := range c.leases {
		if b.iaid == iaid {
			words += " " + b.prefix.String()
		}
	}
	return words
}

// operations is the state of one random run.
type operations struct {
	*world
	rt    *rapid.T
	sites []*believer
}

// Random sites, contents, losses, failing writes and crashes, with steps one by one or many to a write. After each: no two
// sites are routed or think that they have parts of one prefix; what a Reply told is on disk for as long and is routed;
// Changed has named each site whose routes are others; what is routed are the leases that are not over; claims and queues
// are those of the leases. rapid makes a hundred runs of sixty points.
func TestRandomOperations(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := &operations{world: worldWith(rt, randomContent(rt)), rt: rt}
		for i := range 5 {
			o.sites = append(o.sites, &believer{name: string(rune('a' + i))})
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 11).Draw(rt, "kind") {
			case 0:
				o.settle()
				o.set(randomContent(rt))
			case 1, 2:
				o.settle()
				o.wait(time.Duration(rapid.SampledFrom([]int{1, 59, 61, 700, 1900, 2800, 7000}).Draw(rt, "wait")) * time.Second)
			case 3:
				o.restart() // also with writes that wait, which are lost
			case 4:
				o.settle()
				o.diskFull, o.lies = !o.diskFull, rapid.Bool().Draw(rt, "lies")
			case 5:
				o.settle()
				o.batch = !o.batch
			default:
				o.message()
			}
			o.agree()
			checkInside(rt, o.m)
		}
	})
}

// settle writes what waits. What that sends is lost.
func (o *operations) settle() {
	if o.batch {
		o.save()
	}
}

// message is one of a random site.
func (o *operations) message() {
	c := rapid.SampledFrom(o.sites).Draw(o.rt, "site")
	q := rapid.SampledFrom([]string{"solicit", "solicit rapid", "solicit rapid", "request", "request", "renew", "renew", "rebind", "release", "decline", "confirm", "information-request"}).Draw(o.rt, "message")
	ias := rapid.SampledFrom([]string{"pd1", "pd2", "pd1 pd2", "pd1 ::/61", "pd1 ::/60 pd2 ::/62", "pd1 2001:db8:1:3::/64", "pd3", "pd1 2001:db8:9::/62 na1"}).Draw(o.rt, "ias")
	if q != "solicit" && q != "request" {
		ias = c.named(dhcpv6.IAID(rapid.IntRange(1, 3).Draw(o.rt, "ia")))
	}
	switch {
	case q == "information-request":
		ias = ""
	case q == "release":
		// "The client MUST stop using the leases" before it sends: it believes in them no longer.
		c.leases = slices.DeleteFunc(c.leases, func(b belief) bool { return strings.Contains(ias, b.prefix.String()) })
	}
	words := q + " site=" + c.name + " " + ias + rapid.SampledFrom([]string{"", " accept"}).Draw(o.rt, "accept")
	if rapid.IntRange(0, 9).Draw(o.rt, "other") == 0 {
		words += " duid=a"
	}
	ev, _ := o.query(words)
	act := o.step(o.now, ev)
	if o.batch && rapid.Bool().Draw(o.rt, "save") {
		act = o.save()
	} else if o.batch {
		return // nothing has left
	}
	for _, d := range act.Send {
		m, _, _ := dhcpv6.ParseMessage(d.Data)
		if m.Type == dhcpv6.Reply && rapid.IntRange(0, 4).Draw(o.rt, "lost") > 0 {
			i := slices.IndexFunc(o.sites, func(c *believer) bool { return keyOfSite(c.name) == d.Site })
			o.sites[i].hear(o.now, m)
		}
	}
}

// agree: what sites think that they have does not overlap, and is routed to them if they are there.
func (o *operations) agree() {
	for _, a := range o.sites {
		a.leases = slices.DeleteFunc(a.leases, func(b belief) bool { return !o.now.Before(b.until) })
	}
	for i, a := range o.sites {
		for _, x := range a.leases {
			routed := o.m.Routed(keyOfSite(a.name))
			if _, in := o.content.Sites[keyOfSite(a.name)]; in && !slices.Contains(routed, x.prefix) {
				o.rt.Fatalf("%v: %s thinks it has %s, routed are %v:\n%s", o.now.Sub(t0), a.name, x.prefix, routed, o.dump())
			}
			for _, b := range o.sites[i+1:] {
				for _, y := range b.leases {
					if x.prefix.Overlaps(y.prefix) {
						o.rt.Fatalf("%v: %s thinks it has %v, %s %v:\n%s", o.now.Sub(t0), a.name, x, b.name, y, o.dump())
					}
				}
			}
		}
	}
}

// checkInside: claims, queues and counters are those of the leases and the content, whatever was undone.
func checkInside(t *rapid.T, m *Machine) {
	claims, queued, remembers := map[*claim]bool{}, map[*lease]bool{}, map[*lease]bool{}
	m.trie.root.all(func(c *claim) bool { claims[c] = true; return true })
	for _, l := range m.deadlines.items {
		queued[l] = true
	}
	for i := range m.memory {
		for _, l := range m.memory[i].items {
			remembers[l] = true
		}
	}
	var states [gone]int
	for k, s := range m.sites {
		if s.key != k || !s.present && len(s.bindings) == 0 && s.touched == 0 {
			t.Fatalf("site %s is there for nothing", k)
		}
		iaids := map[dhcpv6.IAID]bool{}
		for _, c := range s.reserved {
			if !claims[c] {
				t.Fatalf("the reservation of %s is not claimed", c.prefix)
			}
			delete(claims, c)
		}
		for _, b := range s.bindings {
			if b.site != s || b.out || b.dirty || iaids[b.iaid] || len(b.leases) == 0 {
				t.Fatalf("binding %+v", b)
			}
			iaids[b.iaid] = true
			for _, l := range b.leases {
				states[l.state]++
				if l.b != b || l.site != s || claims[&l.claim] != (l.state < dormant) || queued[l] != (l.state <= resting) || remembers[l] != (l.state == remembered) {
					t.Fatalf("lease %s of %s is %d: claimed %v queued %v remembered %v", l.prefix, s.name, l.state, claims[&l.claim], queued[l], remembers[l])
				}
				if l.state < dormant {
					m.trie.overlapping(l.prefix, func(c *claim) bool {
						if c.lease != nil && c.lease != l || c.kind == offered {
							t.Fatalf("%s of %s is claimed twice", l.prefix, s.name)
						}
						return true
					})
				}
				delete(claims, &l.claim)
				delete(queued, l)
				delete(remembers, l)
			}
		}
	}
	for _, c := range m.taken {
		delete(claims, c)
	}
	if len(claims)+len(queued)+len(remembers) > 0 || states != m.states {
		t.Fatalf("left are %d claims, %d deadlines, %d memories; counted %v, want %v", len(claims), len(queued), len(remembers), m.states, states)
	}
}

// randomContent is a small one, so that things run out and overlap.
func randomContent(t *rapid.T) Content {
	c := Content{Sites: map[wgkey.Public]Site{}, Preferred: 900 * time.Second, Valid: 1800 * time.Second, MaxSiteLength: 60, SiteLength: 64}
	if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
		c.Preferred, c.Valid = 2700*time.Second, 5400*time.Second
	}
	for _, p := range prefixes("2001:db8:1::/61 2001:db8:1:8::/63 2001:db8:2::/60") {
		if rapid.Bool().Draw(t, "pool") {
			c.Pools = append(c.Pools, p)
		}
	}
	if rapid.Bool().Draw(t, "taken") {
		c.Taken = prefixes("2001:db8:1::/64 2001:db8:2:f::1/128")
	}
	reservations := [][]netip.Prefix{prefixes("2001:db8:1:4::/64"), prefixes("2001:db8:2::/62"), prefixes("2001:db8:9::/62"), prefixes("2001:db8:1:6::/63 2001:db8:9:8::/64"), prefixes("2001:db8:2:8::/80")}
	for i, n := range rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "sites") {
		if rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
			continue
		}
		s := Site{Name: string(rune('a' + i))}
		if rapid.IntRange(0, 2).Draw(t, "reserve") == 0 {
			s.Reserved = reservations[n]
		}
		c.Sites[keyOfSite(s.Name)] = s
	}
	return c
}

// The same events make the same actions.
func TestDeterministic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := randomContent(rt)
		a, b := worldWith(rt, c), worldWith(rt, c)
		for range 10 {
			words := rapid.SampledFrom([]string{"solicit rapid pd1 accept", "request pd1 pd2 ::/62", "release pd1"}).Draw(rt, "words") +
				" site=" + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "site")
			x, _ := a.ask(words)
			y, _ := b.ask(words)
			next := randomContent(rt)
			next.Sites = maps.Clone(next.Sites)
			a.set(next)
			b.set(next)
			if x != y || !reflect.DeepEqual(a.act, b.act) || a.dump() != b.dump() {
				rt.Fatalf("%s: %s and %s", words, x, y)
			}
		}
	})
}
