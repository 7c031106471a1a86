// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// datagram is one that comes from ep.
type datagram struct {
	data []byte
	ep   conn.Endpoint
}

// pacedBind is a Bind of one socket. Each batch of datagrams is one read.
type pacedBind struct {
	fakeBind
	batches chan []datagram
	closed  chan struct{}
}

func (b *pacedBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	closed := make(chan struct{})
	b.closed = closed
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case batch := <-b.batches:
			for i, d := range batch {
				sizes[i], eps[i] = copy(packets[i], d.data), d.ep
			}
			return len(batch), nil
		case <-closed:
			return 0, net.ErrClosed
		}
	}}, 51820, nil
}

func (b *pacedBind) Close() error {
	if b.closed != nil {
		close(b.closed)
		b.closed = nil
	}
	return nil
}

// modelDevice reads from a pacer as wireguard-go does: what finds its queue full is lost without a word, and so is what
// has a bad mac or comes too often from one address. It computes nothing before work.
type modelDevice struct {
	*testing.T
	p        *pacer
	bind     *pacedBind
	fns      []conn.ReceiveFunc
	queue    chan datagram
	lost     atomic.Int64 // initiations that found the queue full
	most     atomic.Int64 // of them in the queue
	mute     atomic.Bool  // looks into nothing but initiations
	computed chan initiated
	others   chan byte // types
	ended    chan error
	worked   chan struct{}
}

// initiated says which initiation was computed, and when.
type initiated struct {
	n  uint32
	at time.Time
}

func newModelDevice(t *testing.T) *modelDevice {
	t.Helper()
	b := &pacedBind{batches: make(chan []datagram)}
	d := &modelDevice{
		T: t, bind: b, p: newPacer(b, modelHub), queue: make(chan datagram, device.QueueHandshakeSize),
		computed: make(chan initiated, 65536), others: make(chan byte, 1024), ended: make(chan error, 8), worked: make(chan struct{}),
	}
	d.open()
	return d
}

func (d *modelDevice) open() {
	d.Helper()
	fns, port, err := d.p.Open(0)
	if err != nil || port != 51820 || len(fns) != 2 {
		d.Fatalf("Open gives %d functions, port %d, %v", len(fns), port, err)
	}
	d.fns = fns
	for _, fn := range fns {
		go d.read(fn)
	}
}

func buffers(n int) ([][]byte, []int, []conn.Endpoint) {
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = make([]byte, 2048)
	}
	return packets, make([]int, n), make([]conn.Endpoint, n)
}

func (d *modelDevice) read(fn conn.ReceiveFunc) {
	packets, sizes, eps := buffers(128)
	for {
		n, err := fn(packets, sizes, eps)
		if err != nil {
			d.ended <- err
			return
		}
		for i, size := range sizes[:n] {
			switch {
			case size == 0:
			case packets[i][0] == messageTransport:
				d.others <- packets[i][0]
			default:
				d.enqueue(datagram{slices.Clone(packets[i][:size]), eps[i]})
			}
		}
	}
}

func (d *modelDevice) enqueue(x datagram) {
	select {
	case d.queue <- x:
		d.most.Store(max(d.most.Load(), int64(len(d.queue)))) // about: there are two readers
	default:
		if x.data[0] == messageInitiation {
			d.lost.Add(1)
		}
	}
}

// work computes what is in the queue, and what comes, each initiation in this time.
func (d *modelDevice) work(each time.Duration) {
	go func() {
		defer close(d.worked)
		mac := newMAC1(modelHub)
		for x := range d.queue {
			switch {
			case x.data[0] == messageResponse && !d.mute.Load():
				_ = x.ep.DstToString()
			case x.data[0] == messageInitiation && mac.initiates(x.data) && x.data[refusedAt] == 0:
				time.Sleep(each)
				_ = d.p.Send([][]byte{message(messageResponse, responseLen)}, x.ep) // the double never fails
				d.computed <- initiated{binary.LittleEndian.Uint32(x.data[4:]), time.Now()}
			}
		}
	}()
}

// close ends all, and checks that all receive functions end.
func (d *modelDevice) close() {
	d.Helper()
	if err := d.p.Close(); err != nil {
		d.Error(err)
	}
	for range d.fns {
		if err := <-d.ended; !errors.Is(err, net.ErrClosed) {
			d.Errorf("a receive function ends with %v", err)
		}
	}
}

// stop is close, and the end of work.
func (d *modelDevice) stop() {
	d.Helper()
	d.close()
	close(d.queue)
	<-d.worked
}

// modelHub is the key of the hub that is called.
var modelHub = testHub.Public()

// refusedAt is an octet of an initiation that is not zero if the model's device does not answer.
const refusedAt = 8

// from is the endpoint of site n, which has a /64 of its own.
func from(n int) conn.Endpoint {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 6: byte(n >> 8), 7: byte(n), 15: 1}
	return &conn.StdNetEndpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom16(a), 51820)}
}

// call is the initiation of site n.
func call(n int) datagram {
	m := message(messageInitiation, initiationLen)
	binary.LittleEndian.PutUint32(m[4:], uint32(n))
	return datagram{sign(m), from(n)}
}

// refused is call, but the device lets it pass without a word.
func refused(n int) datagram {
	d := call(n)
	d.data[refusedAt] = 1
	return datagram{sign(d.data), d.ep}
}

// sign gives a handshake message its mac.
func sign(m []byte) []byte {
	copy(m[len(m)-32:], newMAC1(modelHub).of(m))
	return m
}

// send gives datagrams to the pacer as fast as it takes them.
func (d *modelDevice) send(all ...datagram) {
	for batch := range slices.Chunk(all, 128) {
		d.bind.batches <- batch
	}
}

// calls are the initiations of sites first to first+n-1.
func calls(first, n int) []datagram {
	all := make([]datagram, n)
	for i := range all {
		all[i] = call(first + i)
	}
	return all
}
