// SPDX-License-Identifier: MIT

package forward

import (
	"oasis6/dataplane"
)

// hubRules is dataplane.HubFirewall, compiled.
type hubRules struct {
	pools, taken     spans
	siteToSite, open bool
}

func newHubRules(want dataplane.Desired, named map[string]*iface) *hubRules {
	if i := named[want.Hub.Tunnel]; i != nil {
		i.tunnel = true
	}
	for _, p := range want.Proxy {
		if i := named[p.Iface]; i != nil {
			i.proxy = true
		}
	}
	h := want.Hub
	return &hubRules{pools: setOf(h.Pools), taken: setOf(h.Taken), siteToSite: h.SiteToSite, open: h.Open}
}

// ofLink are what the nodes of an on-link prefix must be able to send with an address of it: errors, and solicitations and
// advertisements of neighbors. Whoever forges an error can do it with any source.
func (h *hubRules) ofLink(c *crossing) bool {
	if !c.in.proxy || c.proto != protoICMPv6 || c.part == laterPart || !h.pools.has(c.src) {
		return false
	}
	return c.kind >= typeUnreachable && c.kind <= typeParamProblem || c.kind == typeNeighborSolicit || c.kind == typeNeighborAdvert
}

// forward judges what comes out of the tunnel or goes into it, and what claims to be of a site (dataplane/kernel,
// hubrules.go). Here the sites are the inside, so that what they begin is let back to them.
func (h *hubRules) forward(c *crossing) ruling {
	ofPools, taken := h.pools.has(c.src), h.taken.has(c.src)
	switch {
	case c.proto == protoICMPv6 && c.kind >= typeRouterSolicit && c.kind <= typeRedirect:
		return ruling{drop, 0, NeighborDiscovery}
	case h.ofLink(c):
		return ruling{}
	case !c.in.tunnel && ofPools && !taken:
		return ruling{drop, 0, ForgedSite}
	case c.in.tunnel && !ofPools:
		return ruling{drop, 0, NoSite}
	case c.in.tunnel && taken:
		return ruling{drop, 0, NotOfASite}
	case c.in.tunnel && c.out.tunnel && h.siteToSite:
		return ruling{}
	case c.in.tunnel && c.out.tunnel:
		return ruling{refuse, codeAdminProhibited, SiteToSite}
	case h.open:
		return ruling{}
	case c.in.tunnel:
		c.f.flows.outbound(c.now, &c.packet)
	case c.out.tunnel && !c.f.flows.inbound(c.now, &c.packet):
		if !c.transit() {
			return ruling{drop, 0, Unsolicited}
		}
		c.f.flows.passed(c.now, &c.packet)
	}
	return ruling{}
}

// input leaves the hub's own services to its operator, but believes no forged site.
func (h *hubRules) input(c *crossing) ruling {
	if !c.in.tunnel && h.pools.has(c.src) && !h.taken.has(c.src) && !h.ofLink(c) {
		return ruling{drop, 0, ForgedSite}
	}
	return ruling{}
}
