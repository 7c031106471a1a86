// SPDX-License-Identifier: MIT

package inet6

import (
	"encoding/binary"
	"net/netip"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
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

	ndFresh   = 30 * time.Second // REACHABLE_TIME; then it is asked for again
	ndAgain   = time.Second      // RETRANS_TIMER
	ndTries   = 3                // MAX_MULTICAST_SOLICIT
	ndQueue   = 8                // packets that wait for one neighbor
	ndEntries = 512
)

var allNodesMAC = [6]byte{0x33, 0x33, 0, 0, 0, 1} // RFC 2464 section 7

// resolver knows the neighbors on one port.
type resolver struct {
	e     *engine.Engine
	port  *port
	known map[netip.Addr]*neighbor
	fail  func(packets [][]byte) // nobody answered
}

type neighbor struct {
	mac     [6]byte
	at      time.Time // zero: not known
	waiting [][]byte
	tries   int
	timer   *engine.Timer
}

// send sends a packet to a neighbor, as soon as its MAC is known.
func (r *resolver) send(to netip.Addr, b []byte) {
	n := r.known[to]
	if n != nil && !n.at.IsZero() && r.e.Now().Sub(n.at) < ndFresh {
		r.frame(n.mac, b)
		return
	}
	if n == nil {
		if len(r.known) >= ndEntries {
			return
		}
		n = &neighbor{}
		r.known[to] = n
	}
	if len(n.waiting) < ndQueue {
		n.waiting = append(n.waiting, b)
	}
	if n.timer == nil {
		n.tries = 0
		r.ask(to, n)
	}
}

func (r *resolver) ask(to netip.Addr, n *neighbor) {
	if n.tries == ndTries {
		delete(r.known, to)
		r.fail(n.waiting)
		return
	}
	n.tries++
	src := r.port.linkLocal
	t := to.As16()
	m := append([]byte{typeNS, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	r.frame([6]byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}, ip6pkt.ICMPv6(src, group, ndHops, r.option(m, optSource)))
	n.timer = r.e.AfterFunc(ndAgain, func() { r.ask(to, n) })
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
		if r.known[m.Src] == nil && len(r.known) < ndEntries {
			r.known[m.Src] = &neighbor{} // it is going to talk to us
		}
		r.learn(m.Src, mac)
	} else if n := r.known[m.Src]; n != nil && !n.at.IsZero() {
		mac = n.mac
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
	if !ok || r.known[target] == nil {
		return "nobody waits for this neighbor", "RFC 4861 section 7.2.5"
	}
	r.learn(target, mac)
	return "the neighbor is known now", "RFC 4861 section 7.2.5"
}

// learn takes the MAC of one that is in the table, and sends what waited for it.
func (r *resolver) learn(a netip.Addr, mac [6]byte) {
	n := r.known[a]
	if n == nil {
		return // the table is full
	}
	n.mac, n.at = mac, r.e.Now()
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
	for _, b := range n.waiting {
		r.frame(mac, b)
	}
	n.waiting = nil
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

// forget is for a cable that was pulled.
func (r *resolver) forget() {
	for _, n := range r.known {
		if n.timer != nil {
			n.timer.Stop()
		}
	}
	clear(r.known)
}
