// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// Limits of neighbor discovery on behalf of the tunnel (RFC 6583).
//
// Each packet from the tunnel to an address on a LAN that the kernel does not know makes an entry in its neighbor table
// and three multicasts. So only addresses seen are reached freely: those that packets came from, and those that the
// kernel has resolved or heard of. A packet to another one needs a token.
//
// A LAN that forges its sources can fill the set: it is bounded, what is not seen again goes after seenTimeout, and a
// full set is emptied and filled with the kernel's neighbors first. A full set drops nothing by itself: whose address
// does not fit is where all are without a set, at the tokens.
const (
	setSeen = "seen"
	// seenSize is four times what the kernel's neighbor table takes by default (gc_thresh3).
	seenSize    = 4096
	seenTimeout = 4 * time.Hour
	// seenRenew is when a neighbor that the kernel still knows is put in anew.
	seenRenew = seenTimeout / 4
	// seenBatch is how many elements go in one transaction: an attribute holds 64 kB.
	seenBatch = 512
	// seenPace is the least time between two looks at the neighbors.
	seenPace = 100 * time.Millisecond

	// neighborRate and neighborBurst are the tokens. The kernel keeps a failed entry for up to 15 s, or until it has 128
	// (gc_thresh1): a scan holds some 300 entries of the 1024.
	neighborRate  = 10 // per second
	neighborBurst = 20

	whyLimited = "nobody seen there, RFC 6583"
)

func seenSet() setDef {
	return setDef{
		name: setSeen, typ: nftables.TypeIP6Addr, dynamic: true,
		text: []string{fmt.Sprint("dynamic size ", seenSize, " timeout ", seenTimeout)},
	}
}

// isSeenSet says whether the set is as we make it.
func isSeenSet(s *nftables.Set) bool {
	return s.Name == setSeen && s.Dynamic && s.HasTimeout && s.Timeout == seenTimeout && s.Size == seenSize &&
		!s.IsMap && !s.Interval && s.KeyType.Bytes == 16
}

// updateSeen does nothing where the set is full: the rule has no verdict.
func updateSeen() part {
	return part{"update @" + setSeen + " { ip6 saddr }", []expr.Any{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: offsetSource, Len: 16},
		&expr.Dynset{SrcRegKey: reg, SetName: setSeen, Operation: unix.NFT_DYNSET_OP_UPDATE},
	}}
}

// addSeen puts addresses into the set, with all their time before them. empty: they are all there is then.
func (n *nft) addSeen(addrs []netip.Addr, empty bool) error {
	c, err := n.open()
	if err != nil {
		return n.explain("open", err)
	}
	set := &nftables.Set{Table: n.table(), Name: setSeen, KeyType: nftables.TypeIP6Addr}
	for len(addrs) > 0 {
		var elems []nftables.SetElement
		for _, a := range addrs[:min(len(addrs), seenBatch)] {
			elems = append(elems, nftables.SetElement{Key: a.AsSlice()})
		}
		addrs = addrs[len(elems):]
		if empty {
			c.FlushSet(set)
			empty = false
		}
		// Before Linux 6.13 adding again leaves the time as it is, and deleting needs one that is there.
		err := errors.Join(c.SetAddElements(set, elems), c.SetDeleteElements(set, elems), c.SetAddElements(set, elems))
		if err == nil {
			err = c.Flush()
		}
		if err != nil {
			return n.explain("set "+setSeen, err)
		}
	}
	return nil
}

// limited is the counter of the packets that were over the limit.
func (n *nft) limited(c *nftables.Conn) (uint64, error) {
	rules, err := c.GetRules(n.table(), &nftables.Chain{Name: chainForward, Table: n.table()})
	for _, r := range rules {
		if why, _ := userdata.GetString(r.UserData, userdata.TypeComment); !strings.HasSuffix(why, " "+whyLimited) {
			continue
		}
		for _, e := range r.Exprs {
			if count, ok := e.(*expr.Counter); ok {
				return count.Packets, nil
			}
		}
	}
	return 0, err
}

// seenStats are the size of the set and the packets that were over the limit since Open, whatever the table was.
func (n *nft) seenStats() (known int, dropped uint64, err error) {
	c, err := n.open()
	if err != nil {
		return 0, n.dropped, n.explain("open", err)
	}
	elems, err := c.GetSetElements(&nftables.Set{Table: n.table(), Name: setSeen})
	if err == nil {
		dropped, err = n.limited(c)
	}
	if err != nil {
		return 0, n.dropped, n.explain("set "+setSeen, err)
	}
	return len(elems), n.dropped + dropped, nil
}

// refreshSeen puts those neighbors that the kernel knows into the set, if they are not there from before. p.mu is held.
func (p *Plane) refreshSeen() {
	if p.closed || !p.active || p.rules == nil || p.last == nil || len(p.want.Firewall.Sources) == 0 {
		return
	}
	list, err := p.rt.neighbors(p.onLinkNeighbor)
	if err != nil {
		p.log.Debug("neighbors unreadable", "err", err)
		return
	}
	list = list[:min(len(list), seenSize)]
	now := p.now()
	for ip, at := range p.seen {
		if now.Sub(at) >= seenRenew {
			delete(p.seen, ip)
		}
	}
	var all, add []netip.Addr
	for _, n := range list {
		all = append(all, n.ip)
		if _, ok := p.seen[n.ip]; !ok {
			add = append(add, n.ip)
		}
	}
	if len(add) == 0 {
		return
	}
	err = p.nft.addSeen(add, false)
	full := errors.Is(err, unix.ENFILE)
	if full {
		add, err = all, p.nft.addSeen(all, true)
	}
	if err != nil {
		p.log.Debug("addresses seen not kept", "err", err)
	}
	if full || err != nil || len(p.seen)+len(add) > seenSize {
		clear(p.seen)
	}
	for _, ip := range add {
		if err == nil {
			p.seen[ip] = now
		}
	}
}

// onLinkNeighbor says whether the neighbor is on a LAN and has an address there that the tunnel could be asked for.
func (p *Plane) onLinkNeighbor(n neighbor) bool {
	for _, l := range p.want.Firewall.Sources {
		if have, ok := p.last.linkByName(l.Iface); !ok || have.index != n.index {
			continue
		}
		for _, o := range l.OnLink {
			if o.Contains(n.ip) {
				return true
			}
		}
	}
	return false
}

// neighborEvents is a socket of its own: a flood of new neighbors must not cost us events of links and routes.
type neighborEvents struct {
	f       *os.File
	raw     syscall.RawConn
	routers atomic.Bool // there are some behind the LANs: link-local neighbors matter
}

func openNeighborEvents() (*neighborEvents, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	e := &neighborEvents{f: os.NewFile(uintptr(fd), "neighbors")}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_NEIGH - 1)})
	if err == nil {
		e.raw, err = e.f.SyscallConn()
	}
	if err != nil {
		_ = e.f.Close()
	}
	return e, err
}

// wait returns when a neighbor has become known, or messages were lost; false when the socket is closed.
func (e *neighborEvents) wait(buf []byte) bool {
	for {
		var n int
		var err error
		if e.raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return !errors.Is(err, unix.EAGAIN)
		}) != nil {
			return false
		}
		if err != nil {
			return true
		}
		m, ok := decodeNeighbor(buf[min(n, unix.SizeofNlMsghdr):n])
		if ok && m.state&(nudKnown|unix.NUD_PERMANENT) != 0 && (e.routers.Load() || !m.ip.IsLinkLocalUnicast()) {
			return true
		}
	}
}

// drain throws away what came meanwhile: the look that follows sees all of it.
func (e *neighborEvents) drain(buf []byte) {
	_ = e.raw.Read(func(fd uintptr) bool { // closed: wait says so
		for {
			if _, err := unix.Read(int(fd), buf[:1]); errors.Is(err, unix.EAGAIN) {
				return true
			}
		}
	})
}

// neighbors looks when the kernel has a new neighbor, seenPace after the first sign.
func (w *watcher) neighbors() {
	defer w.wg.Done()
	buf := make([]byte, os.Getpagesize())
	pace := seenPace
	for w.neigh.wait(buf) {
		select {
		case <-w.done:
			return
		case <-time.After(pace):
		}
		w.neigh.drain(buf)
		pace = seenPace
		if w.p.lookForNeighbors() {
			pace = routerPace
		}
	}
}

// lookForNeighbors says whether it had to make the table anew.
func (p *Plane) lookForNeighbors() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := p.followRouters()
	p.refreshSeen()
	return moved
}

// sortNeighbors puts those first that were heard last.
func sortNeighbors(list []neighbor) {
	sort.Slice(list, func(i, j int) bool { return list[i].age < list[j].age })
}
