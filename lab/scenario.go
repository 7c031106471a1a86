// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"strings"

	"oasis6/lab/page"
)

// Names of scenarios that the code looks at.
const (
	scenarioDefault    = "split-tunnel"
	scenarioTwoSites   = "two-sites"
	scenarioDownstream = "downstream-router"
)

// scenario is a world and what happens in it.
type scenario struct {
	name  string
	title string
	about string
	parts []part
	steps func(*World) []step
}

// part of the plan that some scenarios have.
type part struct {
	nodes func() []page.Node
	links func() []link
}

var (
	secondSite = part{secondSiteNodes, secondSiteLinks}
	behindLAN  = part{behindLANNodes, behindLANLinks}
)

// plan is the whole plan.
func (s *scenario) plan() (nodes []page.Node, links []link) {
	nodes, links = basicNodes(), basicLinks()
	for _, p := range s.parts {
		nodes, links = append(nodes, p.nodes()...), append(links, p.links()...)
	}
	return nodes, links
}

// Listed is a scenario as a list shows it.
type Listed struct {
	Name  string
	Title string // of the page
	About string
	// Missing says what a scenario waits for that this version does not have; empty: it can be had.
	Missing string
}

// later are scenarios whose features are not there yet.
func later() []Listed {
	return []Listed{
		{"roam", "Roaming", "The box moves to another network.", "roaming of the box is not in this version"},
		{"udp-blocked", "UDP blocked", "An airport lets no UDP through.", "the TLS carrier is not in this version"},
		{"reboot-1970", "A clock of 1970", "A board boots without a clock.", "setting the clock is not in this version"},
		{"ipv6-only", "IPv6 only", "Hosts without IPv4.", "NAT64 is not in this version"},
	}
}

// Scenarios are all, those that can be had first.
func Scenarios() []Listed {
	var all []Listed
	for _, s := range scenarios() {
		all = append(all, Listed{Name: s.name, Title: s.title, About: s.about})
	}
	return append(all, later()...)
}

// findScenario finds one by name; empty is the first.
func findScenario(name string) (*scenario, error) {
	if name == "" {
		name = scenarioDefault
	}
	var names []string
	for _, s := range scenarios() {
		if s.name == name {
			return &s, nil
		}
		names = append(names, s.name)
	}
	for _, l := range later() {
		if l.Name == name {
			return nil, fmt.Errorf("scenario %s is not available: %s", l.Name, l.Missing)
		}
	}
	return nil, fmt.Errorf("no scenario %q: there are %s", name, strings.Join(names, ", "))
}

// scenarios are those that can be had.
func scenarios() []scenario {
	return []scenario{
		{scenarioDefault, "Split tunnel", "IPv4 stays on the NATs, IPv6 goes through the tunnel.", nil, splitTunnel},
		{scenarioTwoSites, "Two sites", "Two sites on one hub, which reach each other only if it allows that.", []part{secondSite}, twoSites},
		{scenarioDownstream, "A router behind the LAN", "A router behind the LAN gets a prefix of its own.", []part{behindLAN}, routerBehind},
		{"renumber", "Renumbering", "The provider gives another prefix while hosts work.", nil, renumbering},
		{"nat-rebind", "A NAT forgets", "A NAT on the way forgets its table.", nil, natRebind},
		{"tunnel-down", "The tunnel is down", "The tunnel dies, and comes back.", nil, tunnelDown},
		{"rogue-ra", "Rogue router", "Somebody else advertises on the LAN.", nil, rogueRouter},
		{"duplicate-address", "Duplicate address", "Two nodes want one address.", nil, duplicateAddress},
		{"mtu", "Path MTU", "The path carries less than before.", nil, pathShrinks},
		{"neighbour-scan", "A scan of the LAN", "Somebody scans the LAN from the Internet.", nil, neighbourScan},
	}
}
