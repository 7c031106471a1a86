// SPDX-License-Identifier: MIT

package packet

import "fmt"

// Options of the Hop-by-Hop and Destination Options headers.
const (
	optPad1        = 0
	optPadN        = 1
	optRouterAlert = 5 // RFC 2711
	optJumbo       = 0xc2
)

// cutExtension cuts a header whose second octet counts units of eight beyond the first.
func cutExtension(p *part, b []byte) step {
	s := step{header: 8}
	if len(b) < 2 {
		return s
	}
	return step{header: 8 + int(b[1])*8, next: extNext(p, b[0])}
}

// extNext keeps a chain from going round: Hop-by-Hop stands behind IPv6 only (RFC 8200 section 4.1).
func extNext(p *part, n uint8) layerID {
	if n == protoHopByHop {
		return data
	}
	return upper(n)
}

func cutOptions(_ *chain, p *part, b []byte) step { return cutExtension(p, b) }

func cutRouting(c *chain, p *part, b []byte) step {
	c.now.partial = true // the checksum is over the final destination, which may not be the one that stands in front
	return cutExtension(p, b)
}

func nextHeader(o *reader) {
	next := o.u8()
	o.add("Next header", known(int(next), protoName(next)), "", "what follows")
}

func optionsFields(o *reader, _ *part) {
	nextHeader(o)
	o.add("Length", fmt.Sprint(8+int(o.u8())*8), "", "octets")
	for o.left() > 0 {
		t := o.u8()
		if t == optPad1 {
			o.add("Pad1", "1 octet", "RFC 8200 section 4.2", "fills up to a multiple of eight")
			continue
		}
		n := int(o.u8())
		v := o.take(n)
		if o.short {
			return
		}
		switch {
		case t == optPadN:
			o.add("PadN", plural(n+2, "octet"), "RFC 8200 section 4.2", "fills up to a multiple of eight")
		case t == optRouterAlert && n == 2:
			a := be16(v)
			o.add("Router Alert", known(int(a), map[uint16]string{0: "MLD"}[a]), "RFC 2711 section 2.1", "routers have to look at this packet though it is not for them")
		case t == optJumbo && n == 4:
			o.add("Jumbo Payload", plural(int(be32(v)&0x7fffffff), "octet"), "RFC 2675 section 2", "")
		default:
			o.add(fmt.Sprintf("Option 0x%02x", t), hexText(v), "", unknownOption(t))
		}
	}
}

// unknownOption is what the two highest bits of an option's type ask of a node that does not know it.
func unknownOption(t uint8) string {
	return [...]string{"who does not know it skips it", "who does not know it drops the packet",
		"who does not know it drops the packet and says so", "who does not know it drops the packet and says so, unless it is multicast"}[t>>6]
}

func optionsShort(p *part) string { return plural(len(p.head), "octet") }

func routingFields(o *reader, _ *part) {
	nextHeader(o)
	o.add("Length", fmt.Sprint(8+int(o.u8())*8), "", "octets")
	t := o.u8()
	o.add("Routing type", fmt.Sprint(t), "", choose(t, "", "type 0 is forbidden: it let packets run in circles (RFC 5095)"))
	o.add("Segments left", fmt.Sprint(o.u8()), "", "routers still to visit")
	if o.left() > 0 {
		o.add("Type-specific data", hexText(o.rest()), "", "")
	}
}

func routingShort(p *part) string {
	if len(p.head) < 4 {
		return "cut short"
	}
	return fmt.Sprintf("type %d, %s left", p.head[2], plural(int(p.head[3]), "segment"))
}

const fragmentHeader = 8

func cutFragment(c *chain, p *part, b []byte) step {
	s := step{header: fragmentHeader, next: data}
	if len(b) < fragmentHeader {
		return s
	}
	where := be16(b[2:])
	if where&^7 == 0 {
		s.next = extNext(p, b[0])
	}
	if where&^6 != 0 { // not an atomic fragment
		c.now.partial = true
	}
	return s
}

func fragmentFields(o *reader, _ *part) {
	nextHeader(o)
	o.take(1)
	where := o.u16()
	o.add("Fragment offset", fmt.Sprint(where&^7), "", "octets of the whole packet that come before this piece")
	o.add("More fragments", yes(uint8(where&1)), "", choose(uint8(where&1), "more pieces follow", "this is the last piece"))
	o.add("Identification", fmt.Sprintf("0x%08x", o.u32()), "", "the same in all pieces of one packet")
}

func fragmentShort(p *part) string {
	if p.cut {
		return "cut short"
	}
	where := be16(p.head[2:])
	return fmt.Sprintf("Fragment 0x%08x from octet %d%s", be32(p.head[4:]), where&^7, choose(uint8(where&1), ", more follow", ", the last"))
}
