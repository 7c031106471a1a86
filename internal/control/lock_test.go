// SPDX-License-Identifier: MIT

package control

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The lock file stays; scripts that signal the pid in it must find none when nobody runs.
func TestClosedServerLeavesNoPID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.sock")
	s, err := Listen(path, Methods{})
	if err != nil {
		t.Fatal(err)
	}
	lock := strings.TrimSuffix(path, ".sock") + ".lock"
	if pid, err := os.ReadFile(lock); err != nil || len(pid) == 0 {
		t.Errorf("lock file of a running server = %q, %v; want its pid", pid, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if pid, err := os.ReadFile(lock); err != nil || len(pid) != 0 {
		t.Errorf("lock file after Close = %q, %v; want it empty", pid, err)
	}
}

// Whoever waits for the end of a connection starts the next box then.
func TestTheLockIsFreeWhenTheClientsSeeTheEnd(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	path, s := start(t, Methods{Stream: map[string]Streamer{
		"linger": func(context.Context, json.RawMessage, func(any) error) error {
			begun <- struct{}{}
			<-release // longer than its client: Close waits for it
			return nil
		},
	}}, wide)
	ended, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- Stream(t.Context(), path, "linger", nil, func(json.RawMessage) error { return nil })
	}()
	<-begun
	go func() { closed <- s.Close() }()
	if err := <-ended; err != nil {
		t.Errorf("Stream() = %v", err)
	}
	next, err := Listen(path, Methods{})
	if err != nil {
		t.Errorf("Listen at the end of the stream = %v", err)
	} else if err := next.Close(); err != nil {
		t.Error(err)
	}
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v", err)
	}
}
