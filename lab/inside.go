// SPDX-License-Identifier: MIT

package lab

import (
	"encoding/binary"
	"net/netip"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/packet"
	"oasis6/lab/page"
	"oasis6/lab/wire"
)

// The page has two packets for a frame with which a packet begins its way through a tunnel: the frame on its wire, and what
// is in it, in the pipe. The numbers of the page are twice those of the recorder, the odd ones are for the inside.

func frameNumber(rec uint64) uint64  { return 2 * rec }
func insideNumber(rec uint64) uint64 { return 2*rec + 1 }
func recordOf(number uint64) uint64  { return number / 2 }

// pipes knows which frames begin the way through a tunnel.
type pipes struct {
	first   map[string]string        // box by the first wire of its tunnel
	last    string                   // the hub's wire
	outside map[netip.Addr]string    // box by the address that the hub sees
	flight  map[string]time.Duration // of all wires of a box's tunnel
}

func newPipes(w *World) *pipes {
	p := &pipes{first: map[string]string{}, outside: map[netip.Addr]string{addr4(nat2Out4): nodeR1, addr4(natbOut4): nodeR1B}, flight: map[string]time.Duration{}}
	for _, b := range w.boxes {
		path := paths()[b.name]
		p.first[path[0]], p.last = b.name, path[len(path)-1]
		for _, id := range path {
			for _, l := range w.links {
				if l.id == id {
					p.flight[b.name] += l.delay
				}
			}
		}
	}
	return p
}

// inside is the packet in the pipe; false: the frame does not begin one's way through a tunnel.
func (p *pipes) inside(r *record) (page.Packet, bool) {
	if len(r.inner) == 0 {
		return page.Packet{}, false
	}
	box := p.first[r.Wire]
	switch {
	case box != "" && r.From == box:
	case r.Wire == p.last && r.From == nodeR2 && len(r.Frame) >= wire.Header+ipv4Header:
		if box = p.outside[netip.AddrFrom4([4]byte(r.Frame[wire.Header+16:]))]; box == "" {
			return page.Packet{}, false
		}
	default:
		return page.Packet{}, false
	}
	x := page.Packet{
		ID: insideNumber(r.id), Walk: r.walk, At: r.At, Wire: pipeOf(box), From: box, To: nodeR2, Kind: packet.KindOfIP(r.inner),
		Summary: packet.SummaryIP(r.inner, nil), Length: lengthOf(r.inner), Flight: p.flight[box], Dropped: r.Dropped != "",
	}
	if r.From == nodeR2 {
		x.From, x.To = nodeR2, box
	}
	return x, true
}

// lengthOf is that of an IPv6 packet, without what WireGuard pads it with.
func lengthOf(p []byte) int {
	if len(p) < ip6pkt.HeaderLen || p[0]>>4 != 6 {
		return len(p)
	}
	return min(len(p), ip6pkt.HeaderLen+int(binary.BigEndian.Uint16(p[4:])))
}
