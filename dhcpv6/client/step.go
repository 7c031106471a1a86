// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"time"

	"oasis6/internal/note"
)

// MinProbeInterval is the least time between two exchanges that a LinkUp or Reachable starts: "a client
// MUST rate-limit such initiation attempts [...] (for example, only doing one of these at most every 30
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
	case Reachable:
		c.reachable(now)
	case Restored:
		c.restore(now, ev.Lease)
	case Reconfigured:
		c.reconfigure(now, ev.Config)
	case Duplicate:
		c.decline(now, ev.Addr)
	case Leave:
		c.leave(now)
	case Stop:
		if c.state == Releasing {
			c.left(false, "the box was told to stop before the server answered")
		}
		c.linkDown()
		c.enter(Stopped)
	}
	c.due(now)
	c.next = c.deadline()
	c.act.Wake = c.next.at
	return c.act
}

// held says whether we have what we are for: a prefix, or an address where only those are wanted.
func (c *Client) held() bool { return c.holds(c.lease) }

func (c *Client) holds(l Lease) bool {
	if c.wantsPrefix() {
		return len(l.Prefixes()) > 0
	}
	return len(l.IAs) > 0
}

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
	if c.leaving {
		return
	}
	again := c.link
	c.link = true
	if c.held() && c.state == Stopped {
		c.enter(Bound) // after Stop
	}
	soon := c.probedWithin(now, MinProbeInterval)
	switch {
	case c.stateless() && soon:
		if c.state != Informing {
			c.probedAt = c.probedAt.Add(MinProbeInterval)
			c.enterInform(now, c.probedAt.Sub(now))
		}
	case c.stateless():
		c.probedAt = now
		c.enterInform(now, c.firstDelay(InfMaxDelay))
	case c.held() && (soon || c.state == Declining):
		if !c.verifying() {
			c.verifyLater()
		}
	case c.held():
		if c.state != Requesting { // whose Reply says the same
			c.enterVerify(now)
		}
	case !again:
		c.probedAt, c.greedy = now, nil
		c.enterSolicit(now, c.firstDelay(SolMaxDelay))
	case c.state == Soliciting && len(c.offers) > 0:
		c.requestBest(now)
	case c.state == Soliciting && !soon:
		c.probedAt, c.greedy = now, nil
		c.enterSolicit(now, 0)
	}
}

// verifying says whether the lease is just being verified.
func (c *Client) verifying() bool {
	return c.x.verify && (c.state == Rebinding || c.state == Confirming)
}

// verifyLater has the lease verified as soon as MinProbeInterval allows it again.
func (c *Client) verifyLater() { c.verifyAt = c.probedAt.Add(MinProbeInterval) }

func (c *Client) probedWithin(now time.Time, d time.Duration) bool {
	return !c.probedAt.IsZero() && now.Before(c.probedAt.Add(d))
}

// reachable sends the message of an exchange that waits for an answer once more, outside of its
// retransmission times: those are there for a server or a path that is gone, and the path has just shown
// that it is not. A SOL_MAX_RT or INF_MAX_RT that a server has set is its wish and stands.
//
// Deviates from RFC 9915 section 15 by one message in MinProbeInterval at most, in an exchange that has
// been unanswered for some time.
func (c *Client) reachable(now time.Time) {
	if !c.link || c.leaving || c.probedWithin(now, MinProbeInterval) {
		return
	}
	switch c.state {
	case Bound:
		if c.silent && c.held() {
			c.enterVerify(now)
		}
		return
	case Soliciting:
		if len(c.offers) > 0 {
			c.requestBest(now)
			return
		}
		if c.solMaxRT != SolMaxRT {
			return
		}
	case Informing:
		if c.infMaxRT != InfMaxRT {
			return
		}
	case Renewing, Rebinding:
	default:
		return
	}
	if c.x.count > silentAfter && !c.limit.allowed(1).After(now) {
		c.probedAt = now
		c.transmit(now)
	}
}

// firstDelay is the random delay before the first message of some exchanges, up to the maximum (RFC 9915
// sections 18.2.1, 18.2.3 and 18.2.6).
func (c *Client) firstDelay(most time.Duration) time.Duration {
	if c.cfg.PointToPoint {
		return 0
	}
	return time.Duration(c.rand() * float64(most))
}

// linkDown ends whatever waits for an answer. A verification that was cut off is done again.
func (c *Client) linkDown() {
	if c.state == Releasing {
		c.left(false, "the tunnel went down before the server answered")
		return
	}
	if c.verifying() {
		c.verifyLater()
	}
	c.link = false
	c.x, c.offers = exchange{}, nil
	c.rest()
}

// rest is the state of a client that waits for nobody.
func (c *Client) rest() {
	switch {
	case c.held():
		c.enter(Bound)
	case c.stateless() && c.lease.Server != "":
		c.enter(Informed)
	default:
		c.enter(Stopped)
	}
}

// restore takes over the lease of an earlier process. The LAN gets it at once; LinkUp verifies it.
func (c *Client) restore(now time.Time, l Lease) {
	if c.link || c.leaving || c.lease.Server != "" {
		return // too late: what the server said since is newer
	}
	c.lease = c.wantedOf(l)
	c.age(now)
	if c.held() || c.stateless() && c.lease.Server != "" {
		c.act.Changed = true
		c.rest()
	}
}

// wantedOf is the lease without IAs that the configuration does not want; without any it is none.
func (c *Client) wantedOf(l Lease) Lease {
	for _, a := range l.IAs {
		wanted := false
		for _, w := range c.ias {
			wanted = wanted || w.Type == a.Type && w.IAID == a.IAID
		}
		if !wanted {
			l = l.with(a.Type, a.IAID, nil)
		}
	}
	if !c.holds(l) && !c.stateless() {
		return Lease{}
	}
	return l
}

// reconfigure takes a new configuration. What is wanted no longer is used no longer, which is no reason to
// release it (RFC 9096 WPD-9).
func (c *Client) reconfigure(now time.Time, cfg Config) {
	renamed, before, wasStateless := cfg.DUID != c.cfg.DUID, c.ias, c.stateless()
	c.setConfig(cfg)
	if l := c.wantedOf(c.lease); len(l.IAs) != len(c.lease.IAs) {
		c.replaceLease(l)
	}
	if !c.link {
		c.rest()
		return
	}
	if c.leaving {
		return
	}
	more := c.wantsMore(before)
	switch {
	case c.stateless():
		if !wasStateless || renamed {
			c.enterInform(now, 0)
		}
	case c.held() && renamed:
		c.enterVerify(now)
	case c.held() && more && (c.state == Bound || c.state == Informing):
		c.enterRenew(now)
	case c.held():
		c.grown = c.grown || more
	case !renamed && (c.state == Soliciting || c.state == Requesting || c.state == Declining):
		c.grown = c.grown || more // a retransmitted Solicit says so, else the Renew after the Reply
	default:
		c.enterSolicit(now, 0)
	}
}

// wantsMore says whether the IAs have something that those before them had not: an IA, or another wish.
func (c *Client) wantsMore(before []ia) bool {
	for _, a := range c.ias {
		known := false
		for _, b := range before {
			known = known || b.Type == a.Type && b.IAID == a.IAID && b.Hint == a.Hint
		}
		if !known {
			return true
		}
	}
	return false
}

// age drops the prefixes whose valid lifetime is over and tells when a preferred one has ended.
func (c *Client) age(now time.Time) {
	before := c.seen
	c.seen = now
	l := c.lease
	for _, a := range c.lease.IAs {
		var kept []Prefix
		for _, p := range a.Prefixes {
			if p.Valid.Over(now) {
				c.lose(a, p.Prefix)
				c.note(note.Warn, "prefix expired", "prefix", p.Prefix.String(), "server", c.lease.Server.String())
				continue
			}
			if p.Preferred.Over(now) && !p.Preferred.Over(before) {
				c.act.Changed = true
				c.note(note.Warn, "prefix is deprecated: its preferred lifetime is over", "prefix", p.Prefix.String())
			}
			kept = append(kept, p)
		}
		if len(kept) != len(a.Prefixes) {
			l = l.with(a.Type, a.IAID, kept)
			c.act.Changed = true
		}
	}
	if !c.act.Changed || l.sameForLAN(c.lease) {
		return
	}
	had := c.held()
	c.replaceLease(l)
	if had && !c.held() {
		c.leaseEnded(now)
	}
}

// lose remembers a prefix as one to wish for.
func (c *Client) lose(a IA, p netip.Prefix) {
	for i := range c.ias {
		if c.ias[i].Type == a.Type && c.ias[i].IAID == a.IAID {
			c.ias[i].lost = p
		}
	}
}

// replaceLease installs and persists a lease; one without what we are for is none: an address alone must
// not be in use while it is solicited together with a prefix (RFC 9915 section 18).
func (c *Client) replaceLease(l Lease) {
	if !c.holds(l) && !c.stateless() {
		for _, a := range l.IAs {
			c.lose(a, a.Prefixes[0].Prefix)
		}
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
	case Bound, Renewing, Rebinding, Confirming, Informing:
		if c.link {
			c.enterSolicit(now, 0)
		} else {
			c.rest()
		}
	}
}

// due does what the time has come for.
func (c *Client) due(now time.Time) {
	if !c.link {
		return
	}
	if c.x.failed(now) {
		c.unanswered(now)
	}
	switch c.state {
	case Soliciting:
		c.dueSolicit(now)
	case Bound:
		c.dueBound(now)
	case Renewing:
		switch {
		case c.verifyDue(now):
			c.enterVerify(now)
		case c.lease.T2.Over(now):
			c.enterRebind(now, 0)
		default:
			c.retransmit(now)
		}
	case Informing:
		if c.held() && c.lease.T1.Over(now) {
			c.dueBound(now) // its Reply brings the configuration too
		} else {
			c.retransmit(now)
		}
	case Informed:
		c.dueInformed(now)
	case Requesting, Rebinding, Confirming, Declining, Releasing:
		c.retransmit(now)
	}
}

// unanswered ends an exchange whose MRC or MRD is over.
func (c *Client) unanswered(now time.Time) {
	switch c.state {
	case Requesting:
		c.requestUnanswered(now)
	case Rebinding, Confirming:
		c.verifyUnanswered(now)
	case Declining:
		c.declined(now)
	case Informing: // with a lease: T1 brings the configuration too
		c.x = exchange{}
		c.rest()
	case Releasing:
		c.left(false, "no server answers the Release")
	}
}
