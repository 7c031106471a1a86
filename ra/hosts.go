// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"time"
)

// Bounds against a LAN that solicits too much. A host that starts sends three RS at 4 s intervals
// (RFC 4861 section 10) and later fewer (RFC 7559): the burst lets all of them through.
const (
	maxHosts      = 256 // 27 kB; a home or a school floor has fewer
	answerBurst   = 3
	answerRefill  = 10 * time.Second
	maxAnswers    = 64               // unicast answers waiting; a multicast is cheaper for more
	askAgainLimit = 10 * time.Second // a second RS within it means that the unicast answer got lost
)

// host is a source of solicitations: whom to tell at once when something is taken away.
type host struct {
	addr     netip.Addr // link-local
	heard    time.Time
	answered time.Time // last unicast answer to a solicitation, also one that still waits
	refilled time.Time
	tokens   int
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
	e := host{addr: addr, heard: now, refilled: now, tokens: answerBurst}
	if len(*h) < maxHosts {
		*h = append(*h, e)
		return &(*h)[len(*h)-1]
	}
	(*h)[oldest] = e
	return &(*h)[oldest]
}

// take says whether the host may have one more answer.
func (e *host) take(now time.Time) bool {
	if n := now.Sub(e.refilled) / answerRefill; n > 0 {
		e.tokens = int(min(answerBurst, n+time.Duration(e.tokens)))
		e.refilled = e.refilled.Add(n * answerRefill)
	}
	if e.tokens == 0 {
		return false
	}
	e.tokens--
	return true
}

// answer is a unicast RA that waits for its random delay.
type answer struct {
	to netip.Addr
	at time.Time
}
