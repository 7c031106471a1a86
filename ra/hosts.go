// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/bucket"
)

// Bounds against a LAN that solicits too much. A host that starts sends three RS at 4 s intervals
// (RFC 4861 section 10) and later fewer (RFC 7559): the burst lets all of them through.
const (
	maxHosts     = 256 // 27 kB; a home or a school floor has fewer
	answerBurst  = 3
	answerRefill = 10 * time.Second
	maxAnswers   = 64 // unicast answers waiting; a multicast is cheaper for more
	// All sources together, for their addresses cost a forger nothing: a school floor that wakes up at once is
	// served from the burst, and ten a second are less work than one video stream. For more there is the multicast.
	solicitedBurst  = 64
	solicitedRefill = 100 * time.Millisecond
	// All that we know of are told by unicast tellBurst times at once, and then once in tellEvery: a tunnel that is back
	// and the prefix that it brings are two pieces of news within milliseconds. A LAN of maxHosts whose uplink flaps costs
	// as many packets a second, and the multicast at the floor is never more than 3 s away.
	tellBurst     = 2
	tellEvery     = time.Second
	askAgainLimit = 10 * time.Second // a second RS within it means that the unicast answer got lost
)

// host is a source of solicitations: whom to tell at once when something is taken away.
type host struct {
	addr     netip.Addr // link-local
	heard    time.Time
	answered time.Time // last unicast answer to a solicitation, also one that still waits
	bucket   bucket.Bucket
}

type hosts []host

// heard returns the record of addr; the one not heard for longest makes room.
func (h *hosts) heard(now time.Time, addr netip.Addr) *host {
	oldest := 0
	for i := range *h {
		e := &(*h)[i]
		if e.addr == addr {
			e.heard = now
			return e
		}
		if e.heard.Before((*h)[oldest].heard) {
			oldest = i
		}
	}
	e := host{addr: addr, heard: now, bucket: bucket.Bucket{Burst: answerBurst, Every: answerRefill}}
	if len(*h) < maxHosts {
		*h = append(*h, e)
		return &(*h)[len(*h)-1]
	}
	(*h)[oldest] = e
	return &(*h)[oldest]
}

// later is the later of the two. Not copied into its callers: time.Time is big on small boards.
//
//go:noinline
func later(t, u time.Time) time.Time {
	if t.Before(u) {
		return u
	}
	return t
}

// deadline finds the earliest instant after now; at is zero if there is none.
type deadline struct{ now, at time.Time }

//go:noinline
func (d *deadline) add(t time.Time) {
	if t.After(d.now) && (d.at.IsZero() || t.Before(d.at)) {
		d.at = t
	}
}

// answer is a unicast RA that waits for its random delay.
type answer struct {
	to netip.Addr
	at time.Time
}

// tellHosts sends the RA of now to everybody we know of: the neighbors, and all who ever solicited. The
// neighbors come first, since forged solicitations fill the other list. Who is left out by number hears the multicast
// that review has put at the floor. So soon after other rounds it waits: a tunnel that is back at once is told of
// within tellEvery all the same.
func (s *Sender) tellHosts(now time.Time, a *Actions) {
	s.tellAt = time.Time{}
	if s.tells.Empty(now) {
		s.tellAt = s.tells.Next()
		return
	}
	to := make([]netip.Addr, 0, min(maxHosts, len(s.hosts)+len(s.neighbors)))
	add := func(addr netip.Addr) {
		if len(to) < maxHosts && addr.Is6() && !addr.IsMulticast() && !addr.IsUnspecified() && !slices.Contains(to, addr) {
			to = append(to, addr)
		}
	}
	for _, n := range s.neighbors {
		add(n)
	}
	for _, h := range s.hosts {
		add(h.addr)
	}
	if len(to) == 0 {
		return
	}
	s.tells.Take(now, 1)
	s.answers = slices.DeleteFunc(s.answers, func(w answer) bool { return slices.Contains(to, w.to) })
	s.send(now, false, to, a)
}
