// SPDX-License-Identifier: MIT

package hub

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"oasis6/dataplane"
	"oasis6/hub/pd"
	"oasis6/internal/lifetime"
	"oasis6/status"
)

// Snapshot asks the loop for the present status.
func (h *Hub) Snapshot(ctx context.Context) (s status.Snapshot, err error) {
	err = h.ask(ctx, func(now time.Time) { s = h.snapshot(now) })
	return s, err
}

// snapshot describes the hub for `oasis6 status`.
func (h *Hub) snapshot(now time.Time) status.Snapshot {
	t := h.opt.Tunnel.Snapshot()
	s := status.Snapshot{
		Version: h.opt.Version, Role: "hub", UptimeS: status.Seconds(now.Sub(h.started)),
		Tunnel: status.Tunnel{
			Interface: t.Interface, PublicKey: t.PublicKey.String(), LinkLocal: t.LinkLocal.String(), MTU: t.MTU, State: "up",
		},
		Events: h.journal.Events(),
	}
	s.Hub = h.hubStatus(now)
	former := h.former()
	for _, x := range h.sites {
		if x.origin != invited {
			site := h.siteStatus(now, x)
			former.count(x, site.Leases)
			s.Sites = append(s.Sites, site)
		}
	}
	s.Hub.FormerPools = former.list()
	s.Problems = h.problems(now)
	s.Summary, s.Ready = h.summary(s)
	return s
}

func (h *Hub) hubStatus(now time.Time) *status.Hub {
	st := h.machine.Stats()
	x := &status.Hub{
		Received: st.Received, Sent: st.Sent, Dropped: st.Dropped, StoreError: h.records.failed,
		SiteToSite: h.cfg.Hub.SiteToSite, FirewallOpen: h.cfg.FirewallOpen,
	}
	t := h.opt.Tunnel.Snapshot()
	for why, n := range map[string]uint64{
		"source is not the site's link-local address": t.Strange, "more than one site may send": t.Limited,
		"faster than they could be read": t.Dropped, "site was just removed": h.counters.unknown, "invitation used for something else": t.Refused,
		"not a message for a hub": h.counters.broken, "answer that did not leave": h.counters.unsent,
		"more handshakes than can wait": t.Crowded, "more handshakes than may wait from one address": t.Hasty,
		"handshake that waited too long": t.Stale,
	} {
		if n > 0 {
			x.Dropped[why] += n
		}
	}
	x.Pools = make([]status.Pool, len(h.cfg.Hub.Pools))
	for i, p := range h.cfg.Hub.Pools {
		x.Pools[i].Prefix = p.String()
	}
	for _, p := range h.machine.AllRouted {
		x.Leases++
		for i, pool := range h.cfg.Hub.Pools {
			if covers(pool, p) {
				x.Pools[i].Leases++
			}
		}
	}
	for _, s := range h.sites {
		if s.origin != invited && s.alive(now) {
			x.SitesUp++
		}
	}
	for _, i := range h.book.Invitations(h.instant(now)) {
		if !i.Used && !i.Expired {
			x.Invitations = append(x.Invitations, status.Invitation{Name: i.Name, ExpiresS: status.Seconds(max(0, i.Expires.Sub(h.opt.Wall())))})
		}
	}
	if p, ok := h.opt.Plane.(dataplane.ProxyReporter); ok {
		for _, st := range p.ProxyStats() {
			x.NDAnswered += st.Answered
		}
	}
	return x
}

func (h *Hub) siteStatus(now time.Time, x *site) status.Site {
	s := status.Site{
		Name: x.name, PublicKey: x.Public.String(), LinkLocal: x.linkLocal.String(), Origin: x.origin.String(), State: "never",
		HandshakeAgeS: status.Never, RxBytes: x.reading.RxBytes, TxBytes: x.reading.TxBytes, Flapping: x.flap.flapping(now),
	}
	if x.endpoint.IsValid() {
		s.Endpoint = x.endpoint.String()
	}
	if at := x.reading.HandshakeAt; !at.IsZero() {
		s.HandshakeAgeS = status.Seconds(now.Sub(at))
		s.State = "silent"
	}
	if x.alive(now) {
		s.State = "up"
	}
	for _, b := range h.machine.Bindings(x.Public, now) {
		s.Leases = append(s.Leases, leasesOf(now, b)...)
	}
	return s
}

// leasesOf are the leases of a binding that are still routed.
func leasesOf(now time.Time, b pd.Binding) (all []status.SiteLease) {
	for _, l := range b.Leases {
		if l.Valid.Over(now) {
			continue
		}
		x := status.SiteLease{
			Prefix: l.Prefix.String(), IAID: uint32(b.IAID), DUID: b.DUID.String(), State: "bound",
			PreferredS: remaining(l.Preferred, now), ValidS: remaining(l.Valid, now), AtMost: l.AtMost,
		}
		switch {
		case l.Released:
			x.State = "released"
		case l.Stale:
			x.State = "stale"
		}
		all = append(all, x)
	}
	return all
}

func remaining(u lifetime.Until, now time.Time) float64 {
	if u.Over(now) {
		return 0
	}
	return status.Remaining(u, now)
}

// problems lists what is wrong, the cause before its consequences.
func (h *Hub) problems(now time.Time) []string {
	ps := []string{}
	add := func(format string, a ...any) { ps = append(ps, fmt.Sprintf(format, a...)) }
	if h.applyErr != nil {
		add("the kernel refuses what the hub needs: %s", oneLine(h.applyErr))
	}
	if h.drift.Fighting() {
		add("another program keeps changing the kernel state of this hub (%d times): see the events for what, and stop it", h.drift.N())
	}
	if h.records.failed != "" {
		add("leases cannot be saved, so none is given or taken back: %s", h.records.failed)
	}
	if h.records.lost {
		add("leases of the store were lost: for as long as a site may hold one of them it is believed that asks for what it had; sites that joined by invitation may be lost too: put a copy of hub.db back, or invite them anew")
	}
	if h.reloads != "" {
		add("last reload refused: %s", h.reloads)
	}
	for _, name := range h.book.Unserved() {
		add("site %s, which joined by invitation, is not served: a [Peer] of the file has its name or address and another key: rename that one, or take the site out with oasis6 hub remove", name)
	}
	for _, s := range h.sites {
		if s.flap.flapping(now) {
			add("two boxes seem to share the key of %s: its endpoint goes to and fro, now %s: give each its own key", s.label(), s.endpoint)
		}
	}
	if u := h.cfg.Hub.Uplink; u != "" && !h.links[u].Up {
		add("uplink %s is down or does not exist", u)
	}
	for _, p := range h.cfg.Hub.Pools {
		if filled(p, h.taken) {
			add("%s", poolOnLink(p))
		}
	}
	if n := h.machine.Held(); n > 0 {
		add("%s should be replaced, and %s renewed for want of another prefix: add one to Pool that has room, or undo the change", number(n, "lease"), isOrAre(n))
	}
	for _, p := range h.machine.Exhausted() {
		add("pool %s has no /%d left: add another prefix to Pool, or remove sites", p, h.cfg.Hub.SiteLength)
	}
	if h.cfg.Hub.OnLink {
		add("%s", onLinkWarning)
	}
	return ps
}

// poolOnLink says why nothing of a pool is delegated.
func poolOnLink(p netip.Prefix) string {
	return fmt.Sprintf("pool %s is on a link of this machine, so nothing of it is delegated: have a prefix routed to the hub, or set OnLink = yes", p)
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// oneLine joins the lines of a joined error.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// number is how many there are, in words.
func number(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// summary is the one line that says whether the hub does its work. That of the provider's link is worth a warning all the
// time, but no alarm.
func (h *Hub) summary(s status.Snapshot) (string, bool) {
	problems := s.Problems
	if n := len(problems); n > 0 && problems[n-1] == onLinkWarning {
		problems = problems[:n-1]
	}
	working := fmt.Sprintf("%d of %s up, %s", s.Hub.SitesUp, number(len(s.Sites), "site"), number(s.Hub.Leases, "lease"))
	switch {
	case !h.applied && h.applyErr == nil:
		return "starting: " + working, false
	case !h.applied:
		return "down: " + problems[0], false
	case len(problems) > 0:
		return "degraded: " + problems[0], h.applyErr == nil
	}
	return "up: " + working, true
}
