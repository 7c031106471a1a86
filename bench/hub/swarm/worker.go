// SPDX-License-Identifier: MIT

package swarm

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A worker looks every tick for what is due, does some of it, and then takes some of what has come: neither makes the other
// wait long.
const (
	tick     = 10 * time.Millisecond
	someDue  = 32
	someCome = 64
)

func (w *worker) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	more := true
	for {
		if !more {
			select {
			case <-w.stop:
				return
			case m := <-w.in:
				w.take(m)
			case <-t.C:
				more = true
			}
		}
		w.come()
		if more {
			more = w.some()
		}
		select {
		case <-w.stop:
			return
		default:
		}
	}
}

// come takes what waits.
func (w *worker) come() {
	for range someCome {
		select {
		case m := <-w.in:
			w.take(m)
		default:
			return
		}
	}
}

// some does what is due, and says if there is more.
func (w *worker) some() bool {
	now, done := time.Now(), 0
	for range w.sites {
		if w.due(w.sites[w.from], now) {
			done++
		}
		w.from = (w.from + 1) % len(w.sites)
		if done == someDue {
			return true
		}
	}
	return false
}

// take gives a datagram to its site.
func (w *worker) take(m []byte) {
	at := 4
	if m[0] == typeResponse {
		at = 8
	}
	number := int(binary.LittleEndian.Uint32(m[at:])/attempts - 1)
	if i := number / w.stride; i < len(w.sites) {
		w.receive(w.sites[i], m, time.Now())
	}
}

// write sends a datagram from the site's address. What is lost, the timers send again.
func (w *worker) write(s *site, m []byte) {
	_, _, err := w.conn.WriteMsgUDPAddrPort(m, s.oob, w.remote)
	if err == nil || errors.Is(err, unix.ENOBUFS) || errors.Is(err, net.ErrClosed) {
		return
	}
	w.check(err)
}

// check ends Wait if there is an error: the machine does not let the sites be.
func (w *worker) check(err error) {
	if err == nil {
		return
	}
	select {
	case w.failed <- err:
	default:
	}
}
