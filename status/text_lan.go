// SPDX-License-Identifier: MIT

package status

import (
	"fmt"
	"strings"
)

// How many of a LAN the text form shows: a LAN stays within two screens. All are in the JSON form.
const (
	textHosts    = 20
	textBindings = 20
	textRouters  = 5
)

func (p *printer) lan(l LAN) {
	p.head("lan: %s", l.Interface)
	p.field("state", lanStateWords(l.State))
	for _, x := range l.Prefixes {
		more := ""
		if x.Stale {
			more = ", stale: hosts are told to give it up"
		} else if x.DHCPv6PD {
			more = ", hosts had better ask for a prefix of their own"
		}
		p.field("prefix", fmt.Sprintf("%s, %s%s", x.Prefix, lifetimes(x.PreferredS, x.ValidS), more))
		p.field("address", x.Address)
	}
	switch {
	case l.RouterLifetimeS != 0:
		p.field("default router", "for "+duration(l.RouterLifetimeS))
	case l.RASent == 0:
		p.field("default router", "no, hosts have been told nothing yet")
	default:
		p.field("default router", "no, hosts are told not to use this box")
	}
	p.field("routes", strings.Join(l.Routes, ", "))
	p.field("hosts ask for", asked(l.Managed, l.OtherConfig))
	p.rdnss(l.RDNSS, l.RDNSSSource)
	p.field("search domains", strings.Join(l.DNSSL, ", "))
	p.field("nat64 prefix", l.PREF64)
	p.field("captive portal", l.CaptivePortal)
	if l.MTU != 0 {
		p.field("mtu", fmt.Sprint(l.MTU))
	}
	p.field("advertisements", fmt.Sprintf("%d sent, %d solicitations received", l.RASent, l.RSReceived))
	p.field("refused", counts(l.Dropped))
	if l.DHCPv6 != nil {
		p.lanServer(*l.DHCPv6)
	}
	for _, r := range l.Routers[:min(len(l.Routers), textRouters)] {
		p.lanRouter(r)
	}
	p.more(len(l.Routers) - textRouters)
	p.hosts(l.Hosts)
}

// lanStateWords is a state of a LAN and, where it needs a hand, what it means.
func lanStateWords(s string) string {
	switch s {
	case "missing":
		return s + ": there is no such interface"
	case "no carrier":
		return s + ": no port of it is up"
	case "no link-local":
		return s + ": nothing can be advertised without a link-local address"
	case "duplicate link-local":
		return s + ": another node has the box's address, nothing is advertised"
	}
	return s
}

// asked is the M and O flags in words.
func asked(managed, other bool) string {
	switch {
	case managed && other:
		return "addresses by DHCPv6, configuration by DHCPv6"
	case managed:
		return "addresses by DHCPv6"
	case other:
		return "configuration by DHCPv6"
	}
	return ""
}

// rdnss prints the DNS servers and why these.
func (p *printer) rdnss(servers []string, source string) {
	from := ""
	switch source {
	case "configured":
		from = "configured"
	case "dhcpv6":
		from = "learned by DHCPv6"
	case "ra":
		from = "learned by Router Advertisements on the tunnel"
	case "self":
		from = "this box"
	}
	switch {
	case len(servers) == 0 && source == "off":
		p.field("dns servers", "none, hosts keep to those that they have by IPv4")
	case len(servers) > 0 && from != "":
		p.field("dns servers", strings.Join(servers, ", ")+" ("+from+")")
	default:
		p.field("dns servers", strings.Join(servers, ", "))
	}
}

func (p *printer) lanServer(s LANServer) {
	text := s.Mode
	if s.Delegate {
		text += ", prefixes for routers"
	}
	p.field("dhcpv6 server", fmt.Sprintf("%s, %d received, %d sent", text, s.Received, s.Sent))
	p.field("dhcpv6 server does nothing", s.Error)
	for _, b := range s.Bindings[:min(len(s.Bindings), textBindings)] {
		p.field("binding", b.Address+" "+b.Type+" "+strings.Join(b.leases(), "; "))
	}
	p.more(len(s.Bindings) - textBindings)
}

// leases is each prefix or address of a binding with its lifetimes.
func (b Binding) leases() []string {
	out := make([]string, len(b.Prefixes))
	for i, x := range b.Prefixes {
		out[i] = x.Prefix + ", " + lifetimes(x.PreferredS, x.ValidS)
		if x.Stale {
			out[i] = x.Prefix + ", stale: taken back, the client may still hold it for " + duration(x.ValidS)
		}
	}
	return out
}

// lanRouter prints another router, with a line for each thing that is wrong with it.
func (p *printer) lanRouter(r LANRouter) {
	text := strings.TrimRight(r.Address+" "+r.MAC, " ")
	if r.RouterLifetimeS == 0 {
		text += ", no default router"
	} else {
		text += ", default router for " + duration(r.RouterLifetimeS) + ", preference " + r.Preference
	}
	if len(r.Prefixes) > 0 {
		text += ", advertises " + strings.Join(r.Prefixes, ", ")
	}
	p.field("other router", text+", last heard "+ago(r.SeenS))
	for _, x := range r.Conflicts {
		p.line("    wrong: %s", x)
	}
}

func (p *printer) hosts(hosts []Host) {
	for _, h := range hosts[:min(len(hosts), textHosts)] {
		p.field("host", strings.TrimRight(h.MAC+" "+strings.Join(h.Addresses, ", "), " ")+", last seen "+ago(h.SeenS))
	}
	p.more(len(hosts) - textHosts)
}

// more says that the list above goes on elsewhere, if n of it are left.
func (p *printer) more(n int) {
	if n > 0 {
		p.line("  (%d more in --json)", n)
	}
}

func ago(s float64) string {
	if s < 1 {
		return "now"
	}
	return duration(s) + " ago"
}

// neighbors speaks up only where somebody scans the LANs, or the kernel may soon forget hosts.
func (p *printer) neighbors(n Neighbors) {
	full := n.Most > 0 && n.Entries > n.Most/2
	if n.Dropped == 0 && !full {
		return
	}
	p.head("neighbors: %d addresses of hosts known", n.Known)
	if n.Dropped > 0 {
		p.field("dropped", fmt.Sprintf("%d packets to addresses that no host is known to have, over the limit for these: somebody scans the LANs through the tunnel; known hosts are not limited", n.Dropped))
	}
	if full {
		p.field("table", fmt.Sprintf("%d of %d entries, for all interfaces of this machine; when it is full, no new host is reached: sysctl -w net.ipv6.neigh.default.gc_thresh3=%d", n.Entries, n.Most, 2*n.Most))
	}
}
