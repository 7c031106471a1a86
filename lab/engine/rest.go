// SPDX-License-Identifier: MIT

package engine

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// rest tells when all goroutines but the caller's wait for something.
type rest struct {
	samples []metrics.Sample
	away    uint64 // goroutines that are in the operating system for good, such as one that waits for signals
}

const (
	running = iota
	runnable
	notInGo
)

// stuckAfter is how long a goroutine may be in the operating system before it counts as one that stays there: a write
// to a file is much shorter.
const stuckAfter = 50 * time.Millisecond

// looks in a row must find all at rest. One looks at the processors one after the other, and misses a goroutine that
// goes from a processor it has not seen yet to one that it has.
const looks = 3

// wait returns when nobody runs and nobody could. A goroutine that wakes another one is still running then.
func (r *rest) wait() {
	if r.samples == nil {
		r.samples = []metrics.Sample{
			running:  {Name: "/sched/goroutines/running:goroutines"},
			runnable: {Name: "/sched/goroutines/runnable:goroutines"},
			notInGo:  {Name: "/sched/goroutines/not-in-go:goroutines"},
		}
	}
	var since time.Time
	calm := 0
	for spins := 0; ; spins++ {
		metrics.Read(r.samples)
		away := r.samples[notInGo].Value.Uint64()
		idle := r.samples[running].Value.Uint64() <= 1 && r.samples[runnable].Value.Uint64() == 0
		switch {
		case idle && away <= r.away:
			if calm++; calm == looks {
				r.away = away
				return
			}
			continue
		case !idle:
			since, calm = time.Time{}, 0
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > stuckAfter:
			r.away = away
			return
		}
		if spins < 100 {
			runtime.Gosched()
		} else {
			time.Sleep(20 * time.Microsecond)
		}
	}
}
