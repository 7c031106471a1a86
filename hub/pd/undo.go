// SPDX-License-Identifier: MIT

package pd

import (
	"maps"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// before is a binding as it was when the last write was confirmed: as on disk.
type before struct {
	exists      bool
	duid        dhcpv6.DUID
	reconfigure bool
	leases      []*lease
	terms       []terms
}

// change says that the binding is about to become something that must be on disk. It comes before each such change.
func (m *Machine) change(b *binding) {
	if b.before == nil {
		b.before = &before{exists: !b.out, duid: b.duid, reconfigure: b.reconfigure, leases: append([]*lease(nil), b.leases...)}
		for _, l := range b.leases {
			b.before.terms = append(b.before.terms, l.terms)
		}
		b.site.touched++
		m.touched = append(m.touched, b)
	}
	if !b.dirty {
		b.dirty = true
		m.dirty = append(m.dirty, b)
	}
}

// saved ends a write. All that was decided since the last one is on disk, or none of it happened.
func (m *Machine) saved(now time.Time, ok bool) {
	touched := m.touched
	m.touched = nil
	if ok {
		m.confirmed = m.reserved
		if m.rewritten {
			clear(m.unsure)
		}
	} else {
		m.reserved = m.confirmed
		m.rollBack(now, touched)
	}
	m.rewritten = false
	for _, b := range touched {
		b.before, b.site.touched = nil, 0
		m.sweep(b.site)
	}
}

// rollBack undoes all changes of the bindings, and looks at them again later: what time or the content wants of them is
// still wanted. Why it failed is for the runner to say, who knows it. First all of them let go, since a prefix may have gone from one to another.
func (m *Machine) rollBack(now time.Time, touched []*binding) {
	if len(touched) == 0 {
		return
	}
	if !m.retryAt.After(now) {
		m.retryAt = now.Add(retryAfter)
	}
	for _, b := range touched {
		for _, l := range b.leases {
			m.leave(l)
		}
		if !b.out {
			m.detach(b)
		}
	}
	for _, b := range touched {
		m.undo(now, b)
	}
	for _, b := range touched {
		m.unsure[b.key()] = true
		if b.before.exists && !b.again {
			b.again = true
			m.again = append(m.again, b)
		}
	}
}

// rewrite makes the next write one of all records that nobody knows, too: an earlier write of them failed, and may yet be
// on disk. Otherwise a prefix could be there for the site that was to have it then and for the one that gets it now.
func (m *Machine) rewrite() {
	if m.rewritten || len(m.unsure) == 0 {
		return
	}
	m.rewritten = true
	for _, k := range slices.SortedFunc(maps.Keys(m.unsure), compareBindings) {
		if s := m.sites[k.Site]; s == nil || s.binding(k.IAID) == nil {
			m.act.Commit = append(m.act.Commit, Change{Key: k})
		} else {
			m.change(s.binding(k.IAID))
		}
	}
}

// undo makes a binding what it was before; whatever it or another one had since is gone.
func (m *Machine) undo(now time.Time, b *binding) {
	was := b.before
	b.duid, b.reconfigure, b.leases = was.duid, was.reconfigure, was.leases
	for i, l := range b.leases {
		to := was.terms[i].state
		was.terms[i].state = l.state
		l.terms = was.terms[i]
		l.disk = lifetime.Until{} // what failed may be there all the same: no renewal goes without a write
		if to == remembered {
			to = dormant // the content may be another: see again
		}
		m.enter(now, l, to)
	}
	if was.exists {
		m.attach(b)
	}
}
