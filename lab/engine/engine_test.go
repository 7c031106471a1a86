// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestVirtualTimeRunsInOrder(t *testing.T) {
	e := New(Config{Start: start, Seed: 1})
	var got []string
	e.AfterFunc(2*time.Hour, func() { got = append(got, "c") })
	e.AfterFunc(time.Hour, func() {
		got = append(got, "a")
		e.AfterFunc(0, func() { got = append(got, "b") })
	})
	stopped := e.AfterFunc(90*time.Minute, func() { got = append(got, "never") })
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop does not say once that the event was to come")
	}
	again := e.AfterFunc(time.Minute, func() { got = append(got, "d") })
	again.Reset(3 * time.Hour)
	begin := time.Now()
	if err := e.RunFor(t.Context(), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c", "d"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if !e.Now().Equal(start.Add(24 * time.Hour)) {
		t.Errorf("the clock says %v", e.Now())
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("a day took %v", took)
	}
}

// An event goes on in goroutines that wake each other, over channels, mutexes and timers of no length: the next event
// comes after all of it.
func TestNextEventComesWhenAllIsAtRest(t *testing.T) {
	for round := range 200 {
		e := New(Config{Start: start, Seed: 1})
		var (
			mu  sync.Mutex
			got []int
		)
		in := make(chan int)
		out := make(chan int)
		for range 4 {
			go func() {
				for n := range in {
					s := 0
					for i := range 20_000 {
						s += i % (n + 1)
					}
					out <- n + s*0
				}
			}()
		}
		go func() {
			for n := range out {
				mu.Lock()
				got = append(got, n)
				mu.Unlock()
			}
		}()
		const events = 20
		for i := range events {
			e.AfterFunc(time.Duration(i), func() {
				mu.Lock()
				if len(got) != i {
					t.Errorf("round %d: event %d begins when %d of those before are done", round, i, len(got))
				}
				mu.Unlock()
				in <- i
			})
		}
		if err := e.RunFor(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		close(in)
		mu.Lock()
		if len(got) != events {
			t.Errorf("%d of %d", len(got), events)
		}
		mu.Unlock()
	}
}

func TestRandDependsOnSeedAndName(t *testing.T) {
	a, b := New(Config{Seed: 1}), New(Config{Seed: 1})
	if a.Rand("x").Uint64() != b.Rand("x").Uint64() {
		t.Error("same seed and name, other numbers")
	}
	if a.Rand("x").Uint64() == a.Rand("y").Uint64() {
		t.Error("other name, same numbers")
	}
	if a.Rand("x").Uint64() == New(Config{Seed: 2}).Rand("x").Uint64() {
		t.Error("other seed, same numbers")
	}
}

func TestPacedRun(t *testing.T) {
	e := New(Config{Start: start, Seed: 1})
	e.SetSpeed(1000)
	ticks := make(chan time.Time, 100)
	var tick func()
	tick = func() {
		ticks <- e.Now()
		e.AfterFunc(time.Second, tick)
	}
	e.AfterFunc(time.Second, tick)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { e.Run(ctx); close(ended) }()
	for range 20 {
		<-ticks
	}
	e.Pause()
	if speed, paused := e.Pace(); speed != 1000 || !paused {
		t.Errorf("speed %v, paused %v", speed, paused)
	}
	time.Sleep(20 * time.Millisecond)
	for len(ticks) > 0 {
		<-ticks
	}
	shown := e.Shown()
	time.Sleep(20 * time.Millisecond)
	if len(ticks) > 0 || !e.Shown().Equal(shown) {
		t.Errorf("time goes on while paused: %d events, %v and %v shown", len(ticks), shown, e.Shown())
	}
	e.StepUntil(time.Minute, func() bool { return true })
	one := <-ticks
	if err := e.Call(t.Context(), func() {}); err != nil {
		t.Error(err)
	}
	if got := e.Now(); !got.Equal(one) {
		t.Errorf("a call took time: %v after %v", got, one)
	}
	time.Sleep(20 * time.Millisecond)
	if len(ticks) > 0 {
		t.Error("a step ran more than an event")
	}
	e.Play()
	if next := <-ticks; next.Sub(one) != time.Second {
		t.Errorf("goes on at %v after %v", next, one)
	}
	cancel()
	<-ended
	if err := e.Call(ctx, func() {}); err == nil {
		t.Error("a call after the end succeeds")
	}
}

func TestShownDoesNotGoBack(t *testing.T) {
	e := New(Config{Start: start, Seed: 1})
	e.AfterFunc(time.Hour, func() {})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { e.Run(ctx); close(ended) }()
	last := e.Shown()
	for i := range 200 {
		switch i % 4 {
		case 0:
			e.SetSpeed(float64(i))
		case 1:
			e.Pause()
		case 2:
			e.Play()
		}
		time.Sleep(100 * time.Microsecond)
		if now := e.Shown(); now.Before(last) {
			t.Fatalf("step %d: %v after %v", i, now, last)
		} else {
			last = now
		}
	}
	cancel()
	<-ended
}

func TestRealTimePasses(t *testing.T) {
	e := New(Config{Start: start, Real: true})
	var at time.Time
	e.AfterFunc(30*time.Millisecond, func() { at = e.Now() })
	ok, err := e.RunUntil(t.Context(), 10*time.Second, func() bool { return !at.IsZero() })
	if !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if d := at.Sub(start); d < 30*time.Millisecond {
		t.Errorf("came after %v", d)
	}
	e.Pause()
	if _, paused := e.Pace(); paused {
		t.Error("real time stands still")
	}
}

func BenchmarkEvent(b *testing.B) {
	e := New(Config{Start: start})
	n := 0
	var f func()
	f = func() {
		if n++; n < b.N {
			e.AfterFunc(time.Millisecond, f)
		}
	}
	e.AfterFunc(0, f)
	_, _ = e.RunUntil(context.Background(), time.Duration(b.N)*time.Second, func() bool { return n >= b.N }) // no error without an end of the context
}

// A call is no event: it neither waits behind what is due at the same instant, nor makes that happen.
func TestCallsWhilePausedMakeNothingHappen(t *testing.T) {
	e := New(Config{Start: start})
	ran := 0
	for range 3 {
		e.Post(func() { ran++ })
	}
	e.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	for range 5 {
		seen := -1
		if err := e.Call(t.Context(), func() { seen = ran }); err != nil || seen != 0 {
			t.Fatalf("a call: %v; %d events have run, want none", err, seen)
		}
	}
}

func TestStepUntilEndsWithWhatWasLookedFor(t *testing.T) {
	e := New(Config{Start: start})
	ran := 0
	for i := range 10 {
		e.AfterFunc(time.Duration(i)*time.Second, func() { ran++ })
	}
	e.Pause()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { e.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	for _, c := range []struct {
		limit time.Duration
		until int
		want  int
	}{{time.Minute, 4, 4}, {time.Minute, 6, 6}, {2 * time.Second, 10, 8}} {
		ended := make(chan bool)
		e.StepUntil(c.limit, func() bool {
			over := ran >= c.until || !e.Now().Before(start.Add(5*time.Second).Add(c.limit))
			if over {
				close(ended)
			}
			return over
		})
		<-ended
		seen := 0
		if err := e.Call(t.Context(), func() { seen = ran }); err != nil || seen != c.want {
			t.Errorf("until %d events or %v: %v, %d have run, want %d", c.until, c.limit, err, seen, c.want)
		}
	}
	if _, paused := e.Pace(); !paused {
		t.Error("it is not paused any more")
	}
}

// Who takes his function back is asked no more, also when others registered before and after him.
func TestOnRestEnds(t *testing.T) {
	e := New(Config{Start: start})
	var asked [3]int
	var ends [3]func()
	for i := range ends {
		ends[i] = e.OnRest(func() bool { asked[i]++; return false })
	}
	event := func() {
		t.Helper()
		asked = [3]int{}
		e.Post(func() {})
		if err := e.RunFor(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	want := func(a, b, c bool, n int) {
		t.Helper()
		if asked[0] > 0 != a || asked[1] > 0 != b || asked[2] > 0 != c || e.Hooks() != n {
			t.Errorf("asked %v of %d", asked, e.Hooks())
		}
	}
	event()
	want(true, true, true, 3)
	ends[1]()
	ends[1]() // again is nothing
	event()
	want(true, false, true, 2)
	ends[0]()
	var self func()
	self = e.OnRest(func() bool { self(); return false })
	event()
	want(false, false, true, 1)
}
