// SPDX-License-Identifier: MIT

// Package lifetime holds the end of a lifetime as DHCPv6 and Neighbor Discovery mean it:
// an instant of the boot clock, or infinity (0xffffffff on the wire, RFC 9915 section 7.7,
// RFC 4861 section 4.6.2).
//
// It must not know any clock; the caller gives now. Start at Until.
package lifetime

import "time"

// Infinity is the wire value of a lifetime without end, in seconds.
const Infinity uint32 = 0xffffffff

// Until is the end of a lifetime. The zero value is a lifetime that is over.
// Values are comparable with ==.
type Until struct {
	at      time.Time
	forever bool
}

// Forever never ends.
var Forever = Until{forever: true}

// At ends at t, an instant of the boot clock.
func At(t time.Time) Until { return Until{at: t} }

// FromSeconds turns a lifetime from the wire, received at now, into its end.
func FromSeconds(now time.Time, s uint32) Until {
	switch s {
	case Infinity:
		return Forever
	case 0:
		return Until{}
	}
	return At(now.Add(time.Duration(s) * time.Second))
}

// IsForever says whether the lifetime has no end.
func (u Until) IsForever() bool { return u.forever }

// Time is the instant at which the lifetime ends; ok is false when it never does.
func (u Until) Time() (t time.Time, ok bool) { return u.at, !u.forever }

// Over says whether the lifetime has ended at now; the instant of the end counts as over.
func (u Until) Over(now time.Time) bool { return !u.forever && !u.at.After(now) }

// Clear is u, or the zero value when it is over: lifetimes that are over compare equal.
func (u Until) Clear(now time.Time) Until {
	if u.Over(now) {
		return Until{}
	}
	return u
}

// Left is what remains at now, 0 when over. Forever gives the largest Duration.
func (u Until) Left(now time.Time) time.Duration {
	if u.forever {
		return 1<<63 - 1
	}
	if u.Over(now) {
		return 0
	}
	return u.at.Sub(now)
}

// Seconds is what remains at now as a wire value: truncated, so that it never promises more
// than there is; Infinity only for Forever.
func (u Until) Seconds(now time.Time) uint32 {
	if u.forever {
		return Infinity
	}
	s := u.Left(now) / time.Second
	if s >= time.Duration(Infinity) {
		return Infinity - 1
	}
	return uint32(s)
}

// Before says whether u ends before v.
func (u Until) Before(v Until) bool {
	if u.forever {
		return false
	}
	return v.forever || u.at.Before(v.at)
}

// Min is the earlier of the two.
func Min(u, v Until) Until {
	if v.Before(u) {
		return v
	}
	return u
}
