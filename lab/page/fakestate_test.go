// SPDX-License-Identifier: MIT

package page

import (
	"net/netip"
	"time"
)

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func (f *fake) prefix() string {
	if f.renewed > 0 {
		return "2001:db8:ebbd:aa0a"
	}
	return "2001:db8:ebbd:990a"
}

func (f *fake) address() netip.Addr { return ip(f.prefix() + ":5f2c:19ff:fe00:10") }

func (f *fake) World() World {
	w := f.whole()
	if f.bare {
		return World{Title: "Nothing", Start: w.Start, Nodes: w.Nodes[:2]}
	}
	return w
}

func (f *fake) whole() World {
	return World{
		Title: "Split tunnel", Link: "sim", Seed: 1<<63 + 6, Start: fakeStart, Scenario: "split-tunnel",
		Scenarios: []Scenario{{"split-tunnel", "IPv4 stays on its way through two NATs. IPv6 gets a way of its own: through the tunnel to the hub."}, {"renumber", "The prefix changes under way."}},
		Nodes: []Node{
			{ID: "h1", Name: "h1", Kind: Host, X: 4, Y: 25, Site: "home", About: "A host. It makes its IPv6 addresses itself, out of what the box advertises."},
			{ID: "h2", Name: "h2", Kind: Host, X: 4, Y: 65, Site: "home", About: "Another host on the same LAN."},
			{ID: "lan", Name: "br-lan", Kind: Switch, X: 14, Y: 45, Site: "home", About: "The LAN's bridge."},
			{ID: "r1", Name: "r1", Kind: Router, X: 25, Y: 45, Site: "home", About: "The box: oasis6 run. IPv4 goes on through the NATs; IPv6 goes through the tunnel."},
			{ID: "nat1", Name: "nat1", Kind: NAT, X: 38, Y: 70, About: "The first NAT, such as a hotel's."},
			{ID: "nat2", Name: "nat2", Kind: NAT, X: 50, Y: 70, About: "The second NAT, the carrier's."},
			{ID: "inet", Name: "IPv4 Internet", Kind: Internet, X: 64, Y: 70, About: "Routes IPv4 and knows nothing of IPv6."},
			{ID: "r2", Name: "r2", Kind: Hub, X: 66, Y: 30, About: "The hub: oasis6 hub."},
			{ID: "net6", Name: "IPv6 Internet", Kind: Internet, X: 80, Y: 30, About: "Routes the provider's prefix to the hub."},
			{ID: "www", Name: "www", Kind: Server, X: 94, Y: 70, About: "A web server with IPv4 and IPv6."},
			{ID: "dns", Name: "dns", Kind: Server, X: 94, Y: 12, About: "A DNS server on the IPv6 Internet."},
			{ID: "only6", Name: "only6", Kind: Site, X: 94, Y: 38, About: "A web site that has IPv6 alone."},
		},
		Wires: []Wire{
			{"lan-h1", "h1", "lan", LAN, "h1's cable"}, {"lan-h2", "h2", "lan", LAN, "h2's cable"}, {"lan-r1", "lan", "r1", LAN, "the box's LAN side"},
			{"wan", "r1", "nat1", IPv4, "the box's WAN side"}, {"nats", "nat1", "nat2", IPv4, "between the NATs"}, {"carrier", "nat2", "inet", IPv4, "the carrier's uplink"},
			{"r2-inet", "inet", "r2", IPv4, "the hub's IPv4"}, {"www-inet", "inet", "www", IPv4, "www's IPv4"}, {"r2-net6", "r2", "net6", IPv6, "the hub's IPv6 uplink"},
			{"www-net6", "net6", "www", IPv6, "www's IPv6"}, {"dns-net6", "net6", "dns", IPv6, "dns's IPv6"}, {"only-net6", "net6", "only6", IPv6, "only6's IPv6"},
			{"tunnel", "r1", "r2", Tunnel, "inside the tunnel"},
		},
		Tunnels: []Pipe{{"tunnel", "Tunnel of r1", []string{"wan", "nats", "carrier", "r2-inet"}}},
		Actions: []Button{
			{ID: "renumber", Name: "Renumber", About: "The hub gets another pool; every host has to follow.", RFC: "RFC 9096", Key: "r"},
			{ID: "unplug", Name: "Pull a cable", About: "The wire is cut until it is plugged in again.", Key: "c", Targets: []Choice{{"lan-h1", "h1's cable"}, {"wan", "the box's WAN side"}}},
			{ID: "cut", Name: "Cut the tunnel", About: "The hub no longer hears the box.", Key: "x"},
			{ID: "rebind", Name: "Rebind the NAT", About: "The NAT forgets its ports.", RFC: "RFC 4787", Key: "n", Targets: []Choice{{"nat1", "nat1"}, {"nat2", "nat2"}}},
			{ID: "reboot", Name: "Reboot the box", About: "r1 starts again with what it has on disk.", Key: "b"},
			{ID: "icmp", Name: "Drop all ICMPv6", About: "See what breaks.", RFC: "RFC 4890", Key: "d"},
			{ID: "mtu", Name: "Shrink the path MTU", About: "A wire on the way carries less.", RFC: "RFC 8201", Key: "u", Args: []Choice{{"1400", "to 1400 octets"}, {"1300", "to 1300 octets"}}},
			{ID: "rogue", Name: "Rogue RA", About: "Somebody else on the LAN says it is a router.", RFC: "RFC 6104", Key: "o"},
			{ID: "duplicate", Name: "Duplicate address", About: "Somebody has h1's next address already.", RFC: "RFC 4862 section 5.4", Key: "2"},
			{ID: "scan", Name: "Scan a /64", About: "Somebody looks for hosts.", RFC: "RFC 6583", Key: "s"},
		},
		Lessons: []Lesson{
			{"split-tunnel", "Split tunnel", "Wireguard IPv6 VPN"}, {"plan", "An address plan", "Wireguard IPv6 VPN"}, {"pd", "Prefix delegation", "Wireguard IPv6 VPN"},
			{"slaac", "SLAAC and Router Advertisements", "Hi Neighbour"}, {"dad", "Duplicate Address Detection", "Hi Neighbour"}, {"redirect", "Redirect", "Hi Neighbour"},
			{"renumbering", "When the prefix changes", "What makes a good IPv6 implementation"},
		},
	}
}

func (f *fake) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bare {
		return State{Clock: Clock{Now: when(f.now), Speed: 1}}
	}
	s := State{
		Clock: Clock{Now: when(f.now), Speed: f.speed, Paused: f.paused, CanPause: true},
		Nodes: map[string]NodeState{}, Wires: map[string]WireState{},
		Tunnels: map[string]TunnelState{"tunnel": f.tunnel()},
		Actions: map[string]ActionState{"unplug": {On: len(f.down) > 0 && (f.down["wan"] || f.down["lan-h1"])}},
	}
	for _, w := range f.World().Wires {
		s.Wires[w.ID] = WireState{Up: !f.down[w.ID], MTU: 1500}
	}
	s.Wires["carrier"] = WireState{Up: !f.down["carrier"], MTU: 1492}
	for _, n := range f.World().Nodes {
		s.Nodes[n.ID] = NodeState{Up: true}
	}
	s.Nodes["h1"], s.Nodes["h2"] = f.host("5f2c:19ff:fe00:10", "192.0.2.10"), f.host("a8e1:52ff:fe00:11", "192.0.2.11")
	s.Nodes["r1"] = NodeState{Up: true, Badges: []string{"sends RAs", "DHCPv6 client", "firewall closed"}, Addresses: []Address{{Iface: "br-lan", Addr: "fe80::1", PrefixLen: 64, State: Preferred, From: "itself"}},
		Routes: []Route{{Dst: "::/0", Iface: "oasis0", From: "itself"}}}
	s.Nodes["nat1"] = f.nat("192.0.2.66:51820", "198.51.100.2:40001")
	s.Nodes["nat2"] = f.nat("198.51.100.2:40001", "203.0.113.2:61234")
	s.Prefixes, s.Steps, s.Lessons = f.plan(), f.steps(), f.lessons()
	return s
}

func (f *fake) tunnel() TunnelState {
	if f.now < 600*time.Millisecond || f.down["wan"] {
		return TunnelState{State: "connecting", Endpoint: "203.0.113.66:51820"}
	}
	return TunnelState{State: "up", Endpoint: "203.0.113.66:51820", HandshakeAt: when(600 * time.Millisecond), Rx: uint64(f.now / 1e6 * 17), Tx: uint64(f.now / 1e6 * 9)}
}

func (f *fake) host(id, v4 string) NodeState {
	n := NodeState{Up: true, Addresses: []Address{{Iface: "eth0", Addr: v4, PrefixLen: 24, State: Preferred, From: "configuration"}, {Iface: "eth0", Addr: "fe80::" + id, PrefixLen: 64, State: Preferred, From: "itself"}},
		Routes: []Route{{Dst: "0.0.0.0/0", Via: "192.0.2.1", Iface: "eth0", From: "configuration"}}}
	if f.now < 1100*time.Millisecond {
		return n
	}
	last := f.now / (4 * time.Second) * (4 * time.Second)
	state := Tentative
	if f.now > 2200*time.Millisecond {
		state = Preferred
	}
	const who = "RA of r1 (fe80::1)"
	old := Address{Iface: "eth0", Addr: "2001:db8:ebbd:990a:" + id, PrefixLen: 64, State: state, Since: when(last), PreferredUntil: when(last + 45*time.Minute), ValidUntil: when(last + 90*time.Minute), From: who}
	if f.renewed > 0 {
		old.State, old.PreferredUntil, old.Since, old.ValidUntil = Deprecated, when(f.renewed), when(f.renewed), when(f.renewed+2*time.Hour)
		n.Addresses = append(n.Addresses, Address{Iface: "eth0", Addr: "2001:db8:ebbd:aa0a:" + id, PrefixLen: 64, State: Preferred, Since: when(last), PreferredUntil: when(last + 45*time.Minute), ValidUntil: when(last + 90*time.Minute), From: who})
	}
	n.Addresses = append(n.Addresses, old)
	n.Routes = append(n.Routes, Route{Dst: "::/0", Via: "fe80::1", Iface: "eth0", Since: when(last), Until: when(last + 45*time.Minute), From: who})
	n.DNS = []DNS{{Addr: "fe80::1%eth0", Since: when(last), Until: when(last + 45*time.Minute), From: who}}
	n.Neighbors = []Neighbor{{Addr: "fe80::1", MAC: "00:00:5e:00:53:01", State: "reachable"}}
	return n
}

func (f *fake) nat(inside, outside string) NodeState {
	n := NodeState{Up: true, NAT: []Mapping{}}
	if f.now >= 400*time.Millisecond {
		last := f.now / (4 * time.Second) * (4 * time.Second)
		n.NAT = append(n.NAT, Mapping{Proto: "UDP", Inside: inside, Outside: outside, Remote: "203.0.113.66:51820", Since: when(last), ExpiresAt: when(last + 30*time.Second)},
			Mapping{Proto: "TCP", Inside: "192.0.2.10:49210", Outside: "198.51.100.2:49210", Remote: "203.0.113.130:80", Since: when(0), ExpiresAt: when(4 * time.Minute)})
	}
	return n
}

func (f *fake) plan() []Prefix {
	site := Prefix{Prefix: "2001:db8:ebbd:990a::/64", Owner: "r1", Kind: "delegation", Since: when(900 * time.Millisecond), Until: when(90 * time.Minute)}
	pools := []Prefix{{Prefix: "2001:db8:ebbd:9900::/56", Owner: "r2", Kind: "pool", Children: []Prefix{{Prefix: "2001:db8:ebbd:9908::/64", Owner: "r2", Kind: "LAN"}, site}}}
	if f.renewed > 0 {
		pools[0].Children[1].Kind = "stale"
		pools = append(pools, Prefix{Prefix: "2001:db8:ebbd:aa00::/56", Owner: "r2", Kind: "pool", Children: []Prefix{{Prefix: "2001:db8:ebbd:aa0a::/64", Owner: "r1", Kind: "delegation", Since: when(f.renewed), Until: when(f.renewed + 90*time.Minute)}}})
	}
	return []Prefix{{Prefix: "2001:db8:ebbd::/48", Owner: "provider", Kind: "provider", Children: pools}}
}

func (f *fake) steps() []Step {
	steps := []Step{
		{Name: "The tunnel comes up", Text: "handshake in 48 ms, through two NATs"}, {Name: "The hub delegates a prefix", Text: "2001:db8:ebbd:990a::/64"},
		{Name: "Hosts have addresses", Text: "h1 and h2, by SLAAC"}, {Name: "IPv6 reaches the site that has IPv6 alone", Text: "hello from only6"}, {Name: "IPv4 is as it was", Text: "byte for byte"},
	}
	for i := range steps {
		at := []time.Duration{600, 900, 2200, 5000, 8000}[i] * time.Millisecond
		switch {
		case f.now >= at:
			steps[i].State, steps[i].At = Passed, when(at)
		case i == 0 || steps[i-1].State == Passed:
			steps[i].State, steps[i].Text = Running, ""
		default:
			steps[i].State, steps[i].Text = Waiting, ""
		}
	}
	return steps
}

func (f *fake) lessons() []LessonState {
	var out []LessonState
	for _, l := range f.World().Lessons {
		st := LessonState{ID: l.ID, Started: f.started[l.ID], Text: "Hosts and routers speak to their neighbors before they speak to the world.\n\nWatch who asks, who answers, and to which group.", Task: "Make it happen once, and find the packet.", Progress: "Not seen yet."}
		if l.ID == "renumbering" {
			st.Task = "Press Renumber, and wait until each host has a new address and prefers it."
			st.Passed = st.Started && f.renewed > 0
		}
		if l.ID == "split-tunnel" {
			st.Passed = f.now > 6*time.Second
		}
		out = append(out, st)
	}
	return out
}
