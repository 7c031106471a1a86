// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"net/netip"

	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/neighbor/link"
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
	*link.Link
	port wire.End
	addr netip.Addr
}

func newResolver(e *engine.Engine, port wire.End, addr netip.Addr, lost func([][]byte)) resolver {
	r := resolver{port: port, addr: addr}
	r.Link = link.New(e, port, addr.String(), link.Protocol{EtherType: typeIPv4, Ask: func(q neighbor.Question) { r.ask(q) }, Lost: lost})
	return r
}

func (r *resolver) ask(q neighbor.Question) {
	to := q.MAC // RFC 1122 section 2.3.2.1: "Unicast Poll"
	if q.ToAll {
		to = broadcastMAC
	}
	r.Frame(to, typeARP, r.message(arpRequest, [6]byte{}, q.For))
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
		r.Step(neighbor.Asked{By: sender, MAC: mac}) // it is going to talk to us
		r.Frame(mac, typeARP, r.message(arpReply, mac, sender))
		return
	}
	r.Step(neighbor.Answered{Addr: sender, MAC: mac, HasMAC: true, Solicited: true, Override: true})
}

func (r *resolver) message(op byte, mac [6]byte, to netip.Addr) []byte {
	own, a, b := r.port.MAC(), r.addr.As4(), to.As4()
	m := []byte{0, 1, typeIPv4 >> 8, typeIPv4 & 0xff, 6, 4, 0, op}
	m = append(append(m, own[:]...), a[:]...)
	return append(append(m, mac[:]...), b[:]...)
}
