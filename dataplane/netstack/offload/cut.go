// SPDX-License-Identifier: MIT

package offload

import (
	"encoding/binary"

	"oasis6/internal/ip6pkt"
)

// Of TCP and UDP headers (RFC 9293 section 3.1, RFC 768).
const (
	headerLen = ip6pkt.HeaderLen
	protoTCP  = 6
	tcpMin    = 20
	tcpSeq    = 4
	tcpAck    = 8
	tcpOffset = 12
	tcpFlags  = 13
	tcpSum    = 16
	udpLen    = 4
	udpSum    = 6
	flagFIN   = 1 << 0
	flagPSH   = 1 << 3
	flagACK   = 1 << 4
	flagCWR   = 1 << 7
	offLength = 4
	offNext   = 6
	offSrc    = 8
)

// Complete fills in the checksum of a packet where that was left to be done.
func Complete(pkt []byte, off Info) {
	at := int(off.Start) + int(off.Field)
	if !off.Partial || int(off.Start) >= len(pkt) || at+2 > len(pkt) {
		return
	}
	// The field holds the pseudo-header's sum, so the sum over all of it is what is missing.
	binary.BigEndian.PutUint16(pkt[at:], checksum(sum(0, pkt[off.Start:]), int(off.Field)))
}

// checksum is what goes into the field at a place of the upper layer's header: that of UDP is never zero, which means none.
func checksum(sum uint16, at int) uint16 {
	if sum == 0xffff && at == udpSum {
		return 0xffff
	}
	return ^sum
}

// FieldTCP is Info.Field of TCP.
const FieldTCP = tcpSum

// Segments are what is left of a packet that is being cut.
type Segments struct {
	pkt     []byte
	off     Info
	headers int // of IPv6 and the upper layer; 0: the packet is not cut
	upper   int // length of the upper layer's header
	size    int
	done    int    // octets of payload that are cut off
	pseudo  uint16 // sum of the addresses and the protocol
	proto   byte
}

// Cut begins to cut a packet, which must stay as it is until the last segment is made. One that is no super-packet is its
// only segment; one that cannot be cut has none.
func Cut(pkt []byte, off Info) Segments {
	s := Segments{pkt: pkt, off: off}
	if off.Size == 0 || len(pkt) < headerLen+ip6pkt.UDPHeaderLen {
		return s
	}
	s.proto, s.size = pkt[offNext], int(off.Size)
	switch s.proto {
	case protoTCP:
		if len(pkt) >= headerLen+tcpMin {
			s.upper = int(pkt[headerLen+tcpOffset]>>4) * 4
		}
		if s.upper < tcpMin {
			return s
		}
	case ip6pkt.ProtoUDP:
		s.upper = ip6pkt.UDPHeaderLen
	default:
		return s
	}
	if headerLen+s.upper >= len(pkt) {
		return s
	}
	s.headers = headerLen + s.upper
	s.pseudo = sum(uint16(s.proto), pkt[offSrc:headerLen])
	return s
}

// Next writes the next segment into b, and says how long it is, 0 if b is too short for it, and whether there are more.
func (s *Segments) Next(b []byte) (n int, more bool) {
	if s.headers == 0 {
		if len(b) < len(s.pkt) || s.off.Size != 0 {
			return 0, false
		}
		n = copy(b, s.pkt)
		Complete(b[:n], s.off)
		return n, false
	}
	payload := s.pkt[s.headers:]
	part := payload[s.done:min(s.done+s.size, len(payload))]
	n = s.headers + len(part)
	if len(b) < n {
		return 0, false
	}
	b = b[:n]
	copy(b, s.pkt[:s.headers])
	copy(b[s.headers:], part)
	binary.BigEndian.PutUint16(b[offLength:], uint16(n-headerLen))
	first, last := s.done == 0, s.done+len(part) == len(payload)
	u := b[headerLen:]
	at := udpSum
	if s.proto == protoTCP {
		at = tcpSum
		binary.BigEndian.PutUint32(u[tcpSeq:], binary.BigEndian.Uint32(u[tcpSeq:])+uint32(s.done))
		if !last {
			u[tcpFlags] &^= flagFIN | flagPSH
		}
		if !first {
			u[tcpFlags] &^= flagCWR // RFC 3168 section 6.1.2: once for each reduction
		}
	} else {
		binary.BigEndian.PutUint16(u[udpLen:], uint16(len(u)))
	}
	u[at], u[at+1] = 0, 0
	binary.BigEndian.PutUint16(u[at:], checksum(sum(add(s.pseudo, uint16(len(u))), u), at))
	s.done += len(part)
	return n, !last
}

// add is the one's complement sum.
func add(a, b uint16) uint16 {
	n := uint32(a) + uint32(b)
	return uint16(n + n>>16)
}
