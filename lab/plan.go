// SPDX-License-Identifier: MIT

package lab

import (
	"net/netip"
	"time"

	"oasis6/lab/page"
)

// Names of nodes.
const (
	nodeH1   = "h1"
	nodeH2   = "h2"
	nodeLAN  = "lan"
	nodeR1   = "r1"
	nodeNAT1 = "nat1"
	nodeNAT2 = "nat2"
	nodeInet = "inet"
	nodeR2   = "r2"
	nodeNet6 = "net6"
	nodeWWW  = "www"
	nodeDNS  = "dns"
	nodeOnly = "only6"

	// Of the second site.
	nodeH1B  = "h1b"
	nodeR1B  = "r1b"
	nodeNATB = "natb"

	// Of the router behind the LAN.
	nodeR3 = "r3"
	nodeH3 = "h3"

	// Of those who do wrong when they are asked to.
	nodeRogue = "rogue"
	nodeClone = "clone"
	nodeScan  = "scanner"
)

// Addresses: IPv4 out of the documentation nets (RFC 5737), IPv6 out of 2001:db8::/32 (RFC 3849).
const (
	r1LAN4    = "192.0.2.1/26"
	h1Addr4   = "192.0.2.10/26"
	h2Addr4   = "192.0.2.11/26"
	r1WAN4    = "192.0.2.66/26"
	nat1In4   = "192.0.2.65/26"
	nat1Out4  = "198.51.100.2/26"
	nat2In4   = "198.51.100.1/26"
	nat2Out4  = "203.0.113.2/26"
	inetNAT4  = "203.0.113.1/26"
	inetR2    = "203.0.113.65/26"
	r2Addr4   = "203.0.113.66/26"
	inetWWW4  = "203.0.113.129/26"
	wwwAddr4  = "203.0.113.130/26"
	inetNATB4 = "203.0.113.193/26"
	natbOut4  = "203.0.113.194/26"
	natbIn4   = "198.51.100.129/26"
	r1bWAN4   = "198.51.100.130/26"
	r1bLAN4   = "192.0.2.129/26"
	h1bAddr4  = "192.0.2.138/26"
	hubPort   = 51820

	r2Net6    = "2001:db8:0:2::2/64"
	net6R2    = "2001:db8:0:2::1/64"
	net6WWW   = "2001:db8:0:6::1/64"
	wwwAddr6  = "2001:db8:0:6::80/64"
	net6DNS   = "2001:db8:0:53::1/64"
	dnsAddr6  = "2001:db8:0:53::53/64"
	net6Only  = "2001:db8:0:66::1/64"
	onlyAddr6 = "2001:db8:0:66::66/64"
	net6Scan  = "2001:db8:0:bad::1/64"
	scanAddr6 = "2001:db8:0:bad::bad/64"

	providerPrefix = "2001:db8:ebbd::/48"
	firstPool      = "2001:db8:ebbd:9900::/56"
	secondPool     = "2001:db8:ebbd:aa00::/56"

	wwwName    = "www.example"
	onlyName   = "only6.example"
	searchName = "lan.example"
)

// Delays of the wires, each way: a hub some 30 ms away.
const (
	lanDelay = 200 * time.Microsecond
	wanDelay = 2 * time.Millisecond
	farDelay = 10 * time.Millisecond
)

// link is a wire of the plan.
type link struct {
	id, a, b, kind, name string
	delay                time.Duration
}

// basic is what each world has.
func basicNodes() []page.Node {
	return []page.Node{
		{ID: nodeH1, Name: "h1", Kind: page.Host, X: 4, Y: 28, Site: "home", About: "A host. It makes its IPv6 addresses itself, out of what the box advertises."},
		{ID: nodeH2, Name: "h2", Kind: page.Host, X: 4, Y: 50, Site: "home", About: "Another host on the same LAN."},
		{ID: nodeLAN, Name: "br-lan", Kind: page.Switch, X: 14, Y: 45, Site: "home", About: "The LAN's bridge: it learns where addresses are."},
		{ID: nodeR1, Name: "r1", Kind: page.Router, X: 25, Y: 45, Site: "home", About: "The box: oasis6 run. IPv4 goes on through the NATs; IPv6 goes through the tunnel."},
		{ID: nodeNAT1, Name: "nat1", Kind: page.NAT, X: 41, Y: 70, Site: "NAT-land", About: "The first NAT, such as a hotel's."},
		{ID: nodeNAT2, Name: "nat2", Kind: page.NAT, X: 52, Y: 70, Site: "NAT-land", About: "The second NAT, the carrier's."},
		{ID: nodeInet, Name: "IPv4 Internet", Kind: page.Internet, X: 64, Y: 70, Site: "IPv4 Internet", About: "Routes IPv4 and knows nothing of IPv6."},
		{ID: nodeR2, Name: "r2", Kind: page.Hub, X: 66, Y: 30, About: "The hub: oasis6 hub. It delegates a prefix to each site and routes it there."},
		{ID: nodeNet6, Name: "IPv6 Internet", Kind: page.Internet, X: 80, Y: 30, Site: "IPv6 Internet", About: "Routes the provider's prefix to the hub."},
		{ID: nodeWWW, Name: "www", Kind: page.Server, X: 94, Y: 70, About: "A web server with IPv4 and IPv6. It tells each client the address it came from."},
		{ID: nodeDNS, Name: "dns", Kind: page.Server, X: 94, Y: 12, Site: "IPv6 Internet", About: "A DNS server on the IPv6 Internet."},
		{ID: nodeOnly, Name: "only6", Kind: page.Site, X: 94, Y: 38, Site: "IPv6 Internet", About: "A web site that has IPv6 alone: without the tunnel it cannot be seen from here."},
		{ID: nodeRogue, Name: "rogue", Kind: page.Host, X: 4, Y: 72, Site: "home", About: "A laptop that shares its connection. It is quiet until a button makes it a second router."},
		{ID: nodeClone, Name: "clone", Kind: page.Host, X: 4, Y: 94, Site: "home", About: "A copy of a virtual machine. It is quiet until a button makes it claim an address that a host wants."},
		{ID: nodeScan, Name: "scanner", Kind: page.Server, X: 80, Y: 6, Site: "IPv6 Internet", About: "Somebody on the IPv6 Internet who looks for hosts, when a button says so."},
	}
}

func basicLinks() []link {
	return []link{
		{"lan-h1", nodeH1, nodeLAN, page.LAN, "h1's cable", lanDelay},
		{"lan-h2", nodeH2, nodeLAN, page.LAN, "h2's cable", lanDelay},
		{"lan-r1", nodeLAN, nodeR1, page.LAN, "the box's LAN side", lanDelay},
		{"wan", nodeR1, nodeNAT1, page.IPv4, "the box's WAN side", wanDelay},
		{"nats", nodeNAT1, nodeNAT2, page.IPv4, "between the NATs", wanDelay},
		{"carrier", nodeNAT2, nodeInet, page.IPv4, "the carrier's uplink", wanDelay},
		{"r2-inet", nodeInet, nodeR2, page.IPv4, "the hub's IPv4", farDelay},
		{"www-inet", nodeInet, nodeWWW, page.IPv4, "www's IPv4", farDelay},
		{"r2-net6", nodeR2, nodeNet6, page.IPv6, "the hub's IPv6 uplink", wanDelay},
		{"www-net6", nodeNet6, nodeWWW, page.IPv6, "www's IPv6", wanDelay},
		{"dns-net6", nodeNet6, nodeDNS, page.IPv6, "dns's IPv6", wanDelay},
		{"only-net6", nodeNet6, nodeOnly, page.IPv6, "only6's IPv6", wanDelay},
		{"lan-rogue", nodeRogue, nodeLAN, page.LAN, "the laptop's cable", lanDelay},
		{"lan-clone", nodeClone, nodeLAN, page.LAN, "the clone's cable", lanDelay},
		{"scan-net6", nodeNet6, nodeScan, page.IPv6, "the scanner's uplink", wanDelay},
	}
}

// secondSite is for two sites.
func secondSiteNodes() []page.Node {
	return []page.Node{
		{ID: nodeH1B, Name: "h1b", Kind: page.Host, X: 4, Y: 122, Site: "second", About: "A host at the second site."},
		{ID: nodeR1B, Name: "r1b", Kind: page.Router, X: 25, Y: 122, Site: "second", About: "The second site's box."},
		{ID: nodeNATB, Name: "natb", Kind: page.NAT, X: 45, Y: 122, Site: "elsewhere", About: "The NAT of the second site."},
	}
}

func secondSiteLinks() []link {
	return []link{
		{"lan-b", nodeH1B, nodeR1B, page.LAN, "the second LAN", lanDelay},
		{"wan-b", nodeR1B, nodeNATB, page.IPv4, "the second box's WAN side", wanDelay},
		{"carrier-b", nodeNATB, nodeInet, page.IPv4, "the second carrier's uplink", wanDelay},
	}
}

// behindLAN is the router behind the LAN, with a host.
func behindLANNodes() []page.Node {
	return []page.Node{
		{ID: nodeR3, Name: "r3", Kind: page.Router, X: 14, Y: 8, Site: "home", About: "A router behind the LAN: it asks the box for a prefix of its own."},
		{ID: nodeH3, Name: "h3", Kind: page.Host, X: 4, Y: 6, Site: "home", About: "A host behind r3."},
	}
}

func behindLANLinks() []link {
	return []link{
		{"lan-r3", nodeLAN, nodeR3, page.LAN, "r3's uplink", lanDelay},
		{"r3-h3", nodeR3, nodeH3, page.LAN, "the LAN behind r3", lanDelay},
	}
}

// mac is the address of a node's port, by a number of its own (RFC 9542 section 2.1.4: for documentation).
func mac(n byte) [6]byte { return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, n} }

func addr4(prefix string) netip.Addr { return netip.MustParsePrefix(prefix).Addr() }
