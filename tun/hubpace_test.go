// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// pacedBind is a Bind of one socket. Each batch of datagrams is one read.
type pacedBind struct {
	fakeBind
	batches chan [][]byte
	closed  chan struct{}
}

func (b *pacedBind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	closed := make(chan struct{})
	b.closed = closed
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		select {
		case batch := <-b.batches:
			for i, p := range batch {
				sizes[i], eps[i] = copy(packets[i], p), b.ep
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

// pacedDevice is the end that reads from a pacer as wireguard-go does.
type pacedDevice struct {
	*testing.T
	p           *pacer
	bind        *pacedBind
	fns         []conn.ReceiveFunc
	initiations chan uint32 // their numbers
	others      chan byte   // types
	ended       chan error
}

func newPacedDevice(t *testing.T) *pacedDevice {
	t.Helper()
	b := &pacedBind{batches: make(chan [][]byte)}
	d := &pacedDevice{T: t, bind: b, p: newPacer(b), initiations: make(chan uint32, 2*paceWaiting), others: make(chan byte, 1024), ended: make(chan error, 8)}
	d.open()
	return d
}

func (d *pacedDevice) open() {
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

func (d *pacedDevice) read(fn conn.ReceiveFunc) {
	packets, sizes, eps := make([][]byte, 128), make([]int, 128), make([]conn.Endpoint, 128)
	for i := range packets {
		packets[i] = make([]byte, 2048)
	}
	for {
		n, err := fn(packets, sizes, eps)
		if err != nil {
			d.ended <- err
			return
		}
		for i := range n {
			switch {
			case sizes[i] == 0:
			case packets[i][0] == messageInitiation:
				d.initiations <- binary.LittleEndian.Uint32(packets[i][4:])
			default:
				d.others <- packets[i][0]
			}
		}
	}
}

// close ends all, and checks that all receive functions end.
func (d *pacedDevice) close() {
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

// storm sends numbered initiations, from first on, and a transport message in each batch.
func (d *pacedDevice) storm(first, n int) {
	for sent := 0; sent < n; {
		batch := [][]byte{message(messageTransport, keepaliveLen)}
		for ; sent < n && len(batch) < 128; sent++ {
			m := message(messageInitiation, initiationLen)
			binary.LittleEndian.PutUint32(m[4:], uint32(first+sent))
			batch = append(batch, m)
		}
		d.bind.batches <- batch
	}
}

func (d *pacedDevice) answer(n int) {
	for i := range n {
		typ := byte(messageResponse)
		if i%2 == 1 {
			typ = messageCookie
		}
		_ = d.p.Send([][]byte{message(typ, responseLen)}, nil) // the double never fails
	}
}

// All sites call at once: none is dropped, the device has few at a time, in the order in which they came, and nothing else
// waits.
func TestInitiationsWaitForTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		d := newPacedDevice(t)
		d.storm(0, n)
		synctest.Wait()
		if got := len(d.others); got != (n+126)/127 {
			t.Errorf("%d other messages passed at once, want all %d", got, (n+126)/127)
		}
		if got := len(d.initiations); got < paceLimit || got > paceLimit+paceBatch {
			t.Errorf("the device has %d initiations, want %d and a batch at most", got, paceLimit)
		}
		for want := range uint32(n) {
			if len(d.initiations) > paceLimit+paceBatch {
				t.Fatalf("%d wait in the device", len(d.initiations))
			}
			if got := <-d.initiations; got != want {
				t.Fatalf("initiation %d comes, want %d", got, want)
			}
			d.answer(1)
			if want%100 == 0 {
				synctest.Wait()
			}
		}
		if c := d.p.crowded.Load(); c != 0 {
			t.Errorf("%d dropped", c)
		}
		d.close()
	})
}

// Of what is refused the device says nothing: it must not make the others wait for ever.
func TestInitiationsThatAreRefusedDoNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newPacedDevice(t)
		begin := time.Now()
		d.storm(0, 5*paceLimit)
		for range 5 * paceLimit {
			<-d.initiations
		}
		if took := time.Since(begin); took > 5*paceLost {
			t.Errorf("%d took %v, want %v for each %d", 5*paceLimit, took, paceLost, paceLimit)
		}
		d.answer(3 * paceLimit) // late: they must not let more through than the limit
		d.storm(0, 3*paceLimit)
		synctest.Wait()
		if got := len(d.initiations); got > paceLimit+paceBatch {
			t.Errorf("the device has %d initiations", got)
		}
		d.close()
	})
}

// A site that waits for 5 s makes another initiation: an answer to the first would be computed for nobody.
func TestInitiationsThatAreStaleAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newPacedDevice(t)
		end := time.After(paceStale)
		d.storm(0, paceWaiting)
		for stop := false; !stop; { // a device that computes one in 2 ms
			select {
			case <-end:
				stop = true
			case <-time.After(2 * time.Millisecond):
				<-d.initiations
				d.answer(1)
			}
		}
		d.storm(paceWaiting, 1)
		before := 0
		for ; <-d.initiations != paceWaiting; before++ {
			d.answer(1)
		}
		if before > paceLimit+2*paceBatch {
			t.Errorf("%d of those that are stale come before the new one, want no more than the device had", before)
		}
		d.close()
	})
}

func TestInitiationsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newPacedDevice(t)
		d.storm(0, paceWaiting+5*paceLimit)
		synctest.Wait()
		if c := d.p.crowded.Load(); c == 0 || c > 5*paceLimit {
			t.Errorf("%d of %d dropped", c, paceWaiting+5*paceLimit)
		}
		d.close()
	})
}

// The device opens its sockets again when the port changes or the old ones have failed.
func TestPacerOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newPacedDevice(t)
		d.storm(0, 2*paceLimit)
		d.close()
		if err := d.p.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		d.open()
		d.answer(2 * paceLimit)
		d.storm(2*paceLimit, 1)
		for {
			if got := <-d.initiations; got == 2*paceLimit {
				break
			}
			d.answer(1)
		}
		d.close()
	})
}
