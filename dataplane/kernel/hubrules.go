// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"oasis6/dataplane"
)

const (
	setPools   = "pools"
	setTaken   = "taken"
	setProxies = "proxies" // interfaces on whose link the prefixes of sites are
	setND      = "icmpv6_nd"
	setOfLink  = "icmpv6_of_link"
)

// ndTypes are those of Neighbor Discovery (RFC 4861 section 4). They never leave their link.
func ndTypes() []byte { return []byte{133, 134, 135, 136, 137} }

// ofLinkTypes are what the nodes of an on-link prefix must be able to send with an address of it: errors, and
// solicitations and advertisements of neighbors (RFC 4890 section 4.3.1 and 4.4.1). Whoever forges an error can do it with
// any source.
func ofLinkTypes() []byte { return []byte{1, 2, 3, 4, 135, 136} }

// hubInBuild says that Desired can be made.
func hubInBuild(dataplane.Desired) error { return nil }

// hubRuleset is the table of a hub. A zero HubFirewall gives nil: no table.
func hubRuleset(h dataplane.HubFirewall, proxies []dataplane.NDProxy) *ruleset {
	if h.Tunnel == "" {
		return nil
	}
	var links []string
	for _, p := range proxies {
		links = append(links, p.Iface)
	}
	rs := &ruleset{sets: []setDef{
		prefixSet(setPools, h.Pools),
		prefixSet(setTaken, h.Taken),
		ifaceSet(setProxies, links),
		typeSet(setND, ndTypes()),
		typeSet(setOfLink, ofLinkTypes()),
		typeSet(setTransit, transitTypes()),
	}}
	rs.hubForward(h)
	rs.add(chainInput, "of an on-link prefix", iifIn(setProxies), from(setPools), icmpType(setOfLink), accept())
	rs.add(chainInput, "a site's source by another way, forged", iifNot(h.Tunnel), iifNot(loopback), from(setPools), fromNot(setTaken), drop())
	return rs.sealed()
}

// hubForward judges what comes out of the tunnel or goes into it, and what claims to be of a site. The checks of sources
// come first, so that no flow that has begun gets around them. Open does without connection tracking: its table is finite.
func (rs *ruleset) hubForward(h dataplane.HubFirewall) {
	t := h.Tunnel
	add := func(why string, parts ...part) { rs.add(chainForward, why, parts...) }
	add("neighbor discovery ends at its link", icmpType(setND), drop())
	add("of an on-link prefix", iifIn(setProxies), from(setPools), icmpType(setOfLink), accept())
	add("a site's source by another way, forged", iifNot(t), from(setPools), fromNot(setTaken), drop())
	add("source of no site", iif(t), fromNot(setPools), drop())
	add("source that no site has", iif(t), from(setTaken), drop())
	if h.SiteToSite {
		add("site to site", iif(t), oif(t), accept())
	} else {
		rs.refuse("site to site", adminProhibited(), iif(t), oif(t))
	}
	if !h.Open {
		add("answers", oif(t), established(), accept())
		add("RFC 4890", oif(t), icmpType(setTransit), accept())
		add("unsolicited", oif(t), drop())
	}
}
