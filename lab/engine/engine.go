// SPDX-License-Identifier: MIT

// Package engine is the lab's clock and its queue of things to come.
//
// In virtual time it runs one event, waits until all goroutines of the process are at rest, and goes on to the next
// event: what happens depends on the seed alone, although gVisor and our loops have goroutines of their own. In real
// time, which the true wireguard-go needs, it runs events when they are due and waits for nobody.
//
// It must not know packets. Start at New, AfterFunc and Run.
package engine

import (
	"container/heap"
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Config says which time it is.
type Config struct {
	Start time.Time // the first instant of virtual time; in real time only its date counts
	Seed  uint64
	Real  bool // the machine's clock, at its own pace
}

// Engine runs events one at a time, on the goroutine of Run, RunFor or RunUntil. Its other methods may be called from
// any goroutine.
type Engine struct {
	cfg Config

	mu    sync.Mutex
	queue queue
	seq   uint64
	now   time.Time     // virtual: instant of the last event
	woken chan struct{} // something changed while Run waits
	calls []*Timer      // of Call: they come before the queue
	hooks []*hook       // of OnRest
	pace  pace
	seek  seek
	rest  rest
	waste collector
}

// pace ties virtual to real time: at real, it was virtual.
type pace struct {
	speed   float64
	paused  bool
	real    time.Time
	virtual time.Time
}

// Speeds that Run may have.
const (
	MinSpeed = 0.1
	MaxSpeed = 1000
)

// New makes an engine whose clock stands until it is run.
func New(c Config) *Engine {
	e := &Engine{cfg: c, now: c.Start, woken: make(chan struct{}, 1)}
	e.pace = pace{speed: 1, real: time.Now(), virtual: c.Start}
	return e
}

// Real says whether the clock is the machine's.
func (e *Engine) Real() bool { return e.cfg.Real }

// Seed is that of the configuration.
func (e *Engine) Seed() uint64 { return e.cfg.Seed }

// Start is the instant at which the clock began.
func (e *Engine) Start() time.Time { return e.cfg.Start }

// Now is, in virtual time, the instant of the event that runs or ran last.
func (e *Engine) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nowLocked()
}

func (e *Engine) nowLocked() time.Time {
	if e.cfg.Real {
		return e.cfg.Start.Add(time.Since(e.pace.real))
	}
	return e.now
}

// Shown is Now for whoever watches: between two events it goes on at the speed of Run.
func (e *Engine) Shown() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cfg.Real || e.pace.paused {
		return e.nowLocked()
	}
	at := e.pace.at(time.Now())
	if at.Before(e.now) {
		return e.now
	}
	if len(e.queue) > 0 && at.After(e.queue[0].at) {
		return e.queue[0].at
	}
	return at
}

func (p *pace) at(real time.Time) time.Time {
	return p.virtual.Add(time.Duration(float64(real.Sub(p.real)) * p.speed))
}

// anchor begins a new pace now.
func (e *Engine) anchor() {
	if !e.cfg.Real {
		e.pace.real, e.pace.virtual = time.Now(), e.now
	}
}

// Rand is a stream of random numbers for one purpose. In virtual time the same seed and name give the same numbers, and
// streams do not disturb each other. It belongs to one goroutine.
func (e *Engine) Rand(name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash takes all
	return rand.New(rand.NewPCG(e.cfg.Seed, h.Sum64()))
}

// Timer is an event that has been asked for.
type Timer struct {
	e     *Engine
	f     func()
	at    time.Time
	seq   uint64
	index int // in the queue; -1: not there
}

// AfterFunc runs f on the engine's goroutine when d has passed. f must not wait for anything that another event brings.
func (e *Engine) AfterFunc(d time.Duration, f func()) *Timer {
	t := &Timer{e: e, f: f, index: -1}
	t.Reset(d)
	return t
}

// Post runs f soon on the engine's goroutine, after what has been posted before.
func (e *Engine) Post(f func()) { e.AfterFunc(0, f) }

// Stop takes the event back, and says whether it was still to come.
func (t *Timer) Stop() bool {
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.index < 0 {
		return false
	}
	heap.Remove(&e.queue, t.index)
	return true
}

// Reset lets the event come when d has passed from now, be it for the first time or again.
func (t *Timer) Reset(d time.Duration) {
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.index >= 0 {
		heap.Remove(&e.queue, t.index)
	}
	e.seq++
	t.at, t.seq = e.nowLocked().Add(max(d, 0)), e.seq
	heap.Push(&e.queue, t)
	if t.index == 0 {
		e.wake()
	}
}

func (e *Engine) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// Call runs f on the engine's goroutine, between two events, and returns when it has; with ctx at the latest, and then f
// may still run. It is for what comes from outside; an event that calls it waits for itself.
func (e *Engine) Call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	e.mu.Lock()
	e.calls = append(e.calls, &Timer{e: e, f: func() { f(); close(done) }, at: e.nowLocked(), index: -1})
	e.mu.Unlock()
	e.wake()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OnRest registers f to be called each time that all is at rest after an event. It says whether it made something
// happen: then all is at rest again before anybody else is called. Calls are in the order of registration. After end, f is
// called no more, but perhaps for the event that runs.
func (e *Engine) OnRest(f func() bool) (end func()) {
	h := &hook{f}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooks = append(e.hooks, h)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		// A new list: whoever goes through the old one goes on.
		e.hooks = slices.DeleteFunc(slices.Clone(e.hooks), func(x *hook) bool { return x == h })
	}
}

// hook is what OnRest was given.
type hook struct{ f func() bool }

// Hooks is how many functions of OnRest there are. Each costs a call at every event, so nodes that end take theirs back.
func (e *Engine) Hooks() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.hooks)
}

// pop takes a call if there is one, else the first event if it is due by until, and moves virtual time to it.
func (e *Engine) pop(until time.Time) *Timer {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) > 0 {
		t := e.calls[0]
		e.calls = e.calls[1:]
		return t
	}
	if len(e.queue) == 0 || e.queue[0].at.After(until) {
		return nil
	}
	t := heap.Pop(&e.queue).(*Timer)
	if !e.cfg.Real && t.at.After(e.now) {
		e.now = t.at
	}
	return t
}

func (e *Engine) step(t *Timer) {
	t.f()
	e.settle()
}

// settle waits until nothing moves any more, in virtual time.
func (e *Engine) settle() {
	for again := true; again; {
		if !e.cfg.Real {
			e.rest.wait()
			if e.waste.collect() {
				e.rest.wait()
			}
		}
		e.mu.Lock()
		hooks := e.hooks
		e.mu.Unlock()
		again = false
		for _, h := range hooks {
			if h.f() && !e.cfg.Real { // and all is at rest again before the next one
				again = true
				break
			}
		}
		if e.cfg.Real {
			return
		}
	}
}

// queue is a heap of events: the earliest first, of those at one instant the one that was asked for first.
type queue []*Timer

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is heap's.
func (q *queue) Push(x any) {
	t := x.(*Timer)
	t.index = len(*q)
	*q = append(*q, t)
}

// Pop is heap's.
func (q *queue) Pop() any {
	old := *q
	n := len(old) - 1
	t := old[n]
	old[n] = nil
	*q = old[:n]
	t.index = -1
	return t
}
