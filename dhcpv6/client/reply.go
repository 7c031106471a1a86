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

// maxLANPrefixLen is the longest prefix that can be cut into a /64 for a LAN.
const maxLANPrefixLen = 64

// receive takes one message from the network.
func (c *Client) receive(now time.Time, r Received) {
	m, problems, err := dhcpv6.ParseMessage(r.Data)
	switch {
	case err != nil:
		c.drop(r.From, err.Error())
		return
	case m.Type == dhcpv6.Reconfigure:
		c.onReconfigure(now, r, m)
		return
	case m.XID == c.done:
		// Kea answers a multicast once for each of its sockets.
		c.note(note.Debug, "message ignored: its exchange has been answered", "from", r.From.String())
		return
	}
	if reason := c.refuse(m); reason != "" {
		c.drop(r.From, reason)
		return
	}
	c.received++
	c.report(m.ServerID, problems)
	c.takeMaxRT(m)
	if m.Type == dhcpv6.Advertise {
		c.onAdvertise(now, m)
	} else {
		c.onReply(now, reply{m, problems, r.From})
	}
}

// takeMaxRT takes SOL_MAX_RT and INF_MAX_RT over, whatever else the message says (RFC 9915 section 18.2.9).
func (c *Client) takeMaxRT(m dhcpv6.Message) {
	if m.SolMaxRT != 0 {
		c.solMaxRT = time.Duration(m.SolMaxRT) * time.Second
	}
	if m.InfMaxRT != 0 {
		c.infMaxRT = time.Duration(m.InfMaxRT) * time.Second
	}
	switch c.x.kind {
	case dhcpv6.Solicit:
		c.x.params.mrt = c.solMaxRT
	case dhcpv6.InformationRequest:
		c.x.params.mrt = c.infMaxRT
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

// reply is a valid Reply, what was wrong with it and where it came from.
type reply struct {
	dhcpv6.Message
	problems []dhcpv6.Problem
	from     netip.Addr
}

// onReply takes a valid Reply (RFC 9915 section 18.2.10). An answer that does not help leaves the
// exchange running, "as if the Reply message had not been received".
func (c *Client) onReply(now time.Time, r reply) {
	switch c.x.kind {
	case dhcpv6.Solicit, dhcpv6.Request:
		c.onGrant(now, r)
	case dhcpv6.Renew, dhcpv6.Rebind:
		c.onExtension(now, r)
	case dhcpv6.Confirm:
		c.onConfirmation(now, r)
	case dhcpv6.InformationRequest:
		c.onInformation(now, r)
	case dhcpv6.Decline:
		c.done = r.XID
		c.declined(now)
	case dhcpv6.Release:
		c.onReleased(r)
	}
}

// onGrant takes the Reply to a Request, or to a Solicit with Rapid Commit.
func (c *Client) onGrant(now time.Time, r reply) {
	as := c.answers(r.Message)
	if c.usable(as) {
		c.bind(now, r, as)
		return
	}
	status := c.refusal(as, r.Message)
	c.complainOf(r, status)
	c.noteErrors(as)
	if c.x.kind == dhcpv6.Request && status.Code != dhcpv6.UnspecFail {
		c.requestRefused(now)
	}
}

// onExtension takes the Reply to a Renew or Rebind.
func (c *Client) onExtension(now time.Time, r reply) {
	as := c.answers(r.Message)
	if c.dropOffLink(as); !c.held() {
		c.leaseEnded(now)
		return
	}
	lost := false
	for _, a := range as {
		lost = lost || a.status.Code == dhcpv6.NoBinding && len(c.lease.bound(a.Type, a.IAID)) > 0
	}
	answered := slices.ContainsFunc(as, func(a answer) bool { return len(a.prefixes) > 0 })
	lost = lost || !answered && r.Status.Code == dhcpv6.NoBinding
	if lost {
		// "Sends a Request message to the server that responded if any of the IAs in the Reply message
		// contain the NoBinding status code. [...] The client continues to use other bindings for which the
		// server did not return an error." (section 18.2.10.1)
		c.complainOf(r, c.refusal(as, r.Message))
		c.noteErrors(as)
		if answered {
			c.replaceLease(c.merge(now, as))
		}
		c.sendRequest(now, r.ServerID, nil)
		return
	}
	if answered {
		c.declineRT = 0
		c.bind(now, r, as)
		return
	}
	c.complainOf(r, c.refusal(as, r.Message))
	c.noteErrors(as)
}

// dropOffLink gives up addresses that the server calls wrong for this link: "the client MUST NOT use"
// them any longer (RFC 9915 section 18.2.10.1). A prefix is not of the link.
func (c *Client) dropOffLink(as []answer) {
	for _, a := range as {
		if a.Type == dhcpv6.NA && a.status.Code == dhcpv6.NotOnLink && len(c.lease.bound(a.Type, a.IAID)) > 0 {
			c.note(note.Warn, "addresses given up: the server says they are of another link")
			c.replaceLease(c.lease.with(a.Type, a.IAID, nil))
		}
	}
}

// onConfirmation takes the Reply to a Confirm (RFC 9915 section 18.2.10.2).
func (c *Client) onConfirmation(now time.Time, r reply) {
	if r.Status.Code == dhcpv6.NotOnLink {
		c.complainOf(r, r.Status)
		c.replaceLease(Lease{})
		c.enterSolicit(now, 0)
		return
	}
	if r.Status.Code != dhcpv6.Success {
		c.complainOf(r, r.Status)
		return
	}
	c.answered()
	c.enter(Bound)
}

// onReleased: "the client considers the Release event completed" upon any valid Reply, "regardless of the Status
// Code" (RFC 9915 section 18.2.10.3).
func (c *Client) onReleased(r reply) {
	c.done = r.XID
	how := "the server has taken the lease back"
	if r.Status.Code != dhcpv6.Success {
		how = "the server answered " + r.Status.String()
	}
	c.left(true, how)
}

func (c *Client) complainOf(r reply, status dhcpv6.Status) {
	c.complain("server gives no "+c.purpose(), "server", r.ServerID.String(), "err", c.x.kind.String()+": "+status.String())
}

// noteErrors keeps what the server said of each IA.
func (c *Client) noteErrors(as []answer) {
	for i, a := range as {
		switch {
		case a.given():
			c.ias[i].err = ""
		case len(a.prefixes) > 0:
			c.ias[i].err = c.x.kind.String() + ": the server took it back"
		case a.status.Code != dhcpv6.Success:
			c.ias[i].err = c.x.kind.String() + ": " + a.status.String()
		default:
			c.ias[i].err = c.x.kind.String() + ": the server says nothing of this " + a.Type.String()
		}
	}
}

// bind updates the lease by a Reply (RFC 9915 section 18.2.10.1) and ends the exchange.
func (c *Client) bind(now time.Time, r reply, as []answer) {
	l := c.merge(now, as)
	c.takeKey(&l, r)
	l.Server, l.ServerAddr, l.Unconfirmed = r.ServerID, r.from, false
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
// (RFC 9915 section 18.2.4). unserved says that an IA that we are for got nothing.
func (c *Client) times(now time.Time, l *Lease, as []answer) (unserved bool) {
	waiting := false // what is not served holds something
	t1, t2 := lifetime.Forever, lifetime.Forever
	for i, a := range as {
		if !a.given() {
			if a.Type == dhcpv6.PD || !c.wantsPrefix() {
				unserved = true
				waiting = waiting || len(l.bound(a.Type, a.IAID)) > 0
			}
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
	text, kind, wait := c.lastError, c.x.kind, c.refusalRT
	c.answered()
	c.lastError, c.refusalRT, c.x.kind = text, wait, kind
	c.complainOf(r, c.refusal(as, r.Message))
	c.x = exchange{}
}

// answered ends the exchange that runs: all is well.
func (c *Client) answered() {
	c.done = c.x.xid
	c.x, c.offers = exchange{}, nil
	c.refusalRT, c.verifyAt, c.lastError, c.silent = 0, time.Time{}, "", false
}

// merge is the lease with what a Reply says: new prefixes are added, known ones get their new
// lifetimes, those with valid lifetime 0 go, and IAs that the Reply does not serve stay as they are.
func (c *Client) merge(now time.Time, as []answer) Lease {
	l := c.lease
	for _, a := range as {
		if len(a.prefixes) > 0 {
			l = l.with(a.Type, a.IAID, c.mergeIA(now, l.bound(a.Type, a.IAID), a))
		}
	}
	return l
}

// mergeIA updates the prefixes of one IA.
func (c *Client) mergeIA(now time.Time, held []Prefix, a answer) []Prefix {
	ps := slices.Clone(held)
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
			c.note(note.Warn, "more prefixes than we take, one is ignored", "prefix", p.Prefix.String())
			continue
		case i < 0:
			i = len(ps)
			ps = append(ps, Prefix{Prefix: p.Prefix})
			c.noteNew(a.Type, p)
		}
		ps[i].Preferred = lifetime.FromSeconds(now, p.Preferred)
		ps[i].Valid = lifetime.FromSeconds(now, p.Valid)
		ps[i].Exclude = p.Exclude
	}
	if a.given() {
		c.deprecateUnnamed(now, ps, a)
	}
	return ps
}

// deprecateUnnamed ends the preferred lifetime of prefixes that the server leaves out although it was asked to
// extend them, and gives another one in their place: it has renumbered, and hosts must not begin anything
// with the old one.
//
// Deviates from RFC 9915 section 18.2.10.1, "leave unchanged any information about leases [...] that were not
// included": the valid lifetime is left unchanged. A Reply that gives nothing new changes nothing.
func (c *Client) deprecateUnnamed(now time.Time, ps []Prefix, a answer) {
	for i := range ps {
		named := slices.ContainsFunc(a.prefixes, func(p dhcpv6.IAPrefix) bool { return p.Prefix == ps[i].Prefix })
		if !named && !ps[i].Preferred.Over(now) {
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
