// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
)

// EtherTypes (RFC 9542 section 3 and the IANA registry).
const (
	etherIPv4    = 0x0800
	etherARP     = 0x0806
	etherIPv6    = 0x86dd
	etherMinType = 0x0600 // smaller values are a length
)

const (
	etherHeader = 14
	arpHeader   = 28 // for Ethernet and IPv4
)

func cutEthernet(_ *chain, _ *part, b []byte) step {
	s := step{header: etherHeader, next: data}
	if len(b) < etherHeader {
		return s
	}
	switch be16(b[12:]) {
	case etherIPv4:
		s.next = ip4
	case etherARP:
		s.next = arp
	case etherIPv6:
		s.next = ip6
	}
	return s
}

func ethernetFields(o *reader, _ *part) {
	dst := [6]byte(o.take(6))
	o.add("Destination", mac(dst[:]), "", aboutMAC(dst))
	src := [6]byte(o.take(6))
	o.add("Source", mac(src[:]), "", aboutMAC(src))
	t := o.u16()
	name := map[uint16]string{etherIPv4: "IPv4", etherARP: "ARP", etherIPv6: "IPv6"}[t]
	note := "what the frame carries"
	if t < etherMinType {
		note = "a length, not a type: an old IEEE 802.3 frame"
	}
	value := fmt.Sprintf("0x%04x", t)
	if name != "" {
		value += " (" + name + ")"
	}
	o.add("Type", value, "", note)
}

func ethernetShort(p *part) string {
	if p.cut {
		return "cut short"
	}
	return mac(p.head[6:12]) + " → " + mac(p.head[:6])
}

func cutARP(_ *chain, _ *part, b []byte) step {
	// Padding follows in a real frame; it is not told apart from octets that nobody knows.
	return step{header: arpHeader, next: none, end: min(arpHeader, len(b))}
}

func arpFields(o *reader, _ *part) {
	o.add("Hardware type", known(int(o.u16()), "1 is Ethernet"), "", "")
	o.add("Protocol type", fmt.Sprintf("0x%04x", o.u16()), "", "0x0800 is IPv4")
	o.add("Hardware size", fmt.Sprint(o.u8()), "", "octets of a MAC address")
	o.add("Protocol size", fmt.Sprint(o.u8()), "", "octets of an IPv4 address")
	op := o.u16()
	o.add("Operation", known(int(op), map[uint16]string{1: "request", 2: "reply"}[op]), "", "")
	o.add("Sender MAC", mac(o.take(6)), "", "")
	from := netip.AddrFrom4([4]byte(o.take(4)))
	o.add("Sender address", from.String(), "", about(from))
	o.add("Target MAC", mac(o.take(6)), "", choose(uint8(op&1), "not known yet: that is the question", ""))
	to := netip.AddrFrom4([4]byte(o.take(4)))
	o.add("Target address", to.String(), "", about(to))
}

func arpShort(p *part) string {
	if p.cut {
		return "cut short"
	}
	from, to := netip.AddrFrom4([4]byte(p.head[14:18])), netip.AddrFrom4([4]byte(p.head[24:28]))
	switch {
	case be16(p.head[6:]) != 1:
		return fmt.Sprintf("ARP: %s is at %s", from, mac(p.head[8:14]))
	case from == to:
		return fmt.Sprintf("ARP: %s is at %s, say its holders", from, mac(p.head[8:14]))
	}
	return fmt.Sprintf("ARP: who has %s? Tell %s", to, from)
}
