// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/lab/host"
	"oasis6/lab/host/inet6"
	"oasis6/lab/nat"
	"oasis6/lab/page"
)

// painter makes of facts what the page shows. It belongs to one goroutine at a time.
type painter struct {
	w      *World
	macs   map[[6]byte]string   // whose port has it
	locals map[string]string    // likewise, by the link-local address made of it
	seen   map[string]memory    // by what it is about
	used   map[string]time.Time // of seen: when last asked for
}

// memory keeps an instant still that is only known as a remaining time, rounded; and when it last changed for real.
type memory struct{ until, since time.Time }

// flicker is how far such an instant jumps without meaning anything: statuses tell tenths of seconds.
const flicker = 300 * time.Millisecond

// forgetAfter bounds what painter keeps, in lab time.
const forgetAfter = time.Hour

func newPainter(w *World) *painter {
	p := &painter{w: w, macs: map[[6]byte]string{}, locals: map[string]string{}, seen: map[string]memory{}, used: map[string]time.Time{}}
	for _, x := range w.wires {
		for i := range 2 {
			mac, node := x.Port(i).MAC(), x.Port(i).Node()
			p.macs[mac], p.locals[inet6.LinkLocal(mac).String()] = node, node
		}
	}
	return p
}

// still gives the instant as it was shown before, unless it has changed, and since when it is so.
func (p *painter) still(key string, now, until time.Time) memory {
	if until.IsZero() {
		return memory{} // for ever
	}
	m, ok := p.seen[key]
	if d := until.Sub(m.until); !ok || d > flicker || d < -flicker {
		m = memory{until, now}
		p.seen[key] = m
	}
	p.used[key] = now
	return m
}

// forget drops what nobody has asked for lately.
func (p *painter) forget(now time.Time) {
	for k, at := range p.used {
		if now.Sub(at) > forgetAfter {
			delete(p.used, k)
			delete(p.seen, k)
		}
	}
}

func (p *painter) paint(f *facts) page.State {
	s := page.State{
		Nodes: map[string]page.NodeState{}, Wires: map[string]page.WireState{}, Tunnels: map[string]page.TunnelState{},
		Actions: map[string]page.ActionState{}, Prefixes: p.prefixes(f), Steps: stepsOf(f), Lessons: slices.Clone(f.lessons),
	}
	for _, n := range p.w.nodes {
		s.Nodes[n.ID] = p.node(f, n)
	}
	for id, x := range f.wires {
		s.Wires[id] = x
	}
	for id, x := range f.actions {
		s.Actions[id] = x
	}
	for _, b := range f.boxes {
		t := p.tunnel(f, b)
		s.Tunnels[pipeOf(b.name)] = t
		s.Wires[pipeOf(b.name)] = page.WireState{Up: t.State == "up", MTU: b.status.Tunnel.MTU}
	}
	p.forget(f.now)
	return s
}

func stepsOf(f *facts) []page.Step {
	out := make([]page.Step, len(f.outcomes))
	for i, r := range f.outcomes {
		out[i] = page.Step{Name: r.name, State: r.state, At: r.at, Text: r.text}
	}
	return out
}

// node is what one knows. What is configured by hand is of the plan.
func (p *painter) node(f *facts, n page.Node) page.NodeState {
	s := page.NodeState{Up: true}
	if up, ok := f.up[n.ID]; ok {
		s.Up = up
	}
	for _, c := range p.w.byHand(n.ID) {
		s.Addresses = append(s.Addresses, page.Address{Iface: c.wire, Addr: c.prefix.Addr().String(), PrefixLen: c.prefix.Bits(), State: page.Preferred, From: "configuration"})
	}
	if v, ok := f.hosts[n.ID]; ok {
		p.host(f, n.ID, v, &s)
	}
	for _, m := range f.mappings[n.ID] {
		s.NAT = append(s.NAT, p.mapping(f, n.ID, m))
	}
	for _, b := range f.boxes {
		if b.name == n.ID {
			p.box(f, b, &s)
		}
	}
	switch n.ID {
	case nodeR2:
		p.hubNode(f, &s)
	case nodeNet6, nodeRogue, nodeR3:
		p.labRouter(f, n.ID, &s)
	}
	return s
}

func instant(u lifetime.Until) time.Time {
	at, _ := u.Time() // zero where it is for ever
	return at
}

func (p *painter) host(f *facts, name string, v host.View, s *page.NodeState) {
	s.Up = v.Up && !v.Suspended
	if v.Suspended {
		s.Badges = append(s.Badges, "asleep")
	}
	if v.MTU > 0 && v.MTU != ethernetMTU {
		s.Badges = append(s.Badges, fmt.Sprintf("MTU %d", v.MTU))
	}
	for _, a := range v.Addresses {
		m := p.still(name+" address "+a.Prefix.String(), f.now, instant(a.ValidUntil))
		from := p.givers(a.From)
		switch {
		case a.State == host.Duplicate:
			from = "has it already: " + p.owner(a.Holder)
		case from == "" && a.Prefix.Addr().IsLinkLocalUnicast():
			from = "itself"
		case from == "":
			from = "configuration"
		}
		if a.Temporary {
			from += ", temporary"
		}
		s.Addresses = append(s.Addresses, page.Address{
			Iface: hostIface, Addr: a.Prefix.Addr().String(), PrefixLen: a.Prefix.Bits(), State: string(a.State), Since: m.since,
			PreferredUntil: instant(a.PreferredUntil), ValidUntil: instant(a.ValidUntil), From: from,
		})
	}
	for _, r := range v.Routes {
		m := p.still(name+" route "+r.Dst.String()+r.Via.String(), f.now, instant(r.Until))
		x := page.Route{Dst: r.Dst.String(), Iface: hostIface, Since: m.since, Until: instant(r.Until), From: p.giver(r.From)}
		if r.Via.IsValid() {
			x.Via = r.Via.String()
		}
		if r.Dst.IsSingleIP() && r.From.Router.IsValid() {
			x.From = "Redirect of " + p.owner(r.From.MAC) + " (" + r.From.Router.String() + ")"
		}
		if r.Silent {
			x.From += ", which does not answer"
		}
		s.Routes = append(s.Routes, x)
	}
	for _, d := range v.DNS {
		m := p.still(name+" dns "+d.Addr.String(), f.now, instant(d.Until))
		s.DNS = append(s.DNS, page.DNS{Addr: d.Addr.String(), Since: m.since, Until: instant(d.Until), From: p.giver(d.From)})
	}
	for _, n := range v.Neighbors {
		s.Neighbors = append(s.Neighbors, page.Neighbor{Addr: n.Addr.String(), MAC: macText(n.MAC), State: n.State})
	}
}

// giver says in words who gave something.
func (p *painter) giver(g host.Giver) string {
	if !g.Router.IsValid() {
		return "configuration"
	}
	return "RA of " + p.owner(g.MAC) + " (" + g.Router.String() + ")"
}

func (p *painter) givers(all []host.Giver) string {
	var names []string
	for _, g := range all {
		names = append(names, p.giver(g))
	}
	return strings.Join(names, " and ")
}

// owner is the node that has a MAC.
func (p *painter) owner(mac [6]byte) string {
	if n, ok := p.macs[mac]; ok {
		return n
	}
	return macText(mac)
}

func (p *painter) mapping(f *facts, node string, m nat.Entry) page.Mapping {
	x := page.Mapping{Proto: strings.ToUpper(m.Proto.String()), Inside: m.Inside.String(), Outside: m.Outside.String(), Remote: m.Remote.String(), ExpiresAt: m.Expires}
	x.Since = p.still(node+" mapping "+x.Proto+x.Inside+x.Outside+x.Remote, f.now, m.Expires).since
	return x
}

// ends is when a remaining time of a status is over; zero: never.
func (p *painter) ends(f *facts, key string, left float64) memory {
	if left < 0 {
		return memory{}
	}
	return p.still(key, f.now, f.now.Add(time.Duration(left*float64(time.Second))))
}

// box is what oasis6 says of itself.
func (p *painter) box(f *facts, b boxFacts, s *page.NodeState) {
	word, _, _ := strings.Cut(b.status.Summary, ":")
	if !b.on || word == "" {
		s.Badges = append(s.Badges, "no power")
		return
	}
	s.Badges = append(s.Badges, "oasis6 is "+word)
	t := b.status.Tunnel
	if t.LinkLocal != "" {
		s.Addresses = append(s.Addresses, page.Address{Iface: t.Interface, Addr: t.LinkLocal, PrefixLen: 64, State: page.Preferred, From: "made of its WireGuard key"})
	}
	if t.State == "up" {
		s.Routes = append(s.Routes, page.Route{Dst: "::/0", Iface: t.Interface, From: "configuration: the peer's allowed IPs"})
	}
	for _, l := range b.status.LANs {
		if l.RouterLifetimeS > 0 {
			s.Badges = append(s.Badges, "default router on "+l.Interface)
		}
		for _, x := range l.Prefixes {
			until := p.ends(f, b.name+" lan valid "+x.Prefix, x.ValidS)
			preferred := p.ends(f, b.name+" lan preferred "+x.Prefix, x.PreferredS)
			state := page.Preferred
			if x.Stale || x.PreferredS == 0 {
				state = page.Deprecated
			}
			if x.Address != "" {
				s.Addresses = append(s.Addresses, page.Address{
					Iface: l.Interface, Addr: x.Address, PrefixLen: 64, State: state, Since: until.since, PreferredUntil: preferred.until, ValidUntil: until.until,
					From: "itself, in the prefix that r2 delegates",
				})
			}
			s.Routes = append(s.Routes, page.Route{Dst: x.Prefix, Iface: l.Interface, Since: until.since, Until: until.until, From: "DHCPv6 of r2"})
		}
		for _, x := range given(l) {
			m := p.ends(f, b.name+" gives "+x.Prefix, x.ValidS)
			s.Routes = append(s.Routes, page.Route{Dst: x.Prefix, Via: x.to, Iface: l.Interface, Since: m.since, Until: m.until, From: "its own lease to " + p.ownerOf(x.to)})
		}
		for _, r := range l.Routers {
			s.Badges = append(s.Badges, "also says it is a router: "+p.ownerOf(r.Address))
		}
		for _, h := range l.Hosts {
			for _, a := range h.Addresses {
				s.Neighbors = append(s.Neighbors, page.Neighbor{Addr: a, MAC: h.MAC, State: "known"})
			}
		}
	}
}

// hubNode is what the hub says of itself.
func (p *painter) hubNode(f *facts, s *page.NodeState) {
	if f.hub.Hub == nil {
		s.Up = false
		return
	}
	t := f.hub.Tunnel
	s.Badges = append(s.Badges, fmt.Sprintf("%d of %d sites up", f.hub.Hub.SitesUp, len(f.hub.Sites)))
	s.Addresses = append(s.Addresses, page.Address{Iface: t.Interface, Addr: t.LinkLocal, PrefixLen: 64, State: page.Preferred, From: "made of its WireGuard key"})
	s.Routes = append(s.Routes, page.Route{Dst: "::/0", Via: netip.MustParsePrefix(net6R2).Addr().String(), Iface: uplink, From: "configuration"})
	for _, site := range f.hub.Sites {
		for _, l := range site.Leases {
			m := p.ends(f, "lease "+l.Prefix, l.ValidS)
			s.Routes = append(s.Routes, page.Route{Dst: l.Prefix, Via: site.LinkLocal, Iface: t.Interface, Since: m.since, Until: m.until, From: "its own lease to " + site.Name})
		}
	}
}

func (p *painter) tunnel(f *facts, b boxFacts) page.TunnelState {
	s := page.TunnelState{State: "down"}
	if !b.on || len(b.status.Tunnel.Peers) == 0 {
		return s
	}
	peer := b.status.Tunnel.Peers[0]
	s.State, s.Endpoint, s.Rx, s.Tx = b.status.Tunnel.State, peer.Endpoint, peer.RxBytes, peer.TxBytes
	if peer.HandshakeAgeS >= 0 {
		s.HandshakeAt = p.still(b.name+" handshake", f.now, f.now.Add(-time.Duration(peer.HandshakeAgeS*float64(time.Second)))).until
	}
	return s
}

// prefixes is the address plan as it is now: provider, pools, delegations, LANs.
func (p *painter) prefixes(f *facts) []page.Prefix {
	root := page.Prefix{Prefix: providerPrefix, Owner: "the provider", Kind: "provider"}
	current := map[string]bool{}
	if f.hub.Hub != nil {
		for _, x := range f.hub.Hub.Pools {
			current[x.Prefix] = true
		}
	}
	for _, pool := range []string{firstPool, secondPool} {
		x := page.Prefix{Prefix: pool, Owner: nodeR2, Kind: "pool", Children: p.leases(f, netip.MustParsePrefix(pool))}
		if !current[pool] {
			if len(x.Children) == 0 {
				continue
			}
			x.Kind = "stale"
		}
		root.Children = append(root.Children, x)
	}
	return []page.Prefix{root}
}

// leases are the delegations out of a pool.
func (p *painter) leases(f *facts, pool netip.Prefix) (out []page.Prefix) {
	for _, site := range f.hub.Sites {
		for _, l := range site.Leases {
			prefix, err := netip.ParsePrefix(l.Prefix)
			if err != nil || !pool.Contains(prefix.Addr()) {
				continue
			}
			m := p.ends(f, "lease "+l.Prefix, l.ValidS)
			x := page.Prefix{Prefix: l.Prefix, Owner: site.Name, Kind: "delegation", Since: m.since, Until: m.until}
			if l.State != "bound" || l.PreferredS == 0 {
				x.Kind = "stale"
			}
			for _, b := range f.boxes {
				if b.name == site.Name {
					x.Children = p.subnets(f, b, prefix)
				}
			}
			out = append(out, x)
		}
	}
	return out
}

// subnets are the LANs that a box has made of a delegation, and what it has given of it to routers behind them.
func (p *painter) subnets(f *facts, b boxFacts, delegation netip.Prefix) (out []page.Prefix) {
	for _, l := range b.status.LANs {
		for _, x := range l.Prefixes {
			prefix, err := netip.ParsePrefix(x.Prefix)
			if err != nil || !delegation.Contains(prefix.Addr()) {
				continue
			}
			m := p.ends(f, "subnet "+x.Prefix, x.ValidS)
			kind := "LAN"
			if x.Stale || x.PreferredS == 0 {
				kind = "stale"
			}
			out = append(out, page.Prefix{Prefix: x.Prefix, Owner: l.Interface, Kind: kind, Since: m.since, Until: m.until})
		}
		out = append(out, p.onward(f, b, l, delegation)...)
	}
	return out
}
