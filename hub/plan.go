// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
	"slices"

	"oasis6/config"
	"oasis6/dataplane"
)

// Route metrics. Those of leases are better than the kernel's own of a prefix on a link (256): where the provider has put
// the pool on the uplink, a lease as long as that prefix must win.
const (
	metricLease       = 128
	metricUnreachable = 1 << 30
)

// Facts is everything that Make decides from.
type Facts struct {
	Config    *config.HubConfig
	LinkLocal netip.Addr     // the hub's own on the tunnel
	MTU       int            // of the tunnel
	Routed    []netip.Prefix // what sites have, live and deprecated, sorted
	Retired   []netip.Prefix // pools of former configurations that leases are still out of
	Own       []netip.Prefix // what the hub's own interfaces have, which no site does
}

// Make decides what the kernel shall look like. It is pure: the same facts give the same plan.
func Make(f Facts) dataplane.Desired {
	name := f.Config.Interface.Name
	d := dataplane.Desired{Tunnel: dataplane.Tunnel{Name: name, MTU: f.MTU}, Forward: true}
	via := nextHop(f.LinkLocal)
	if f.LinkLocal.IsValid() {
		d.Addresses = append(d.Addresses, dataplane.Address{Iface: name, Prefix: netip.PrefixFrom(f.LinkLocal, 128), NoDAD: true})
		d.Routes = append(d.Routes, dataplane.Route{Dst: netip.PrefixFrom(via, 10).Masked(), Via: via, Iface: name, Metric: metricLease})
	}
	for _, a := range f.Config.Interface.Addresses {
		// Behind the tunnel are leases alone, each with a route of its own.
		d.Addresses = append(d.Addresses, dataplane.Address{Iface: name, Prefix: netip.PrefixFrom(a.Addr(), 128), NoDAD: true})
	}
	blocks := blocks(f)
	for _, p := range blocks {
		d.Routes = append(d.Routes, dataplane.Route{Kind: dataplane.Unreachable, Dst: p, Metric: metricUnreachable})
	}
	for _, p := range f.Routed {
		d.Routes = append(d.Routes, dataplane.Route{Dst: p, Via: via, Iface: name, Metric: metricLease})
	}
	d.Hub = dataplane.HubFirewall{
		Tunnel: name, Pools: blocks, Taken: f.Own, SiteToSite: f.Config.Hub.SiteToSite, Open: f.Config.FirewallOpen,
	}
	if f.Config.Hub.OnLink { // without leases too: the table lets solicitations from the prefix in by the interface's name
		d.Proxy = []dataplane.NDProxy{{Iface: f.Config.Hub.Uplink, Prefixes: f.Routed}}
	}
	return d
}

// nextHop is where all sites and their leases are routed to. Which site gets a packet WireGuard decides by its destination,
// so that any link-local address but our own will do. Without one the kernel would take each site that pings us, and each
// host behind them, for a neighbor on the link: its table is full with a thousand of them, in all namespaces of the machine
// together, and it would send Redirects from site to site.
func nextHop(own netip.Addr) netip.Addr {
	hop := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 2})
	if hop == own {
		hop = hop.Next()
	}
	return hop
}

// blocks are all the prefixes that sites can have something of: pools, reservations and what is left of former pools,
// none inside another.
func blocks(f Facts) []netip.Prefix {
	all := slices.Concat(f.Config.Hub.Pools, f.Retired)
	for _, s := range f.Config.Sites {
		all = append(all, s.Prefixes...)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	var out []netip.Prefix
	for _, p := range all {
		// Sorted by address and length, what covers a prefix is the last one that was kept.
		if n := len(out); n == 0 || !covers(out[n-1], p) {
			out = append(out, p)
		}
	}
	for _, p := range f.Routed { // a reservation that has been taken out of the file
		i, found := slices.BinarySearchFunc(out, p, netip.Prefix.Compare)
		if !found && (i == 0 || !covers(out[i-1], p)) {
			out = slices.Insert(out, i, p)
		}
	}
	return out
}

// filled says that all of p is in others, which may be parts of it.
func filled(p netip.Prefix, others []netip.Prefix) bool {
	inside := false
	for _, o := range others {
		if covers(o, p) {
			return true
		}
		inside = inside || covers(p, o)
	}
	if !inside {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	return filled(low, others) && filled(netip.PrefixFrom(lastOf(low).Next(), p.Bits()+1), others)
}

// lastOf is the highest address of a prefix that is masked.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As16()
	for i := p.Bits(); i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// covers says whether a contains all of b.
func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }
