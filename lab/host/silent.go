// SPDX-License-Identifier: MIT

package host

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"oasis6/internal/hostmodel"
	"oasis6/internal/ip6pkt"
)

// Neighbor Unreachability Detection (RFC 4861 section 7.3) is gVisor's: REACHABLE, STALE, DELAY, PROBE, and UNREACHABLE
// after three probes that nobody answered. What follows from it for routers gVisor leaves to whoever has the routes:
// another router is taken instead, and this one is looked at again as long as there is traffic for it.
//
// What gVisor cannot: a TCP connection that stands keeps the router that it began with, until it is given up.

// probeEach is how often a router that would be better is asked whether it is back (RFC 4191 section 3.5).
const probeEach = time.Minute

// silence is what is known of routers that do not answer. Only the engine's goroutine may have it, but for some.
type silence struct {
	since map[netip.Addr]time.Time // when it was found, the last time
	asked map[netip.Addr]time.Time // whether it is back
	some  atomic.Bool              // there are any
}

// neighborReports hears of the neighbor cache from gVisor, while it holds its locks.
type neighborReports struct {
	h       *Host
	mu      sync.Mutex
	waiting map[tcpip.Address]bool // packets wait for its address
}

// OnNeighborAdded is stack.NUDDispatcher's.
func (r *neighborReports) OnNeighborAdded(nic tcpip.NICID, e stack.NeighborEntry) {
	r.OnNeighborChanged(nic, e)
}

// OnNeighborChanged is stack.NUDDispatcher's.
func (r *neighborReports) OnNeighborChanged(nic tcpip.NICID, e stack.NeighborEntry) {
	if nic != nic6 {
		return
	}
	r.mu.Lock()
	waited := r.waiting[e.Addr]
	delete(r.waiting, e.Addr)
	if e.State == stack.Incomplete {
		r.waiting[e.Addr] = true
	}
	r.mu.Unlock()
	if e.State != stack.Unreachable && !r.h.silence.some.Load() {
		return
	}
	r.h.e.Post(func() {
		if waited && e.State == stack.Unreachable {
			r.h.undelivered(toAddr(e.Addr))
		}
		r.h.reachability(toAddr(e.Addr), e.State)
	})
}

// OnNeighborRemoved is stack.NUDDispatcher's.
func (r *neighborReports) OnNeighborRemoved(nic tcpip.NICID, e stack.NeighborEntry) {
	e.State = stack.Unknown
	r.OnNeighborChanged(nic, e)
}

// undelivered tells programs whose packets waited for a neighbor that nobody answered, as the host's own router would
// (RFC 4861 section 7.2.2). gVisor tells TCP alone.
func (h *Host) undelivered(neighbor netip.Addr) {
	var lost []flow
	for f := range h.watchers {
		if h.nextHop(f.remote.Addr()) == neighbor {
			lost = append(lost, f)
		}
	}
	slices.SortFunc(lost, func(a, b flow) int {
		return cmp.Or(cmp.Compare(a.proto, b.proto), a.local.Compare(b.local), a.remote.Compare(b.remote))
	})
	for _, f := range lost {
		h.failed(f, ICMPError{From: f.local.Addr(), Type: byte(header.ICMPv6DstUnreachable), Code: byte(header.ICMPv6AddressUnreachable), six: true})
	}
}

// nextHop is who gets the packets to a destination now; not valid where there is no route.
func (h *Host) nextHop(dst netip.Addr) netip.Addr {
	if dst.IsLinkLocalUnicast() {
		return dst
	}
	all := h.routes()
	switch i := slices.IndexFunc(all, func(r hostmodel.Route) bool { return r.Prefix.Contains(dst) }); {
	case i < 0:
		return netip.Addr{}
	case all[i].Via.IsValid():
		return all[i].Via
	}
	return dst
}

// reachability takes what was found out about a neighbor. "Routers that are reachable or probably reachable (i.e., in any
// state other than INCOMPLETE) SHOULD be preferred over routers whose reachability is unknown or suspect" (RFC 4861
// section 6.3.6): one that was silent stays suspect while it is looked for once more. A host that sleeps finds nothing out.
func (h *Host) reachability(a netip.Addr, s stack.NeighborState) {
	if h.closed || h.suspended || s == stack.Incomplete {
		return
	}
	delete(h.silence.since, a)
	if s == stack.Unreachable {
		h.silence.since[a] = h.e.Now()
	}
	routes := h.routes()
	for _, m := range []map[netip.Addr]time.Time{h.silence.since, h.silence.asked} {
		maps.DeleteFunc(m, func(a netip.Addr, _ time.Time) bool {
			return !h.isSilent(a) || !slices.ContainsFunc(routes, func(r hostmodel.Route) bool { return r.Via == a }) // no router any more
		})
	}
	h.silence.some.Store(len(h.silence.since) > 0)
	// "Invoking next-hop determination at this point ensures that alternate default routers are tried" (section 7.3.3).
	h.redirects = slices.DeleteFunc(h.redirects, func(r redirected) bool { return h.isSilent(r.via) })
	h.route()
}

// isSilent says whether a router does not answer.
func (h *Host) isSilent(router netip.Addr) bool {
	_, silent := h.silence.since[router]
	return silent
}

// bySilence compares routes, those by silent routers behind all others (RFC 4191 section 3.2). If there are no others,
// routers are tried in turn (RFC 4861 section 6.3.6): the one that was tried last comes last.
func (h *Host) bySilence(a, b hostmodel.Route) int {
	return h.silence.since[a.Via].Compare(h.silence.since[b.Via]) // the zero time, of all others, is the first
}

// missed is for a packet that goes by another router since the best one is silent: then that is asked whether it is back,
// with one Neighbor Solicitation, no more than once a minute, and never without such a packet (RFC 4191 section 3.5).
func (h *Host) missed(dst netip.Addr) {
	all := slices.DeleteFunc(h.routes(), func(r hostmodel.Route) bool { return !r.Prefix.Contains(dst) })
	if len(all) == 0 || dst.IsMulticast() || dst.IsLinkLocalUnicast() {
		return
	}
	best := slices.MinFunc(all, byWorth).Via
	now := h.e.Now()
	if best == all[0].Via || !h.isSilent(best) || now.Sub(h.silence.asked[best]) < probeEach {
		return
	}
	src, ok := h.Source(best)
	if !ok {
		return
	}
	h.silence.asked[best] = now
	h.ask(src, best)
}

// optSource is the Source Link-Layer Address option (RFC 4861 section 4.6.1).
const optSource = 1

// ask sends a Neighbor Solicitation to the group of a node (RFC 4861 section 7.2.2).
func (h *Host) ask(src, target netip.Addr) {
	own, t := h.cfg.Port.MAC(), target.As16()
	m := append([]byte{byte(header.ICMPv6NeighborSolicit), 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	m = append(append(m, optSource, 1), own[:]...)
	h.tellGroup(src, ip6pkt.SolicitedNode(target), m)
}

// answered is for a Neighbor Advertisement: gVisor heeds none of a neighbor that it has given up.
func (h *Host) answered(m ip6pkt.Message) (text, rfc string) {
	const section = "RFC 4861 section 7.2.5"
	if m.HopLimit != ndHopLimit || len(m.Body) < 24 {
		return "", ""
	}
	target := netip.AddrFrom16([16]byte(m.Body[8:]))
	if !h.isSilent(target) {
		return "", ""
	}
	h.reachability(target, stack.Stale)
	return target.String() + " is back: it is a router that can be reached", section
}
