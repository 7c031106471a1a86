// SPDX-License-Identifier: MIT

package lifetime

import (
	"testing"
	"time"
)

var t0 = time.Unix(1000, 0)

func TestFromSecondsAndBack(t *testing.T) {
	for _, tc := range []struct {
		wire  uint32
		after time.Duration
		want  uint32
		over  bool
	}{
		{0, 0, 0, true},
		{1, 0, 1, false},
		{2700, time.Second, 2699, false},
		{2700, time.Second + 1, 2698, false}, // truncated: never more than there is
		{2700, 2700*time.Second - 1, 0, false},
		{2700, 2700 * time.Second, 0, true},
		{Infinity - 1, 0, Infinity - 1, false},
		{Infinity, 1 << 62, Infinity, false},
	} {
		u, now := FromSeconds(t0, tc.wire), t0.Add(tc.after)
		if got, over := u.Seconds(now), u.Over(now); got != tc.want || over != tc.over {
			t.Errorf("FromSeconds(%d) after %v: %d s, over %v; want %d, %v", tc.wire, tc.after, got, over, tc.want, tc.over)
		}
	}
	if got := At(t0.Add(1 << 62)).Seconds(t0); got != Infinity-1 {
		t.Errorf("an end far away = %d s, want one less than infinity, which it is not", got)
	}
}

func TestZeroIsOver(t *testing.T) {
	var u Until
	if !u.Over(time.Time{}) || !u.Over(t0) || u.Left(t0) != 0 || u.IsForever() {
		t.Errorf("the zero value is not over: %+v", u)
	}
}

func TestMinAndBefore(t *testing.T) {
	a, b := At(t0), At(t0.Add(1))
	for _, tc := range []struct{ u, v, want Until }{{a, b, a}, {b, a, a}, {a, Forever, a}, {Forever, b, b}, {Forever, Forever, Forever}, {a, a, a}, {Until{}, a, Until{}}} {
		if got := Min(tc.u, tc.v); got != tc.want {
			t.Errorf("Min(%v, %v) = %v, want %v", tc.u, tc.v, got, tc.want)
		}
	}
	if Forever.Before(Forever) || Forever.Before(a) || !a.Before(Forever) {
		t.Error("Before of Forever")
	}
	if _, ok := Forever.Time(); ok {
		t.Error("Forever has a time")
	}
	if at, ok := a.Time(); !ok || !at.Equal(t0) {
		t.Errorf("Time = %v, %v", at, ok)
	}
}
