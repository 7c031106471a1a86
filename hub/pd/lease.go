// SPDX-License-Identifier: MIT

package pd

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/bucket"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

// state is what a lease is now.
//
//	        valid lifetime out          at least minQuarantine
//	live ─────────────────────► resting ─────────────────────► remembered ◄──► dormant
//	 ▲                             │                               │    content   │
//	 └─────────────────────────────┴───────── its site asks ───────┴──────────────┘
//
// A lease that is live is routed to its site. Released and stale ones are live too: somebody may use them. A stale one is
// deprecated when its site gets another, and not before: until then it has a preferred lifetime.
type state uint8

const (
	live       state = iota
	resting          // over; only its own site gets it
	remembered       // over; its site gets it again, unless somebody needed it
	dormant          // over, and nothing that the content allows: remembered in case that it does again
	gone             // no lease any more
)

// Bounds of what one site makes us keep. A binding has more than one live lease only while pools change.
const (
	maxLeases = 16 // of one binding, live ones
	maxOver   = 16 // of one site, those that are over and do not rest
)

// minQuarantine is how long a prefix rests at least: hosts forget an address by then that no router advertises.
const minQuarantine = 10 * time.Minute

// terms are what changes in a lease.
type terms struct {
	preferred, valid, rests lifetime.Until
	disk                    lifetime.Until // the valid lifetime that is on disk
	ended                   uint64
	state                   state
	released, stale         bool
	held                    bool // stale, and renewed for want of another; not on disk
	atMost                  bool // restored, and not asked for since; not on disk
}

// lease is one prefix of a binding.
type lease struct {
	claim
	terms
	place
	b *binding
}

func (l *lease) where() *place { return &l.place }

// binding is what a site has for one IA.
type binding struct {
	site        *site
	iaid        dhcpv6.IAID
	duid        dhcpv6.DUID
	reconfigure bool
	leases      []*lease
	out         bool    // it is none of its site any more
	dirty       bool    // this step changes it
	again       bool    // it is in Machine.again
	before      *before // what is on disk, if that is something else
}

// site is one WireGuard key.
type site struct {
	key      wgkey.Public
	name     string
	present  bool     // it is in the content
	reserved []*claim // in the content's order
	bindings []*binding
	pending  []*pending
	writes   bucket.Bucket
	stats    SiteStats
	changed  bool // in this step
	touched  int  // bindings of it in Machine.touched
}

// Writes that a site can cause: a new lease, a release, another answer to whether it accepts Reconfigure. Boxes that start
// again and again stay below; who does more makes the disk busy, and waits.
const (
	writeBurst = 32
	writeEvery = 10 * time.Second
)

// site finds the site of a key, or makes it.
func (m *Machine) site(k wgkey.Public) *site {
	s := m.sites[k]
	if s == nil {
		s = &site{key: k, writes: bucket.Bucket{Burst: writeBurst, Every: writeEvery}}
		m.sites[k] = s
	}
	return s
}

// binding is that of an IA, or nil.
func (s *site) binding(iaid dhcpv6.IAID) *binding {
	for _, b := range s.bindings {
		if b.iaid == iaid {
			return b
		}
	}
	return nil
}

// label is what people call the site.
func (s *site) label() string {
	if s.name != "" {
		return s.name
	}
	return s.key.String()
}

func (b *binding) key() BindingKey { return BindingKey{b.site.key, b.iaid} }

// known says that the site has something of it that it did not give back.
func (b *binding) known() bool {
	return b != nil && slices.ContainsFunc(b.leases, func(l *lease) bool { return l.state == live && !l.released })
}

// live says that something of it is routed, or would be if the site were there.
func (b *binding) live() bool {
	return slices.ContainsFunc(b.leases, func(l *lease) bool { return l.state == live })
}

// countLive is how many leases of it are live.
func (b *binding) countLive() (n int) {
	for _, l := range b.leases {
		if l.state == live {
			n++
		}
	}
	return n
}

// countLive is how many bindings of it are live.
func (s *site) countLive() (n int) {
	for _, b := range s.bindings {
		if b.live() {
			n++
		}
	}
	return n
}

// find is the lease of the prefix, or nil.
func (b *binding) find(p netip.Prefix) *lease {
	for _, l := range b.leases {
		if l.prefix == p {
			return l
		}
	}
	return nil
}

// covers says that all of p is in q.
func covers(q, p netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }

// inReserved says that the prefix is a part of what is reserved for the site.
func (s *site) inReserved(p netip.Prefix) bool {
	return slices.ContainsFunc(s.reserved, func(c *claim) bool { return covers(c.prefix, p) })
}

// inPool says that the prefix is a part of a pool.
func (m *Machine) inPool(p netip.Prefix) bool {
	return slices.ContainsFunc(m.pools, func(q netip.Prefix) bool { return covers(q, p) })
}

// allows says that the site may have the prefix, as far as the content says.
func (m *Machine) allows(s *site, p netip.Prefix) bool {
	ok := m.inPool(p) || s.inReserved(p)
	if ok {
		m.trie.overlapping(p, func(c *claim) bool {
			ok = c.kind != taken && (c.kind != reserved || c.site == s)
			return ok
		})
	}
	return ok
}

// enter makes a lease what it is now: its claim, its deadline, its route.
func (m *Machine) enter(now time.Time, l *lease, to state) {
	m.leave(l)
	m.states[to]++
	l.state = to
	switch to {
	case live:
		l.kind = held
		m.schedule(now, l, l.valid)
	case resting:
		l.kind = rests
		m.schedule(now, l, l.rests)
	case remembered:
		l.kind = wished
		m.memory[l.prefix.Bits()].set(l, int64(l.ended))
	}
	if to < dormant {
		m.trie.insert(&l.claim)
	}
	if to == live {
		m.routed(l.site)
	}
}

// leave takes a lease out of everything that refers to it, but its binding.
func (m *Machine) leave(l *lease) {
	switch l.state {
	case live:
		m.routed(l.site)
		fallthrough
	case resting:
		m.trie.remove(&l.claim)
		m.deadlines.remove(l)
	case remembered:
		m.trie.remove(&l.claim)
		m.memory[l.prefix.Bits()].remove(l)
	case gone:
		return
	}
	m.states[l.state]--
	l.state = gone
}

// schedule sets the deadline of a lease. What should be over already was to be, but that could not be written: it is tried
// again later.
func (m *Machine) schedule(now time.Time, l *lease, end lifetime.Until) {
	at, ends := end.Time()
	if !ends {
		return
	}
	if !at.After(now) {
		at = later(at, m.retryAt)
	}
	m.deadlines.set(l, at.UnixNano())
}

// later is the later one of two instants.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// routed says that what is routed to the site has changed.
func (m *Machine) routed(s *site) {
	if s.present && !s.changed {
		s.changed = true
		m.changed = append(m.changed, s)
	}
}

// grant gives a binding a lease. Memories of others give way.
func (m *Machine) grant(b *binding, p netip.Prefix) *lease {
	m.change(b)
	var way []*lease
	m.trie.overlapping(p, func(c *claim) bool {
		if c.kind == rests || c.kind == wished {
			way = append(way, c.lease)
		}
		return true
	})
	for _, l := range way {
		m.forget(l)
	}
	if old := b.find(p); old != nil {
		m.forget(old) // a dormant one
	}
	l := newLease(b, p)
	if b.out { // it was of nothing but what gave way
		m.attach(b)
	}
	return l
}

// newLease adds a lease that is nothing yet.
func newLease(b *binding, p netip.Prefix) *lease {
	l := &lease{b: b, claim: claim{prefix: p, site: b.site}, terms: terms{state: gone}}
	l.lease = l
	b.leases = append(b.leases, l)
	return l
}

// end is the end of a live lease's valid lifetime.
func (m *Machine) end(now time.Time, l *lease) {
	m.change(l.b)
	m.note(note.Info, "lease is over", l)
	m.ended++
	l.terms = terms{rests: lifetime.At(now.Add(max(m.valid, minQuarantine))), ended: m.ended, state: l.state}
	m.enter(now, l, resting)
	m.boundMemory(l.site)
	var waiting []*site
	m.trie.overlapping(l.prefix, func(c *claim) bool {
		if c.kind == reserved && c.site != l.site {
			waiting = append(waiting, c.site)
		}
		return true
	})
	m.startReconfigures(now, waiting)
}

// boundMemory forgets what ended first, of what no longer rests, if the site has too much that is over.
func (m *Machine) boundMemory(s *site) {
	var over []*lease
	for _, b := range s.bindings {
		for _, l := range b.leases {
			if l.state != live && l.state != resting {
				over = append(over, l)
			}
		}
	}
	slices.SortFunc(over, func(a, b *lease) int { return cmp.Compare(a.ended, b.ended) })
	for _, l := range over[:max(0, len(over)-maxOver)] {
		m.forget(l)
	}
}

// afterRest makes of a lease that is over what the content wants it to be.
func (m *Machine) afterRest(now time.Time, l *lease) {
	to := remembered
	if l.site.inReserved(l.prefix) || !m.allows(l.site, l.prefix) {
		to = dormant
	} else {
		m.trie.overlapping(l.prefix, func(c *claim) bool {
			if c != &l.claim {
				to = dormant // somebody has got it
			}
			return to == remembered
		})
	}
	if l.state != to {
		m.enter(now, l, to)
	}
}

// forget takes a lease out of its binding, and an empty binding out of its site.
func (m *Machine) forget(l *lease) {
	b := l.b
	m.change(b)
	m.leave(l)
	b.leases = slices.DeleteFunc(b.leases, func(x *lease) bool { return x == l })
	if len(b.leases) == 0 {
		m.detach(b)
	}
}

func (m *Machine) attach(b *binding) {
	b.out = false
	b.site.bindings = append(b.site.bindings, b)
}

func (m *Machine) detach(b *binding) {
	b.out = true
	b.site.bindings = slices.DeleteFunc(b.site.bindings, func(x *binding) bool { return x == b })
}

func (m *Machine) note(level note.Level, msg string, l *lease) {
	m.act.Notes = append(m.act.Notes, note.New(level, msg, "peer", l.site.label(), "prefix", l.prefix.String(), "iaid", l.b.iaid.String()))
}
