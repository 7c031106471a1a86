// SPDX-License-Identifier: MIT

package tun

import (
	"net"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"oasis6/internal/wgkey"
)

const (
	// paceLimit are with the device at most. It has room for 1,024, and wants cookies when more than 128 wait.
	paceLimit = 512
	paceBatch = 64
	// paceLost is how long the device may give no answer before those that it has count as refused, which it tells nobody.
	paceLost = 20 * time.Millisecond
)

// messageCookie is a cookie reply.
const messageCookie = 3

// pacer is a hub's Bind. It keeps the handshake initiations that come faster than they can be computed, and gives them to
// the device as it answers them, by a receive function of their own, so nothing else waits for them. By itself wireguard-go
// drops what finds 1,024 before it, and whoever was dropped begins again 5 s later, with all the others: when 10,000
// sites began at once the last had its answer after 47 s.
type pacer struct {
	conn.Bind
	public   wgkey.Public
	waiting  waitingRoom
	underway atomic.Int64 // with the device, as far as we know
	answered chan struct{}
	closed   chan struct{} // nil: not open
}

func newPacer(b conn.Bind, public wgkey.Public) *pacer {
	return &pacer{Bind: b, public: public, waiting: newWaitingRoom(), answered: make(chan struct{}, 1)}
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

// Send counts the answers.
func (p *pacer) Send(bufs [][]byte, ep conn.Endpoint) error {
	if len(bufs) == 1 && len(bufs[0]) > 0 && (bufs[0][0] == messageResponse || bufs[0][0] == messageCookie) {
		if p.underway.Add(-1) < 0 {
			p.underway.Store(0)
		}
		signal(p.answered)
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
		for p.room(closed) {
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

// release gives at most a batch.
func (p *pacer) release(packets [][]byte, sizes []int, eps []conn.Endpoint) (n int) {
	for ok := true; n < min(len(packets), paceBatch); n++ {
		if sizes[n], eps[n], ok = p.waiting.take(packets[n]); !ok {
			break
		}
	}
	p.underway.Add(int64(n))
	return n
}

// room waits until the device can take more, and says whether it is still open.
func (p *pacer) room(closed <-chan struct{}) bool {
	t := time.NewTimer(paceLost)
	defer t.Stop()
	for p.underway.Load() >= paceLimit {
		select {
		case <-p.answered:
			t.Reset(paceLost)
		case <-t.C:
			p.underway.Store(0)
		case <-closed:
			return false
		}
	}
	select {
	case <-closed:
		return false
	default:
		return true
	}
}
