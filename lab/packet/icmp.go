// SPDX-License-Identifier: MIT

package packet

import "fmt"

// ICMPv6 types (RFC 4443 section 2.1, RFC 4861 section 4, RFC 9777 section 5, RFC 2710 section 3).
const (
	typeUnreachable  = 1
	typeTooBig       = 2
	typeTimeExceeded = 3
	typeParameter    = 4
	typeEchoRequest  = 128
	typeEchoReply    = 129
	typeMLDQuery     = 130
	typeMLDReport    = 131
	typeMLDDone      = 132
	typeRS           = 133
	typeRA           = 134
	typeNS           = 135
	typeNA           = 136
	typeRedirect     = 137
	typeMLDv2Report  = 143
)

const (
	icmpHeader   = 4 // type, code, checksum
	icmpv4Header = 8 // with the four octets whose meaning hangs on the type
	errorHeader  = 4 // unused, MTU or pointer: what stands between the ICMPv6 header and the quoted packet
)

func icmpTypeName(t uint8) string {
	switch t {
	case typeUnreachable:
		return "Destination Unreachable"
	case typeTooBig:
		return "Packet Too Big"
	case typeTimeExceeded:
		return "Time Exceeded"
	case typeParameter:
		return "Parameter Problem"
	case typeEchoRequest:
		return "Echo Request"
	case typeEchoReply:
		return "Echo Reply"
	case typeMLDQuery:
		return "Multicast Listener Query"
	case typeMLDReport:
		return "Multicast Listener Report"
	case typeMLDDone:
		return "Multicast Listener Done"
	case typeRS:
		return "Router Solicitation"
	case typeRA:
		return "Router Advertisement"
	case typeNS:
		return "Neighbor Solicitation"
	case typeNA:
		return "Neighbor Advertisement"
	case typeRedirect:
		return "Redirect"
	case typeMLDv2Report:
		return "Multicast Listener Report v2"
	}
	return ""
}

// icmpCode is what the code of an error means (RFC 4443 section 3).
func icmpCode(t, code uint8) string {
	names := map[uint8][]string{
		typeUnreachable: {"no route to destination", "administratively prohibited", "beyond scope of source address", "address unreachable",
			"port unreachable", "source address failed ingress/egress policy", "reject route to destination"},
		typeTimeExceeded: {"hop limit exceeded in transit", "fragment reassembly time exceeded"},
		typeParameter:    {"erroneous header field", "unrecognized next header type", "unrecognized IPv6 option"},
	}[t]
	if int(code) < len(names) {
		return names[code]
	}
	return ""
}

// icmpCodeNote is what the user should make of it.
func icmpCodeNote(t, code uint8) string {
	switch {
	case t == typeUnreachable && code == 0:
		return "the router that sent this knows no way to there"
	case t == typeUnreachable && code == 1:
		return "a firewall refuses it"
	case t == typeUnreachable && code == 3:
		return "the last router asked for the neighbor and nobody answered"
	case t == typeUnreachable && code == 4:
		return "the host is there, but no program listens"
	case t == typeUnreachable && code == 5:
		return "the source address is not one of this network (any more): the host should take another of its addresses (RFC 7084 L-14)"
	case t == typeTimeExceeded && code == 0:
		return "too many routers on the way, or a loop; traceroute lives on this"
	}
	return ""
}

func cutICMPv6(_ *chain, p *part, b []byte) step {
	s := step{header: icmpHeader, next: data}
	if len(b) < icmpHeader {
		return s
	}
	switch t := b[0]; {
	case t >= typeUnreachable && t <= typeParameter, t == typeEchoRequest, t == typeEchoReply:
		s.next = icmpBody
	case t >= typeMLDQuery && t <= typeMLDDone, t == typeMLDv2Report:
		s.next = listener
	case t >= typeRS && t <= typeRedirect:
		s.next = discovery
	}
	if p.quoted && s.next == icmpBody && b[0] >= typeEchoRequest {
		return s // which ping it was
	}
	// A piece of a fragmented message would be taken for a broken one; ND may not come in fragments at all (RFC 6980).
	if p.partial {
		s.next = data
	}
	return s
}

func icmpv6Fields(o *reader, p *part) {
	t := o.u8()
	note := "types below 128 are errors, the others are information"
	o.add("Type", known(int(t), icmpTypeName(t)), "", note)
	code := o.u8()
	o.add("Code", known(int(code), icmpCode(t, code)), "", icmpCodeNote(t, code))
	o.add("Checksum", fmt.Sprintf("0x%04x", o.u16()), "", p.checksumNote(protoICMPv6))
}

func icmpv6Short(p *part) string {
	if p.cut {
		return "ICMPv6 cut short"
	}
	t := p.head[0]
	s := icmpTypeName(t)
	if s == "" {
		s = fmt.Sprintf("ICMPv6 type %d", t)
	}
	if c := icmpCode(t, p.head[1]); c != "" {
		s += ": " + c
	}
	return s
}

// cutICMPBody cuts what follows in pings and errors.
func cutICMPBody(c *chain, p *part, b []byte) step {
	p.typ, p.code = c.icmpType()
	switch {
	case p.typ >= typeEchoRequest:
		return step{header: max(len(b), 4)}
	case len(b) <= errorHeader:
		return step{header: errorHeader, next: none}
	}
	return step{header: errorHeader, next: c.quote(ip6)}
}

// icmpType is type and code of the ICMPv6 header that the newest part stands behind: nothing else leads to the layers
// that ask for it.
func (c *chain) icmpType() (t, code uint8) {
	b := c.parts[c.n-2].head
	return b[0], b[1]
}

func icmpBodyFace(p *part) face {
	f := face{name: icmpTypeName(p.typ)}
	switch {
	case p.typ == typeEchoRequest:
		f.rfc, f.purpose = "RFC 4443 section 4.1", "Asks whether the other end is there."
	case p.typ == typeEchoReply:
		f.rfc, f.purpose = "RFC 4443 section 4.2", "Answers a ping with the same octets."
	default:
		f.rfc = fmt.Sprintf("RFC 4443 section 3.%d", p.typ)
		f.purpose = "Tells the sender of a packet why it did not arrive, and returns the packet's beginning."
	}
	return f
}

func icmpBodyFields(o *reader, p *part) {
	switch p.typ {
	case typeEchoRequest, typeEchoReply:
		o.add("Identifier", fmt.Sprintf("0x%04x", o.u16()), "", "which of several pings this is")
		o.add("Sequence number", fmt.Sprint(o.u16()), "", "goes up by one each time")
		n := o.left()
		o.add("Data", plural(n, "octet"), "", printableNote(o.rest()))
	case typeTooBig:
		mtu := o.u32()
		note := "the largest packet that goes through the link ahead; the sender makes its packets smaller from now on (RFC 8201)"
		if mtu < 1280 {
			note = "less than 1280, which every IPv6 link takes: a sender need not go below 1280 (RFC 8201 section 4)"
		}
		o.add("MTU", fmt.Sprint(mtu), "", note)
	case typeParameter:
		o.add("Pointer", fmt.Sprint(o.u32()), "", "the octet of the packet below that is wrong")
	default:
		o.add("Unused", fmt.Sprint(o.u32()), "", "")
	}
}

// icmpBodyShort begins with the name, for it is the line of the whole packet.
func icmpBodyShort(p *part) string {
	s := icmpTypeName(p.typ)
	if p.cut {
		return s + " cut short"
	}
	if what := icmpCode(p.typ, p.code); what != "" {
		s += ": " + what
	}
	switch p.typ {
	case typeEchoRequest, typeEchoReply:
		return fmt.Sprintf("%s 0x%04x, number %d, %s", s, be16(p.head), be16(p.head[2:]), plural(len(p.head)-4, "octet"))
	case typeTooBig:
		s += fmt.Sprintf(": at most %d octets", be32(p.head))
	case typeParameter:
		s += fmt.Sprintf(" at octet %d", be32(p.head))
	}
	return s + quotedShort(p)
}

// quotedShort says in short which packet an error is about.
func quotedShort(p *part) string {
	b := p.all[len(p.head):]
	if len(b) < ipv6Header {
		return ""
	}
	c := cutUp(b, ip6, nil)
	s := " for the packet " + ipv6Short(&c.parts[0])
	for i := range c.n {
		switch c.parts[i].id {
		case udp:
			return s + ", " + udpShort(&c.parts[i])
		case tcp:
			return s + ", " + tcpShort(&part{head: c.parts[i].head, quoted: true})
		case icmp6:
			return s + ", " + icmpv6Short(&c.parts[i])
		}
	}
	return s
}

// ICMP types of IPv4 (RFC 792).
func icmpv4Name(t uint8) string {
	switch t {
	case 0:
		return "Echo Reply"
	case 3:
		return "Destination Unreachable"
	case 5:
		return "Redirect"
	case 8:
		return "Echo Request"
	case 11:
		return "Time Exceeded"
	case 12:
		return "Parameter Problem"
	}
	return ""
}

// icmpv4Code is what the codes of a Destination Unreachable mean (RFC 792, RFC 1812 section 5.2.7.1).
func icmpv4Code(t, code uint8) string {
	names := []string{"net unreachable", "host unreachable", "protocol unreachable", "port unreachable", "fragmentation needed and DF set"}
	switch {
	case t == 3 && int(code) < len(names):
		return names[code]
	case t == 3 && code == 13:
		return "administratively prohibited"
	case t == 11 && code == 0:
		return "time to live exceeded in transit"
	}
	return ""
}

func cutICMPv4(c *chain, p *part, b []byte) step {
	s := step{header: icmpv4Header, next: data}
	if len(b) >= icmpv4Header && !p.quoted {
		switch b[0] {
		case 3, 5, 11, 12:
			s.next = c.quote(ip4)
		}
	}
	return s
}

func icmpv4Fields(o *reader, p *part) {
	t := o.u8()
	o.add("Type", known(int(t), icmpv4Name(t)), "", "")
	code := o.u8()
	o.add("Code", known(int(code), icmpv4Code(t, code)), "", "")
	o.add("Checksum", fmt.Sprintf("0x%04x", o.u16()), "", verdict(p.partial || p.cut, plainSum(p.all)))
	switch {
	case t == 0 || t == 8:
		o.add("Identifier", fmt.Sprintf("0x%04x", o.u16()), "", "")
		o.add("Sequence number", fmt.Sprint(o.u16()), "", "")
	case t == 3 && code == 4:
		o.take(2)
		o.add("Next-hop MTU", fmt.Sprint(o.u16()), "RFC 1191 section 4", "the largest packet that goes through")
	default:
		o.add("Rest of header", hexText(o.take(4)), "", "")
	}
}

func icmpv4Short(p *part) string {
	if p.cut {
		return "ICMP cut short"
	}
	t := p.head[0]
	s := "ICMP " + icmpv4Name(t)
	if icmpv4Name(t) == "" {
		s += fmt.Sprintf("type %d", t)
	}
	if c := icmpv4Code(t, p.head[1]); c != "" {
		s += ": " + c
	}
	if t == 0 || t == 8 {
		s += fmt.Sprintf(" 0x%04x, number %d", be16(p.head[4:]), be16(p.head[6:]))
	}
	return s
}
