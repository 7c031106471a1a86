// SPDX-License-Identifier: MIT

package pd

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// hint is what a site wishes: a prefix in a pool, else a length. The zero value wishes nothing.
func (m *Machine) hint(ia *dhcpv6.IA) (hint netip.Prefix) {
	for _, p := range ia.Prefixes {
		if m.inPool(netip.PrefixFrom(p.Prefix.Addr(), 128)) {
			return p.Prefix
		}
		if !hint.IsValid() || p.Prefix.Addr().IsUnspecified() {
			hint = p.Prefix
		}
	}
	return hint
}

// allocate finds a prefix in the pools for a binding: one that the site had, if it wishes no other length; the one that it
// wishes; else a free one of the wished length, or of the nearest longer one (RFC 8168 section 3.2). What is remembered for
// others is taken only where nothing is free.
func (m *Machine) allocate(now time.Time, b *binding, ia *dhcpv6.IA) netip.Prefix {
	hint := m.hint(ia)
	length := m.siteLength
	if hint.IsValid() {
		length = min(max(hint.Bits(), m.maxSiteLength), 64)
	}
	if p := m.had(b, hint, length); p.IsValid() {
		return p
	}
	if hint.IsValid() {
		if p := netip.PrefixFrom(hint.Addr(), length).Masked(); m.inPool(p) && m.free(b.site, p) {
			return p
		}
	}
	how := snug
	if m.Lost(now) {
		how = far
	}
	for ; length <= 64; length++ {
		for _, pool := range m.pools {
			if p := m.trie.find(pool, length, how); p.IsValid() {
				return p
			}
		}
		if p := m.forgettable(length); p.IsValid() {
			return p
		}
	}
	return netip.Prefix{}
}

// Lost says that sites may still hold prefixes of which nothing is known, because Restored said so.
func (m *Machine) Lost(now time.Time) bool { return m.lost && now.Before(m.lostUntil) }

// adopt takes what a site names in a Renew or Rebind for what it has, after a loss.
func (m *Machine) adopt(now time.Time, q *query, ia *dhcpv6.IA) *binding {
	if !m.Lost(now) || q.site.countLive() >= m.cfg.MaxPerSite {
		return nil
	}
	b := q.site.binding(ia.IAID)
	if b == nil {
		b = &binding{site: q.site, iaid: ia.IAID, out: true}
	}
	for _, x := range ia.Prefixes {
		fits := x.Prefix.Bits() >= m.maxSiteLength && x.Prefix.Bits() <= 64 && m.inPool(x.Prefix)
		if !b.live() && fits && m.free(q.site, x.Prefix) && q.site.writes.Take(now, 1) {
			l := m.grant(b, x.Prefix)
			l.valid = lifetime.At(now.Add(m.valid))
			m.enter(now, l, live)
			b.duid = q.ClientID
			m.note(note.Warn, "lease was lost, and is the site's by its word", l)
		}
	}
	return b
}

// had is what the site had, for this IA or else for another one that has nothing now, what ended last first.
func (m *Machine) had(b *binding, hint netip.Prefix, length int) (p netip.Prefix) {
	var own, others []*lease
	for _, o := range b.site.bindings {
		if o != b && o.live() {
			continue
		}
		for _, l := range o.leases {
			if l.state == live || l.prefix.Bits() > 64 || l.prefix.Bits() != length && (hint.IsValid() || l.prefix.Bits() < m.maxSiteLength) {
				continue
			}
			if o == b {
				own = append(own, l)
			} else {
				others = append(others, l)
			}
		}
	}
	for _, list := range [][]*lease{own, others} {
		slices.SortFunc(list, func(x, y *lease) int { return cmp.Compare(y.ended, x.ended) })
		for _, l := range list {
			if m.inPool(l.prefix) && m.free(b.site, l.prefix) {
				return l.prefix
			}
		}
	}
	return netip.Prefix{}
}

// free says that the site can have all of the prefix: it may be what the site had itself.
func (m *Machine) free(s *site, p netip.Prefix) (free bool) {
	free = true
	m.trie.overlapping(p, func(c *claim) bool {
		free = c.site == s && (c.kind == rests || c.kind == wished)
		return free
	})
	return free
}

// forgettable is a prefix of the length out of what is remembered, of what ended first if one lease is large enough. All
// that is remembered with a claim is in a pool.
func (m *Machine) forgettable(length int) netip.Prefix {
	var first *lease
	for n := range length + 1 {
		if l, ok := m.memory[n].first(); ok && (first == nil || l.ended < first.ended) {
			first = l
		}
	}
	if first != nil {
		free := true
		m.trie.overlapping(first.prefix, func(c *claim) bool {
			free = c.kind == wished // it may be offered to another IA of the same message
			return free
		})
		if free {
			return netip.PrefixFrom(first.prefix.Addr(), length)
		}
	}
	for _, pool := range m.pools {
		if p := m.trie.find(pool, length, anyhow); p.IsValid() {
			return p
		}
	}
	return netip.Prefix{}
}

// sayOut is how often it is said that nothing is left: whoever asks in vain asks again.
const sayOut = time.Hour

// ranOut notes that nothing is left to delegate (RFC 9818 section 5.1 wants it logged), and whether the site goes on with what
// it has.
func (m *Machine) ranOut(now time.Time, s *site, holds bool) {
	until, msg := &m.outUntil, "no prefix is left to delegate"
	if holds {
		until, msg = &m.holdUntil, "no other prefix is left to delegate, so leases go on that should be replaced"
	}
	if until.After(now) {
		return
	}
	*until = now.Add(sayOut)
	m.act.Notes = append(m.act.Notes, note.New(note.Warn, msg, "peer", s.label()))
}
