// SPDX-License-Identifier: MIT

package pd

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// restore takes over what an earlier process has committed. What overlaps, as only a damaged store has it, goes to the
// first by key.
func (m *Machine) restore(now time.Time, ev Restored) {
	if m.replay = ev.Replay; m.replay < 1<<63 {
		m.replay += replayJump
	}
	m.reserved, m.confirmed = m.replay, m.replay
	m.lost = ev.Lost
	all := slices.Clone(ev.Bindings)
	slices.SortStableFunc(all, func(a, b Binding) int { return compareBindings(a.Key(), b.Key()) })
	for _, pass := range []state{live, resting, dormant} {
		for i := range all {
			m.restoreLeases(now, &all[i], pass)
		}
	}
}

// restoreLeases takes over those leases of a binding that are in the state.
func (m *Machine) restoreLeases(now time.Time, r *Binding, pass state) {
	s := m.site(r.Site)
	b := s.binding(r.IAID)
	for _, x := range r.Leases {
		is := live
		if x.Ended > 0 {
			is = dormant
			if !x.Rests.Over(now) {
				is = resting
			}
		}
		if is != pass || !dhcpv6.Delegable(x.Prefix) || b != nil && b.find(x.Prefix) != nil {
			continue
		}
		if is != dormant && m.isClaimed(x.Prefix) {
			m.act.Notes = append(m.act.Notes, note.New(note.Warn, "lease is dropped: another site has it in the same store", "peer", s.label(), "prefix", x.Prefix.String()))
			continue
		}
		if b == nil {
			b = &binding{site: s, iaid: r.IAID, duid: r.DUID, reconfigure: r.Reconfigure}
			m.attach(b)
		}
		m.ended = max(m.ended, x.Ended)
		l := newLease(b, x.Prefix)
		l.terms = terms{preferred: x.Preferred, valid: x.Valid, disk: x.Valid, rests: x.Rests, ended: x.Ended, released: x.Released, stale: x.Stale, state: gone, atMost: is == live && !x.Released}
		if is != live {
			l.preferred, l.valid = lifetime.Until{}, lifetime.Until{}
		}
		m.enter(now, l, is)
	}
	m.sweep(s)
}

// isClaimed says that a part of the prefix has been restored.
func (m *Machine) isClaimed(p netip.Prefix) (is bool) {
	m.trie.overlapping(p, func(*claim) bool {
		is = true
		return false
	})
	return is
}
