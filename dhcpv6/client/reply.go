// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// Bounds of a lease, so that no server fills our memory or the RAs of the LAN.
const (
	MaxPrefixes = 16
	MaxDNS      = 8  // resolvers ask three at most
	MaxSearch   = 16 // and search six domains
)

// maxLANPrefixLen is the longest prefix that can be cut into a /64 for a LAN.
const maxLANPrefixLen = 64

// receive takes one message from the network.
func (c *Client) receive(now time.Time, r Received) {
	m, problems, err := dhcpv6.ParseMessage(r.Data)
	if err != nil {
		c.drop(r.From, err.Error())
		return
	}
	if reason := c.refuse(m); reason != "" {
		c.drop(r.From, reason)
		return
	}
	c.received++
	c.report(m.ServerID, problems)
	if m.SolMaxRT != 0 {
		c.solMaxRT = time.Duration(m.SolMaxRT) * time.Second
		if c.x.kind == dhcpv6.Solicit {
			c.x.params.mrt = c.solMaxRT
		}
	}
	if m.Type == dhcpv6.Advertise {
		c.onAdvertise(now, m)
	} else {
		c.onReply(now, reply{m, problems, r.From})
	}
}

// refuse says why a message is not for us (RFC 9915 sections 16.3 and 16.10), empty if it is.
func (c *Client) refuse(m dhcpv6.Message) string {
	x := &c.x
	switch {
	case m.Type != dhcpv6.Advertise && m.Type != dhcpv6.Reply:
		return "a client takes no " + m.Type.String()
	case x.count == 0:
		return "no transaction is running"
	case m.XID != x.xid:
		return "transaction id of another message"
	case m.ClientID == "":
		return "no client identifier"
	case m.ClientID != c.cfg.DUID:
		return "client identifier of somebody else"
	case m.ServerID == "":
		return "no server identifier"
	case x.server != "" && m.ServerID != x.server:
		return "server identifier of a server that was not asked"
	case m.Type == dhcpv6.Advertise && x.kind != dhcpv6.Solicit:
		return "Advertise, but no Solicit is running"
	case m.Type == dhcpv6.Reply && x.kind == dhcpv6.Solicit && !m.RapidCommit:
		return "Reply to a Solicit without Rapid Commit"
	}
	return ""
}

// drop counts a message that is not for us.
func (c *Client) drop(from netip.Addr, reason string) {
	c.dropped++
	c.lastDrop = reason
	c.note(note.Debug, "message dropped", "from", from.String(), "err", reason)
}

// report logs what was wrong with an accepted message, when it is not what was wrong with the last.
func (c *Client) report(server dhcpv6.DUID, problems []dhcpv6.Problem) {
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.Option.String()+" option: "+p.Reason) // the offset moves from message to message
	}
	text := strings.Join(texts, "; ")
	if text != "" && text != c.grumbled {
		c.note(note.Warn, "message has bad options, they are ignored", "server", server.String(), "err", text)
	}
	c.grumbled = text
}

// ours are the prefixes of our IA_PD that a message gives, and the status that stands against it. IA_PDs
// of other IAIDs are not ours. The status of the IA counts, then that of its prefixes, and the
// message's own when it is UnspecFail or when there is no prefix.
func (c *Client) ours(m dhcpv6.Message) (prefixes []dhcpv6.IAPrefix, status dhcpv6.Status) {
	if m.Status.Code == dhcpv6.UnspecFail {
		return nil, m.Status
	}
	for _, ia := range m.IAs {
		if ia.IAID != c.cfg.IAID {
			continue
		}
		if ia.Status.Code != dhcpv6.Success {
			return nil, ia.Status
		}
		for _, p := range ia.Prefixes {
			if p.Status.Code != dhcpv6.Success {
				status = p.Status
				continue
			}
			prefixes = append(prefixes, p)
		}
	}
	if len(prefixes) > 0 {
		return prefixes, dhcpv6.Status{}
	}
	if status.Code == dhcpv6.Success {
		status = m.Status
	}
	return nil, status
}

// usable says whether there is a prefix that we may use.
func usable(prefixes []dhcpv6.IAPrefix) bool {
	return slices.ContainsFunc(prefixes, func(p dhcpv6.IAPrefix) bool { return p.Valid > 0 })
}

// reply is a valid Reply, what was wrong with it and where it came from.
type reply struct {
	dhcpv6.Message
	problems []dhcpv6.Problem
	from     netip.Addr
}

// onReply takes a valid Reply (RFC 9915 section 18.2.10). An answer that does not help leaves the
// exchange running, "as if the Reply message had not been received".
func (c *Client) onReply(now time.Time, r reply) {
	prefixes, status := c.ours(r.Message)
	ok := status.Code == dhcpv6.Success
	switch c.x.kind {
	case dhcpv6.Solicit:
		if ok && usable(prefixes) {
			c.bind(now, r, prefixes)
			return
		}
	case dhcpv6.Request:
		if ok && usable(prefixes) {
			c.bind(now, r, prefixes)
			return
		}
		if status.Code != dhcpv6.UnspecFail {
			c.complainOf(r, status)
			c.requestRefused(now)
			return
		}
	case dhcpv6.Renew, dhcpv6.Rebind:
		if ok && len(prefixes) > 0 {
			c.bind(now, r, prefixes)
			return
		}
		// "Sends a Request message to the server that responded if any of the IAs in the Reply message
		// contain the NoBinding status code" (section 18.2.10.1).
		if status.Code == dhcpv6.NoBinding {
			c.complainOf(r, status)
			c.sendRequest(now, r.ServerID, c.leased())
			return
		}
	}
	c.complainOf(r, status)
}

func (c *Client) complainOf(r reply, status dhcpv6.Status) {
	c.complain("server gives no prefix", "server", r.ServerID.String(), "err", c.x.kind.String()+": "+status.String())
}

// bind updates the lease by a Reply (RFC 9915 section 18.2.10.1) and ends the exchange.
func (c *Client) bind(now time.Time, r reply, prefixes []dhcpv6.IAPrefix) {
	l := c.merge(now, prefixes)
	l.Server, l.ServerAddr = r.ServerID, r.from
	for _, ia := range r.IAs {
		if ia.IAID == c.cfg.IAID {
			ia.Prefixes = prefixes
			l.T1, l.T2 = schedule(now, ia)
		}
	}
	// "the client SHOULD stop using the previously received configuration information" when an option
	// is absent (section 18.2.10.5); one that cannot be read says nothing.
	if r.DNS != nil || !r.broken(dhcpv6.OptionDNSServers) {
		l.DNS = firstOnes(r.DNS, MaxDNS)
	}
	if r.Search != nil || !r.broken(dhcpv6.OptionDomainList) {
		l.Search = firstOnes(r.Search, MaxSearch)
	}
	c.note(note.Debug, "lease updated", "server", r.ServerID.String(), "xid", strconv.FormatUint(uint64(r.XID), 16))
	c.replaceLease(l)
	c.enterBound(now)
}

// enterBound waits for T1, or looks for a new prefix if the server has just taken the last one.
func (c *Client) enterBound(now time.Time) {
	c.x, c.offers = exchange{}, nil
	c.refusalRT, c.verifyAt, c.lastError = 0, time.Time{}, ""
	c.enter(Bound)
	if !c.held() {
		c.leaseEnded(now)
	}
}

// merge is the lease with the prefixes of a Reply: new ones are added, known ones get their new
// lifetimes, those with valid lifetime 0 go, and those that the Reply does not name stay as they are.
func (c *Client) merge(now time.Time, prefixes []dhcpv6.IAPrefix) Lease {
	l := c.lease.clone()
	for _, p := range prefixes {
		i := l.find(p.Prefix)
		switch {
		case p.Valid == 0 && i >= 0:
			c.lost = p.Prefix
			c.note(note.Warn, "prefix withdrawn by the server", "prefix", p.Prefix.String())
			l.Prefixes = slices.Delete(l.Prefixes, i, i+1)
			continue
		case p.Valid == 0:
			continue
		case i < 0 && len(l.Prefixes) >= MaxPrefixes:
			c.note(note.Warn, "more prefixes than we take, one is ignored", "prefix", p.Prefix.String())
			continue
		case i < 0:
			i = len(l.Prefixes)
			l.Prefixes = append(l.Prefixes, Prefix{Prefix: p.Prefix})
			c.noteNew(p)
		}
		l.Prefixes[i].Preferred = lifetime.FromSeconds(now, p.Preferred)
		l.Prefixes[i].Valid = lifetime.FromSeconds(now, p.Valid)
	}
	return l
}

// noteNew tells of a prefix that we did not have.
func (c *Client) noteNew(p dhcpv6.IAPrefix) {
	c.note(note.Info, "prefix delegated", "prefix", p.Prefix.String())
	if p.Prefix.Bits() > maxLANPrefixLen {
		c.note(note.Warn, "delegated prefix is too long for a LAN, which needs a /64: ask for a shorter one at the hub",
			"prefix", p.Prefix.String())
	}
}

// broken says whether an option came but could not be read.
func (r reply) broken(o dhcpv6.OptionCode) bool {
	return slices.ContainsFunc(r.problems, func(p dhcpv6.Problem) bool { return p.Option == o })
}

// firstOnes is the list without repetitions, cut at n.
func firstOnes[T comparable](list []T, n int) []T {
	var out []T
	for _, x := range list {
		if len(out) < n && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
