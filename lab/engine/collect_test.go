// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
)

// node makes garbage that takes the collector a while to go through.
type node struct{ left, right *node }

func tree(depth int) *node {
	if depth == 0 {
		return nil
	}
	return &node{tree(depth - 1), tree(depth - 1)}
}

// A goroutine that has to help the garbage collector waits in the middle of its work. It is not at rest.
func TestGoroutinesThatHelpToCollectAreNotAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	live := tree(18)
	e := New(Config{Start: time.Unix(0, 0)})
	work, done := make(chan int64, 1), atomic.Int64{}
	defer close(work)
	go func() {
		for i := range work {
			tree(9)
			done.Store(i)
		}
	}()
	const events = 20_000
	late := 0
	var next func()
	i := int64(0)
	next = func() {
		if done.Load() != i {
			late++
		}
		i++
		work <- i
		if i < events {
			e.AfterFunc(time.Millisecond, next)
		}
	}
	e.Post(next)
	if err := e.RunFor(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if late > 0 {
		t.Errorf("%d of %d events came before all was at rest", late, events)
	}
	_ = live.left
}

// While no engine runs the runtime collects as it did; while one is paused, what others make does not fill the memory.
func TestTheCollectorIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(123))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	e := New(Config{Start: start})
	e.Pause()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	if err := e.Call(t.Context(), func() {}); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	for range 400 {
		kept = make([]byte, 1<<20)
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc > limit+16*uint64(len(kept)) {
		t.Errorf("%d octets in the heap while paused", m.HeapAlloc)
	}
	other := New(Config{Start: start})
	if err := other.RunFor(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
	if percent, limit := debug.SetGCPercent(123), debug.SetMemoryLimit(-1); percent != 123 || limit != 1<<40 {
		t.Errorf("afterwards GOGC is %d and the limit %d", percent, limit)
	}
}
