// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/lifetime"
	"oasis6/ra"
	"oasis6/tun"
	"oasis6/tun/health"
)

// dhcpHopLimit: the hub is one hop away.
const dhcpHopLimit = 64

func staticDelegation(p netip.Prefix) Delegation {
	return Delegation{Prefix: p, Preferred: lifetime.Forever, Valid: lifetime.Forever}
}

// delegations are our prefixes with what came along, from the file or from the lease.
func (r *Router) delegations() (ds []Delegation, as []Address, info client.Info) {
	if r.leaving {
		return nil, nil, info
	}
	if r.cfg.Prefix.Source == config.Static {
		ds = append(ds, staticDelegation(r.cfg.Prefix.Static))
	}
	if r.client == nil {
		return ds, nil, info
	}
	lease := r.client.Lease()
	for _, p := range lease.Prefixes() {
		ds = append(ds, Delegation{Prefix: p.Prefix, Exclude: p.Exclude, Preferred: p.Preferred, Valid: p.Valid, Unconfirmed: p.Unconfirmed})
	}
	for _, a := range lease.Addresses() {
		as = append(as, Address{Addr: a.Prefix.Addr(), Preferred: a.Preferred, Valid: a.Valid})
	}
	return ds, as, lease.Info
}

// startDHCPv6 opens the store, and makes the client if there is anything to ask for.
func (r *Router) startDHCPv6(now time.Time) {
	r.store = newStore(r.opt.Files, r.opt.Wall, r.opt.BootID)
	kept, err := r.store.load(now)
	if err != nil {
		r.journal.Warn("lease file unusable, starting without it", "err", err.Error())
	}
	r.kept, r.keptAddress = kept, len(kept.lease.Addresses()) > 0
	if r.asks() {
		r.startClient(now)
	}
}

// startClient makes the client, with the lease of an earlier process if there is one. Its identity is on the disk
// before anybody hears it; where that cannot be, it is made of the key, so that it is the same at the next start.
func (r *Router) startClient(now time.Time) {
	s := r.store
	if s.duid, s.iaid = r.kept.duid, r.kept.iaid; s.duid == "" {
		key := r.cfg.Interface.PrivateKey.Public()
		s.duid, s.iaid = newDUID(key, r.opt.Entropy), dhcpv6.DefaultIAID
		if r.saveLease(now); s.failed != "" {
			s.duid = dhcpv6.DUIDFromPublicKey(key)
		}
		r.kept = kept{duid: s.duid, iaid: s.iaid}
	}
	c := r.clientConfig()
	r.asked = c.IAs
	r.client = client.New(c, r.opt.Rand)
	if r.kept.lease.Server != "" {
		r.stepClient(now, client.Restored{Lease: r.kept.lease})
		r.kept.lease = client.Lease{}
	}
	if r.state == health.Up {
		r.stepClient(now, client.LinkUp{})
	}
}

func (r *Router) clientConfig() client.Config {
	return client.Config{DUID: r.store.duid, IAs: r.wanted(), PointToPoint: true, LossyLink: true}
}

func (r *Router) stepClient(now time.Time, ev client.Event) {
	if r.client == nil {
		return
	}
	a := r.client.Step(now, ev)
	if a.Persist != nil {
		r.store.changed(now, *a.Persist)
		if r.store.due(now) {
			r.saveLease(now)
		}
	}
	if a.Changed {
		r.replan = true
	}
	r.unsent = append(r.unsent, a.Send...)
	if a.Left != nil {
		r.left = a.Left
		r.logLeft()
	}
	r.clientWake = a.Wake
	r.journal.Notes(a.Notes)
}

// sendDHCPv6 sends what the client's steps gave, after the plan has been carried out: what a Release gives back is
// then in use no longer.
func (r *Router) sendDHCPv6() {
	src := r.opt.Tunnel.Snapshot().LinkLocal
	for _, m := range r.unsent {
		p := ip6pkt.UDP(src, client.AllServers, dhcpv6.ClientPort, dhcpv6.ServerPort, dhcpHopLimit, m)
		if err := r.opt.Tunnel.Send(p); err != nil {
			r.log.Debug("DHCPv6 message not sent", "err", err)
		}
	}
	r.unsent = nil
}

func (r *Router) saveLease(now time.Time) {
	r.reportSave(&r.store.failed, r.store.save(now), "state not saved: a restart may lose the prefix")
}

// onTunnel takes what the tunnel's goroutines saw.
func (r *Router) onTunnel(now time.Time, ev tun.Event) error {
	switch ev := ev.(type) {
	case tun.Received:
		r.onControlPacket(now, ev.Packet)
	case tun.Handshake:
		r.onHandshake(now)
	case tun.Activity:
		r.sampleTunnel(now)
	case tun.MTUChanged:
		r.journal.Info("tunnel MTU changed", "mtu", itoa(ev.MTU))
		r.replan = true
	case tun.EndpointChanged:
		r.journal.Info("hub endpoint changed", "peer", addrPortString(ev.AddrPort))
		r.stepHealth(now, health.EndpointReady{})
		r.replan = true
	case tun.Failed:
		return fmt.Errorf("%w: %w", ErrTunnelFailed, ev.Err)
	}
	return nil
}

// sessionLife is REJECT_AFTER_TIME of WireGuard: no packet has passed for so long without a handshake, so that one
// after a longer time ends a silence.
const sessionLife = 180 * time.Second

const (
	// calledFor is how long after it was begun a handshake may complete that was begun for silence: initiations are 5 s
	// apart, and after 12.5 s the tunnel is called dead.
	calledFor = 2 * health.InitiateEvery
	// callsApart is how long the one before must be past for such a handshake to mean something. A hub that answers no
	// echo requests is called every half a minute while nobody uses the tunnel, and a path that loses much as often.
	callsApart = 5 * time.Minute
)

// onHandshake tells the client what a handshake means for it: after a silence the hub may have lost its memory,
// or be another one; a routine one shows that packets get through. A silence of 5 s that a handshake ends is one, too, where
// there seldom is one: the hub did not know the session any more, or the path was away.
func (r *Router) onHandshake(now time.Time) {
	was, silence := r.state, now.Sub(r.handshakeAt)
	called := !r.called.IsZero() && now.Sub(r.called) < calledFor
	r.handshakeAt, r.called = now, time.Time{}
	r.sampleTunnel(now)
	switch {
	case was != health.Up || r.state != health.Up: // a change of state says it all
	case silence > sessionLife || called:
		r.stepReceiver(now, ra.LinkUp{})
		r.stepClient(now, client.LinkUp{})
	default:
		r.stepClient(now, client.Reachable{})
	}
}

// sampleTunnel shows the tunnel's counters to the health machine.
func (r *Router) sampleTunnel(now time.Time) {
	r.sample = r.opt.Tunnel.Sample()
	r.stepHealth(now, health.Sampled{Sample: r.sample})
}

func (r *Router) stepHealth(now time.Time, ev health.Event) {
	a := r.health.Step(now, ev)
	r.healthWake = a.Wake
	if a.Initiate && a.State == health.Up {
		if r.lastCall.IsZero() || now.Sub(r.lastCall) > callsApart {
			r.called = now
		}
		r.lastCall = now
	}
	r.opt.Tunnel.Perform(a, r.sample)
	r.journal.Notes(a.Notes)
	if a.State == r.state {
		return
	}
	old := r.state
	r.state, r.stateSince, r.replan = a.State, now, true
	switch {
	case a.State == health.Up:
		if !r.everUp {
			r.firstUntil = now.Add(firstPrefixPatience)
		}
		r.everUp, r.aliveUntilBy = true, time.Time{}
		r.stepReceiver(now, ra.LinkUp{})
		r.stepClient(now, client.LinkUp{})
	case a.State == health.Down && old != health.Down:
		r.aliveUntilBy = time.Time{}
		r.stepReceiver(now, ra.LinkDown{})
		r.stepClient(now, client.LinkDown{})
	}
}
