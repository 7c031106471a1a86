// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"oasis6/dhcpv6/client"
	"oasis6/internal/control"
	"oasis6/status"
)

// broken is an output whose reader is gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// box listens as a running box does and answers with the snapshot.
func box(t *testing.T, snap func() status.Snapshot) (run string, s *control.Server) {
	t.Helper()
	run = t.TempDir()
	s, err := control.Listen(socketPath(run), control.Methods{Answer: map[string]control.Handler{
		"status": func(context.Context, json.RawMessage) (any, error) { return snap(), nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return run, s
}

func upSnapshot() status.Snapshot {
	return status.Snapshot{
		Version: "v1.0.0", Role: "run", Ready: true, Summary: "up: 2001:db8:ebbd:990a::/64 on br-lan",
		Tunnel: status.Tunnel{Interface: "oasis0", State: "up", MTU: 1420},
	}
}

func TestStatus(t *testing.T) {
	run, _ := box(t, upSnapshot)
	r := oasis6(t, "", "status", "--run", run)
	if want := (result{stdout: status.Text(upSnapshot())}); r != want {
		t.Errorf("status: %+v, want %+v", r, want)
	}
	r = oasis6(t, "", "status", "--run", run, "--json")
	want, err := json.MarshalIndent(upSnapshot(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if r != (result{stdout: string(want) + "\n"}) {
		t.Errorf("status --json: %+v, want %s", r, want)
	}
}

func TestStatusWithoutBox(t *testing.T) {
	run := t.TempDir()
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		r := oasis6(t, "", append(args, "--run", run)...)
		want := "oasis6 status: no oasis6 is running here: nobody listens on " + filepath.Join(run, "oasis6.sock") + ": start it with oasis6 run"
		if r.code != exitFailed || r.stdout != "" || !strings.HasPrefix(r.stderr, want) {
			t.Errorf("%q: %+v, want exit code 1 and %q", args, r, want)
		}
	}
}

// The text form cannot import the machine, so the number in it is compared here.
func TestStatusTellsTheLifetimeOfAnUnconfirmedLease(t *testing.T) {
	s := upSnapshot()
	s.DHCPv6 = &status.DHCPv6{IAs: []status.IA{{Type: "IA_PD", Prefixes: []status.IAPrefix{{Prefix: "2001:db8:ebbd:990a::/64"}}}}}
	want := fmt.Sprintf(" for %.0f minutes at a time\n", client.UnconfirmedLifetime.Minutes())
	if got := status.Text(s); !strings.Contains(got, want) {
		t.Errorf("Text() = %s\nwant in it %q", got, want)
	}
}

// screens is an output that hands each redraw over.
type screens chan string

func (s screens) Write(b []byte) (int, error) {
	s <- string(b)
	return len(b), nil
}

func TestStatusWatch(t *testing.T) {
	var changed atomic.Bool
	run, s := box(t, func() status.Snapshot {
		x := upSnapshot()
		if changed.Load() {
			x.Summary = "down: no answer from the hub"
		}
		return x
	})
	ctx, cancel := context.WithCancel(t.Context())
	out, tick, end := make(screens), make(chan time.Time), make(chan error)
	go func() { end <- watch(ctx, out, socketPath(run), tick) }()

	if got := <-out; !strings.HasPrefix(got, clearScreen+"up: ") {
		t.Errorf("first screen %q", got)
	}
	changed.Store(true)
	tick <- time.Time{}
	if got := <-out; !strings.HasPrefix(got, clearScreen+"down: no answer from the hub\n") {
		t.Errorf("second screen %q", got)
	}
	// A box that stops is shown as such, and waited for.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tick <- time.Time{}
	if got := <-out; !strings.HasPrefix(got, clearScreen+"no oasis6 is running here") {
		t.Errorf("third screen %q", got)
	}
	cancel()
	if err := <-end; err != nil {
		t.Errorf("watch() = %v", err)
	}
	if err := watch(t.Context(), broken{}, socketPath(run), tick); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("watch() on a broken output = %v", err)
	}
}

func TestStatusWithBrokenOutput(t *testing.T) {
	run, _ := box(t, upSnapshot)
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		var errs bytes.Buffer
		code := execute(t.Context(), env{stdout: broken{}, stderr: &errs}, commands(), append(args, "--run", run))
		if code != exitFailed || !strings.Contains(errs.String(), "closed pipe") {
			t.Errorf("%q: exit code %d, %q", args, code, errs.String())
		}
	}
}
