// SPDX-License-Identifier: MIT

package inet6

import (
	"encoding/binary"
	"net/netip"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/wire"
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
	e     *engine.Engine
	port  *port
	cache *neighbor.Cache
	timer *engine.Timer
	fail  func(packets [][]byte) // nobody answered
}

func newResolver(e *engine.Engine, p *port, fail func([][]byte)) resolver {
	r := e.Rand("neighbors " + p.Wire.Wire().ID() + " " + p.Wire.Node())
	return resolver{e: e, port: p, cache: neighbor.New(r.Float64), fail: fail}
}

// send sends a packet to a neighbor, as soon as its MAC is known.
func (r *resolver) send(to netip.Addr, b []byte) { r.step(neighbor.Packet{To: to, Data: b}) }

// forget is for a cable that was pulled.
func (r *resolver) forget() { r.step(neighbor.LinkDown{}) }

func (r *resolver) step(ev neighbor.Event) {
	now := r.e.Now()
	a := r.cache.Step(now, ev)
	if r.timer != nil {
		r.timer.Stop()
	}
	if !a.Wake.IsZero() {
		r.timer = r.e.AfterFunc(a.Wake.Sub(now), func() { r.step(neighbor.Tick{}) })
	}
	for _, f := range a.Send {
		r.frame(f.To, f.Data)
	}
	for _, q := range a.Ask {
		r.ask(q)
	}
	if len(a.Lost) > 0 {
		r.fail(a.Lost) // last: it may come here again
	}
}

// ask sends a Neighbor Solicitation (RFC 4861 section 7.2.2), to the node alone if it is to say that it is still there.
func (r *resolver) ask(q neighbor.Question) {
	t := q.For.As16()
	m := r.option(append([]byte{typeNS, 0, 0, 0, 0, 0, 0, 0}, t[:]...), optSource)
	to, mac := q.For, q.MAC
	if q.ToAll {
		to = netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
		mac = [6]byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}
	}
	r.frame(mac, ip6pkt.ICMPv6(r.port.linkLocal, to, ndHops, m))
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
		r.step(neighbor.Asked{By: m.Src, MAC: mac})
	} else if cached, s := r.cache.Lookup(r.e.Now(), m.Src); s > neighbor.Incomplete {
		mac = cached
	} else {
		return "asked without a link-layer address, by one who is not known", "RFC 4861 section 7.2.4"
	}
	t := target.As16()
	a := append([]byte{typeNA, 0, 0, 0, flags, 0, 0, 0}, t[:]...)
	r.frame(mac, ip6pkt.ICMPv6(target, to, ndHops, r.option(a, optTarget)))
	return target.String() + " is mine: answered", "RFC 4861 section 7.2.4"
}

// advertised learns from answers to what we asked for.
func (r *resolver) advertised(m ip6pkt.Message) (text, rfc string) {
	if m.HopLimit != ndHops || len(m.Body) < ndLength {
		return "dropped: not a valid Neighbor Advertisement", "RFC 4861 section 7.1.2"
	}
	target := netip.AddrFrom16([16]byte(m.Body[8:]))
	mac, ok := linkLayer(m.Body[ndLength:], optTarget)
	if _, s := r.cache.Lookup(r.e.Now(), target); !ok || s == neighbor.Unknown {
		return "nobody waits for this neighbor", "RFC 4861 section 7.2.5"
	}
	flags := m.Body[4]
	r.step(neighbor.Answered{Addr: target, MAC: mac, Solicited: flags&flagSolicited != 0, Override: flags&flagOverride != 0})
	_, s := r.cache.Lookup(r.e.Now(), target)
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

func (r *resolver) frame(to [6]byte, b []byte) {
	own := r.port.Wire.MAC()
	f := append(append(make([]byte, 0, wire.Header+len(b)), to[:]...), own[:]...)
	f = append(binary.BigEndian.AppendUint16(f, etherType), b...)
	_ = r.port.Wire.Send(f) // fails only when the node was taken off the wire
}
