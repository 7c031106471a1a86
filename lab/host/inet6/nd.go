// SPDX-License-Identifier: MIT

package inet6

import (
	"net/netip"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/neighbor/link"
)

// Neighbor Discovery (RFC 4861).
const (
	typeNS    = 135
	typeNA    = 136
	ndHops    = 255
	ndLength  = 24 // of NS and NA without options
	optSource = 1
	optTarget = 2

	flagRouter    = 0x80
	flagSolicited = 0x40
	flagOverride  = 0x20
)

var allNodesMAC = [6]byte{0x33, 0x33, 0, 0, 0, 1} // RFC 2464 section 7

// resolver knows the neighbors on one port.
type resolver struct {
	*link.Link
	port *port
}

func newResolver(e *engine.Engine, p *port, lost func([][]byte)) resolver {
	r := resolver{port: p}
	r.Link = link.New(e, p.Wire, p.Wire.Node(), link.Protocol{EtherType: etherType, Ask: func(q neighbor.Question) { r.ask(q) }, Lost: lost})
	return r
}

// ask sends a Neighbor Solicitation (RFC 4861 section 7.2.2), to the node alone if it is to say that it is still there.
func (r *resolver) ask(q neighbor.Question) {
	t := q.For.As16()
	m := r.option(append([]byte{typeNS, 0, 0, 0, 0, 0, 0, 0}, t[:]...), optSource)
	to, mac := q.For, q.MAC
	if q.ToAll {
		to = ip6pkt.SolicitedNode(q.For)
		mac = [6]byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}
	}
	r.Frame(mac, etherType, ip6pkt.ICMPv6(r.port.linkLocal, to, ndHops, m))
}

// option adds our link-layer address.
func (r *resolver) option(m []byte, kind byte) []byte {
	own := r.port.Wire.MAC()
	return append(append(m, kind, 1), own[:]...)
}

// solicited answers for our own addresses, and learns who asks.
func (r *resolver) solicited(m ip6pkt.Message) (text, rfc string) {
	if m.HopLimit != ndHops || len(m.Body) < ndLength {
		return "dropped: not a valid Neighbor Solicitation", "RFC 4861 section 7.1.1"
	}
	target := netip.AddrFrom16([16]byte(m.Body[8:]))
	if !r.port.has(target) {
		return "the address is not mine", "RFC 4861 section 7.2.3"
	}
	to, flags := m.Src, byte(flagRouter|flagSolicited|flagOverride)
	mac, known := linkLayer(m.Body[ndLength:], optSource)
	if m.Src.IsUnspecified() { // duplicate address detection
		to, flags = netip.IPv6LinkLocalAllNodes(), flagRouter|flagOverride
		mac = allNodesMAC
	} else if known {
		r.Step(neighbor.Asked{By: m.Src, MAC: mac})
	} else if cached, s := r.Lookup(m.Src); s > neighbor.Incomplete {
		mac = cached
	} else {
		return "asked without a link-layer address, by one who is not known", "RFC 4861 section 7.2.4"
	}
	t := target.As16()
	a := append([]byte{typeNA, 0, 0, 0, flags, 0, 0, 0}, t[:]...)
	r.Frame(mac, etherType, ip6pkt.ICMPv6(target, to, ndHops, r.option(a, optTarget)))
	return target.String() + " is mine: answered", "RFC 4861 section 7.2.4"
}

// advertised learns from answers to what we asked for.
func (r *resolver) advertised(m ip6pkt.Message) (text, rfc string) {
	if m.HopLimit != ndHops || len(m.Body) < ndLength {
		return "dropped: not a valid Neighbor Advertisement", "RFC 4861 section 7.1.2"
	}
	target := netip.AddrFrom16([16]byte(m.Body[8:]))
	mac, ok := linkLayer(m.Body[ndLength:], optTarget)
	if _, s := r.Lookup(target); s == neighbor.Unknown {
		return "nobody waits for this neighbor", "RFC 4861 section 7.2.5"
	}
	flags := m.Body[4]
	r.Step(neighbor.Answered{Addr: target, MAC: mac, HasMAC: ok, Solicited: flags&flagSolicited != 0, Override: flags&flagOverride != 0})
	_, s := r.Lookup(target)
	return "the neighbor is " + s.String() + " now", "RFC 4861 section 7.2.5"
}

// linkLayer finds a link-layer address option.
func linkLayer(options []byte, kind byte) (mac [6]byte, ok bool) {
	for len(options) >= 8 && options[1] > 0 && len(options) >= int(options[1])*8 {
		if options[0] == kind && options[1] == 1 {
			return [6]byte(options[2:]), true
		}
		options = options[int(options[1])*8:]
	}
	return mac, false
}
