// SPDX-License-Identifier: MIT

package gauge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Path asks questions of the outer path, past WireGuard. The zero value is ready.
type Path struct {
	Mark uint32 // of the sockets; needs CAP_NET_ADMIN; 0: none
}

const ethernetMTU = 1500

// ErrNoEcho says that this user may not send ICMP echo requests.
var ErrNoEcho = errors.New("this user may not send ICMP echo requests (net.ipv4.ping_group_range)")

// MTU asks the kernel what fits on the way: the MTU of the route's interface, or what ICMP has taught since. The error is
// the kernel's when there is no route. What emulates Linux may not know the option: the MTU is then an Ethernet's.
func (p Path) MTU(to netip.AddrPort) (mtu int, err error) {
	f := familyOf(to.Addr())
	sock, err := p.connect(f, to)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sock.Close() }() // nothing was written
	raw, err := sock.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = control(raw, func(fd int) (err error) {
		mtu, err = unix.GetsockoptInt(fd, f.level, f.mtu)
		return err
	})
	if errors.Is(err, unix.ENOPROTOOPT) {
		return ethernetMTU, nil
	}
	return mtu, err
}

// connect makes a datagram socket for one address. That looks up the route and sends nothing.
func (p Path) connect(f family, to netip.AddrPort) (*net.UDPConn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return control(c, p.mark) }}
	c, err := d.Dial(f.udp, to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

func (p Path) mark(fd int) error {
	if p.Mark == 0 {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.Mark))
}

// Ports that traceroute sends to: nobody listens there, and hosts without a firewall say so.
const (
	closedPortBase  = 33434
	closedPortRange = 90
)

// Reach is how a host answers, beside WireGuard. It tells a path that is blocked from keys that do not fit.
type Reach struct {
	ClosedPort *Fault        // what came back from a UDP port where nobody listens; nil: nothing
	TCP        bool          // it answered TCP at the port of WireGuard, by accepting or refusing
	Echo       time.Duration // of an ICMP echo; 0: none came
	EchoError  error         // why none was sent
}

// reachPatience is how long each question may take.
const reachPatience = 2 * time.Second

// Reach sends a few octets to the host of the address by UDP, TCP and ICMP.
func (p Path) Reach(ctx context.Context, to netip.AddrPort) (r Reach) {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { r.ClosedPort = p.closedPort(ctx, to.Addr()) })
	wg.Go(func() { r.TCP = p.tcp(ctx, to) })
	wg.Go(func() { r.Echo, r.EchoError = p.Ping(ctx, to.Addr()) })
	wg.Wait()
	return r
}

func (p Path) tcp(ctx context.Context, to netip.AddrPort) bool {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return control(c, p.mark) }}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err == nil {
		_ = c.Close() // nothing was said
	}
	return err == nil || errors.Is(err, unix.ECONNREFUSED)
}

// askAgain is how long an answer is waited for before the question is sent once more.
const askAgain = 500 * time.Millisecond

func (p Path) closedPort(ctx context.Context, to netip.Addr) *Fault {
	f := familyOf(to)
	sock, err := p.connect(f, netip.AddrPortFrom(to, uint16(closedPortBase+rand.IntN(closedPortRange))))
	if err != nil {
		return nil
	}
	defer func() { _ = sock.Close() }() // what is lost was only a question
	raw, err := sock.SyscallConn()
	if err != nil || control(raw, f.prepare) != nil {
		return nil
	}
	for ctx.Err() == nil {
		_, err := sock.Write([]byte{0})
		if err == nil {
			_ = sock.SetReadDeadline(soonest(ctx, askAgain)) // open: cannot fail
			_, err = sock.Read(make([]byte, 64))
		}
		if list := f.reports(sock); len(list) > 0 {
			return &list[0]
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !reported(err) {
			return nil
		}
	}
	return nil
}

// soonest is the end of ctx, or of d from now.
func soonest(ctx context.Context, d time.Duration) time.Time {
	at := time.Now().Add(d)
	if end, ok := ctx.Deadline(); ok && end.Before(at) {
		return end
	}
	return at
}

// Ping sends ICMP echo requests until one is answered, and gives its time; no answer is an error of ctx.
func (p Path) Ping(ctx context.Context, to netip.Addr) (time.Duration, error) {
	to = to.Unmap()
	domain, proto, request := unix.AF_INET6, unix.IPPROTO_ICMPV6, byte(128) // RFC 4443 section 4.1
	if to.Is4() {
		domain, proto, request = unix.AF_INET, unix.IPPROTO_ICMP, 8 // RFC 792
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return 0, ErrNoEcho
	case err != nil:
		return 0, fmt.Errorf("echo request to %s: %w", to, err)
	}
	file := os.NewFile(uintptr(fd), "icmp") // non-blocking, so that deadlines work
	defer func() { _ = file.Close() }()     // what is lost was only a question
	if err := errors.Join(p.mark(fd), unix.Connect(fd, sockaddr(to))); err != nil {
		return 0, fmt.Errorf("echo request to %s: %w", to, err)
	}
	var sent [1 << 8]time.Time
	for seq := byte(0); ctx.Err() == nil; seq++ {
		// The kernel puts in the identifier, and the checksum.
		sent[seq] = time.Now()
		if _, err := file.Write([]byte{request, 0, 0, 0, 0, 0, 0, seq}); err != nil && !reported(err) {
			return 0, fmt.Errorf("echo request to %s: %w", to, err)
		}
		if rtt, ok := echoReply(file, soonest(ctx, askAgain), &sent); ok {
			return rtt, nil
		}
	}
	return 0, ctx.Err()
}

func echoReply(file *os.File, until time.Time, sent *[1 << 8]time.Time) (time.Duration, bool) {
	_ = file.SetReadDeadline(until) // open: cannot fail
	b := make([]byte, 128)
	for {
		n, err := file.Read(b)
		at := time.Now()
		if err != nil && !reported(err) {
			return 0, false
		}
		if n < 8 || b[0] != 0 && b[0] != 129 { // only echo replies are given to this socket
			continue
		}
		if seq := binary.BigEndian.Uint16(b[6:]); int(seq) < len(sent) && !sent[seq].IsZero() {
			return at.Sub(sent[seq]), true
		}
	}
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}
