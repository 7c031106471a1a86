// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"oasis6/internal/control"
	"oasis6/status"
)

// controls is the box as a client of the control socket sees it, from before the router is made until all but
// the socket is gone.
type controls struct {
	ready   chan struct{} // closed by open
	closing chan struct{} // closed by end

	snapshot snapshotter
	leave    func() (released bool, how string) // returns when the router has ended
	problem  string                             // with which the box ended

	mu      sync.Mutex
	ended   bool
	waiting sync.WaitGroup // clients that are to hear how leaving ended
}

// snapshotter asks a loop how things are.
type snapshotter func(context.Context) (status.Snapshot, error)

func newControls() *controls {
	return &controls{ready: make(chan struct{}), closing: make(chan struct{})}
}

func (c *controls) methods() control.Methods {
	return control.Methods{
		Answer: map[string]control.Handler{"status": c.answerStatus},
		Stream: map[string]control.Streamer{"leave": c.streamLeave},
	}
}

// open is called once the router exists.
func (c *controls) open(snapshot snapshotter, leave func() (bool, string)) {
	c.snapshot, c.leave = snapshot, leave
	close(c.ready)
}

// end is called last, before the server closes. It returns when every client that waits has been told.
func (c *controls) end(err error) {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	if err != nil {
		c.problem = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	close(c.closing)
	c.waiting.Wait()
}

// wait makes end wait for one more client; false when it came first.
func (c *controls) wait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.waiting.Add(1)
	}
	return !c.ended
}

func (c *controls) answerStatus(ctx context.Context, _ json.RawMessage) (any, error) {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.snapshot(ctx)
}

// leaveBegun and leaveDone are the first and the last line of the answer to "leave".
type (
	leaveBegun struct {
		What string `json:"what"`
	}
	leaveDone struct {
		Done     bool   `json:"done"` // always true
		Released bool   `json:"released"`
		How      string `json:"how"`
		Problem  string `json:"problem,omitempty"` // what else went wrong at the end
	}
)

const whatLeaveDoes = "leaving: hosts are told to give the prefix up, then what came by DHCPv6 is given back: 17 s at most"

// streamLeave lets the box leave, whether or not the client stays to hear of it. The last line follows when all but
// the socket is gone, and the connection then stays until the lock is free.
func (c *controls) streamLeave(ctx context.Context, _ json.RawMessage, send func(any) error) error {
	if !c.wait() {
		return errors.New("the box is stopping already")
	}
	_ = send(leaveBegun{whatLeaveDoes}) // who has gone need not know
	done := leaveDone{Done: true, How: "the box ended before it was up"}
	select {
	case <-c.ready:
		done.Released, done.How = c.leave()
	case <-c.closing:
	}
	<-c.closing
	done.Problem = c.problem
	err := send(done)
	c.waiting.Done()
	<-ctx.Done()
	return err
}
