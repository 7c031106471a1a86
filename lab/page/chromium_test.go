// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"oasis6/lab/page/pagetest"
)

// browser is a tab that shows the page over src.
type browser struct {
	*pagetest.Tab
	t    *testing.T
	src  *fake
	addr string // of the server, once there was one
	stop func() // the server
}

// openPage is a tab with the page over a world that runs by the wall clock, having run for some seconds,
// in a window of the given size in pixels of CSS.
func openPage(c pagetest.Chrome, t *testing.T, src *fake, width, height int64) *browser {
	t.Helper()
	b := &browser{t: t, src: src, addr: "127.0.0.1:0"}
	b.src.advance(9 * time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.src.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	b.serve()
	b.Tab = c.Open(t, "http://"+b.addr+"/", width, height)
	b.Wait(`document.getElementById("now").textContent > "00:00:05"`) // the first state is there
	return b
}

// serve starts the server, again on the same port.
func (b *browser) serve() {
	b.t.Helper()
	l, err := Listen(b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := Serve(ctx, l, b.src); err != nil {
			b.t.Error(err)
		}
	})
	b.stop = func() { cancel(); serving.Wait() }
	b.t.Cleanup(b.stop)
}

// did are the actions that the world was told.
func (b *browser) did() string {
	b.src.mu.Lock()
	defer b.src.mu.Unlock()
	return fmt.Sprint(b.src.did)
}
