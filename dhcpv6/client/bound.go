// SPDX-License-Identifier: MIT

package client

import (
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// params of Renew and Rebind (RFC 9915 sections 18.2.4 and 18.2.5). Their MRD are T2 and the end of
// all valid lifetimes, which are looked at apart.
func renewParams() params  { return params{irt: RenTimeout, mrt: RenMaxRT} }
func rebindParams() params { return params{irt: RebTimeout, mrt: RebMaxRT} }

// verifyParams are those of Confirm, for the Rebind after a LinkUp (RFC 9915 section 18.2.12).
func verifyParams() params { return params{irt: CnfTimeout, mrt: CnfMaxRT, mrd: CnfMaxRD} }

// dueBound leaves Bound when the time has come.
func (c *Client) dueBound(now time.Time) {
	switch {
	case c.verifyDue(now):
		c.enterVerify(now)
	case c.lease.T2.Over(now):
		c.enterRebind(now, 0)
	case c.lease.T1.Over(now):
		c.enterRenew(now)
	}
}

// enterRenew asks the server of the lease to extend it (RFC 9915 section 18.2.4).
func (c *Client) enterRenew(now time.Time) {
	c.enter(Renewing)
	c.begin(now, exchange{kind: dhcpv6.Renew, params: renewParams(), server: c.lease.Server}, 0)
}

// enterRebind asks any server (RFC 9915 section 18.2.5).
func (c *Client) enterRebind(now time.Time, delay time.Duration) {
	c.enter(Rebinding)
	c.begin(now, exchange{kind: dhcpv6.Rebind, params: rebindParams()}, delay)
}

// enterVerify: "If the client has any valid delegated prefixes obtained from the DHCP server, the client
// MUST initiate a Rebind/Reply message exchange [...] with the exception that the retransmission
// parameters should be set as for the Confirm message" (RFC 9915 section 18.2.12). A lease of addresses alone
// is verified by Confirm.
//
// Deviates from RFC 9915 section 18.2.3: no delay of up to CNF_MAX_DELAY on a point-to-point link,
// where no other client could send at the same time.
func (c *Client) enterVerify(now time.Time) {
	c.probedAt, c.verifyAt = now, time.Time{}
	x := exchange{kind: c.verifyKind(), params: verifyParams(), verify: true}
	c.enter(Rebinding)
	if x.kind == dhcpv6.Confirm {
		x.ask = c.lease.asked(dhcpv6.NA)
		c.enter(Confirming)
	}
	c.begin(now, x, c.firstDelay(CnfMaxDelay))
}

// verifyKind is the message that verifies what we hold.
func (c *Client) verifyKind() dhcpv6.MessageType {
	if len(c.lease.Prefixes()) == 0 && len(c.lease.IAs) > 0 {
		return dhcpv6.Confirm
	}
	return dhcpv6.Rebind
}

// verifyUnanswered: "the client SHOULD continue to use any leases, using the last known lifetimes"
// (RFC 9915 section 18.2.3). A late answer is still taken, until another exchange begins.
func (c *Client) verifyUnanswered(now time.Time) {
	c.complain("no DHCPv6 server confirms the lease, it is used on")
	c.x.next = time.Time{}
	c.silent = true
	c.enter(Bound)
	if c.grown {
		c.grown = false
		c.enterRenew(now)
	}
}

// verifyDue says whether a verification that was put off is due.
func (c *Client) verifyDue(now time.Time) bool { return !c.verifyAt.IsZero() && !c.verifyAt.After(now) }

// MinT1 is the least T1 that we follow, MinT2 the least T2: a server that wants a Renew each second
// gets one each 10 s (REN_TIMEOUT), as if it had not answered. Only lifetimes that are shorter still
// bring them down.
const (
	MinT1 = 10 * time.Second
	MinT2 = 16 * time.Second
)

// deprecatedBasis stands for the shortest preferred lifetime, in seconds, when a server leaves T1 or T2
// to us and delegates nothing but deprecated prefixes.
const deprecatedBasis uint32 = 7200

// schedule chooses T1 and T2 for one IA of a Reply received at now. Values other than 0 "MUST" be used
// (RFC 9915 section 21.21), 0 leaves them to us, but "MUST NOT transmit immediately" (section 14.2):
// 0.5 and 0.8 times the shortest preferred lifetime.
//
// Deviates from RFC 9915 section 21.21: T1 below MinT1 and T2 below MinT2 are raised, within the
// lifetimes, so that no server can make us a storm. Those that lie at or beyond the lifetimes are
// chosen by us, as if they were 0: they would leave no time for a Renew, and the LAN would lose the prefix.
func schedule(now time.Time, ia dhcpv6.IA) (t1, t2 lifetime.Until) {
	preferred, valid := lifetime.Infinity, lifetime.Infinity
	live := false
	for _, p := range ia.Prefixes {
		if p.Valid == 0 {
			continue
		}
		valid = min(valid, p.Valid)
		if p.Preferred > 0 {
			preferred, live = min(preferred, p.Preferred), true
		}
	}
	basis, end := preferred, preferred
	if !live {
		basis, end = min(valid, deprecatedBasis), valid
	}
	late := func(t uint32) bool { return end != lifetime.Infinity && t >= end }
	lateT2 := late(ia.T2)
	if late(ia.T1) {
		ia.T1 = 0
	}
	if lateT2 {
		ia.T2 = 0
	}
	t1, t2 = choose(now, ia.T1, basis, 5), choose(now, ia.T2, basis, 8)
	switch {
	case !t2.Before(t1):
	case lateT2:
		// The server's T1 is good but behind the T2 that we had to choose: a Renew is tried all the same.
		t2 = lifetime.At(now.Add(time.Duration(ia.T1)*time.Second/2 + time.Duration(end)*time.Second/2))
	case ia.T1 == 0:
		t1 = t2
	}
	life := lifetime.FromSeconds(now, valid).Left(now)
	t1 = notBefore(t1, now.Add(min(MinT1, life/2)))
	t2 = notBefore(t2, now.Add(min(MinT2, life/5*4)))
	if t2.Before(t1) {
		t2 = t1
	}
	return t1, t2
}

// choose is the server's T1 or T2, or so many tenths of the basis when it is 0.
func choose(now time.Time, t, basis uint32, tenths time.Duration) lifetime.Until {
	switch {
	case t != 0:
		return lifetime.FromSeconds(now, t)
	case basis == lifetime.Infinity:
		return lifetime.Forever
	}
	return lifetime.At(now.Add(time.Duration(basis) * time.Second / 10 * tenths))
}

func notBefore(u lifetime.Until, floor time.Time) lifetime.Until {
	if f := lifetime.At(floor); u.Before(f) {
		return f
	}
	return u
}
