// SPDX-License-Identifier: MIT

package pd

import (
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/note"
)

// Where more sites than this are to be told something, the others follow at a pace at which their answers can be written:
// a thousand a second.
const (
	atOnce     = 16
	paceEvery  = 20 * time.Millisecond
	perPace    = 20
	replayMore = 1024    // replay detection values that one write pays for
	replayJump = 1 << 20 // by how much they grow over a restart, as in dhcpv6/server
)

// pending is a Reconfigure that a site has not answered.
type pending struct {
	place
	site   *site
	duid   dhcpv6.DUID
	replay uint64 // 0: not sent yet
	sent   int
}

func (p *pending) where() *place { return &p.place }

// key is the reconfigure key of a site. It does not hang on the DUID: a site that uses another one's learns nothing.
func (m *Machine) key(s *site) dhcpv6.ReconfigureKey {
	return server.ReconfigureKey(m.cfg.Secret, string(s.key[:]))
}

// nextReplay is the next replay detection value, greater than all before it (RFC 9915 section 20.3). One that the disk
// does not cover is not used before it does.
func (m *Machine) nextReplay() uint64 {
	if m.replay++; m.replay > m.reserved {
		m.reserved = m.replay + replayMore - 1
		m.act.Replay = m.reserved
	}
	return m.replay
}

// accept answers Reconfigure Accept. A site gets its key in the Reply that binds it (RFC 9915 section 20.4). Whoever stops
// to accept gets no Reconfigure, and none for want of a key who begins later.
func (m *Machine) accept(now time.Time, q *query, r *dhcpv6.Message) {
	can := q.ReconfigureAccept && m.cfg.Secret != [32]byte{}
	r.ReconfigureAccept = can
	if r.Type != dhcpv6.Reply {
		return
	}
	first := q.Type == dhcpv6.Solicit || q.Type == dhcpv6.Request
	bound := false
	for i := range q.IAs {
		b := q.site.binding(q.IAs[i].IAID)
		if q.IAs[i].Type != dhcpv6.PD || !b.known() {
			continue
		}
		bound = true
		will := can && (first || b.reconfigure)
		if will != b.reconfigure && (b.dirty || q.site.writes.Take(now, 1)) {
			m.change(b)
			b.reconfigure = will
		}
	}
	if can && first && bound {
		r.Auth = dhcpv6.KeyAuth(m.key(q.site), m.nextReplay())
	}
}

// heard ends the Reconfigure that the message answers (RFC 9915 section 18.3.11).
func (m *Machine) heard(q *query) {
	if len(q.site.pending) > 0 && (q.Type == dhcpv6.Renew || q.Type == dhcpv6.Rebind || q.Type == dhcpv6.InformationRequest) {
		q.site.pending = slices.DeleteFunc(q.site.pending, func(p *pending) bool {
			if p.duid == q.ClientID {
				m.tell.remove(p)
			}
			return p.duid == q.ClientID
		})
	}
}

// stopTelling ends all Reconfigures to a site.
func (m *Machine) stopTelling(s *site) {
	for _, p := range s.pending {
		m.tell.remove(p)
	}
	s.pending = nil
}

// startReconfigures tells the sites that they should ask; one that is being told is told anew.
func (m *Machine) startReconfigures(now time.Time, sites []*site) {
	n := 0
	seen := map[*site]bool{}
	for _, s := range sites {
		if seen[s] || !s.present {
			continue
		}
		seen[s] = true
		m.stopTelling(s)
		for _, b := range s.bindings {
			if !b.told() || slices.ContainsFunc(s.pending, func(p *pending) bool { return p.duid == b.duid }) {
				continue
			}
			p := &pending{site: s, duid: b.duid}
			s.pending = append(s.pending, p)
			m.tell.set(p, now.Add(pace(n)).UnixNano())
			n++
		}
	}
}

// pace is how long the n-th site waits.
func pace(n int) time.Duration {
	if n < atOnce {
		return 0
	}
	return time.Duration((n-atOnce)/perPace+1) * paceEvery
}

// told says that the binding can be told by Reconfigure.
func (b *binding) told() bool { return b.reconfigure && b.live() }

// sendReconfigures sends those that are due (RFC 9915 section 18.3.11): after 2 s, 4 s and so on again, eight times.
func (m *Machine) sendReconfigures(now time.Time) {
	for !m.stopped {
		p, ok := m.tell.first()
		if !ok || p.key > now.UnixNano() {
			return
		}
		can := slices.ContainsFunc(p.site.bindings, func(b *binding) bool { return b.told() && b.duid == p.duid })
		if !can || p.sent == server.RecMaxRC {
			if can {
				m.act.Notes = append(m.act.Notes, note.New(note.Debug, "site does not answer to Reconfigure", "peer", p.site.label()))
			}
			m.tell.remove(p)
			p.site.pending = slices.DeleteFunc(p.site.pending, func(o *pending) bool { return o == p })
			continue
		}
		if p.replay == 0 || p.replay > m.confirmed { // one that was never written did not leave
			p.replay = m.nextReplay()
		}
		r := dhcpv6.Message{Type: dhcpv6.Reconfigure, ClientID: p.duid, ServerID: m.cfg.DUID, ReconfigureMessage: dhcpv6.Renew}
		m.send(p.site, dhcpv6.SignReconfigure(r, m.key(p.site), p.replay))
		m.tell.set(p, now.Add(server.RecTimeout<<p.sent).UnixNano())
		p.sent++
	}
}
