// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/internal/bootclock"
)

const (
	ndHopLimit = 255  // RFC 4861 section 6.1
	ndMaxData  = 9216 // a jumbo frame; what is longer was reassembled from fragments (RFC 6980) and is dropped
	ndRS       = 133
	ndRA       = 134
)

// allRouters is ff02::2.
func allRouters() netip.Addr { return netip.IPv6LinkLocalAllRouters() }

// OpenND is dataplane.Plane's. The socket sends from the link-local address that the interface has
// now: open another one when LinkChanged shows another index or link-local address.
func (p *Plane) OpenND(iface string) (dataplane.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("%s: neighbor discovery socket: %w", iface, net.ErrClosed)
	}
	s := &snapshot{}
	var err error
	if s.links, err = p.rt.links(); err == nil {
		s.addrs, err = p.rt.addrs()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: neighbor discovery socket: %w", iface, err)
	}
	l := s.describe(iface, netip.Addr{})
	switch {
	case !l.Exists:
		return nil, fmt.Errorf("%s: no such interface", iface)
	case l.Master != "": // packets surface on the bridge: the socket would send, and hear nothing
		return nil, fmt.Errorf("%s is a port of bridge %s: use Interface = %s", iface, l.Master, l.Master)
	case !l.Up:
		return nil, fmt.Errorf("%s: down or without carrier", iface)
	case !l.LinkLocal.IsValid():
		return nil, fmt.Errorf("%s: no usable link-local address: check net.ipv6.conf.%s.disable_ipv6 and addr_gen_mode", iface, iface)
	}
	c := &ndConn{iface: iface, index: l.Index, from: l.LinkLocal}
	if err := p.ns.do(c.open); err != nil {
		return nil, fmt.Errorf("%s: neighbor discovery socket: %w", iface, err)
	}
	return c, nil
}

// ndConn is a raw ICMPv6 socket bound to one interface. It waits in Go's poller, so a Receive costs
// no thread.
type ndConn struct {
	iface string
	index int
	from  netip.Addr
	f     *os.File
	raw   syscall.RawConn
	gone  atomic.Bool
}

func (c *ndConn) open() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	if err := c.setup(fd); err != nil {
		_ = unix.Close(fd)
		return err
	}
	c.f = os.NewFile(uintptr(fd), "icmpv6 "+c.iface)
	c.raw, err = c.f.SyscallConn()
	if err != nil {
		_ = c.f.Close()
	}
	return err
}

func (c *ndConn) setup(fd int) error {
	var filter unix.ICMPv6Filter // a set bit blocks a type
	for i := range filter.Data {
		filter.Data[i] = ^uint32(0)
	}
	for _, typ := range []uint{ndRS, ndRA} {
		filter.Data[typ/32] &^= 1 << (typ % 32)
	}
	// The filter comes first: until it is there everything is heard.
	if err := unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &filter); err != nil {
		return fmt.Errorf("ICMP6_FILTER: %w", err)
	}
	if err := unix.BindToDevice(fd, c.iface); err != nil {
		return fmt.Errorf("SO_BINDTODEVICE: %w", err)
	}
	for _, o := range []struct {
		name       string
		opt, value int
	}{
		{"IPV6_RECVHOPLIMIT", unix.IPV6_RECVHOPLIMIT, 1},
		{"IPV6_UNICAST_HOPS", unix.IPV6_UNICAST_HOPS, ndHopLimit},
		{"IPV6_MULTICAST_HOPS", unix.IPV6_MULTICAST_HOPS, ndHopLimit},
		{"IPV6_MULTICAST_LOOP", unix.IPV6_MULTICAST_LOOP, 0},
		{"IPV6_MULTICAST_IF", unix.IPV6_MULTICAST_IF, c.index},
	} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	group := &unix.IPv6Mreq{Multiaddr: allRouters().As16(), Interface: uint32(c.index)}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, group); err != nil {
		return fmt.Errorf("join ff02::2: %w", err)
	}
	return nil
}

// Receive is dataplane.Conn's. What was heard before the filter and the binding were there is skipped.
func (c *ndConn) Receive() (dataplane.Received, error) {
	buf := make([]byte, ndMaxData)
	oob := make([]byte, 64)
	for {
		var n, oobn, flags int
		var from unix.Sockaddr
		var err error
		waitErr := c.raw.Read(func(fd uintptr) bool {
			n, oobn, flags, from, err = unix.Recvmsg(int(fd), buf, oob, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		if waitErr != nil {
			return dataplane.Received{}, c.closed("receive", waitErr)
		}
		if err != nil {
			if passing(err) {
				continue
			}
			return dataplane.Received{}, fmt.Errorf("%s: receive: %w", c.iface, err)
		}
		sa, ok := from.(*unix.SockaddrInet6)
		if !ok || flags&unix.MSG_TRUNC != 0 || n == 0 || sa.ZoneId != 0 && int64(sa.ZoneId) != int64(c.index) {
			continue
		}
		if buf[0] != ndRS && buf[0] != ndRA {
			continue
		}
		return dataplane.Received{
			Iface: c.iface, Src: netip.AddrFrom16(sa.Addr), HopLimit: hopLimit(oob[:oobn]),
			Data: append([]byte(nil), buf[:n]...), At: bootclock.Now(),
		}, nil
	}
}

// passing are errors that concern one packet or one moment: the interface is down, a neighbour did
// not answer. The kernel reports each once.
func passing(err error) bool {
	for _, e := range []unix.Errno{
		unix.EINTR, unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EHOSTDOWN,
		unix.ECONNREFUSED, unix.ENOBUFS, unix.ENOMEM, unix.EPROTO, unix.EMSGSIZE, unix.ENODEV,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// hopLimit is that of the packet, -1 if the kernel did not say.
func hopLimit(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1
	}
	for _, m := range msgs {
		if m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(m.Data)))
		}
	}
	return -1
}

// Send is dataplane.Conn's. The source is forced: to a global destination the kernel would choose
// a global source, and hosts drop such an RA (RFC 4861 section 6.1.2).
func (c *ndConn) Send(to netip.Addr, data []byte) error {
	sa := &unix.SockaddrInet6{Addr: to.As16(), ZoneId: uint32(c.index)}
	oob := unix.PktInfo6(&unix.Inet6Pktinfo{Addr: c.from.As16(), Ifindex: uint32(c.index)})
	var err error
	waitErr := c.raw.Write(func(fd uintptr) bool {
		_, err = unix.SendmsgN(int(fd), data, oob, sa, 0)
		return !errors.Is(err, unix.EAGAIN)
	})
	if waitErr != nil {
		return c.closed("send", waitErr)
	}
	if err != nil {
		return fmt.Errorf("%s: send to %s: %w", c.iface, to, err)
	}
	return nil
}

func (c *ndConn) closed(what string, err error) error {
	if c.gone.Load() { // the poller's own error for it has no exported name
		err = net.ErrClosed
	}
	return fmt.Errorf("%s: %s: %w", c.iface, what, err)
}

// Close ends a Receive that waits.
func (c *ndConn) Close() error {
	if c.gone.Swap(true) {
		return nil
	}
	return c.f.Close()
}
