// SPDX-License-Identifier: MIT

package drift

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	now := time.Unix(1000, 0)
	var m Meter
	var lines int
	for i := range 2000 {
		if m.Count(now.Add(time.Duration(i) * time.Millisecond)) {
			lines++
		}
		if got, want := m.Fighting(), i+1 >= Fight; got != want {
			t.Fatalf("Fighting after %d changes = %v, want %v", i+1, got, want)
		}
	}
	if lines != logged+1+2 || m.N() != 2000 {
		t.Errorf("%d log lines for %d changes, want 6 for 2000", lines, m.N())
	}
	end := m.Wake()
	if m.Forget(end.Add(-1)); m.N() == 0 {
		t.Error("forgotten before it was quiet for 30 s")
	}
	if m.Forget(end); m.N() != 0 || !m.Wake().IsZero() {
		t.Error("not forgotten after 30 s")
	}
}
