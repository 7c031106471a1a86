// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"oasis6/dataplane"
)

// A hub has a route for each lease: ten thousand, of which one or some change at a time. What is here makes an Apply cost
// what changes, and going through the list once: as long as nobody else changes anything, the kernel holds what was wanted
// last, and need not be read; routes are changed many at a time; and the news of our own changes does not make us look.

const (
	// keptFor is how long nothing is read again without a sign: of a changed sysctl there may be none.
	keptFor = recheckSysctls
	// batchMost is how many routes are changed in one message. The answers, if all were errors, fit in the receive buffer.
	batchMost = 128
	// differMost is how many routes are changed without a look at all.
	differMost = 4096
)

// kept says that the kernel held what was wanted last, as far as it was read and changed by us since. The zero value says
// nothing.
type kept struct {
	holds bool
	signs uint64 // what the watcher had counted before the reading
	deaf  bool   // the watcher does not hear of our own changes of routes
}

// begin is called before the kernel is read. The number is for hold.
func (k *kept) begin(p *Plane) uint64 {
	k.holds = false
	if isHub(p.want) && p.active && !k.deaf {
		k.deaf = p.watch.ignore(p.rt) == nil // else it costs more
	}
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	return p.watch.signs
}

// hold notes that the kernel, read in p.last, is as wanted after the steps, if nothing but routes was changed: what else we
// do gives signs, too.
func (k *kept) hold(p *Plane, signs uint64, steps []step, err error) {
	k.holds = err == nil && p.active && isHub(p.want) && len(p.dups)+len(p.residual) == 0
	for i := range steps {
		k.holds = k.holds && (steps[i].op == addRoute || steps[i].op == delRoute)
	}
	k.signs = signs
}

// isHub says whether it is a hub's, with nothing in it that depends on others' routes.
func isHub(d dataplane.Desired) bool {
	if d.Hub.Tunnel == "" || len(d.LANs) > 0 {
		return false
	}
	for i := range d.Routes {
		if d.Routes[i].IfNoOther {
			return false
		}
	}
	return true
}

// change is Apply where the kernel holds what was wanted before, and what is wanted now differs from that in routes and in
// the prefixes of proxies alone; else it does nothing and says false. A sign that is still on its way makes a Drift when it
// comes.
func (k *kept) change(ctx context.Context, p *Plane, old dataplane.Desired) (done bool, err error) {
	p.watch.mu.Lock()
	signs := p.watch.signs
	p.watch.mu.Unlock()
	if !k.holds || k.signs != signs || p.now().Sub(p.last.read) >= keptFor || !isHub(p.want) || !sameButRoutes(old, p.want) {
		return false, nil
	}
	steps, ok := p.routeSteps(old.Routes)
	if !ok {
		return false, nil
	}
	defer p.watch.settled()
	p.watch.mu.Lock()
	for i := range steps { // those of routes that go cost no more than a look
		if steps[i].op == addRoute {
			p.dsts[steps[i].route.dst] = true
		}
	}
	p.watch.mu.Unlock()
	err = p.carryOut(ctx, p.last, plan{memory: p.memory, steps: steps})
	k.hold(p, signs, steps, err)
	return true, errors.Join(err, p.proxies.follow(p, p.last))
}

// sameButRoutes compares all but routes and the prefixes of proxies.
func sameButRoutes(a, b dataplane.Desired) bool {
	return a.Tunnel == b.Tunnel && a.Forward == b.Forward && a.Firewall.Tunnel == b.Firewall.Tunnel &&
		slices.Equal(a.Addresses, b.Addresses) && len(a.LANs)+len(b.LANs) == 0 &&
		a.Hub.Tunnel == b.Hub.Tunnel && a.Hub.Open == b.Hub.Open && a.Hub.SiteToSite == b.Hub.SiteToSite &&
		slices.Equal(a.Hub.Pools, b.Hub.Pools) && slices.Equal(a.Hub.Taken, b.Hub.Taken) &&
		slices.EqualFunc(a.Proxy, b.Proxy, func(x, y dataplane.NDProxy) bool { return x.Iface == y.Iface })
}

// routeSteps lead from the routes that were wanted to those that are; not ok where a plan must see all that is there.
func (p *Plane) routeSteps(old []dataplane.Route) (steps []step, ok bool) {
	gone, come := differences(old, p.want.Routes)
	if len(gone)+len(come) > differMost {
		return nil, false
	}
	pl := &planner{s: p.last, want: p.want}
	added, dsts := map[route]bool{}, map[netip.Prefix]bool{}
	for _, w := range come {
		r, ok := pl.resolve(w)
		if !ok {
			return nil, false
		}
		if !added[r] {
			added[r] = true
			iface := pl.routeIface(r)
			steps = append(steps, step{op: addRoute, route: r, iface: iface, opens: iface != "" && iface == p.want.Tunnel.Name})
		}
	}
	for _, w := range gone {
		r, ok := pl.resolve(w)
		if !ok {
			return nil, false
		}
		dsts[r.dst] = true
		r.proto = mark
		steps = append(steps, step{op: delRoute, route: r, iface: pl.routeIface(r)})
	}
	// Of two routes to one destination it matters which goes first.
	return steps, len(gone) == 0 || !p.wants(dsts)
}

// wants says whether a route to one of the destinations is wanted.
func (p *Plane) wants(dsts map[netip.Prefix]bool) bool {
	for i := range p.want.Routes {
		if dsts[p.want.Routes[i].Dst.Masked()] {
			return true
		}
	}
	for _, a := range p.want.Addresses {
		if dsts[a.Prefix.Masked()] {
			return true
		}
	}
	return false
}

// differences are what is only in the one list and what is only in the other. They cost little where both are in the same
// order, whichever that is.
func differences(old, now []dataplane.Route) (gone, come []dataplane.Route) {
	count := map[dataplane.Route]int{}
	for i, j := 0, 0; i < len(old) || j < len(now); {
		switch {
		case i < len(old) && j < len(now) && old[i] == now[j]:
			i, j = i+1, j+1
		case j == len(now) || i+1 < len(old) && j < len(now) && old[i+1] == now[j]:
			gone = append(gone, old[i])
			i++
		case i == len(old) || j+1 < len(now) && old[i] == now[j+1]:
			come = append(come, now[j])
			j++
		default:
			gone, come = append(gone, old[i]), append(come, now[j])
			i, j = i+1, j+1
		}
	}
	for _, r := range gone {
		count[r]++
	}
	come = slices.DeleteFunc(come, func(r dataplane.Route) bool {
		both := count[r] > 0
		if both {
			count[r]--
		}
		return both
	})
	gone = slices.DeleteFunc(gone, func(r dataplane.Route) bool {
		count[r]--
		return count[r] < 0
	})
	return gone, come
}

// ahead changes the routes that the steps begin with, many in one message, and notes those that succeeded. What did not is
// left to be tried alone, which also says why. It answers with the number of steps that are settled so, at least 1.
func (p *Plane) ahead(steps []step, done []bool) int {
	n := 0
	for n < min(len(steps), batchMost) && (steps[n].op == addRoute || steps[n].op == delRoute) {
		n++
	}
	if n > 1 && p.rt.batch(steps[:n], done[:n]) != nil {
		clear(done[:n])
	}
	return max(n, 1)
}

// batch sends all requests at once. The kernel answers those that it refuses, and the last one.
func (c *rtnl) batch(steps []step, done []bool) error {
	h := c.sockets[unix.NETLINK_ROUTE]
	h.Socket.Lock()
	defer h.Socket.Unlock()
	var all []byte
	var first, last uint32
	for i := range steps {
		var r *nl.NetlinkRequest
		if steps[i].op == addRoute {
			r = c.newRoute(steps[i].route)
		} else {
			r = c.oldRoute(steps[i].route)
		}
		last = atomic.AddUint32(&h.Seq, 1)
		if i == 0 {
			first = last
		}
		if i == len(steps)-1 {
			r.Flags |= unix.NLM_F_ACK
		}
		r.Seq, done[i] = last, true
		all = append(all, r.Serialize()...)
	}
	if err := unix.Sendto(h.Socket.GetFd(), all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for {
		msgs, _, err := h.Socket.Receive()
		if err != nil {
			return err
		}
		for _, m := range msgs {
			i := m.Header.Seq - first // of another request it is large
			if m.Header.Type != unix.NLMSG_ERROR || uint64(i) >= uint64(len(steps)) {
				continue
			}
			done[i] = u32(m.Data) == 0
			if m.Header.Seq == last {
				return nil
			}
		}
	}
}

// ignore makes the kernel leave out what it would tell us of routes that c changes: a filter on struct nlmsghdr, whose
// nlmsg_pid says whose request it was. The loads of a filter are big-endian.
func (w *watcher) ignore(c *rtnl) error {
	pid, err := c.sockets[unix.NETLINK_ROUTE].Socket.GetPid()
	if err != nil {
		return err
	}
	typ := func(t uint16) uint32 {
		return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, t)))
	}
	const offType, offPid = 4, 12
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: offType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: typ(unix.RTM_NEWROUTE), Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: typ(unix.RTM_DELROUTE), Jf: 2},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offPid},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: binary.BigEndian.Uint32(put32(pid)), Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SetsockoptSockFprog(w.route.GetFd(), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
