// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

// RA is a Router Advertisement seen on a wire, decoded by another library than ours.
type RA struct {
	At       time.Time
	Src, Dst netip.Addr
	HopLimit int
	Data     []byte // from the ICMPv6 type on
	Msg      *ndp.RouterAdvertisement
	Err      error // why the library refuses the options; Msg is then without them, and Options has them all the same
}

// Prefix is the first prefix information option within p; nil if there is none.
func (r RA) Prefix(p netip.Prefix) *ndp.PrefixInformation {
	for _, o := range r.Msg.Options {
		if pi, ok := o.(*ndp.PrefixInformation); ok && p.Contains(pi.Prefix) {
			return pi
		}
	}
	return nil
}

// watch is what both watchers share: a socket and a goroutine that ends with the test.
type watch[E any] struct {
	mu   sync.Mutex
	seen []E
}

func (w *watch[E]) add(e E) { w.mu.Lock(); w.seen = append(w.seen, e); w.mu.Unlock() }

// All is everything seen so far, oldest first.
func (w *watch[E]) All() []E {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]E(nil), w.seen...)
}

// First waits for an element that ok accepts.
func (w *watch[E]) First(timeout time.Duration, ok func(E) bool) (found E, err error) {
	if !Poll(timeout, func() bool {
		for _, e := range w.All() {
			if ok(e) {
				found = e
				return true
			}
		}
		return false
	}) {
		return found, fmt.Errorf("not seen within %v", timeout)
	}
	return found, nil
}

// read calls handle with each datagram of a socket that open makes in the node.
func (n *Node) read(what string, open func() (int, error), handle func([]byte)) {
	n.lab.T.Helper()
	var f *os.File
	err := n.Do(func() error {
		fd, err := open()
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), what) // non-blocking, so Close ends Read
		return nil
	})
	if err != nil {
		n.lab.T.Fatalf("node %s: %s: %v", n.Name, what, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			m, err := f.Read(buf)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil { // ENETDOWN after the interface went down; it comes back
				continue
			}
			handle(append([]byte(nil), buf[:m]...))
		}
	}()
	n.lab.T.Cleanup(func() { _ = f.Close(); <-done })
}

// RAWatch collects the Router Advertisements that arrive at an interface.
type RAWatch struct{ watch[RA] }

// WatchRA listens on the wire, before the node's own IPv6 has a say.
func (n *Node) WatchRA(iface string) *RAWatch {
	n.lab.T.Helper()
	w := &RAWatch{}
	n.readIPv6(iface, func(b []byte) {
		if ra, ok := parseRA(b); ok {
			w.add(ra)
		}
	})
	return w
}

// readIPv6 calls handle with each IPv6 packet that arrives at an interface.
func (n *Node) readIPv6(iface string, handle func([]byte)) {
	n.lab.T.Helper()
	n.readPackets(iface, unix.ETH_P_IPV6, nil, handle)
}

// readIPv6Sent is readIPv6 for those that leave by it.
func (n *Node) readIPv6Sent(iface string, handle func([]byte)) {
	n.lab.T.Helper()
	n.readPackets(iface, unix.ETH_P_ALL, sentIPv6(), handle)
}

// sentIPv6 takes the IPv6 packets that this machine sends.
func sentIPv6() []unix.SockFilter {
	const skfAdOff, skfAdProtocol, skfAdPkttype = ^uint32(0xfff), 0, 4 // linux/filter.h: offsets from the end of numbers
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: skfAdOff + skfAdPkttype},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OUTGOING, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: skfAdOff + skfAdProtocol},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IPV6, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: ^uint32(0)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// readPackets calls handle with each packet of a protocol that the filter takes; nil takes all.
func (n *Node) readPackets(iface string, protocol uint16, filter []unix.SockFilter, handle func([]byte)) {
	n.lab.T.Helper()
	index := n.link(iface).Attrs().Index
	n.read("packet socket", func() (int, error) {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return -1, err
		}
		if filter != nil {
			prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
			if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
				return fd, fmt.Errorf("packet filter: %w", err)
			}
		}
		return fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: index})
	}, handle)
}

func parseRA(b []byte) (ra RA, ok bool) {
	const icmpv6, routerAdvertisement = 58, 134
	if len(b) < 56 || b[0]>>4 != 6 || b[6] != icmpv6 || b[40] != routerAdvertisement {
		return ra, false
	}
	ra = RA{At: time.Now(), HopLimit: int(b[7]), Data: b[40:min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))]}
	ra.Src, _ = netip.AddrFromSlice(b[8:24])
	ra.Dst, _ = netip.AddrFromSlice(b[24:40])
	m, err := ndp.ParseMessage(ra.Data)
	if err != nil {
		ra.Err = err
		if m, err = ndp.ParseMessage(ra.Data[:min(len(ra.Data), 16)]); err != nil {
			return ra, false
		}
	}
	ra.Msg, ok = m.(*ndp.RouterAdvertisement)
	return ra, ok
}

// echoEvery is how often FirstEcho tries.
const echoEvery = 5 * time.Millisecond

// FirstEcho sends echo requests every 5 ms, from the moment that the node has a global source
// address for them, until the first reply, and returns when that came.
func (n *Node) FirstEcho(to string, timeout time.Duration) (at time.Time, err error) {
	dst, err := netip.ParseAddr(to)
	if err != nil {
		return at, err
	}
	err = n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing is buffered
		tv := unix.NsecToTimeval(int64(echoEvery))
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		for end := time.Now().Add(timeout); time.Now().Before(end); {
			if !hasSource(dst) {
				time.Sleep(echoEvery)
				continue
			}
			request := []byte{128, 0, 0, 0, 0x66, 0x66, 0, 1}
			_ = unix.Sendto(fd, request, 0, &unix.SockaddrInet6{Addr: dst.As16()}) // the route may have just gone: try again
			if echoReply(fd, dst) {
				at = time.Now()
				return nil
			}
		}
		return fmt.Errorf("%s: no echo reply from %s within %v", n.Name, to, timeout)
	})
	return at, err
}

// hasSource asks the kernel which source address it would take, without sending anything. A
// request from the link-local address would draw errors from routers.
func hasSource(dst netip.Addr) bool {
	c, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(dst, 9)))
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }() // nothing was sent
	a, ok := netip.AddrFromSlice(c.LocalAddr().(*net.UDPAddr).IP)
	return ok && a.IsGlobalUnicast()
}

func echoReply(fd int, from netip.Addr) bool {
	buf := make([]byte, 256)
	for {
		m, sa, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return false
		}
		sa6, ok := sa.(*unix.SockaddrInet6)
		if ok && m >= 8 && buf[0] == 129 && netip.AddrFrom16(sa6.Addr) == from {
			return true
		}
	}
}
