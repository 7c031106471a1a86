// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"

	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
)

// process does with a packet what the forwarder says. pkt may be changed and is not kept.
func (p *Plane) process(now time.Time, from origin, pkt []byte, off offload.Info, b *batch) {
	v := p.fwd.Packet(now, from.index, from.mac, pkt, int(off.Size))
	if v.Action != forward.Local && from.ether[0]&1 != 0 && pkt[offDst] != 0xff {
		// As Linux: such a frame is not for us to pass on, and nobody is told (RFC 4443 section 2.4 e.4).
		if v.Action != forward.Drop {
			p.lost[lostGroup].Add(1)
		}
		return
	}
	if p.o.Explain != nil {
		p.explain(from.index, pkt, v)
	}
	switch v.Action {
	case forward.Local:
		p.local(now, from, v.Packet, off)
	case forward.Forward:
		if out := p.view.Load().ports[v.Out]; v.Out == tunnelNIC {
			p.toTunnel(from, v.Packet, off)
		} else if out == nil {
			p.lost[lostGone].Add(1) // never by the tunnel instead
		} else if b != nil && out.fast != nil {
			b.add(now, out, v.NextHop, v.Packet)
		} else {
			out.send(now, v.NextHop, v.Packet, off)
		}
		if v.Redirect != nil && from.port != nil {
			from.port.transmit(v.MAC, v.Redirect, offload.Info{})
		}
	case forward.Answer:
		p.answer(now, from, v)
	}
}

// toTunnel lets a LAN's reader wait where there is no room: what comes meanwhile waits in the kernel's queue of the tap.
func (p *Plane) toTunnel(from origin, pkt []byte, off offload.Info) {
	if from.port != nil {
		p.tunnel.sendOrWait(pkt, off)
		return
	}
	p.tunnel.send(pkt, off)
}

// answer sends an error, or a reset, that we have made. Who sent on an Ethernet gets it where it is, without being asked
// for: that must not cost a solicitation.
func (p *Plane) answer(now time.Time, from origin, v forward.Verdict) {
	switch out := p.view.Load().ports[v.Out]; {
	case v.Out == tunnelNIC:
		p.tunnel.send(v.Packet, offload.Info{})
	case out == nil:
		p.lost[lostGone].Add(1)
	case v.MAC != [6]byte{}:
		out.transmit(v.MAC, v.Packet, offload.Info{})
	default:
		out.send(now, v.NextHop, v.Packet, offload.Info{})
	}
}

// local gives a packet for this node to the sockets and to gVisor, there on the interface that has the address.
func (p *Plane) local(now time.Time, from origin, pkt []byte, off offload.Info) {
	offload.Complete(pkt, off)
	if from.port != nil && from.port.hear(now, pkt) {
		return
	}
	dst := netip.AddrFrom16([16]byte(pkt[offDst : offDst+16]))
	view := p.view.Load()
	at := tcpip.NICID(from.index)
	if !dst.IsMulticast() && !dst.IsLinkLocalUnicast() {
		var ok bool
		if at, ok = view.own[dst]; !ok {
			if a, is := view.anycast[dst]; is {
				p.echoed(from, pkt, a)
			}
			return // gone meanwhile
		}
	}
	if at == tunnelNIC {
		p.tunnel.ep.input(pkt)
	} else if out := view.ports[forward.Index(at)]; out != nil {
		out.ep.input(pkt)
	}
}

// emit routes what gVisor sends to an address beyond a link. It may be called with locks of gVisor.
func (p *Plane) emit(pkt []byte) {
	src := netip.AddrFrom16([16]byte(pkt[offSrc : offSrc+16]))
	dst := netip.AddrFrom16([16]byte(pkt[offDst : offDst+16]))
	view := p.view.Load()
	if _, ours := view.own[src]; !ours {
		// Only what is for this node gets to gVisor; if the address has just gone, gVisor would send it on.
		p.lost[lostForeign].Add(1)
		return
	}
	index, hop, ok := p.fwd.Route(src, dst)
	if !ok {
		return // the socket notices that nobody answers
	}
	now := p.o.Now()
	if v := p.fwd.Output(now, index, pkt); v.Action != forward.Forward {
		return
	}
	if index == tunnelNIC {
		p.tunnel.send(pkt, offload.Info{})
	} else if out := view.ports[index]; out != nil {
		out.sendOwn(now, hop, pkt)
	} else {
		p.lost[lostGone].Add(1)
	}
}

// unreachable tells the sender of a packet that nobody has its destination.
func (p *Plane) unreachable(now time.Time, out *port, w waiting) {
	in, hop, ok := p.wayTo(netip.AddrFrom16([16]byte(w.pkt[offSrc:offSrc+16])), out)
	if !ok {
		return
	}
	v := p.fwd.Unreachable(now, in, w.pkt)
	if p.o.Explain != nil {
		p.explain(in, w.pkt, v)
	}
	if v.Action == forward.Answer {
		v.NextHop = hop // a router of the LAN, where the sender is behind one
		p.answer(now, origin{index: in}, v)
	}
}

// wayTo is by which interface and neighbor the sender of a packet is reached, as far as its source says.
func (p *Plane) wayTo(src netip.Addr, out *port) (forward.Index, netip.Addr, bool) {
	if _, ours := p.view.Load().own[src]; ours || len(p.view.Load().ports) == 0 {
		return 0, netip.Addr{}, false
	}
	if src.IsLinkLocalUnicast() {
		return forward.Index(out.nic), src, true
	}
	return p.fwd.Route(netip.IPv6Unspecified(), src)
}

// neighborNews tells the forwarder who is there.
func (p *Plane) neighborNews(now time.Time, r *port, n neigh.News) {
	if !n.Gone {
		p.known(now, r, neigh.Known{Addr: n.Addr, MAC: n.MAC, Answered: n.Answered})
	}
}

// known tells the forwarder of a neighbor.
func (p *Plane) known(now time.Time, r *port, n neigh.Known) {
	if n.Answered {
		p.fwd.Neighbor(now, forward.Index(r.nic), n.Addr, n.MAC)
		return
	}
	p.fwd.Heard(now, forward.Index(r.nic), n.Addr, n.MAC)
}
