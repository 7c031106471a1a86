// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"oasis6/internal/control"
	"oasis6/status"
)

// answering is a box that answers "leave" with the lines.
func answering(t *testing.T, lines ...any) (run string) {
	t.Helper()
	run = t.TempDir()
	s, err := control.Listen(socketPath(run), control.Methods{Stream: map[string]control.Streamer{
		"leave": func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for _, l := range lines {
				if err := send(l); err != nil {
					return err
				}
			}
			return nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return run
}

type object map[string]any

func TestLeave(t *testing.T) {
	begun := object{"what": "leaving: about 15 s"}
	const notReleased = "oasis6 leave: the box has stopped, but the lease was not given back: no server answers the Release: " +
		"the hub keeps the prefix for this box until its valid lifetime is over"
	for _, c := range []struct {
		lines []any
		want  result
	}{
		{[]any{begun, object{"done": true, "released": true, "how": "the server has taken the lease back"}},
			result{stdout: "leaving: about 15 s\nleft: the server has taken the lease back\n"}},
		{[]any{begun, object{"done": true, "released": false, "how": "no server answers the Release"}},
			result{exitFailed, "leaving: about 15 s\n", notReleased + "\n"}},
		{[]any{begun, object{"done": true, "released": false, "how": "no server answers the Release", "problem": "sysctl: no"}},
			result{exitFailed, "leaving: about 15 s\n", notReleased + ": sysctl: no\n"}},
		{[]any{begun, object{"done": true, "released": true, "how": "there was no lease to release", "problem": "kernel not wholly put back: no"}},
			result{exitFailed, "leaving: about 15 s\nleft: there was no lease to release\n", "oasis6 leave: the box has stopped, not without trouble: kernel not wholly put back: no\n"}},
		{[]any{begun}, result{exitFailed, "leaving: about 15 s\n", "oasis6 leave: the box ended without saying how: its log says more\n"}},
		{[]any{object{"error": "the box is stopping already"}}, result{exitFailed, "", "oasis6 leave: the box is stopping already\n"}},
	} {
		if r := oasis6(t, "", "leave", "--run", answering(t, c.lines...)); r != c.want {
			t.Errorf("leave after %v:\n%+v\nwant\n%+v", c.lines, r, c.want)
		}
	}
}

func TestLeaveWithoutBox(t *testing.T) {
	run := t.TempDir()
	r := oasis6(t, "", "leave", "--run", run)
	want := "oasis6 leave: no oasis6 is running here: nobody listens on " + filepath.Join(run, "oasis6.sock") +
		": only a running box can give its lease back: start it with oasis6 run, or name its folder with --run\n"
	if r != (result{exitFailed, "", want}) {
		t.Errorf("%+v, want exit code 1 and %q", r, want)
	}
}

func TestLeaveWithBrokenOutput(t *testing.T) {
	run := answering(t, object{"what": "leaving"}, object{"done": true, "released": true, "how": "done"})
	var errs bytes.Buffer
	code := execute(t.Context(), env{stdout: broken{}, stderr: &errs}, commands(), []string{"leave", "--run", run})
	if code != exitFailed || !strings.Contains(errs.String(), "closed pipe") {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}

// running is what serve makes around a router, which ends when its Leave may return.
type running struct {
	*controls
	run   string
	srv   *control.Server
	asked chan struct{} // one for each Leave
	ended chan struct{} // the router's
}

func newRunning(t *testing.T) *running {
	t.Helper()
	b := &running{controls: newControls(), run: t.TempDir(), asked: make(chan struct{}, 16), ended: make(chan struct{})}
	var err error
	if b.srv, err = control.Listen(socketPath(b.run), b.methods()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.stop(t, nil) })
	return b
}

func (b *running) up() {
	b.open(func(context.Context) (status.Snapshot, error) { return upSnapshot(), nil }, func() (bool, string) {
		b.asked <- struct{}{}
		<-b.ended
		return true, "the server has taken the lease back"
	})
}

// stop is the end of serve.
func (b *running) stop(t *testing.T, err error) {
	t.Helper()
	if b.srv == nil {
		return
	}
	b.end(err)
	if err := b.srv.Close(); err != nil {
		t.Error(err)
	}
	b.srv = nil
}

// lines are what a client of the box reads until the end.
func (b *running) lines(ctx context.Context, each func(string)) error {
	return control.Stream(ctx, socketPath(b.run), "leave", nil, func(l json.RawMessage) error {
		each(string(l))
		return nil
	})
}

// The last line must reach each client although the server closes right behind it, and the next box can start as soon
// as a client has seen the end. Once is no proof of that.
func TestLeaveTellsEveryClientTheEnd(t *testing.T) {
	const last = `{"done":true,"released":true,"how":"the server has taken the lease back","problem":"tunnel: no; plane: no"}`
	for range 50 {
		b := newRunning(t)
		b.up()
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				var got []string
				err := b.lines(t.Context(), func(l string) { got = append(got, l) })
				if err != nil || len(got) != 2 || !strings.HasPrefix(got[0], `{"what":"leaving: `) || got[1] != last {
					t.Errorf("lines %q, %v, want what happens and %s", got, err, last)
				}
			})
		}
		for range 4 {
			<-b.asked
		}
		close(b.ended)
		b.stop(t, errors.Join(errors.New("tunnel: no"), errors.New("plane: no")))
		clients.Wait()
		next, err := control.Listen(socketPath(b.run), control.Methods{})
		if err != nil {
			t.Fatalf("Listen at the end = %v", err)
		}
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The router has ended, but tunnel and kernel are being closed: it is not over yet.
func TestLeaveIsDoneWhenAllIsClosed(t *testing.T) {
	b := newRunning(t)
	b.up()
	got := make(chan string, 2)
	end := make(chan error, 1)
	go func() { end <- b.lines(t.Context(), func(l string) { got <- l }) }()
	<-got
	<-b.asked
	close(b.ended)
	if err := control.Call(t.Context(), socketPath(b.run), "status", nil, &status.Snapshot{}); err != nil {
		t.Errorf("status of a box that leaves = %v", err)
	}
	select {
	case l := <-got:
		t.Errorf("%s before all is closed", l)
	default:
	}
	b.stop(t, nil)
	if l := <-got; l != `{"done":true,"released":true,"how":"the server has taken the lease back"}` {
		t.Errorf("last line %s", l)
	}
	if err := <-end; err != nil {
		t.Errorf("Stream() = %v", err)
	}
}

// Ctrl-C on `oasis6 leave` does not call the box back.
func TestLeaveGoesOnWithoutItsClient(t *testing.T) {
	b := newRunning(t)
	b.up()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	end := make(chan error, 1)
	go func() { end <- leave(ctx, &out, socketPath(b.run)) }()
	<-b.asked
	cancel()
	if err := <-end; err == nil || !strings.Contains(err.Error(), "interrupted") || strings.Contains(err.Error(), "context") {
		t.Errorf("leave() = %v", err)
	}
	select {
	case <-b.closing:
		t.Error("the box ended by itself")
	default:
	}
	close(b.ended)
	b.stop(t, nil) // does not hang
	if err := leave(ctx, &out, socketPath(b.run)); err == nil || !strings.Contains(err.Error(), "interrupted before the box answered") {
		t.Errorf("leave() with a context that is over = %v", err)
	}
}

// interruptAtFirstLine is an output on which somebody presses Ctrl-C.
type interruptAtFirstLine struct{ cancel context.CancelFunc }

func (o interruptAtFirstLine) Write(b []byte) (int, error) {
	o.cancel()
	return len(b), nil
}

func TestLeaveInterruptedSaysThatTheBoxGoesOn(t *testing.T) {
	b := newRunning(t)
	b.up()
	ctx, cancel := context.WithCancel(t.Context())
	err := leave(ctx, interruptAtFirstLine{cancel}, socketPath(b.run))
	if err == nil || !strings.HasPrefix(err.Error(), "interrupted: the box goes on leaving") {
		t.Errorf("leave() = %v", err)
	}
	close(b.ended)
}

// A start that fails while somebody waits.
func TestLeaveOfABoxThatDoesNotComeUp(t *testing.T) {
	b := newRunning(t)
	got := make(chan string, 2)
	end := make(chan error, 1)
	go func() { end <- b.lines(t.Context(), func(l string) { got <- l }) }()
	<-got
	b.stop(t, errors.New("no TUN driver"))
	if l := <-got; l != `{"done":true,"released":false,"how":"the box ended before it was up","problem":"no TUN driver"}` {
		t.Errorf("last line %s", l)
	}
	if err := <-end; err != nil {
		t.Errorf("Stream() = %v", err)
	}
}

func TestLeaveOfABoxThatHasEnded(t *testing.T) {
	c := newControls()
	c.end(nil)
	send := func(any) error { t.Error("a line was sent"); return nil }
	if err := c.streamLeave(t.Context(), nil, send); err == nil || err.Error() != "the box is stopping already" {
		t.Errorf("streamLeave() = %v", err)
	}
}
