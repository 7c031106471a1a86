// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A hub has a route for each lease: ten thousand, of which one or some change at a time. What is here makes an Apply cost
// what changes, and going through the list: what the kernel holds is kept from one Apply to the next, routes are changed
// many at a time, and the news of our own changes does not make us look.

const (
	// keptFor is how long nothing is read again without a sign: of a changed sysctl there may be none.
	keptFor = recheckSysctls
	// batchMost is how many routes are changed in one message. The answers, if all were errors, fit in the receive buffer.
	batchMost = 128
)

// kept is what the kernel holds, as far as it was read, and changed by us since. The zero value is nothing.
type kept struct {
	s      *snapshot
	signs  uint64 // what the watcher had counted before the reading
	tunnel string // whose sysctls were read
	deaf   bool   // the watcher does not hear of our own changes of routes
}

// reuse is what is kept, if it holds for what is wanted now and nobody else has changed anything since; else nil. The
// number is for keep. A sign that is still on its way makes a Drift when it comes.
func (k *kept) reuse(p *Plane) (s *snapshot, signs uint64) {
	p.watch.mu.Lock()
	signs = p.watch.signs
	p.watch.mu.Unlock()
	s, k.s = k.s, nil
	if !p.isHub() {
		return nil, signs
	}
	if !k.deaf {
		k.deaf = p.watch.ignore(p.rt) == nil // else it costs more
	}
	if s == nil || k.signs != signs || k.tunnel != p.want.Tunnel.Name || p.now().Sub(s.read) >= keptFor {
		return nil, signs
	}
	return s, signs
}

// isHub says whether what is wanted is a hub's, with nothing in it that depends on others' routes.
func (p *Plane) isHub() bool {
	if !p.active || p.want.Hub.Tunnel == "" || len(p.want.LANs) > 0 {
		return false
	}
	for i := range p.want.Routes {
		if p.want.Routes[i].IfNoOther {
			return false
		}
	}
	return true
}

// keep remembers what the kernel holds after the steps, if all was done and nothing but routes was changed.
func (k *kept) keep(p *Plane, s *snapshot, signs uint64, steps []step, err error) {
	if err != nil || len(p.dups) > 0 || !p.isHub() {
		return
	}
	gone := map[route]bool{}
	var come []route
	for i := range steps {
		r := steps[i].route
		switch steps[i].op {
		case addRoute:
			r.proto = mark
			come = append(come, r)
		case delRoute:
			gone[r] = true
		default:
			return
		}
	}
	after := *s
	if len(steps) > 0 {
		after.routes = make([]route, 0, len(s.routes)+len(come))
		for _, r := range s.routes {
			if len(gone) == 0 || !gone[r] {
				after.routes = append(after.routes, r)
			}
		}
		after.routes = append(after.routes, come...)
	}
	p.last = &after
	k.s, k.signs, k.tunnel = &after, signs, p.want.Tunnel.Name
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
