// SPDX-License-Identifier: MIT

package client

import (
	"time"

	"oasis6/dhcpv6"
)

// Transmission and retransmission parameters (RFC 9915 section 7.6).
const (
	SolMaxDelay = 1 * time.Second
	SolTimeout  = 1 * time.Second
	SolMaxRT    = 3600 * time.Second
	ReqTimeout  = 1 * time.Second
	ReqMaxRT    = 30 * time.Second
	ReqMaxRC    = 10
	CnfMaxDelay = 1 * time.Second
	CnfTimeout  = 1 * time.Second
	CnfMaxRT    = 4 * time.Second
	CnfMaxRD    = 10 * time.Second
	RenTimeout  = 10 * time.Second
	RenMaxRT    = 600 * time.Second
	RebTimeout  = 10 * time.Second
	RebMaxRT    = 600 * time.Second
	InfMaxDelay = 1 * time.Second
	InfTimeout  = 1 * time.Second
	InfMaxRT    = 3600 * time.Second
	RelTimeout  = 1 * time.Second
	RelMaxRC    = 4
	DecTimeout  = 1 * time.Second
	DecMaxRC    = 4
)

// RateLimit messages in RateInterval are the most that we send (RFC 9915 section 14.1).
const (
	RateLimit    = 20
	RateInterval = 20 * time.Second
)

// params are the variables of RFC 9915 section 15. Zero MRC and MRD are no bound.
type params struct {
	irt, mrt, mrd time.Duration
	mrc           int
}

// exchange is one client-initiated message exchange. The zero value is none.
type exchange struct {
	kind   dhcpv6.MessageType
	params params
	xid    uint32
	server dhcpv6.DUID // to which it is addressed; empty: to all
	ask    []dhcpv6.IA // what a Request, Release or Decline names; other messages name what is so when they leave
	verify bool        // a Confirm, or a Rebind with its timers (RFC 9915 section 18.2.12)

	count int           // transmissions so far
	first time.Time     // of the first of them
	rt    time.Duration // RT that runs now
	next  time.Time     // when RT, or the delay before the first transmission, ends; zero: never
}

// begin starts an exchange whose first message leaves after delay. A message to an exchange that ran
// before is then a message to nobody.
func (c *Client) begin(now time.Time, x exchange, delay time.Duration) {
	xid := uint32(c.rand()*(1<<24)) & dhcpv6.XIDMask
	for xid == c.x.xid || xid == c.done {
		xid = (xid + 1) & dhcpv6.XIDMask
	}
	x.xid, x.next = xid, now.Add(delay)
	c.x = x
	c.retransmit(now)
}

// retransmit sends the message of the running exchange if it is due, and sets the next RT. When the
// rate limit forbids it, it is due when the limit allows it again.
func (c *Client) retransmit(now time.Time) {
	x := &c.x
	if x.next.IsZero() || x.next.After(now) {
		return
	}
	if at := c.limit.allowed(1); at.After(now) {
		x.next = at
		return
	}
	c.transmit(now)
	x.rt = c.nextRT(x.rt, x.params, x.kind == dhcpv6.Solicit && x.count == 1)
	x.next = now.Add(x.rt)
	if end := x.end(); !end.IsZero() && end.Before(x.next) {
		x.next = end
	}
}

// transmit sends the message of the running exchange. Its timers stay as they are.
func (c *Client) transmit(now time.Time) {
	x := &c.x
	if x.count == 0 {
		x.first = now
	}
	x.count++
	for range c.copies(now) {
		c.act.Send = append(c.act.Send, c.message(now))
		c.sent++
		c.limit.note(now)
	}
	c.complainOfSilence()
}

// earlyCopies is how many transmissions of a Solicit or Request are early, the first one apart.
//
// Deviates from RFC 9915 section 15, where Config.LossyLink asks for it: by its timers five Solicits
// leave in the first 20 s, and where 30 % of the packets get lost each way 3.4 % of the clients
// have no answer by then, 1 % none after a minute. With two copies of each early retransmission it is
// 0.3 %. A link that loses nothing never sees a copy, a silent server at most five.
const earlyCopies = 6

// copies is how often the present transmission leaves. The rate limit counts each copy.
func (c *Client) copies(now time.Time) int {
	joining := c.x.kind == dhcpv6.Solicit || c.x.kind == dhcpv6.Request
	early := c.x.count > 1 && c.x.count <= earlyCopies
	if c.cfg.LossyLink && joining && early && !c.limit.allowed(2).After(now) {
		return 2
	}
	return 1
}

// end is when MRD ends the exchange; zero: never, or not yet known.
func (x *exchange) end() time.Time {
	if x.params.mrd == 0 || x.count == 0 {
		return time.Time{}
	}
	return x.first.Add(x.params.mrd)
}

// failed says that MRC or MRD has ended the exchange.
func (x *exchange) failed(now time.Time) bool {
	if x.count == 0 || x.next.After(now) {
		return false
	}
	end := x.end()
	return x.params.mrc > 0 && x.count >= x.params.mrc || !end.IsZero() && !end.After(now)
}

// nextRT is RT after prev, 0 before the first transmission (RFC 9915 section 15). "the first RT MUST
// be selected to be strictly greater than IRT by choosing RAND to be strictly greater than 0" is for
// the first Solicit (section 18.2.1).
func (c *Client) nextRT(prev time.Duration, p params, firstSolicit bool) time.Duration {
	switch {
	case firstSolicit:
		return p.irt + max(time.Duration((1-c.rand())*0.1*float64(p.irt)), 1)
	case prev == 0:
		return p.irt + c.randOf(p.irt)
	}
	rt := 2*prev + c.randOf(prev)
	if p.mrt > 0 && rt > p.mrt {
		rt = p.mrt + c.randOf(p.mrt)
	}
	return rt
}

// randOf is RAND times d: "a random number chosen with a uniform distribution between -0.1 and +0.1".
func (c *Client) randOf(d time.Duration) time.Duration {
	return time.Duration((c.rand()*0.2 - 0.1) * float64(d))
}

// refused is how long to wait after a server has refused us: it grows like the RT of a message that
// is not answered, so that refusals cannot make a loop (RFC 9915 section 14.1). Success resets it.
func (c *Client) refused(p params) time.Duration {
	c.refusalRT = c.nextRT(c.refusalRT, p, false)
	return c.refusalRT
}

// elapsed is the Elapsed Time option: hundredths of a second since the first transmission; "the value
// 0xffff [is used] to represent any elapsed-time values greater" (RFC 9915 section 21.9).
func (x *exchange) elapsed(now time.Time) uint16 {
	if x.count == 0 || !now.After(x.first) {
		return 0
	}
	return uint16(min(now.Sub(x.first)/(10*time.Millisecond), 0xffff))
}

// limiter remembers when the last RateLimit messages left. It bounds every window of RateInterval,
// where the token bucket that RFC 9915 section 14.1 proposes would let twice as many through.
type limiter struct {
	at   [RateLimit]time.Time
	next int // the oldest entry
}

// allowed is the earliest instant at which n messages may leave together.
func (l *limiter) allowed(n int) time.Time {
	oldest := l.at[(l.next+n-1)%RateLimit]
	if oldest.IsZero() {
		return time.Time{}
	}
	return oldest.Add(RateInterval)
}

func (l *limiter) note(now time.Time) {
	l.at[l.next] = now
	l.next = (l.next + 1) % RateLimit
}
