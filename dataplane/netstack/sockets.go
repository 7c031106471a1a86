// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/ip6pkt"
)

// The sockets of a LAN are not gVisor's: a message is taken where it comes in and sent where packets go out, so there is no
// goroutine between, and no second view of the neighbors.
const (
	// socketQueue messages wait at most, some hundred as in the kernel's data plane.
	socketQueue = 256
	hopLimit    = 255
	ndMaxData   = 9216 // a jumbo frame
	dhcpMaxData = 4096
	dhcpClient  = 546 // RFC 9915 section 7.2
	dhcpServer  = 547
	dhcpHops    = 1 // what Linux gives multicast; the other end is on the link
)

// allDHCPServers is All_DHCP_Relay_Agents_and_Servers (RFC 9915 section 7.1).
func allDHCPServers() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 13: 1, 15: 2}) }

// sockets are the open ones of a port: one of each kind.
type sockets struct{ ndp, dhcpv6 atomic.Pointer[socket] }

// socket is one of them. It sends from the link-local address that the interface had when it was opened.
type socket struct {
	port *port
	slot *atomic.Pointer[socket]
	from netip.Addr
	udp  bool
	in   chan dataplane.Received
	done chan struct{}
	once sync.Once
}

var _ dataplane.Conn = (*socket)(nil)

// OpenND is dataplane.Plane's.
func (p *Plane) OpenND(iface string) (dataplane.Conn, error) {
	return p.openConn(iface, "neighbor discovery socket", false)
}

// OpenDHCPv6 is dataplane.Plane's. No other program can have the port.
func (p *Plane) OpenDHCPv6(iface string) (dataplane.Conn, error) {
	return p.openConn(iface, "DHCPv6 socket", true)
}

func (p *Plane) openConn(iface, what string, udp bool) (dataplane.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.ports[iface]
	l := p.describe(iface)
	switch {
	case p.closed:
		return nil, fmt.Errorf("%s: %s: %w", iface, what, net.ErrClosed)
	case p.tried[iface] != nil:
		return nil, fmt.Errorf("%s: %w", iface, p.tried[iface])
	case r == nil:
		return nil, fmt.Errorf("%s: no such interface", iface)
	case !l.Up:
		return nil, fmt.Errorf("%s: down or without carrier", iface)
	case !l.LinkLocal.IsValid():
		return nil, fmt.Errorf("%s: no usable link-local address yet", iface)
	}
	c := &socket{port: r, from: l.LinkLocal, udp: udp, in: make(chan dataplane.Received, socketQueue), done: make(chan struct{})}
	c.slot = &r.sockets.ndp
	if udp {
		c.slot = &r.sockets.dhcpv6
	}
	if !c.slot.CompareAndSwap(nil, c) {
		return nil, fmt.Errorf("%s: %s: open already", iface, what)
	}
	return c, nil
}

// Receive is dataplane.Conn's.
func (c *socket) Receive() (dataplane.Received, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.done:
		return dataplane.Received{}, fmt.Errorf("%s: receive: %w", c.port.name, net.ErrClosed)
	}
}

// Send is dataplane.Conn's.
func (c *socket) Send(to netip.Addr, data []byte) error {
	select {
	case <-c.done:
		return fmt.Errorf("%s: send: %w", c.port.name, net.ErrClosed)
	default:
	}
	to = to.WithZone("")
	var pkt []byte
	if c.udp {
		pkt = ip6pkt.UDP(c.from, to, dhcpServer, dhcpClient, dhcpHops, data)
	} else {
		pkt = ip6pkt.ICMPv6(c.from, to, hopLimit, data)
	}
	if pkt == nil {
		return fmt.Errorf("%s: send to %s: no packet of %d octets", c.port.name, to, len(data))
	}
	if !c.udp && len(data) > 0 && data[0] == typeRA {
		c.port.announce()
	}
	c.port.send(c.port.p.o.Now(), to, pkt, offload.Info{})
	return nil
}

// Close is dataplane.Conn's.
func (c *socket) Close() error {
	c.once.Do(func() {
		c.slot.CompareAndSwap(c, nil)
		close(c.done)
	})
	return nil
}

func (s *sockets) close() {
	for _, slot := range []*atomic.Pointer[socket]{&s.ndp, &s.dhcpv6} {
		if c := slot.Load(); c != nil {
			_ = c.Close() // it cannot fail
		}
	}
}

// put leaves a message; what finds no room is lost, as in a kernel's buffer.
func (c *socket) put(m dataplane.Received) {
	if len(c.in) == cap(c.in) {
		c.port.p.lost[lostSocket].Add(1)
		return // without copying: this is what a flood does
	}
	m.Iface, m.Data = c.port.name, slices.Clone(m.Data)
	select {
	case c.in <- m:
	default:
		c.port.p.lost[lostSocket].Add(1)
	}
}

// nd takes Router Solicitations and Advertisements. gVisor gets them too.
func (s *sockets) nd(pkt []byte, now time.Time) {
	c := s.ndp.Load()
	if c == nil || pkt[ip6pkt.HeaderLen] > typeRA || len(pkt) > ip6pkt.HeaderLen+ndMaxData {
		return
	}
	m, err := ip6pkt.ParseICMPv6(pkt)
	if err != nil || !c.mine(m.Dst, netip.IPv6LinkLocalAllRouters(), netip.IPv6LinkLocalAllNodes()) {
		return
	}
	c.put(dataplane.Received{Src: m.Src, HopLimit: int(m.HopLimit), Data: m.Body, At: now})
}

// dhcp takes messages to servers, so that gVisor does not answer that nobody listens; false: it is none.
func (s *sockets) dhcp(pkt []byte, now time.Time) bool {
	const port = ip6pkt.HeaderLen + 2
	c := s.dhcpv6.Load()
	if c == nil || len(pkt) < ip6pkt.HeaderLen+ip6pkt.UDPHeaderLen || binary.BigEndian.Uint16(pkt[port:]) != dhcpServer {
		return false
	}
	if !c.mine(netip.AddrFrom16([16]byte(pkt[offDst:offDst+16])), allDHCPServers()) {
		return false
	}
	m, err := ip6pkt.ParseUDP(pkt)
	if err == nil && len(m.Payload) > 0 && len(m.Payload) <= dhcpMaxData {
		c.put(dataplane.Received{Src: m.Src.Addr(), HopLimit: int(m.HopLimit), Data: m.Payload, At: now})
	}
	return true
}

// mine says whether the socket hears what goes to dst.
func (c *socket) mine(dst netip.Addr, groups ...netip.Addr) bool {
	return slices.Contains(groups, dst) || c.port.owns(dst)
}
