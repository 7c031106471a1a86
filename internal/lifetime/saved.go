// SPDX-License-Identifier: MIT

package lifetime

import (
	"errors"
	"time"
)

// Saved is the form of a lifetime in a state file: an instant of the boot clock and what was left when it was
// written. The instant of a lifetime that is over or has no end is 0.
type Saved struct {
	Left   uint32 `json:"left_s"` // 4294967295: no end
	BootNS int64  `json:"until_boot_ns,omitempty"`
}

// Save is u as it goes to disk at now.
func Save(u Until, now time.Time) Saved {
	s := Saved{Left: u.Seconds(now)}
	if at, ends := u.Time(); ends && !u.Over(now) {
		s.BootNS = at.UnixNano()
	}
	return s
}

// Reviver turns the lifetimes of a file into living ones.
type Reviver struct {
	now, savedAt time.Time
	sameBoot     bool
}

// NewReviver is for a file written in boot savedBoot at savedNS of its boot clock. It is read at now in boot; an empty
// name is no boot.
func NewReviver(now time.Time, boot, savedBoot string, savedNS int64) Reviver {
	r := Reviver{now: now, savedAt: time.Unix(0, savedNS).UTC()}
	r.sameBoot = boot != "" && boot == savedBoot && !now.Before(r.savedAt)
	return r
}

// SameBoot says whether the boot clock has counted every second since the file was written. Otherwise nobody knows how
// long ago that was.
func (r Reviver) SameBoot() bool { return r.sameBoot }

// Until is a lifetime that counts from now: the instant itself in the same boot, otherwise what was left, as if no time
// had passed. It may be over.
func (r Reviver) Until(s Saved) (Until, error) {
	if s.Left == Infinity {
		return Forever, nil
	}
	if s.BootNS == 0 {
		if s.Left != 0 {
			return Until{}, errors.New("a lifetime has no instant")
		}
		return Until{}, nil
	}
	at := time.Unix(0, s.BootNS).UTC()
	if d := at.Sub(r.savedAt) - time.Duration(s.Left)*time.Second; d < 0 || d > time.Second {
		return Until{}, errors.New("a lifetime's instant does not fit to what was left")
	}
	if !r.sameBoot {
		at = r.now.Add(at.Sub(r.savedAt))
	}
	return At(at), nil
}

// Both is a preferred and a valid lifetime; the first may not be the longer one.
func (r Reviver) Both(preferred, valid Saved) (p, v Until, err error) {
	if p, err = r.Until(preferred); err != nil {
		return p, v, err
	}
	if v, err = r.Until(valid); err == nil && v.Before(p) {
		err = errors.New("preferred for longer than valid")
	}
	return p, v, err
}
