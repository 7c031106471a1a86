// SPDX-License-Identifier: MIT

package netstack

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/internal/ip6pkt"
)

// A router has the Subnet-Router anycast address of each of its subnets (RFC 4291 section 2.6.1), which gVisor knows nothing
// of. As Linux does, it says who has it, and answers an echo request from a unicast address; for anything else it is no place.
const (
	// maxAnycastDelay is MAX_ANYCAST_DELAY_TIME (RFC 4861 section 10).
	maxAnycastDelay = time.Second
	// maxAnycastWaiting advertisements wait for their time on one link.
	maxAnycastWaiting = 64
	echoHops          = 64
)

// anycast is the address of a subnet's routers.
type anycast struct {
	nic  tcpip.NICID
	from netip.Addr // the unicast address of ours in the subnet
}

// expect has questions for addresses looked at before the first of them is checked: another node may check the same
// one in this moment (RFC 4862 section 5.4.3). anycasts has the last word.
func (r *port) expect(wanted map[netip.Addr]dataplane.Address) {
	targets := map[netip.Addr]bool{}
	if now := r.targets.Load(); now != nil {
		maps.Copy(targets, *now)
	}
	for a := range wanted {
		targets[a] = true
	}
	r.targets.Store(&targets)
}

// anycasts are those of a port, where it is asked for them and for its own addresses from now on. Plane.mu is held.
func (r *port) anycasts(to map[netip.Addr]anycast) {
	groups, targets := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	defer r.targets.Store(&targets)
	for a, x := range r.addrs {
		p := x.want.Prefix
		targets[a] = true
		// With 127 bits both addresses are routers' (RFC 6164).
		if x.state != assigned || a.IsLinkLocalUnicast() || p.Bits() >= 127 {
			continue
		}
		subnet := p.Masked().Addr()
		if was, double := to[subnet]; !double || was.nic == r.nic && a.Less(was.from) {
			to[subnet] = anycast{r.nic, a}
		}
		groups[ip6pkt.SolicitedNode(subnet)], targets[subnet] = true, true
	}
	for _, g := range sortedAddrs(groups) {
		if !slices.Contains(r.joined, g) {
			_ = r.p.stack.JoinGroup(ipv6.ProtocolNumber, r.nic, fromAddr(g)) // a group can always be joined
		}
	}
	for _, g := range r.joined {
		if !groups[g] {
			_ = r.p.stack.LeaveGroup(ipv6.ProtocolNumber, r.nic, fromAddr(g)) // it was joined
		}
	}
	r.joined = sortedAddrs(groups)
}

// solicited answers who asks for a subnet's routers. That there may be many is said by no Override flag and by a delay
// (RFC 4861 sections 7.2.4 and 7.2.7), but for who only looks whether this one is still there.
func (r *port) solicited(pkt []byte) {
	s, err := neigh.ParseSolicitation(pkt)
	if err != nil {
		return
	}
	a, ok := r.p.view.Load().anycast[s.Target]
	if !ok || a.nic != r.nic {
		return
	}
	if pkt[offDst] != 0xff {
		r.advertiseAnycast(s)
		return
	}
	if r.delayed.Add(1) > maxAnycastWaiting {
		r.delayed.Add(-1)
		return
	}
	r.p.o.Clock.AfterFunc(time.Duration(r.p.float()*float64(maxAnycastDelay)), func() {
		r.delayed.Add(-1)
		if v := r.p.view.Load(); v.ports[forward.Index(r.nic)] == r && v.anycast[s.Target].nic == r.nic {
			r.advertiseAnycast(s)
		}
	})
}

func (r *port) advertiseAnycast(s neigh.Solicitation) {
	if from := r.linkLocal(); from.IsValid() {
		r.output(s.AdvertisementOfRouter(from, r.mac))
	}
}

// echoed answers an echo request to a subnet's routers.
func (p *Plane) echoed(from origin, pkt []byte, a anycast) {
	if pkt[offNext] != ip6pkt.ProtoICMPv6 {
		return
	}
	m, err := ip6pkt.ParseICMPv6(pkt)
	if err != nil || m.Body[0] != ip6pkt.TypeEchoRequest || m.Body[1] != 0 || m.Src.IsUnspecified() {
		return
	}
	m.Body[0] = ip6pkt.TypeEchoReply // of a packet that is ours to change
	reply := ip6pkt.ICMPv6(a.from, m.Src, echoHops, m.Body)
	switch {
	case reply == nil, len(reply) > p.mtuTo(a.from, m.Src): // nothing here cuts it into fragments
	case !m.Src.IsLinkLocalUnicast():
		p.emit(reply)
	case from.port != nil:
		from.port.sendOwn(p.o.Now(), m.Src, reply)
	}
}

// mtuTo is that of the way by which a packet of ours leaves.
func (p *Plane) mtuTo(src, dst netip.Addr) int {
	index, _, ok := p.fwd.Route(src, dst)
	if out := p.view.Load().ports[index]; ok && out != nil {
		return out.link.MTU()
	}
	return int(p.tunnel.mtu.Load())
}
