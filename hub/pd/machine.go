// SPDX-License-Identifier: MIT

package pd

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
)

// SaveInterval is how far apart writes are at least, for each binding, that nothing but renewals want.
const SaveInterval = time.Hour

// retryAfter is how long after a failed write one comes that nothing but time wants: a message that needs one is tried at
// once.
const retryAfter = time.Minute

// Machine is the server. It is not safe for concurrent use.
type Machine struct {
	cfg     Config
	content Content
	begun   bool // there is a content

	// Out of the content, with what it leaves open filled in.
	pools                     []netip.Prefix
	taken                     []*claim
	preferred, valid          time.Duration
	siteLength, maxSiteLength int

	sites     map[wgkey.Public]*site
	trie      trie
	deadlines queue[*lease]      // of those that are live or rest
	memory    [129]queue[*lease] // those remembered, by length, by when they ended
	states    [gone]int          // how many leases are so
	ended     uint64             // ends of leases so far
	outUntil  time.Time          // until then it is not said that nothing is left
	holdUntil time.Time          // nor that leases go on for want of another

	tell                        queue[*pending]
	replay, reserved, confirmed uint64 // the last value in use, that which was to be written, that which is on disk

	lost      bool      // there were more bindings
	lostUntil time.Time // until when sites may hold what they had of them

	touched   []*binding          // those that are not as on disk
	rewritten bool                // they are in the write that comes
	unsure    map[BindingKey]bool // records that nobody knows: a write of them failed
	again     []*binding          // what could not be written is looked at again
	retryAt   time.Time           // then; zero: nothing is
	stopped   bool

	counters counters
	dirty    []*binding // of the running step
	changed  []*site    // of the running step
	act      Actions    // of the running step
}

// New makes a machine without content.
func New(cfg Config) *Machine {
	if cfg.MaxPerSite <= 0 {
		cfg.MaxPerSite = DefaultMaxPerSite
	}
	return &Machine{cfg: cfg, sites: map[wgkey.Public]*site{}, unsure: map[BindingKey]bool{}}
}

// Step takes one event at the instant now and says what is to be done. now never goes back.
func (m *Machine) Step(now time.Time, ev Event) Actions {
	m.act, m.dirty, m.changed = Actions{}, m.dirty[:0], m.changed[:0]
	if ev, ok := ev.(Saved); ok {
		m.saved(now, ev.OK) // before anything is changed by this step
	}
	m.expire(now)
	switch ev := ev.(type) {
	case Restored:
		m.restore(now, ev)
	case SetContent:
		m.setContent(now, ev.Content)
	case Received:
		m.receive(now, ev)
	case Stop:
		m.stopped = true
	}
	m.sendReconfigures(now)
	m.finish(now)
	return m.act
}

// expire does what time wants: leases end, rest, and what could not be written is tried again.
func (m *Machine) expire(now time.Time) {
	if !m.begun || m.stopped {
		return
	}
	if !m.retryAt.IsZero() && !m.retryAt.After(now) {
		again := m.again
		m.again, m.retryAt = nil, time.Time{}
		for _, b := range again {
			b.again = false
		}
		m.judgeAll(now, again)
	}
	for {
		l, ok := m.deadlines.first()
		if !ok || l.key > now.UnixNano() {
			return
		}
		end, after := l.valid, m.end
		if l.state == resting {
			end, after = l.rests, m.afterRest
		}
		if end.Over(now) {
			after(now, l)
		} else if at, ends := end.Time(); ends {
			m.deadlines.set(l, at.UnixNano()) // it was renewed
		} else {
			m.deadlines.remove(l)
		}
	}
}

// finish turns what the step has changed into what is to be written, and finds the next deadline.
func (m *Machine) finish(now time.Time) {
	if m.act.MustSave() || len(m.dirty) > 0 {
		m.rewrite()
	}
	for _, b := range m.dirty {
		b.dirty = false
		if c := (Change{Key: b.key()}); !b.out {
			c.Binding = m.record(now, b)
			m.act.Commit = append(m.act.Commit, c)
		} else if b.site.binding(b.iaid) == nil { // not another one in its place
			m.act.Commit = append(m.act.Commit, c)
		}
	}
	clear(m.dirty)
	for _, s := range m.changed {
		s.changed = false
		m.act.Changed = append(m.act.Changed, s.key)
	}
	clear(m.changed)
	if !m.stopped && m.begun {
		m.act.Wake = m.wake()
	}
}

// wake is the next deadline.
func (m *Machine) wake() time.Time {
	at := m.retryAt
	if l, ok := m.deadlines.first(); ok {
		at = earlier(at, time.Unix(0, l.key).UTC())
	}
	if p, ok := m.tell.first(); ok {
		at = earlier(at, time.Unix(0, p.key).UTC())
	}
	return at
}

// earlier is the earlier of two deadlines; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// record is the binding as it goes to disk. What can be renewed is written as if it had been, SaveInterval from now; so is
// what is held.
func (m *Machine) record(now time.Time, b *binding) *Binding {
	r := b.public()
	for i, l := range b.leases {
		if l.state == live && !l.released && (!l.stale || l.held) {
			if far := lifetime.At(now.Add(m.valid + SaveInterval)); r.Leases[i].Valid.Before(far) {
				r.Leases[i].Valid = far
			}
			if far := lifetime.At(now.Add(m.preferred + SaveInterval)); r.Leases[i].Preferred.Before(far) {
				r.Leases[i].Preferred = far
			}
		}
		l.disk = r.Leases[i].Valid
	}
	return r
}

// public is the binding as others see it.
func (b *binding) public() *Binding {
	r := &Binding{Site: b.site.key, IAID: b.iaid, DUID: b.duid, Reconfigure: b.reconfigure, Leases: make([]Lease, 0, len(b.leases))}
	for _, l := range b.leases {
		r.Leases = append(r.Leases, Lease{l.prefix, l.preferred, l.valid, l.released, l.stale, l.ended, l.rests, l.atMost})
	}
	return r
}

// sweep forgets a site that nothing is known of.
func (m *Machine) sweep(s *site) {
	if !s.present && len(s.bindings) == 0 && s.touched == 0 {
		m.stopTelling(s)
		delete(m.sites, s.key)
	}
}

// Routed are the prefixes that must be routed to a site and stand in its allowed-ips, in order: those of its leases whose
// valid lifetimes are not over. None for a site that is not in the content.
func (m *Machine) Routed(k wgkey.Public) (all []netip.Prefix) {
	s := m.sites[k]
	if s == nil || !s.present {
		return nil
	}
	for _, b := range s.bindings {
		for _, l := range b.leases {
			if l.state == live {
				all = append(all, l.prefix)
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// AllRouted gives what Routed says of all sites, in order of prefixes. It is an iter.Seq2.
func (m *Machine) AllRouted(yield func(site wgkey.Public, p netip.Prefix) bool) {
	m.trie.root.all(func(c *claim) bool {
		return c.kind != held || !c.site.present || yield(c.site.key, c.prefix)
	})
}

// Exhausted are the pools that have no prefix of SiteLength left, not even one that is only remembered.
func (m *Machine) Exhausted() []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(m.pools), func(pool netip.Prefix) bool {
		return m.trie.find(pool, m.siteLength, anyhow).IsValid()
	})
}

// Held is how many leases are renewed that are to be replaced, for want of another prefix.
func (m *Machine) Held() (n int) {
	for _, s := range m.sites {
		for _, b := range s.bindings {
			for _, l := range b.leases {
				if l.held && l.state == live {
					n++
				}
			}
		}
	}
	return n
}

// Bindings are those of a site that have leases which are not over, with these alone. They belong to the caller.
func (m *Machine) Bindings(k wgkey.Public, now time.Time) (all []Binding) {
	s := m.sites[k]
	if s == nil {
		return nil
	}
	for _, b := range s.bindings {
		r := b.public()
		r.Leases = slices.DeleteFunc(r.Leases, func(l Lease) bool { return l.Ended > 0 || l.Valid.Over(now) })
		if len(r.Leases) > 0 {
			all = append(all, *r)
		}
	}
	slices.SortFunc(all, func(a, b Binding) int { return cmp.Compare(a.IAID, b.IAID) })
	return all
}

// AllBindings gives all bindings whole, also with leases that are over, in order of keys.
func (m *Machine) AllBindings() iter.Seq[*Binding] {
	return func(yield func(*Binding) bool) {
		for _, k := range slices.SortedFunc(maps.Keys(m.sites), compareKeys) {
			for _, b := range m.sites[k].bindings {
				if !yield(b.public()) {
					return
				}
			}
		}
	}
}
