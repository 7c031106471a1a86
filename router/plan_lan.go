// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dhcpv6/client"
	"oasis6/dhcpv6/server"
	"oasis6/internal/lifetime"
	"oasis6/ra"
)

// ulaBits is the length of a site's own prefix (RFC 4193 section 3.1).
const ulaBits = 48

// shortEnoughForP is the longest delegation out of which every host of a LAN may be told to ask for a prefix of its own
// (P flag, RFC 9762): 16 subnets. Where there are fewer, the first phones would leave nothing to a router.
const shortEnoughForP = 60

// DNSSource says where the DNS servers of a LAN come from.
type DNSSource uint8

const (
	DNSOff        DNSSource = iota // there are none
	DNSConfigured                  // the file names them
	DNSFromDHCPv6                  // the hub's DHCPv6 server
	DNSFromRA                      // routers on the tunnel
	DNSSelf                        // the box
)

// String is the word in the status.
func (s DNSSource) String() string {
	return [...]string{"off", "configured", "dhcpv6", "ra", "self"}[s]
}

func (p *planner) lans() {
	internet := p.leadsToInternet()
	if !internet {
		p.problem("AllowedIPs of the hub do not cover ::/0: hosts get no default route")
	}
	subnets := p.layout()
	for i, lan := range p.f.Config.LANs {
		p.Desired.LANs = append(p.Desired.LANs, lan.Interface)
		lp := LANPlan{Iface: lan.Interface, Silent: p.f.Undecided, Subnets: subnets[i]}
		// RFC 7084 ULA-5: "MUST NOT advertise itself as a default router [...] solely based on the presence of ULA".
		lp.Content.DefaultRouter = internet && p.served(lp.Subnets) && p.f.TunnelAlive
		lp.Subnets = append(lp.Subnets, p.local(lan)...)
		for _, s := range lp.Subnets {
			p.address(dataplane.Address{Iface: lan.Interface, Prefix: netip.PrefixFrom(s.Address, subnetBits), Deprecated: s.Preferred.Over(p.now)})
			lp.Content.Prefixes = append(lp.Content.Prefixes, ra.Prefix{
				Prefix: s.Prefix, OnLink: lan.OnLink, Autonomous: lan.Autonomous, DHCPv6PD: lan.Delegate && s.Roomy,
				Preferred: s.Preferred, Valid: s.Valid, Limit: s.limit(),
			})
		}
		c := &lp.Content
		c.Preference = preference(lan.Preference)
		c.LinkMTU = p.linkMTU(lan.Interface)
		c.Managed = lan.DHCPv6 == config.DHCPv6Stateful
		c.OtherConfig = lan.DHCPv6 != config.DHCPv6Off
		c.RDNSS, lp.DNSSource = p.rdnss(lan, lp.Subnets)
		c.DNSSL = p.dnssl(lan)
		c.EncryptedDNS = p.encryptedDNS(lan)
		c.Routes = p.routeInformation()
		c.PREF64, c.CaptivePortal = lan.PREF64, lan.CaptivePortal
		lp.Server = p.server(lan, lp)
		p.LANs = append(p.LANs, lp)
	}
}

// local is the subnet of a LAN in the site's own prefix (RFC 7084 L-2). It has no end: what hosts are told is capped.
func (p *planner) local(lan config.LAN) []Subnet {
	if !p.f.ULA.IsValid() {
		return nil
	}
	s, ok := subnetOf(p.f.ULA, lan.Subnet)
	if !ok {
		p.problem("LAN %s has no unique local addresses: there is no subnet %x in %s, choose a smaller Subnet", lan.Interface, lan.Subnet, p.f.ULA)
		return nil
	}
	return []Subnet{{Prefix: s, Address: firstOf(s), Preferred: lifetime.Forever, Valid: lifetime.Forever}}
}

// routeInformation is what hosts reach through us whether or not we are their default router: all of each delegation, and
// of the site's own prefix (RFC 7084 L-3). "Independent of upstream state": a delegation lives as long as its lifetime.
func (p *planner) routeInformation() (out []ra.Route) {
	for _, d := range p.live {
		if d.Prefix.Bits() < subnetBits { // what is on the link needs no second route (erratum 7699)
			out = append(out, ra.Route{Prefix: d.Prefix, Preference: ra.Medium, Valid: d.Valid})
		}
	}
	if p.f.ULA.IsValid() {
		out = append(out, ra.Route{Prefix: p.f.ULA, Preference: ra.Medium, Valid: lifetime.Forever})
	}
	return out
}

// server is what the DHCPv6 server of a LAN gives.
func (p *planner) server(lan config.LAN, lp LANPlan) server.Link {
	if lan.DHCPv6 == config.DHCPv6Off {
		return server.Link{}
	}
	l := server.Link{
		Name: lan.Interface, Stateful: lan.DHCPv6 == config.DHCPv6Stateful, Delegate: lan.Delegate,
		Info: server.Info{
			DNS: lp.Content.RDNSS, Search: lp.Content.DNSSL, NTP: p.f.Info.NTP, CaptivePortal: lp.Content.CaptivePortal,
		},
	}
	if len(lp.Content.EncryptedDNS) > 0 {
		l.Info.EncryptedDNS = p.f.Info.EncryptedDNS
	}
	for _, s := range lp.Subnets {
		l.OnLink = append(l.OnLink, server.OnLink{Prefix: s.Prefix, Preferred: s.Preferred, Valid: s.Valid, Limit: s.limit()})
	}
	return l
}

// pools are what is left of the delegations for routers behind the LANs: each LAN has its own /64 first (RFC 9818).
func (p *planner) pools() {
	for _, d := range p.live {
		if d.Prefix.Bits() >= subnetBits {
			continue // there is nothing beside the LAN's own
		}
		pool := server.Pool{Prefix: d.Prefix, Preferred: d.Preferred, Valid: d.Valid, Limit: d.limit()}
		for _, l := range p.LANs {
			for _, s := range l.Subnets {
				if covers(d.Prefix, s.Prefix) {
					pool.Taken = append(pool.Taken, s.Prefix)
				}
			}
		}
		if d.Exclude.IsValid() {
			pool.Taken = append(pool.Taken, d.Exclude)
		}
		p.Pools = append(p.Pools, pool)
	}
}

func preference(s string) ra.Preference {
	switch s {
	case "high":
		return ra.High
	case "low":
		return ra.Low
	}
	return ra.Medium
}

// linkMTU is what hosts are told: the tunnel is the only way out, so its MTU saves them path MTU discovery.
func (p *planner) linkMTU(iface string) uint32 {
	mtu := p.f.TunnelMTU
	if l := p.f.Links[iface]; l.MTU != 0 && l.MTU < mtu {
		mtu = l.MTU
	}
	return uint32(max(mtu, 0))
}

// rdnss are the DNS servers of a LAN: those of the file, then those learned by DHCPv6, then by RA on the tunnel, then the
// box itself where something answers on it.
func (p *planner) rdnss(lan config.LAN, subnets []Subnet) ([]netip.Addr, DNSSource) {
	self := func() ([]netip.Addr, DNSSource) { return p.self(subnets), DNSSelf }
	switch lan.RDNSSMode {
	case config.RDNSSOff:
		return nil, DNSOff
	case config.RDNSSAddresses:
		return lan.RDNSS, DNSConfigured
	case config.RDNSSSelf:
		return self()
	}
	for _, s := range []struct {
		servers []netip.Addr
		source  DNSSource
	}{
		{p.f.Config.Interface.DNS, DNSConfigured},
		{p.f.Info.DNS, DNSFromDHCPv6},
		{p.f.Learned.DNS, DNSFromRA},
		{p.f.Kept[lan.Interface].Servers, DNSFromRA},
	} {
		if len(s.servers) > 0 {
			return s.servers, s.source
		}
	}
	if p.f.AnswersDNS[lan.Interface] {
		return self()
	}
	return nil, DNSOff
}

// self is the address of the box as a DNS server: the site's own, which no renumbering touches, else those of the
// delegations.
func (p *planner) self(subnets []Subnet) (out []netip.Addr) {
	for _, s := range subnets {
		switch {
		case s.Preferred.Over(p.now):
		case p.f.ULA.IsValid() && p.f.ULA.Contains(s.Address):
			return []netip.Addr{s.Address}
		default:
			out = append(out, s.Address)
		}
	}
	return out
}

// encryptedDNS are the resolvers that the hub's DHCPv6 server named, where its plain ones are passed on too.
func (p *planner) encryptedDNS(lan config.LAN) (out []ra.EncryptedDNS) {
	if lan.RDNSSMode != config.RDNSSAuto || len(p.f.Config.Interface.DNS) > 0 {
		return nil
	}
	for _, e := range p.f.Info.EncryptedDNS {
		out = append(out, ra.EncryptedDNS{Priority: e.Priority, Name: e.Name, Addrs: e.Addrs, Params: e.Params})
	}
	return out
}

func (p *planner) dnssl(lan config.LAN) []string {
	if len(lan.DNSSL) > 0 {
		return lan.DNSSL
	}
	if lan.RDNSSMode == config.RDNSSOff {
		return nil
	}
	for _, names := range [][]string{p.f.Config.Interface.Search, p.f.Info.Search, p.f.Learned.Search, p.f.Kept[lan.Interface].Search} {
		if len(names) > 0 {
			return names
		}
	}
	return nil
}

// withdrawOnly is next without what a LAN was not told before: the content while the kernel refuses the plan.
// What is gone must be told all the same, or hosts go on sending into nothing.
func withdrawOnly(told, next ra.Content) ra.Content {
	next.DefaultRouter = next.DefaultRouter && told.DefaultRouter
	next.Managed, next.OtherConfig = next.Managed && told.Managed, next.OtherConfig && told.OtherConfig
	next.Prefixes = keep(next.Prefixes, func(x ra.Prefix) bool {
		return slices.ContainsFunc(told.Prefixes, func(y ra.Prefix) bool { return x.Prefix == y.Prefix })
	})
	next.Routes = keep(next.Routes, func(x ra.Route) bool {
		return slices.ContainsFunc(told.Routes, func(y ra.Route) bool { return x.Prefix == y.Prefix })
	})
	next.RDNSS = keep(next.RDNSS, func(x netip.Addr) bool { return slices.Contains(told.RDNSS, x) })
	next.EncryptedDNS = keep(next.EncryptedDNS, func(x ra.EncryptedDNS) bool {
		return slices.ContainsFunc(told.EncryptedDNS, func(y ra.EncryptedDNS) bool { return x.Name == y.Name })
	})
	next.DNSSL = keep(next.DNSSL, func(x string) bool { return slices.Contains(told.DNSSL, x) })
	if next.PREF64 != told.PREF64 {
		next.PREF64 = netip.Prefix{}
	}
	if next.CaptivePortal != told.CaptivePortal {
		next.CaptivePortal = ""
	}
	return next
}

// grantNothing is next without prefixes that the server did not have before: its content while the kernel refuses the plan.
func grantNothing(told, next server.Content) server.Content {
	next.Pools = keep(next.Pools, func(x server.Pool) bool {
		return slices.ContainsFunc(told.Pools, func(y server.Pool) bool { return x.Prefix == y.Prefix })
	})
	next.Links = slices.Clone(next.Links)
	for i, l := range next.Links {
		j := slices.IndexFunc(told.Links, func(t server.Link) bool { return t.Name == l.Name })
		next.Links[i].OnLink = keep(l.OnLink, func(x server.OnLink) bool {
			return j >= 0 && slices.ContainsFunc(told.Links[j].OnLink, func(y server.OnLink) bool { return x.Prefix == y.Prefix })
		})
	}
	return next
}

// limit is how far ahead clients are told of what is cut from the delegation; 0: as far as its lifetimes go.
func (d Delegation) limit() time.Duration { return unconfirmedLimit(d.Unconfirmed) }

func unconfirmedLimit(unconfirmed bool) time.Duration {
	if unconfirmed {
		return client.UnconfirmedLifetime
	}
	return 0
}
