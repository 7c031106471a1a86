// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"

	"oasis6/dhcpv6"
)

// answer is what a message says of one of our IAs.
type answer struct {
	Type     dhcpv6.IAType
	IAID     dhcpv6.IAID
	T1, T2   uint32
	prefixes []dhcpv6.IAPrefix // those without an error
	status   dhcpv6.Status     // the error, where there is no prefix
}

// given says whether the server grants something here.
func (a answer) given() bool {
	return slices.ContainsFunc(a.prefixes, func(p dhcpv6.IAPrefix) bool { return p.Valid > 0 })
}

// asked are the prefixes as a Request names them.
func (a answer) asked() []dhcpv6.IAPrefix {
	var ps []netip.Prefix
	for _, p := range a.prefixes {
		if p.Valid > 0 {
			ps = append(ps, p.Prefix)
		}
	}
	return asked(ps...)
}

// answers are what a message says of our IAs, one for each in their order. IAs that are not ours are ignored.
// The status of an IA counts, then that of its prefixes; the message's own is UnspecFail for all.
func (c *Client) answers(m dhcpv6.Message) []answer {
	as := make([]answer, 0, len(c.ias))
	for _, mine := range c.ias {
		a := answer{Type: mine.Type, IAID: mine.IAID}
		if m.Status.Code == dhcpv6.UnspecFail {
			a.status = m.Status
		}
		for _, ia := range m.IAs {
			if ia.Type == mine.Type && ia.IAID == mine.IAID && a.status.Code == dhcpv6.Success {
				a.take(ia)
			}
		}
		as = append(as, a)
	}
	return as
}

// take reads the IA that is meant by the answer.
func (a *answer) take(ia dhcpv6.IA) {
	if a.status = ia.Status; a.status.Code != dhcpv6.Success {
		return
	}
	a.status = dhcpv6.Status{}
	a.T1, a.T2 = ia.T1, ia.T2
	var bad dhcpv6.Status
	for _, p := range ia.Prefixes {
		if p.Status.Code != dhcpv6.Success {
			bad = p.Status
			continue
		}
		if p.Prefix.Bits() < MinPrefixLen {
			bad = dhcpv6.Status{Code: dhcpv6.UnspecFail, Text: p.Prefix.String() + " is too short to be ours"}
			continue
		}
		a.prefixes = append(a.prefixes, p)
	}
	if len(a.prefixes) == 0 {
		a.status = bad
	}
}

// purpose is what a client of this configuration is for.
func (c *Client) purpose() string {
	if c.wantsPrefix() {
		return "prefix"
	}
	return "address"
}

// usable says whether the answers give what we are for.
func (c *Client) usable(as []answer) bool {
	return slices.ContainsFunc(as, func(a answer) bool {
		return a.given() && (a.Type == dhcpv6.PD || !c.wantsPrefix())
	})
}

// refusal is what stands against us in a message: the first error of an IA that is what we are for, else of
// any, else the message's own.
func (c *Client) refusal(as []answer, m dhcpv6.Message) dhcpv6.Status {
	out := m.Status
	for _, a := range slices.Backward(as) {
		if a.status.Code != dhcpv6.Success && a.Type == dhcpv6.NA {
			out = a.status
		}
	}
	for _, a := range slices.Backward(as) {
		if a.status.Code != dhcpv6.Success && a.Type == dhcpv6.PD {
			out = a.status
		}
	}
	return out
}
