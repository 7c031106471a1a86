// SPDX-License-Identifier: MIT

package client

import (
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// onReconfigure takes a Reconfigure (RFC 9915 section 18.2.11): what it asks for is begun as if the time had
// come, and nothing is given up for it. Its replay value is to reach the disk first, so that nobody can send
// it again, not even to a successor; a store that spares its flash may put that off (router's does beyond ten changes).
func (c *Client) onReconfigure(now time.Time, r Received, m dhcpv6.Message) {
	if reason := c.refuseReconfigure(r, m); reason != "" {
		c.drop(r.From, reason)
		return
	}
	// "the client MUST ignore additional Reconfigure messages until the exchange [...] is completed". It is as if it had
	// not come: a server that repeats it after that is believed.
	if c.leaving || !c.link || c.state != Bound && c.state != Informed {
		c.note(note.Debug, "Reconfigure ignored: another exchange is running", "server", m.ServerID.String())
		return
	}
	c.received++
	l := c.lease
	l.Reconfigure.Replay = m.Auth.Replay
	c.lease = l
	c.act.Persist = &l
	wants := m.ReconfigureMessage
	switch {
	case wants == dhcpv6.InformationRequest:
		c.enterInform(now, 0)
	case !c.held():
		c.note(note.Debug, "Reconfigure ignored: there is no lease", "server", m.ServerID.String())
		return
	case wants == dhcpv6.Renew:
		c.enterRenew(now)
	case wants == dhcpv6.Rebind:
		c.enterRebind(now, 0)
	}
	c.note(note.Info, "server asks for "+wants.String(), "server", m.ServerID.String())
}

// refuseReconfigure says why a Reconfigure is not believed (RFC 9915 sections 16.11 and 20.4), empty if it is.
func (c *Client) refuseReconfigure(r Received, m dhcpv6.Message) string {
	none := dhcpv6.ReconfigureKey{}
	switch {
	case r.To.IsMulticast():
		return "Reconfigure by multicast"
	case m.ServerID == "":
		return "no server identifier"
	case m.ClientID == "":
		return "no client identifier"
	case m.ClientID != c.cfg.DUID:
		return "client identifier of somebody else"
	case m.ReconfigureMessage == 0:
		return "Reconfigure without a valid Reconfigure Message option"
	case len(m.IAs) > 0 && m.ReconfigureMessage == dhcpv6.InformationRequest:
		return "Reconfigure for an Information-request with an IA"
	case c.lease.Reconfigure.Key == none:
		return "Reconfigure, but we have no key"
	case m.ServerID != c.lease.Server:
		return "Reconfigure of a server that is not ours"
	}
	if err := dhcpv6.VerifyReconfigure(r.Data, m, c.lease.Reconfigure.Key); err != nil {
		return "Reconfigure: " + err.Error()
	}
	if m.Auth.Replay <= c.lease.Reconfigure.Replay {
		return "Reconfigure is a replay"
	}
	return ""
}

// takeKey keeps the key that a Reply hands out. A key is of the server that gave it.
func (c *Client) takeKey(l *Lease, r reply) {
	key, ok := r.Auth.ReconfigureKey()
	switch {
	case ok && key == l.Reconfigure.Key && r.ServerID == l.Server:
		l.Reconfigure.Replay = max(l.Reconfigure.Replay, r.Auth.Replay)
	case ok:
		l.Reconfigure = Reconfigure{Key: key, Replay: r.Auth.Replay}
	case r.ServerID != l.Server:
		l.Reconfigure = Reconfigure{}
	}
}
