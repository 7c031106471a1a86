// SPDX-License-Identifier: MIT

package hostmodel

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/lifetime"
)

// defaultRouter is an entry of the Default Router List (RFC 4861 section 5.1).
type defaultRouter struct {
	addr       netip.Addr
	preference int8
	until      lifetime.Until
}

// onLink is an entry of the Prefix List.
type onLink struct {
	prefix netip.Prefix
	until  lifetime.Until
	from   netip.Addr
}

// route is a Route Information option that a type C host keeps.
type route struct {
	prefix     netip.Prefix
	via        netip.Addr
	preference int8
	until      lifetime.Until
}

// router takes the router lifetime: 0 removes the entry at once.
func (h *Host) router(now time.Time, from netip.Addr, m advert) {
	if !h.short(uint32(m.lifetime)) {
		h.setRouter(defaultRouter{from, m.preference, lifetime.FromSeconds(now, uint32(m.lifetime))})
	}
}

func (h *Host) setRouter(r defaultRouter) {
	if i := slices.IndexFunc(h.routers, func(e defaultRouter) bool { return e.addr == r.addr }); i >= 0 {
		h.routers[i] = r
		return
	}
	h.routers = append(h.routers, r)
}

func (h *Host) setOnLink(now time.Time, from netip.Addr, p prefixInfo) {
	e := onLink{p.prefix, lifetime.FromSeconds(now, p.valid), from}
	if i := slices.IndexFunc(h.onLink, func(e onLink) bool { return e.prefix == p.prefix }); i >= 0 {
		h.onLink[i] = e
		return
	}
	h.onLink = append(h.onLink, e)
}

// route takes a Route Information option. One for ::/0 overrules the router lifetime of the header (RFC 4191
// section 3.1).
func (h *Host) route(now time.Time, from netip.Addr, i routeInfo) {
	if h.short(i.lifetime) {
		return
	}
	until := lifetime.FromSeconds(now, i.lifetime)
	if i.prefix.Bits() == 0 {
		h.setRouter(defaultRouter{from, i.preference, until})
		return
	}
	e := route{i.prefix, from, i.preference, until}
	if j := slices.IndexFunc(h.routes, func(r route) bool { return r.prefix == e.prefix && r.via == from }); j >= 0 {
		h.routes[j] = e
		return
	}
	h.routes = append(h.routes, e)
}

// Hop is where a packet goes.
type Hop struct {
	OnLink bool
	Router netip.Addr // when not OnLink
}

// NextHop is where a packet to dst goes: by the longest prefix, then the higher preference, then the older router
// (RFC 4191 section 3.2). ok is false where there is no route.
func (h *Host) NextHop(now time.Time, dst netip.Addr) (hop Hop, ok bool) {
	if !h.up {
		return hop, false
	}
	if dst.IsLinkLocalUnicast() || dst.IsMulticast() {
		return Hop{OnLink: true}, true
	}
	bits, best := -1, int8(0)
	offer := func(n int, preference int8, to Hop) {
		if n > bits || n == bits && preference > best {
			bits, best, hop = n, preference, to
		}
	}
	for _, p := range h.onLink {
		if p.prefix.Contains(dst) && !p.until.Over(now) {
			offer(p.prefix.Bits(), 2, Hop{OnLink: true}) // above all preferences of routers
		}
	}
	for _, r := range h.routes {
		if r.prefix.Contains(dst) && !r.until.Over(now) {
			offer(r.prefix.Bits(), r.preference, Hop{Router: r.via})
		}
	}
	for _, r := range h.routers {
		if !r.until.Over(now) {
			offer(0, r.preference, Hop{Router: r.addr})
		}
	}
	return hop, bits >= 0
}

// Routers are the default routers, in the order in which they came.
func (h *Host) Routers(now time.Time) (out []netip.Addr) {
	for _, r := range h.routers {
		if !r.until.Over(now) {
			out = append(out, r.addr)
		}
	}
	return out
}

// OnLink are the prefixes on the link.
func (h *Host) OnLink(now time.Time) (out []netip.Prefix) {
	for _, p := range h.onLink {
		if !p.until.Over(now) {
			out = append(out, p.prefix)
		}
	}
	return out
}

// Routes are the prefixes of the routes by Route Information.
func (h *Host) Routes(now time.Time) (out []netip.Prefix) {
	for _, r := range h.routes {
		if !r.until.Over(now) {
			out = append(out, r.prefix)
		}
	}
	return out
}
