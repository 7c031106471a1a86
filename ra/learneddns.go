// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/lifetime"
)

// How much DNS a Receiver keeps, of all routers together: more than hosts use (glibc: three servers, six domains in
// older versions), and RFC 8106 section 5.3.1 asks for three of each. What comes when the list is full is left out, so
// nobody can push out what is in use.
const (
	maxLearnedServers = 8
	maxLearnedDomains = 16
)

// learned is a DNS server or, with a domain, a search domain.
type learned struct {
	server  netip.Addr
	domain  string
	until   lifetime.Until
	earlier bool // from before the link came up last
}

// learnDNS takes over RDNSS and DNSSL (RFC 8106 section 5.3). Servers at link-local addresses are left out: hosts of the
// LAN cannot reach them. What was learned before the link came up counts until a router says what is so now, for the
// tunnel may lead to another hub.
func (r *Receiver) learnDNS(now time.Time, m *RouterAdvertisement) {
	for _, o := range m.Options {
		switch o := o.(type) {
		case RDNSS:
			r.dropEarlier(false)
			for _, a := range o.Servers {
				if unicast6(a) && !a.IsLinkLocalUnicast() {
					r.learn(now, learned{server: a}, o.Lifetime, maxLearnedServers)
				}
			}
		case DNSSL:
			r.dropEarlier(true)
			for _, d := range o.Domains {
				if domain, err := CheckDomain(d); err == nil {
					r.learn(now, learned{domain: domain}, o.Lifetime, maxLearnedDomains)
				}
			}
		}
	}
}

func (r *Receiver) dropEarlier(domains bool) {
	r.dns = slices.DeleteFunc(r.dns, func(x learned) bool { return x.earlier && domains == (x.domain != "") })
}

// learn adds x, renews it or, with lifetime 0, takes it out.
func (r *Receiver) learn(now time.Time, x learned, seconds uint32, most int) {
	n := 0
	for i := range r.dns {
		y := &r.dns[i]
		if y.server == x.server && y.domain == x.domain {
			y.until = lifetime.FromSeconds(now, seconds)
			return // forget takes it out if it is over
		}
		if (y.domain != "") == (x.domain != "") {
			n++
		}
	}
	if seconds > 0 && n < most {
		x.until = lifetime.FromSeconds(now, seconds)
		r.dns = append(r.dns, x)
	}
}

// resolution is what is learned, in the order of learning.
func (r *Receiver) resolution() (servers []netip.Addr, domains []string) {
	for i := range r.dns {
		if x := &r.dns[i]; x.domain != "" {
			domains = append(domains, x.domain)
		} else {
			servers = append(servers, x.server)
		}
	}
	return servers, domains
}

// news says whether Learned gives another answer than when Changed was last said.
func (r *Receiver) news(now time.Time) bool {
	servers, domains := r.resolution()
	return r.summary(now) != r.told || !slices.Equal(servers, r.toldServers) || !slices.Equal(domains, r.toldDomains)
}
