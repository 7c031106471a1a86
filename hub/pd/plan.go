// SPDX-License-Identifier: MIT

package pd

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// plan is what is to become of a binding.
type plan struct {
	keep  []*lease       // what it has and may use
	stale []*lease       // what it has and should not use any more
	hold  []*lease       // what it should not use any more, and goes on with for want of another
	drop  []*lease       // what is a part of what it gets
	add   []netip.Prefix // what it gets
}

// plan makes a plan for an IA. Nothing is changed. A binding keeps what it has, as far as that is still right. What is
// reserved for the site comes in addition, and instead of what is from a pool; one that then has nothing that it may use gets
// something from a pool. Where there is nothing to give, it goes on with what it has: no site is without a prefix because
// a file was changed.
func (m *Machine) plan(now time.Time, q *query, b *binding, ia *dhcpv6.IA) (p plan) {
	p.add = m.reservedFor(b, q)
	hasReserved := len(p.add) > 0 || m.hasReserved(b)
	again := q.Type == dhcpv6.Renew || q.Type == dhcpv6.Rebind
	for _, l := range b.leases {
		switch {
		case l.state != live || l.released && again:
		case slices.ContainsFunc(p.add, func(r netip.Prefix) bool { return covers(r, l.prefix) }):
			p.drop = append(p.drop, l)
		case m.allows(b.site, l.prefix) && (b.site.isReserved(l.prefix) || !hasReserved):
			p.keep = append(p.keep, l)
		case !l.released:
			p.stale = append(p.stale, l)
		}
	}
	if len(p.keep)+len(p.add) == 0 {
		if got := m.allocate(now, b, ia); got.IsValid() {
			p.add = append(p.add, got)
		}
	}
	if n := maxLeases - b.countLive() + len(p.drop); len(p.add) > n {
		p.add = p.add[:max(0, n)]
	}
	if len(p.keep)+len(p.add) == 0 {
		p.goOn(now)
		m.ranOut(now, b.site, len(p.hold) > 0)
	}
	return p
}

// goOn holds what the site may still use of what it should not, or else what it was told last.
func (p *plan) goOn(now time.Time) {
	var last *lease
	for _, l := range p.stale {
		if last == nil || last.valid.Before(l.valid) {
			last = l
		}
	}
	holds := func(l *lease) bool { return !l.preferred.Over(now) }
	if !slices.ContainsFunc(p.stale, holds) {
		holds = func(l *lease) bool { return l == last }
	}
	for _, l := range p.stale {
		if holds(l) {
			p.hold = append(p.hold, l)
		}
	}
	p.stale = slices.DeleteFunc(p.stale, holds)
}

// reservedFor are the reservations that the binding gets now: those that no other IA of the site has, or names in
// the same message, and nobody else any more.
func (m *Machine) reservedFor(b *binding, q *query) (add []netip.Prefix) {
	for _, c := range b.site.reserved {
		of := func(o *binding) bool { return o != b && o.covering(c.prefix) != nil }
		named := func(ia dhcpv6.IA) bool {
			return ia.Type == dhcpv6.PD && ia.IAID != b.iaid && slices.ContainsFunc(ia.Prefixes, func(p dhcpv6.IAPrefix) bool { return p.Prefix == c.prefix })
		}
		if b.covering(c.prefix) != nil || slices.ContainsFunc(b.site.bindings, of) || q != nil && slices.ContainsFunc(q.IAs, named) {
			continue
		}
		free := true
		m.trie.overlapping(c.prefix, func(o *claim) bool {
			switch o.kind {
			case taken, offered:
				free = false
			case reserved:
				free = o.site == b.site
			case held:
				free = o.lease.b == b && covers(c.prefix, o.prefix)
			}
			return free
		})
		if free {
			add = append(add, c.prefix)
		}
	}
	return add
}

// told is the IA of an Advertise or Reply.
func (p *plan) told(now time.Time, m *Machine, ia *dhcpv6.IA) dhcpv6.IA {
	a := dhcpv6.IA{Type: ia.Type, IAID: ia.IAID}
	preferred, valid := seconds(m.preferred), seconds(m.valid)
	for _, l := range slices.Concat(p.keep, p.hold) {
		a.Prefixes = append(a.Prefixes, dhcpv6.IAPrefix{Prefix: l.prefix, Preferred: preferred, Valid: valid})
	}
	for _, x := range p.add {
		a.Prefixes = append(a.Prefixes, dhcpv6.IAPrefix{Prefix: x, Preferred: preferred, Valid: valid})
	}
	for _, l := range p.stale {
		a.Prefixes = append(a.Prefixes, dhcpv6.IAPrefix{Prefix: l.prefix, Valid: min(l.valid.Seconds(now), valid)})
	}
	for _, l := range p.drop {
		a.Prefixes = append(a.Prefixes, dhcpv6.IAPrefix{Prefix: l.prefix})
	}
	if len(a.Prefixes) == 0 {
		return server.Refused(ia, server.NoneLeft(ia.Type))
	}
	return a
}

// seconds is a duration as a wire value; Infinity is none.
func seconds(d time.Duration) uint32 {
	return uint32(min(d/time.Second, time.Duration(lifetime.Infinity-1)))
}

// commit makes the binding what was planned.
func (m *Machine) commit(now time.Time, q *query, b *binding, p *plan) {
	preferred, valid := lifetime.At(now.Add(m.preferred)), lifetime.At(now.Add(m.valid))
	for _, l := range slices.Concat(p.keep, p.hold) {
		end := l.valid // the site may hold it for as long as it was once told
		if end.Before(valid) {
			end = valid
		}
		held := slices.Contains(p.hold, l)
		if l.released || l.stale != held || l.disk.Before(end) {
			m.change(b)
		}
		if l.released {
			m.note(note.Info, "lease is used again", l)
		}
		l.preferred, l.valid, l.released, l.stale, l.held, l.atMost = preferred, end, false, held, held, false
	}
	for _, l := range p.stale {
		if !l.stale || l.preferred != (lifetime.Until{}) {
			m.change(b)
			l.stale, l.held, l.preferred = true, false, lifetime.Until{}
		}
		l.atMost = false // it is told what is left
	}
	for _, x := range p.add {
		m.take(b, p.drop, x)
		l := m.grant(b, x)
		l.preferred, l.valid = preferred, valid
		m.enter(now, l, live)
		m.note(note.Info, "lease was given", l)
	}
	if !b.out {
		b.duid = q.ClientID
	}
}

// take takes those leases away that are a part of a prefix that the binding gets.
func (m *Machine) take(b *binding, drop []*lease, x netip.Prefix) {
	m.change(b)
	for _, l := range drop {
		if covers(x, l.prefix) {
			m.leave(l)
			b.leases = slices.DeleteFunc(b.leases, func(o *lease) bool { return o == l })
		}
	}
}
