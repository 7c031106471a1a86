// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// setContent replaces the content, takes back what is no longer in it and tells the clients that can be told.
func (s *Server) setContent(now time.Time, c Content) {
	old := s.content
	s.content = c
	var tell []dhcpv6.DUID
	for _, b := range s.bindings {
		link, oldLink := c.link(b.Link), old.link(b.Link)
		if link == nil {
			s.judge(now, b, nil, nil)
			continue // nobody can be told
		}
		other := s.judge(now, b, c.sources(now, link, b.Type), old.sources(now, oldLink, b.Type))
		if (other || oldLink != nil && !link.Info.Same(&oldLink.Info)) && b.live() {
			tell = append(tell, b.Client)
		}
	}
	s.out = slices.DeleteFunc(s.out, func(p netip.Prefix) bool {
		return !slices.ContainsFunc(c.Pools, func(x Pool) bool { return x.Prefix == p })
	})
	s.startReconfigures(now, tell)
}

// judge says which leases of a binding are stale now (RFC 9096 section 3.5), and whether the client should ask
// for the sake of it, or because it would get something new, or because what it has should not be used any more.
func (s *Server) judge(now time.Time, b *Binding, sources, old []source) (tell bool) {
	has := make([]bool, len(sources))
	for i := range b.Leases {
		l := &b.Leases[i]
		if !l.live() {
			continue
		}
		at := sourceOf(sources, l.Prefix)
		if stale := at < 0; stale != l.Stale {
			l.Stale = stale
			s.changed(b)
			if stale {
				tell = true
				s.note(note.Info, "lease is taken back", b, l.Prefix)
			}
		}
		if at >= 0 {
			has[at] = true
			was := sourceOf(old, l.Prefix)
			tell = tell || sources[at].preferred.Over(now) && !l.Preferred.Over(now) && (was < 0 || !old[was].preferred.Over(now))
		}
	}
	for i, x := range sources {
		isNew := !slices.ContainsFunc(old, func(o source) bool { return o.prefix == x.prefix })
		tell = tell || isNew && !has[i] && !x.preferred.Over(now)
	}
	return tell
}
