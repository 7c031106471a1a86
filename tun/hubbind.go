// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// hubBind is a hub's outer sockets, one for IPv4 and one for IPv6 on one port. A site is answered from the address that it
// asked, as kernel WireGuard does: a NAT or firewall before the site lets nothing else in. By which interface an answer
// leaves the routes say. conn.StdNetBind cannot do that: where the kernel joins datagrams (UDP_GRO, Linux 5.12 and later),
// its splitCoalescedMessages forgets to which address they came (wireguard-go ecfc5a8d5446), and where it does not, the
// interface is tied as well.
type hubBind struct {
	mu     sync.Mutex
	v4, v6 *hubSocket // nil: not open, or not of this kernel
}

// hubEndpoint is where a site is, and which address of ours it knows. It never changes, so many may send to it at once.
type hubEndpoint struct {
	to     netip.AddrPort
	src    netip.Addr // not valid: the kernel's choice
	pinned []byte     // the control message that says so; empty without src
}

func newHubEndpoint(to netip.AddrPort, src netip.Addr) *hubEndpoint {
	return &hubEndpoint{to: to, src: src, pinned: pinTo(src)}
}

// ClearSrc does nothing: send finds out by itself that the address is gone.
func (e *hubEndpoint) ClearSrc() {}

func (e *hubEndpoint) SrcToString() string { return e.src.String() }
func (e *hubEndpoint) DstToString() string { return e.to.String() }
func (e *hubEndpoint) DstIP() netip.Addr   { return e.to.Addr() }
func (e *hubEndpoint) SrcIP() netip.Addr   { return e.src }

// DstToBytes is what a cookie is bound to.
func (e *hubEndpoint) DstToBytes() []byte {
	b, _ := e.to.MarshalBinary() // never fails
	return b
}

// ParseEndpoint makes an endpoint without a source, as those from the disk are.
func (b *hubBind) ParseEndpoint(s string) (conn.Endpoint, error) {
	to, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newHubEndpoint(netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), netip.Addr{}), nil
}

// BatchSize is how many datagrams are read or sent at once.
func (b *hubBind) BatchSize() int { return conn.IdealBatchSize }

// portTries bounds the search for a port that is free in both families.
const portTries = 100

// Open opens both sockets on one port; 0 is any. A kernel without IPv6 has one only.
func (b *hubBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.v4 != nil || b.v6 != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	for try := 1; ; try++ {
		err := b.open(port)
		if err == nil {
			break
		}
		if port != 0 || try == portTries || !errors.Is(err, unix.EADDRINUSE) {
			return nil, 0, err
		}
	}
	var fns []conn.ReceiveFunc
	for _, s := range []*hubSocket{b.v4, b.v6} {
		if s != nil {
			fns, port = append(fns, newHubReceiver(s.batch, s.gro).receive), s.port()
		}
	}
	return fns, port, nil
}

// open opens both or none.
func (b *hubBind) open(port uint16) (err error) {
	if b.v4, err = openHubSocket("udp4", port); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return err
	}
	without4 := err
	if b.v4 != nil {
		port = b.v4.port()
	}
	if b.v6, err = openHubSocket("udp6", port); err == nil || b.v4 != nil && errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	if b.v4 != nil {
		err = errors.Join(err, b.v4.conn.Close())
		b.v4 = nil
	}
	return errors.Join(without4, err)
}

// Close ends the receive functions.
func (b *hubBind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, s := range []*hubSocket{b.v4, b.v6} {
		if s != nil {
			errs = append(errs, s.conn.Close())
		}
	}
	b.v4, b.v6 = nil, nil
	return errors.Join(errs...)
}

// SetMark gives what leaves a firewall mark.
func (b *hubBind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range []*hubSocket{b.v4, b.v6} {
		if s == nil {
			continue
		}
		if err := s.setOption(unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return fmt.Errorf("mark sockets: %w", err)
		}
	}
	return nil
}

// Send sends all datagrams to one endpoint.
func (b *hubBind) Send(bufs [][]byte, ep conn.Endpoint) error {
	e, ours := ep.(*hubEndpoint)
	if !ours {
		return conn.ErrWrongEndpointType
	}
	b.mu.Lock()
	s := b.v4
	if e.to.Addr().Is6() {
		s = b.v6
	}
	b.mu.Unlock()
	if s == nil {
		return unix.EAFNOSUPPORT
	}
	return s.send(bufs, e)
}

// send sends once more, from an address of the kernel's choice, when the source may be the reason for an error.
func (s *hubSocket) send(bufs [][]byte, e *hubEndpoint) error {
	err := s.sender.send(bufs, e.to, e.pinned)
	if err != nil && len(e.pinned) > 0 && sourceGone(err) {
		return s.sender.send(bufs, e.to, nil)
	}
	return err
}

// sourceGone says whether the source may be why a datagram did not leave: Linux says EINVAL when the address is gone,
// and that there is no way out where rules have none for it.
func sourceGone(err error) bool {
	for _, e := range []error{unix.EINVAL, unix.EADDRNOTAVAIL, unix.ENODEV, unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTUNREACH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
