// SPDX-License-Identifier: MIT

package device

import "net/netip"

// received takes a datagram. Nothing that it says is believed before it has proven it.
func (s *step) received(from netip.AddrPort, b []byte) Verdict {
	switch t := kind(b); t {
	case TypeTransport:
		return s.takeTransport(from, b)
	case TypeCookie:
		return s.takeCookie(b)
	case TypeInitiation, TypeResponse:
		if v := s.admit(from, b); v != None {
			return v
		}
		if t == TypeInitiation {
			return s.takeInitiation(from, b)
		}
		return s.takeResponse(from, b)
	}
	return Malformed
}

// moved is roaming: where an authentic message came from, there the answers go.
func (s *step) moved(p *peer, from netip.AddrPort) {
	p.endpoint = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func (s *step) takeTransport(from netip.AddrPort, b []byte) Verdict {
	m := transport(b)
	w := s.index[m.Receiver]
	p, k := w.peer, w.session
	switch {
	case k == nil:
		return NoSession
	case k.tooOld(s.now):
		return Expired
	}
	if tag := k.receive.proof(m.Counter, b[:len(b)-TagLen]); string(tag[:]) != string(b[len(b)-TagLen:]) {
		return Forged
	}
	if m.Counter >= RejectAfterMessages || !k.window.take(m.Counter) {
		return Replayed
	}
	s.moved(p, from)
	if s.confirm(p, k) {
		s.complete(p)
		s.sendStaged(p)
	}
	p.counters.RxBytes += uint64(len(b))
	v := s.inner(p, m.Content)
	s.keepFresh(p)
	s.heardAny(p)
	if v == Keepalive {
		p.counters.KeepalivesIn++
		return v
	}
	p.counters.DataIn++
	s.heardData(p)
	return v
}

// inner checks whether the peer may send this packet.
func (s *step) inner(p *peer, content []byte) Verdict {
	if len(content) == 0 {
		return Keepalive
	}
	pkt, ok := whole(content)
	if !ok {
		return Broken
	}
	if s.routes.find(netip.AddrFrom16([16]byte(pkt[offSrc:offSrc+16]))) != p {
		return Spoofed
	}
	s.Deliver = append(s.Deliver, Packet{Peer: p.key, Data: pkt})
	return Delivered
}

// keepFresh begins a handshake in time for who only receives: 165 s after the last, if that was its own.
func (s *step) keepFresh(p *peer) {
	k := p.current
	if p.lastMinute || k == nil || !k.initiator || s.now.Sub(k.created) <= RejectAfterTime-KeepaliveTimeout-RekeyTimeout {
		return
	}
	p.lastMinute = true
	s.initiate(p, false)
}
