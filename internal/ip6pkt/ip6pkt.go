// SPDX-License-Identifier: MIT

// Package ip6pkt builds and parses single IPv6 packets that carry UDP or ICMPv6 directly behind the
// fixed header: what DHCPv6 and Neighbor Discovery look like on the tunnel.
//
// It has no extension headers, no fragments and no jumbograms: a packet with any of them is refused
// by the parsers. Everything parsed has a verified length and checksum. Start at UDP and ParseUDP.
package ip6pkt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Numbers of RFC 8200 section 3 and of the IANA protocol registry.
const (
	HeaderLen     = 40 // the fixed IPv6 header
	UDPHeaderLen  = 8
	ProtoUDP      = 17
	ProtoICMPv6   = 58
	ProtoHopByHop = 0
	maxPayload    = 65535

	offPayloadLen = 4
	offNextHeader = 6
	offHopLimit   = 7
	offSrc        = 8
	offDst        = 24
)

// ICMPv6 types used on the tunnel.
const (
	TypeEchoRequest = 128 // RFC 4443 section 4.1
	TypeEchoReply   = 129 // RFC 4443 section 4.2
)

// ErrChecksum says that the checksum of the upper layer is wrong, or absent from UDP.
var ErrChecksum = errors.New("wrong checksum")

// Datagram is a parsed UDP packet. Payload is a part of the packet given to ParseUDP, not a copy.
type Datagram struct {
	Src, Dst netip.AddrPort
	HopLimit uint8
	Payload  []byte
}

// Message is a parsed ICMPv6 packet. Body begins with the ICMPv6 type and is a part of the packet
// given to ParseICMPv6, not a copy.
type Message struct {
	Src, Dst netip.Addr
	HopLimit uint8
	Body     []byte
}

// UDP builds a whole packet with its checksum. Zones of the addresses are left out. It returns nil
// if an address is not IPv6 or the payload is longer than 65,527 octets.
func UDP(src, dst netip.Addr, sport, dport uint16, hopLimit uint8, payload []byte) []byte {
	pkt := header(src, dst, ProtoUDP, hopLimit, UDPHeaderLen+len(payload))
	if pkt == nil {
		return nil
	}
	u := pkt[HeaderLen:]
	binary.BigEndian.PutUint16(u[0:], sport)
	binary.BigEndian.PutUint16(u[2:], dport)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[UDPHeaderLen:], payload)
	sum := Checksum(src, dst, ProtoUDP, u)
	if sum == 0 {
		// RFC 8200 section 8.1: "if that computation yields a result of zero, it must be changed to hex FFFF"
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:], sum)
	return pkt
}

// ICMPv6 builds a whole packet around body, which begins with the ICMPv6 type; the two octets of its
// checksum are filled in, in the packet and not in body. It returns nil if an address is not IPv6 or
// body is shorter than 4 or longer than 65,535 octets.
func ICMPv6(src, dst netip.Addr, hopLimit uint8, body []byte) []byte {
	if len(body) < 4 {
		return nil
	}
	pkt := header(src, dst, ProtoICMPv6, hopLimit, len(body))
	if pkt == nil {
		return nil
	}
	m := pkt[HeaderLen:]
	copy(m, body)
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], Checksum(src, dst, ProtoICMPv6, m))
	return pkt
}

// Packet builds a whole packet around an upper layer that has its checksum already. It returns nil if an address is not
// IPv6 or the upper layer is longer than 65,535 octets.
func Packet(src, dst netip.Addr, proto, hopLimit uint8, upper []byte) []byte {
	pkt := header(src, dst, proto, hopLimit, len(upper))
	if pkt != nil {
		copy(pkt[HeaderLen:], upper)
	}
	return pkt
}

// EchoRequest builds an ICMPv6 echo request (RFC 4443 section 4.1) without data.
func EchoRequest(src, dst netip.Addr, hopLimit uint8, id, seq uint16) []byte {
	var b [8]byte
	b[0] = TypeEchoRequest
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	return ICMPv6(src, dst, hopLimit, b[:])
}

// ParseUDP checks length, version, next header and checksum. A checksum of zero is refused:
// RFC 8200 section 8.1, "IPv6 receivers must discard UDP packets containing a zero checksum".
// Octets behind the IPv6 payload are ignored, as a link may pad.
func ParseUDP(pkt []byte) (Datagram, error) {
	src, dst, u, err := parse(pkt, ProtoUDP)
	if err != nil {
		return Datagram{}, err
	}
	if len(u) < UDPHeaderLen {
		return Datagram{}, fmt.Errorf("udp header: %d octets, want %d", len(u), UDPHeaderLen)
	}
	if n := int(binary.BigEndian.Uint16(u[4:])); n != len(u) {
		return Datagram{}, fmt.Errorf("udp length: %d, but the packet has %d octets", n, len(u))
	}
	if binary.BigEndian.Uint16(u[6:]) == 0 {
		return Datagram{}, fmt.Errorf("udp without checksum: %w", ErrChecksum)
	}
	if Checksum(src, dst, ProtoUDP, u) != 0 {
		return Datagram{}, fmt.Errorf("udp: %w", ErrChecksum)
	}
	return Datagram{
		Src:      netip.AddrPortFrom(src, binary.BigEndian.Uint16(u[0:])),
		Dst:      netip.AddrPortFrom(dst, binary.BigEndian.Uint16(u[2:])),
		HopLimit: pkt[offHopLimit],
		Payload:  u[UDPHeaderLen:],
	}, nil
}

// ParseICMPv6 checks length, version, next header and checksum.
func ParseICMPv6(pkt []byte) (Message, error) {
	src, dst, m, err := parse(pkt, ProtoICMPv6)
	if err != nil {
		return Message{}, err
	}
	if len(m) < 4 {
		return Message{}, fmt.Errorf("icmpv6 header: %d octets, want 4", len(m))
	}
	if Checksum(src, dst, ProtoICMPv6, m) != 0 {
		return Message{}, fmt.Errorf("icmpv6: %w", ErrChecksum)
	}
	return Message{Src: src, Dst: dst, HopLimit: pkt[offHopLimit], Body: m}, nil
}

// Checksum is the Internet checksum of the upper-layer packet b behind the pseudo-header of RFC 8200
// section 8.1. Over a packet that holds a right checksum it is zero.
func Checksum(src, dst netip.Addr, proto uint8, b []byte) uint16 {
	s, d := src.As16(), dst.As16()
	sum := add(add(0, s[:]), d[:])
	sum += uint64(len(b)) + uint64(proto)
	sum = add(sum, b)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// add sums 16-bit words. 64 bits cannot overflow with a packet's worth of them.
func add(sum uint64, b []byte) uint64 {
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

func header(src, dst netip.Addr, proto, hopLimit uint8, payload int) []byte {
	if !src.Is6() || !dst.Is6() || src.Is4In6() || dst.Is4In6() || payload > maxPayload {
		return nil
	}
	pkt := make([]byte, HeaderLen+payload)
	pkt[0] = 6 << 4
	binary.BigEndian.PutUint16(pkt[offPayloadLen:], uint16(payload))
	pkt[offNextHeader] = proto
	pkt[offHopLimit] = hopLimit
	s, d := src.As16(), dst.As16()
	copy(pkt[offSrc:], s[:])
	copy(pkt[offDst:], d[:])
	return pkt
}

func parse(pkt []byte, proto uint8) (src, dst netip.Addr, upper []byte, err error) {
	if len(pkt) < HeaderLen {
		return src, dst, nil, fmt.Errorf("ipv6 header: %d octets, want %d", len(pkt), HeaderLen)
	}
	if v := pkt[0] >> 4; v != 6 {
		return src, dst, nil, fmt.Errorf("ip version: %d, want 6", v)
	}
	if nh := pkt[offNextHeader]; nh != proto {
		return src, dst, nil, fmt.Errorf("next header: %d, want %d", nh, proto)
	}
	n := int(binary.BigEndian.Uint16(pkt[offPayloadLen:]))
	if n > len(pkt)-HeaderLen {
		return src, dst, nil, fmt.Errorf("payload length: %d, but only %d octets follow", n, len(pkt)-HeaderLen)
	}
	src = netip.AddrFrom16([16]byte(pkt[offSrc:offDst]))
	dst = netip.AddrFrom16([16]byte(pkt[offDst:HeaderLen]))
	return src, dst, pkt[HeaderLen : HeaderLen+n], nil
}

// SolicitedNode is the group in which who has an address hears questions for it (RFC 4291 section 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	ip := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: ip[13], 14: ip[14], 15: ip[15]})
}
