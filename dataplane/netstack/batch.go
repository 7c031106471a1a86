// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"time"

	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
)

// batch are the packets of one Write, of which those of a flow leave together. It belongs to one goroutine.
type batch struct {
	c    *offload.Coalescer[way]
	head [etherHeader]byte // of the frame that is sent
	port *port             // port and hop are of the packet before, as those of the next one most often are
	hop  netip.Addr
	mac  neigh.MAC
}

// way is where a frame leaves by, and to whom.
type way struct {
	port *port
	mac  neigh.MAC
}

func newBatch() *batch {
	b := &batch{}
	b.c = offload.NewCoalescer(b.out)
	return b
}

// add takes a packet for a neighbor, to be kept by the caller until flush.
func (b *batch) add(now time.Time, out *port, hop netip.Addr, pkt []byte) {
	if b.port != out || b.hop != hop {
		mac, ok := out.lookup(now, hop)
		if !ok {
			b.port = nil
			out.resolve(now, hop, pkt, offload.Info{})
			return
		}
		b.port, b.hop, b.mac = out, hop, mac
	}
	b.c.UDP = out.fast.udp()
	b.c.Add(way{out, b.mac}, pkt)
}

func (b *batch) out(s *offload.Super[way]) {
	b.head = s.To.port.header(s.To.mac)
	s.To.port.sent(s.To.port.fast.send(s.Info, b.head[:], s.Parts))
}

func (b *batch) flush() {
	b.c.Flush()
	b.port = nil
}
