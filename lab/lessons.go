// SPDX-License-Identifier: MIT

package lab

// lessons are one for each thing that the articles teach, in the order in which a class takes them. One on
// IPv6 alone needs NAT64.
func lessons() []lesson {
	return []lesson{
		{
			id: "split-tunnel", title: "Split tunnel", article: "Wireguard IPv6 VPN", begin: judgeSplit,
			text: `Behind a NAT there is IPv4 and nothing else. A tunnel brings IPv6, and only that: IPv4 packets go on as before, through the NATs, and do not even know that the tunnel is there.

So each packet has one of two ways out, and the host decides which by the address it talks to. The box needs no rule for that: IPv4 and IPv6 have routing tables of their own.`,
			task: "Let a host ping www by IPv6, then by IPv4. Click both packets in the list and follow them: which one is inside a WireGuard message, and at which nodes is the source of the IPv4 packet changed?",
		},
		{
			id: "address-plan", title: "An address plan", article: "Wireguard IPv6 VPN: Address Planning", begin: judgePlan,
			text: `A provider gives a /48. The hub takes a /56 of it as its pool, and gives each site a /64 out of the pool, or more to one with routers behind its LAN. The last 64 bits of each address the host fills in itself.

Every boundary is a route: the Internet knows only the /48, the hub knows who has which /64, and the box knows its LAN. A plan with round boundaries can be read in the addresses.`,
			task: "Open a host, then press Renumber: the hub changes to its other /56. Compare old and new address, digit by digit, with the address plan. Which digits have changed? Wait until every host prefers a new address.",
		},
		{
			id: "prefix-delegation", title: "Prefix delegation", article: "Wireguard IPv6 VPN: Setting up DHCPv6-PD", begin: judgeDelegation,
			text: `The box does not make up its LAN's prefix, it asks for one: DHCPv6, in the tunnel. The hub answers with a prefix and two lifetimes, and puts a route to it into its own table. This is the return route without which no answer would come back.

Nobody configures a prefix at the box: when the prefix changes, so do the LAN's addresses, by themselves.`,
			task: "Reboot the box. Find the message with which it asks inside the tunnel, the Reply of the hub with the prefix (IA_PD) in it, and the Router Advertisement that carries the prefix on to the LAN.",
		},
		{
			id: "slaac", title: "SLAAC and Router Advertisements", article: "Hi Neighbour!", begin: judgeSLAAC,
			text: `A host needs no server for an address. It asks the link whether there are routers (Router Solicitation, to ff02::2), a router says which prefix this link has (Router Advertisement, to ff02::1), and the host fills in the other half.

The same message carries the default route, DNS servers, search domains, and the MTU. All but the MTU have a lifetime that runs down until the next advertisement.`,
			task: "Pull a host's cable and plug it in again. Find its Router Solicitation, the answer to it, and the Neighbor Solicitation with which it looks whether its new address is free.",
		},
		{
			id: "dad", title: "Duplicate Address Detection", article: "Hi Neighbour!", begin: judgeDAD,
			text: `Nobody gives addresses out, so two nodes could take the same, cloned machines above all. Before a host uses an address it asks for it, as anybody would who looks for a neighbor, but with the unspecified address :: as its source. Whoever has it already answers, and then the host keeps its hands off.

The question goes to a group that hardly anybody else is in, made of the address's last 24 bits: unlike ARP's broadcast, it disturbs no one.`,
			task: "Press Duplicate address. Find the question with source ::, the answer of the clone, and what the host does then: open it while it happens.",
		},
		{
			id: "redirect", title: "Redirect", article: "Hi Neighbour!", begin: judgeRedirect, scenario: scenarioDownstream,
			text: `A host sends everything that is not on its link to its default router, even what another router on the same link would bring there sooner. The first router passes the packet on, back out by the interface on which it came, and tells the host: for this destination, the better first hop is that one (Redirect).

The better hop is named by its link-local address. That is why no two routers on a link may share one.`,
			task: "Let h2 ping h3, which is behind r3, and look at the first packet: it goes to the box. Find the Redirect. Then ping once more and see to which MAC address h2 sends now.",
		},
		{
			id: "link-local", title: "Link-local to the rescue", article: "Link-Local Address to the rescue", begin: judgeLinkLocal,
			text: `Every interface has an address in fe80::/10, from the first moment on and whatever happens to the Internet. It leads no further than the link, and that is its strength: routers are default gateways by it, so a new prefix changes no route, and it works when everything else is gone.

Because the same prefix is on each link, the sender has to say which link it means: that is the zone behind the percent sign.`,
			task: "Cut the tunnel and wait until the hosts have no default route of IPv6 (let time run faster). Then let a host ping the box by its link-local address: the box can still be reached, to repair it.",
		},
		{
			id: "neighbour-limits", title: "Neighbors have limits", article: "What makes a good IPv6 implementation?", begin: judgeLimits,
			text: `A /64 has room for 18 quintillion hosts. Somebody on the Internet who sends a packet to address after address makes the router look for a neighbor each time, and each unanswered question takes a place in a table.

A router that keeps a place for each question is full soon, and then does not find its real hosts either. So a good one bounds the questions: who is known keeps getting packets, unknown ones get a few questions a second.`,
			task: "Press Scan the /64. While it runs, let a host ping www by IPv6: it is answered. Look at the LAN: how many Neighbor Solicitations does the box send, of ten thousand?",
		},
		{
			id: "route-flapping", title: "Route flapping", article: "Babel: a routing protocol with wireless support", begin: judgeFlapping,
			text: `A route that comes and goes with every short disturbance does more harm than the disturbance: all who follow it change their minds all the time, and packets are lost while they do.

The remedy is patience in one direction. The box does not tell hosts that it is no router as soon as a packet is missing, only when the hub has been silent for longer than WireGuard itself takes to try again; when the way is back it says so at once.`,
			task: "Cut the tunnel and press again at once, within 10 seconds of the clock above; do so three times. The hosts must not lose their default route. Then let a host ping www by IPv6: all is as before.",
		},
	}
}
