// SPDX-License-Identifier: MIT

package lab

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"oasis6/lab/engine"
)

// loopClock is the engine's time for the loop of a box or a hub.
type loopClock struct {
	e *engine.Engine
	c chan struct{}

	mu    sync.Mutex
	timer *engine.Timer
}

func newLoopClock(e *engine.Engine) *loopClock {
	return &loopClock{e: e, c: make(chan struct{}, 1)}
}

// Now is router.Clock's.
func (c *loopClock) Now() time.Time { return c.e.Now() }

// C is router.Clock's.
func (c *loopClock) C() <-chan struct{} { return c.c }

// Set is router.Clock's.
func (c *loopClock) Set(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case at.IsZero():
		if c.timer != nil {
			c.timer.Stop()
		}
	case c.timer == nil:
		c.timer = c.e.AfterFunc(at.Sub(c.e.Now()), c.ring)
	default:
		c.timer.Reset(at.Sub(c.e.Now()))
	}
	return nil
}

func (c *loopClock) ring() {
	select {
	case c.c <- struct{}{}:
	default: // one waits to be read, and is as good
	}
}

// memoryFiles are the files of a box's state folder. They outlive the box, as a disk does.
type memoryFiles struct {
	mu    sync.Mutex
	files map[string][]byte
}

func newMemoryFiles() *memoryFiles { return &memoryFiles{files: map[string][]byte{}} }

func (m *memoryFiles) clone() *memoryFiles {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memoryFiles{files: maps.Clone(m.files)}
}

// Read is router.Files'.
func (m *memoryFiles) Read(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.files[name]), nil
}

// Write is router.Files'.
func (m *memoryFiles) Write(name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = slices.Clone(data)
	return nil
}

// SetAside is router.Files'.
func (m *memoryFiles) SetAside(name string, cause error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return errors.Join(cause, fmt.Errorf("%s is not there", name))
	}
	m.files[name+".bad"] = data
	delete(m.files, name)
	return fmt.Errorf("%s is damaged and now called %s.bad: %w", name, name, cause)
}
