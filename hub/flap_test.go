// SPDX-License-Identifier: MIT

package hub

import (
	"testing"
	"time"
)

func TestFlapMeter(t *testing.T) {
	for _, x := range []struct {
		name    string
		every   time.Duration
		returns []uint64 // as the device counts them
		want    int      // alarms
	}{
		{"stays", 5 * time.Second, []uint64{0, 0, 0, 0, 0}, 0},
		{"there and back", 5 * time.Second, []uint64{0, 1, 1, 2, 2, 2}, 0},
		{"shared key", 5 * time.Second, []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8}, 1},
		{"shared key, seldom looked at", 25 * time.Second, []uint64{0, 5, 9}, 1},
		{"a commuter", 2 * time.Hour, []uint64{0, 1, 2, 3, 4, 5, 6}, 0},
		{"counted anew", 5 * time.Second, []uint64{2, 0, 0, 0}, 0},
	} {
		var f flapMeter
		now, alarms := t0, 0
		for _, n := range x.returns {
			now = now.Add(x.every)
			if f.see(now, n) {
				alarms++
			}
		}
		if alarms != x.want || f.flapping(now) != (x.want > 0) {
			t.Errorf("%s: %d alarms, flapping %v, want %d", x.name, alarms, f.flapping(now), x.want)
		}
		if f.flapping(now.Add(flapForget)) {
			t.Errorf("%s: still flapping after ten quiet minutes", x.name)
		}
	}
}
