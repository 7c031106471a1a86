// SPDX-License-Identifier: MIT

package hostmodel

import (
	"net/netip"
	"time"

	"oasis6/internal/lifetime"
)

// Route is one way out that the host knows.
type Route struct {
	Prefix     netip.Prefix // ::/0 of a default router
	Via        netip.Addr   // zero: on the link
	Preference int8         // RFC 4191: 1 high, 0 medium, -1 low
	Until      lifetime.Until
	From       netip.Addr // the router whose RA said so
}

// Table are all routes: on-link prefixes, those by Route Information, default routers.
func (h *Host) Table(now time.Time) (out []Route) {
	for _, p := range h.onLink {
		if !p.until.Over(now) {
			out = append(out, Route{Prefix: p.prefix, Until: p.until, From: p.from})
		}
	}
	for _, r := range h.routes {
		if !r.until.Over(now) {
			out = append(out, Route{r.prefix, r.via, r.preference, r.until, r.via})
		}
	}
	for _, r := range h.routers {
		if !r.until.Over(now) {
			out = append(out, Route{netip.PrefixFrom(netip.IPv6Unspecified(), 0), r.addr, r.preference, r.until, r.addr})
		}
	}
	return out
}

// Learned is an entry of the lists of RFC 8106 with its end and the router that gave it.
type Learned[T any] struct {
	Value T
	Until lifetime.Until
	From  netip.Addr
}

func learned[T comparable](list []named[T], now time.Time) (out []Learned[T]) {
	for _, n := range list {
		if !n.until.Over(now) {
			out = append(out, Learned[T]{n.value, n.until, n.from})
		}
	}
	return out
}

// Servers is RDNSS with its particulars.
func (h *Host) Servers(now time.Time) []Learned[netip.Addr] { return learned(h.servers, now) }

// Domains is DNSSL with its particulars.
func (h *Host) Domains(now time.Time) []Learned[string] { return learned(h.domains, now) }

// LinkLocalAddress is LinkLocal with its particulars.
func (h *Host) LinkLocalAddress() (a Address, ok bool) {
	if h.linkLocal == nil {
		return Address{}, false
	}
	return *h.linkLocal, true
}

// MTUFrom is the router that gave MTU.
func (h *Host) MTUFrom() netip.Addr { return h.mtuFrom }

// NextExpiry is when something that the host holds grows old or ends next; zero: never.
func (h *Host) NextExpiry(now time.Time) (at time.Time) {
	consider := func(u lifetime.Until) {
		if t, ok := u.Time(); ok && t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, a := range h.addrs {
		consider(a.Preferred)
		consider(a.Valid)
	}
	for _, r := range h.Table(now) {
		consider(r.Until)
	}
	for _, n := range h.servers {
		consider(n.until)
	}
	for _, n := range h.domains {
		consider(n.until)
	}
	for _, n := range h.nat64 {
		consider(n.until)
	}
	return at
}
