// SPDX-License-Identifier: MIT

package host

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/hostmodel"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/lifetime"
)

// redirected is a better first hop for one destination (RFC 4861 section 8). gVisor counts Redirects and does no more.
type redirected struct {
	dst  netip.Addr
	via  netip.Addr // zero: dst itself is on the link
	from netip.Addr
}

// maxRedirects bounds what routers can have a host remember.
const maxRedirects = 64

// Of a Redirect (RFC 4861 section 4.5).
const (
	redirectLength   = 40
	redirectTargetAt = 8
	redirectDstAt    = 24
)

// redirect takes a Redirect if it is valid (RFC 4861 section 8.1), which means that it is from whom the packets for its
// destination go to now.
func (h *Host) redirect(m ip6pkt.Message) (text, rfc string) {
	const section = "RFC 4861 section 8.1"
	if m.HopLimit != ndHopLimit || len(m.Body) < redirectLength || m.Body[1] != 0 || !m.Src.IsLinkLocalUnicast() {
		return "dropped: not a valid Redirect", section
	}
	target, dst := netip.AddrFrom16([16]byte(m.Body[redirectTargetAt:])), netip.AddrFrom16([16]byte(m.Body[redirectDstAt:]))
	if dst.IsMulticast() || target != dst && !target.IsLinkLocalUnicast() {
		return "dropped: not a valid Redirect", section
	}
	i := slices.IndexFunc(h.routes(), func(r hostmodel.Route) bool { return r.Prefix.Contains(dst) })
	if i < 0 || h.routes()[i].Via != m.Src {
		return "dropped: a Redirect from somebody who is not the way there", section
	}
	r := redirected{dst: dst, via: target, from: m.Src}
	if target == dst {
		r.via = netip.Addr{}
	}
	h.redirects = slices.DeleteFunc(h.redirects, func(o redirected) bool { return o.dst == dst })
	if len(h.redirects) == maxRedirects {
		h.redirects = h.redirects[1:]
	}
	h.redirects = append(h.redirects, r)
	h.route()
	return dst.String() + " is reached by " + target.String() + " from now on", "RFC 4861 section 8.3"
}

// better are the routes by Redirects of those who are still routers.
func (h *Host) better(now time.Time) (out []hostmodel.Route) {
	table := h.model.Table(now)
	for _, r := range h.redirects {
		if slices.ContainsFunc(table, func(t hostmodel.Route) bool { return t.Via == r.from }) {
			out = append(out, hostmodel.Route{Prefix: netip.PrefixFrom(r.dst, r.dst.BitLen()), Via: r.via, Until: lifetime.Forever, From: r.from})
		}
	}
	return out
}
