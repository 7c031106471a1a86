// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dhcpv6/client"
	"oasis6/internal/lifetime"
	"oasis6/ra"
)

// Facts is everything that Plan decides from. It is a value: the loop builds a new one for each plan.
type Facts struct {
	Config          *config.Config
	TunnelLinkLocal netip.Addr
	TunnelMTU       int
	Endpoint        netip.Addr // of the hub, as far as it is known
	// TunnelAlive says that packets get through, as far as anybody knows: the tunnel is up, or a
	// successor has just taken over and has no reason yet to think it dead.
	TunnelAlive bool
	// Undecided says that the first handshake is still being tried. Whatever hosts were told now would have to
	// be corrected in a moment, and the correction would have to wait for the floor between two RAs.
	Undecided   bool
	Delegations []Delegation
	Addresses   []Address   // of the tunnel, by DHCPv6
	Info        client.Info // learned by DHCPv6
	Links       map[string]dataplane.Link
	// Told are the prefixes that hosts of a LAN may hold, by interface, whether or not they are still ours.
	Told map[string][]Told
}

// Told is a prefix that was advertised, and until when a host may hold it.
type Told struct {
	Prefix netip.Prefix
	Held   lifetime.Until
	Stale  bool // it has been withdrawn
}

// Delegation is a prefix of ours, by DHCPv6 or from the configuration.
type Delegation struct {
	Prefix    netip.Prefix
	Exclude   netip.Prefix // the part that no LAN may have (RFC 6603); zero: none
	Preferred lifetime.Until
	Valid     lifetime.Until
	// Unconfirmed: nobody knows how old it is, so hosts are told of it for a short time only, time and again.
	Unconfirmed bool
}

// Address is an address of the tunnel interface that the hub has assigned.
type Address struct {
	Addr      netip.Addr
	Preferred lifetime.Until
	Valid     lifetime.Until
}

// Plan is what follows from the facts: kernel state and RA content decided in one place.
type Plan struct {
	Desired dataplane.Desired
	LANs    []LANPlan
	// Wake is the next instant at which the same facts would give another plan: a lifetime ends.
	Wake time.Time
	// Duplicates are assigned addresses that the box has already, on a LAN or from the configuration.
	Duplicates []netip.Addr
	// Problems say what keeps the plan from being the whole thing, in words for the operator.
	Problems []string
}

// LANPlan is what one LAN gets.
type LANPlan struct {
	Iface   string
	Silent  bool // tell hosts nothing yet
	Content ra.Content
	Subnets []Subnet
}

// Metrics of our routes. Ours must lose against a more specific one of the same prefix that the kernel
// made (256), and the unreachable route must lose against everything, so that it is only met by
// addresses that nothing else wants (RFC 7084 WPD-5).
const (
	metricTunnel      = 512
	metricStale       = 1024
	metricUnreachable = 1<<31 - 1
)

// subnetBits is the length of a subnet prefix on a LAN.
const subnetBits = 64

// Make decides everything from the facts. It is pure: the same facts and now give the same plan.
func Make(f Facts, now time.Time) Plan {
	var p planner
	p.f, p.now = f, now
	p.tunnel()
	p.delegations()
	p.lans()
	p.assigned()
	p.firewall()
	p.stale()
	return p.Plan
}

type planner struct {
	Plan
	f    Facts
	now  time.Time
	live []Delegation // valid ones, in the order of the facts
}

func (p *planner) problem(format string, a ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, a...))
}

// until makes the plan come up again when u ends.
func (p *planner) until(u lifetime.Until) {
	t, ok := u.Time()
	if !ok || u.Over(p.now) {
		return
	}
	if p.Wake.IsZero() || t.Before(p.Wake) {
		p.Wake = t
	}
}

func (p *planner) tunnel() {
	name := p.f.Config.Interface.Name
	p.Desired.Forward = true
	p.Desired.Tunnel = dataplane.Tunnel{Name: name, MTU: p.f.TunnelMTU}
	if ll := p.f.TunnelLinkLocal; ll.IsValid() {
		p.address(dataplane.Address{Iface: name, Prefix: netip.PrefixFrom(ll, 64), NoDAD: true})
	}
	for _, a := range p.f.Config.Interface.Addresses {
		// A broker's transfer address may lie inside the prefix it routes to us, or claim a whole network: its
		// on-link route must then not catch what is elsewhere.
		if a.Bits() < subnetBits || slices.ContainsFunc(p.f.Delegations, func(d Delegation) bool { return d.Prefix.Overlaps(a) }) {
			a = netip.PrefixFrom(a.Addr(), 128)
		}
		p.address(dataplane.Address{Iface: name, Prefix: a, NoDAD: true})
	}
	for _, dst := range p.tunnelDestinations() {
		// A plain route must not swallow the tunnel's own datagrams. With an IPv6 endpoint there is another
		// way to the IPv6 Internet, or the hub cannot be reached anyhow.
		if !dst.Contains(p.f.Endpoint) {
			p.route(dataplane.Route{Dst: dst, Iface: name, Metric: metricTunnel, IfNoOther: true})
		}
	}
}

// assigned puts the addresses on the tunnel that the hub gave by DHCPv6. What the box sends from one of them takes
// the tunnel: the hub routes nothing else back.
//
// Deviates from RFC 9915 section 18.2.10.1, "MUST perform duplicate address detection": a probe has the source ::, which
// WireGuard drops at the other end as no peer's allowed-ips have it, and an address is of one peer alone. What the box
// itself has is a duplicate all the same.
func (p *planner) assigned() {
	name := p.f.Config.Interface.Name
	for _, a := range p.f.Addresses {
		if a.Valid.Over(p.now) {
			continue
		}
		has := func(x dataplane.Address) bool { return x.Prefix.Addr() == a.Addr }
		if i := slices.IndexFunc(p.Desired.Addresses, has); i >= 0 {
			if p.Desired.Addresses[i].Iface != name { // on the tunnel it stands in the file too, which is no conflict
				p.Duplicates = append(p.Duplicates, a.Addr)
			}
			continue
		}
		p.until(a.Preferred)
		p.until(a.Valid)
		host := netip.PrefixFrom(a.Addr, 128)
		p.address(dataplane.Address{Iface: name, Prefix: host, NoDAD: true, Deprecated: a.Preferred.Over(p.now)})
		for _, dst := range p.tunnelDestinations() {
			p.route(dataplane.Route{Dst: dst, From: host, Iface: name, Metric: metricTunnel})
		}
	}
}

// globalUnicast is all that is handed out of the IPv6 Internet (RFC 4291 section 2.4).
var globalUnicast = netip.MustParsePrefix("2000::/3")

// tunnelDestinations are the global destinations that the hub takes. A hub that takes all global unicast, as
// ::/0, as halves or as 2000::/3, is the default: the kernel prefers a longer plain route to a native
// default, and does not fall back from a source-specific route to a plain one but at ::/0.
func (p *planner) tunnelDestinations() []netip.Prefix {
	var out []netip.Prefix
	for _, peer := range p.f.Config.Peers {
		for _, a := range peer.AllowedIPs {
			switch {
			case covers(a, globalUnicast):
				return []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
			case a.Addr().Is6() && !a.Addr().IsLinkLocalUnicast() && !a.Addr().IsMulticast():
				out = append(out, a)
			}
		}
	}
	return out
}

// leadsToInternet says whether the hub takes all global destinations.
func (p *planner) leadsToInternet() bool {
	d := p.tunnelDestinations()
	return len(d) == 1 && d[0].Bits() == 0
}

// covers says whether a contains all of b.
func covers(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

func (p *planner) delegations() {
	name := p.f.Config.Interface.Name
	for i, d := range p.f.Delegations {
		if d.Valid.Over(p.now) || p.inAnother(i) {
			continue
		}
		p.live = append(p.live, d)
		p.until(d.Preferred)
		p.until(d.Valid)
		p.route(dataplane.Route{Kind: dataplane.Unreachable, Dst: d.Prefix, Metric: metricUnreachable})
		if d.Exclude.IsValid() { // the hub numbers the link to us from it
			p.route(dataplane.Route{Dst: d.Exclude, Iface: name, Metric: metricTunnel})
		}
		for _, dst := range p.tunnelDestinations() {
			p.route(dataplane.Route{Dst: dst, From: d.Prefix, Iface: name, Metric: metricTunnel})
		}
	}
}

// inAnother says whether a delegation lies in another one: a hub may give the same prefix to each IA, and no subnet
// must be on two LANs.
func (p *planner) inAnother(i int) bool {
	d := p.f.Delegations[i]
	for j, e := range p.f.Delegations {
		if j == i || e.Valid.Over(p.now) || !covers(e.Prefix, d.Prefix) || e.Prefix == d.Prefix && j > i {
			continue
		}
		p.problem("prefix %s lies in %s, which the hub delegates too: it is used once", d.Prefix, e.Prefix)
		return true
	}
	return false
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
		preferred := false
		for _, s := range lp.Subnets {
			over := s.Preferred.Over(p.now)
			preferred = preferred || !over
			p.address(dataplane.Address{Iface: lan.Interface, Prefix: netip.PrefixFrom(s.Address, subnetBits), Deprecated: over})
			lp.Content.Prefixes = append(lp.Content.Prefixes, ra.Prefix{
				Prefix: s.Prefix, OnLink: true, Autonomous: true, Preferred: s.Preferred, Valid: s.Valid, Limit: s.limit(),
			})
		}
		lp.Content.DefaultRouter = internet && preferred && p.f.TunnelAlive
		lp.Content.Preference = preference(lan.Preference)
		lp.Content.LinkMTU = p.linkMTU(lan.Interface)
		lp.Content.RDNSS = p.rdnss(lan, lp.Subnets)
		lp.Content.DNSSL = p.dnssl(lan)
		lp.Content.EncryptedDNS = p.encryptedDNS(lan)
		p.LANs = append(p.LANs, lp)
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

func (p *planner) rdnss(lan config.LAN, subnets []Subnet) []netip.Addr {
	switch lan.RDNSSMode {
	case config.RDNSSOff:
		return nil
	case config.RDNSSAddresses:
		return lan.RDNSS
	case config.RDNSSSelf:
		var out []netip.Addr
		for _, s := range subnets {
			if !s.Preferred.Over(p.now) {
				out = append(out, s.Address)
			}
		}
		return out
	}
	if dns := p.f.Config.Interface.DNS; len(dns) > 0 {
		return dns
	}
	return p.f.Info.DNS
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
	if s := p.f.Config.Interface.Search; len(s) > 0 {
		return s
	}
	return p.f.Info.Search
}

func (p *planner) firewall() {
	fw := dataplane.Firewall{
		Tunnel: p.f.Config.Interface.Name,
		LANs:   p.Desired.LANs,
		Open:   p.f.Config.Router.FirewallOpen,
	}
	for _, d := range p.live {
		fw.Delegations = append(fw.Delegations, d.Prefix)
	}
	p.Desired.Firewall = fw
}

// stale answers for prefixes that hosts may still hold but that are ours no longer: what comes from them is
// refused with a reason that the hosts understand (RFC 7084 L-14), and the answer finds its way back.
func (p *planner) stale() {
	for i, l := range p.LANs {
		for _, told := range p.f.Told[l.Iface] {
			if told.Held.Over(p.now) || slices.ContainsFunc(p.LANs[i].Subnets, func(s Subnet) bool { return s.Prefix == told.Prefix }) {
				continue
			}
			p.until(told.Held)
			if slices.ContainsFunc(p.live, func(d Delegation) bool { return d.Prefix.Overlaps(told.Prefix) }) {
				continue // ours again, on another LAN or unassigned
			}
			if !slices.Contains(p.Desired.Firewall.Stale, told.Prefix) {
				p.Desired.Firewall.Stale = append(p.Desired.Firewall.Stale, told.Prefix)
				p.route(dataplane.Route{Dst: told.Prefix, Iface: l.Iface, Metric: metricStale})
			}
		}
	}
}

// withdrawOnly is next without what a LAN was not told before: the content while the kernel refuses the plan.
// What is gone must be told all the same, or hosts go on sending into nothing.
func withdrawOnly(told, next ra.Content) ra.Content {
	next.DefaultRouter = next.DefaultRouter && told.DefaultRouter
	next.Prefixes = keep(next.Prefixes, func(x ra.Prefix) bool {
		return slices.ContainsFunc(told.Prefixes, func(y ra.Prefix) bool { return x.Prefix == y.Prefix })
	})
	next.RDNSS = keep(next.RDNSS, func(x netip.Addr) bool { return slices.Contains(told.RDNSS, x) })
	next.EncryptedDNS = keep(next.EncryptedDNS, func(x ra.EncryptedDNS) bool {
		return slices.ContainsFunc(told.EncryptedDNS, func(y ra.EncryptedDNS) bool { return x.Name == y.Name })
	})
	next.DNSSL = keep(next.DNSSL, func(x string) bool { return slices.Contains(told.DNSSL, x) })
	return next
}

// keep is the elements of list for which ok holds, in a new slice.
func keep[T any](list []T, ok func(T) bool) (out []T) {
	for _, x := range list {
		if ok(x) {
			out = append(out, x)
		}
	}
	return out
}

func (p *planner) address(a dataplane.Address) {
	if !slices.ContainsFunc(p.Desired.Addresses, func(b dataplane.Address) bool { return b.Iface == a.Iface && b.Prefix == a.Prefix }) {
		p.Desired.Addresses = append(p.Desired.Addresses, a)
	}
}

func (p *planner) route(r dataplane.Route) {
	if !slices.Contains(p.Desired.Routes, r) {
		p.Desired.Routes = append(p.Desired.Routes, r)
	}
}
