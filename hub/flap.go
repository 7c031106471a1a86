// SPDX-License-Identifier: MIT

package hub

import "time"

// Two boxes with one key take the endpoint from each other with every packet. A box that roams goes from place to
// place too, but does not come back to the last one every few seconds.
const (
	flapReturns = 3               // of the endpoint to the one before the last are an alarm,
	flapWindow  = 5 * time.Minute // within this time
	flapForget  = 10 * time.Minute
)

// flapMeter watches the endpoint of one site. The zero value has seen nothing.
type flapMeter struct {
	counted uint64      // returns, as the device counts them
	returns []time.Time // the latest, at most flapReturns
	alarmed time.Time   // zero: not
}

// see takes how often the endpoint has returned to the one before the last, and says whether that raises the alarm.
func (f *flapMeter) see(now time.Time, returns uint64) (alarm bool) {
	if returns < f.counted {
		f.counted = 0 // the device counts anew
	}
	more := min(returns-f.counted, flapReturns)
	f.counted = returns
	if more == 0 {
		return false
	}
	for range more {
		f.returns = append(f.returns, now)
	}
	f.returns = f.returns[max(0, len(f.returns)-flapReturns):]
	if len(f.returns) < flapReturns || now.Sub(f.returns[0]) > flapWindow {
		return false
	}
	alarm = !f.flapping(now)
	f.alarmed = now
	return alarm
}

// flapping says that two boxes seem to share the key.
func (f *flapMeter) flapping(now time.Time) bool {
	return !f.alarmed.IsZero() && now.Sub(f.alarmed) < flapForget
}
