// SPDX-License-Identifier: MIT

package engine

import (
	"math/rand/v2"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Clock is the engine's time for gVisor.
func (e *Engine) Clock() tcpip.Clock { return clock{e} }

type clock struct{ e *Engine }

// Now is tcpip.Clock's.
func (c clock) Now() time.Time { return c.e.Now() }

// NowMonotonic is tcpip.Clock's: the time since the start.
func (c clock) NowMonotonic() tcpip.MonotonicTime {
	return tcpip.MonotonicTime{}.Add(c.e.Now().Sub(c.e.cfg.Start))
}

// AfterFunc is tcpip.Clock's, but that f runs on the engine's goroutine.
func (c clock) AfterFunc(d time.Duration, f func()) tcpip.Timer { return c.e.AfterFunc(d, f) }

// Source is a stream of random numbers in the two forms that gVisor wants. It belongs to one stack.
type Source struct{ *rand.Rand }

// Source gives the stream for one purpose, see Rand.
func (e *Engine) Source(name string) Source { return Source{e.Rand(name)} }

// Int63 is math/rand.Source's.
func (s Source) Int63() int64 { return s.Int64() }

// Seed is math/rand.Source's; the seed is the engine's.
func (s Source) Seed(int64) {}

// Read is io.Reader's.
func (s Source) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return len(b), nil
}
