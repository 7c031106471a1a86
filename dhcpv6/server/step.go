// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// Lifetimes that are told at most (RFC 9096 L-16): as those of the prefixes that hosts have from Router Advertisements.
const (
	MaxPreferred = 2700 * time.Second
	MaxValid     = 5400 * time.Second
)

// Defaults of Config's limits: more than a LAN of a house has, and 300 kB of memory.
const (
	DefaultMaxBindings  = 1024
	DefaultMaxPerClient = 8 // of each type
)

// SaveInterval is how far apart writes are at least that nothing but renewals want: flash wears out. See State.
const SaveInterval = time.Hour

// saveSoon is how far apart writes are at least of what is worth keeping but can be learned again from the client's next
// message, its address above all; and how long after a failure the next attempt comes.
const saveSoon = time.Minute

// Server is the machine. It is not safe for concurrent use.
type Server struct {
	cfg      Config
	rand     func() float64
	content  Content
	bindings []*Binding // oldest first
	declined []declined
	pending  []pending
	limited  []*limits
	counters []counters
	out      []netip.Prefix // pools that have run out, as it was noted
	full     bool           // so it was noted

	replay, reserved uint64    // the last value in use, and that on the disk
	covered          time.Time // a lease that ends until then needs no write
	saved            time.Time // the last Persist
	saveAt           time.Time // when what was put off is to be written; zero: nothing was
	dirty            bool      // something must be written in this Step

	expiry  time.Time // no lease ends before
	next    time.Time // the deadline
	touched bool      // more happened than that garbage was dropped
	act     Actions   // of the running Step
}

// New makes a server without content. rand gives numbers in [0, 1).
func New(cfg Config, rand func() float64) *Server {
	if cfg.MaxBindings <= 0 {
		cfg.MaxBindings = DefaultMaxBindings
	}
	if cfg.MaxPerClient <= 0 {
		cfg.MaxPerClient = DefaultMaxPerClient
	}
	return &Server{cfg: cfg, rand: rand}
}

// Step takes one event at the instant now and says what is to be done. now never goes back.
func (s *Server) Step(now time.Time, ev Event) Actions {
	s.act = Actions{}
	_, s.touched = ev.(Received)
	s.touched = !s.touched || !s.next.IsZero() && !s.next.After(now)
	s.expire(now)
	switch ev := ev.(type) {
	case SetContent:
		s.setContent(now, ev.Content)
	case Received:
		s.receive(now, ev)
	case Restored:
		s.restore(now, ev.State)
	case Saved:
		if !ev.OK {
			s.notSaved(now)
		}
	case Stop:
		s.dirty = s.dirty || !s.saveAt.IsZero()
	}
	if s.touched {
		if _, stop := ev.(Stop); !stop {
			s.sendReconfigures(now)
		}
		if s.dirty || !s.saveAt.IsZero() && !s.saveAt.After(now) {
			s.persist(now)
		}
		s.next = s.wake()
	}
	s.act.Wake = s.next
	return s.act
}

// wake is the next deadline.
func (s *Server) wake() (at time.Time) {
	s.expiry = time.Time{}
	for _, b := range s.bindings {
		for i := range b.Leases {
			if end, ends := b.Leases[i].Valid.Time(); ends && b.Leases[i].live() {
				s.expiry = earlier(s.expiry, end)
			}
		}
	}
	at = earlier(s.expiry, s.saveAt)
	for i := range s.pending {
		at = earlier(at, s.pending[i].at)
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

// live says that the lease is not over: expire has been here, in every Step before anything else. One that is over has
// no lifetimes and is remembered.
func (l *Lease) live() bool { return l.Valid != lifetime.Until{} }

// live says that the client has something.
func (b *Binding) live() bool {
	return slices.ContainsFunc(b.Leases, func(l Lease) bool { return l.live() })
}

// find is the lease of the prefix, or nil.
func (b *Binding) find(p netip.Prefix) *Lease {
	for i := range b.Leases {
		if b.Leases[i].Prefix == p {
			return &b.Leases[i]
		}
	}
	return nil
}

// find is the binding of the IA, or nil. DUID, type and IAID tell bindings apart (RFC 9915 section 4.2), not the link: a
// client may move.
func (s *Server) find(client dhcpv6.DUID, t dhcpv6.IAType, iaid dhcpv6.IAID) *Binding {
	for _, b := range s.bindings {
		if b.IAID == iaid && b.Type == t && b.Client == client {
			return b
		}
	}
	return nil
}

// link is the link of that name, or nil.
func (c *Content) link(name string) *Link {
	for i := range c.Links {
		if c.Links[i].Name == name {
			return &c.Links[i]
		}
	}
	return nil
}

// expire ends the leases whose time is over.
func (s *Server) expire(now time.Time) {
	if s.expiry.IsZero() || now.Before(s.expiry) {
		return
	}
	for _, b := range s.bindings {
		for i := range b.Leases {
			if l := &b.Leases[i]; l.live() && l.Valid.Over(now) {
				s.end(b, l, "lease is over")
			}
		}
	}
	s.sweep()
}

// end makes a lease that is over of a live one. It is remembered for its client unless it was taken back.
func (s *Server) end(b *Binding, l *Lease, why string) {
	s.note(note.Info, why, b, l.Prefix)
	s.changed(b)
	l.Preferred, l.Valid = lifetime.Until{}, lifetime.Until{}
}

// sweep forgets what nobody has and nobody can get again.
func (s *Server) sweep() {
	kept := s.bindings[:0]
	for _, b := range s.bindings {
		leases := b.Leases[:0]
		for _, l := range b.Leases {
			if l.live() || !l.Stale {
				leases = append(leases, l)
			}
		}
		if b.Leases = leases; len(leases) > 0 {
			kept = append(kept, b)
		}
	}
	clear(s.bindings[len(kept):])
	s.bindings = kept
}

// changed says that the binding has another lease, or one less, or a stale one: it is written at once.
func (s *Server) changed(b *Binding) {
	s.dirty = true
	s.act.Changed = s.act.Changed || b.Type == dhcpv6.PD
}

func (s *Server) note(l note.Level, msg string, b *Binding, p netip.Prefix) {
	s.act.Notes = append(s.act.Notes, note.New(l, msg, "iface", b.Link, "peer", b.Peer.String(), "prefix", p.String(),
		"iaid", b.IAID.String(), "client", b.Client.String()))
}

// Bindings are those of all clients whose leases are not over. They belong to the caller.
func (s *Server) Bindings(now time.Time) (all []Binding) {
	for _, b := range s.bindings {
		c := *b
		c.Leases = nil
		for _, l := range b.Leases {
			if !l.Valid.Over(now) {
				c.Leases = append(c.Leases, l)
			}
		}
		if len(c.Leases) > 0 {
			all = append(all, c)
		}
	}
	return all
}

// later puts a write off.
func (s *Server) later(now time.Time) {
	at := s.saved.Add(saveSoon)
	if at.Before(now) {
		at = now
	}
	s.saveAt = earlier(s.saveAt, at)
}

// persist writes everything. Leases that can be extended are written as if they had been until the next write that mere
// renewals need: see State.
func (s *Server) persist(now time.Time) {
	s.dirty, s.saveAt, s.saved = false, time.Time{}, now
	s.covered = now.Add(SaveInterval + MaxValid)
	st := &State{Replay: s.reserved}
	for _, b := range s.bindings {
		c := *b
		c.Leases = slices.Clone(b.Leases)
		for i := range c.Leases {
			if l := &c.Leases[i]; l.live() && !l.Stale {
				l.Valid = lifetime.At(s.covered)
			}
		}
		st.Bindings = append(st.Bindings, c)
	}
	s.act.Persist = st
}

// notSaved is a Persist that failed, with which nothing of its Step was sent. Whatever is granted, renewed or signed now
// is written first, and without such a thing another attempt comes soon.
func (s *Server) notSaved(now time.Time) {
	s.covered, s.reserved = time.Time{}, s.replay
	for i := range s.pending {
		s.pending[i].replay = 0 // on the disk is a smaller one
	}
	s.later(now)
}

// replayJump is by how much the replay value grows over a restart: more than blocks that were reserved and not written, as on a
// full disk. A client ignores every Reconfigure below what it has seen.
const replayJump = 1 << 20

// restore takes over what an earlier process left.
func (s *Server) restore(now time.Time, st State) {
	if s.replay = st.Replay; s.replay < 1<<63 {
		s.replay += replayJump
	}
	s.reserved = s.replay
	for _, r := range st.Bindings {
		if len(s.bindings) >= s.cfg.MaxBindings || s.find(r.Client, r.Type, r.IAID) != nil {
			continue
		}
		b := r
		b.Leases = nil
		s.bindings = append(s.bindings, &b) // now, since its own leases must not overlap either
		for _, l := range r.Leases {
			if l.Valid.Over(now) {
				l.Preferred, l.Valid = lifetime.Until{}, lifetime.Until{}
			} else if most := lifetime.At(now.Add(MaxValid)); !l.Stale && most.Before(l.Valid) {
				l.Valid = most // as written it is longer, see State; no Reply can have promised more
				l.Preferred = lifetime.Min(l.Preferred, most)
			}
			if len(b.Leases) < maxLeases && !(l.live() && s.overlaps(l.Prefix, r.Type)) {
				b.Leases = append(b.Leases, l)
			}
		}
		s.act.Changed = s.act.Changed || b.Type == dhcpv6.PD && b.live()
	}
	s.sweep()
}

// overlaps says that somebody has a part of the prefix.
func (s *Server) overlaps(p netip.Prefix, t dhcpv6.IAType) bool {
	return overlapsAny(s.leased(func(b *Binding, l *Lease) bool { return b.Type == t && l.live() }), p)
}

// number is for attributes of notes.
func number(n int) string { return strconv.Itoa(n) }
