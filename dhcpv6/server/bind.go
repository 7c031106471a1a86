// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// maxLeases bounds one binding: what it has from each pool or prefix of the link, and what it had.
const maxLeases = 16

// source is what leases come from: a pool, or a prefix on the link.
type source struct {
	prefix            netip.Prefix
	taken             []netip.Prefix
	preferred, valid  lifetime.Until
	limit             time.Duration // as Pool.Limit
	shortest, longest int           // of a prefix that one client may have
}

// sources are those of an IA of the type on a link; nil is no link.
func (c *Content) sources(now time.Time, l *Link, t dhcpv6.IAType) (all []source) {
	switch {
	case l == nil:
	case t == dhcpv6.NA && l.Stateful:
		for _, o := range l.OnLink {
			all = append(all, source{prefix: o.Prefix, preferred: o.Preferred, valid: o.Valid, limit: o.Limit})
		}
	case t == dhcpv6.PD && l.Delegate:
		var onLink []netip.Prefix // they are taken, whatever Pool says
		for i := range c.Links {
			for _, o := range c.Links[i].OnLink {
				onLink = append(onLink, o.Prefix)
			}
		}
		for _, p := range c.Pools {
			x := source{prefix: p.Prefix, taken: slices.Concat(p.Taken, onLink), preferred: p.Preferred, valid: p.Valid, limit: p.Limit}
			x.shortest, x.longest = p.lengths()
			all = append(all, x)
		}
	}
	return slices.DeleteFunc(all, func(x source) bool { return !x.prefix.IsValid() || x.valid.Over(now) })
}

// sourceOf is the index of the source that a lease comes from, or -1.
func sourceOf(all []source, p netip.Prefix) int {
	return slices.IndexFunc(all, func(x source) bool { return x.has(p) })
}

// has says whether a client may have the prefix from this source.
func (x *source) has(p netip.Prefix) bool {
	return p.Bits() >= x.prefix.Bits() && x.prefix.Contains(p.Addr()) && !overlapsAny(x.taken, p)
}

// planned is what is to become of a binding.
type planned struct {
	leases []Lease           // after it
	told   []dhcpv6.IAPrefix // what the client gets or keeps
	gone   []netip.Prefix    // what it is to give up
}

// plan keeps what the client has, as far as it is still ours to give, and adds a lease from each source that it has
// none of. taken are prefixes that others get by the same message. Nothing is changed.
func (s *Server) plan(now time.Time, q *query, b *Binding, ia *dhcpv6.IA, taken []netip.Prefix) (p planned) {
	sources := s.content.sources(now, q.link, ia.Type)
	served := make([]bool, len(sources))
	for _, l := range b.Leases {
		if !l.live() {
			p.leases = append(p.leases, l)
			continue
		}
		if i := sourceOf(sources, l.Prefix); i >= 0 {
			served[i] = true
			p.add(now, &sources[i], l)
		} else if !q.gaveUp(ia, &l) {
			l.Preferred, l.Stale = lifetime.Until{}, true
			p.leases, p.gone = append(p.leases, l), append(p.gone, l.Prefix)
		}
	}
	for i := range sources {
		x := &sources[i]
		if preferred, _ := x.lifetimes(now); served[i] || preferred == 0 {
			continue
		}
		var got netip.Prefix
		if ia.Type == dhcpv6.NA {
			got = s.address(now, x, b, taken)
		} else {
			got = s.prefix(x, b, ia, taken)
			s.ranOut(x.prefix, !got.IsValid())
		}
		if !got.IsValid() {
			continue
		}
		p.leases = slices.DeleteFunc(p.leases, func(l Lease) bool { return !l.live() && x.has(l.Prefix) }) // it has a better one now
		if len(p.leases) >= maxLeases {
			continue
		}
		p.add(now, x, Lease{Prefix: got})
	}
	return p
}

// gaveUp says that the client does not have a stale lease any more: it was told (so the preferred lifetime is over), and
// does not name it now. Until then, or
// until its time is over, nobody else can have it: the Reply that took it back may have been lost, and the content may come
// to hold it again.
func (q *query) gaveUp(ia *dhcpv6.IA, l *Lease) bool {
	return l.Stale && l.Preferred == (lifetime.Until{}) && (q.Type == dhcpv6.Renew || q.Type == dhcpv6.Rebind) &&
		!slices.ContainsFunc(ia.Prefixes, func(p dhcpv6.IAPrefix) bool { return p.Prefix == l.Prefix })
}

// add tells the client of a lease.
func (p *planned) add(now time.Time, x *source, l Lease) {
	preferred, valid := x.lifetimes(now)
	if valid == 0 {
		p.leases, p.gone = append(p.leases, l), append(p.gone, l.Prefix) // it has less than a second
		return
	}
	p.leases = append(p.leases, Lease{Prefix: l.Prefix, Preferred: lifetime.FromSeconds(now, preferred), Valid: lifetime.FromSeconds(now, valid)})
	p.told = append(p.told, dhcpv6.IAPrefix{Prefix: l.Prefix, Preferred: preferred, Valid: valid})
}

// commit makes the binding what was planned.
func (s *Server) commit(now time.Time, q *query, b *Binding, leases []Lease) {
	moved := b.Peer != q.src || b.Link != q.link.Name
	b.Peer, b.Link = q.src, q.link.Name
	for i := range b.Leases {
		l := &b.Leases[i]
		if l.live() && !slices.ContainsFunc(leases, func(x Lease) bool { return x.Prefix == l.Prefix }) {
			s.end(b, l, "lease was given up")
		}
	}
	for i := range leases {
		l := &leases[i]
		old := b.find(l.Prefix)
		switch end, _ := l.Valid.Time(); {
		case !l.live():
		case l.Stale:
			if !old.Stale {
				s.changed(b)
			}
		case old == nil || !old.live() || old.Stale:
			s.forget(b, l.Prefix)
			s.changed(b)
			s.note(note.Info, "lease was given", b, l.Prefix)
		case end.After(s.covered):
			s.dirty = true
		}
	}
	known := slices.Contains(s.bindings, b)
	if b.Leases = leases; len(leases) == 0 {
		if known {
			s.bindings = slices.DeleteFunc(s.bindings, func(x *Binding) bool { return x == b })
		}
		return
	}
	if !known {
		s.bindings = append(s.bindings, b)
		s.full = false
	} else if moved {
		s.later(now)
		s.act.Changed = s.act.Changed || b.Type == dhcpv6.PD && b.live()
	}
}

// forget takes a prefix out of what is remembered for others: somebody else needs it.
func (s *Server) forget(b *Binding, p netip.Prefix) {
	for _, o := range s.bindings {
		if o != b && o.Type == b.Type {
			o.Leases = slices.DeleteFunc(o.Leases, func(l Lease) bool { return !l.live() && l.Prefix.Overlaps(p) })
		}
	}
	s.bindings = slices.DeleteFunc(s.bindings, func(o *Binding) bool { return o != b && len(o.Leases) == 0 })
}

// room says whether one more binding has a place. With commit it makes one: the oldest binding without a live lease
// goes, which is of the client itself if that has too many. Where there are several links one alone has three quarters of
// all places at most.
func (s *Server) room(q *query, t dhcpv6.IAType, commit bool) bool {
	ofClient, ofLink, oldest, oldestOfClient := 0, 0, -1, -1
	for i, b := range s.bindings {
		mine := b.Client == q.ClientID && b.Type == t
		if b.Link == q.link.Name && b.live() {
			ofLink++
		}
		if mine {
			ofClient++
		}
		if !b.live() {
			if oldest < 0 {
				oldest = i
			}
			if mine && oldestOfClient < 0 {
				oldestOfClient = i
			}
		}
	}
	at := -1
	switch {
	case len(s.content.Links) > 1 && ofLink >= s.cfg.MaxBindings*3/4:
		s.isFull()
		return false
	case ofClient >= s.cfg.MaxPerClient:
		if at = oldestOfClient; at < 0 {
			return false
		}
	case len(s.bindings) >= s.cfg.MaxBindings:
		if at = oldest; at < 0 {
			s.isFull()
			return false
		}
	}
	if at >= 0 && commit {
		s.bindings = slices.Delete(s.bindings, at, at+1)
	}
	return true
}

// isFull says once that nobody new gets anything, until somebody new does.
func (s *Server) isFull() {
	if !s.full {
		s.full = true
		s.act.Notes = append(s.act.Notes, note.New(note.Warn, "DHCPv6 server full", "bindings", number(len(s.bindings))))
	}
}

// leased are the leases of all bindings that which picks.
func (s *Server) leased(which func(*Binding, *Lease) bool) (all []netip.Prefix) {
	for _, b := range s.bindings {
		for i := range b.Leases {
			if which(b, &b.Leases[i]) {
				all = append(all, b.Leases[i].Prefix)
			}
		}
	}
	return all
}
