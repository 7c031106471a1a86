// SPDX-License-Identifier: MIT

package forward

import (
	"net/netip"
	"slices"

	"oasis6/dataplane"
)

// Index names an interface to a Forwarder: whatever small number, not negative, that the caller has for it.
type Index int

// maxIndex bounds the table of interfaces: no box has so many.
const maxIndex = 1 << 12

// minMTU is what every link takes (RFC 8200 section 5). A smaller MTU counts as this one, as in Linux.
const minMTU = 1280

// Iface is what Compile needs to know of an interface that is there.
type Iface struct {
	Index Index
	MTU   int  // of IPv6 packets; Desired.Tunnel.MTU goes before it
	Ether bool // packets have a sender's MAC and need one to go to
	Up    bool // takes packets now; a route over one that is not up is none
	// Addrs are the addresses that the stack answers for, those under duplicate address detection not among them.
	Addrs []netip.Addr
}

// iface is one in a Table.
type iface struct {
	name   string
	index  Index
	mtu    int
	ether  bool
	up     bool
	tunnel bool // as the firewall sees it; a LAN and the tunnel are never the same
	lan    bool
	proxy  bool    // a hub's link on which the prefixes of sites are
	behind []spans // Firewall.Sources of the LAN: nothing else of ours may come from there
	onLink spans   // Firewall.Sources.OnLink of the LAN
}

// ownAddr is an address that is not forwarded but ours.
type ownAddr struct {
	addr       u128
	iface      *iface
	deprecated bool
	// anycast is the Subnet-Router anycast address of a prefix of ours (RFC 4291 section 2.6.1). Nothing is sent from it.
	anycast bool
}

// router is who has a prefix behind a LAN (RFC 8987).
type router struct {
	span  span
	iface *iface
	via   netip.Addr
}

// maxRouters is how many prefixes of routers are checked, as in dataplane/kernel.
const maxRouters = 512

// Table is everything that Desired and the interfaces decide. It does not change; Forwarder.Set replaces it.
type Table struct {
	ifaces  []*iface // by Index, with holes
	forward bool
	routes  routes
	own     []ownAddr // by address
	routers []router
	routed  spans // prefixes of routers
	box     *boxRules
	hub     *hubRules
}

// Compile makes the Table that does what want says on the interfaces that are there, by name. Names that are not there
// are left out until the next Table.
func Compile(want dataplane.Desired, links map[string]Iface) *Table {
	t := &Table{forward: want.Forward}
	named := map[string]*iface{}
	for name, l := range links {
		if l.Index < 0 || l.Index >= maxIndex {
			continue
		}
		i := &iface{name: name, index: l.Index, mtu: l.MTU, ether: l.Ether, up: l.Up}
		if name == want.Tunnel.Name && want.Tunnel.MTU > 0 {
			i.mtu = want.Tunnel.MTU
		}
		i.mtu = max(i.mtu, minMTU)
		for len(t.ifaces) <= int(l.Index) {
			t.ifaces = append(t.ifaces, nil)
		}
		named[name], t.ifaces[l.Index] = i, i
	}
	t.routes = buildRoutes(collectRoutes(want, named))
	t.addresses(want, links, named)
	switch {
	case want.Hub.Tunnel != "":
		t.hub = newHubRules(want, named)
	case want.Firewall.Tunnel != "":
		t.box = newBoxRules(want.Firewall, named)
		t.routersOf(want, named)
	}
	return t
}

func (t *Table) addresses(want dataplane.Desired, links map[string]Iface, named map[string]*iface) {
	deprecated := map[netip.Addr]bool{}
	for _, a := range want.Addresses {
		deprecated[a.Prefix.Addr()] = a.Deprecated
	}
	for name, i := range named {
		for _, a := range links[name].Addrs {
			a = a.WithZone("")
			t.own = append(t.own, ownAddr{addr: number(a), iface: i, deprecated: deprecated[a]})
		}
	}
	for _, a := range want.Addresses {
		// With 127 bits both addresses are routers' (RFC 6164).
		if i := named[a.Iface]; i != nil && usable(a.Prefix) && a.Prefix.Bits() < 127 {
			t.own = append(t.own, ownAddr{addr: number(a.Prefix.Masked().Addr()), iface: i, anycast: true})
		}
	}
	slices.SortFunc(t.own, func(a, b ownAddr) int {
		if c := a.addr.compare(b.addr); c != 0 {
			return c
		}
		return int(a.iface.index) - int(b.iface.index)
	})
}

// ours says whether packets to an address that come in by an interface are for this machine. An address of another
// interface counts (RFC 1122 section 3.3.4.2, the weak model, as Linux has it), but for link-local ones.
func (t *Table) ours(a u128, in *iface) bool {
	n, found := slices.BinarySearchFunc(t.own, a, func(o ownAddr, a u128) int { return o.addr.compare(a) })
	if !found {
		return false
	}
	if !a.linkLocal() {
		return true
	}
	for ; n < len(t.own) && t.own[n].addr == a; n++ {
		if t.own[n].iface == in {
			return true
		}
	}
	return false
}

// routersOf are the prefixes behind the LANs to which a route leads by a next hop.
func (t *Table) routersOf(want dataplane.Desired, named map[string]*iface) {
	var all []netip.Prefix
	for _, s := range want.Firewall.Sources {
		for _, r := range want.Routes {
			if !r.Via.IsValid() || r.Iface != s.Iface || !slices.Contains(s.Routed, r.Dst) || named[r.Iface] == nil || len(t.routers) == maxRouters {
				continue
			}
			t.routers = append(t.routers, router{span: spanOf(r.Dst), iface: named[r.Iface], via: r.Via.WithZone("")})
			all = append(all, r.Dst)
		}
	}
	t.routed = setOf(all)
}

// at is the interface with an index, nil if there is none.
func (t *Table) at(i Index) *iface {
	if i < 0 || int(i) >= len(t.ifaces) {
		return nil
	}
	return t.ifaces[i]
}
