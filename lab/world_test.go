// SPDX-License-Identifier: MIT

package lab

import (
	"sync"
	"testing"
	"time"

	"oasis6/internal/underrace"
)

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newTestWorld(t *testing.T, o Options) *World {
	t.Helper()
	o.Start = start
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// finish runs the scenario to its end.
func finish(t *testing.T, w *World) {
	t.Helper()
	begin := time.Now()
	ok, err := w.Engine.RunUntil(t.Context(), 20*time.Minute, w.script.over)
	results, passed := w.script.all()
	for _, r := range results {
		t.Logf("%-8s %8v  %s: %s", r.state, r.at.Sub(r.begun).Round(time.Millisecond), r.name, r.text)
	}
	t.Logf("%v of lab time in %v", w.Engine.Now().Sub(start).Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	if !ok || err != nil || !passed {
		w.mu.Lock()
		for _, e := range w.entries {
			t.Logf("%v %s %s: %s", e.At.Sub(start), e.Level, e.Node, e.Text)
		}
		w.mu.Unlock()
		t.Fatalf("the scenario did not pass: over %v, %v", ok, err)
	}
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			finish(t, newTestWorld(t, Options{Scenario: s.name, Seed: 1}))
		})
	}
}

func TestScenariosOnWireGuard(t *testing.T) {
	if underrace.Is {
		t.Skip("real time waits for nobody, least of all for the race detector: make lab-seeds runs it")
	}
	// All at once, since they wait most of the time; t.Parallel would let no more run than there are processors.
	var all sync.WaitGroup
	for _, s := range scenarios() {
		all.Go(func() {
			t.Run(s.name, func(t *testing.T) {
				finish(t, newTestWorld(t, Options{Scenario: s.name, Seed: 1, Link: WG}))
			})
		})
	}
	all.Wait()
}
