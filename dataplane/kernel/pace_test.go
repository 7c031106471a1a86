// SPDX-License-Identifier: MIT

package kernel

import (
	"testing"
	"time"
)

// fight lets somebody undo our work at once, whenever we have looked, and counts the Drifts.
func fight(p *pace, now *time.Time, d time.Duration) (drifts int) {
	for end := now.Add(d); now.Before(end); drifts++ {
		*now = now.Add(max(p.drift(*now), debounce))
	}
	return drifts
}

func TestPaceOfQuarrel(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pace
	if got := fight(&p, &now, 15*time.Second); got > 16 {
		t.Errorf("%d Drifts in the first 15s of a quarrel, want at most 16", got)
	}
	fight(&p, &now, time.Minute)
	if got := fight(&p, &now, 10*time.Minute); got > 61 {
		t.Errorf("%d Drifts in 10 minutes of an old quarrel, want at most 61", got)
	}
	p.drift(now)
	now = now.Add(quietTime - time.Nanosecond)
	if got := p.drift(now); got != gapMost {
		t.Errorf("just before a quiet minute: gap = %v, want %v", got, gapMost)
	}
	now = now.Add(quietTime)
	if got := p.drift(now); got != gap {
		t.Errorf("after a quiet minute: gap = %v, want %v", got, gap)
	}
}

func TestPaceEdge(t *testing.T) {
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		every time.Duration
		want  time.Duration // after driftMost
	}{
		{"all within the window", driftWindow / (driftMost - 1), quarrel},
		{"one falls out of it", driftWindow/(driftMost-1) + time.Millisecond, gap},
		{"isolated flushes", 2 * time.Second, gap},
	} {
		var p pace
		var got time.Duration
		for i := range driftMost {
			got = p.drift(start.Add(time.Duration(i) * c.every))
			if i < driftMost-1 && got != gap {
				t.Errorf("%s: gap %d = %v, want %v", c.name, i, got, gap)
			}
		}
		if got != c.want {
			t.Errorf("%s: gap = %v, want %v", c.name, got, c.want)
		}
	}
}
