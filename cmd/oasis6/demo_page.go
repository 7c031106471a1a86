// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"fmt"
	"sync"

	"oasis6/lab"
	"oasis6/lab/page"
)

// show serves the page until ctx ends.
func (d *demo) show(ctx context.Context, e env, w *lab.World) error {
	l, err := d.open()
	if err != nil {
		return err
	}
	src := lab.NewSource(w)
	if _, err := fmt.Fprintf(e.stdout, "the page is at http://%s/ (scenario %s, link %s, %s); Ctrl-C ends it\n", l.Addr(), d.scenario, d.link, d.chance()); err != nil {
		_ = l.Close() // nothing was served
		return err
	}
	// The world goes on until the last page is served: who asks it would wait for its answer in vain.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var world sync.WaitGroup
	world.Go(func() { w.Run(life) })
	err = page.Serve(ctx, l, src)
	cancel()
	world.Wait()
	return err
}
