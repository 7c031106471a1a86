// SPDX-License-Identifier: MIT

package forward

import (
	"net/netip"

	"oasis6/dataplane"
)

// Codes of Destination Unreachable (RFC 4443 section 3.1).
const (
	codeNoRoute         = 0
	codeAdminProhibited = 1
	codeBeyondScope     = 2
	codeAddress         = 3
	codePolicyFail      = 5
	codeRejectRoute     = 6
)

// fate is what a rule does with a packet.
type fate uint8

const (
	pass fate = iota
	drop
	// answer with Destination Unreachable.
	answer
	// refuse with an error so that a connection ends at once instead of hanging: with a reset of TCP where there were too
	// many errors.
	refuse
)

// ruling is the verdict of the firewall.
type ruling struct {
	fate   fate
	code   uint8
	reason Reason
}

// boxRules is dataplane.Firewall, compiled.
type boxRules struct {
	delegations, stale, local, inside, onLink spans
	noULA, dead, open                         bool
}

func newBoxRules(fw dataplane.Firewall, named map[string]*iface) *boxRules {
	b := &boxRules{
		delegations: setOf(fw.Delegations), stale: setOf(fw.Stale), local: setOf(fw.Local), inside: setOf(fw.Delegations, fw.Local),
		noULA: fw.NoULA, dead: fw.Dead, open: fw.Open,
	}
	for _, name := range fw.LANs {
		if i := named[name]; i != nil {
			i.lan = true
		}
	}
	if i := named[fw.Tunnel]; i != nil {
		i.tunnel, i.lan = true, false
	}
	var all []netip.Prefix
	onLink := map[*iface][]netip.Prefix{}
	for _, s := range fw.Sources {
		all = append(all, s.OnLink...)
		if i := named[s.Iface]; i != nil {
			i.behind = append(i.behind, setOf(s.OnLink, s.Routed))
			onLink[i] = append(onLink[i], s.OnLink...)
		}
	}
	b.onLink = setOf(all)
	for i, list := range onLink {
		i.onLink = setOf(list)
	}
	return b
}

// forward judges a packet as chain forward of table ip6 oasis6 does, in the same order (dataplane/kernel, ruleset.go). The
// checks of sources come before established flows: a flow that began in the tunnel must not go on around it when the
// tunnel dies.
func (b *boxRules) forward(c *crossing) ruling {
	if r := b.sources(c); r.fate != pass {
		return r
	}
	if r := b.border(c); r.fate != pass {
		return r
	}
	if r := b.tunnel(c); r.fate != pass {
		return r
	}
	return b.flow(c)
}

// sources are the rules about who may use which address.
func (b *boxRules) sources(c *crossing) ruling {
	switch {
	case c.in.lan && !c.out.lan && b.stale.has(c.src):
		return ruling{refuse, codePolicyFail, Stale}
	case !c.in.lan && b.stale.has(c.dst): // the route that brings the error to the host must not be a way in
		return ruling{drop, 0, ToStale}
	}
	if r := b.behind(c); r.fate != pass {
		return r
	}
	if c.in.ether && c.state.routed.has(c.dst) {
		if _, its := c.state.routerOf(c.dst, c.mac); its {
			return ruling{answer, codeRejectRoute, BackToRouter}
		}
	}
	return ruling{}
}

// behind keeps each LAN to its own prefixes, and the prefix of a router to its MAC. There is no ICMPv6 error: it would go
// to whose address it is, not to who has forged it.
func (b *boxRules) behind(c *crossing) ruling {
	if len(c.in.behind) > 0 && b.inside.has(c.src) {
		for _, s := range c.in.behind {
			if !s.has(c.src) {
				return ruling{drop, 0, AnothersSource}
			}
		}
	}
	if c.in.ether && c.state.routed.has(c.src) {
		if known, its := c.state.routerOf(c.src, c.mac); known && !its {
			return ruling{drop, 0, AnothersRouter}
		}
	}
	return ruling{}
}

// border keeps local addresses in the site (RFC 7084 ULA-4).
func (b *boxRules) border(c *crossing) ruling {
	if len(b.local) == 0 {
		return ruling{}
	}
	src, dst := b.local.has(c.src), b.local.has(c.dst)
	switch {
	case src && !c.in.lan:
		return ruling{drop, 0, LocalFromOutside}
	case dst && !c.in.lan:
		return ruling{drop, 0, ToLocalFromOutside}
	case src && !c.out.lan:
		return ruling{answer, codePolicyFail, LocalNotOutside}
	case dst && !c.out.lan:
		return ruling{answer, codeAdminProhibited, ToLocalNotOutside}
	}
	return ruling{}
}

// tunnel are the rules about what goes by it, and around it.
func (b *boxRules) tunnel(c *crossing) ruling {
	ours := b.delegations.has(c.src)
	switch {
	case c.in.tunnel && ours:
		return ruling{drop, 0, OursFromOutside}
	case ours && !c.out.lan && !c.out.tunnel:
		return ruling{refuse, codePolicyFail, AroundTheTunnel}
	case c.out.tunnel && !c.in.lan:
		return ruling{drop, 0, NotFromLAN}
	case c.out.tunnel && !ours:
		return ruling{refuse, codePolicyFail, SourceNotOurs}
	case c.out.tunnel && b.dead:
		return ruling{refuse, codeNoRoute, TunnelDead}
	case c.out.tunnel && b.noULA && c.dst.ula():
		return ruling{answer, codeAdminProhibited, ULAIntoTunnel}
	case c.in.tunnel && b.noULA && c.src.ula():
		return ruling{drop, 0, ULAOutOfTunnel}
	case !c.in.lan && !c.in.tunnel && b.delegations.has(c.dst):
		return ruling{drop, 0, ToLANAroundTunnel}
	case c.in.tunnel && !c.out.lan:
		return ruling{drop, 0, NoTransit}
	}
	return ruling{}
}

// flow lets out and notes it, and lets in what belongs to what went out.
func (b *boxRules) flow(c *crossing) ruling {
	if !c.in.tunnel {
		if b.scans(c) {
			return ruling{drop, 0, ScanFromLAN}
		}
		begun := b.open || !c.out.tunnel || c.f.flows.outbound(c.now, &c.packet)
		if begun && c.in.lan && b.onLink.has(c.src) {
			c.f.seen.note(c.now, c.src, seenSource)
		}
		return ruling{}
	}
	transit := c.transit()
	if !b.open {
		if c.f.flows.inbound(c.now, &c.packet) {
			return ruling{}
		}
		if !transit {
			return ruling{drop, 0, Unsolicited}
		}
	}
	// Only what would pass takes of the tokens: a scan of TCP ports through a closed firewall needs none.
	if b.onLink.has(c.dst) && !c.f.seen.has(c.now, c.dst) && !c.f.limits.neighbor(c.now) {
		return ruling{drop, 0, NobodySeen}
	}
	if transit && !b.open {
		c.f.flows.passed(c.now, &c.packet)
	}
	return ruling{}
}

// scans says whether a packet from a LAN is one more for a neighbor that nobody has seen.
func (b *boxRules) scans(c *crossing) bool {
	return c.in.lan && c.out.lan && b.onLink.has(c.dst) && !c.f.seen.has(c.now, c.dst) && !c.f.limits.scan(c.now, c.mac)
}

// transit are the types that pass in both directions (RFC 4890 section 4.3.1), Packet Too Big above all.
func (p *packet) transit() bool {
	switch {
	case p.proto != protoICMPv6 || p.part == laterPart:
		return false
	case p.kind >= typeUnreachable && p.kind <= typeParamProblem:
		return true
	}
	return p.kind == typeEchoRequest || p.kind == typeEchoReply
}

// input judges a packet to this machine as chain input does. It keeps the box's own services closed to the tunnel
// (RFC 6092 REC-50).
func (b *boxRules) input(c *crossing) ruling {
	outside := !c.in.lan && !c.in.tunnel
	switch {
	case c.in.tunnel && b.inside.has(c.src):
		return ruling{drop, 0, OursFromOutside}
	case outside && b.inside.has(c.src):
		return ruling{drop, 0, Forged}
	case !c.in.lan && b.local.has(c.dst):
		return ruling{drop, 0, ToLocalFromOutside}
	}
	if r := b.behind(c); r.fate != pass {
		return r
	}
	if c.in.lan && c.proto == protoICMPv6 && c.kind == typeRouterSolicit {
		if c.data[offHopLimit] != 255 { // RFC 4861 section 6.1.1
			return ruling{drop, 0, NotOfThisLink}
		}
		if !c.f.limits.solicit(c.now, c.in.index) {
			return ruling{drop, 0, TooManySolicits}
		}
	}
	switch {
	case !c.in.tunnel, c.f.flows.inbound(c.now, &c.packet):
		return ruling{}
	case c.transit():
		c.f.flows.passed(c.now, &c.packet)
		return ruling{}
	case c.proto == protoICMPv6 && (c.kind == typeNeighborSolicit || c.kind == typeNeighborAdvert):
		return ruling{} // RFC 4890 section 4.4.1; nobody there is our router by RA
	}
	return ruling{drop, 0, NoServiceOutside}
}

// output holds the box itself to what forward holds the LANs to.
func (b *boxRules) output(out *iface, src, dst u128) ruling {
	switch {
	case out.lan:
	case !out.tunnel && b.delegations.has(src):
		return ruling{answer, codePolicyFail, AroundTheTunnel}
	case b.local.has(src):
		return ruling{answer, codePolicyFail, LocalNotOutside}
	case b.local.has(dst):
		return ruling{answer, codeAdminProhibited, ToLocalNotOutside}
	}
	return ruling{}
}
