// SPDX-License-Identifier: MIT

package lifetime

import (
	"testing"
	"time"
)

func TestSaveAndRevive(t *testing.T) {
	later := t0.Add(30 * time.Second)
	end := At(t0.Add(90*time.Second + 1))
	for _, tc := range []struct {
		name string
		u    Until
		boot string
		now  time.Time
		want Until
	}{
		{"same boot: the instant itself", end, "b", later, end},
		{"another boot: what was left", end, "c", later, At(later.Add(90*time.Second + 1))},
		{"boots without a name are not the same", end, "", later, At(later.Add(90*time.Second + 1))},
		{"a clock that went back is another boot", end, "b", t0.Add(-1), At(t0.Add(90 * time.Second))},
		{"over since", end, "b", t0.Add(time.Hour), end},
		{"over when written", At(t0), "b", later, Until{}},
		{"no end", Forever, "c", later, Forever},
	} {
		written := "b"
		if tc.boot == "" {
			written = ""
		}
		got, err := NewReviver(tc.now, tc.boot, written, t0.UnixNano()).Until(Save(tc.u, t0))
		at, _ := got.Time()
		want, _ := tc.want.Time()
		if err != nil || !at.Equal(want) || got.IsForever() != tc.want.IsForever() {
			t.Errorf("%s: %v, %v; want %v", tc.name, got, err, tc.want)
		}
	}
}

func TestReviveRefusesDamage(t *testing.T) {
	r := NewReviver(t0, "b", "b", t0.UnixNano())
	minute := Save(At(t0.Add(time.Minute)), t0)
	for _, tc := range []struct {
		name             string
		preferred, valid Saved
	}{
		{"no instant", Saved{Left: 5}, minute},
		{"no instant of the valid lifetime", minute, Saved{Left: 5}},
		{"less than the instant says", Saved{30, minute.BootNS}, minute},
		{"more than the instant says", Saved{61, minute.BootNS}, minute},
		{"preferred for longer than valid", minute, Save(At(t0.Add(time.Second)), t0)},
		{"preferred for ever", Save(Forever, t0), minute},
	} {
		if p, v, err := r.Both(tc.preferred, tc.valid); err == nil {
			t.Errorf("%s: taken as %v, %v", tc.name, p, v)
		}
	}
	if _, _, err := r.Both(minute, minute); err != nil {
		t.Errorf("equal lifetimes: %v", err)
	}
}

func TestClear(t *testing.T) {
	u := At(t0.Add(1))
	if u.Clear(t0) != u || u.Clear(t0.Add(1)) != (Until{}) || Forever.Clear(t0) != Forever {
		t.Error("Clear is not the zero value from the end on")
	}
}
