// SPDX-License-Identifier: MIT

package engine

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// collector says when garbage is collected in virtual time: between two events, when all is at rest. By itself the runtime
// would begin in the midst of one, and a goroutine that allocates has to help then: it waits for work of that kind, which
// nothing tells from waiting for the next event.
type collector struct {
	sample []metrics.Sample
	goal   uint64 // octets in the heap
	left   int    // calls until the heap is looked at
}

const (
	// collectAt is the least heap that is collected, and collectEvery how many calls there are between two looks at it:
	// what one event allocates is small.
	collectAt    = 8 << 20
	collectEvery = 32
	// limit is where the runtime collects all the same, if something allocates while no event runs.
	limit = 128 << 20
)

// held is how the runtime collected before engines did. There may be several in a process.
var held struct {
	sync.Mutex
	engines int
	percent int
	limit   int64
}

// hold keeps the runtime from collecting until release.
func hold() (release func()) {
	held.Lock()
	defer held.Unlock()
	if held.engines++; held.engines == 1 {
		held.percent, held.limit = debug.SetGCPercent(-1), debug.SetMemoryLimit(-1)
		debug.SetMemoryLimit(min(held.limit, limit))
		runtime.GC() // one may have begun
	}
	return func() {
		held.Lock()
		defer held.Unlock()
		if held.engines--; held.engines == 0 {
			debug.SetGCPercent(held.percent)
			debug.SetMemoryLimit(held.limit)
		}
	}
}

// collect is for a moment at which all is at rest, or no event runs. It says whether garbage was collected: then somebody
// may move who was at rest.
func (c *collector) collect() bool {
	if c.left--; c.left > 0 {
		return false
	}
	c.left = collectEvery
	if c.heap() < max(c.goal, collectAt) {
		return false
	}
	runtime.GC()
	c.goal = 2 * c.heap() // as the runtime does by default
	return true
}

func (c *collector) heap() uint64 {
	if c.sample == nil {
		c.sample = []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	}
	metrics.Read(c.sample)
	return c.sample[0].Value.Uint64()
}
