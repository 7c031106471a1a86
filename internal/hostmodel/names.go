// SPDX-License-Identifier: MIT

package hostmodel

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/lifetime"
)

// named is one entry of the lists of RFC 8106 section 6.1 and its like.
type named[T comparable] struct {
	value T
	until lifetime.Until
	from  netip.Addr
}

// maxNamed bounds each list. RFC 8106 section 5.3.1 has "at least three" as the least that is sufficient.
const maxNamed = 16

// names takes DNS servers, search domains and NAT64 prefixes. Lifetime 0: "the RDNSS address MUST no longer be used".
func (h *Host) names(now time.Time, from netip.Addr, m advert) {
	for _, s := range m.servers {
		h.servers = take(h, h.servers, now, from, s)
	}
	for _, d := range m.domains {
		h.domains = take(h, h.domains, now, from, d)
	}
	for _, p := range m.nat64 {
		h.nat64 = take(h, h.nat64, now, from, p)
	}
}

func take[T comparable](h *Host, list []named[T], now time.Time, from netip.Addr, t timed[T]) []named[T] {
	if h.short(t.lifetime) {
		return list
	}
	until := lifetime.FromSeconds(now, t.lifetime)
	i := slices.IndexFunc(list, func(n named[T]) bool { return n.value == t.value })
	switch {
	case i >= 0:
		list[i].until, list[i].from = until, from
	case t.lifetime != 0 && len(list) < maxNamed:
		list = append(list, named[T]{t.value, until, from})
	}
	return list
}

func current[T comparable](list []named[T], now time.Time) (out []T) {
	for _, n := range list {
		if !n.until.Over(now) {
			out = append(out, n.value)
		}
	}
	return out
}

// RDNSS are the DNS servers in use.
func (h *Host) RDNSS(now time.Time) []netip.Addr { return current(h.servers, now) }

// DNSSL are the search domains in use.
func (h *Host) DNSSL(now time.Time) []string { return current(h.domains, now) }

// PREF64 are the NAT64 prefixes in use (RFC 8781).
func (h *Host) PREF64(now time.Time) []netip.Prefix { return current(h.nat64, now) }
