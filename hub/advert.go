// SPDX-License-Identifier: MIT

package hub

import (
	"fmt"
	"slices"
	"time"

	"oasis6/config"
	"oasis6/internal/bucket"
	"oasis6/ra"
)

// Router Advertisements go to each site alone: WireGuard takes a multicast packet to one peer. The times are those that
// RFC 4861 section 6.2.1 allows for multicast ones.
const (
	advertEvery     = 450 * time.Second  // between two to the same site: all are spread evenly over it
	routerLifetime  = 1800 * time.Second // three times what an interval may be at most, RFC 4861 section 6.2.1
	dnsLifetime     = 1800 * time.Second // RFC 8106 section 5.1: at least three intervals
	hurryRate       = 1000               // a second, when there is news for all
	advertTick      = 20 * time.Millisecond
	hopLimit        = 64 // what sites put into their packets
	solicitBurst    = 3
	solicitEvery    = time.Second
	minAdvertPeriod = 10 * time.Millisecond
)

// solicitBucket bounds what one site's solicitations make the hub send.
func solicitBucket() bucket.Bucket { return bucket.Bucket{Burst: solicitBurst, Every: solicitEvery} }

// advertisement is what every site is told: the hub is its router, this is the MTU, and this is DNS. There is no prefix
// on the link: addresses come out of what is delegated. O says that DHCPv6 has configuration (RFC 4861 section 4.2).
// What of DNS is withdrawn has lifetime 0 (RFC 8106 section 5.1). With final the hub is going away (RFC 4861 section 6.2.5).
func advertisement(cfg *config.HubConfig, withdrawn config.Hub, mtu int, final bool) ([][]byte, error) {
	m := ra.RouterAdvertisement{CurHopLimit: hopLimit, OtherConfig: len(cfg.Hub.DNS)+len(cfg.Hub.Search) > 0}
	var dns uint32
	if !final {
		m.RouterLifetime, dns = uint16(routerLifetime/time.Second), uint32(dnsLifetime/time.Second)
	}
	m.Options = append(m.Options, ra.MTU(mtu))
	for _, x := range []struct {
		lifetime uint32
		config.Hub
	}{{dns, cfg.Hub}, {0, withdrawn}} {
		if len(x.DNS) > 0 {
			m.Options = append(m.Options, ra.RDNSS{Lifetime: x.lifetime, Servers: x.DNS})
		}
		if len(x.Search) > 0 {
			m.Options = append(m.Options, ra.DNSSL{Lifetime: x.lifetime, Domains: x.Search})
		}
	}
	packets, err := m.Split()
	if err != nil {
		return nil, fmt.Errorf("router advertisement for the sites: %w", err) // config bounds what is in it
	}
	return packets, nil
}

// maxWithdrawn bounds what is withdrawn of each kind: an advertisement has room for so much more.
const maxWithdrawn = 8

// withdraw is what sites were told by then and is not so in now, newest last, beside what was withdrawn before.
func withdraw[T comparable](before, then, now []T) (out []T) {
	for _, x := range slices.Concat(before, then) {
		if !slices.Contains(now, x) && !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out[max(0, len(out)-maxWithdrawn):]
}

// ring says which sites are to be told when: each once in advertEvery, one after the other, and all at once as fast as
// hurryRate allows when there is news. It knows how many there are, not who.
type ring struct {
	next  int       // index of the site that is next
	at    time.Time // when it is; zero: not begun
	hurry int       // so many are still to hear the news
}

// period is the time between two of n sites.
func (r *ring) period(n int) time.Duration {
	if r.hurry > 0 {
		return time.Second / hurryRate
	}
	return advertEvery / time.Duration(max(n, 1))
}

// news makes all n sites hear soon.
func (r *ring) news(now time.Time, n int) {
	r.hurry = n
	if n > 0 {
		r.at = now
	}
}

// due are how many sites, from next on, are to be told now, of n.
func (r *ring) due(now time.Time, n int) (first, count int) {
	if n == 0 {
		return 0, 0
	}
	if r.at.IsZero() {
		r.at = now.Add(r.period(n))
	}
	first = r.next % n
	for count < n && !r.at.After(now) {
		r.at = r.at.Add(r.period(n))
		r.hurry = max(0, r.hurry-1)
		count++
	}
	if count == n {
		r.at = now.Add(r.period(n)) // it has slept
	}
	r.next = (first + count) % n
	return first, count
}

// wake is when due is to be asked again. Many sites at a short period are told some at a time.
func (r *ring) wake(n int) time.Time {
	if n == 0 || r.at.IsZero() {
		return time.Time{}
	}
	if p := r.period(n); p < minAdvertPeriod {
		return r.at.Add(advertTick)
	}
	return r.at
}
