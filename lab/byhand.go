// SPDX-License-Identifier: MIT

package lab

import (
	"net/netip"

	"oasis6/lab/page"
)

// hostIface is the name of a host's only interface.
const hostIface = "eth0"

// ethernetMTU is what a wire carries at first.
const ethernetMTU = 1500

// configured is an address that somebody gave to a node.
type configured struct {
	wire   string
	prefix netip.Prefix
}

// byHand are the addresses of routers that are configured by hand, as build configures them; hosts tell their own.
func (w *World) byHand(node string) (out []configured) {
	for _, x := range []struct{ node, wire, prefix string }{
		{nodeR1, "lan-r1", r1LAN4}, {nodeR1, "wan", r1WAN4},
		{nodeNAT1, "wan", nat1In4}, {nodeNAT1, "nats", nat1Out4}, {nodeNAT2, "nats", nat2In4}, {nodeNAT2, "carrier", nat2Out4},
		{nodeInet, "carrier", inetNAT4}, {nodeInet, "r2-inet", inetR2}, {nodeInet, "www-inet", inetWWW4}, {nodeInet, "carrier-b", inetNATB4},
		{nodeR2, "r2-inet", r2Addr4}, {nodeR2, "r2-net6", r2Net6},
		{nodeNet6, "r2-net6", net6R2}, {nodeNet6, "www-net6", net6WWW}, {nodeNet6, "dns-net6", net6DNS}, {nodeNet6, "only-net6", net6Only}, {nodeNet6, "scan-net6", net6Scan},
		{nodeNATB, "carrier-b", natbOut4}, {nodeNATB, "wan-b", natbIn4}, {nodeR1B, "wan-b", r1bWAN4}, {nodeR1B, "lan-b", r1bLAN4},
		{nodeWWW, "www-inet", wwwAddr4},
	} {
		if x.node == node && w.wires[x.wire] != nil {
			out = append(out, configured{x.wire, netip.MustParsePrefix(x.prefix)})
		}
	}
	return out
}

// pipeOf is the id of a box's tunnel.
func pipeOf(box string) string { return "tunnel-" + box }

// paths are the wires of each box's tunnel, from the box to the hub.
func paths() map[string][]string {
	return map[string][]string{
		nodeR1:  {"wan", "nats", "carrier", "r2-inet"},
		nodeR1B: {"wan-b", "carrier-b", "r2-inet"},
	}
}

// lanHosts are the hosts that get their addresses from a box, in the order of the plan.
func (w *World) lanHosts() (names []string) {
	for _, n := range w.nodes {
		if n.Kind == page.Host && w.hosts[n.ID] != nil {
			names = append(names, n.ID)
		}
	}
	return names
}
