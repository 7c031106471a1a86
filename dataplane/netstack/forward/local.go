// SPDX-License-Identifier: MIT

package forward

import (
	"net/netip"
	"time"
)

// Route finds the way of a packet that this machine makes itself, link-local addresses aside. An unspecified source stands
// for one that is not chosen yet.
func (f *Forwarder) Route(src, dst netip.Addr) (out Index, nextHop netip.Addr, ok bool) {
	if !src.Is6() || !dst.Is6() {
		return 0, netip.Addr{}, false
	}
	s, to := f.state.Load(), number(dst)
	r := s.routes.lookup(to, number(src))
	if n := s.routes.find(to); src.IsUnspecified() && n != none {
		r = &s.routes.nodes[n].routes[0]
	}
	if r == nil || r.out == nil {
		return 0, netip.Addr{}, false
	}
	return r.out.index, r.next(to).addr(), true
}

// Output judges a packet that the stack of this machine sends by an interface, and notes the flow that it begins, so that
// the answer gets in. The verdict is Forward or Drop; the packet is not changed.
func (f *Forwarder) Output(now time.Time, out Index, pkt []byte) Verdict {
	var p packet
	s := f.state.Load()
	i := s.at(out)
	switch {
	case i == nil:
		return f.drop(UnknownInterface)
	case !parse(&p, pkt, 0):
		return f.drop(Malformed)
	}
	if r := s.output(i, p.src, p.dst); r.fate != pass {
		return f.drop(r.reason)
	}
	if s.box != nil && i.tunnel {
		f.flows.outbound(now, &p)
	}
	return Verdict{Action: Forward, Out: out, Packet: p.data}
}
