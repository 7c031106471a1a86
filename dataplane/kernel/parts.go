// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

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

func toNot(set string) part {
	return part{"ip6 daddr != @" + set, address(offsetDestination, set, true)}
}

func icmpType(set string) part {
	return part{"icmpv6 type @" + set, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Lookup{SourceRegister: reg, SetName: set},
	}}
}

func ctState(text string, state uint32) part {
	bits := binaryutil.NativeEndian.PutUint32(state)
	return part{"ct state " + text, []expr.Any{
		&expr.Ct{Register: reg, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: bits, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, 4)},
	}}
}

func routerSolicitation() part {
	return part{"icmpv6 type nd-router-solicit", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_ICMPV6}},
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{ndRS}},
	}}
}

// routed matches what has come through a router: its hop limit is not 255 any more (RFC 4861 section 6.1.1).
func routed() part {
	return part{"ip6 hoplimit != 255", []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 7, Len: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: []byte{ndHopLimit}},
	}}
}

func noRoute() part { return reject("no-route", icmpNoRoute) }

func tcp() part {
	return part{"meta l4proto tcp", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{unix.IPPROTO_TCP}},
	}}
}

// limit matches up to rate packets a second, or with over what is more.
func limit(rate uint64, burst uint32, over bool) part {
	word := ""
	if over {
		word = "over "
	}
	return part{fmt.Sprintf("limit rate %s%d/second burst %d packets", word, rate, burst), []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTimeSecond, Burst: burst, Over: over},
	}}
}

func tcpReset() part {
	return part{"counter reject with tcp reset", []expr.Any{&expr.Counter{}, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

func established() part {
	return ctState("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

func newFlow() part { return ctState("new", expr.CtStateBitNEW) }

func accept() part {
	return part{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}}
}

func drop() part {
	return part{"counter drop", []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}}
}

func reject(text string, code uint8) part {
	return part{"counter reject with icmpv6 " + text, []expr.Any{
		&expr.Counter{},
		&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code},
	}}
}

func policyFail() part { return reject("policy-fail", icmpPolicyFail) }

func rejectRoute() part { return reject("reject-route", icmpRejectRoute) }

func adminProhibited() part { return reject("admin-prohibited", icmpAdminProhibited) }

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

// disjoint are the IPv6 prefixes among them, sorted, without those inside others.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
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
	out := sorted[:0]
	for _, p := range sorted {
		if len(out) == 0 || !out[len(out)-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return out
}

// prefixSet leaves out prefixes inside others: an interval set takes no overlaps.
func prefixSet(name string, prefixes []netip.Prefix) setDef {
	s := setDef{name: name, typ: nftables.TypeIP6Addr, interval: true}
	var last netip.Prefix
	for _, p := range disjoint(prefixes) {
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
		return bytes.Equal(x.Key, y.Key) && bytes.Equal(x.KeyEnd, y.KeyEnd) && x.IntervalEnd == y.IntervalEnd
	})
}
