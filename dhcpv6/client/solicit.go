// SPDX-License-Identifier: MIT

package client

import (
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
	ias        []dhcpv6.IA
	score      int // how well they serve us
}

// params of Solicit and Request (RFC 9915 sections 18.2.1 and 18.2.2).
func (c *Client) solicitParams() params { return params{irt: SolTimeout, mrt: c.solMaxRT} }
func requestParams() params             { return params{irt: ReqTimeout, mrt: ReqMaxRT, mrc: ReqMaxRC} }

// enterSolicit starts server discovery (RFC 9915 section 18.2.1).
func (c *Client) enterSolicit(now time.Time, delay time.Duration) {
	c.offers, c.grown = nil, false
	c.enter(Soliciting)
	c.begin(now, exchange{kind: dhcpv6.Solicit, params: c.solicitParams()}, delay)
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
	as := c.answers(m)
	if !c.usable(as) {
		c.complain("server offers no "+c.purpose(), "server", m.ServerID.String(), "err", c.refusal(as, m).String())
		return
	}
	o := offer{server: m.ServerID, preference: m.Preference, score: c.score(as)}
	greedy := slices.Contains(c.greedy, o.server)
	if greedy { // whatever it promises, the others come first
		o.preference, o.score = 0, 0
	}
	for _, a := range as {
		o.ias = append(o.ias, dhcpv6.IA{Type: a.Type, IAID: a.IAID, Prefixes: a.asked()})
	}
	c.offers = slices.DeleteFunc(c.offers, func(x offer) bool { return x.server == o.server })
	at := slices.IndexFunc(c.offers, o.beats)
	if at < 0 {
		at = len(c.offers)
	}
	c.offers = slices.Insert(c.offers, at, o)
	c.offers = c.offers[:min(len(c.offers), maxOffers)]
	switch {
	case o.preference == 255 || c.x.count > 1 && !greedy:
		c.requestBest(now)
	case greedy: // a better one has a moment to answer, not the hour that RT may be by now
		if soon := now.Add(SolTimeout); soon.Before(c.x.next) {
			c.x.next = soon
		}
	}
}

// beats says whether o goes before x: by preference, then by how well it serves us, then as they came.
func (o offer) beats(x offer) bool {
	return o.preference > x.preference || o.preference == x.preference && o.score > x.score
}

// score orders offers of equal preference: each IA counts, one of prefixes more than all addresses, and of
// prefixes the wished one more than the wished length, more than one that a LAN can use, more than any.
func (c *Client) score(as []answer) int {
	const perIA = 8 // more than the best prefix and an address
	total := 0
	for i, a := range as {
		best := 0
		for _, p := range a.prefixes {
			if p.Valid > 0 {
				best = max(best, c.ias[i].rate(p))
			}
		}
		if a.Type == dhcpv6.PD {
			best *= perIA
		}
		total += best
	}
	return total
}

// rate is how good a prefix is for the IA: 1 to 4.
func (a ia) rate(p dhcpv6.IAPrefix) int {
	for _, w := range a.wish() {
		switch {
		case p.Prefix == w.Prefix:
			return 4
		case a.Type == dhcpv6.PD && p.Prefix.Bits() == w.Prefix.Bits():
			return 3
		}
	}
	if a.Type == dhcpv6.PD && p.Prefix.Bits() <= maxLANPrefixLen {
		return 2
	}
	return 1
}

// requestBest sends a Request to the best server that is left.
func (c *Client) requestBest(now time.Time) {
	o := c.offers[0]
	c.offers = c.offers[1:]
	c.sendRequest(now, o.server, o.ias)
}

// sendRequest asks one server for leases (RFC 9915 section 18.2.2).
func (c *Client) sendRequest(now time.Time, server dhcpv6.DUID, want []dhcpv6.IA) {
	c.enter(Requesting)
	c.begin(now, exchange{kind: dhcpv6.Request, params: requestParams(), server: server, ask: want}, 0)
}

// requestRefused turns to the next server, to all of them after a while, or, while a lease is valid,
// to a Rebind.
func (c *Client) requestRefused(now time.Time) {
	c.passOver()
	switch {
	case c.held():
		c.enterRebind(now, c.refused(rebindParams()))
	case len(c.offers) > 0:
		c.requestBest(now)
	default:
		c.enterSolicit(now, c.refused(c.solicitParams()))
	}
}

// passOver puts the server that was asked behind all others until something succeeds.
func (c *Client) passOver() {
	if s := c.x.server; s != "" && !slices.Contains(c.greedy, s) && len(c.greedy) < maxOffers {
		c.greedy = append(c.greedy, s)
	}
}

// requestUnanswered: REQ_MAX_RC messages took minutes, so discovery need not wait.
func (c *Client) requestUnanswered(now time.Time) {
	if c.held() || len(c.offers) > 0 {
		c.requestRefused(now)
		return
	}
	c.passOver()
	c.enterSolicit(now, 0)
}
