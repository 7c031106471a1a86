// SPDX-License-Identifier: MIT

package packet

// Kind is what a packet is for, as a map colors it. The texts are part of the page's contract.
type Kind string

// Kinds in the order of a legend. Packets inside a tunnel do not count: on the wire they cannot be seen.
const (
	RA        Kind = "ra"
	RS        Kind = "rs"
	NS        Kind = "ns"
	NA        Kind = "na"
	Redirect  Kind = "redirect"
	DHCPv6    Kind = "dhcpv6"
	MLD       Kind = "mld"
	ICMPError Kind = "icmpv6-error"
	Echo      Kind = "icmpv6-echo"
	TCP       Kind = "tcp"
	UDP       Kind = "udp"
	DNS       Kind = "dns"
	Handshake Kind = "wg-handshake"
	Data      Kind = "wg-data"
	Keepalive Kind = "wg-keepalive"
	ARP       Kind = "arp"
	ICMPv4    Kind = "icmpv4"
	Other     Kind = "other"
)

// Kinds are all kinds in the order of a legend.
func Kinds() []Kind {
	return []Kind{RA, RS, NS, NA, Redirect, DHCPv6, MLD, ICMPError, Echo, TCP, UDP, DNS, Handshake, Data, Keepalive, ARP, ICMPv4, Other}
}

// Label is the kind in words, for the legend.
func (k Kind) Label() string {
	switch k {
	case RA:
		return "Router Advertisement"
	case RS:
		return "Router Solicitation"
	case NS:
		return "Neighbor Solicitation"
	case NA:
		return "Neighbor Advertisement"
	case Redirect:
		return "Redirect"
	case DHCPv6:
		return "DHCPv6"
	case MLD:
		return "Multicast Listener Discovery"
	case ICMPError:
		return "ICMPv6 error"
	case Echo:
		return "ICMPv6 echo (ping)"
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case DNS:
		return "DNS"
	case Handshake:
		return "WireGuard handshake"
	case Data:
		return "WireGuard data"
	case Keepalive:
		return "WireGuard keepalive"
	case ARP:
		return "ARP"
	case ICMPv4:
		return "ICMP for IPv4"
	}
	return "other"
}

// KindOf is the kind of an Ethernet frame, without explaining it: it allocates nothing.
func KindOf(frame []byte) Kind {
	c := cutUp(frame, ethernet, nil)
	return c.kind()
}

// KindOfIP is KindOf for a packet without Ethernet.
func KindOfIP(packet []byte) Kind {
	c := cutUp(packet, ipVersion(packet), nil)
	return c.kind()
}

// kind looks from the outside in and stops where a tunnel or a quoted packet begins.
func (c *chain) kind() Kind {
	k := Other
	for i := range c.n {
		p := &c.parts[i]
		if p.buf > 0 || p.quoted {
			break
		}
		switch p.id {
		case arp:
			k = ARP
		case tcp:
			k = TCP
		case udp:
			k = UDP
		case dns:
			k = DNS
		case dhcp:
			k = DHCPv6
		case icmp4:
			k = ICMPv4
		case icmp6:
			k = icmpKind(p.head)
		case wireguard:
			k = wireguardKind(p.head)
		}
	}
	return k
}

func icmpKind(b []byte) Kind {
	if len(b) < icmpHeader {
		return Other
	}
	switch t := b[0]; {
	case t < 128:
		return ICMPError
	case t == typeEchoRequest, t == typeEchoReply:
		return Echo
	case t >= typeMLDQuery && t <= typeMLDDone, t == typeMLDv2Report:
		return MLD
	case t == typeRS:
		return RS
	case t == typeRA:
		return RA
	case t == typeNS:
		return NS
	case t == typeNA:
		return NA
	case t == typeRedirect:
		return Redirect
	}
	return Other
}
