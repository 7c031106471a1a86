// SPDX-License-Identifier: MIT

package bucket

import (
	"testing"
	"time"
)

var t0 = time.Unix(1000, 0)

// The bucket gives what it says, exactly.
func TestTake(t *testing.T) {
	b := Bucket{Burst: 3, Every: time.Second}
	now, got := t0, ""
	for _, wait := range []time.Duration{0, 0, 0, 0, 999 * time.Millisecond, time.Millisecond, 0, 1500 * time.Millisecond, 500 * time.Millisecond, 0, time.Hour, 0, 0, 0} {
		now = now.Add(wait)
		got += map[bool]string{true: "y", false: "n"}[b.Take(now, 1)]
	}
	if want := "yyynnynyynyyyn"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Several at once are all or none, and an empty bucket says when it is not.
func TestSeveralAndNext(t *testing.T) {
	b := Bucket{Burst: 3, Every: time.Second}
	if b.Take(t0, 4) || !b.Take(t0, 2) || b.Take(t0, 2) || b.Empty(t0) || !b.Take(t0, 1) {
		t.Fatal("3 tokens are 2 and 1")
	}
	if !b.Empty(t0.Add(time.Second-1)) || b.Next() != t0.Add(time.Second) || b.Empty(b.Next()) {
		t.Errorf("next token at %v, want %v", b.Next(), t0.Add(time.Second))
	}
	if !b.Take(t0.Add(time.Second), 1) || !b.Empty(t0) {
		t.Error("a clock that goes back gives tokens")
	}
}
