// SPDX-License-Identifier: MIT

package tun

import (
	"net"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"oasis6/internal/wgkey"
)

const (
	// paceLimit initiations are with the device at most. It has room for 1,024, and wants cookies when more than 128 wait.
	paceLimit = 256
	// paceBatch are given at once, and a mark behind each batch.
	paceBatch = 32
	// paceLost is how long the device may come to no mark before one counts as lost: much more than a batch takes, and a
	// device that stands gets no more than it has room for before all that wait are stale.
	paceLost = 250 * time.Millisecond
)

// pacer is a hub's Bind. It keeps the handshake initiations that come faster than they can be computed, and gives them to
// the device as it computes them, by a receive function of their own, so nothing else waits for them. By itself wireguard-go
// drops what finds 1,024 before it, and whoever was dropped begins again 5 s later, with all the others: when 10,000
// sites began at once the last had its answer after 47 s.
type pacer struct {
	conn.Bind
	public   wgkey.Public
	waiting  waitingRoom
	marks    *marks
	unmarked int           // initiations given since the last mark; only the receive function of initiations uses it
	closed   chan struct{} // nil: not open
}

func newPacer(b conn.Bind, public wgkey.Public) *pacer {
	return &pacer{Bind: b, public: public, waiting: newWaitingRoom(), marks: newMarks(public)}
}

// Open adds the receive function of the initiations. As for every Bind, the device calls it and Close in turns.
func (p *pacer) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	fns, actual, err := p.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	for i, fn := range fns {
		fns[i] = p.keeping(fn)
	}
	p.closed = make(chan struct{})
	return append(fns, p.releasing(p.closed)), actual, nil
}

// Close ends the receive functions.
func (p *pacer) Close() error {
	if p.closed != nil {
		close(p.closed)
		p.closed = nil
	}
	return p.Bind.Close()
}

// Send keeps back what the device sends to marks.
func (p *pacer) Send(bufs [][]byte, ep conn.Endpoint) error {
	if _, ours := ep.(*mark); ours {
		return nil
	}
	return p.Bind.Send(bufs, ep)
}

// keeping is a receive function that gives the device everything but initiations: it passes over what has no length. What
// only looks like one the device drops without a word, faster than it could wait.
func (p *pacer) keeping(fn conn.ReceiveFunc) conn.ReceiveFunc {
	mac := newMAC1(p.public)
	return func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		n, err := fn(packets, sizes, eps)
		for i := range max(n, 0) {
			if mac.initiates(packets[i][:sizes[i]]) {
				p.waiting.put(packets[i][:sizes[i]], eps[i])
				sizes[i] = 0
			}
		}
		return n, err
	}
}

// releasing is the receive function of initiations. What it does not give before it is closed the next one gives.
func (p *pacer) releasing(closed <-chan struct{}) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		for p.marks.wait(paceLimit/paceBatch, closed) {
			if n := p.release(packets, sizes, eps); n > 0 {
				return n, nil
			}
			select {
			case <-p.waiting.came:
			case <-closed:
			}
		}
		return 0, net.ErrClosed
	}
}

// release gives what makes a batch full, and its mark.
func (p *pacer) release(packets [][]byte, sizes []int, eps []conn.Endpoint) (n int) {
	for ; n < len(packets); n++ {
		if p.unmarked == paceBatch {
			p.unmarked = 0
			sizes[n], eps[n] = p.marks.put(packets[n])
			return n + 1
		}
		var ok bool
		if sizes[n], eps[n], ok = p.waiting.take(packets[n]); !ok {
			return n
		}
		p.unmarked++
	}
	return n
}
