// SPDX-License-Identifier: MIT

package swarm

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
)

// WireGuard's timers, section 6.1 of its paper, and those of a DHCPv6 client (RFC 9915 section 7.6).
const (
	rekeyTimeout     = 5 * time.Second
	rekeyJitter      = 334 * time.Millisecond
	rekeyAfter       = 120 * time.Second
	keepaliveTimeout = 10 * time.Second
	cookieLasts      = 120 * time.Second
	solTimeout       = time.Second
	solMaxRT         = time.Hour
)

// site is one box. It belongs to one worker.
type site struct {
	identity
	oob       []byte // says from which address its datagrams go
	linkLocal netip.Addr
	duid      dhcpv6.DUID
	index     uint32 // of its handshakes; the low bits count them

	next     *handshake // not sent yet
	pending  *handshake // waits for a response
	cookie   []byte
	cookieAt time.Time
	session  *session

	// Deadlines; zero: none.
	prepareAt, handshakeAt, rekeyAt, solicitAt, keepaliveAt time.Time

	xid    uint32
	rt     time.Duration
	prefix netip.Prefix
	done   time.Time // when it had what it was to have
}

const (
	// attempts are the handshakes of a site that have indices of their own.
	attempts = 16
	// prepareAfter an initiation the next one is made, so that sending it takes no time then: each site has a processor
	// of its own.
	prepareAfter = rekeyTimeout / 2
)

// prepare makes the next initiation.
func (w *worker) prepare(s *site, now time.Time) error {
	s.index = s.index&^(attempts-1) | (s.index+1)&(attempts-1)
	hs, err := w.hub.initiate(s.identity, s.index, now)
	s.next = hs
	return err
}

// due does what is to be done now, and says if that was anything.
func (w *worker) due(s *site, now time.Time) bool {
	over := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	switch {
	case over(s.prepareAt):
		s.prepareAt = time.Time{}
		w.check(w.prepare(s, now))
	case over(s.handshakeAt):
		w.initiate(s, now)
	case over(s.rekeyAt):
		s.rekeyAt = time.Time{}
		w.initiate(s, now)
	case over(s.solicitAt):
		w.solicit(s, now)
	case over(s.keepaliveAt):
		w.transmit(s, nil)
	default:
		return false
	}
	return true
}

// initiate sends the initiation that is ready, or a new one.
func (w *worker) initiate(s *site, now time.Time) {
	if s.next == nil {
		if err := w.prepare(s, now); err != nil {
			w.check(err)
			return
		}
	}
	s.pending, s.next, s.prepareAt = s.next, nil, now.Add(prepareAfter)
	if s.cookie != nil && now.Sub(s.cookieAt) < cookieLasts {
		s.pending.show(s.cookie)
	}
	w.counts.Initiations++
	w.write(s, s.pending.message)
	s.handshakeAt = now.Add(rekeyTimeout + rand.N(rekeyJitter))
}

// receive takes a datagram whose receiver index is the site's.
func (w *worker) receive(s *site, m []byte, now time.Time) {
	switch {
	case m[0] == typeCookie && len(m) == cookieLen && s.pending != nil:
		if c, err := w.hub.cookie(s.pending, m); err == nil {
			w.counts.Cookies++
			s.cookie, s.cookieAt = c, now
		}
	case m[0] == typeResponse && s.pending != nil:
		next, err := s.pending.finish(s.identity, m)
		if err != nil {
			w.counts.Refused++
			return
		}
		s.session, s.pending, s.handshakeAt, s.prepareAt = next, nil, time.Time{}, time.Time{}
		s.rekeyAt = now.Add(rekeyAfter)
		w.connected(s, now)
	case m[0] == typeTransport && s.session != nil:
		w.data(s, m, now)
	}
}

// connected is the first message under the new keys: by it the hub knows that we have them.
func (w *worker) connected(s *site, now time.Time) {
	if w.goal == Leases && s.done.IsZero() {
		s.rt = solTimeout
		w.solicit(s, now)
		return
	}
	w.transmit(s, nil)
	w.reached(s, now)
}

// solicit asks for a prefix by two messages, as our boxes do. RFC 9915 section 15: the first time-out is not below
// SOL_TIMEOUT, each one after that is about twice as long.
func (w *worker) solicit(s *site, now time.Time) {
	m := dhcpv6.Message{
		Type: dhcpv6.Solicit, XID: s.xid, ClientID: s.duid, RapidCommit: true, ReconfigureAccept: true,
		ORO: []dhcpv6.OptionCode{dhcpv6.OptionDNSServers, dhcpv6.OptionDomainList, dhcpv6.OptionSolMaxRT},
		IAs: []dhcpv6.IA{{Type: dhcpv6.PD, IAID: 1}},
	}
	w.counts.Solicits++
	w.transmit(s, ip6pkt.UDP(s.linkLocal, server.AllServers, dhcpv6.ClientPort, dhcpv6.ServerPort, 64, m.Append(nil)))
	s.solicitAt = now.Add(s.rt + rand.N(s.rt/10))
	s.rt = min(2*s.rt, solMaxRT)
}

// data opens a packet of the hub. Once the site has all that it wants, it only answers.
func (w *worker) data(s *site, m []byte, now time.Time) {
	keepalive := len(m) == headerLen+tagLen
	if !keepalive && s.keepaliveAt.IsZero() {
		s.keepaliveAt = now.Add(keepaliveTimeout)
	}
	if keepalive || !s.done.IsZero() {
		return
	}
	packet, err := s.session.open(m)
	if err != nil {
		w.counts.Refused++
		return
	}
	u, err := ip6pkt.ParseUDP(packet)
	if err != nil || u.Dst.Addr() != s.linkLocal || u.Dst.Port() != dhcpv6.ClientPort {
		return // a Router Advertisement
	}
	reply, _, err := dhcpv6.ParseMessage(u.Payload)
	if err != nil || reply.Type != dhcpv6.Reply || reply.XID != s.xid || reply.ClientID != s.duid {
		w.counts.Refused++
		return
	}
	for _, ia := range reply.IAs {
		for _, p := range ia.Prefixes {
			if p.Valid > 0 {
				s.prefix, s.solicitAt = p.Prefix, time.Time{}
				w.reached(s, now)
				return
			}
		}
	}
}

// reached notes that the site has what it was to have.
func (w *worker) reached(s *site, now time.Time) {
	if s.done.IsZero() {
		s.done = now
		w.waiting.Done()
	}
}

// transmit sends a packet through the tunnel, nil for a keepalive.
func (w *worker) transmit(s *site, packet []byte) {
	if s.session != nil {
		s.keepaliveAt = time.Time{}
		w.write(s, s.session.seal(packet))
	}
}

func newSite(h *hub, key wgkey.Private, number int) (*site, error) {
	id, err := h.identity(key)
	if err != nil {
		return nil, err
	}
	public := key.Public()
	return &site{
		identity: id, linkLocal: public.LinkLocal(), duid: dhcpv6.DUIDFromPublicKey(public),
		index: uint32(number+1) * attempts, xid: uint32(number+1) & dhcpv6.XIDMask,
	}, nil
}
