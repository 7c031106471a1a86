// SPDX-License-Identifier: MIT

package simwg

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"oasis6/internal/note"
	"oasis6/internal/wgkey"
	"oasis6/lab/simwg/device"
	"oasis6/tun"
)

// end is what a Tunnel and a Hub have in common.
type end struct {
	opt    Options
	name   string
	public wgkey.Public
	events chan tun.Event
	// after is called with mu held after each step.
	after func(now time.Time, a *device.Actions)

	mu      sync.Mutex // guards what follows, and all of Tunnel and Hub; of Options only Scheduler and Rand are used under it
	dev     *device.Device
	port    uint16
	out     []output
	wake    time.Time // what the device wants
	posted  bool      // flush is scheduled
	retry   bool      // an event found no room
	closed  bool
	sendErr string
	counts  counts

	restless func() // takes back what OnRest was given; nil: nothing was, or it has been

	set  time.Time // what the timer is set for, zero: it is not; only flush uses it and stop
	stop func()
}

type counts struct{ taken, dropped, injected, silenced uint64 }

// output is a thing to hand out when no lock is held: a datagram if to is valid, else a note, a call, or a packet.
type output struct {
	to   netip.AddrPort
	data []byte
	note note.Note
	call func()
}

// retryAfter an event that found no room is offered again.
const retryAfter = 10 * time.Millisecond

func newEnd(name string, public wgkey.Public, port uint16, mtu, queue int, opt Options) *end {
	e := &end{
		opt: opt, name: name, public: public, events: make(chan tun.Event, queue),
		dev: device.New(device.Config{Public: public, MTU: mtu, Rand: opt.Rand}),
	}
	e.setPort(port)
	e.dev.Step(opt.Scheduler.Now(), device.SetWall{Ahead: opt.Wall})
	if opt.OnRest != nil {
		e.restless = opt.OnRest(e.flush)
	}
	return e
}

// setPort takes any port for zero.
func (e *end) setPort(port uint16) {
	if port == 0 {
		port = firstDynamic + uint16(e.opt.Rand()%(1<<16-firstDynamic))
	}
	e.port = port
}

// Port is where datagrams are to come.
func (e *end) Port() uint16 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.port
}

// Events is never closed; after Close nothing comes any more.
func (e *end) Events() <-chan tun.Event { return e.events }

// Peer is how the device sees a peer, for the page.
func (e *end) Peer(key wgkey.Public) (device.State, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dev.Peer(key)
}

// SetLoad says whether the device is under load, and answers handshakes by cookies.
func (e *end) SetLoad(under bool) { e.step(device.SetLoad{Under: under}) }

// SetWall says how far the wall clock is ahead of the scheduler's from now on. A peer answers no initiation that is older
// than the last one.
func (e *end) SetWall(ahead time.Duration) { e.step(device.SetWall{Ahead: ahead}) }

// Close ends everything. It does not wait: what the engine still has for this end does nothing.
func (e *end) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.restless != nil {
		e.restless()
		e.restless = nil
	}
	e.closed, e.out = true, nil
	e.post()
	return nil
}

// step is one of the device, from any goroutine.
func (e *end) step(ev device.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stepLocked(ev)
	e.post()
}

// stepLocked puts what comes of it into out; post or flush must follow.
func (e *end) stepLocked(ev device.Event) device.Verdict {
	if e.closed {
		return device.None
	}
	now := e.opt.Scheduler.Now()
	a := e.dev.Step(now, ev)
	e.wake = a.Wake
	if e.opt.Note != nil {
		for _, n := range a.Notes {
			e.out = append(e.out, output{note: n})
		}
	}
	for _, d := range a.Send {
		e.out = append(e.out, output{to: d.To, data: d.Data})
	}
	e.after(now, &a)
	return a.Verdict
}

// post lets flush come soon.
func (e *end) post() {
	if e.posted || e.opt.OnRest != nil && !e.closed {
		return
	}
	e.posted = true
	e.opt.Scheduler.AfterFunc(0, func() {
		e.mu.Lock()
		e.posted = false
		e.mu.Unlock()
		e.flush()
	})
}

// flush runs on the engine's goroutine, hands out what there is and sets the timer. It says whether there was anything.
func (e *end) flush() bool {
	worked := false
	for {
		e.mu.Lock()
		out := e.out
		e.out = nil
		port := e.port
		e.mu.Unlock()
		if len(out) == 0 {
			break
		}
		worked = true
		for _, o := range out {
			e.handOut(o, port)
		}
	}
	e.setTimer()
	return worked
}

func (e *end) handOut(o output, port uint16) {
	switch {
	case o.to.IsValid():
		text := ""
		if err := e.opt.SendUDP(port, o.to, o.data); err != nil {
			text = err.Error()
		}
		e.mu.Lock()
		e.sendErr = text
		e.mu.Unlock()
	case o.call != nil:
		o.call()
	case o.data != nil:
		e.opt.Deliver(o.data)
	default:
		e.opt.Note(o.note)
	}
}

// setTimer sees to it that the one timer rings at the next deadline or before: each packet puts the deadline off, and setting
// the timer each time would cost more than the packet. Too early a ring does nothing but set it anew.
func (e *end) setTimer() {
	e.mu.Lock()
	now := e.opt.Scheduler.Now()
	want := e.wake
	if e.retry && (want.IsZero() || want.After(now.Add(retryAfter))) {
		want = now.Add(retryAfter)
	}
	closed := e.closed
	e.mu.Unlock()
	if !closed && (want.IsZero() || !e.set.IsZero() && !e.set.After(want)) {
		return
	}
	if e.stop != nil {
		e.stop()
		e.set, e.stop = time.Time{}, nil
	}
	if !closed {
		e.set, e.stop = want, e.opt.Scheduler.AfterFunc(max(want.Sub(now), 0), e.tick)
	}
}

func (e *end) tick() {
	e.set, e.stop = time.Time{}, nil
	e.mu.Lock()
	e.retry = false
	e.stepLocked(device.Tick{})
	e.mu.Unlock()
	e.flush()
}

// Datagram takes one that came to Port. It belongs to the end. What became of it is for whoever explains it. Only the
// engine's goroutine may call it.
func (e *end) Datagram(from netip.AddrPort, data []byte) device.Verdict {
	e.mu.Lock()
	v := e.stepLocked(device.Received{From: from, Data: data})
	e.mu.Unlock()
	e.flush()
	return v
}

// inject is Send of both.
func (e *end) inject(pkt []byte) error {
	if err := tun.CheckPacket(e.name, pkt); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return fmt.Errorf("send through %s: %w", e.name, os.ErrClosed)
	}
	e.counts.injected++
	e.stepLocked(device.PacketOut{Packet: pkt})
	e.post()
	return nil
}

// received is a packet for the loop. As in tun, one place stays free for what is not a packet.
func (e *end) received(site wgkey.Public, pkt []byte) {
	if len(e.events) >= cap(e.events)-1 {
		e.counts.dropped++
		return
	}
	e.events <- tun.Received{Packet: append([]byte(nil), pkt...), Site: site}
}

// tell offers an event to the loop, and says whether it has it; if not, after is called again soon. Only holders of mu
// send, so that who finds room has it.
func (e *end) tell(ev tun.Event) bool {
	select {
	case e.events <- ev:
		return true
	default:
		e.retry = true
		return false
	}
}
