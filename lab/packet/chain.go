// SPDX-License-Identifier: MIT

package packet

import (
	"cmp"
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
	typ      uint8 // of a message, for layers that have many faces
	code     uint8
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
		s := c.cut(p, b)
		if s.end > 0 && s.end < len(b) {
			b = b[:s.end] // what follows is padding of the link
		}
		if s.header > len(b) {
			p.cut, s.header = true, len(b)
			seen := *p // p itself stays on the stack
			s.broken = fmt.Sprintf("%s: cut short after %d octets", seen.face().name, len(b))
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

// cut finds the end of p's header in b. It calls the cutters by name, not by their view: so the chain stays on the stack.
func (c *chain) cut(p *part, b []byte) step {
	switch p.id {
	case ethernet:
		return cutEthernet(c, p, b)
	case arp:
		return cutARP(c, p, b)
	case ip4:
		return cutIPv4(c, p, b)
	case ip6:
		return cutIPv6(c, p, b)
	case hopByHop:
		return cutOptions(c, p, b)
	case destination:
		return cutOptions(c, p, b)
	case routing:
		return cutRouting(c, p, b)
	case fragment:
		return cutFragment(c, p, b)
	case udp:
		return cutUDP(c, p, b)
	case tcp:
		return cutTCP(c, p, b)
	case icmp4:
		return cutICMPv4(c, p, b)
	case icmp6:
		return cutICMPv6(c, p, b)
	case icmpBody:
		return cutICMPBody(c, p, b)
	case discovery:
		return cutDiscovery(c, p, b)
	case listener:
		return cutListener(c, p, b)
	case wireguard:
		return cutWireGuard(c, p, b)
	}
	return step{header: len(b)} // all that is left is one layer
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

// view is how one kind of layer is named and explained.
type view struct {
	name    string
	rfc     string
	purpose string // one sentence
	fields  func(o *reader, p *part)
	short   func(p *part) string
	face    func(p *part) face // nil if the layer always looks the same
}

// face is what one type of message has in place of its view's name, RFC and purpose; what is empty does not.
type face struct{ name, rfc, purpose string }

// face is how this very part looks.
func (p *part) face() face {
	v := p.id.view()
	f := face{v.name, v.rfc, v.purpose}
	if v.face != nil {
		own := v.face(p)
		f = face{cmp.Or(own.name, f.name), cmp.Or(own.rfc, f.rfc), cmp.Or(own.purpose, f.purpose)}
	}
	return f
}

func (id layerID) view() view {
	switch id {
	case ethernet:
		return view{"Ethernet", "RFC 2464 section 3", "Carries the packet to the next station on this wire, and no further.", ethernetFields, ethernetShort, nil}
	case arp:
		return view{"ARP", "RFC 826", "Finds the MAC address that belongs to an IPv4 address; IPv6 does this by Neighbor Discovery.", arpFields, arpShort, nil}
	case ip4:
		return view{"IPv4", "RFC 791 section 3.1", "Carries the packet through the old Internet; NATs on the way rewrite its source.", ipv4Fields, ipv4Short, nil}
	case ip6:
		return view{"IPv6", "RFC 8200 section 3", "Carries the packet from end to end: nobody on the way changes the addresses.", ipv6Fields, ipv6Short, nil}
	case hopByHop:
		return view{"Hop-by-Hop Options", "RFC 8200 section 4.3", "Says something to every router on the way.", optionsFields, optionsShort, nil}
	case destination:
		return view{"Destination Options", "RFC 8200 section 4.6", "Says something to the destination only.", optionsFields, optionsShort, nil}
	case routing:
		return view{"Routing Header", "RFC 8200 section 4.4", "Names routers that the packet is to visit.", routingFields, routingShort, nil}
	case fragment:
		return view{"Fragment Header", "RFC 8200 section 4.5", "Tells the pieces of a packet that was too big; in IPv6 only the sender cuts it.", fragmentFields, fragmentShort, nil}
	case udp:
		return view{"UDP", "RFC 768", "Brings one message to a program, told by its port; nobody confirms it.", udpFields, udpShort, nil}
	case tcp:
		return view{"TCP", "RFC 9293 section 3.1", "Makes a stream of octets that arrive in order, each confirmed.", tcpFields, tcpShort, nil}
	case icmp4:
		return view{"ICMP", "RFC 792", "Reports errors and answers pings for IPv4.", icmpv4Fields, icmpv4Short, nil}
	}
	return id.innerView()
}

// innerView is view for what IP's protocols carry.
func (id layerID) innerView() view {
	switch id {
	case icmp6:
		return view{"ICMPv6", "RFC 4443 section 2.1", "Carries errors, pings, and the talk between neighbors; IPv6 does not work without it.", icmpv6Fields, icmpv6Short, nil}
	case icmpBody:
		return view{"ICMPv6 message", "RFC 4443", "The body of the message.", icmpBodyFields, icmpBodyShort, icmpBodyFace}
	case discovery:
		return view{"Neighbor Discovery", "RFC 4861", "How stations on one link find routers, prefixes and each other.", discoveryFields, discoveryShort, discoveryFace}
	case listener:
		return view{"MLD", "RFC 9777", "Tells switches and routers which multicast groups a station wants to hear.", listenerFields, listenerShort, listenerFace}
	case dhcp:
		return view{"DHCPv6", "RFC 9915 section 8", "Asks a server for what advertisements do not give: above all a prefix for a whole network.", dhcpFields, dhcpShort, nil}
	case dns:
		return view{"DNS", "RFC 1035 section 4.1", "Turns names into addresses.", dnsFields, dnsShort, nil}
	case http:
		return view{"HTTP", "RFC 9112", "Fetches a page.", httpFields, httpShort, nil}
	case wireguard:
		return view{"WireGuard", "", "", wireguardFields, wireguardShort, wireguardFace}
	}
	return view{"Data", "", "Octets that this page does not look into.", dataFields, dataShort, nil}
}

func dataFields(o *reader, p *part) {
	n := len(p.head)
	o.add("Octets", fmt.Sprint(n), "", "")
	o.add("First", hexText(p.head[:min(n, 32)]), "", printableNote(p.head))
}

func dataShort(p *part) string { return plural(len(p.head), "octet") }

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
