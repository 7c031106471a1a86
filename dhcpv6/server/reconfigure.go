// SPDX-License-Identifier: MIT

package server

import (
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// Transmission of Reconfigure (RFC 9915 section 7.6).
const (
	RecTimeout = 2 * time.Second
	RecMaxRC   = 8
)

// Where more clients than this are to be told something, the first Reconfigures are spread over a time that
// grows with their number, so that not all of them answer at once.
const (
	atOnce        = 16
	spreadEach    = 10 * time.Millisecond
	spreadAtMost  = 2 * time.Second
	replayReserve = 256 // replay detection values that one write pays for
)

// pending is a Reconfigure that the client has not answered.
type pending struct {
	client dhcpv6.DUID
	replay uint64 // 0: not sent yet
	sent   int
	at     time.Time // of the next transmission
}

// nextReplay is the next replay detection value, greater than all before it (RFC 9915 section 20.3). One that the disk
// does not cover is not used before it does.
func (s *Server) nextReplay() uint64 {
	if s.replay++; s.replay > s.reserved {
		s.reserved = s.replay + replayReserve - 1
		s.dirty = true
	}
	return s.replay
}

// accept answers Reconfigure Accept. The client gets the key in the Reply that binds it, the first one of the server
// (RFC 9915 section 20.4). Whoever stops to accept gets no Reconfigure, and none for want of a key who begins later.
func (s *Server) accept(now time.Time, q *query, r *dhcpv6.Message) {
	can := q.ReconfigureAccept && s.cfg.Secret != [32]byte{}
	r.ReconfigureAccept = can
	if r.Type != dhcpv6.Reply {
		return
	}
	first := q.Type == dhcpv6.Solicit || q.Type == dhcpv6.Request
	bound := false
	for i := range q.IAs {
		b := s.find(q.ClientID, q.IAs[i].Type, q.IAs[i].IAID)
		if b == nil || !b.live() {
			continue
		}
		bound = true
		if will := can && (first || b.Reconfigure); will != b.Reconfigure {
			b.Reconfigure = will
			s.later(now)
		}
	}
	if can && first && bound {
		r.Auth = dhcpv6.KeyAuth(ReconfigureKey(s.cfg.Secret, string(q.ClientID)), s.nextReplay())
	}
}

// heard ends the Reconfigure that the message answers (RFC 9915 section 18.3.11).
func (s *Server) heard(q *query) {
	if q.Type == dhcpv6.Renew || q.Type == dhcpv6.Rebind || q.Type == dhcpv6.InformationRequest {
		s.pending = slices.DeleteFunc(s.pending, func(p pending) bool { return p.client == q.ClientID })
	}
}

// startReconfigures tells the clients that they should ask; one that is being told is told anew.
func (s *Server) startReconfigures(now time.Time, clients []dhcpv6.DUID) {
	var spread time.Duration
	if len(clients) > atOnce {
		spread = min(time.Duration(len(clients))*spreadEach, spreadAtMost)
	}
	for _, c := range clients {
		if s.reachable(c) == nil {
			continue
		}
		p := pending{client: c, at: now.Add(time.Duration(s.rand() * float64(spread)))}
		if i := slices.IndexFunc(s.pending, func(p pending) bool { return p.client == c }); i >= 0 {
			s.pending[i] = p
		} else {
			s.pending = append(s.pending, p)
		}
	}
}

// reachable is a binding of the client that says where it can be told something, or nil.
func (s *Server) reachable(client dhcpv6.DUID) *Binding {
	for _, b := range s.bindings {
		if b.Client == client && b.Reconfigure && b.live() && s.content.link(b.Link) != nil {
			return b
		}
	}
	return nil
}

// sendReconfigures sends those that are due (RFC 9915 section 18.3.11): after 2 s, 4 s and so on again, eight times.
func (s *Server) sendReconfigures(now time.Time) {
	kept := s.pending[:0]
	for _, p := range s.pending {
		if p.at.After(now) {
			kept = append(kept, p)
			continue
		}
		b := s.reachable(p.client)
		if b == nil {
			continue
		}
		if p.sent == RecMaxRC {
			s.act.Notes = append(s.act.Notes, note.New(note.Debug, "client does not answer to Reconfigure", "iface", b.Link, "peer", b.Peer.String()))
			continue
		}
		if p.replay == 0 {
			p.replay = s.nextReplay()
		}
		m := dhcpv6.Message{Type: dhcpv6.Reconfigure, ClientID: p.client, ServerID: s.cfg.DUID, ReconfigureMessage: dhcpv6.Renew}
		s.send(b.Link, b.Peer, dhcpv6.SignReconfigure(m, ReconfigureKey(s.cfg.Secret, string(p.client)), p.replay))
		p.at = now.Add(RecTimeout << p.sent)
		p.sent++
		kept = append(kept, p)
	}
	clear(s.pending[len(kept):])
	s.pending = kept
}
