// SPDX-License-Identifier: MIT

package lab

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.zx2c4.com/wireguard/conn"

	"oasis6/lab/engine"
	"oasis6/lab/nat"
)

// bindQueue datagrams wait for wireguard-go at most, as in a socket's buffer.
const bindQueue = 1024

// bind carries wireguard-go's datagrams by a node of the lab. wireguard-go calls it from its own goroutines, the node
// wants the engine's.
type bind struct {
	e    *engine.Engine
	n    *nat.Node
	keys *listener

	mu     sync.Mutex
	port   uint16
	in     chan datagram
	closed chan struct{} // nil: not open
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

func newBind(e *engine.Engine, n *nat.Node, keys *listener) *bind {
	return &bind{e: e, n: n, keys: keys}
}

// firstPort is for who wants any.
const firstPort = 51900

// Open is conn.Bind's.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	if port == 0 {
		port = firstPort
	}
	b.port, b.in, b.closed = port, make(chan datagram, bindQueue), make(chan struct{})
	in, closed := b.in, b.closed
	b.e.Post(func() {
		// A port that is taken stays so, as long as another device has it: the lab gives no two the same.
		_ = b.n.Listen(port, nat.Program{Receive: func(from netip.AddrPort, data []byte) string {
			select {
			case in <- datagram{from, append([]byte(nil), data...)}:
				return ""
			default:
				return "dropped: the socket's buffer is full"
			}
		}})
	})
	receive := func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case d := <-in:
			sizes[0], eps[0] = copy(packets[0], d.data), endpoint(d.from)
			return 1, nil
		case <-closed:
			return 0, net.ErrClosed
		}
	}
	return []conn.ReceiveFunc{receive}, port, nil
}

// Close is conn.Bind's.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed == nil {
		return nil
	}
	close(b.closed)
	b.closed = nil
	port := b.port
	b.e.Post(func() { _ = b.n.Listen(port, nat.Program{}) }) // giving back never fails
	return nil
}

// Send is conn.Bind's. What cannot be sent is lost, as in a network.
func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.mu.Lock()
	port, open := b.port, b.closed != nil
	b.mu.Unlock()
	if !open {
		return net.ErrClosed
	}
	for _, x := range bufs {
		data := append([]byte(nil), x...)
		b.keys.sent(data)
		b.e.Post(func() { _ = b.n.SendUDP(port, netip.AddrPort(to), data) }) // as said
	}
	return nil
}

// SetMark is conn.Bind's; the lab has no marks.
func (b *bind) SetMark(uint32) error { return nil }

// BatchSize is conn.Bind's.
func (b *bind) BatchSize() int { return 1 }

// ParseEndpoint is conn.Bind's.
func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, errors.Join(errors.New("not an address and port"), err)
	}
	return endpoint(a), nil
}

// endpoint is an address of the lab.
type endpoint netip.AddrPort

// ClearSrc is conn.Endpoint's.
func (e endpoint) ClearSrc() {}

// SrcToString is conn.Endpoint's.
func (e endpoint) SrcToString() string { return "" }

// DstToString is conn.Endpoint's.
func (e endpoint) DstToString() string { return netip.AddrPort(e).String() }

// DstToBytes is conn.Endpoint's.
func (e endpoint) DstToBytes() []byte {
	b, _ := netip.AddrPort(e).MarshalBinary() // a netip.AddrPort always has a form
	return b
}

// DstIP is conn.Endpoint's.
func (e endpoint) DstIP() netip.Addr { return netip.AddrPort(e).Addr() }

// SrcIP is conn.Endpoint's.
func (e endpoint) SrcIP() netip.Addr { return netip.Addr{} }
