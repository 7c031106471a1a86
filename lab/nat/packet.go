// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Of the IPv4 header (RFC 791 section 3.1), UDP, TCP and ICMP.
const (
	ipHeader   = 20
	udpHeader  = 8
	icmpHeader = 8

	ttlAt      = 8
	protoAt    = 9
	checksumAt = 10
	srcAt      = 12
	dstAt      = 16

	udpChecksumAt = 6
	tcpChecksumAt = 16
	tcpFlagsAt    = 13
	tcpShortest   = 20

	icmpChecksumAt = 2
	icmpIDAt       = 4

	dontFragment  = 0x4000
	moreFragments = 0x2000
	offsetMask    = 0x1fff
)

// Types of ICMP (RFC 792).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpEcho         = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12
)

var (
	errNotIPv4   = errors.New("not a whole IPv4 packet")
	errChecksum  = errors.New("wrong checksum of the IPv4 header")
	errTransport = errors.New("no whole transport header")
)

// packet is an IPv4 packet that has been looked at. The ports are those of the first fragment; an echo has its
// identifier as the port of the one who asks.
type packet struct {
	b     []byte // as long as its header says
	ihl   int
	proto Proto
	src   netip.AddrPort
	dst   netip.AddrPort
}

// parse checks the header. quoted takes what an ICMP error has of a packet: its end may be missing, and its checksum is
// that of another place.
func parse(b []byte, quoted bool) (packet, error) {
	if len(b) < ipHeader || b[0]>>4 != 4 {
		return packet{}, errNotIPv4
	}
	ihl, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if ihl < ipHeader || total < ihl || len(b) < ihl || len(b) < total && !quoted {
		return packet{}, errNotIPv4
	}
	if !quoted && sum(0, b[:ihl]) != 0xffff {
		return packet{}, errChecksum
	}
	p := packet{b: b[:min(total, len(b))], ihl: ihl, proto: Proto(b[protoAt])}
	src, dst := netip.AddrFrom4([4]byte(b[srcAt:])), netip.AddrFrom4([4]byte(b[dstAt:]))
	p.src, p.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	return p, nil
}

func (p *packet) body() []byte { return p.b[p.ihl:] }

// offset is that of the fragment, in octets; more says that others follow.
func (p *packet) offset() (at int, more bool) {
	w := binary.BigEndian.Uint16(p.b[6:])
	return int(w&offsetMask) * 8, w&moreFragments != 0
}

func (p *packet) dontFragment() bool { return binary.BigEndian.Uint16(p.b[6:])&dontFragment != 0 }

// ports reads the ports of a first fragment; quoted is content with 8 octets.
func (p *packet) ports(quoted bool) error {
	t := p.body()
	need := 0
	switch p.proto {
	case TCP:
		need = tcpShortest
	case UDP, ICMP:
		need = udpHeader // as long as ICMP's
	}
	if quoted {
		need = min(need, 8)
	}
	if need == 0 || len(t) < need {
		return errTransport
	}
	if p.proto == ICMP {
		id := binary.BigEndian.Uint16(t[icmpIDAt:])
		switch t[0] {
		case icmpEcho:
			p.src = netip.AddrPortFrom(p.src.Addr(), id)
		case icmpEchoReply:
			p.dst = netip.AddrPortFrom(p.dst.Addr(), id)
		}
		return nil
	}
	p.src = netip.AddrPortFrom(p.src.Addr(), binary.BigEndian.Uint16(t))
	p.dst = netip.AddrPortFrom(p.dst.Addr(), binary.BigEndian.Uint16(t[2:]))
	return nil
}

// isError says whether the packet is an ICMP error, which quotes another one.
func (p *packet) isError() bool {
	if at, _ := p.offset(); at > 0 || p.proto != ICMP || len(p.body()) < icmpHeader {
		return false
	}
	switch p.body()[0] {
	case icmpUnreachable, icmpSourceQuench, icmpTimeExceeded, icmpParameter:
		return true
	}
	return false
}

// setSource changes address and port of the sender, and every checksum that covers them.
func (p *packet) setSource(to netip.AddrPort) { p.set(srcAt, 0, p.src, to); p.src = to }

// setDestination is setSource for the receiver.
func (p *packet) setDestination(to netip.AddrPort) { p.set(dstAt, 2, p.dst, to); p.dst = to }

func (p *packet) set(addrAt, portAt int, from, to netip.AddrPort) {
	old, addr := from.Addr().As4(), to.Addr().As4()
	copy(p.b[addrAt:], addr[:])
	adjust(p.b[checksumAt:], old[:], addr[:])
	if at, _ := p.offset(); at > 0 {
		return // no transport header
	}
	t := p.body()
	checksum, covers := transportChecksum(p.proto, t)
	if p.proto == ICMP {
		portAt = icmpIDAt
	}
	if len(t) >= portAt+2 && from.Port() != to.Port() {
		var was, is [2]byte
		copy(was[:], t[portAt:])
		binary.BigEndian.PutUint16(is[:], to.Port())
		copy(t[portAt:], is[:])
		adjust(checksum, was[:], is[:])
	}
	if covers {
		adjust(checksum, old[:], addr[:])
	}
	if p.proto == UDP && checksum != nil && binary.BigEndian.Uint16(checksum) == 0 {
		binary.BigEndian.PutUint16(checksum, 0xffff) // zero means none (RFC 768)
	}
}

// transportChecksum is where the checksum stands, nil if there is none; covers says whether addresses are in it.
func transportChecksum(p Proto, t []byte) (at []byte, covers bool) {
	where := icmpChecksumAt
	switch p {
	case UDP:
		where = udpChecksumAt
	case TCP:
		where = tcpChecksumAt
	case ICMP:
	default:
		return nil, false
	}
	if len(t) < where+2 {
		return nil, false
	}
	at = t[where : where+2]
	if p == UDP && binary.BigEndian.Uint16(at) == 0 {
		return nil, false
	}
	return at, p != ICMP
}

// adjust changes a checksum for words that were changed: RFC 1624 equation 3.
func adjust(checksum, old, new []byte) {
	if checksum == nil {
		return
	}
	s := uint32(^binary.BigEndian.Uint16(checksum))
	for i := 0; i+1 < len(old); i += 2 {
		s += uint32(^binary.BigEndian.Uint16(old[i:])) + uint32(binary.BigEndian.Uint16(new[i:]))
	}
	binary.BigEndian.PutUint16(checksum, ^fold(s))
}

// sum adds words in one's complement (RFC 1071), without the last step.
func sum(s uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return fold(s)
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// putChecksum computes the checksum of b whose place is at.
func putChecksum(b []byte, at int) {
	b[at], b[at+1] = 0, 0
	binary.BigEndian.PutUint16(b[at:], ^sum(0, b))
}
