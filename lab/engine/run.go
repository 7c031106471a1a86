// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"time"
)

// RunFor runs, in virtual time and as fast as it goes, what comes within d, and leaves the clock d later. In real time it
// takes d.
func (e *Engine) RunFor(ctx context.Context, d time.Duration) error {
	_, err := e.RunUntil(ctx, d, func() bool { return false })
	return err
}

// RunUntil is RunFor that ends as soon as done says so; it is asked before the first and after each event. It says
// whether done has.
func (e *Engine) RunUntil(ctx context.Context, limit time.Duration, done func() bool) (bool, error) {
	end := e.Now().Add(limit)
	defer e.hold()()
	e.settle()
	for !done() {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if t := e.pop(e.horizon(end)); t != nil {
			e.step(t)
			continue
		}
		if !e.cfg.Real {
			e.mu.Lock()
			e.now = end
			e.mu.Unlock()
			return done(), nil
		}
		if !e.Now().Before(end) {
			return done(), nil
		}
		e.await(ctx, end)
	}
	return true, nil
}

// horizon is until when events are due: in real time, now.
func (e *Engine) horizon(end time.Time) time.Time {
	if e.cfg.Real {
		return e.Now()
	}
	return end
}

// Run runs until ctx ends: virtual time at the speed that was set.
func (e *Engine) Run(ctx context.Context) {
	e.mu.Lock()
	e.anchor()
	e.mu.Unlock()
	defer e.hold()()
	e.settle()
	for ctx.Err() == nil {
		until, single := e.due()
		t := e.pop(until)
		if t == nil {
			e.await(ctx, time.Time{})
			if !e.cfg.Real {
				e.waste.collect() // of whoever watches, too
			}
			continue
		}
		e.step(t)
		if single {
			e.stepped()
		}
	}
}

// due says until when events may run now; single: one event, whenever it is.
func (e *Engine) due() (until time.Time, single bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.cfg.Real:
		return e.nowLocked(), false
	case len(e.calls) > 0: // they take no time, and are no steps
		return time.Time{}, false
	case e.pace.paused && e.seek.found == nil:
		return time.Time{}, false
	case e.pace.paused:
		if len(e.queue) == 0 {
			e.seek = seek{}
			return time.Time{}, false
		}
		return e.queue[0].at, true
	}
	return e.pace.at(time.Now()), false
}

// hold is for the time in which virtual events run.
func (e *Engine) hold() (release func()) {
	if e.cfg.Real {
		return func() {}
	}
	return hold()
}

// await waits for the next event to be due, for a change, for end (zero: none), or a second.
func (e *Engine) await(ctx context.Context, end time.Time) {
	e.mu.Lock()
	wait := time.Second
	if len(e.queue) > 0 {
		switch at := e.queue[0].at; {
		case e.cfg.Real:
			wait = min(wait, at.Sub(e.nowLocked()))
		case !e.pace.paused:
			wait = min(wait, time.Duration(float64(at.Sub(e.pace.at(time.Now())))/e.pace.speed))
		}
	}
	if !end.IsZero() {
		wait = min(wait, end.Sub(e.nowLocked()))
	}
	if len(e.calls) > 0 || e.seek.found != nil {
		wait = 0
	}
	e.mu.Unlock()
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-e.woken:
	case <-t.C:
	case <-ctx.Done():
	}
}

// Pause stops virtual time; Play lets it go on. Real time cannot be stopped.
func (e *Engine) Pause() { e.change(func(p *pace) { p.paused = !e.cfg.Real }) }

// Play ends a Pause.
func (e *Engine) Play() { e.change(func(p *pace) { p.paused, e.seek = false, seek{} }) }

// SetSpeed lets Run's virtual time pass so many times as fast as real time, within MinSpeed and MaxSpeed.
func (e *Engine) SetSpeed(s float64) {
	if !e.cfg.Real {
		e.change(func(p *pace) { p.speed = min(max(s, MinSpeed), MaxSpeed) })
	}
}

// Pace says how Run goes.
func (e *Engine) Pace() (speed float64, paused bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pace.speed, e.pace.paused
}

func (e *Engine) change(f func(*pace)) {
	e.mu.Lock()
	if !e.cfg.Real && !e.pace.paused {
		// What has been shown does not go back: the next event is as near as it seems.
		if at := e.pace.at(time.Now()); at.After(e.now) && (len(e.queue) == 0 || at.Before(e.queue[0].at)) {
			e.now = at
		}
	}
	f(&e.pace)
	e.anchor()
	e.mu.Unlock()
	e.wake()
}

// seek is a search for the next event that shows something.
type seek struct {
	found func() bool
	end   time.Time
}

// StepUntil runs events while paused until found says so, which is asked after each of them on the engine's goroutine, or
// until limit has passed. It does not wait for it.
func (e *Engine) StepUntil(limit time.Duration, found func() bool) {
	e.mu.Lock()
	if e.pace.paused {
		e.seek = seek{found, e.now.Add(limit)}
	}
	e.mu.Unlock()
	e.wake()
}

// stepped is for a single event that has run.
func (e *Engine) stepped() {
	e.mu.Lock()
	s := e.seek
	e.anchor()
	e.mu.Unlock()
	if s.found != nil && (s.found() || !e.Now().Before(s.end)) {
		e.mu.Lock()
		e.seek = seek{}
		e.mu.Unlock()
	}
}
