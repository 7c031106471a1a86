// SPDX-License-Identifier: MIT

package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"oasis6/dataplane"
)

// tableName is the name of our one table, family ip6.
const tableName = "oasis6"

const (
	chainForward = "forward"
	chainInput   = "input"
	chainOutput  = "output"

	loopback = "lo"

	setDelegations = "delegations"
	setStale       = "stale"
	setLocal       = "local"
	setULA         = "ula"
	setInside      = "inside"  // delegations and local
	setOnLink      = "on_link" // of all LANs
	setBehind      = "behind_" // and the number of the LAN in Firewall.Sources
	setLANs        = "lans"
	setTransit     = "icmpv6_transit"
	setToUs        = "icmpv6_to_us"
)

// Codes of Destination Unreachable (RFC 4443 section 3.1).
const (
	icmpNoRoute         = 0
	icmpAdminProhibited = 1
	icmpPolicyFail      = 5 // source address failed ingress/egress policy
	icmpRejectRoute     = 6 // reject route to destination
)

// transitTypes pass in both directions: what RFC 4890 section 4.3.1 says must not be dropped, Packet
// Too Big above all. Neighbor Discovery is link-local and never forwarded.
func transitTypes() []byte {
	return []byte{
		1, 2, 3, 4, // Destination Unreachable, Packet Too Big, Time Exceeded, Parameter Problem
		128, 129, // Echo Request, Echo Reply
	}
}

// toUsTypes may come out of the tunnel for the box itself: the same, and RFC 4890 section 4.4.1's
// Neighbor Solicitation and Advertisement. Nobody there is our router by RA.
func toUsTypes() []byte { return append(transitTypes(), 135, 136) }

// ruleset is the table as plain data.
type ruleset struct {
	sets  []setDef
	rules []ruleDef
	sum   string // fingerprint; stands in the comment of every rule
	// checked are the prefixes in setChecked.
	checked []netip.Prefix
}

type setDef struct {
	name     string
	typ      nftables.SetDatatype
	interval bool
	concat   bool // ranges of more than one field
	dynamic  bool // packets fill it
	elems    []nftables.SetElement
	text     []string // the elements, for the fingerprint
}

type ruleDef struct {
	chain string
	text  string // as nft prints it
	why   string
	exprs []expr.Any
}

// comment is what `nft list table ip6 oasis6` shows behind the rule. It says whether the rule is the
// one that we made, and whether all are there.
func (rs *ruleset) comment(i int) string {
	return fmt.Sprintf("%d/%d %s %s", i+1, len(rs.rules), rs.sum, rs.rules[i].why)
}

// buildRuleset translates. A zero Firewall gives nil: no table.
func buildRuleset(fw dataplane.Firewall, routers []router) *ruleset {
	if fw.Tunnel == "" {
		return nil
	}
	var onLink []netip.Prefix
	for _, l := range fw.Sources {
		onLink = append(onLink, l.OnLink...)
	}
	rs := &ruleset{sets: []setDef{
		seenSet(), // first, where it also is when it is kept
		prefixSet(setDelegations, fw.Delegations),
		prefixSet(setStale, fw.Stale),
		prefixSet(setLocal, fw.Local),
		prefixSet(setInside, slices.Concat(fw.Delegations, fw.Local)),
		prefixSet(setOnLink, onLink),
		prefixSet(setULA, []netip.Prefix{netip.MustParsePrefix("fc00::/7")}),
		ifaceSet(setLANs, fw.LANs),
		typeSet(setTransit, transitTypes()),
		typeSet(setToUs, toUsTypes()),
	}}
	for i, l := range fw.Sources {
		rs.sets = append(rs.sets, prefixSet(setBehind+strconv.Itoa(i), slices.Concat(l.OnLink, l.Routed)))
	}
	rs.routers(routers)
	rs.forward(fw)
	rs.input(fw)
	rs.output(fw)
	return rs.sealed()
}

// sealed is the ruleset with its fingerprint, when all is in it.
func (rs *ruleset) sealed() *ruleset {
	h := sha256.New()
	for _, s := range rs.sets {
		fmt.Fprintf(h, "set %s %s\n", s.name, strings.Join(s.text, " "))
	}
	for _, r := range rs.rules {
		fmt.Fprintf(h, "rule %s %s # %s\n", r.chain, r.text, r.why)
	}
	rs.sum = hex.EncodeToString(h.Sum(nil)[:6])
	return rs
}

// forward judges only what touches the tunnel, or our prefixes. The source checks come before
// established flows: a flow that began in the tunnel must not go on around it when the tunnel dies.
func (rs *ruleset) forward(fw dataplane.Firewall) {
	t := fw.Tunnel
	add := func(why string, parts ...part) { rs.add(chainForward, why, parts...) }
	rs.refuse("stale, RFC 7084 L-14", policyFail(), iifIn(setLANs), from(setStale), oifNotIn(setLANs))
	// The route that brings the error to the host must not be a way in.
	add("to a stale prefix", iifNotIn(setLANs), to(setStale), drop())
	rs.sources(chainForward, fw)
	if len(rs.checked) > 0 {
		add("a router's own prefix would go back to it, RFC 8987", ofEther(to(setChecked)), byItsRouter(), rejectRoute())
	}
	if len(fw.Local) > 0 {
		add("local source from outside, RFC 7084 ULA-4", iifNotIn(setLANs), from(setLocal), drop())
		add("to a local prefix from outside, RFC 7084 ULA-4", iifNotIn(setLANs), to(setLocal), drop())
		add("local source, not outside, RFC 7084 ULA-4", oifNotIn(setLANs), from(setLocal), policyFail())
		add("to a local prefix, not outside, RFC 7084 ULA-4", oifNotIn(setLANs), to(setLocal), adminProhibited())
	}
	add("our own source from outside", iif(t), from(setDelegations), drop())
	rs.refuse("only by the tunnel, never around it", policyFail(), from(setDelegations), oifNotIn(setLANs), oifNot(t))
	add("not from a LAN", oif(t), iifNotIn(setLANs), drop())
	rs.refuse("source not ours, RFC 7084 S-2 and L-14", policyFail(), oif(t), fromNot(setDelegations))
	if fw.Dead {
		rs.refuse("the tunnel is dead", noRoute(), oif(t))
	}
	if fw.NoULA {
		add("ULA into the tunnel, RFC 7084 ULA-4", oif(t), to(setULA), adminProhibited())
		add("ULA out of the tunnel, RFC 7084 ULA-4", iif(t), from(setULA), drop())
	}
	add("to the LAN around the tunnel", iifNotIn(setLANs), iifNot(t), to(setDelegations), drop())
	add("seen", iifIn(setLANs), newFlow(), from(setOnLink), updateSeen())
	add("no transit", iif(t), oifNotIn(setLANs), drop())
	add("answers", iif(t), established(), accept())
	// Only what would pass takes of the tokens: a scan of TCP ports through a closed firewall needs none.
	limited := []part{iif(t)}
	if !fw.Open {
		limited = append(limited, icmpType(setTransit))
	}
	add(whyLimited, append(limited, to(setOnLink), toNot(setSeen), limit(neighborRate, neighborBurst, true), drop())...)
	add("RFC 4890", iif(t), icmpType(setTransit), accept())
	if !fw.Open {
		add("unsolicited", iif(t), drop())
	}
}

// Errors that leave as such in any case: what one host gets of them within a second is limited by the kernel to about as
// many (net.ipv6.icmp.ratelimit; RFC 4443 section 2.4 f wants a limit).
const (
	errorRate  = 4 // a second
	errorBurst = 6
)

// refuse answers with an error, so that a connection ends at once instead of hanging. A host with many connections gets fewer
// errors than it has tries; what the kernel would owe it is a reset of the connection.
func (rs *ruleset) refuse(why string, answer part, parts ...part) {
	parts = parts[:len(parts):len(parts)]
	rs.add(chainForward, why, append(parts, limit(errorRate, errorBurst, false), answer)...)
	rs.add(chainForward, why+", more than there may be errors", append(parts, tcp(), tcpReset())...)
	rs.add(chainForward, why+", not TCP", append(parts, answer)...)
}

// sources keeps each LAN to its own prefixes. There is no ICMPv6 error: it would go to whose address it is, not to who
// has forged it.
func (rs *ruleset) sources(chain string, fw dataplane.Firewall) {
	for i, l := range fw.Sources {
		rs.add(chain, "another's source, RFC 7084 S-2", iif(l.Iface), from(setInside), fromNot(setBehind+strconv.Itoa(i)), drop())
	}
	if len(rs.checked) > 0 {
		rs.add(chain, "a router's source by another node, RFC 8987", ofEther(from(setChecked)), notByItsRouter(), drop())
	}
}

// Router Solicitations of all hosts together that reach the kernel: each one with a link-layer address makes an entry in its
// neighbor table, and a flood of them pushes the hosts out that are there. A floor of a school that wakes up at once is let
// through. Each LAN has its own measure, so that a flood on one of them is no other's. A host that comes in the middle of one on
// its own LAN hears the multicast that its port's carrier or somebody's solicitation brings, or else the periodic one.
const (
	solicitRate  = 64 // a second
	solicitBurst = 256
)

// input keeps the box's own services closed to the tunnel (RFC 6092 REC-50).
func (rs *ruleset) input(fw dataplane.Firewall) {
	t := fw.Tunnel
	add := func(why string, parts ...part) { rs.add(chainInput, why, parts...) }
	add("our own source from outside", iif(t), from(setInside), drop())
	add("a LAN's source by another way, forged", iifNotIn(setLANs), iifNot(t), iifNot(loopback), from(setInside), drop())
	if len(fw.Local) > 0 {
		add("to a local prefix from outside, RFC 7084 ULA-4", iifNotIn(setLANs), iifNot(loopback), to(setLocal), drop())
	}
	rs.sources(chainInput, fw)
	add("not of this link", iifIn(setLANs), routerSolicitation(), routed(), drop())
	for _, lan := range fw.LANs {
		add("too many solicitations", iif(lan), routerSolicitation(), limit(solicitRate, solicitBurst, true), drop())
	}
	add("answers", iif(t), established(), accept())
	add("RFC 4890", iif(t), icmpType(setToUs), accept())
	add("no services outside", iif(t), drop())
}

// output holds the box itself to what forward holds the LANs to, also while there is no tunnel.
func (rs *ruleset) output(fw dataplane.Firewall) {
	add := func(why string, parts ...part) { rs.add(chainOutput, why, parts...) }
	add("own, only by the tunnel, never around it",
		from(setDelegations), oifNotIn(setLANs), oifNot(fw.Tunnel), oifNot(loopback), policyFail())
	if len(fw.Local) > 0 {
		add("own local source, not outside, RFC 7084 ULA-4", oifNotIn(setLANs), oifNot(loopback), from(setLocal), policyFail())
		add("to a local prefix, not outside, RFC 7084 ULA-4", oifNotIn(setLANs), oifNot(loopback), to(setLocal), adminProhibited())
	}
}

func (rs *ruleset) add(chain, why string, parts ...part) {
	r := ruleDef{chain: chain, why: why}
	var words []string
	for _, p := range parts {
		words = append(words, p.text)
		r.exprs = append(r.exprs, p.exprs...)
	}
	r.text = strings.Join(words, " ")
	rs.rules = append(rs.rules, r)
}
