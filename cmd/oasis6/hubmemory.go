// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"runtime/debug"
	"sync"
	"time"
)

// The heap of a hub is mostly the queues of WireGuard's peers, 30 KiB each, which live as long as the peers do. They take no
// memory before they are written to, if they come in fresh pages of the system rather than in what was garbage before.
const (
	// hubGarbagePercent: the usual 100 would let as much garbage lie as there are queues.
	hubGarbagePercent = 20
	// hubTrimFirst is when what the start has left goes back to the system, hubTrimEvery how often then what bursts have
	// left. With 10,000 sites that takes one processor for a quarter of a second.
	hubTrimFirst = 10 * time.Second
	hubTrimEvery = time.Minute
)

// growHeap is for the start: nothing is collected while all peers are made, so they get fresh pages, and sooner.
func growHeap() { debug.SetGCPercent(-1) }

// keepHeap begins to collect garbage. The function that it returns ends what it has begun.
func keepHeap() (stop func()) {
	debug.SetGCPercent(hubGarbagePercent)
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		t := time.NewTimer(hubTrimFirst)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				debug.FreeOSMemory()
				t.Reset(hubTrimEvery)
			case <-end:
				return
			}
		}
	})
	return func() { close(end); running.Wait() }
}
