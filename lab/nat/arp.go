// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"net/netip"

	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/wire"
)

// EtherTypes.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
)

// Of ARP (RFC 826) and its use (RFC 1122 section 2.3.2).
const (
	arpLength  = 28
	arpRequest = 1
	arpReply   = 2
)

// resolver knows the MACs of the neighbors on one port.
type resolver struct {
	e     *engine.Engine
	port  wire.End
	addr  netip.Addr
	cache *neighbor.Cache
	timer *engine.Timer
	fail  func(packets [][]byte) // nobody answered
}

func newResolver(e *engine.Engine, port wire.End, addr netip.Addr, fail func([][]byte)) resolver {
	r := e.Rand("neighbors " + port.Wire().ID() + " " + addr.String())
	return resolver{e: e, port: port, addr: addr, cache: neighbor.New(r.Float64), fail: fail}
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
		r.frame(f.To, typeIPv4, f.Data)
	}
	for _, q := range a.Ask {
		to := q.MAC // RFC 1122 section 2.3.2.1: "Unicast Poll"
		if q.ToAll {
			to = broadcastMAC
		}
		r.frame(to, typeARP, r.message(arpRequest, [6]byte{}, q.For))
	}
	if len(a.Lost) > 0 {
		r.fail(a.Lost) // last: it may come here again
	}
}

var (
	broadcastMAC  = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	broadcastAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// receive takes an ARP message: it answers for our own address, and learns from all that is said to us.
func (r *resolver) receive(m []byte) {
	if len(m) < arpLength || [6]byte(m) != [6]byte{0, 1, typeIPv4 >> 8, typeIPv4 & 0xff, 6, 4} {
		return
	}
	mac, sender, target := [6]byte(m[8:]), netip.AddrFrom4([4]byte(m[14:])), netip.AddrFrom4([4]byte(m[24:]))
	op := binary.BigEndian.Uint16(m[6:])
	if target != r.addr || sender.IsUnspecified() || sender == r.addr {
		return
	}
	if op == arpRequest {
		r.step(neighbor.Asked{By: sender, MAC: mac}) // it is going to talk to us
		r.frame(mac, typeARP, r.message(arpReply, mac, sender))
		return
	}
	r.step(neighbor.Answered{Addr: sender, MAC: mac, Solicited: true, Override: true})
}

func (r *resolver) message(op byte, mac [6]byte, to netip.Addr) []byte {
	own, a, b := r.port.MAC(), r.addr.As4(), to.As4()
	m := []byte{0, 1, typeIPv4 >> 8, typeIPv4 & 0xff, 6, 4, 0, op}
	m = append(append(m, own[:]...), a[:]...)
	return append(append(m, mac[:]...), b[:]...)
}

func (r *resolver) frame(to [6]byte, etherType uint16, content []byte) {
	own := r.port.MAC()
	f := append(append(make([]byte, 0, wire.Header+len(content)), to[:]...), own[:]...)
	f = append(binary.BigEndian.AppendUint16(f, etherType), content...)
	_ = r.port.Send(f) // fails only when the node was taken off the wire
}
