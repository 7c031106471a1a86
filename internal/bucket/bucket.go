// SPDX-License-Identifier: MIT

// Package bucket has the token bucket of everything that is bounded in time: answers, log lines, writes to flash.
// Start at Bucket.
package bucket

import "time"

// Bucket gives Burst tokens at once, and one more Every so often. A new one is full. It has no lock.
type Bucket struct {
	Burst int           // at least 1
	Every time.Duration // more than 0
	gone  int           // tokens that are out
	since time.Time     // from when on they come back
}

// Take takes n tokens if there are as many; else none.
func (b *Bucket) Take(now time.Time, n int) bool {
	b.fill(now)
	if b.gone+n > b.Burst {
		return false
	}
	b.gone += n
	return true
}

// Empty says whether there is no token now.
func (b *Bucket) Empty(now time.Time) bool {
	b.fill(now)
	return b.gone == b.Burst
}

// Next is when a bucket that is empty has a token again.
func (b *Bucket) Next() time.Time { return b.since.Add(b.Every) }

func (b *Bucket) fill(now time.Time) {
	back := now.Sub(b.since) / b.Every
	switch {
	case b.gone == 0 || back >= time.Duration(b.gone):
		b.gone, b.since = 0, now
	case back > 0:
		b.gone, b.since = b.gone-int(back), b.since.Add(back*b.Every)
	}
}
