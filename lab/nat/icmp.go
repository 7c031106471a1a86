// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Codes of destination unreachable (RFC 792, RFC 1812 section 5.2.7.1).
const (
	codeNet        = 0
	codeHost       = 1
	codePort       = 3
	codeTooBig     = 4 // fragmentation needed and DF set
	codeProhibited = 13
)

const (
	defaultTTL   = 64
	quotedOctets = 576 - ipHeader - icmpHeader // RFC 1812 section 4.3.2.3: as much as fits 576 octets
)

// mayAnswer says whether a packet may be answered with an ICMP error (RFC 1812 section 4.3.2.7).
func mayAnswer(p *packet) bool {
	at, _ := p.offset()
	src, dst := p.src.Addr(), p.dst.Addr()
	return at == 0 && !p.isError() && !src.IsUnspecified() && !src.IsMulticast() && !src.IsLoopback() && src != broadcastAddr &&
		!dst.IsMulticast() && dst != broadcastAddr
}

// icmpError is an ICMP error of that kind about a packet; word is what stands in its second four octets.
func icmpError(from netip.Addr, about *packet, kind, code byte, word uint32) []byte {
	q := about.b[:min(len(about.b), quotedOctets)]
	m := append(make([]byte, icmpHeader, icmpHeader+len(q)), q...)
	m[0], m[1] = kind, code
	binary.BigEndian.PutUint32(m[4:], word)
	putChecksum(m, icmpChecksumAt)
	return ipv4(from, about.src.Addr(), ICMP, m)
}

// echoReply answers an echo request.
func echoReply(p *packet) []byte {
	m := slices.Clone(p.body())
	m[0] = icmpEchoReply
	putChecksum(m, icmpChecksumAt)
	return ipv4(p.dst.Addr(), p.src.Addr(), ICMP, m)
}

// ipv4 puts a header before the content of a packet.
func ipv4(src, dst netip.Addr, proto Proto, content []byte) []byte {
	b := append(make([]byte, ipHeader, ipHeader+len(content)), content...)
	b[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], dontFragment)
	b[ttlAt], b[protoAt] = defaultTTL, byte(proto)
	s, d := src.As4(), dst.As4()
	copy(b[srcAt:], s[:])
	copy(b[dstAt:], d[:])
	putChecksum(b[:ipHeader], checksumAt)
	return b
}

// decrement takes one off the TTL in place.
func decrement(b []byte) {
	old := [2]byte(b[ttlAt:])
	b[ttlAt]--
	adjust(b[checksumAt:], old[:], b[ttlAt:ttlAt+2])
}

// fragments cuts a packet into pieces that fit (RFC 791 section 2.3). Options are left out of all but the first, and
// nobody sends any.
func fragments(p *packet, mtu int) (out [][]byte) {
	begin, last := p.offset()
	body := p.body()
	step := (mtu - p.ihl) &^ 7
	if step <= 0 {
		return nil
	}
	for at := 0; at < len(body); at += step {
		n := min(step, len(body)-at)
		f := append(slices.Clone(p.b[:p.ihl]), body[at:at+n]...)
		word := uint16((begin + at) / 8)
		if last || at+n < len(body) {
			word |= moreFragments
		}
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[6:], word)
		putChecksum(f[:p.ihl], checksumAt)
		out = append(out, f)
	}
	return out
}

// Filter is what the network of an airport keeps from going out.
type Filter uint8

const (
	NoFilter       Filter = iota
	BlockUDP              // all of it
	BlockUDPButDNS        // and lets questions to DNS servers pass
	dnsPort        uint16 = 53
)

func (f Filter) String() string {
	switch f {
	case BlockUDP:
		return "no UDP"
	case BlockUDPButDNS:
		return "no UDP but DNS"
	}
	return "none"
}

// blocks says why a packet does not go out; empty: it does.
func (f Filter) blocks(p *packet) string {
	if f == NoFilter || p.proto != UDP {
		return ""
	}
	if at, _ := p.offset(); f == BlockUDPButDNS && at == 0 && len(p.body()) >= udpHeader &&
		binary.BigEndian.Uint16(p.body()[2:]) == dnsPort {
		return ""
	}
	return "this network lets no UDP out"
}
