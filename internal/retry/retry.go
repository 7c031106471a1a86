// SPDX-License-Identifier: MIT

// Package retry is the backoff of an I/O fault that may pass: 1 s doubling to 30 s, with jitter so that a herd spreads
// out.
//
// Retransmissions of protocols are their machines' own. It must not know the clock or what is tried. Start at Retry.
package retry

import "time"

// Bounds of the time between two attempts, a quarter of jitter apart.
const (
	Min = time.Second
	Max = 30 * time.Second
)

// Retry is one thing that is tried until it works. The zero value is due at once.
type Retry struct {
	at    time.Time // no attempt before; zero: at once
	delay time.Duration
}

// Due says whether it may be tried now.
func (r *Retry) Due(now time.Time) bool { return r.at.IsZero() || !r.at.After(now) }

// At is when it may be tried again; zero: nothing has failed.
func (r *Retry) At() time.Time { return r.at }

// Again says that a failed attempt is due for its next one, once: how often it has failed is kept.
func (r *Retry) Again(now time.Time) bool {
	again := !r.at.IsZero() && r.Due(now)
	if again {
		r.at = time.Time{}
	}
	return again
}

// Reset forgets all failures.
func (r *Retry) Reset() { *r = Retry{} }

// Failed puts the next attempt off. rand is uniform in [0, 1).
func (r *Retry) Failed(now time.Time, rand float64) {
	r.delay = min(max(2*r.delay, Min), Max)
	r.at = now.Add(r.delay + time.Duration(rand*float64(r.delay)/4))
}
