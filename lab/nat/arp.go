// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"net/netip"
	"time"

	"oasis6/lab/engine"
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

	arpFresh   = time.Minute // then it is asked for again
	arpAgain   = time.Second
	arpTries   = 3
	arpQueue   = 8 // packets that wait for one address
	arpEntries = 256
)

// resolver knows the MACs of the neighbors on one port.
type resolver struct {
	e     *engine.Engine
	port  wire.End
	addr  netip.Addr
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
	if n != nil && !n.at.IsZero() && r.e.Now().Sub(n.at) < arpFresh {
		r.frame(n.mac, typeIPv4, b)
		return
	}
	if n == nil {
		if len(r.known) >= arpEntries {
			return
		}
		n = &neighbor{}
		r.known[to] = n
	}
	if len(n.waiting) < arpQueue {
		n.waiting = append(n.waiting, b)
	}
	if n.timer == nil {
		n.tries = 0
		r.ask(to, n)
	}
}

func (r *resolver) ask(to netip.Addr, n *neighbor) {
	if n.tries == arpTries {
		delete(r.known, to)
		r.fail(n.waiting)
		return
	}
	n.tries++
	r.frame(broadcastMAC, typeARP, r.message(arpRequest, [6]byte{}, to))
	n.timer = r.e.AfterFunc(arpAgain, func() { r.ask(to, n) })
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
	n := r.known[sender]
	if n == nil && op == arpRequest && len(r.known) < arpEntries {
		n = &neighbor{} // it is going to talk to us
		r.known[sender] = n
	}
	if n != nil {
		n.mac, n.at = mac, r.e.Now()
		if n.timer != nil {
			n.timer.Stop()
			n.timer = nil
		}
		for _, b := range n.waiting {
			r.frame(mac, typeIPv4, b)
		}
		n.waiting = nil
	}
	if op == arpRequest {
		r.frame(mac, typeARP, r.message(arpReply, mac, sender))
	}
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

// forget is for a cable that was pulled.
func (r *resolver) forget() {
	for _, n := range r.known {
		if n.timer != nil {
			n.timer.Stop()
		}
	}
	clear(r.known)
}
