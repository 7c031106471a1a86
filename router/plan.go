// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/dhcpv6/server"
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
	Addresses   []Address       // of the tunnel, by DHCPv6
	Info        client.Info     // learned by DHCPv6
	Learned     ra.Learned      // from the routers on the tunnel
	AnswersDNS  map[string]bool // by LAN: something on the box answers DNS there
	// Kept is what hosts of a LAN were told of DNS by an earlier process, until it can be known what is so now.
	Kept     map[string]DNS
	ULA      netip.Prefix     // the site's own /48; zero: none
	Bindings []server.Binding // of clients of the LANs' DHCPv6 server
	Links    map[string]dataplane.Link
	// Told are the prefixes that hosts of a LAN may hold, by interface, whether or not they are still ours.
	Told map[string][]Told
}

// DNS is what hosts are told of it.
type DNS struct {
	Servers []netip.Addr
	Search  []string
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
	// Pools are what routers behind the LANs get prefixes of.
	Pools []server.Pool
	// Wake is the next instant at which the same facts would give another plan: a lifetime ends.
	Wake time.Time
	// Duplicates are assigned addresses that the box has already, on a LAN or from the configuration.
	Duplicates []netip.Addr
	// Problems say what keeps the plan from being the whole thing, in words for the operator.
	Problems []string
}

// LANPlan is what one LAN gets.
type LANPlan struct {
	Iface     string
	Silent    bool // tell hosts nothing yet
	Content   ra.Content
	Server    server.Link // what its DHCPv6 server gives; no name: it has none
	Subnets   []Subnet    // those of the delegations first, in their order
	DNSSource DNSSource
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
	p.pools()
	p.assigned()
	p.firewall()
	p.routed()
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
		// What is not for the tunnel is refused at once (RFC 4443 section 3.1, code 0) and finds no way around it.
		p.route(dataplane.Route{Kind: dataplane.Unreachable, Dst: everywhere, From: d.Prefix, Metric: metricUnreachable})
		for _, dst := range p.tunnelDestinations() {
			p.route(dataplane.Route{Dst: dst, From: d.Prefix, Iface: name, Metric: metricTunnel})
		}
	}
}

var everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)

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

func (p *planner) firewall() {
	fw := dataplane.Firewall{
		Tunnel: p.f.Config.Interface.Name,
		LANs:   p.Desired.LANs,
		Open:   p.f.Config.Router.FirewallOpen,
		NoULA:  !p.ulaBeyond(),
		Dead:   !p.f.TunnelAlive,
	}
	for _, d := range p.live {
		fw.Delegations = append(fw.Delegations, d.Prefix)
	}
	if p.f.ULA.IsValid() {
		fw.Local = []netip.Prefix{p.f.ULA}
		p.route(dataplane.Route{Kind: dataplane.Unreachable, Dst: p.f.ULA, Metric: metricUnreachable})
	}
	for _, l := range p.LANs {
		s := dataplane.LANSources{Iface: l.Iface}
		for _, x := range l.Subnets {
			s.OnLink = append(s.OnLink, x.Prefix)
		}
		fw.Sources = append(fw.Sources, s)
	}
	p.Desired.Firewall = fw
}

// allULA are all unique local addresses (RFC 4193 section 3.1).
var allULA = netip.MustParsePrefix("fc00::/7")

// ulaBeyond says whether the configuration names unique local addresses at the other end of the tunnel, as some brokers have for the
// link to them.
func (p *planner) ulaBeyond() bool {
	i := p.f.Config.Interface
	if slices.ContainsFunc(i.Addresses, func(a netip.Prefix) bool { return allULA.Contains(a.Addr()) }) || slices.ContainsFunc(i.DNS, allULA.Contains) {
		return true
	}
	return slices.ContainsFunc(p.f.Config.Peers, func(peer config.Peer) bool {
		return slices.ContainsFunc(peer.AllowedIPs, func(a netip.Prefix) bool { return covers(allULA, a) })
	})
}

// routed leads to the routers behind the LANs, each by its own address on the link (RFC 9818, RFC 8987). What a client
// has had taken back is answered for as a stale prefix is, as long as it may hold it.
func (p *planner) routed() {
	for _, b := range p.f.Bindings {
		i := slices.IndexFunc(p.LANs, func(l LANPlan) bool { return l.Iface == b.Link })
		if b.Type != dhcpv6.PD || i < 0 {
			continue
		}
		for _, l := range b.Leases {
			inLive := func(d Delegation) bool { return covers(d.Prefix, l.Prefix) }
			switch {
			case l.Valid.Over(p.now):
			case l.Stale:
				p.held(l.Prefix, l.Valid, dataplane.Route{Via: b.Peer, Iface: b.Link})
			case slices.ContainsFunc(p.live, inLive):
				p.route(dataplane.Route{Dst: l.Prefix, Via: b.Peer, Iface: b.Link, Metric: metricTunnel})
				s := &p.Desired.Firewall.Sources[i]
				s.Routed = append(s.Routed, l.Prefix)
			}
		}
	}
}

// stale answers for prefixes that hosts may still hold but that are ours no longer: what comes from them is
// refused with a reason that the hosts understand (RFC 7084 L-14), and the answer finds its way back.
func (p *planner) stale() {
	for i, l := range p.LANs {
		for _, told := range p.f.Told[l.Iface] {
			if !slices.ContainsFunc(p.LANs[i].Subnets, func(s Subnet) bool { return s.Prefix == told.Prefix }) {
				p.held(told.Prefix, told.Held, dataplane.Route{Iface: l.Iface})
			}
		}
	}
}

// held answers for one prefix that somebody behind the route may hold until then.
func (p *planner) held(prefix netip.Prefix, until lifetime.Until, back dataplane.Route) {
	if until.Over(p.now) {
		return
	}
	p.until(until)
	fw := &p.Desired.Firewall
	for _, x := range fw.Sources {
		for _, q := range slices.Concat(x.OnLink, x.Routed) {
			if q.Overlaps(prefix) {
				return // ours, on a LAN or behind it
			}
		}
	}
	if !slices.Contains(fw.Stale, prefix) {
		fw.Stale = append(fw.Stale, prefix)
		back.Dst, back.Metric = prefix, metricStale
		p.route(back)
	}
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
