// SPDX-License-Identifier: MIT

package nat

import (
	"net/netip"
	"time"
)

// insideKey finds the mapping of a packet that goes out; pair is the part of the remote that counts.
type insideKey struct {
	proto  Proto
	inside netip.AddrPort
	pair   netip.AddrPort
}

// outsideKey finds the mapping of a packet that comes in.
type outsideKey struct {
	proto Proto
	port  uint16
}

// mapping is one outside port. It lives as long as one of its sessions.
type mapping struct {
	proto    Proto
	inside   netip.AddrPort
	pair     netip.AddrPort
	port     uint16
	sessions map[netip.AddrPort]*session // by remote
}

// session is what one mapping has with one remote.
type session struct {
	remote   netip.AddrPort
	expires  time.Time
	answered bool // a packet came in
	tcp      connection
}

// connection is what the flags of a TCP connection have said, each way.
type connection struct {
	synOut, synIn, finOut, finIn, reset bool
}

// Flags of TCP.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
)

func (c *connection) see(flags byte, outward bool) {
	if outward && flags&flagSYN != 0 && c.over() {
		*c = connection{}
	}
	if flags&flagRST != 0 {
		c.reset = true
	}
	syn, fin := flags&flagSYN != 0, flags&flagFIN != 0
	if outward {
		c.synOut, c.finOut = c.synOut || syn, c.finOut || fin
		return
	}
	c.synIn, c.finIn = c.synIn || syn, c.finIn || fin
}

func (c *connection) over() bool        { return c.reset || c.finOut && c.finIn }
func (c *connection) established() bool { return c.synOut && c.synIn && !c.over() }

// pairOf is the part of the remote that a mapping is bound to.
func pairOf(b Behaviour, remote netip.AddrPort) netip.AddrPort {
	switch b {
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	case AddressAndPortDependent:
		return remote
	}
	return netip.AddrPort{}
}

// outward finds or makes the session of a packet that goes out; text says why there is none.
func (m *Machine) outward(now time.Time, proto Proto, inside, remote netip.AddrPort) (p *mapping, s *session, text string) {
	k := insideKey{proto, inside, pairOf(m.cfg.Mapping, remote)}
	p = m.byInside[k]
	if p != nil {
		m.trim(now, p) // what is over does not come to life again
		p = m.byInside[k]
	}
	if p != nil && p.sessions[remote] != nil {
		return p, p.sessions[remote], ""
	}
	if !m.room(now) {
		return nil, nil, "the translator's table is full"
	}
	if p == nil {
		port, ok := m.allocate(proto, inside.Port())
		if !ok {
			return nil, nil, "the translator has no free port"
		}
		p = &mapping{proto: proto, inside: inside, pair: k.pair, port: port, sessions: map[netip.AddrPort]*session{}}
		m.byInside[k] = p
		m.byOutside[outsideKey{proto, port}] = p
	}
	return p, m.begin(p, remote), ""
}

func (m *Machine) begin(p *mapping, remote netip.AddrPort) *session {
	s := &session{remote: remote}
	p.sessions[remote] = s
	m.sessions++
	return s
}

// inward finds the session of a packet that comes in; text says why there is none.
func (m *Machine) inward(now time.Time, proto Proto, port uint16, remote netip.AddrPort) (p *mapping, s *session, text string) {
	k := outsideKey{proto, port}
	p = m.byOutside[k]
	if p != nil {
		m.trim(now, p)
		p = m.byOutside[k]
	}
	if p == nil {
		return nil, nil, "the translator has no mapping for this port"
	}
	if s = p.sessions[remote]; s != nil {
		return p, s, ""
	}
	if !m.lets(p, remote) {
		return nil, nil, "the translator does not know this sender"
	}
	if !m.room(now) {
		return nil, nil, "the translator's table is full"
	}
	return p, m.begin(p, remote), ""
}

// lets says whether a remote without a session may use a mapping.
func (m *Machine) lets(p *mapping, remote netip.AddrPort) bool {
	switch m.cfg.Filtering {
	case EndpointIndependent:
		return p.pair == netip.AddrPort{} || p.pair == pairOf(m.cfg.Mapping, remote)
	case AddressDependent:
		for r := range p.sessions {
			if r.Addr() == remote.Addr() {
				return true
			}
		}
	}
	return false
}

// touch begins the session's lifetime anew.
func (m *Machine) touch(now time.Time, p *mapping, s *session) {
	d := m.cfg.ICMP
	switch p.proto {
	case UDP:
		if d = m.cfg.UDP; !s.answered {
			d = min(d, unanswered)
		}
	case TCP:
		if d = m.cfg.TCPTransitory; s.tcp.established() {
			d = m.cfg.TCPEstablished
		}
	}
	s.expires = now.Add(d)
}

// trim removes what is over of one mapping.
func (m *Machine) trim(now time.Time, p *mapping) {
	for r, s := range p.sessions {
		if !s.expires.After(now) {
			delete(p.sessions, r)
			m.sessions--
		}
	}
	if len(p.sessions) == 0 {
		delete(m.byInside, insideKey{p.proto, p.inside, p.pair})
		delete(m.byOutside, outsideKey{p.proto, p.port})
	}
}

// room says whether one more session fits, and looks for what is over if not, no more often than that can help.
func (m *Machine) room(now time.Time) bool {
	if m.sessions >= m.cfg.MaxSessions && !now.Before(m.nextSweep) {
		m.nextSweep = now.Add(time.Hour)
		for _, p := range m.byOutside {
			m.trim(now, p)
			for _, s := range p.sessions {
				if s.expires.Before(m.nextSweep) {
					m.nextSweep = s.expires
				}
			}
		}
	}
	return m.sessions < m.cfg.MaxSessions
}

// allocate finds a free port: the inside's own where that is wanted, else one at random.
func (m *Machine) allocate(proto Proto, wanted uint16) (uint16, bool) {
	free := func(p uint16) bool {
		k := outsideKey{proto, p}
		return m.byOutside[k] == nil && !m.barred[k] && !m.reserved[k]
	}
	if !m.cfg.RandomPorts && free(wanted) {
		return wanted, true
	}
	const ports = 1<<16 - lowestPort
	at := 0
	for range portTries {
		at = int(m.rand() * ports)
		if p := uint16(lowestPort + at); free(p) {
			return p, true
		}
	}
	for i := range ports {
		if p := uint16(lowestPort + (at+i)%ports); free(p) {
			return p, true
		}
	}
	return 0, false
}
