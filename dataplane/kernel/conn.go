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

// lanBuffer is the receive buffer of a LAN socket: some hundred small packets. What is more in a flood the kernel drops.
const lanBuffer = 128 << 10

// socketOption is an integer option of level IPPROTO_IPV6.
type socketOption struct {
	name       string
	opt, value int
}

// lanConn is a socket bound to one interface. It waits in Go's poller, so a Receive costs no thread.
type lanConn struct {
	iface string
	index int
	from  netip.Addr
	port  int // to which is sent; 0 for ND
	f     *os.File
	raw   syscall.RawConn
	gone  atomic.Bool

	// What follows is Receive's alone: it must not allocate for packets that nobody wants.
	buf      []byte
	oob      [64]byte
	n, oobn  int
	flags    int
	src      unix.Sockaddr
	err      error
	attempt  func(fd uintptr) bool
	accepted func(b []byte) bool
}

// openLAN finds the interface and opens a socket of the kind on it. The socket sends from the link-local address that
// the interface has now.
func (p *Plane) openLAN(iface, what string, c *lanConn, open func(*lanConn) (fd int, err error)) (dataplane.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("%s: %s: %w", iface, what, net.ErrClosed)
	}
	s := &snapshot{}
	var err error
	if s.links, err = p.rt.links(); err == nil {
		s.addrs, err = p.rt.addrs()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", iface, what, err)
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
	c.iface, c.index, c.from = iface, l.Index, l.LinkLocal
	err = p.ns.do(func() error {
		fd, err := open(c)
		if err != nil {
			return err
		}
		return c.wrap(fd, what)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", iface, err)
	}
	return c, nil
}

// wrap hands the descriptor to the poller.
func (c *lanConn) wrap(fd int, name string) (err error) {
	c.f = os.NewFile(uintptr(fd), name+" "+c.iface)
	if c.raw, err = c.f.SyscallConn(); err != nil {
		_ = c.f.Close()
	}
	c.attempt = func(fd uintptr) bool {
		c.n, c.oobn, c.flags, c.src, c.err = unix.Recvmsg(int(fd), c.buf, c.oob[:], 0)
		return !errors.Is(c.err, unix.EAGAIN)
	}
	return err
}

// bind binds to the interface, sets the options and joins the group there.
func (c *lanConn) bind(fd int, group netip.Addr, options ...socketOption) error {
	if err := unix.BindToDevice(fd, c.iface); err != nil {
		return fmt.Errorf("SO_BINDTODEVICE: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, lanBuffer); err != nil {
		return fmt.Errorf("SO_RCVBUF: %w", err)
	}
	options = append(options,
		socketOption{"IPV6_MULTICAST_LOOP", unix.IPV6_MULTICAST_LOOP, 0},
		socketOption{"IPV6_MULTICAST_IF", unix.IPV6_MULTICAST_IF, c.index})
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	mreq := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(c.index)}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, mreq); err != nil {
		return fmt.Errorf("join %s: %w", group, err)
	}
	return nil
}

// Receive is dataplane.Conn's. What was heard before the filter and the binding were there is skipped, and so is what is
// empty or too long.
func (c *lanConn) Receive() (dataplane.Received, error) {
	for {
		if err := c.raw.Read(c.attempt); err != nil {
			return dataplane.Received{}, c.closed("receive", err)
		}
		if c.err != nil {
			if passing(c.err) {
				continue
			}
			return dataplane.Received{}, fmt.Errorf("%s: receive: %w", c.iface, c.err)
		}
		sa, ok := c.src.(*unix.SockaddrInet6)
		if !ok || c.flags&unix.MSG_TRUNC != 0 || c.n == 0 || !c.accepted(c.buf[:c.n]) {
			continue
		}
		hops, index := ancillary(c.oob[:c.oobn])
		if index != c.index {
			continue
		}
		return dataplane.Received{
			Iface: c.iface, Src: netip.AddrFrom16(sa.Addr), HopLimit: hops,
			Data: c.buf[:c.n], At: bootclock.Now(),
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

// ancillary is what the kernel says beside a packet: its hop limit and the interface that it came in by, -1 each if it
// does not say.
func ancillary(oob []byte) (hops, index int) {
	hops, index = -1, -1
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		oob = rest
		switch {
		case h.Level != unix.IPPROTO_IPV6:
		case h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			hops = int(int32(binary.NativeEndian.Uint32(data)))
		case h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			index = int(int32(binary.NativeEndian.Uint32(data[16:]))) // struct in6_pktinfo: ipi6_ifindex follows the address
		}
	}
	return hops, index
}

// Send is dataplane.Conn's. The source is forced: to a global destination the kernel would choose
// a global source, and hosts drop such an RA (RFC 4861 section 6.1.2).
func (c *lanConn) Send(to netip.Addr, data []byte) error {
	sa := &unix.SockaddrInet6{Addr: to.As16(), Port: c.port, ZoneId: uint32(c.index)}
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

func (c *lanConn) closed(what string, err error) error {
	if c.gone.Load() { // the poller's own error for it has no exported name
		err = net.ErrClosed
	}
	return fmt.Errorf("%s: %s: %w", c.iface, what, err)
}

// Close ends a Receive that waits.
func (c *lanConn) Close() error {
	if c.gone.Swap(true) {
		return nil
	}
	return c.f.Close()
}
