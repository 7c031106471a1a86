// SPDX-License-Identifier: MIT

package lab

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6/client"
	"oasis6/lab/host/inet6"
	"oasis6/lab/page"
	"oasis6/status"
)

// behindFacts are those of the router behind the LAN.
type behindFacts struct {
	via    netip.Addr // its default router; not valid: none
	until  time.Time  // of that
	leases []client.Prefix
}

func (d *downstream) facts() *behindFacts {
	f := &behindFacts{leases: d.client.Lease().Prefixes()}
	if d.leading {
		f.via, f.until = d.via, d.until
	}
	return f
}

// linkLocals are the addresses that a router of the lab makes of its MACs, one on each wire.
func (w *World) linkLocals(node string) (out []configured) {
	for _, l := range w.links {
		if l.a == node || l.b == node {
			out = append(out, configured{l.id, netip.PrefixFrom(inet6.LinkLocal(w.port(l.id, node).MAC()), 64)})
		}
	}
	return out
}

// labRouter is for routers that are no product: what they know is the plan's, and what they were told.
func (p *painter) labRouter(f *facts, node string, s *page.NodeState) {
	for _, c := range p.w.linkLocals(node) {
		s.Addresses = append(s.Addresses, page.Address{Iface: c.wire, Addr: c.prefix.Addr().String(), PrefixLen: 64, State: page.Preferred, From: "itself, of its MAC"})
	}
	switch node {
	case nodeNet6:
		for _, c := range p.w.byHand(node) {
			s.Routes = append(s.Routes, page.Route{Dst: c.prefix.Masked().String(), Iface: c.wire, From: "its own address there"})
		}
		s.Routes = append(s.Routes, page.Route{Dst: providerPrefix, Via: netip.MustParsePrefix(r2Net6).Addr().String(), Iface: "r2-net6", From: "configuration: the provider's prefix is behind r2"})
	case nodeRogue:
		if !f.actions[doRogue].On {
			s.Badges = append(s.Badges, "quiet")
			return
		}
		s.Badges = append(s.Badges, "says it is a router", "preference high")
		s.Routes = append(s.Routes, page.Route{Dst: roguePrefix, Iface: "lan-rogue", From: "itself: nobody has given it this prefix"})
	case nodeR3:
		if f.r3 != nil {
			p.behind(f, f.r3, s)
		}
	}
}

// behind is what the router behind the LAN was told and has given.
func (p *painter) behind(f *facts, r *behindFacts, s *page.NodeState) {
	const up, down = "lan-r3", "r3-h3"
	badge := "looks for a router"
	if r.via.IsValid() {
		badge = "default router on its LAN"
		m := p.still(nodeR3+" default", f.now, r.until)
		s.Routes = append(s.Routes, page.Route{Dst: "::/0", Via: r.via.String(), Iface: up, Since: m.since, Until: r.until, From: "RA of " + p.ownerOf(r.via.String())})
		if len(r.leases) == 0 {
			badge = "asks for a prefix by DHCPv6"
		}
	}
	s.Badges = append(s.Badges, badge)
	for _, l := range r.leases {
		lan := netip.PrefixFrom(l.Prefix.Addr(), 64)
		m := p.still(nodeR3+" lease "+l.Prefix.String(), f.now, instant(l.Valid))
		state := page.Preferred
		if l.Preferred.Over(f.now) {
			state = page.Deprecated
		}
		s.Addresses = append(s.Addresses, page.Address{
			Iface: down, Addr: lan.Addr().Next().String(), PrefixLen: 64, State: state, Since: m.since, PreferredUntil: instant(l.Preferred), ValidUntil: instant(l.Valid),
			From: "itself, in the prefix that the box delegates",
		})
		s.Routes = append(s.Routes, page.Route{Dst: lan.String(), Iface: down, Since: m.since, Until: instant(l.Valid), From: "DHCPv6 of the box: " + l.Prefix.String()})
	}
}

// ownerOf is the node that has a link-local address made of a MAC of its own.
func (p *painter) ownerOf(linkLocal string) string {
	if n, ok := p.locals[linkLocal]; ok {
		return n
	}
	return linkLocal
}

// gift is a prefix that a box has delegated to a router behind one of its LANs.
type gift struct {
	status.BindingLease
	to string // the router's link-local address
}

func given(l status.LAN) (out []gift) {
	if l.DHCPv6 == nil {
		return nil
	}
	for _, x := range l.DHCPv6.Bindings {
		for _, lease := range x.Prefixes {
			if x.Type == "IA_PD" {
				out = append(out, gift{lease, x.Address})
			}
		}
	}
	return out
}

// onward are a box's delegations to routers behind a LAN, out of one of its own.
func (p *painter) onward(f *facts, b boxFacts, l status.LAN, delegation netip.Prefix) (out []page.Prefix) {
	for _, x := range given(l) {
		prefix, err := netip.ParsePrefix(x.Prefix)
		if err != nil || !delegation.Contains(prefix.Addr()) {
			continue
		}
		m := p.ends(f, b.name+" gives "+x.Prefix, x.ValidS)
		y := page.Prefix{Prefix: x.Prefix, Owner: p.ownerOf(x.to), Kind: "delegation", Since: m.since, Until: m.until}
		if x.Stale || x.PreferredS == 0 {
			y.Kind = "stale"
		}
		if y.Owner == nodeR3 && f.r3 != nil {
			y.Children = p.behindLAN(f, prefix)
		}
		out = append(out, y)
	}
	return out
}

// behindLAN is the subnet that the router behind the LAN has made of its delegation.
func (p *painter) behindLAN(f *facts, delegation netip.Prefix) (out []page.Prefix) {
	for _, l := range f.r3.leases {
		if l.Prefix != delegation {
			continue
		}
		m := p.still(nodeR3+" lease "+l.Prefix.String(), f.now, instant(l.Valid))
		kind := "LAN"
		if l.Preferred.Over(f.now) {
			kind = "stale"
		}
		out = append(out, page.Prefix{Prefix: netip.PrefixFrom(l.Prefix.Addr(), 64).String(), Owner: "the LAN behind " + nodeR3, Kind: kind, Since: m.since, Until: m.until})
	}
	return out
}
