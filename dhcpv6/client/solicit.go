// SPDX-License-Identifier: MIT

package client

import (
	"cmp"
	"slices"
	"time"

	"oasis6/dhcpv6"
)

// maxOffers bounds the servers that are remembered during one Solicit; a link has one or two.
const maxOffers = 8

// offer is a usable Advertise.
type offer struct {
	server     dhcpv6.DUID
	preference uint8
	prefixes   []dhcpv6.IAPrefix
	score      int // how well the prefixes serve us
}

// params of Solicit and Request (RFC 9915 sections 18.2.1 and 18.2.2).
func (c *Client) solicitParams() params { return params{irt: SolTimeout, mrt: c.solMaxRT} }
func requestParams() params             { return params{irt: ReqTimeout, mrt: ReqMaxRT, mrc: ReqMaxRC} }

// enterSolicit starts server discovery (RFC 9915 section 18.2.1).
func (c *Client) enterSolicit(now time.Time, delay time.Duration) {
	c.offers = nil
	c.enter(Soliciting)
	c.begin(now, exchange{kind: dhcpv6.Solicit, params: c.solicitParams(), ask: c.hint()}, delay)
}

// hint is the IA Prefix of a Solicit: the wished prefix, else the one that we lost if its length is
// the wished one, else the wished length (RFC 9915 section 18.2.1, RFC 8168).
func (c *Client) hint() []dhcpv6.IAPrefix {
	h := c.cfg.Hint
	if c.lost.IsValid() && (!h.IsValid() || h.Addr().IsUnspecified() && h.Bits() == c.lost.Bits()) {
		h = c.lost
	}
	if !h.IsValid() || !h.Addr().Is6() || h.Bits() < 1 {
		return nil // "The client SHOULD NOT send an IA Prefix option with 0 in the prefix-length field"
	}
	return []dhcpv6.IAPrefix{{Prefix: h.Masked()}}
}

// dueSolicit ends the collection of Advertises with the first RT, or retransmits.
func (c *Client) dueSolicit(now time.Time) {
	if len(c.offers) > 0 && !c.x.next.After(now) {
		c.requestBest(now)
		return
	}
	c.retransmit(now)
}

// onAdvertise takes a valid Advertise (RFC 9915 sections 18.2.1 and 18.2.9): collected during the
// first RT, acted upon at once with preference 255 or later.
func (c *Client) onAdvertise(now time.Time, m dhcpv6.Message) {
	prefixes, status := c.ours(m)
	if status.Code != dhcpv6.Success || !usable(prefixes) {
		c.complain("server offers no prefix", "server", m.ServerID.String(), "err", status.String())
		return
	}
	o := offer{server: m.ServerID, preference: m.Preference, prefixes: prefixes, score: c.score(prefixes)}
	c.offers = slices.DeleteFunc(c.offers, func(x offer) bool { return x.server == o.server })
	if len(c.offers) < maxOffers {
		c.offers = append(c.offers, o)
	}
	slices.SortStableFunc(c.offers, func(a, b offer) int {
		return cmp.Or(cmp.Compare(b.preference, a.preference), cmp.Compare(b.score, a.score))
	})
	if o.preference == 255 || c.x.count > 1 {
		c.requestBest(now)
	}
}

// score orders offers of equal preference: the wished prefix, the wished length, one that a LAN can
// use, anything.
func (c *Client) score(offered []dhcpv6.IAPrefix) int {
	best := 0
	for _, p := range offered {
		s := 0
		for _, h := range c.x.ask {
			switch {
			case p.Prefix == h.Prefix:
				s = 3
			case p.Prefix.Bits() == h.Prefix.Bits():
				s = 2
			}
		}
		if s == 0 && p.Prefix.Bits() <= maxLANPrefixLen {
			s = 1
		}
		best = max(best, s)
	}
	return best
}

// requestBest sends a Request to the best server that is left.
func (c *Client) requestBest(now time.Time) {
	o := c.offers[0]
	c.offers = c.offers[1:]
	c.sendRequest(now, o.server, o.prefixes)
}

// sendRequest asks one server for prefixes (RFC 9915 section 18.2.2).
func (c *Client) sendRequest(now time.Time, server dhcpv6.DUID, want []dhcpv6.IAPrefix) {
	ask := make([]dhcpv6.IAPrefix, 0, len(want))
	for _, p := range want {
		ask = append(ask, dhcpv6.IAPrefix{Prefix: p.Prefix}) // lifetimes "SHOULD be set to 0" (section 21.22)
	}
	c.enter(Requesting)
	c.begin(now, exchange{kind: dhcpv6.Request, params: requestParams(), server: server, ask: ask}, 0)
}

// requestRefused turns to the next server, to all of them after a while, or, while a lease is valid,
// to a Rebind.
func (c *Client) requestRefused(now time.Time) {
	switch {
	case c.held():
		c.enterRebind(now, c.refused(rebindParams()))
	case len(c.offers) > 0:
		c.requestBest(now)
	default:
		c.enterSolicit(now, c.refused(c.solicitParams()))
	}
}

// requestUnanswered: REQ_MAX_RC messages took minutes, so discovery need not wait.
func (c *Client) requestUnanswered(now time.Time) {
	if c.held() || len(c.offers) > 0 {
		c.requestRefused(now)
		return
	}
	c.enterSolicit(now, 0)
}

// message is the running exchange's message as of now: "a retransmission [...] refers to both modifying
// the original message and sending this new message instance" (RFC 9915 section 15).
func (c *Client) message(now time.Time) []byte {
	x := &c.x
	ia := dhcpv6.IA{IAID: c.cfg.IAID, Prefixes: x.ask}
	if x.kind == dhcpv6.Renew || x.kind == dhcpv6.Rebind {
		ia.Prefixes = c.leased()
	}
	m := dhcpv6.Message{
		Type:        x.kind,
		XID:         x.xid,
		ClientID:    c.cfg.DUID,
		ServerID:    x.server,
		ElapsedTime: x.elapsed(now),
		ORO:         []dhcpv6.OptionCode{dhcpv6.OptionDNSServers, dhcpv6.OptionDomainList, dhcpv6.OptionSolMaxRT},
		RapidCommit: x.kind == dhcpv6.Solicit,
		IAs:         []dhcpv6.IA{ia},
	}
	return m.Append(nil)
}

// leased are the prefixes of the lease as a message carries them.
func (c *Client) leased() []dhcpv6.IAPrefix {
	var ps []dhcpv6.IAPrefix
	for _, p := range c.lease.Prefixes {
		ps = append(ps, dhcpv6.IAPrefix{Prefix: p.Prefix})
	}
	return ps
}
