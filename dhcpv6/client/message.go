// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
)

// message is the running exchange's message as of now: "a retransmission [...] refers to both modifying
// the original message and sending this new message instance" (RFC 9915 section 15).
func (c *Client) message(now time.Time) []byte {
	x := &c.x
	m := dhcpv6.Message{
		Type:        x.kind,
		XID:         x.xid,
		ClientID:    c.cfg.DUID,
		ServerID:    x.server,
		ElapsedTime: x.elapsed(now),
		ORO:         c.optionRequest(),
		RapidCommit: x.kind == dhcpv6.Solicit,
	}
	switch x.kind {
	case dhcpv6.Solicit:
		m.IAs = c.wished()
	case dhcpv6.Request:
		m.IAs = trim(c.requested())
	case dhcpv6.Renew, dhcpv6.Rebind:
		m.IAs = trim(c.leased())
	case dhcpv6.Confirm, dhcpv6.Release, dhcpv6.Decline:
		m.IAs = trim(x.ask)
	}
	switch x.kind {
	case dhcpv6.Confirm, dhcpv6.Release, dhcpv6.Decline:
	default: // the messages in which RFC 9915 appendix B has this option
		m.ReconfigureAccept = true
	}
	return m.Append(nil)
}

// maxAsked prefixes fit into a packet of 1280 octets (RFC 8200 section 5) with MaxIAs and all else.
const maxAsked = 32

// trim cuts IAs with too many prefixes for one packet, from the end of the longest.
func trim(ias []dhcpv6.IA) []dhcpv6.IA {
	ias = slices.Clone(ias)
	for {
		total, longest := 0, 0
		for i, a := range ias {
			total += len(a.Prefixes)
			if len(a.Prefixes) > len(ias[longest].Prefixes) {
				longest = i
			}
		}
		if total <= maxAsked {
			return ias
		}
		ps := ias[longest].Prefixes
		ias[longest].Prefixes = ps[:len(ps)-1]
	}
}

// optionRequest is the Option Request option. SOL_MAX_RT "MUST" be in it where leases are asked for (RFC 9915
// section 18.2.1), INF_MAX_RT and the refresh time in an Information-request (section 18.2.6). Messages
// that give something back, or ask nothing but yes or no, have none.
func (c *Client) optionRequest() []dhcpv6.OptionCode {
	oro := []dhcpv6.OptionCode{dhcpv6.OptionDNSServers, dhcpv6.OptionDomainList, dhcpv6.OptionNTPServer}
	switch c.x.kind {
	case dhcpv6.Confirm, dhcpv6.Release, dhcpv6.Decline:
		return nil
	case dhcpv6.InformationRequest:
		oro = append(oro, dhcpv6.OptionRefreshTime, dhcpv6.OptionInfMaxRT)
	default:
		if c.wantsPrefix() {
			oro = append(oro, dhcpv6.OptionPDExclude)
		}
		oro = append(oro, dhcpv6.OptionSolMaxRT)
	}
	return append(oro, dhcpv6.OptionEncryptedDNS)
}

// wished are the IAs with what we wish for them.
func (c *Client) wished() []dhcpv6.IA {
	var ias []dhcpv6.IA
	for _, a := range c.ias {
		ias = append(ias, dhcpv6.IA{Type: a.Type, IAID: a.IAID, Prefixes: a.wish()})
	}
	return ias
}

// wish is the wished prefix, else the one that we lost if its length is the wished one, else the wished
// length (RFC 9915 section 18.2.1, RFC 8168).
func (a ia) wish() []dhcpv6.IAPrefix {
	h := a.Hint
	if a.lost.IsValid() && (!h.IsValid() || h.Addr().IsUnspecified() && h.Bits() == a.lost.Bits()) {
		h = a.lost
	}
	return asked(h)
}

// asked is a prefix as a client's message carries it: "The client SHOULD NOT send an IA Prefix option with 0
// in the prefix-length field", and lifetimes "SHOULD" be 0 (RFC 9915 section 21.22).
func asked(ps ...netip.Prefix) []dhcpv6.IAPrefix {
	var out []dhcpv6.IAPrefix
	for _, p := range ps {
		if p.IsValid() && p.Addr().Is6() && p.Bits() > 0 {
			out = append(out, dhcpv6.IAPrefix{Prefix: p.Masked()})
		}
	}
	return out
}

// requested are all IAs with what the server offered for them, else with what we hold, else with our wish.
func (c *Client) requested() []dhcpv6.IA {
	ias := c.leased()
	for i, a := range ias {
		for _, o := range c.x.ask {
			if o.Type == a.Type && o.IAID == a.IAID && len(o.Prefixes) > 0 {
				ias[i].Prefixes = o.Prefixes
			}
		}
	}
	return ias
}

// leased are all IAs with what we hold. One that holds nothing is asked for again (RFC 9915 section 18.2.4);
// a wish that is newer than what we hold stands beside it in a Renew or Rebind (RFC 8168 section 3.4). In a Request odhcpd
// takes a mere length for a prefix of another link: it refuses the IA and forgets what we hold.
func (c *Client) leased() []dhcpv6.IA {
	var ias []dhcpv6.IA
	for _, a := range c.ias {
		w := dhcpv6.IA{Type: a.Type, IAID: a.IAID}
		var deprecated []dhcpv6.IAPrefix // last: the first to be left out
		for _, p := range c.lease.bound(a.Type, a.IAID) {
			if p.Preferred.Over(c.seen) {
				deprecated = append(deprecated, asked(p.Prefix)...)
			} else {
				w.Prefixes = append(w.Prefixes, asked(p.Prefix)...)
			}
		}
		w.Prefixes = append(w.Prefixes, deprecated...)
		switch {
		case len(w.Prefixes) == 0:
			w.Prefixes = a.wish()
		case a.rehint && c.x.kind != dhcpv6.Request && findPrefix(c.lease.bound(a.Type, a.IAID), a.Hint.Masked()) < 0:
			w.Prefixes = append(w.Prefixes, asked(a.Hint)...)
		}
		ias = append(ias, w)
	}
	return ias
}

// asked are the IAs of the types as they are given back or confirmed.
func (l Lease) asked(types ...dhcpv6.IAType) []dhcpv6.IA {
	var ias []dhcpv6.IA
	for _, a := range l.IAs {
		for _, t := range types {
			if a.Type != t {
				continue
			}
			w := dhcpv6.IA{Type: a.Type, IAID: a.IAID}
			for _, p := range a.Prefixes {
				w.Prefixes = append(w.Prefixes, asked(p.Prefix)...)
			}
			ias = append(ias, w)
		}
	}
	return ias
}
