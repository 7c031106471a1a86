// SPDX-License-Identifier: MIT

package kernel

import "time"

const (
	// debounce lets a burst of kernel messages, as of a flush, end before we look.
	debounce = 10 * time.Millisecond
	// gap is the least time between two looks; a program that changes the table all the time costs
	// us one look each.
	gap = 50 * time.Millisecond
	// quarrel is the gap after driftMost Drifts in driftWindow, whatever each was about: somebody else wants
	// it otherwise, and neither side wins by speed. It doubles with each further one, to gapMost.
	quarrel     = 500 * time.Millisecond
	gapMost     = 10 * time.Second
	driftMost   = 10
	driftWindow = 10 * time.Second
	// quietTime without a Drift ends a quarrel.
	quietTime = time.Minute
)

// pace says how fast to look again. The zero value is at peace.
type pace struct {
	times [driftMost]time.Time // of the last Drifts, a ring
	n     int                  // where the next goes
	gap   time.Duration        // 0 at peace
}

// drift notes one Drift and answers how long not to look.
func (p *pace) drift(now time.Time) time.Duration {
	last := p.times[(p.n+driftMost-1)%driftMost]
	if now.Sub(last) >= quietTime {
		*p = pace{}
	}
	p.times[p.n] = now
	p.n = (p.n + 1) % driftMost
	oldest := p.times[p.n]
	switch {
	case p.gap > 0:
		p.gap = min(2*p.gap, gapMost)
	case !oldest.IsZero() && now.Sub(oldest) <= driftWindow:
		p.gap = quarrel
	default:
		return gap
	}
	return p.gap
}
