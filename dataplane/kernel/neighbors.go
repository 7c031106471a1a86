// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// nudKnown are the states in which the kernel has heard the neighbor itself.
const nudKnown = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE

// ndmsg is the struct ndmsg that asks for all IPv6 neighbors.
type ndmsg struct{}

// Len is nl.NetlinkRequestData's.
func (ndmsg) Len() int { return unix.SizeofNdMsg }

// Serialize is nl.NetlinkRequestData's.
func (ndmsg) Serialize() []byte {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = unix.AF_INET6
	return b
}

// neighbor is one entry of the kernel's neighbor table.
type neighbor struct {
	index int
	state uint16
	ip    netip.Addr
	mac   [6]byte
	age   time.Duration // since it was last known to be there
}

// Neighbors is dataplane.Plane's.
func (p *Plane) Neighbors(iface string) ([]dataplane.Neighbor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("kernel data plane: neighbors: %w", net.ErrClosed)
	}
	links, err := p.rt.links()
	if err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	for _, l := range links {
		if l.name == iface {
			list, err := p.rt.neighbors(func(n neighbor) bool { return n.index == l.index })
			if err != nil {
				return nil, fmt.Errorf("neighbors of %s: %w", iface, err)
			}
			return seen(list), nil
		}
	}
	return nil, nil // no interface, no neighbors
}

// neighbors reads the IPv6 neighbors that the kernel has heard and want takes, those heard last first.
func (c *rtnl) neighbors(want func(neighbor) bool) ([]neighbor, error) {
	list, err := dump(c, unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, ndmsg{}, func(m []byte) (neighbor, bool) {
		n, ok := decodeNeighbor(m)
		return n, ok && n.state&nudKnown != 0 && want(n)
	})
	sortNeighbors(list)
	return list, err
}

// seen are at most MaxNeighbors of them.
func seen(list []neighbor) []dataplane.Neighbor {
	var out []dataplane.Neighbor
	for _, n := range list[:min(len(list), dataplane.MaxNeighbors)] {
		out = append(out, dataplane.Neighbor{Addr: n.ip, MAC: n.mac, Seen: n.age})
	}
	return out
}

// NeighborStats is dataplane.Plane's. The kernel has one neighbor table and one limit per machine, shows to each network
// namespace its own entries, and the limit only to the first one.
func (p *Plane) NeighborStats() (dataplane.NeighborStats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return dataplane.NeighborStats{}, fmt.Errorf("kernel data plane: neighbors: %w", net.ErrClosed)
	}
	s := dataplane.NeighborStats{Dropped: p.nft.dropped, Most: p.conf.neighborLimit()}
	all, err := dump(p.rt, unix.RTM_GETNEIGH, unix.RTM_NEWNEIGH, ndmsg{}, func(m []byte) (struct{}, bool) {
		return struct{}{}, len(m) > 0 && m[0] == unix.AF_INET6
	})
	if err != nil {
		return s, fmt.Errorf("neighbors: %w", err)
	}
	s.Entries = len(all)
	if p.want.Firewall.Tunnel != "" && p.want.Hub.Tunnel == "" {
		s.Known, s.Dropped, err = p.nft.seenStats()
	}
	return s, err
}

// clockTick is one of USER_HZ, in which the kernel tells ages on every architecture we build for.
const clockTick = 10 * time.Millisecond

func decodeNeighbor(m []byte) (n neighbor, ok bool) {
	if len(m) < unix.SizeofNdMsg || m[0] != unix.AF_INET6 {
		return n, false
	}
	n.index = int(u32(m[4:]))
	n.state = binary.NativeEndian.Uint16(m[8:])
	haveMAC := false
	attrs(m[unix.SizeofNdMsg:], func(typ uint16, val []byte) {
		switch typ {
		case unix.NDA_DST:
			n.ip, _ = netip.AddrFromSlice(val)
		case unix.NDA_LLADDR:
			haveMAC = len(val) == len(n.mac)
			copy(n.mac[:], val)
		case unix.NDA_CACHEINFO: // struct nda_cacheinfo: ndm_confirmed, ndm_used, ndm_updated, ndm_refcnt
			if len(val) >= 12 {
				// One that was heard without being asked is not confirmed: what counts is when it changed.
				n.age = time.Duration(min(u32(val), u32(val[8:]))) * clockTick
			}
		}
	})
	return n, haveMAC && n.ip.Is6() && !n.ip.IsMulticast()
}
