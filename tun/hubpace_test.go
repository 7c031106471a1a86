// SPDX-License-Identifier: MIT

package tun

import (
	"testing"
	"testing/synctest"
	"time"
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
		if got := d.most.Load(); got < paceLimit || got > paceLimit+2*paceBatch {
			t.Errorf("the device had %d initiations, want %d and a batch at most", got, paceLimit)
		}
		if c := d.p.crowded.Load(); c != 0 || d.lost.Load() != 0 {
			t.Errorf("%d and %d dropped", c, d.lost.Load())
		}
		d.stop()
	})
}

// Of what is refused the device says nothing: it must not make the others wait for ever.
func TestInitiationsThatAreRefusedDoNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5 * paceLimit
		d := newModelDevice(t)
		d.work(0)
		begin := time.Now()
		for i := range n {
			d.send(refused(i))
		}
		d.send(call(n))
		if took := (<-d.computed).at.Sub(begin); took > 6*paceLost {
			t.Errorf("%d took %v", n, took)
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
		if d.lost.Load() != 0 || d.p.crowded.Load() != 0 {
			t.Errorf("%d and %d dropped", d.lost.Load(), d.p.crowded.Load())
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
		stale := 0
		for x := range d.computed {
			if x.n == n {
				break
			}
			if x.at.Sub(begin) > paceStale+(paceLimit+paceBatch)*each {
				stale++
			}
		}
		if stale > 0 {
			t.Errorf("%d of those that are stale are computed", stale)
		}
		d.stop()
	})
}

func TestInitiationsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newModelDevice(t)
		d.send(calls(0, paceWaiting+5*paceLimit)...)
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
		d := newModelDevice(t)
		d.send(calls(0, 2*paceLimit)...)
		d.close()
		if err := d.p.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		d.work(0)
		d.open()
		d.send(call(2 * paceLimit))
		for (<-d.computed).n != 2*paceLimit {
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
