// SPDX-License-Identifier: MIT

// Package dataplanetest is a data plane that forwards nothing: it keeps what was applied as text,
// lets a test say what happens, and carries Neighbor Discovery and DHCPv6 messages over channels.
//
// It is for tests of the consumers of dataplane.Plane; it has no goroutine and opens no socket, so
// it works in testing/synctest. Start at New.
package dataplanetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"oasis6/dataplane"
)

// Plane is a fake dataplane.Plane. Unlike a real one it may be used from any goroutine.
type Plane struct {
	mu        sync.Mutex
	want      dataplane.Desired
	applies   []string
	applyErr  error
	watched   []string
	links     map[string]dataplane.Link
	conns     map[string]*Conn // ND
	dhcp      map[string]*Conn
	dhcpErr   error
	neighbors []dataplane.Neighbor
	stats     dataplane.NeighborStats
	proxies   []dataplane.ProxyStats
	restored  bool
	closed    bool
	events    chan dataplane.Event
}

var (
	_ dataplane.Plane         = (*Plane)(nil)
	_ dataplane.ProxyReporter = (*Plane)(nil)
)

// eventBuffer is more than a test pushes between two reads of its loop.
const eventBuffer = 256

// New makes an empty plane. Links that exist are told with SetLink.
func New() *Plane {
	return &Plane{
		links:  make(map[string]dataplane.Link),
		conns:  make(map[string]*Conn),
		dhcp:   make(map[string]*Conn),
		events: make(chan dataplane.Event, eventBuffer),
	}
}

// Watch keeps the names and emits the present state of each, as the contract says.
func (p *Plane) Watch(ifaces []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched = append([]string(nil), ifaces...)
	for _, name := range ifaces {
		l, ok := p.links[name]
		if !ok {
			l = dataplane.Link{Name: name}
		}
		p.push(dataplane.LinkChanged{Link: l})
	}
	return nil
}

// Apply keeps the value. It answers with what FailApply set.
func (p *Plane) Apply(ctx context.Context, want dataplane.Desired) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("apply: %w", net.ErrClosed)
	}
	p.applies = append(p.applies, want.String())
	if p.applyErr != nil {
		return p.applyErr
	}
	p.want = want
	return nil
}

// Events is what SetLink and Push filled.
func (p *Plane) Events() <-chan dataplane.Event { return p.events }

// OpenND refuses a link that is not up, has no link-local address or is a port of a bridge, as the kernel's does.
func (p *Plane) OpenND(iface string) (dataplane.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open(iface, p.conns)
}

// open makes a socket on a link that can have one, and notes it in conns; the caller holds the lock.
func (p *Plane) open(iface string, conns map[string]*Conn) (dataplane.Conn, error) {
	l := p.links[iface]
	switch {
	case l.Master != "":
		return nil, fmt.Errorf("%s is a port of bridge %s: use Interface = %s", iface, l.Master, l.Master)
	case !l.Up || !l.LinkLocal.IsValid():
		return nil, fmt.Errorf("%s: not up or no link-local address", iface)
	}
	c := &Conn{
		In:   make(chan dataplane.Received, eventBuffer),
		Out:  make(chan Sent, eventBuffer),
		done: make(chan struct{}),
	}
	conns[iface] = c
	return c, nil
}

// OpenDHCPv6 refuses what OpenND refuses, and answers with what FailDHCPv6 set.
func (p *Plane) OpenDHCPv6(iface string) (dataplane.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dhcpErr != nil {
		return nil, p.dhcpErr
	}
	return p.open(iface, p.dhcp)
}

// FailDHCPv6 makes OpenDHCPv6 answer with err from now on; nil ends that.
func (p *Plane) FailDHCPv6(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dhcpErr = err
}

// Neighbors is what SetNeighbors set, on every interface.
func (p *Plane) Neighbors(string) ([]dataplane.Neighbor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]dataplane.Neighbor(nil), p.neighbors...), nil
}

// SetNeighbors sets what Neighbors answers.
func (p *Plane) SetNeighbors(n ...dataplane.Neighbor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.neighbors = n
}

// NeighborStats is what SetNeighborStats set.
func (p *Plane) NeighborStats() (dataplane.NeighborStats, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats, nil
}

// SetNeighborStats sets what NeighborStats answers.
func (p *Plane) SetNeighborStats(s dataplane.NeighborStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats = s
}

// ProxyStats is what SetProxyStats set.
func (p *Plane) ProxyStats() []dataplane.ProxyStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]dataplane.ProxyStats(nil), p.proxies...)
}

// SetProxyStats sets what ProxyStats answers.
func (p *Plane) SetProxyStats(s ...dataplane.ProxyStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxies = s
}

// Restore empties the plane.
func (p *Plane) Restore(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want, p.restored = dataplane.Desired{}, true
	return nil
}

// Close closes the events and leaves what was applied.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.events)
	}
	return nil
}

// SetLink says what an interface is like from now on and emits LinkChanged if it is watched.
func (p *Plane) SetLink(l dataplane.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[l.Name] = l
	for _, name := range p.watched {
		if name == l.Name {
			p.push(dataplane.LinkChanged{Link: l})
		}
	}
}

// Push emits an event.
func (p *Plane) Push(ev dataplane.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.push(ev)
}

func (p *Plane) push(ev dataplane.Event) {
	if !p.closed {
		p.events <- ev
	}
}

// FailApply makes Apply answer with err from now on; nil ends that.
func (p *Plane) FailApply(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applyErr = err
}

// String is what is applied at present, as dataplane.Desired prints it.
func (p *Plane) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want.String()
}

// Want is what is applied at present.
func (p *Plane) Want() dataplane.Desired {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want
}

// Applies is the text of every Apply so far, failed ones included.
func (p *Plane) Applies() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.applies...)
}

// Watched is what the last Watch named.
func (p *Plane) Watched() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.watched...)
}

// Restored says whether Restore was called, Closed whether Close was.
func (p *Plane) Restored() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restored
}

// Closed says whether Close was called.
func (p *Plane) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// ND is the socket that was last opened on the interface, nil if none was.
func (p *Plane) ND(iface string) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[iface]
}

// DHCPv6 is the DHCPv6 server's socket that was last opened on the interface, nil if none was.
func (p *Plane) DHCPv6(iface string) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dhcp[iface]
}

// Sent is one message that the code under test sent.
type Sent struct {
	To   netip.Addr
	Data []byte
}

// Conn is a fake socket: the test writes In and reads Out.
type Conn struct {
	In  chan dataplane.Received
	Out chan Sent

	once sync.Once
	done chan struct{}
}

var _ dataplane.Conn = (*Conn)(nil)

// Receive waits for a message on In.
func (c *Conn) Receive() (dataplane.Received, error) {
	select {
	case m := <-c.In:
		return m, nil
	case <-c.done:
		return dataplane.Received{}, fmt.Errorf("receive: %w", net.ErrClosed)
	}
}

// Send puts a copy of the message on Out.
func (c *Conn) Send(to netip.Addr, data []byte) error {
	select {
	case <-c.done:
		return fmt.Errorf("send: %w", net.ErrClosed)
	default:
	}
	select {
	case c.Out <- Sent{To: to, Data: append([]byte(nil), data...)}:
		return nil
	case <-c.done:
		return fmt.Errorf("send: %w", net.ErrClosed)
	}
}

// Close ends Receive.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// IsClosed says whether the code under test closed the socket.
func (c *Conn) IsClosed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
