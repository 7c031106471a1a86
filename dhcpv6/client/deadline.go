// SPDX-License-Identifier: MIT

package client

import (
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

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
	for _, a := range c.lease.IAs {
		for _, p := range a.Prefixes {
			if at, ends := p.Preferred.Time(); ends && at.After(c.seen) {
				d.earliest(at, "deprecate "+p.Prefix.String())
			}
			if at, ends := p.Valid.Time(); ends {
				d.earliest(at, "give up "+p.Prefix.String())
			}
		}
	}
	if c.link {
		c.exchangeDeadline(&d)
	}
	return d
}

// exchangeDeadline is when something is sent next.
func (c *Client) exchangeDeadline(d *deadline) {
	t1, hasT1 := c.lease.T1.Time()
	t2, hasT2 := c.lease.T2.Time()
	switch c.state {
	case Stopped:
		return
	case Bound:
		d.earliest(c.verifyAt, "send "+c.verifyKind().String())
	case Informed:
		if at, ends := c.lease.Info.Refresh.Time(); ends {
			d.earliest(at, "send "+dhcpv6.InformationRequest.String())
		}
	default:
		what := c.x.kind
		if len(c.offers) > 0 {
			what = dhcpv6.Request
		}
		d.earliest(c.x.next, "send "+what.String())
	}
	if c.state == Renewing {
		d.earliest(c.verifyAt, "send "+c.verifyKind().String())
	}
	if !c.held() {
		return
	}
	if hasT1 && (c.state == Bound || c.state == Informing) {
		d.earliest(t1, "send Renew")
	}
	if hasT2 && (c.state == Bound || c.state == Informing || c.state == Renewing) {
		d.earliest(t2, "send Rebind")
	}
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
