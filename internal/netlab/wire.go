// SPDX-License-Identifier: MIT

package netlab

import (
	"net"

	"github.com/vishvananda/netlink"
)

// mac hands out documentation addresses (RFC 7042 section 2.1.2), so captures may be published.
func (l *Lab) mac() net.HardwareAddr {
	l.macs++
	if l.macs > 0xff {
		l.T.Fatalf("lab: more than 255 interfaces")
	}
	return net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x53, byte(l.macs)}
}

// Wire connects two nodes by a cable: an interface at each end, both up.
func (l *Lab) Wire(a *Node, aIf string, b *Node, bIf string) {
	l.T.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = aIf, l.mac()
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: bIf, PeerHardwareAddr: l.mac(), PeerNamespace: netlink.NsFd(b.net),
	}
	if err := a.nl.LinkAdd(veth); err != nil {
		l.T.Fatalf("wire %s %s - %s %s: %v", a.Name, aIf, b.Name, bIf, err)
	}
	a.up(aIf)
	b.up(bIf)
}

// Cut takes the node's end of a wire down: the other end loses its carrier.
func (l *Lab) Cut(n *Node, iface string) {
	l.T.Helper()
	if err := n.nl.LinkSetDown(n.link(iface)); err != nil {
		l.T.Fatalf("node %s: link %s down: %v", n.Name, iface, err)
	}
}

// Heal undoes Cut. The kernel has removed the interface's IPv6 addresses and its routes meanwhile.
func (l *Lab) Heal(n *Node, iface string) {
	l.T.Helper()
	n.up(iface)
}

// Bridge makes a bridge out of interfaces of the node, up.
func (n *Node) Bridge(name string, ports ...string) {
	n.lab.T.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = name, n.lab.mac()
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := n.nl.LinkAdd(br); err != nil {
		n.lab.T.Fatalf("node %s: bridge %s: %v", n.Name, name, err)
	}
	for _, p := range ports {
		if err := n.nl.LinkSetMaster(n.link(p), br); err != nil {
			n.lab.T.Fatalf("node %s: bridge %s: port %s: %v", n.Name, name, p, err)
		}
	}
	n.up(name)
}

// Addr gives an interface an IPv4 or IPv6 address with prefix length, usable at once (no DAD).
func (n *Node) Addr(iface, cidr string) {
	n.lab.T.Helper()
	a, err := netlink.ParseAddr(cidr)
	if err == nil {
		if a.IP.To4() == nil {
			a.Flags = ifaFNodad
		}
		err = n.nl.AddrAdd(n.link(iface), a)
	}
	if err != nil {
		n.lab.T.Fatalf("node %s: address %s on %s: %v", n.Name, cidr, iface, err)
	}
}

const ifaFNodad = 0x02 // IFA_F_NODAD

// Forward makes the node an IPv4 and IPv6 router.
func (n *Node) Forward() {
	n.lab.T.Helper()
	n.Sysctl("net.ipv4.ip_forward", "1")
	n.Sysctl("net.ipv6.conf.all.forwarding", "1")
}

func (n *Node) link(name string) netlink.Link {
	n.lab.T.Helper()
	link, err := n.nl.LinkByName(name)
	if err != nil {
		n.lab.T.Fatalf("node %s: link %s: %v", n.Name, name, err)
	}
	return link
}

func (n *Node) up(name string) {
	n.lab.T.Helper()
	if err := n.nl.LinkSetUp(n.link(name)); err != nil {
		n.lab.T.Fatalf("node %s: link %s up: %v", n.Name, name, err)
	}
}
