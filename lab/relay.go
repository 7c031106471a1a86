// SPDX-License-Identifier: MIT

package lab

import (
	"slices"
	"sync"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack"
	"oasis6/hub"
	"oasis6/lab/engine"
	"oasis6/router"
	"oasis6/tun"
)

// A loop that is woken in the middle of an event runs beside the rest of it, and then chance decides which of the two asks
// first for an event or sends first. So what loops hear waits until all is at rest, and comes to them one by one. In real
// time there is no such order, and nothing waits.

// relay gives out what comes in when all is at rest: one thing, and only when the one before was taken. After end nothing
// comes out any more.
func relay[T any](e *engine.Engine, in <-chan T) (out <-chan T, end func()) {
	if e.Real() {
		return in, func() {}
	}
	c := make(chan T, 1)
	return c, e.OnRest(func() bool {
		if len(c) > 0 {
			return false
		}
		select {
		case v, ok := <-in:
			if ok {
				c <- v
			}
			return ok
		default:
			return false
		}
	})
}

// relayedPlane is a data plane whose loop hears of it at rest.
type relayedPlane struct {
	*netstack.Plane
	e      *engine.Engine
	events <-chan dataplane.Event
	end    func() // of the events; sockets end when they are closed
}

func newRelayedPlane(e *engine.Engine, p *netstack.Plane) *relayedPlane {
	events, end := relay(e, p.Events())
	return &relayedPlane{p, e, events, end}
}

// Events is dataplane.Plane's.
func (p *relayedPlane) Events() <-chan dataplane.Event { return p.events }

// OpenND is dataplane.Plane's.
func (p *relayedPlane) OpenND(iface string) (dataplane.Conn, error) {
	return p.open(p.Plane.OpenND(iface))
}

// OpenDHCPv6 is dataplane.Plane's.
func (p *relayedPlane) OpenDHCPv6(iface string) (dataplane.Conn, error) {
	return p.open(p.Plane.OpenDHCPv6(iface))
}

func (p *relayedPlane) open(c dataplane.Conn, err error) (dataplane.Conn, error) {
	if err != nil || p.e.Real() {
		return c, err
	}
	in := make(chan dataplane.Received)
	r := &relayedConn{Conn: c, ended: make(chan struct{}), shut: make(chan struct{})}
	r.got, r.end = relay(p.e, in)
	go func() {
		for {
			m, err := c.Receive()
			m.Data = slices.Clone(m.Data)
			if err != nil {
				r.err = err
				close(r.ended)
				return
			}
			select {
			case in <- m:
			case <-r.shut:
			}
		}
	}()
	return r, nil
}

// relayedConn is a socket of such a plane.
type relayedConn struct {
	dataplane.Conn
	got   <-chan dataplane.Received
	ended chan struct{}
	err   error // after ended
	shut  chan struct{}
	end   func() // of the relay
	once  sync.Once
}

// Close is dataplane.Conn's.
func (c *relayedConn) Close() error {
	c.once.Do(func() {
		close(c.shut)
		c.end()
	})
	return c.Conn.Close()
}

// Receive is dataplane.Conn's.
func (c *relayedConn) Receive() (dataplane.Received, error) {
	select {
	case m := <-c.got:
		return m, nil
	case <-c.ended:
		return dataplane.Received{}, c.err
	}
}

// relayedTunnel is a box's end of a tunnel.
type relayedTunnel struct {
	router.Tunnel
	events <-chan tun.Event
}

// Events is router.Tunnel's.
func (t relayedTunnel) Events() <-chan tun.Event { return t.events }

// relayedHub is the hub's end.
type relayedHub struct {
	hub.Tunnel
	events <-chan tun.Event
}

// Events is hub.Tunnel's.
func (t relayedHub) Events() <-chan tun.Event { return t.events }
