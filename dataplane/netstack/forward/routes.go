// SPDX-License-Identifier: MIT

package forward

import (
	"cmp"
	"net/netip"
	"slices"

	"oasis6/dataplane"
)

// Metrics where Desired leaves them open, as in dataplane/kernel.
const (
	metricUser        = 1024
	metricConnected   = 256
	metricUnreachable = 1 << 30
)

// route is one of those with the same destination. They stand in the order in which they are tried: the longest source
// first, then the lowest metric.
type route struct {
	from   span
	bits   int // length of from; 0: any source
	metric uint32
	out    *iface // nil: unreachable
	via    u128   // next hop; unspecified: the destination is on the link
}

// node is a destination prefix with its routes.
type node struct {
	parent int32 // the next shorter prefix around it, or none
	routes []route
}

const none = -1

// routes finds the node of an address by one binary search: a hub has ten thousand routes. The address space is cut
// where any prefix begins or ends, and each piece knows the longest prefix that covers it.
type routes struct {
	starts  []u128  // of the pieces, the first is ::
	longest []int32 // its node, or none
	nodes   []node
}

// wantedRoute is one before the table is made.
type wantedRoute struct {
	dst netip.Prefix
	route
}

// buildRoutes makes the table. Linux takes the longest destination that has a route for the source, then the longest
// source, then the lowest metric; so do we.
func buildRoutes(want []wantedRoute) routes {
	slices.SortStableFunc(want, func(a, b wantedRoute) int {
		return cmp.Or(a.dst.Addr().Compare(b.dst.Addr()), cmp.Compare(a.dst.Bits(), b.dst.Bits()),
			cmp.Compare(b.bits, a.bits), cmp.Compare(a.metric, b.metric))
	})
	rs := routes{starts: []u128{{}}, longest: []int32{none}}
	type open struct {
		last u128
		node int32
	}
	var around []open // prefixes that cover the place where we are, the longest at the end
	leave := func() {
		n := len(around) - 1
		if after, ok := around[n].last.next(); ok {
			rs.cut(after, rs.nodes[around[n].node].parent)
		}
		around = around[:n]
	}
	var last netip.Prefix
	for _, w := range want {
		if w.dst == last {
			n := &rs.nodes[len(rs.nodes)-1]
			n.routes = append(n.routes, w.route)
			continue
		}
		last = w.dst
		s := spanOf(w.dst)
		for len(around) > 0 && around[len(around)-1].last.less(s.first) {
			leave()
		}
		n := node{parent: none, routes: []route{w.route}}
		if len(around) > 0 {
			n.parent = around[len(around)-1].node
		}
		rs.nodes = append(rs.nodes, n)
		here := int32(len(rs.nodes) - 1)
		rs.cut(s.first, here)
		around = append(around, open{s.last, here})
	}
	for len(around) > 0 {
		leave()
	}
	return rs
}

// cut begins a piece. Of two at one place the later is right: it is inside the earlier, or the end of more of them.
func (rs *routes) cut(at u128, n int32) {
	if last := len(rs.starts) - 1; rs.starts[last] == at {
		rs.longest[last] = n
		return
	}
	rs.starts, rs.longest = append(rs.starts, at), append(rs.longest, n)
}

// lookup finds the route of a packet, nil if there is none.
func (rs *routes) lookup(dst, src u128) *route {
	for n := rs.find(dst); n != none; n = rs.nodes[n].parent {
		list := rs.nodes[n].routes
		for i := range list {
			if r := &list[i]; r.bits == 0 || r.from.has(src) {
				return r
			}
		}
	}
	return nil
}

// next is the node on the link that a packet goes to.
func (r *route) next(dst u128) u128 {
	if r.via.unspecified() {
		return dst
	}
	return r.via
}

func (rs *routes) find(a u128) int32 {
	low, high := 0, len(rs.starts) // starts[low] <= a < starts[high]
	for high-low > 1 {
		if mid := int(uint(low+high) / 2); a.less(rs.starts[mid]) {
			high = mid
		} else {
			low = mid
		}
	}
	return rs.longest[low]
}

// collectRoutes are the routes of Desired and the connected ones of its addresses, over interfaces that are up. There is
// nobody else in this stack, so that IfNoOther is always true.
func collectRoutes(want dataplane.Desired, ifaces map[string]*iface) (out []wantedRoute) {
	for _, r := range want.Routes {
		if !usable(r.Dst) {
			continue
		}
		w := wantedRoute{dst: r.Dst.Masked(), route: route{metric: r.Metric}}
		if r.From.IsValid() && r.From.Bits() > 0 {
			w.from, w.bits = spanOf(r.From), r.From.Bits()
		}
		if r.Kind == dataplane.Unreachable {
			w.metric = cmp.Or(w.metric, metricUnreachable)
			out = append(out, w)
			continue
		}
		w.metric = cmp.Or(w.metric, metricUser)
		if w.out = ifaces[r.Iface]; w.out == nil || !w.out.up {
			continue
		}
		if r.Via.IsValid() {
			w.via = number(r.Via.WithZone(""))
		}
		out = append(out, w)
	}
	for _, a := range want.Addresses {
		if out2 := ifaces[a.Iface]; out2 != nil && out2.up && usable(a.Prefix) && !a.Prefix.IsSingleIP() {
			out = append(out, wantedRoute{dst: a.Prefix.Masked(), route: route{metric: metricConnected, out: out2}})
		}
	}
	return out
}
