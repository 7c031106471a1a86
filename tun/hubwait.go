// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

const (
	// paceWaiting initiations wait at most: one of each of 10,000 sites, and some more.
	paceWaiting = 10240
	// paceOne of them may be from one address: the device, when it has much to do, lets 5 and then 20 a second of it
	// through, so more would not have their turn before they are stale.
	paceOne = 128
	// paceStale is when an initiation is not worth an answer any more: after 5 s the site makes another one. What is left of
	// them is for the way, 0.3 s, and for paceLimit initiations that the device has before it, 2 ms each.
	paceStale = 4200 * time.Millisecond
	// waitingPart is how many of them lie in one piece of memory.
	waitingPart = 64
)

// initiation is one datagram.
type initiation struct {
	from conn.Endpoint
	at   time.Duration // since waitingRoom.start
	data [initiationLen]byte
}

// waitingRoom is where initiations wait, 2 MB when it is full and nothing when it is empty. Its methods may be called from
// any goroutine.
type waitingRoom struct {
	start time.Time
	came  chan struct{}
	// What was dropped: nothing more could wait, its address had as many as one may, it waited too long.
	crowded, hasty, stale atomic.Uint64

	mu    sync.Mutex
	parts [][]initiation // oldest first, none empty
	n     int
	of    map[source]int16
}

func newWaitingRoom() waitingRoom {
	return waitingRoom{start: time.Now(), came: make(chan struct{}, 1)}
}

// source is who has an address, as far as that shows: an IPv4 address, or the /64 of an IPv6 address. No /64 looks like an
// IPv4 address here, since none begins with 16 zero bits and 16 ones.
type source uint64

func sourceOf(a netip.Addr) source {
	b := a.As16() // of an address that there is not: zero
	if a.Is4() || a.Is4In6() {
		return source(0xffff<<32 | uint64(binary.BigEndian.Uint32(b[12:])))
	}
	return source(binary.BigEndian.Uint64(b[:]))
}

// put keeps a copy of an initiation, unless there is no room for it.
func (w *waitingRoom) put(msg []byte, from conn.Endpoint) {
	who, now := sourceOf(from.DstIP()), time.Since(w.start)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.n == paceWaiting:
		w.crowded.Add(1)
		return
	case w.of[who] == paceOne:
		w.hasty.Add(1)
		return
	case w.n == 0:
		w.of = map[source]int16{}
	}
	last := len(w.parts) - 1
	if last < 0 || len(w.parts[last]) == waitingPart {
		w.parts = append(w.parts, nil)
		last++
	}
	w.parts[last] = append(w.parts[last], initiation{from, now, [initiationLen]byte(msg)})
	w.of[who]++
	w.n++
	signal(w.came)
}

// take copies the oldest initiation that is not stale to msg.
func (w *waitingRoom) take(msg []byte) (size int, from conn.Endpoint, ok bool) {
	now := time.Since(w.start)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.n > 0 {
		next := &w.parts[0][0]
		w.remove()
		if now-next.at < paceStale {
			return copy(msg, next.data[:]), next.from, true
		}
		w.stale.Add(1)
	}
	return 0, nil, false
}

// remove drops the oldest, and memory that is not used any more. It needs mu.
func (w *waitingRoom) remove() {
	who := sourceOf(w.parts[0][0].from.DstIP())
	if w.of[who]--; w.of[who] == 0 {
		delete(w.of, who)
	}
	if w.parts[0] = w.parts[0][1:]; len(w.parts[0]) == 0 {
		w.parts = w.parts[1:]
	}
	if w.n--; w.n == 0 {
		w.parts, w.of = nil, nil
	}
}
