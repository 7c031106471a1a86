// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

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
	setLANs        = "lans"
	setTransit     = "icmpv6_transit"
	setToUs        = "icmpv6_to_us"
)

// icmpPolicyFail is "source address failed ingress/egress policy" (RFC 4443 section 3.1, code 5).
const icmpPolicyFail = 5

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
}

type setDef struct {
	name     string
	typ      nftables.SetDatatype
	interval bool
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
func buildRuleset(fw dataplane.Firewall) *ruleset {
	if fw.Tunnel == "" {
		return nil
	}
	rs := &ruleset{sets: []setDef{
		prefixSet(setDelegations, fw.Delegations),
		prefixSet(setStale, fw.Stale),
		ifaceSet(setLANs, fw.LANs),
		typeSet(setTransit, transitTypes()),
		typeSet(setToUs, toUsTypes()),
	}}
	rs.forward(fw)
	rs.input(fw)
	rs.output(fw)
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
	add("stale, RFC 7084 L-14", iifIn(setLANs), from(setStale), oifNotIn(setLANs), policyFail())
	// The route that brings the error to the host must not be a way in.
	add("to a stale prefix", iifNotIn(setLANs), to(setStale), drop())
	add("our own source from outside", iif(t), from(setDelegations), drop())
	add("only by the tunnel, never around it", from(setDelegations), oifNotIn(setLANs), oifNot(t), policyFail())
	add("not from a LAN", oif(t), iifNotIn(setLANs), drop())
	add("source not ours, RFC 7084 S-2 and L-14", oif(t), fromNot(setDelegations), policyFail())
	add("to the LAN around the tunnel", iifNotIn(setLANs), iifNot(t), to(setDelegations), drop())
	add("no transit", iif(t), oifNotIn(setLANs), drop())
	add("RFC 4890", iif(t), icmpType(setTransit), accept())
	add("answers", iif(t), established(), accept())
	if !fw.Open {
		add("unsolicited", iif(t), drop())
	}
}

// input keeps the box's own services closed to the tunnel (RFC 6092 REC-50).
func (rs *ruleset) input(fw dataplane.Firewall) {
	t := fw.Tunnel
	add := func(why string, parts ...part) { rs.add(chainInput, why, parts...) }
	add("our own source from outside", iif(t), from(setDelegations), drop())
	add("a LAN's source by another way, forged", iifNotIn(setLANs), iifNot(t), iifNot(loopback), from(setDelegations), drop())
	add("answers", iif(t), established(), accept())
	add("RFC 4890", iif(t), icmpType(setToUs), accept())
	add("no services outside", iif(t), drop())
}

// output holds the box itself to what forward holds the LANs to, also while there is no tunnel.
func (rs *ruleset) output(fw dataplane.Firewall) {
	rs.add(chainOutput, "own, only by the tunnel, never around it",
		from(setDelegations), oifNotIn(setLANs), oifNot(fw.Tunnel), oifNot(loopback), policyFail())
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

// part is one condition or verdict of a rule.
type part struct {
	text  string
	exprs []expr.Any
}

const reg = unix.NFT_REG_1

func metaName(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: reg},
		&expr.Cmp{Op: op, Register: reg, Data: ifaceKey(name)},
	}
}

func metaIn(key expr.MetaKey, set string, not bool) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: reg},
		&expr.Lookup{SourceRegister: reg, SetName: set, Invert: not},
	}
}

func iif(name string) part {
	return part{fmt.Sprintf("iifname %q", name), metaName(expr.MetaKeyIIFNAME, expr.CmpOpEq, name)}
}

func iifNot(name string) part {
	return part{fmt.Sprintf("iifname != %q", name), metaName(expr.MetaKeyIIFNAME, expr.CmpOpNeq, name)}
}

func oif(name string) part {
	return part{fmt.Sprintf("oifname %q", name), metaName(expr.MetaKeyOIFNAME, expr.CmpOpEq, name)}
}

func oifNot(name string) part {
	return part{fmt.Sprintf("oifname != %q", name), metaName(expr.MetaKeyOIFNAME, expr.CmpOpNeq, name)}
}

func iifIn(set string) part {
	return part{"iifname @" + set, metaIn(expr.MetaKeyIIFNAME, set, false)}
}

func iifNotIn(set string) part {
	return part{"iifname != @" + set, metaIn(expr.MetaKeyIIFNAME, set, true)}
}

func oifNotIn(set string) part {
	return part{"oifname != @" + set, metaIn(expr.MetaKeyOIFNAME, set, true)}
}

// Offsets of the addresses in the IPv6 header.
const (
	offsetSource      = 8
	offsetDestination = 24
)

func address(offset uint32, set string, not bool) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 16},
		&expr.Lookup{SourceRegister: reg, SetName: set, Invert: not},
	}
}

func from(set string) part    { return part{"ip6 saddr @" + set, address(offsetSource, set, false)} }
func fromNot(set string) part { return part{"ip6 saddr != @" + set, address(offsetSource, set, true)} }
func to(set string) part      { return part{"ip6 daddr @" + set, address(offsetDestination, set, false)} }

func icmpType(set string) part {
	return part{"icmpv6 type @" + set, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Lookup{SourceRegister: reg, SetName: set},
	}}
}

func established() part {
	bits := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return part{"ct state established,related", []expr.Any{
		&expr.Ct{Register: reg, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: bits, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}}
}

func accept() part {
	return part{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}

func drop() part {
	return part{"counter drop", []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}}
}

func policyFail() part {
	return part{"counter reject with icmpv6 policy-fail", []expr.Any{
		&expr.Counter{},
		&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: icmpPolicyFail},
	}}
}

func ifaceKey(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b[:unix.IFNAMSIZ-1], name)
	return b
}

func ifaceSet(name string, ifaces []string) setDef {
	s := setDef{name: name, typ: nftables.TypeIFName}
	s.text = slices.Compact(slices.Sorted(slices.Values(ifaces)))
	for _, i := range s.text {
		s.elems = append(s.elems, nftables.SetElement{Key: ifaceKey(i)})
	}
	return s
}

func typeSet(name string, types []byte) setDef {
	s := setDef{name: name, typ: nftables.TypeICMP6Type}
	for _, t := range types {
		s.text = append(s.text, fmt.Sprint(t))
		s.elems = append(s.elems, nftables.SetElement{Key: []byte{t}})
	}
	return s
}

// prefixSet leaves out prefixes inside others: an interval set takes no overlaps.
func prefixSet(name string, prefixes []netip.Prefix) setDef {
	s := setDef{name: name, typ: nftables.TypeIP6Addr, interval: true}
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is6() && !p.Addr().Is4In6() {
			sorted = append(sorted, p.Masked())
		}
	}
	sort.Slice(sorted, func(i, j int) bool {
		if c := sorted[i].Addr().Compare(sorted[j].Addr()); c != 0 {
			return c < 0
		}
		return sorted[i].Bits() < sorted[j].Bits()
	})
	var last netip.Prefix
	for _, p := range sorted {
		if last.IsValid() && last.Contains(p.Addr()) {
			continue
		}
		s.text = append(s.text, p.String())
		first, end := p.Addr().As16(), lastAddr(p).Next()
		if last.IsValid() && p.Addr() == lastAddr(last).Next() {
			s.elems = s.elems[:len(s.elems)-1] // next to the one before: one interval
		} else {
			s.elems = append(s.elems, nftables.SetElement{Key: first[:]})
		}
		if end.IsValid() { // else it reaches the last address of all
			e := end.As16()
			s.elems = append(s.elems, nftables.SetElement{Key: e[:], IntervalEnd: true})
		}
		last = p
	}
	return s
}

// lastAddr is the highest address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As16()
	for i := p.Bits(); i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// sameElems says whether a set holds what it should, in any order.
func sameElems(a, b []nftables.SetElement) bool {
	order := func(in []nftables.SetElement) []nftables.SetElement {
		out := slices.Clone(in)
		sort.Slice(out, func(i, j int) bool {
			if c := bytes.Compare(out[i].Key, out[j].Key); c != 0 {
				return c < 0
			}
			return out[i].IntervalEnd && !out[j].IntervalEnd
		})
		return out
	}
	return slices.EqualFunc(order(a), order(b), func(x, y nftables.SetElement) bool {
		return bytes.Equal(x.Key, y.Key) && x.IntervalEnd == y.IntervalEnd
	})
}
