// SPDX-License-Identifier: MIT

package retry

import (
	"testing"
	"time"
)

func TestRetryDoublesToItsBound(t *testing.T) {
	now := time.Unix(1000, 0)
	var r Retry
	if !r.Due(now) || !r.At().IsZero() {
		t.Error("the zero value is not due at once")
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		r.Failed(now, 0.5)
		want = want * time.Second * 9 / 8 // half of the jitter
		if got := r.At().Sub(now); got != want {
			t.Errorf("failure %d: next attempt after %v, want %v", i+1, got, want)
		}
		if r.Due(now.Add(want-1)) || !r.Due(now.Add(want)) {
			t.Errorf("failure %d: due too early, or not at its time", i+1)
		}
		if at := r.At(); r.Again(at.Add(-1)) || !r.Again(at) || r.Again(at) {
			t.Errorf("failure %d: not again once at its time", i+1)
		}
	}
	if r.Reset(); !r.Due(now) {
		t.Error("not due after Reset")
	}
}
