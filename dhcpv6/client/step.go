// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// MinProbeInterval is the least time between two exchanges that a LinkUp starts: "a client MUST
// rate-limit such initiation attempts [...] (for example, only doing one of these at most every 30
// seconds)" (RFC 9915 section 18.2.12).
const MinProbeInterval = 30 * time.Second

// Step takes one event at the instant now and says what is to be done. now never goes back.
func (c *Client) Step(now time.Time, ev Event) Actions {
	c.act = Actions{}
	if r, ok := ev.(Received); ok {
		c.receive(now, r) // before the lifetimes: a Reply that waited in a queue still saves the lease
	}
	c.age(now)
	switch ev := ev.(type) {
	case LinkUp:
		c.linkUp(now)
	case LinkDown:
		c.linkDown()
	case Restored:
		c.restore(now, ev.Lease)
	case Reconfigured:
		c.reconfigure(now, ev.Config)
	case Stop:
		c.linkDown()
		c.enter(Stopped)
	}
	c.due(now)
	c.next = c.deadline()
	c.act.Wake = c.next.at
	return c.act
}

// held says whether we have a prefix.
func (c *Client) held() bool { return len(c.lease.Prefixes) > 0 }

// enter changes the state.
func (c *Client) enter(s State) {
	if s != c.state {
		c.note(note.Debug, "state changed", "from", c.state.String(), "to", s.String())
	}
	c.state = s
}

// linkUp verifies the lease that we have, or looks for one. On a link that was up all along it is a
// hint that a server can be reached again, taken once in MinProbeInterval.
func (c *Client) linkUp(now time.Time) {
	again := c.link
	c.link = true
	if c.held() && c.state == Stopped {
		c.enter(Bound) // after Stop
	}
	soon := !c.probedAt.IsZero() && now.Before(c.probedAt.Add(MinProbeInterval))
	switch {
	case c.held():
		if !soon && c.state != Requesting {
			c.enterVerify(now)
		}
	case !again:
		c.probedAt = now
		c.enterSolicit(now, c.firstSolicitDelay())
	case c.state == Soliciting && len(c.offers) == 0 && !soon:
		c.probedAt = now
		c.enterSolicit(now, 0)
	}
}

// firstSolicitDelay: "The first Solicit message from the client on the interface SHOULD be delayed by
// a random amount of time between 0 and SOL_MAX_DELAY" (RFC 9915 section 18.2.1).
func (c *Client) firstSolicitDelay() time.Duration {
	if c.cfg.PointToPoint {
		return 0
	}
	return time.Duration(c.rand() * float64(SolMaxDelay))
}

// linkDown ends whatever waits for an answer. A verification that was cut off is done again.
func (c *Client) linkDown() {
	if c.state == Rebinding && c.x.verify {
		c.verifyAt = c.probedAt.Add(MinProbeInterval)
	}
	c.link = false
	c.x, c.offers = exchange{}, nil
	if c.held() {
		c.enter(Bound)
	} else {
		c.enter(Stopped)
	}
}

// restore takes over the lease of an earlier process. The LAN gets it at once; LinkUp verifies it.
func (c *Client) restore(now time.Time, l Lease) {
	if c.link || c.held() {
		return // too late: what the server said since is newer
	}
	c.lease = l.clone()
	c.age(now)
	if c.held() {
		c.act.Changed = true
		c.enter(Bound)
	}
}

// reconfigure takes a new configuration. A new identity cannot go on with the exchange of the old.
func (c *Client) reconfigure(now time.Time, cfg Config) {
	same := cfg.DUID == c.cfg.DUID && cfg.IAID == c.cfg.IAID
	c.cfg = cfg
	if same || !c.link {
		return
	}
	if c.held() {
		c.enterVerify(now)
	} else {
		c.enterSolicit(now, 0)
	}
}

// age drops the prefixes whose valid lifetime is over and tells when a preferred one has ended.
func (c *Client) age(now time.Time) {
	before := c.seen
	c.seen = now
	var kept []Prefix
	for _, p := range c.lease.Prefixes {
		if p.Valid.Over(now) {
			c.lost = p.Prefix
			c.note(note.Warn, "prefix expired", "prefix", p.Prefix.String(), "server", c.lease.Server.String())
			continue
		}
		if p.Preferred.Over(now) && !p.Preferred.Over(before) {
			c.act.Changed = true
			c.note(note.Warn, "prefix is deprecated: its preferred lifetime is over", "prefix", p.Prefix.String())
		}
		kept = append(kept, p)
	}
	if len(kept) == len(c.lease.Prefixes) {
		return
	}
	l := c.lease
	l.Prefixes = kept
	c.replaceLease(l)
	if !c.held() {
		c.leaseEnded(now)
	}
}

// replaceLease installs and persists a lease; one without a prefix is none.
func (c *Client) replaceLease(l Lease) {
	if len(l.Prefixes) == 0 {
		l = Lease{}
	}
	if !c.lease.sameForLAN(l) {
		c.act.Changed = true
	}
	c.lease = l
	c.act.Persist = &l
}

// leaseEnded: "The message exchange is terminated when the valid lifetimes of all leases across all
// IAs have expired, at which time the client uses the Solicit message" (RFC 9915 section 18.2.5).
func (c *Client) leaseEnded(now time.Time) {
	c.verifyAt = time.Time{}
	switch c.state {
	case Bound, Renewing, Rebinding:
		if c.link {
			c.enterSolicit(now, 0)
		} else {
			c.enter(Stopped)
		}
	}
}

// due does what the time has come for.
func (c *Client) due(now time.Time) {
	if !c.link {
		return
	}
	if c.state == Rebinding && c.x.failed(now) {
		c.verifyUnanswered()
	}
	switch c.state {
	case Soliciting:
		c.dueSolicit(now)
	case Requesting:
		if c.x.failed(now) {
			c.requestUnanswered(now)
		} else {
			c.retransmit(now)
		}
	case Bound:
		c.dueBound(now)
	case Renewing:
		if c.lease.T2.Over(now) {
			c.enterRebind(now, 0)
		} else {
			c.retransmit(now)
		}
	case Rebinding:
		c.retransmit(now)
	}
}

// deadline is an instant and what will happen then.
type deadline struct {
	at   time.Time
	what string
}

// earliest keeps the earlier of the two; a zero instant is none.
func (d *deadline) earliest(at time.Time, what string) {
	if !at.IsZero() && (d.at.IsZero() || at.Before(d.at)) {
		*d = deadline{at, what}
	}
}

// deadline is what Step must be called for next.
func (c *Client) deadline() (d deadline) {
	for _, p := range c.lease.Prefixes {
		if at, ends := p.Preferred.Time(); ends && at.After(c.seen) {
			d.earliest(at, "deprecate "+p.Prefix.String())
		}
		if at, ends := p.Valid.Time(); ends {
			d.earliest(at, "give up "+p.Prefix.String())
		}
	}
	if !c.link {
		return d
	}
	t1, hasT1 := c.lease.T1.Time()
	t2, hasT2 := c.lease.T2.Time()
	switch c.state {
	case Bound:
		d.earliest(c.verifyAt, "send Rebind")
		if hasT1 {
			d.earliest(t1, "send Renew")
		}
		if hasT2 {
			d.earliest(t2, "send Rebind")
		}
	case Renewing:
		d.earliest(c.x.next, "send Renew")
		if hasT2 {
			d.earliest(t2, "send Rebind")
		}
	case Soliciting, Requesting, Rebinding:
		what := c.x.kind
		if len(c.offers) > 0 {
			what = dhcpv6.Request
		}
		d.earliest(c.x.next, "send "+what.String())
	}
	return d
}

// note adds a log record to the actions.
func (c *Client) note(l note.Level, msg string, kv ...string) {
	c.act.Notes = append(c.act.Notes, note.New(l, msg, kv...))
}

// complain records that something does not work, and logs it when it is not the complaint of before.
func (c *Client) complain(msg string, kv ...string) {
	n := note.New(note.Warn, msg, kv...)
	text := msg
	if d := n.Detail(); d != "" {
		text += ": " + d
	}
	if text != c.lastError {
		c.act.Notes = append(c.act.Notes, n)
	}
	c.lastError = text
}

// silentAfter unanswered messages is when we call a server silent: 7 s for Solicit, 70 s for Renew.
const silentAfter = 3

// complainOfSilence is called after each transmission.
func (c *Client) complainOfSilence() {
	if c.x.count == silentAfter+1 {
		c.complain("no DHCPv6 server answers " + c.x.kind.String())
	}
}

// clone copies what a Lease points to.
func (l Lease) clone() Lease {
	l.Prefixes = slices.Clone(l.Prefixes)
	l.DNS = slices.Clone(l.DNS)
	l.Search = slices.Clone(l.Search)
	return l
}

// sameForLAN says that the LAN sees no difference between the two.
func (l Lease) sameForLAN(m Lease) bool {
	return slices.Equal(l.Prefixes, m.Prefixes) && slices.Equal(l.DNS, m.DNS) && slices.Equal(l.Search, m.Search)
}

// find is the index of a prefix in the lease, -1 if it is not there.
func (l Lease) find(p netip.Prefix) int {
	return slices.IndexFunc(l.Prefixes, func(x Prefix) bool { return x.Prefix == p })
}
