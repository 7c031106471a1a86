// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/dhcpv6"
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
	answered := slices.ContainsFunc(as, func(a answer) bool { return len(a.prefixes) > 0 })
	all := !answered && r.Status.Code == dhcpv6.NoBinding
	lost := all
	for i, a := range as {
		if !all && a.status.Code != dhcpv6.NoBinding {
			continue
		}
		lost = true // or never had: there are servers that take a new IA by Request alone (odhcpd)
		if len(c.lease.bound(a.Type, a.IAID)) > 0 {
			c.ias[i].unbound = r.ServerID == c.lease.Server
		}
	}
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
	if answered && c.x.kind == dhcpv6.Rebind && c.leavesOut(as) {
		// Another server may have what this one has not: its Reply is still waited for.
		c.replaceLease(c.merge(now, as))
	} else if answered {
		c.declineRT = 0
		c.bind(now, r, as)
		return
	}
	c.complainOf(r, c.refusal(as, r.Message))
	c.noteErrors(as)
}

// leavesOut says whether a prefix that we hold, or an address of a client that is for those, is not extended.
func (c *Client) leavesOut(as []answer) bool {
	return slices.ContainsFunc(as, func(a answer) bool {
		return !a.given() && (a.Type == dhcpv6.PD || !c.wantsPrefix()) && len(c.lease.bound(a.Type, a.IAID)) > 0
	})
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

// broken says whether an option came but could not be read.
func (r reply) broken(o dhcpv6.OptionCode) bool {
	return slices.ContainsFunc(r.problems, func(p dhcpv6.Problem) bool { return p.Option == o })
}
