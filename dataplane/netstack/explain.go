// SPDX-License-Identifier: MIT

package netstack

import "oasis6/dataplane/netstack/forward"

// Decision is what becomes of a packet, for somebody who looks on. Packet and what Verdict holds belong to the Plane: they
// are not kept after the call.
type Decision struct {
	In, Out string // interfaces; Out counts with Forward and Answer only
	Packet  []byte // as it came, but for the hop limit where it is sent on
	Verdict forward.Verdict
}

// explain tells Options.Explain, which is not nil.
func (p *Plane) explain(in forward.Index, pkt []byte, v forward.Verdict) {
	p.o.Explain(Decision{In: p.nameOf(in), Out: p.nameOf(v.Out), Packet: pkt, Verdict: v})
}

func (p *Plane) nameOf(i forward.Index) string {
	if r := p.view.Load().ports[i]; r != nil {
		return r.name
	}
	return p.o.Tunnel
}
