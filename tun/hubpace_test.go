// SPDX-License-Identifier: MIT

package tun

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

// All sites call at once: none is dropped, the device has few at a time, in the order in which they came, and nothing else
// waits.
func TestInitiationsWaitForTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, others = 10_000, 80
		d := newModelDevice(t)
		for first := 0; first < n; first += n / others {
			d.send(append(calls(first, n/others), datagram{message(messageTransport, keepaliveLen), from(first)})...)
		}
		synctest.Wait()
		if got := len(d.others); got != others {
			t.Errorf("%d other messages passed at once, want all %d", got, others)
		}
		d.work(100 * time.Microsecond)
		for want := range uint32(n) {
			if got := (<-d.computed).n; got != want {
				t.Fatalf("initiation %d is computed, want %d", got, want)
			}
		}
		if got := d.most.Load(); got < paceLimit || got > paceLimit+paceLimit/paceBatch {
			t.Errorf("the device had %d messages, want %d initiations and their marks", got, paceLimit)
		}
		if c := d.p.waiting.crowded.Load(); c != 0 || d.lost.Load() != 0 {
			t.Errorf("%d and %d dropped", c, d.lost.Load())
		}
		d.stop()
	})
}

// Of what is refused the device says nothing: it must not keep the others back, from one address or from many.
func TestInitiationsThatAreRefusedDoNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, many = 64, 20
		d := newModelDevice(t)
		d.work(time.Millisecond)
		for ms := range 250 { // 64,000 a second
			sent := time.Now()
			flood := make([]datagram, 0, n+1)
			for i := range n {
				flood = append(flood, refused(i%many))
			}
			if ms%50 == 49 {
				d.send(append(flood, call(1000+ms))...)
				if took := (<-d.computed).at.Sub(sent); took > 2*time.Millisecond {
					t.Errorf("after %d ms of what is refused an initiation takes %v", ms, took)
				}
			} else {
				d.send(flood...)
			}
			time.Sleep(time.Until(sent.Add(time.Millisecond)))
		}
		d.stop()
	})
}

// A device that does nothing for a while, since the machine has no time for it or a socket takes nothing, has not refused
// what it has: it must not get more than it has room for.
func TestInitiationsWaitForADeviceThatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		d := newModelDevice(t)
		d.send(calls(0, n)...)
		time.Sleep(time.Second)
		d.work(100 * time.Microsecond)
		for want := range uint32(n) {
			if got := (<-d.computed).n; got != want {
				t.Fatalf("initiation %d is computed, want %d: %d are lost", got, want, d.lost.Load())
			}
		}
		d.stop()
	})
}

// When the device's queue is full it drops marks, too. That slows down, but nothing waits for ever, nor when all is over.
func TestMarksMayBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = paceLimit + 4*paceBatch
		d := newModelDevice(t)
		d.mute.Store(true)
		d.work(0)
		begin := time.Now()
		d.send(calls(0, n)...)
		var last initiated
		for range n {
			last = <-d.computed
		}
		if took := last.at.Sub(begin); took < 3*paceLost || took > 4*paceLost {
			t.Errorf("%d without a mark take %v, want a batch of %d each %v", n, took, paceBatch, paceLost)
		}
		time.Sleep(2 * paceLost)
		d.mute.Store(false)
		begin = time.Now()
		d.send(calls(n, n)...)
		for range n {
			last = <-d.computed
		}
		if took := last.at.Sub(begin); took > 0 {
			t.Errorf("with marks again %d take %v", n, took)
		}
		synctest.Wait()
		if given, seen := d.p.marks.given, d.p.marks.seen.Load(); given != seen {
			t.Errorf("%d marks given, %d seen", given, seen)
		}
		d.stop()
	})
}

// Anybody can send what looks like an initiation, as fast as he likes. The device drops it without a word, and faster than
// an initiation is computed: it must not take the place of one.
func TestJunkDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newModelDevice(t)
		d.work(time.Millisecond)
		junk := calls(0, 64)
		for i, x := range junk {
			if i%2 == 0 {
				x.data[initiationLen-17]++ // in the mac
			} else {
				x.data[2] = 1 // in the type
				sign(x.data)
			}
		}
		for ms := range 250 { // 64,000 a second
			sent := time.Now()
			if ms%50 < 49 {
				d.send(junk...)
			} else {
				d.send(append(junk[:40:40], call(64_000+ms))...)
				if took := (<-d.computed).at.Sub(sent); took > 2*time.Millisecond {
					t.Errorf("after %d ms of junk an initiation takes %v", ms, took)
				}
			}
			time.Sleep(time.Until(sent.Add(time.Millisecond)))
		}
		if d.lost.Load() != 0 || d.p.waiting.crowded.Load() != 0 {
			t.Errorf("%d and %d dropped", d.lost.Load(), d.p.waiting.crowded.Load())
		}
		d.stop()
	})
}

// A site that waits for 5 s makes another initiation: an answer to the first would be computed for nobody.
func TestInitiationsThatAreStaleAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, each = 10_000, 2 * time.Millisecond
		d := newModelDevice(t)
		begin := time.Now()
		d.work(each)
		d.send(calls(0, n)...)
		time.Sleep(5 * time.Second)
		d.send(call(n))
		var computed, late uint64
		for x := range d.computed {
			if x.n == n {
				break
			}
			if computed++; x.at.Sub(begin) > paceStale+paceLimit*each {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d of those that are stale are computed", late)
		}
		if got := d.p.waiting.stale.Load(); got != n-computed {
			t.Errorf("%d counted as stale, want the %d that were not computed", got, n-computed)
		}
		d.stop()
	})
}

// fill gives the device, which does nothing, as many as it may have, and as many wait.
func (d *modelDevice) fill() {
	d.Helper()
	d.send(calls(0, 2*paceLimit)...)
	synctest.Wait()
	if n := d.p.waiting.n; n != paceLimit {
		d.Fatalf("%d wait, want %d", n, paceLimit)
	}
}

func TestInitiationsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const more = 100
		d := newModelDevice(t)
		d.fill()
		d.send(calls(10_000, paceWaiting+more-paceLimit)...)
		synctest.Wait()
		if c := d.p.waiting.crowded.Load(); c != more {
			t.Errorf("%d dropped, want %d", c, more)
		}
		d.close()
	})
}

// Who floods from one address, or from one /64, loses most of it, and nobody else does.
func TestInitiationsOfOneAddressAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		d := newModelDevice(t)
		d.fill()
		for _, prefix := range []string{"198.51.100.7/32", "2001:db8:1:2::/64"} {
			p := netip.MustParsePrefix(prefix)
			for i := range n {
				x := call(10_000)
				a := p.Addr()
				if a.Is6() {
					b := a.As16()
					b[8], b[15] = byte(i>>8), byte(i)
					a = netip.AddrFrom16(b)
				}
				x.ep = &conn.StdNetEndpoint{AddrPort: netip.AddrPortFrom(a, uint16(1024+i))}
				d.send(x)
			}
		}
		d.send(calls(20_000, n)...)
		synctest.Wait()
		if h, c := d.p.waiting.hasty.Load(), d.p.waiting.crowded.Load(); h != 2*(n-paceOne) || c != 0 {
			t.Errorf("%d dropped for their address, want %d, and %d others", h, 2*(n-paceOne), c)
		}
		d.close()
	})
}

// The waiting room against an obvious one.
func TestWaitingRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type entry struct {
			n  int
			at time.Time
		}
		w, model, of := newWaitingRoom(), []entry{}, map[int]int{}
		var hasty, stale uint64
		r := rand.New(rand.NewPCG(1, 2))
		out := make([]byte, initiationLen)
		put := func() {
			n := r.IntN(10)
			if w.put(call(n).data, from(n)); of[n] == paceOne {
				hasty++
			} else {
				model, of[n] = append(model, entry{n, time.Now()}), of[n]+1
			}
		}
		take := func() {
			for len(model) > 0 && time.Since(model[0].at) >= paceStale {
				of[model[0].n]--
				model, stale = model[1:], stale+1
			}
			size, ep, ok := w.take(out)
			if ok != (len(model) > 0) {
				t.Fatalf("take gives one: %v, want %v", ok, len(model) > 0)
			}
			if !ok {
				return
			}
			n := model[0].n
			of[n]--
			model = model[1:]
			if size != initiationLen || int(binary.LittleEndian.Uint32(out[4:])) != n || ep.DstToString() != from(n).DstToString() {
				t.Fatalf("take gives %d octets, %x, from %s, want that of site %d", size, out[:8], ep.DstToString(), n)
			}
		}
		for range 30 {
			for range r.IntN(1500) {
				put()
			}
			time.Sleep(time.Duration(r.Int64N(int64(2 * paceStale / 3))))
			for range r.IntN(1500) {
				take()
			}
		}
		if h, s := w.hasty.Load(), w.stale.Load(); h != hasty || s != stale || h == 0 || s == 0 {
			t.Errorf("%d hasty, %d stale, want %d, %d", h, s, hasty, stale)
		}
		for len(model) > 0 {
			take()
		}
		take()
		if w.parts != nil || w.of != nil || w.n != 0 {
			t.Errorf("memory is kept: %d parts, %d sources, %d initiations", len(w.parts), len(w.of), w.n)
		}
	})
}

// The device opens its sockets again when the port changes or the old ones have failed. What waits then is not lost.
func TestPacerOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newModelDevice(t)
		d.fill()
		d.close()
		packets, sizes, eps := buffers(128)
		for range 100 {
			if n, err := d.fns[1](packets, sizes, eps); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("closed, but %d initiations come, and %v", n, err)
			}
		}
		if err := d.p.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		d.work(0)
		d.open()
		for want := range uint32(2 * paceLimit) {
			if got := (<-d.computed).n; got != want {
				t.Fatalf("initiation %d is computed, want %d", got, want)
			}
		}
		d.stop()
	})
}

// Data goes through the pacer, too.
func TestPacerAllocatesNothing(t *testing.T) {
	junk := call(1)
	junk.data[initiationLen-17]++
	f := &fakeBind{ep: from(1), in: [][]byte{message(messageTransport, 100), message(messageTransport, keepaliveLen), junk.data}}
	p := newPacer(f, modelHub)
	fns, _, _ := p.Open(0)
	bufs, sizes, eps := buffers(3)
	out := [][]byte{message(messageTransport, 100), message(messageTransport, 1452)}
	if n := testing.AllocsPerRun(100, func() { _ = p.Send(out, f.ep) }); n != 0 {
		t.Errorf("Send: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = fns[0](bufs, sizes, eps) }); n != 0 {
		t.Errorf("receive: %v allocations, want 0", n)
	}
	if sizes[0] != 100 || sizes[2] != initiationLen {
		t.Errorf("sizes %v: want what is no initiation untouched", sizes)
	}
}
