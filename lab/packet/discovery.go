// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
	"strings"

	"oasis6/ra"
)

// bodyLen is what stands before the options of an ND message, behind type, code and checksum.
func bodyLen(t uint8) int {
	switch t {
	case typeRS:
		return 4
	case typeRA:
		return 12
	case typeRedirect:
		return 36
	}
	return 20
}

func cutDiscovery(c *chain, p *part, b []byte) step {
	p.typ, p.code = c.icmpType()
	s := step{header: max(len(b), bodyLen(p.typ))}
	if s.header == len(b) {
		s.broken = optionTrouble(p.typ, b, bodyLen(p.typ))
	}
	return s
}

func discoveryFace(p *part) face {
	f := face{name: icmpTypeName(p.typ), rfc: fmt.Sprintf("RFC 4861 section 4.%d", p.typ-typeRS+1)}
	switch p.typ {
	case typeRS:
		f.purpose = "A host asks which routers there are, so as not to wait for the next advertisement."
	case typeRA:
		f.purpose = "A router says that it is there, which prefixes hosts may form addresses from, and for how long."
	case typeNS:
		f.purpose = "Asks for the MAC of an address, whether a neighbor still lives, or whether an address is free."
	case typeNA:
		f.purpose = "Tells the MAC of an address, asked for or not."
	case typeRedirect:
		f.purpose = "A router tells a host of a better first hop on the same link."
	}
	return f
}

// optionTrouble says why the options, from offset at on, cannot be told apart; empty if they can.
func optionTrouble(t uint8, b []byte, at int) string {
	for at < len(b) {
		switch {
		case len(b)-at < 2:
			return fmt.Sprintf("%s: half an option at octet %d", icmpTypeName(t), at)
		case b[at+1] == 0:
			return fmt.Sprintf("%s: option of length zero at octet %d", icmpTypeName(t), at)
		case int(b[at+1])*8 > len(b)-at:
			return fmt.Sprintf("%s: option %d at octet %d goes past the end", icmpTypeName(t), b[at], at)
		}
		at += int(b[at+1]) * 8
	}
	return ""
}

func discoveryFields(o *reader, p *part) {
	switch p.typ {
	case typeRS:
		o.take(4)
	case typeRA:
		advertFields(o)
	case typeNS:
		o.take(4)
		a := o.addr()
		o.add("Target address", a.String(), "", whoAsks(p.src)+about(a))
	case typeNA:
		f := o.u8()
		o.add("R flag", yes(f&0x80), "", choose(f&0x80, "the sender is a router", "the sender is no router"))
		o.add("S flag", yes(f&0x40), "", choose(f&0x40, "answers a solicitation: proves that the way in both directions works", "nobody asked, or the asker had no address"))
		o.add("O flag", yes(f&0x20), "", choose(f&0x20, "override: who has another MAC in its cache takes this one", "who has another MAC in its cache keeps it"))
		o.take(3)
		a := o.addr()
		o.add("Target address", a.String(), "", about(a))
	case typeRedirect:
		o.take(4)
		a := o.addr()
		o.add("Target address", a.String(), "", "the better first hop: a router, or the destination itself if it is on this link")
		d := o.addr()
		o.add("Destination address", d.String(), "", "packets to here are meant")
	}
	for o.left() > 0 && ndOption(o) {
	}
}

// whoAsks tells duplicate address detection from the search for a MAC by the source.
func whoAsks(src netip.Addr) string {
	if src.IsValid() && src.IsUnspecified() {
		return "duplicate address detection: does anybody have this address? Silence for a second means it is free (RFC 4862 section 5.4). "
	}
	return ""
}

func advertFields(o *reader) {
	hops := o.u8()
	note := "hosts should start their packets with this hop limit"
	if hops == 0 {
		note = "not said by this router"
	}
	o.add("Current hop limit", fmt.Sprint(hops), "", note)
	f := o.u8()
	o.add("M flag", yes(f&0x80), "", choose(f&0x80, "managed: addresses can be had by DHCPv6", "addresses are not to be had by DHCPv6"))
	o.add("O flag", yes(f&0x40), "", choose(f&0x40, "other configuration, such as DNS, can be had by DHCPv6", "nothing else is to be had by DHCPv6"))
	o.add("H flag", yes(f&0x20), "RFC 6275 section 7.1", choose(f&0x20, "home agent of Mobile IPv6", ""))
	o.add("Preference", preference(f>>3), "RFC 4191 section 2.2", "which of several routers hosts take by default")
	life := o.u16()
	note = "how long hosts may use this router as default router"
	if life == 0 {
		note = "0: not a default router (any more); the prefixes below stand on their own"
	}
	o.add("Router lifetime", seconds(uint32(life)), "", note)
	o.add("Reachable time", millis(o.u32()), "", "how long a neighbor that answered counts as reachable")
	o.add("Retrans timer", millis(o.u32()), "", "the pause between solicitations")
}

// millis is a time of an RA, where zero is "not said by this router" (RFC 4861 section 4.2).
func millis(ms uint32) string {
	if ms == 0 {
		return "unspecified"
	}
	return fmt.Sprintf("%d ms", ms)
}

// preference is a router preference in the two lowest bits (RFC 4191 section 2.1).
func preference(bits uint8) string {
	switch ra.Preference(bits & 3) {
	case ra.High:
		return "high"
	case ra.Medium:
		return "medium"
	case ra.Low:
		return "low"
	}
	return "reserved (counts as medium)"
}

func discoveryShort(p *part) string {
	name := icmpTypeName(p.typ)
	if p.cut {
		return name + " cut short"
	}
	b := p.head
	switch p.typ {
	case typeRA:
		return advertShort(b)
	case typeNS:
		a := netip.AddrFrom16([16]byte(b[4:20]))
		if p.src.IsValid() && p.src.IsUnspecified() {
			return fmt.Sprintf("%s: is %s taken? (duplicate address detection)", name, a)
		}
		return fmt.Sprintf("%s: who has %s?", name, a)
	case typeNA:
		s := fmt.Sprintf("%s: %s", name, netip.AddrFrom16([16]byte(b[4:20])))
		if m := linkLayerOption(b[20:], optTargetLinkLayer); m != "" {
			s += " is at " + m
		}
		return s + " [" + flags(uint(b[0]), []flag{{0x80, "R"}, {0x40, "S"}, {0x20, "O"}}) + "]"
	case typeRedirect:
		return fmt.Sprintf("%s: to %s better by %s", name, netip.AddrFrom16([16]byte(b[20:36])), netip.AddrFrom16([16]byte(b[4:20])))
	}
	return name
}

// advertShort is what of an RA fits a line.
func advertShort(b []byte) string {
	s := icmpTypeName(typeRA) + ": "
	if life := be16(b[2:]); life == 0 {
		s += "not a default router"
	} else {
		s += "router for " + brief(uint32(life))
	}
	for _, o := range optionsOf(b[12:]) {
		switch x := decode(o).(type) {
		case ra.PrefixInformation:
			s += fmt.Sprintf(", prefix %s (%s, preferred %s)", x.Prefix, flags(uint(o[3]), prefixFlags()), brief(x.Preferred))
		case ra.MTU:
			s += fmt.Sprintf(", MTU %d", x)
		case ra.RDNSS:
			s += fmt.Sprintf(", DNS %s", joined(x.Servers))
			if x.Lifetime == 0 {
				s += " withdrawn"
			}
		case ra.RouteInformation:
			s += fmt.Sprintf(", route %s", x.Prefix)
		case ra.PREF64:
			s += fmt.Sprintf(", NAT64 %s", x.Prefix)
		}
	}
	return s
}

func joined[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = x.String()
	}
	return strings.Join(words, ", ")
}

// optionsOf cuts ND options up to the first that is malformed.
func optionsOf(b []byte) (opts [][]byte) {
	for len(b) >= 2 && b[1] != 0 && int(b[1])*8 <= len(b) {
		opts = append(opts, b[:int(b[1])*8])
		b = b[int(b[1])*8:]
	}
	return opts
}

func linkLayerOption(b []byte, typ uint8) string {
	for _, o := range optionsOf(b) {
		if o[0] == typ && len(o) == 8 {
			return mac(o[2:8])
		}
	}
	return ""
}
