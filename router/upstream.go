// SPDX-License-Identifier: MIT

package router

import (
	"slices"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/ip6pkt"
	"oasis6/ra"
)

// icmpTypeRA is a Router Advertisement.
const icmpTypeRA = 134

// onControlPacket takes a packet that the tap took out of the tunnel.
func (r *Router) onControlPacket(now time.Time, packet []byte) {
	if u, err := ip6pkt.ParseUDP(packet); err == nil {
		if u.Dst.Port() == dhcpv6.ClientPort {
			r.stepClient(now, client.Received{From: u.Src.Addr(), To: u.Dst.Addr(), Data: u.Payload})
		}
		return
	}
	m, err := ip6pkt.ParseICMPv6(packet)
	if err != nil || len(m.Body) == 0 {
		return
	}
	if m.Body[0] == icmpTypeRA {
		r.stepReceiver(now, ra.Received{Src: m.Src, HopLimit: int(m.HopLimit), Data: m.Body})
	}
}

// stepReceiver tells the machine that listens to routers at the other end of the tunnel.
func (r *Router) stepReceiver(now time.Time, ev ra.Event) {
	a := r.receiver.Step(now, ev)
	src := r.opt.Tunnel.Snapshot().LinkLocal
	for _, d := range a.Send {
		if err := r.opt.Tunnel.Send(ip6pkt.ICMPv6(src, d.To, ndHopLimit, d.Data)); err != nil {
			r.log.Debug("Router Solicitation not sent", "err", err)
		}
	}
	r.receiverWake = a.Wake
	r.journal.Notes(a.Notes)
	if a.Changed {
		r.replan = true // hosts may be told of what it has learned
		r.askAsToldBy(now)
	}
}

// ndHopLimit is 255: nobody behind a router can forge it (RFC 4861 section 4.1).
const ndHopLimit = 255

// wanted are the IAs that configuration and routers ask for. Their order and IAIDs follow from the
// configuration alone (RFC 9096 WPD-10).
func (r *Router) wanted() (ias []client.Wanted) {
	if r.cfg.Prefix.Source == config.DHCPv6 {
		ias = append(ias, client.Wanted{Type: dhcpv6.PD, IAID: r.store.iaid})
		for i, h := range r.cfg.Prefix.Hints {
			if i > 0 {
				ias = append(ias, client.Wanted{Type: dhcpv6.PD, IAID: r.store.iaid + dhcpv6.IAID(i)})
			}
			ias[i].Hint = h
		}
	}
	address, l := r.cfg.Prefix.RequestAddress, r.receiver.Learned()
	// RFC 7084 WAA-6: "If the [M flag is] set to 1 [...] MUST do DHCPv6 address assignment". An address of an earlier
	// process is kept until a router has spoken, or none is there.
	managed := l.Managed || r.keptAddress && !l.Heard && !l.NoRouter
	if address == config.AddressYes || address == config.AddressAuto && managed {
		ias = append(ias, client.Wanted{Type: dhcpv6.NA, IAID: r.store.iaid})
	}
	return ias
}

// asks says whether there is anything to ask a DHCPv6 server for. Beside a static prefix that is an address, or
// configuration where routers say that there is some.
func (r *Router) asks() bool {
	l := r.receiver.Learned()
	return len(r.wanted()) > 0 || l.OtherConfig || l.Managed
}

// askAsToldBy makes the client ask for what routers and configuration say now.
func (r *Router) askAsToldBy(now time.Time) {
	switch asks := r.asks(); {
	case asks && r.client == nil:
		r.startClient(now)
	case !asks && r.client != nil:
		r.stepClient(now, client.Stop{})
		r.client, r.clientWake, r.replan = nil, time.Time{}, true
		r.store.changed(now, client.Lease{})
	case r.client != nil:
		if c := r.clientConfig(); !slices.Equal(c.IAs, r.asked) {
			r.asked = c.IAs
			r.stepClient(now, client.Reconfigured{Config: c})
		}
	}
}
