// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"oasis6/lab/page"
)

// worldsEnd is real time: what ends, ends within a moment, but not on a machine that does something else.
const worldsEnd = 30 * time.Second

// After Close there is not a goroutine more than before New, whatever the world was doing.
func TestCloseEndsEverything(t *testing.T) {
	for _, link := range []LinkKind{Sim, WG} {
		for _, tc := range []struct {
			name string
			run  func(*testing.T, *World)
		}{
			{"never run", func(*testing.T, *World) {}},
			{"starting", func(t *testing.T, w *World) { runFor(t, w, 20*time.Millisecond) }},
			{"up, with the page's source and a reader", beWatched},
			{"the box without power", func(t *testing.T, w *World) {
				runUntilUp(t, w)
				if err := w.reboot(w.boxes[0], time.Minute); err != nil {
					t.Fatal(err)
				}
				runFor(t, w, 20*time.Millisecond)
			}},
			{"a cable pulled, a fetch on its way", func(t *testing.T, w *World) {
				runUntilUp(t, w)
				if err := w.pressFetch(nodeH1, "www4"); err != nil {
					t.Fatal(err)
				}
				runFor(t, w, 20*time.Millisecond)
				if err := w.plug("lan-h1", false); err != nil {
					t.Fatal(err)
				}
				runFor(t, w, 20*time.Millisecond)
			}},
		} {
			t.Run(string(link)+", "+tc.name, func(t *testing.T) {
				before := runtime.NumGoroutine()
				w, err := New(Options{Seed: 1, Link: link, Start: start})
				if err != nil {
					t.Fatal(err)
				}
				tc.run(t, w)
				w.Close()
				for end := time.Now().Add(worldsEnd); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						stacks := make([]byte, 1<<20)
						t.Fatalf("%d goroutines are left, there were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
					}
				}
			})
		}
	}
}

func runFor(t *testing.T, w *World, d time.Duration) {
	t.Helper()
	if err := w.Engine.RunFor(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func runUntilUp(t *testing.T, w *World) {
	t.Helper()
	ok, err := w.Engine.RunUntil(t.Context(), time.Minute, func() bool { return w.address(nodeH1).IsValid() })
	if !ok || err != nil {
		t.Fatalf("h1 has no address: %v", err)
	}
}

// beWatched lets the world run as the page has it.
func beWatched(t *testing.T, w *World) {
	s := NewSource(w)
	ctx, cancel := context.WithCancel(t.Context())
	updates := s.Subscribe(ctx)
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx) })
	for u := range updates {
		if len(u.Packets) > 0 {
			break
		}
	}
	if _, err := s.Do(ctx, page.Action{Action: doPing, Target: nodeH1}); err != nil {
		t.Error(err)
	}
	if err := s.StartLesson("split-tunnel"); err != nil {
		t.Error(err)
	}
	_ = s.State() // what it says is not the question
	cancel()
	running.Wait()
}
