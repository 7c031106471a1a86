// SPDX-License-Identifier: MIT

// Package drift measures how often others change kernel state that is ours. Once in a while is put right without a word
// too many; all the time is a fight that a person must end.
//
// It must not know the clock or what was changed. Start at Meter.
package drift

import "time"

const logged = 3 // of a series are logged one by one

// Quiet ends a series.
const Quiet = 30 * time.Second

// Fight is how many changes of a series make it a fight.
const Fight = 5

// Meter counts the changes of one series. The zero value has seen none.
type Meter struct {
	n    int
	last time.Time
}

// Count takes one more and says whether it is worth a log line.
func (m *Meter) Count(now time.Time) bool {
	m.Forget(now)
	m.n++
	m.last = now
	return m.n <= logged || m.n == Fight || m.n%1000 == 0
}

// Forget ends a series after which it has been quiet for long enough.
func (m *Meter) Forget(now time.Time) {
	if m.n > 0 && now.Sub(m.last) >= Quiet {
		*m = Meter{}
	}
}

// Fighting says that somebody keeps changing what is ours.
func (m *Meter) Fighting() bool { return m.n >= Fight }

// N is how many changes the series has had.
func (m *Meter) N() int { return m.n }

// Wake is when Forget has something to do; zero: never.
func (m *Meter) Wake() time.Time {
	if m.n == 0 {
		return time.Time{}
	}
	return m.last.Add(Quiet)
}
