// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// Console is a T for programs: it prints, and a failure runs the cleanups and exits with 1.
type Console struct {
	out      io.Writer
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

// NewConsole makes a T that logs and complains to out.
func NewConsole(out io.Writer) *Console { return &Console{out: out} }

// Helper is of use to package testing only.
func (c *Console) Helper() {}

// Logf prints a line.
func (c *Console) Logf(format string, args ...any) { _, _ = fmt.Fprintf(c.out, format+"\n", args...) } // there is no better place to complain

// Fatalf cleans up, which logs the programs' output, prints a line and exits with 1.
func (c *Console) Fatalf(format string, args ...any) {
	c.mu.Lock()
	c.failed = true
	c.mu.Unlock()
	c.Close()
	c.Logf(format, args...) // last, where the reader looks
	os.Exit(1)
}

// Skipf is Fatalf: a program that cannot do its work has failed.
func (c *Console) Skipf(format string, args ...any) { c.Fatalf(format, args...) }

// Cleanup has f called by Close, last come first served.
func (c *Console) Cleanup(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleanups = append(c.cleanups, f)
}

// Failed says whether Fatalf was called.
func (c *Console) Failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Close runs the cleanups. The Console may then be used again.
func (c *Console) Close() {
	for {
		c.mu.Lock()
		n := len(c.cleanups)
		if n == 0 {
			c.mu.Unlock()
			return
		}
		f := c.cleanups[n-1]
		c.cleanups = c.cleanups[:n-1]
		c.mu.Unlock()
		f()
	}
}
