// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"

	"oasis6/internal/ip6pkt"
)

// Protocol numbers of the IANA registry, as IPv4's protocol and IPv6's next header.
const (
	protoHopByHop = 0
	protoICMPv4   = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoESP      = 50
	protoICMPv6   = 58
	protoNone     = 59
	protoDest     = 60
)

const (
	ipv4Header = 20 // without options
	ipv6Header = ip6pkt.HeaderLen
)

func protoName(n uint8) string {
	switch n {
	case protoHopByHop:
		return "Hop-by-Hop Options"
	case protoICMPv4:
		return "ICMP"
	case protoIPv4:
		return "IPv4"
	case protoTCP:
		return "TCP"
	case protoUDP:
		return "UDP"
	case protoIPv6:
		return "IPv6"
	case protoRouting:
		return "Routing Header"
	case protoFragment:
		return "Fragment Header"
	case protoESP:
		return "ESP"
	case protoICMPv6:
		return "ICMPv6"
	case protoNone:
		return "nothing"
	case protoDest:
		return "Destination Options"
	}
	return ""
}

// upper is the layer of a protocol number.
func upper(n uint8) layerID {
	switch n {
	case protoHopByHop:
		return hopByHop
	case protoICMPv4:
		return icmp4
	case protoIPv4:
		return ip4
	case protoTCP:
		return tcp
	case protoUDP:
		return udp
	case protoIPv6:
		return ip6
	case protoRouting:
		return routing
	case protoFragment:
		return fragment
	case protoICMPv6:
		return icmp6
	case protoDest:
		return destination
	}
	return data
}

func cutIPv4(c *chain, p *part, b []byte) step {
	s := step{header: ipv4Header, next: data}
	if len(b) < ipv4Header {
		return s
	}
	s.header = int(b[0]&15) * 4
	if b[0]>>4 != 4 || s.header < ipv4Header {
		return step{header: ipv4Header, next: data, broken: "IPv4: version or header length is wrong"}
	}
	s.end = int(be16(b[2:]))
	switch {
	case s.end < s.header:
		s.end, s.broken = s.header, fmt.Sprintf("IPv4: total length %d is less than the header", s.end)
	case s.end > len(b) && !p.quoted: // an error quotes the beginning only
		s.broken = fmt.Sprintf("IPv4: total length %d, only %d octets are here", s.end, len(b))
	}
	c.now.src, c.now.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	switch be16(b[6:]) & 0x3fff {
	case 0:
		s.next = upper(b[9])
	case 0x2000: // the first of several fragments
		c.now.partial = true
		s.next = upper(b[9])
	}
	return s
}

func ipv4Fields(o *reader, p *part) {
	first := o.u8()
	o.add("Version", fmt.Sprint(first>>4), "", "")
	o.add("Header length", fmt.Sprint(int(first&15)*4), "", "octets; more than 20 are options")
	o.add("DSCP and ECN", fmt.Sprintf("0x%02x", o.u8()), "RFC 2474", "how urgent the packet is")
	o.add("Total length", fmt.Sprint(o.u16()), "", "octets with this header")
	o.add("Identification", fmt.Sprintf("0x%04x", o.u16()), "", "the same in all fragments of a packet")
	f := o.u16()
	o.add("Flags", flags(uint(f), []flag{{0x4000, "DF"}, {0x2000, "MF"}}), "", choose(uint8(f>>8)&0x40, "don't fragment: a router drops it if it is too big, and says so", "routers may cut it"))
	o.add("Fragment offset", fmt.Sprint(int(f&0x1fff)*8), "", "")
	o.add("Time to live", fmt.Sprint(o.u8()), "", "each router takes one off; at 0 the packet is dropped")
	proto := o.u8()
	o.add("Protocol", known(int(proto), protoName(proto)), "", "")
	sum := o.u16()
	o.add("Header checksum", fmt.Sprintf("0x%04x", sum), "", verdict(p.cut, plainSum(p.head)))
	src := netip.AddrFrom4([4]byte(o.take(4)))
	o.add("Source", src.String(), "", about(src))
	dst := netip.AddrFrom4([4]byte(o.take(4)))
	o.add("Destination", dst.String(), "", about(dst))
	if o.left() > 0 {
		o.add("Options", hexText(o.rest()), "", "")
	}
}

func ipv4Short(p *part) string {
	if len(p.head) < ipv4Header {
		return "cut short"
	}
	return fmt.Sprintf("%s → %s", netip.AddrFrom4([4]byte(p.head[12:16])), netip.AddrFrom4([4]byte(p.head[16:20])))
}

func cutIPv6(c *chain, p *part, b []byte) step {
	s := step{header: ipv6Header, next: data}
	if len(b) < ipv6Header {
		return s
	}
	if b[0]>>4 != 6 {
		s.broken = fmt.Sprintf("IPv6: version %d", b[0]>>4)
		return s
	}
	n := int(be16(b[4:]))
	s.end = ipv6Header + n
	if s.end > len(b) && !p.quoted { // an error quotes the beginning only
		s.broken = fmt.Sprintf("IPv6: payload length %d, only %d octets follow", n, len(b)-ipv6Header)
	}
	c.now.src, c.now.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	s.next = upper(b[6])
	return s
}

func ipv6Fields(o *reader, _ *part) {
	first := o.u32()
	o.add("Version", fmt.Sprint(first>>28), "", "")
	o.add("Traffic class", fmt.Sprintf("0x%02x", uint8(first>>20)), "RFC 2474", "how urgent the packet is")
	o.add("Flow label", fmt.Sprintf("0x%05x", first&0xfffff), "RFC 6437", "the same in all packets of one flow, so that routers keep them on one path")
	o.add("Payload length", fmt.Sprint(o.u16()), "", "octets behind this header")
	next := o.u8()
	o.add("Next header", known(int(next), protoName(next)), "", "what follows")
	hops := o.u8()
	o.add("Hop limit", fmt.Sprint(hops), "", hopNote(hops))
	src := o.addr()
	o.add("Source", src.String(), "", about(src))
	dst := o.addr()
	o.add("Destination", dst.String(), "", about(dst))
}

func hopNote(hops uint8) string {
	if hops == 255 {
		return "each router takes one off: 255 proves that none has forwarded it, so the sender is on this link"
	}
	return "each router takes one off; at 0 the packet is dropped"
}

func ipv6Short(p *part) string {
	if len(p.head) < ipv6Header {
		return "cut short"
	}
	return fmt.Sprintf("%s → %s", netip.AddrFrom16([16]byte(p.head[8:24])), netip.AddrFrom16([16]byte(p.head[24:40])))
}

// verdict is what a receiver thinks of a checksum.
func verdict(cannot, right bool) string {
	switch {
	case cannot:
		return "not verified: the message is not whole"
	case right:
		return "right"
	}
	return "wrong: a receiver drops the packet"
}

// plainSum says whether the checksum in b is right that has no pseudo-header, as those of IPv4 and its ICMP: by
// ip6pkt.Checksum over nothing but zeros in front, the length is what is left.
func plainSum(b []byte) bool {
	zero := netip.IPv4Unspecified()
	return ip6pkt.Checksum(zero, zero, 0, b) == ^uint16(len(b))
}

// checksumNote verifies the checksum of a message of UDP, TCP or ICMPv6. With IPv4 addresses the pseudo-header of IPv6
// gives the same sum: it has them mapped, and the 0xffff of that adds nothing.
func (p *part) checksumNote(proto uint8) string {
	if p.partial || p.cut || !p.src.IsValid() {
		return verdict(true, false)
	}
	return verdict(false, ip6pkt.Checksum(p.src, p.dst, proto, p.all) == 0)
}
