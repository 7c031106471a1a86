// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6/client"
	"oasis6/status"
	"oasis6/tun/health"
)

// Patience before the summary stops saying "starting" and begins to say what is wrong.
const (
	handshakePatience = 10 * time.Second
	prefixPatience    = 10 * time.Second // a few Solicits
)

// snapshot describes the box for `oasis6 status`.
func (r *Router) snapshot(now time.Time) status.Snapshot {
	s := status.Snapshot{
		Version: r.opt.Version, Role: "run",
		UptimeS:   status.Seconds(now.Sub(r.started)),
		Tunnel:    r.tunnelStatus(now),
		Prefixes:  r.prefixStatus(now),
		DHCPv6:    r.dhcpStatus(now),
		LANs:      r.lanStatus(now),
		Neighbors: r.neighborStatus(),
		Sites:     []status.Site{},
		Events:    r.journal.Events(),
	}
	s.Problems = r.problems(now)
	s.Summary, s.Ready = r.summary(now, s.Problems)
	return s
}

func (r *Router) tunnelStatus(now time.Time) status.Tunnel {
	t := r.opt.Tunnel.Snapshot()
	p := status.Peer{
		PublicKey: t.Peer.String(), Endpoint: addrPortString(t.Endpoint), Carrier: "udp",
		HandshakeAgeS: status.Never, RxBytes: t.RxBytes, TxBytes: t.TxBytes,
	}
	if len(r.cfg.Peers) > 0 {
		p.Name = r.cfg.Peers[0].Name
	}
	if !t.HandshakeAt.IsZero() {
		p.HandshakeAgeS = status.Seconds(now.Sub(t.HandshakeAt))
	}
	return status.Tunnel{
		Interface: t.Interface, PublicKey: t.PublicKey.String(), LinkLocal: t.LinkLocal.String(), MTU: t.MTU,
		State: r.state.String(), Peers: []status.Peer{p},
	}
}

// preferred says whether any delegation may still be used for something new.
func (r *Router) preferred(now time.Time) bool {
	return slices.ContainsFunc(r.client.Lease().Prefixes(), func(p client.Prefix) bool { return !p.Preferred.Over(now) })
}

func (r *Router) planLAN(i int) LANPlan {
	if i < len(r.plan.LANs) {
		return r.plan.LANs[i]
	}
	return LANPlan{}
}

// problems lists what is wrong, the cause before its consequences.
func (r *Router) problems(now time.Time) []string {
	ps := []string{}
	add := func(format string, a ...any) { ps = append(ps, fmt.Sprintf(format, a...)) }
	r.tunnelProblems(now, add)
	if r.state == health.Up && r.cfg.Prefix.Source == config.DHCPv6 && !r.leaving {
		switch ds := r.plan.Desired.Firewall.Delegations; {
		case len(ds) == 0:
			r.dhcpProblem(now, add)
		case !r.preferred(now):
			add("prefix %s is deprecated: the hub does not renew it (%s)", ds[0], r.client.Status().State)
		default:
			r.leaseProblem(now, add)
		}
	}
	ps = append(ps, r.plan.Problems...)
	for _, l := range r.lans {
		r.lanProblems(l, add)
	}
	if r.applyErr != nil {
		add("the kernel refuses what the box needs: %s", oneLine(r.applyErr))
	}
	if r.drift.Fighting() {
		add("another program keeps changing the kernel state of this box (%d times): see the events for what, and stop it", r.drift.N())
	}
	if r.reloads != "" {
		add("last reload refused: %s", r.reloads)
	}
	for _, why := range []string{r.store.failed, r.memory.failed, r.server.failed} {
		if why != "" {
			add("state cannot be saved: %s", why)
			break
		}
	}
	return ps
}

// oneLine joins the lines of a joined error.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (r *Router) tunnelProblems(now time.Time, add func(string, ...any)) {
	t := r.opt.Tunnel.Snapshot()
	hub := t.EndpointName
	if hub == "" {
		hub = t.Peer.String()
	}
	if a := addrPortString(t.Endpoint); a != "" && a != hub {
		hub = fmt.Sprintf("%s (%s)", hub, a)
	}
	since := now.Sub(r.stateSince).Round(time.Second)
	switch {
	case t.PeerMissing:
		add("hub %s was removed from interface %s by somebody else (wg set?): a reload (SIGHUP) brings it back", hub, t.Interface)
	case t.ResolveError != "" && !t.Endpoint.IsValid():
		add("the hub's name cannot be resolved: %s", t.ResolveError)
	case r.state == health.Up:
	case t.SendError != "":
		add("datagrams to hub %s do not leave: %s", hub, t.SendError)
	case r.everUp:
		add("no answer from hub %s for %s: trying every 5 s", hub, since)
	case now.Sub(r.started) > handshakePatience:
		add("hub %s has never answered: check Endpoint, both public keys, the clock (%s) and that UDP gets through", hub, r.opt.Wall().UTC().Format("2006-01-02 15:04 MST"))
	}
}

func (r *Router) dhcpProblem(now time.Time, add func(string, ...any)) {
	st := r.client.Status()
	switch {
	case st.Received == 0 && now.Sub(r.stateSince) > prefixPatience:
		add("the hub does not answer DHCPv6 (%d messages sent): is a server running on the hub's end of the tunnel, and does the hub have %s/128 in this site's allowed-ips?",
			st.Sent, r.opt.Tunnel.Snapshot().LinkLocal)
	case st.Received > 0 && st.LastError != "":
		add("no prefix: %s", st.LastError)
	}
}

// leaseProblem says what is wrong with a lease that is in use all the same, and until when.
func (r *Router) leaseProblem(now time.Time, add func(string, ...any)) {
	st := r.client.Status()
	if st.LastError == "" {
		return
	}
	ps := st.Lease.Prefixes()
	if len(ps) == 0 {
		return
	}
	if ps[0].Unconfirmed {
		add("%s; %s is not confirmed since the reboot, hosts are told of it for %d minutes at a time", st.LastError, ps[0].Prefix, client.UnconfirmedLifetime/time.Minute)
		return
	}
	until := "without end"
	if at, ends := ps[0].Valid.Time(); ends {
		until = "for another " + at.Sub(now).Round(time.Second).String()
	}
	add("%s; %s stays valid %s", st.LastError, ps[0].Prefix, until)
}

// summary is the one line that says whether IPv6 works, and why not.
func (r *Router) summary(now time.Time, problems []string) (string, bool) {
	var working string
	for i, l := range r.lans {
		for _, s := range r.planLAN(i).Subnets {
			if working == "" && lanState(l.link) == "up" && l.sockets[serviceND].err == "" && l.sender.Clash() == "" && !s.Preferred.Over(now) && r.planLAN(i).Content.DefaultRouter {
				working = fmt.Sprintf("%s on %s", s.Prefix, l.name)
			}
		}
	}
	cause := func(alternative string) string {
		r.tunnelProblems(now, func(format string, a ...any) { alternative = fmt.Sprintf(format, a...) })
		return alternative
	}
	if r.leaving {
		return "down: leaving: hosts are told, and what came by DHCPv6 is given back to the hub", false
	}
	works := working != "" && r.state == health.Up && r.applyErr == nil && !r.drift.Fighting()
	switch {
	case works && len(problems) == 0:
		return "up: " + working, true
	case works:
		return "degraded: " + problems[0], true
	case r.state == health.Up && len(problems) > 0:
		return "degraded: " + problems[0], false
	case r.state == health.Up:
		return "starting: tunnel is up, asking the hub for a prefix", false
	case r.everUp || r.state == health.Down:
		return "down: " + cause("the tunnel is dead"), false
	}
	waiting := "waiting for the hub's first answer"
	if t := r.opt.Tunnel.Snapshot(); t.EndpointName != "" && !t.Endpoint.IsValid() {
		waiting = "looking up the hub's address: " + t.EndpointName
	}
	return "starting: " + cause(waiting), false
}
