// SPDX-License-Identifier: MIT

package tun

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	wgtun "golang.zx2c4.com/wireguard/tun"

	"oasis6/internal/ip6pkt"
)

// memoryQueue packets wait in a Memory at most, each way.
const memoryQueue = 1024

// Memory is a tun.Device without a kernel behind it: who holds it is the host. Whole IPv6 packets go to the peer by
// Send and come from it by Packets; it needs no root and no interface. Its methods may be called from any goroutine.
type Memory struct {
	name   string
	mtu    int
	out    chan []byte // to the peer
	in     chan []byte // from the peer
	wake   chan struct{}
	events chan wgtun.Event
	closed chan struct{}
	once   sync.Once
}

// NewMemory makes one; what reads it closes it.
func NewMemory(name string, mtu int) *Memory {
	return &Memory{
		name: name, mtu: mtu, out: make(chan []byte, memoryQueue), in: make(chan []byte, memoryQueue),
		wake: make(chan struct{}, 1), events: make(chan wgtun.Event), closed: make(chan struct{}),
	}
}

// OpenMemory is Open without an interface, for a program that only wants to speak with the peer for a moment or runs
// without root. The Tunnel is a whole one and closes the Memory; wg cannot see it. DHCPv6 and ND from the peer come as
// events of the Tunnel, as ever, and all else through the Memory.
func OpenMemory(cfg Config, log *slog.Logger) (*Tunnel, *Memory, error) {
	t, err := newTunnel(cfg, log, goLookup, conn.NewStdNetBind(), kernelWay())
	if err != nil {
		return nil, nil, err
	}
	m := NewMemory(t.name, t.mtu)
	if err := t.open(m); err != nil {
		return nil, nil, err
	}
	return t, m, nil
}

// Send gives a whole IPv6 packet to the peer, as the kernel of a host would. It belongs to the Memory afterwards.
// ErrQueueFull says that nothing reads them fast enough, os.ErrClosed that the device is closed.
func (m *Memory) Send(pkt []byte) error {
	if err := checkPacket(m.name, pkt); err != nil {
		return err
	}
	select {
	case <-m.closed:
		return os.ErrClosed
	default:
	}
	select {
	case m.out <- pkt:
		return nil
	default:
		return ErrQueueFull
	}
}

// checkPacket refuses what wireguard-go cannot carry or would pass over.
func checkPacket(name string, pkt []byte) error {
	if len(pkt) < ip6pkt.HeaderLen || len(pkt) > maxPacket || pkt[0]>>4 != 6 {
		return fmt.Errorf("send through %s: not an IPv6 packet of %d to %d octets", name, ip6pkt.HeaderLen, maxPacket)
	}
	return nil
}

// Packets gives what came from the peer; each packet belongs to who takes it. What nobody takes is dropped as soon as
// 1024 packets wait. It is never closed.
func (m *Memory) Packets() <-chan []byte { return m.in }

// Done is closed when the device is.
func (m *Memory) Done() <-chan struct{} { return m.closed }

// Read is for wireguard-go, as are the methods that follow.
func (m *Memory) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := 0
	take := func(pkt []byte) {
		sizes[n] = copy(bufs[n][offset:], pkt)
		n++
	}
	select {
	case pkt := <-m.out:
		take(pkt)
	case <-m.wake:
		return 0, os.ErrDeadlineExceeded
	case <-m.closed:
		return 0, os.ErrClosed
	}
	for n < len(bufs) {
		select {
		case pkt := <-m.out:
			take(pkt)
		default:
			return n, nil
		}
	}
	return n, nil
}

// SetReadDeadline knows what Tap needs: a time that has passed ends the Read that waits, or else the next one, with
// os.ErrDeadlineExceeded; the zero time takes that back.
func (m *Memory) SetReadDeadline(at time.Time) error {
	if at.IsZero() {
		select {
		case <-m.wake:
		default:
		}
		return nil
	}
	signal(m.wake)
	return nil
}

// Write keeps copies.
func (m *Memory) Write(bufs [][]byte, offset int) (int, error) {
	select {
	case <-m.closed:
		return 0, os.ErrClosed
	default:
	}
	for _, b := range bufs {
		if len(m.in) == cap(m.in) {
			continue // without copying
		}
		select {
		case m.in <- append([]byte(nil), b[offset:]...):
		default:
		}
	}
	return len(bufs), nil
}

// File is nil: there is none.
func (m *Memory) File() *os.File { return nil }

// MTU is what the Memory was made with.
func (m *Memory) MTU() (int, error) { return m.mtu, nil }

// Name is what the Memory was made with.
func (m *Memory) Name() (string, error) { return m.name, nil }

// Events has none: the device is up as long as it is open.
func (m *Memory) Events() <-chan wgtun.Event { return m.events }

// BatchSize is that of the sockets.
func (m *Memory) BatchSize() int { return conn.IdealBatchSize }

// Close ends Read.
func (m *Memory) Close() error {
	m.once.Do(func() {
		close(m.closed)
		close(m.events)
	})
	return nil
}
