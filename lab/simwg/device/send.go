// SPDX-License-Identifier: MIT

package device

import (
	"net/netip"
)

// packetOut sends a packet, or keeps it until there is a session.
func (s *step) packetOut(pkt []byte) Verdict {
	if len(pkt) < ip6HeaderLen || pkt[0]>>4 != 6 {
		return NotIPv6
	}
	p := s.routes.find(netip.AddrFrom16([16]byte(pkt[offDst : offDst+16])))
	if p == nil {
		return NoPeer
	}
	s.stage(p, pkt)
	s.sendStaged(p)
	if len(p.staged) > 0 {
		return Waiting
	}
	return Sent
}

func (s *step) stage(p *peer, pkt []byte) {
	if len(p.staged) == Staged {
		p.staged = append(p.staged[:0], p.staged[1:]...)
		p.counters.Crowded++
	}
	p.staged = append(p.staged, pkt)
}

// sendKeepalive makes use of what waits anyway.
func (s *step) sendKeepalive(p *peer) {
	if len(p.staged) == 0 {
		s.stage(p, nil)
	}
	s.sendStaged(p)
}

// sendStaged sends what waits, or begins a handshake if there is no session to send it under.
func (s *step) sendStaged(p *peer) {
	for len(p.staged) > 0 {
		if !p.current.usable(s.now) {
			s.initiate(p, false)
			return
		}
		pkt := p.staged[0]
		if p.staged = p.staged[1:]; len(p.staged) == 0 {
			p.staged = nil
		}
		s.sendUnder(p, p.current, pkt)
	}
}

// sendUnder makes a transport message.
func (s *step) sendUnder(p *peer, k *session, pkt []byte) {
	b := make([]byte, HeaderLen+s.padded(len(pkt))+TagLen)
	b[0] = TypeTransport
	put32(b[offTransportTo:], k.remote)
	put64(b[offCounter:], k.nonce)
	copy(b[HeaderLen:], pkt)
	tag := k.send.proof(k.nonce, b[:len(b)-TagLen])
	copy(b[len(b)-TagLen:], tag[:])
	k.nonce++

	s.sentAny(p)
	known := s.transmit(p, b)
	if len(b) > KeepaliveLen {
		s.sentData(p)
	}
	if !known {
		return
	}
	if len(b) > KeepaliveLen {
		p.counters.Data++
	} else {
		p.counters.Keepalives++
	}
	if k.nonce > RekeyAfterMessages || k.initiator && s.now.Sub(k.created) > RekeyAfterTime {
		s.initiate(p, false)
	}
}

// padded is how long the content of a packet of n octets is: a multiple of 16, but not beyond the interface's MTU, so that
// padding alone makes no datagram too big. A packet that is longer than the MTU counts as the rest of a division by it, as
// in wireguard-go.
func (d *Device) padded(n int) int {
	up := func(n int) int { return (n + Padding - 1) &^ (Padding - 1) }
	if d.mtu <= 0 {
		return up(n)
	}
	last := n
	if last > d.mtu {
		last %= d.mtu
	}
	return n - last + min(up(last), d.mtu)
}

// transmit hands a message out, and says whether it is known where to.
func (s *step) transmit(p *peer, b []byte) bool {
	if !p.endpoint.IsValid() {
		return false
	}
	s.Send = append(s.Send, Datagram{Peer: p.key, To: p.endpoint, Data: b})
	p.counters.TxBytes += uint64(len(b))
	return true
}
