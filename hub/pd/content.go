// SPDX-License-Identifier: MIT

package pd

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
)

func compareKeys(a, b wgkey.Public) int { return bytes.Compare(a[:], b[:]) }

func compareBindings(a, b BindingKey) int {
	return cmp.Or(compareKeys(a.Site, b.Site), cmp.Compare(a.IAID, b.IAID))
}

// same says that two sites are.
func (s Site) same(o Site) bool { return s.Name == o.Name && slices.Equal(s.Reserved, o.Reserved) }

// same says that the contents are the same but for the sites.
func (c *Content) same(o *Content) bool {
	return slices.Equal(c.Pools, o.Pools) && slices.Equal(c.Taken, o.Taken) && c.Preferred == o.Preferred && c.Valid == o.Valid &&
		c.SiteLength == o.SiteLength && c.MaxSiteLength == o.MaxSiteLength && c.Info.Same(&o.Info)
}

// setContent replaces the content, takes back what is no longer in it, and tells the sites that can be told.
func (m *Machine) setContent(now time.Time, c Content) {
	old, first := m.content, !m.begun
	if !first && c.same(&old) && maps.EqualFunc(c.Sites, old.Sites, Site.same) {
		return
	}
	m.content, m.begun = c, true
	m.setNumbers()
	all := first || !slices.Equal(c.Pools, old.Pools) || !slices.Equal(c.Taken, old.Taken)
	if all {
		m.setSpace()
	}
	affected := m.setSites(c.Sites)
	if all {
		affected = m.allBindings()
	}
	tell := m.judgeAll(now, affected)
	if !first && !c.Info.Same(&old.Info) {
		tell = m.sorted()
	}
	m.startReconfigures(now, tell)
	if first {
		m.lostUntil = now.Add(m.valid)
	}
	m.expire(now) // what ended before there was a content
}

// setNumbers fills in what the content leaves open.
func (m *Machine) setNumbers() {
	or := func(d, def time.Duration) time.Duration {
		if d <= 0 {
			return def
		}
		return d
	}
	m.valid = max(or(m.content.Valid, DefaultValid), time.Second)
	m.preferred = min(max(or(m.content.Preferred, DefaultPreferred), time.Second), m.valid)
	length := func(n, def int) int {
		if n <= 0 {
			n = def
		}
		return min(n, 64)
	}
	m.siteLength = length(m.content.SiteLength, DefaultSiteLength)
	m.maxSiteLength = min(length(m.content.MaxSiteLength, DefaultMaxSiteLength), m.siteLength)
}

// setSpace takes the pools over, and the claims on what is taken.
func (m *Machine) setSpace() {
	m.pools = nil
	for _, p := range m.content.Pools {
		if p = p.Masked(); dhcpv6.Delegable(p) && p.Bits() <= 64 {
			m.pools = append(m.pools, p)
		}
	}
	for _, c := range m.taken {
		m.trie.remove(c)
	}
	m.taken = m.claims(m.content.Taken, taken, nil)
	m.outUntil, m.holdUntil = time.Time{}, time.Time{}
}

// claims makes claims of all that can be delegated.
func (m *Machine) claims(prefixes []netip.Prefix, k kind, s *site) (all []*claim) {
	for _, p := range prefixes {
		if p = p.Masked(); dhcpv6.Delegable(p) {
			c := &claim{prefix: p, kind: k, site: s}
			m.trie.insert(c)
			all = append(all, c)
		}
	}
	return all
}

// setSites takes the sites over. It gives the bindings that reservations make others of.
func (m *Machine) setSites(sites map[wgkey.Public]Site) (affected []*binding) {
	for _, s := range m.sorted() {
		if _, still := sites[s.key]; !still && s.present {
			affected = append(affected, m.reserve(s, nil)...)
			m.flip(s)
			m.stopTelling(s)
			m.sweep(s)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(sites), compareKeys) {
		s, x := m.site(k), sites[k]
		s.name = x.Name
		if !s.present {
			m.flip(s)
		}
		affected = append(affected, m.reserve(s, x.Reserved)...)
	}
	return affected
}

// flip makes a site present, or the contrary; its routes come or go with it.
func (m *Machine) flip(s *site) {
	s.present = true
	if slices.ContainsFunc(s.bindings, (*binding).live) {
		m.routed(s)
	}
	s.present = m.has(s.key)
}

func (m *Machine) has(k wgkey.Public) bool {
	_, ok := m.content.Sites[k]
	return ok
}

// reserve replaces the reservations of a site. It gives the bindings that have a part of the old or the new ones, and
// those of the site.
func (m *Machine) reserve(s *site, prefixes []netip.Prefix) (affected []*binding) {
	if slices.EqualFunc(s.reserved, prefixes, func(c *claim, p netip.Prefix) bool { return c.prefix == p.Masked() }) {
		return nil
	}
	old := s.reserved
	for _, c := range old {
		m.trie.remove(c)
	}
	s.reserved = m.claims(prefixes, reserved, s)
	for _, c := range slices.Concat(old, s.reserved) {
		m.trie.overlapping(c.prefix, func(o *claim) bool {
			if o.lease != nil && o.site != s {
				affected = append(affected, o.lease.b)
			}
			return true
		})
	}
	return append(affected, s.bindings...)
}

// sorted are the sites in order of keys.
func (m *Machine) sorted() []*site {
	return slices.SortedFunc(maps.Values(m.sites), func(a, b *site) int { return compareKeys(a.key, b.key) })
}

func (m *Machine) allBindings() (all []*binding) {
	for _, s := range m.sorted() {
		all = append(all, s.bindings...)
	}
	return all
}

// judgeAll judges bindings, and gives the sites that should ask.
func (m *Machine) judgeAll(now time.Time, bindings []*binding) (tell []*site) {
	stale := 0
	for _, b := range bindings {
		if b.out {
			continue
		}
		ask, n := m.judge(now, b)
		stale += n
		if ask {
			tell = append(tell, b.site)
		}
	}
	if stale > 0 {
		m.act.Notes = append(m.act.Notes, note.New(note.Info, "leases are to be replaced when their sites ask", "leases", strconv.Itoa(stale)))
	}
	return tell
}

// judge says which leases of a binding are stale now (RFC 9096 section 3.5), what is remembered, and whether the site
// should ask for the sake of it, or because it would get something.
func (m *Machine) judge(now time.Time, b *binding) (ask bool, stale int) {
	good := false
	for _, l := range b.leases {
		switch is := !m.stands(b, l); {
		case l.state == remembered || l.state == dormant:
			m.afterRest(now, l)
		case l.state != live:
		case is != l.stale:
			m.change(b)
			l.stale, l.held, ask = is, false, true
			if is {
				stale++
			}
		default:
			good = good || !is
		}
	}
	return ask || b.known() && (!good || len(m.reservedFor(b, nil)) > 0), stale
}

// stands says that a lease is what the binding should have.
func (m *Machine) stands(b *binding, l *lease) bool {
	return m.allows(b.site, l.prefix) && (b.site.isReserved(l.prefix) || !m.hasReserved(b))
}

// isReserved says that the prefix is a part of what is reserved for the site, or has one.
func (s *site) isReserved(p netip.Prefix) bool {
	return slices.ContainsFunc(s.reserved, func(c *claim) bool { return covers(c.prefix, p) || covers(p, c.prefix) })
}

// hasReserved says that the binding has what is reserved for the site: then it needs nothing of a pool.
func (m *Machine) hasReserved(b *binding) bool {
	return len(b.site.reserved) > 0 && slices.ContainsFunc(b.leases, func(l *lease) bool {
		return l.state == live && b.site.isReserved(l.prefix) && m.allows(b.site, l.prefix)
	})
}

// covering is a lease that is not over with all of the prefix.
func (b *binding) covering(p netip.Prefix) *lease {
	for _, l := range b.leases {
		if l.state == live && covers(l.prefix, p) {
			return l
		}
	}
	return nil
}
