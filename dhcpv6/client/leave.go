// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// params of Release and Decline (RFC 9915 sections 18.2.7 and 18.2.8).
func releaseParams() params { return params{irt: RelTimeout, mrc: RelMaxRC} }
func declineParams() params { return params{irt: DecTimeout, mrc: DecMaxRC} }

// leave gives everything back: "The client MUST stop using all of the leases being released before the
// client begins the Release message exchange process" (RFC 9915 section 18.2.7), so that the lease is gone,
// from the disk too, in the same step.
func (c *Client) leave(now time.Time) {
	if c.leaving {
		return
	}
	c.leaving = true
	l := c.lease
	switch {
	case len(l.IAs) == 0:
		c.left(true, "there was no lease to release")
	case !c.link:
		c.left(false, "the tunnel is down, the server cannot be told")
	default:
		c.offers = nil
		c.enter(Releasing)
		c.begin(now, exchange{kind: dhcpv6.Release, params: releaseParams(), server: l.Server, ask: l.asked(dhcpv6.PD, dhcpv6.NA)}, 0)
	}
	c.replaceLease(Lease{})
}

// left ends Leave.
func (c *Client) left(released bool, how string) {
	c.link = false
	c.x, c.offers = exchange{}, nil
	c.enter(Stopped)
	c.act.Left = &Left{released, how}
}

// decline gives up an address that another node has (RFC 9915 section 18.2.8). The lease goes on without it.
func (c *Client) decline(now time.Time, addr netip.Addr) {
	for _, a := range c.lease.IAs {
		i := findPrefix(a.Prefixes, netip.PrefixFrom(addr, 128))
		if a.Type != dhcpv6.NA || i < 0 || c.leaving {
			continue
		}
		c.note(note.Warn, "address declined: another node has it", "prefix", a.Prefixes[i].Prefix.String())
		if c.verifying() {
			c.verifyLater()
		}
		server := c.lease.Server
		declined := dhcpv6.IA{Type: a.Type, IAID: a.IAID, Prefixes: asked(a.Prefixes[i].Prefix)}
		var kept []Prefix
		kept = append(append(kept, a.Prefixes[:i]...), a.Prefixes[i+1:]...)
		for j := range c.ias {
			if c.ias[j].Type == a.Type && c.ias[j].IAID == a.IAID {
				c.ias[j].err = "the address that the server gave is in use by another node"
			}
		}
		c.replaceLease(c.lease.with(a.Type, a.IAID, kept))
		if !c.link {
			c.rest()
			return
		}
		c.enter(Declining)
		c.begin(now, exchange{kind: dhcpv6.Decline, params: declineParams(), server: server, ask: []dhcpv6.IA{declined}}, 0)
		return
	}
}

// declined goes on after a Decline, whatever the answer: "the client considers the Decline event completed"
// (RFC 9915 section 18.2.10.3). A server that gives the same address again is asked less and less often.
func (c *Client) declined(now time.Time) {
	c.x = exchange{}
	if c.held() {
		c.enter(Bound)
		return
	}
	c.declineRT = c.nextRT(c.declineRT, c.solicitParams(), false)
	c.enterSolicit(now, c.declineRT)
}
