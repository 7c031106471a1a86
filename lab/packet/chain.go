// SPDX-License-Identifier: MIT

package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// layerID names what a part of a frame is.
type layerID uint8

const (
	none layerID = iota
	ethernet
	arp
	ip4
	ip6
	hopByHop
	destination
	routing
	fragment
	udp
	tcp
	icmp4
	icmp6
	icmpBody // what follows type, code and checksum in pings and errors
	discovery
	listener
	dhcp
	dns
	http
	wireguard
	data
)

// maxParts bounds a chain: Ethernet, IPv4, UDP and WireGuard around IPv6 with its extension headers
// and an error that quotes a packet are 16.
const maxParts = 24

// part is one layer found in a frame.
type part struct {
	id      layerID
	head    []byte // its own octets, fewer than its header if cut is set
	all     []byte // head and what it carries
	off     int    // of head in its buffer
	buf     int
	cut     bool // the header is not all there
	quoted  bool // inside an ICMP error
	partial bool // a fragment, or quoted and shortened: checksums cannot be verified
	// src and dst are of the IP header around it, invalid outside of one.
	src, dst netip.Addr
	name     string // in place of those of its view, where a layer has many faces
	rfc      string
	purpose  string
	detail   string // what an ICMPv6 code means
}

// chain is a frame cut into parts. It is a value of a fixed size: nothing is allocated for a kind.
type chain struct {
	parts  [maxParts]part
	n      int
	broken string
	open   Opener
	now    part // addresses, buffer and flags that the next part inherits
}

// step is what a cutter found: the length of the header, what the rest is, where the payload ends
// counted from the header's first octet (0: at the end), and what is wrong.
type step struct {
	header int
	next   layerID
	end    int
	broken string
}

// ipVersion tells how a packet without Ethernet begins.
func ipVersion(b []byte) layerID {
	switch {
	case len(b) > 0 && b[0]>>4 == 4:
		return ip4
	case len(b) > 0 && b[0]>>4 == 6:
		return ip6
	}
	return data
}

// cutUp finds the layers of b, whose outermost is first.
func cutUp(b []byte, first layerID, open Opener) (c chain) {
	c.open = open
	c.follow(b, first, 0)
	if last := c.n - 1; last >= 0 && c.parts[last].id == wireguard && open != nil && !c.parts[last].quoted {
		c.enter(&c.parts[last])
	}
	return c
}

// follow cuts one buffer.
func (c *chain) follow(b []byte, id layerID, off int) {
	for id != none && c.n < len(c.parts) {
		if id == data && len(b) == 0 {
			return
		}
		p := &c.parts[c.n]
		*p = c.now
		p.id, p.off = id, off
		c.n++
		s := id.view().cut(c, p, b)
		if s.end > 0 && s.end < len(b) {
			b = b[:s.end] // what follows is padding of the link
		}
		if s.header > len(b) {
			p.cut, s.header = true, len(b)
			s.broken = fmt.Sprintf("%s: cut short after %d octets", id.view().name, len(b))
		}
		p.head, p.all = b[:s.header:s.header], b
		if s.broken != "" && c.broken == "" && !p.quoted {
			c.broken = s.broken
		}
		if p.cut {
			return
		}
		off += s.header
		b, id = b[s.header:], s.next
	}
}

// enter goes on in what the opener finds in a transport message.
func (c *chain) enter(p *part) {
	if len(p.head) == 0 || p.head[0] != wgTransport {
		return
	}
	inner, ok := c.open(p.head)
	if !ok || len(inner) == 0 {
		return
	}
	c.now = part{buf: p.buf + 1}
	c.follow(inner, ipVersion(inner), 0)
}

// quote marks all that follows as part of an error message that returns a packet of kind id.
func (c *chain) quote(id layerID) layerID {
	c.now.quoted, c.now.partial = true, true
	return id
}

// carried is what a header carries: in a quoted packet nothing behind the first transport header is opened.
func (p *part) carried(id layerID) layerID {
	if p.quoted {
		return data
	}
	return id
}

// view is how one kind of layer is cut, named and explained.
type view struct {
	name    string
	rfc     string
	purpose string
	cut     func(c *chain, p *part, b []byte) step
	fields  func(o *reader, p *part)
	short   func(p *part) string
}

func (id layerID) view() view {
	switch id {
	case ethernet:
		return view{"Ethernet", "RFC 2464 section 3", "Carries the packet to the next station on this wire, and no further.", cutEthernet, ethernetFields, ethernetShort}
	case arp:
		return view{"ARP", "RFC 826", "Finds the MAC address that belongs to an IPv4 address; IPv6 does this by Neighbor Discovery.", cutARP, arpFields, arpShort}
	case ip4:
		return view{"IPv4", "RFC 791 section 3.1", "Carries the packet through the old Internet; NATs on the way rewrite its source.", cutIPv4, ipv4Fields, ipv4Short}
	case ip6:
		return view{"IPv6", "RFC 8200 section 3", "Carries the packet from end to end: nobody on the way changes the addresses.", cutIPv6, ipv6Fields, ipv6Short}
	case hopByHop:
		return view{"Hop-by-Hop Options", "RFC 8200 section 4.3", "Says something to every router on the way.", cutOptions, optionsFields, optionsShort}
	case destination:
		return view{"Destination Options", "RFC 8200 section 4.6", "Says something to the destination only.", cutOptions, optionsFields, optionsShort}
	case routing:
		return view{"Routing Header", "RFC 8200 section 4.4", "Names routers that the packet is to visit.", cutRouting, routingFields, routingShort}
	case fragment:
		return view{"Fragment Header", "RFC 8200 section 4.5", "Tells the pieces of a packet that was too big; in IPv6 only the sender cuts it.", cutFragment, fragmentFields, fragmentShort}
	case udp:
		return view{"UDP", "RFC 768", "Brings one message to a program, told by its port; nobody confirms it.", cutUDP, udpFields, udpShort}
	case tcp:
		return view{"TCP", "RFC 9293 section 3.1", "Makes a stream of octets that arrive in order, each confirmed.", cutTCP, tcpFields, tcpShort}
	case icmp4:
		return view{"ICMP", "RFC 792", "Reports errors and answers pings for IPv4.", cutICMPv4, icmpv4Fields, icmpv4Short}
	}
	return id.innerView()
}

// innerView is view for what IP's protocols carry.
func (id layerID) innerView() view {
	switch id {
	case icmp6:
		return view{"ICMPv6", "RFC 4443 section 2.1", "Carries errors, pings, and the talk between neighbours; IPv6 does not work without it.", cutICMPv6, icmpv6Fields, icmpv6Short}
	case icmpBody:
		return view{"ICMPv6 message", "RFC 4443", "The body of the message.", cutICMPBody, icmpBodyFields, icmpBodyShort}
	case discovery:
		return view{"Neighbor Discovery", "RFC 4861", "How stations on one link find routers, prefixes and each other.", cutDiscovery, discoveryFields, discoveryShort}
	case listener:
		return view{"MLD", "RFC 9777", "Tells switches and routers which multicast groups a station wants to hear.", cutListener, listenerFields, listenerShort}
	case dhcp:
		return view{"DHCPv6", "RFC 9915 section 8", "Asks a server for what advertisements do not give: above all a prefix for a whole network.", cutWhole, dhcpFields, dhcpShort}
	case dns:
		return view{"DNS", "RFC 1035 section 4.1", "Turns names into addresses.", cutWhole, dnsFields, dnsShort}
	case http:
		return view{"HTTP", "RFC 9112", "Fetches a page.", cutWhole, httpFields, httpShort}
	case wireguard:
		return view{"WireGuard", "", "", cutWireGuard, wireguardFields, wireguardShort}
	}
	return view{"Data", "", "Octets that this page does not look into.", cutWhole, dataFields, dataShort}
}

// cutWhole takes all that is left as one layer.
func cutWhole(_ *chain, _ *part, b []byte) step { return step{header: len(b)} }

func dataFields(o *reader, p *part) {
	n := len(p.head)
	o.add("Octets", fmt.Sprint(n), "", "")
	o.add("First", hexText(p.head[:min(n, 32)]), "", printableNote(p.head))
}

func dataShort(p *part) string { return plural(len(p.head), "octet") }

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
