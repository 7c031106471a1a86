// SPDX-License-Identifier: MIT

package client

import (
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// informWithLease bounds an Information-request beside a lease: MRD is 0 in RFC 9915 section 18.2.6, but while it
// runs no Reconfigure is taken, and the next Renew brings the same.
const informWithLease = 60 * time.Second

// informParams are those of RFC 9915 section 18.2.6.
func (c *Client) informParams() params {
	p := params{irt: InfTimeout, mrt: c.infMaxRT}
	if !c.stateless() {
		p.mrd = informWithLease
	}
	return p
}

// enterInform asks for configuration without leases (RFC 9915 section 18.2.6).
func (c *Client) enterInform(now time.Time, delay time.Duration) {
	c.enter(Informing)
	c.begin(now, exchange{kind: dhcpv6.InformationRequest, params: c.informParams()}, delay)
}

// dueInformed refreshes the configuration of a stateless client.
func (c *Client) dueInformed(now time.Time) {
	if c.lease.Info.Refresh.Over(now) {
		c.probedAt = now
		c.enterInform(now, 0)
	}
}

// onInformation takes the Reply to an Information-request (RFC 9915 section 18.2.10.4).
func (c *Client) onInformation(now time.Time, r reply) {
	if r.Status.Code != dhcpv6.Success {
		c.complain("server gives no configuration", "server", r.ServerID.String(), "err", r.Status.String())
		return
	}
	l := c.lease
	l.Info = c.info(r)
	if c.stateless() {
		refresh := r.RefreshTime
		if refresh == 0 {
			refresh = dhcpv6.DefaultRefreshTime
		}
		l.Info.Refresh = lifetime.FromSeconds(now, max(refresh, dhcpv6.MinRefreshTime))
		c.takeKey(&l, r)
		l.Server, l.ServerAddr = r.ServerID, r.from
	}
	c.note(note.Debug, "configuration updated", "server", r.ServerID.String())
	c.replaceLease(l)
	if c.stateless() {
		c.answered()
	} else {
		c.finish() // it says nothing of the lease
	}
	c.rest()
}

// info is the configuration in a Reply: "the client SHOULD stop using the previously received configuration
// information" when an option is absent (RFC 9915 section 18.2.10.5); one that cannot be read says nothing.
func (c *Client) info(r reply) Info {
	i := c.lease.Info
	if r.DNS != nil || !r.broken(dhcpv6.OptionDNSServers) {
		i.DNS = firstOnes(r.DNS, MaxDNS)
	}
	if r.Search != nil || !r.broken(dhcpv6.OptionDomainList) {
		i.Search = firstOnes(r.Search, MaxSearch)
	}
	if r.NTP != nil || !r.broken(dhcpv6.OptionNTPServer) {
		i.NTP = firstOnes(r.NTP, MaxNTP)
	}
	if r.EncryptedDNS != nil || !r.broken(dhcpv6.OptionEncryptedDNS) {
		i.EncryptedDNS = nil
		for _, e := range r.EncryptedDNS { // "a lower value means a higher priority" (RFC 9463 section 3.1.1)
			at := slices.IndexFunc(i.EncryptedDNS, func(x dhcpv6.EncryptedDNS) bool { return e.Priority < x.Priority })
			if at < 0 {
				at = len(i.EncryptedDNS)
			}
			i.EncryptedDNS = slices.Insert(i.EncryptedDNS, at, e)
		}
		i.EncryptedDNS = i.EncryptedDNS[:min(len(i.EncryptedDNS), MaxEncryptedDNS)]
	}
	return i
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
