// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// bind updates the lease by a Reply (RFC 9915 section 18.2.10.1) and ends the exchange.
func (c *Client) bind(now time.Time, r reply, as []answer) {
	l := c.merge(now, as)
	c.takeKey(&l, r)
	l.Server, l.ServerAddr = r.ServerID, r.from
	l.Info = c.info(r)
	c.noteErrors(as)
	unserved := c.times(now, &l, as)
	c.note(note.Debug, "lease updated", "server", r.ServerID.String(), "xid", strconv.FormatUint(uint64(r.XID), 16))
	c.replaceLease(l)
	if unserved {
		c.askAgain(r, as)
	} else {
		c.answered()
	}
	c.enter(Bound)
	switch {
	case !c.held():
		c.leaseEnded(now)
	case c.grown:
		c.grown = false
		c.enterRenew(now)
	}
}

// times sets T1 and T2: the earliest of all IAs that the Reply serves, so that all are renewed together
// (RFC 9915 section 18.2.4). unserved says that an IA got nothing that we are for, or that it holds.
func (c *Client) times(now time.Time, l *Lease, as []answer) (unserved bool) {
	waiting := false // what is not served holds something
	t1, t2 := lifetime.Forever, lifetime.Forever
	for i, a := range as {
		if !a.given() {
			holds := len(l.bound(a.Type, a.IAID)) > 0
			unserved = unserved || holds || a.Type == dhcpv6.PD || !c.wantsPrefix()
			waiting = waiting || holds
			continue
		}
		c.ias[i].rehint = false
		x1, x2 := schedule(now, dhcpv6.IA{T1: a.T1, T2: a.T2, Prefixes: a.prefixes})
		t1, t2 = lifetime.Min(t1, x1), lifetime.Min(t2, x2)
	}
	if unserved {
		// It is asked for again at growing intervals: "Sends a Renew/Rebind if any of the IAs are not in the
		// Reply message, but [...] the client MUST limit the rate" (section 18.2.10.1). What it holds has
		// the T2 of before.
		t1 = lifetime.Min(t1, lifetime.At(now.Add(c.refused(renewParams()))))
		if waiting {
			t2 = lifetime.Min(t2, l.T2)
		}
		if t2.Before(t1) {
			t2 = t1
		}
	}
	l.T1, l.T2 = t1, t2
	return unserved
}

// askAgain ends an exchange that has served some IAs, not all: the error stays to be seen, and is logged once.
func (c *Client) askAgain(r reply, as []answer) {
	c.complainOf(r, c.refusal(as, r.Message))
	c.heard()
}

// finish ends the exchange that runs.
func (c *Client) finish() {
	c.done = c.x.xid
	c.x, c.offers = exchange{}, nil
}

// heard ends the exchange that runs by a server's word on the lease.
func (c *Client) heard() {
	c.finish()
	c.greedy, c.verifyAt, c.silent = nil, time.Time{}, false
}

// answered ends the exchange that runs: all is well.
func (c *Client) answered() {
	c.heard()
	c.refusalRT, c.lastError = 0, ""
}

// merge is the lease with what a Reply says: new prefixes are added, known ones get their new
// lifetimes, those with valid lifetime 0 go, and IAs that the Reply does not serve stay as they are.
func (c *Client) merge(now time.Time, as []answer) Lease {
	l := c.lease
	for i, a := range as {
		if len(a.prefixes) > 0 {
			ps, taken := c.mergeIA(now, l.bound(a.Type, a.IAID), a)
			if taken && c.ias[i].unbound {
				ps = c.giveUpUnnamed(ps, a)
			}
			c.ias[i].unbound = c.ias[i].unbound && !taken
			l = l.with(a.Type, a.IAID, ps)
		}
	}
	return l
}

// mergeIA updates the prefixes of one IA; taken says that the server gave one.
func (c *Client) mergeIA(now time.Time, held []Prefix, a answer) (ps []Prefix, taken bool) {
	ps = slices.Clone(held)
	for _, p := range a.prefixes {
		i := findPrefix(ps, p.Prefix)
		switch {
		case p.Valid == 0 && i >= 0:
			c.lose(IA{Type: a.Type, IAID: a.IAID}, p.Prefix)
			c.note(note.Warn, "prefix withdrawn by the server", "prefix", p.Prefix.String())
			ps = slices.Delete(ps, i, i+1)
			continue
		case p.Valid == 0:
			continue
		case i < 0 && len(ps) >= MaxPrefixes:
			if i = oldest(now, ps); i < 0 {
				c.note(note.Warn, "more prefixes than we take, one is ignored", "prefix", p.Prefix.String())
				continue
			}
			c.note(note.Warn, "more prefixes than we take, a deprecated one is given up", "prefix", ps[i].Prefix.String())
			ps[i] = Prefix{Prefix: p.Prefix}
			c.noteNew(a.Type, p)
		case i < 0:
			i = len(ps)
			ps = append(ps, Prefix{Prefix: p.Prefix})
			c.noteNew(a.Type, p)
		}
		ps[i].Preferred = lifetime.FromSeconds(now, p.Preferred)
		ps[i].Valid = lifetime.FromSeconds(now, p.Valid)
		ps[i].Exclude, ps[i].Unconfirmed = p.Exclude, false
		taken = true
	}
	if taken {
		c.deprecateUnnamed(now, ps, a)
	}
	return ps, taken
}

// giveUpUnnamed is ps without what the server does not name: it has said that it knows of no binding, and then bound something
// else. What it does not know it does not route; hosts that went on with it would wait for answers that never come.
func (c *Client) giveUpUnnamed(ps []Prefix, a answer) []Prefix {
	return slices.DeleteFunc(ps, func(p Prefix) bool {
		if a.names(p.Prefix) {
			return false
		}
		c.lose(IA{Type: a.Type, IAID: a.IAID}, p.Prefix)
		c.note(note.Warn, "prefix given up: the server knows nothing of it and has given another one", "prefix", p.Prefix.String())
		return true
	})
}

func (a answer) names(p netip.Prefix) bool {
	return slices.ContainsFunc(a.prefixes, func(x dhcpv6.IAPrefix) bool { return x.Prefix == p })
}

// oldest is the deprecated prefix that is over first, -1 if all are preferred.
func oldest(now time.Time, ps []Prefix) int {
	at := -1
	for i, p := range ps {
		if p.Preferred.Over(now) && (at < 0 || p.Valid.Before(ps[at].Valid)) {
			at = i
		}
	}
	return at
}

// deprecateUnnamed ends the preferred lifetime of prefixes that the server leaves out although it was asked to
// extend them, and gives another one in their place: it has renumbered, and hosts must not begin anything
// with the old one.
//
// Deviates from RFC 9915 section 18.2.10.1, "leave unchanged any information about leases [...] that were not
// included": the valid lifetime is left unchanged. A Reply that gives nothing new changes nothing.
func (c *Client) deprecateUnnamed(now time.Time, ps []Prefix, a answer) {
	for i := range ps {
		if !a.names(ps[i].Prefix) && !ps[i].Preferred.Over(now) {
			ps[i].Preferred = lifetime.Until{}
			c.note(note.Warn, "prefix is deprecated: the server has given another one in its place", "prefix", ps[i].Prefix.String())
		}
	}
}

// noteNew tells of a prefix that we did not have.
func (c *Client) noteNew(t dhcpv6.IAType, p dhcpv6.IAPrefix) {
	if t == dhcpv6.NA {
		c.note(note.Info, "address assigned", "prefix", p.Prefix.String())
		return
	}
	c.note(note.Info, "prefix delegated", "prefix", p.Prefix.String())
	if p.Prefix.Bits() > maxLANPrefixLen {
		c.note(note.Warn, "delegated prefix is too long for a LAN, which needs a /64: ask for a shorter one at the hub",
			"prefix", p.Prefix.String())
	}
}
