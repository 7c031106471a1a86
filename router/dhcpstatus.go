// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/status"
)

// prefixStatus lists the delegations, static ones first.
func (r *Router) prefixStatus(now time.Time) []status.Prefix {
	out := []status.Prefix{}
	if r.cfg.Prefix.Source == config.Static {
		out = append(out, status.Prefix{
			Prefix: r.cfg.Prefix.Static.String(), Source: "static", State: "static", PreferredS: status.Never, ValidS: status.Never, T1S: status.Never, T2S: status.Never,
		})
	}
	if r.client == nil {
		return out
	}
	st := r.client.Status()
	for _, p := range st.Lease.Prefixes() {
		if p.Valid.Over(now) {
			continue
		}
		state := leaseState(st.State)
		if p.Preferred.Over(now) {
			state = "stale"
		}
		out = append(out, status.Prefix{
			Prefix: p.Prefix.String(), Source: "dhcpv6", State: state, Server: st.Lease.Server.String(),
			PreferredS: status.Remaining(p.Preferred, now), ValidS: status.Remaining(p.Valid, now),
			T1S: status.Remaining(st.Lease.T1, now), T2S: status.Remaining(st.Lease.T2, now),
		})
	}
	return out
}

// leaseState is the state of something that is held: what else the client does meanwhile is no state of it.
func leaseState(s client.State) string {
	switch s {
	case client.Requesting, client.Renewing, client.Rebinding:
		return s.String()
	}
	return client.Bound.String()
}

func (r *Router) dhcpStatus(now time.Time) *status.DHCPv6 {
	if r.client == nil {
		return nil
	}
	st := r.client.Status()
	l := st.Lease
	d := &status.DHCPv6{
		State: st.State.String(), DUID: r.store.duid.String(), Server: l.Server.String(),
		Next: st.Next, NextS: status.Never, LastError: st.LastError, LastRefused: st.LastDrop,
		Confirmed: !l.Unconfirmed(), Reconfigure: st.Reconfigure,
		DNS: texts(l.Info.DNS), Search: l.Info.Search,
		Sent: st.Sent, Received: st.Received, Dropped: st.Dropped,
	}
	if l.ServerAddr.IsValid() {
		d.ServerAddress = l.ServerAddr.String()
	}
	for _, n := range l.Info.NTP {
		if n.Name == "" {
			n.Name = n.Addr.String()
		}
		d.NTP = append(d.NTP, n.Name)
	}
	for _, e := range l.Info.EncryptedDNS {
		d.EncryptedDNS = append(d.EncryptedDNS, e.Name)
	}
	if !st.NextAt.IsZero() {
		d.NextS = status.Seconds(max(st.NextAt.Sub(now), 0))
	}
	for _, a := range st.IAs {
		d.IAs = append(d.IAs, iaStatus(a, st, d, now))
	}
	return d
}

// iaStatus is one IA. All IAs are asked for together, so that server, times and next action are the client's.
func iaStatus(a client.IAStatus, st client.Status, d *status.DHCPv6, now time.Time) status.IA {
	ia := status.IA{
		Type: a.Type.String(), IAID: uint32(a.IAID), State: "none", Next: d.Next, NextS: d.NextS,
		T1S: status.Never, T2S: status.Never, LastError: a.LastError,
	}
	if a.Hint.IsValid() {
		ia.Wish = a.Hint.String()
	}
	switch {
	case len(a.Prefixes) > 0:
		ia.State, ia.Server = leaseState(st.State), d.Server
		ia.T1S, ia.T2S = status.Remaining(st.Lease.T1, now), status.Remaining(st.Lease.T2, now)
	case st.State == client.Soliciting || st.State == client.Requesting:
		ia.State = st.State.String()
	}
	for _, p := range a.Prefixes {
		x := status.IAPrefix{Prefix: p.Prefix.String(), PreferredS: status.Remaining(p.Preferred, now), ValidS: status.Remaining(p.Valid, now)}
		if a.Type == dhcpv6.NA {
			x.Prefix = p.Prefix.Addr().String()
		}
		if p.Exclude.IsValid() {
			x.Exclude = p.Exclude.String()
		}
		ia.Prefixes = append(ia.Prefixes, x)
	}
	return ia
}

func texts(as []netip.Addr) (out []string) {
	for _, a := range as {
		out = append(out, a.String())
	}
	return out
}
