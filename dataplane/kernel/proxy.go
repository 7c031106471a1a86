// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/internal/bootclock"
	"oasis6/internal/bucket"
)

// How many solicitations are answered. Each address that is in use behind the hub costs the provider's router one in half
// a minute or so: ten thousand sites with some hosts each are a thousand a second. A neighbor that floods us has a measure
// of its own, so that it is not the router who gets no answer.
const (
	answerEvery = time.Second / 2000
	answerBurst = 4000
	// maxSolicitors have a measure each, the others share one. One that has been silent for solicitorTime is forgotten.
	maxSolicitors = 16
	solicitorTime = time.Minute
	// An answer to who looks for a free address goes to all nodes.
	dadAnswerEvery = time.Second / 10
	dadAnswerBurst = 20

	// proxyBuffer is room for some thousand small packets.
	proxyBuffer = 1 << 20
	// maxSolicitation is more than any has; what is longer is cut, and then malformed.
	maxSolicitation = 1280
)

// Reasons for which a solicitation is not answered, beside those of parseSolicitation.
const (
	whyNotOurs = "not of a site"
	whyOwn     = "own address"
	whyRate    = "too many"
	whyNoAddr  = "no link-local address"
	whyDevice  = "other interface"
	whySend    = "not sent"
)

var _ dataplane.ProxyReporter = (*Plane)(nil)

// proxies are those that answer, by interface.
type proxies struct {
	mu   sync.Mutex
	list map[string]*proxy
}

// proxy answers on one interface.
type proxy struct {
	iface    string
	index    int            // of the socket
	f        *os.File       // the socket; nil: none
	given    []netip.Prefix // what Desired named
	as       atomic.Pointer[answering]
	up       bool
	answered atomic.Uint64
	wg       sync.WaitGroup

	mu      sync.Mutex
	dropped map[string]uint64
	limits  limits
}

// answering is what the answers are made of. It is never changed, only replaced.
type answering struct {
	prefixes prefixList
	own      map[netip.Addr]bool // addresses of this machine in prefixes: the kernel answers for them
	from     netip.Addr          // zero: none yet
	mac      [6]byte
}

// follow makes the proxies what is wanted, on the interfaces that are there. p.mu is held.
func (ps *proxies) follow(p *Plane, s *snapshot) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.list == nil {
		ps.list = map[string]*proxy{}
	}
	var errs []error
	wanted := map[string]bool{}
	for _, w := range p.want.Proxy {
		if wanted[w.Iface] {
			continue
		}
		wanted[w.Iface] = true
		pr := ps.list[w.Iface]
		if pr == nil {
			pr = &proxy{iface: w.Iface, dropped: map[string]uint64{}}
			ps.list[w.Iface] = pr
		}
		if err := pr.follow(p, s, w.Prefixes); err != nil {
			errs = append(errs, fmt.Errorf("%s: neighbor solicitations for sites: %w", w.Iface, err))
		}
	}
	for name, pr := range ps.list {
		if !wanted[name] {
			pr.close()
			delete(ps.list, name)
		}
	}
	return errors.Join(errs...)
}

func (ps *proxies) close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, pr := range ps.list {
		pr.close()
	}
	clear(ps.list)
}

// follow opens the socket where there is an interface and none yet, or another one of the same name.
func (pr *proxy) follow(p *Plane, s *snapshot, prefixes []netip.Prefix) error {
	l, ok := s.linkByName(pr.iface)
	pr.up = false
	if !ok {
		pr.close()
		return nil // when it appears, that is an event
	}
	if !l.hasMAC || l.mac == [6]byte{} {
		pr.close()
		return errors.New("the interface has no MAC: nobody asks for neighbors there, and OnLink is of no use")
	}
	pr.prepare(s, l, prefixes)
	if pr.f != nil && pr.index != l.index {
		pr.close()
	}
	if pr.f == nil {
		if err := p.ns.do(func() error { return pr.open(l.index) }); err != nil {
			return err
		}
	}
	pr.up = l.up && l.running
	return nil
}

// prepare replaces what is answered, if it is another.
func (pr *proxy) prepare(s *snapshot, l link, prefixes []netip.Prefix) {
	old := pr.as.Load()
	next := answering{mac: l.mac, own: map[netip.Addr]bool{}}
	if old != nil && slices.Equal(pr.given, prefixes) {
		next.prefixes = old.prefixes
	} else {
		next.prefixes, pr.given = disjoint(prefixes), prefixes
	}
	var had netip.Addr
	if old != nil {
		had = old.from
	}
	next.from = s.describe(pr.iface, had).LinkLocal
	for _, a := range s.addrs {
		if ip := a.prefix.Addr(); next.prefixes.contains(ip) {
			next.own[ip] = true
		}
	}
	pr.as.Store(&next)
}

// open makes a socket that hears solicitations to all groups of the link. It hears nothing before Bind, and then only what the
// filter takes.
//
// Deviates from RFC 4861 section 7.2.8: a proxy joins the solicited-node groups of the addresses. There are more of them than
// there can be memberships, so the interface takes all multicast instead; a switch that snoops MLD may keep solicitations
// from us. Nor is an answer delayed, which is for links with several proxies.
func (pr *proxy) open(index int) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	filter := solicitationFilter()
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, proxyBuffer),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_ALLMULTI}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IPV6), Ifindex: index}))
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("packet socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "neighbor solicitations "+pr.iface)
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("packet socket: %w", err)
	}
	pr.f, pr.index = f, index
	pr.wg.Add(1)
	go pr.serve(raw, index)
	return nil
}

// close waits for the end of serve.
func (pr *proxy) close() {
	pr.up = false
	if pr.f != nil {
		_ = pr.f.Close() // nothing was written that could be lost
		pr.wg.Wait()
		pr.f = nil
	}
}

// serve answers until the socket is closed. An interface that goes down is an error once; the socket goes on when it is up
// again, and is closed when it is gone.
func (pr *proxy) serve(raw syscall.RawConn, index int) {
	defer pr.wg.Done()
	buf := make([]byte, maxSolicitation)
	for {
		var n int
		var from unix.Sockaddr
		var err error
		if raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(err, unix.EAGAIN)
		}) != nil {
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			continue
		}
		reply, to, why := pr.answer(bootclock.Now(), buf[:n], ll, index)
		if why == "" {
			if werr := raw.Write(func(fd uintptr) bool {
				err = unix.Sendto(int(fd), reply, 0, &to)
				return true // full: whoever asks asks again
			}); werr != nil {
				return
			}
			if err == nil {
				pr.answered.Add(1)
				continue
			}
			why = whySend
		}
		pr.mu.Lock()
		pr.dropped[why]++
		pr.mu.Unlock()
	}
}

// answer is what is sent to whom, or the reason why not.
func (pr *proxy) answer(now time.Time, pkt []byte, ll *unix.SockaddrLinklayer, index int) (reply []byte, to unix.SockaddrLinklayer, why string) {
	if ll.Ifindex != index || ll.Pkttype == unix.PACKET_OTHERHOST { // of a VLAN on it, or another's
		return nil, to, whyDevice
	}
	s, err := parseSolicitation(pkt)
	if err != nil {
		return nil, to, err.Error()
	}
	as, sender := pr.as.Load(), [6]byte(ll.Addr[:6])
	switch {
	case !as.prefixes.contains(s.target):
		return nil, to, whyNotOurs
	case as.own[s.target]:
		return nil, to, whyOwn
	case !as.from.IsValid():
		return nil, to, whyNoAddr
	case !pr.limits.take(now, sender, s.dad()):
		return nil, to, whyRate
	}
	mac := sender
	switch {
	case s.dad():
		mac = [6]byte{0x33, 0x33, 0, 0, 0, 1}
	case s.hasMAC:
		mac = s.mac
	}
	to = unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IPV6), Ifindex: index, Halen: 6}
	copy(to.Addr[:], mac[:])
	return s.advertisement(as.from, as.mac), to, ""
}

// limits are the measures. They belong to serve.
type limits struct {
	dad    bucket.Bucket
	others bucket.Bucket
	by     map[[6]byte]*solicitor
}

type solicitor struct {
	bucket.Bucket
	heard time.Time
}

// take says whether an answer may go.
func (l *limits) take(now time.Time, sender [6]byte, dad bool) bool {
	if l.by == nil {
		l.by = map[[6]byte]*solicitor{}
		l.dad = bucket.Bucket{Burst: dadAnswerBurst, Every: dadAnswerEvery}
		l.others = bucket.Bucket{Burst: answerBurst, Every: answerEvery}
	}
	if dad {
		return l.dad.Take(now, 1)
	}
	s := l.by[sender]
	if s == nil {
		if len(l.by) >= maxSolicitors {
			maps.DeleteFunc(l.by, func(_ [6]byte, s *solicitor) bool { return now.Sub(s.heard) >= solicitorTime })
		}
		if len(l.by) >= maxSolicitors {
			return l.others.Take(now, 1)
		}
		s = &solicitor{Bucket: bucket.Bucket{Burst: answerBurst, Every: answerEvery}}
		l.by[sender] = s
	}
	s.heard = now
	return s.Take(now, 1)
}

// ProxyStats is dataplane.ProxyReporter's.
func (p *Plane) ProxyStats() []dataplane.ProxyStats {
	p.proxies.mu.Lock()
	defer p.proxies.mu.Unlock()
	var out []dataplane.ProxyStats
	for _, name := range slices.Sorted(maps.Keys(p.proxies.list)) {
		pr := p.proxies.list[name]
		pr.mu.Lock()
		s := dataplane.ProxyStats{Iface: name, Up: pr.up, Answered: pr.answered.Load(), Dropped: maps.Clone(pr.dropped)}
		pr.mu.Unlock()
		out = append(out, s)
	}
	return out
}
