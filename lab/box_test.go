// SPDX-License-Identifier: MIT

package lab

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"oasis6/internal/underrace"
)

// What a box began before its power was cut is gone when it is up again: nothing of it is asked at each event, and no
// goroutine of it waits.
func TestRebootsLeaveNothing(t *testing.T) {
	w := newTestWorld(t, Options{Seed: 1})
	b := w.boxes[0]
	up := func() bool {
		s, ok := b.status()
		return ok && strings.HasPrefix(s.Summary, "up:")
	}
	boot := func() {
		t.Helper()
		if ok, err := w.Engine.RunUntil(t.Context(), time.Minute, up); !ok || err != nil {
			t.Fatalf("boot %d: not up: %v", b.boots, err)
		}
		// What is said to neighbors once, and what waits for that, has its time.
		runFor(t, w, 5*time.Second)
	}
	boot()
	hooks, goroutines := w.Engine.Hooks(), runtime.NumGoroutine()
	reboots := 100
	if underrace.Is {
		reboots = 10
	}
	begin := time.Now()
	for range reboots {
		if err := w.reboot(b, powerOff); err != nil {
			t.Fatal(err)
		}
		boot()
	}
	t.Logf("%d reboots in %v; %d hooks, %d goroutines", reboots, time.Since(begin).Round(time.Millisecond), w.Engine.Hooks(), runtime.NumGoroutine())
	if n := w.Engine.Hooks(); n != hooks {
		t.Errorf("%d hooks, there were %d", n, hooks)
	}
	if n := runtime.NumGoroutine(); n > goroutines { // of other tests some may have ended meanwhile
		t.Errorf("%d goroutines, there were %d", n, goroutines)
	}
}
