// SPDX-License-Identifier: MIT

package kernel

import (
	"testing"
	"time"

	"oasis6/dataplane"
)

// Two others who undo different things by turns: the text of the Drift is another each time.
func TestTwoFightersDoNotEvadeTheLimit(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	turns := [][]string{
		{"ip", "-6", "address", "del", testBoxAddr, "dev", "br-lan"},
		{"ip", "-6", "route", "flush", "proto", "66"},
	}
	drifts := 0
	done := time.After(4 * time.Second)
	again := time.NewTicker(30 * time.Millisecond)
	defer again.Stop()
	for turn := 0; ; {
		select {
		case <-again.C:
			_, _ = w.box.Try(turns[turn%2]...)
			turn++
		case ev := <-w.events:
			if _, ok := ev.(dataplane.Drift); ok {
				drifts++
				w.apply(w.desired())
			}
		case <-done:
			// 10 at full speed, then after 0.5, 1 and 2 seconds
			if drifts < driftMost || drifts > driftMost+4 {
				t.Errorf("%d Drifts in 4s, want %d to %d", drifts, driftMost, driftMost+4)
			}
			return
		}
	}
}
