// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6/client"
	"oasis6/dhcpv6/server"
	"oasis6/ra"
	"oasis6/tun"
	"oasis6/tun/health"
)

// restoreTimeout bounds putting the kernel back: the whole stop must fit into 3 s.
const restoreTimeout = 2 * time.Second

// stop leaves for good: hosts are told first, then everything of ours goes.
func (r *Router) stop(ctx context.Context, now time.Time) error {
	for _, l := range r.lans {
		r.endLAN(now, l, forGood)
	}
	r.stepClient(now, client.Stop{})
	r.saveAll(now)
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	if err := r.opt.Plane.Restore(ctx); err != nil {
		return fmt.Errorf("kernel not wholly put back: %w", err)
	}
	return nil
}

// Leave gives the lease back to the server and stops the box for good. It returns when the kernel has been put back;
// the error is that of ctx, or says that the box ended in another way.
func (r *Router) Leave(ctx context.Context) (client.Left, error) {
	select {
	case r.leaves <- struct{}{}:
	case <-r.done:
	case <-ctx.Done():
		return client.Left{}, ctx.Err()
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return client.Left{}, ctx.Err()
	}
	if r.left == nil {
		return client.Left{}, errors.New("the box was stopped before the server answered")
	}
	return *r.left, nil
}

// leave begins to give the lease back: the prefixes go from LAN and kernel first.
func (r *Router) leave(now time.Time) {
	if r.leaving {
		return
	}
	r.journal.Info("leaving for good")
	r.leaving, r.replan = true, true
	if r.client == nil {
		r.left = &client.Left{Released: true, How: "the prefix is a static one, there was no lease to release"}
		r.logLeft()
		return
	}
	r.stepClient(now, client.Leave{})
	r.saveLease(now) // whatever the budget: a released lease must not come back
}

// logLeft says how leaving has ended.
func (r *Router) logLeft() {
	if r.left.Released {
		r.journal.Info("left", "how", r.left.How)
	} else {
		r.journal.Warn("left, but the lease was not given back", "how", r.left.How)
	}
}

// handOver leaves everything to a successor: the LAN notices nothing.
func (r *Router) handOver(now time.Time) {
	for _, l := range r.lans {
		r.endLAN(now, l, forSuccessor)
	}
	r.stepClient(now, client.Stop{})
	r.saveAll(now)
}

// saveAll writes what has been put off.
func (r *Router) saveAll(now time.Time) {
	r.saveLease(now)
	if !r.memory.wake.IsZero() {
		r.saveMemory(now)
	}
	r.stepServer(now, server.Stop{})
	r.saveBindings(now)
}

// reload takes a new configuration over, or refuses it whole and keeps the old one.
func (r *Router) reload(now time.Time) {
	r.reloads = ""
	cfg, err := r.opt.Reload()
	if err == nil {
		err = r.take(now, cfg)
	}
	if err != nil {
		r.reloads = err.Error()
		r.journal.Error("configuration not reloaded, the old one goes on", "err", err.Error())
		return
	}
	r.journal.Info("configuration reloaded")
}

func (r *Router) take(now time.Time, cfg *config.Config) error {
	if cfg.Prefix.Source != r.cfg.Prefix.Source {
		return errRestart("[Prefix] Source")
	}
	if cfg.Interface.Name != r.cfg.Interface.Name {
		return errRestart("[Interface] Name")
	}
	if err := r.opt.Tunnel.Reconfigure(TunnelConfig(cfg)); err != nil {
		return err
	}
	if cfg.Peers[0].PublicKey != r.cfg.Peers[0].PublicKey {
		r.newHub(now)
	}
	r.cfg = cfg
	r.setULA()
	r.setLANs(now)
	for _, l := range r.lans {
		r.serveLAN(now, l)
	}
	r.replan = true // plan and LANs must fit each other, whatever fails below
	if err := r.opt.Plane.Watch(r.watched()); err != nil {
		return err
	}
	r.askAsToldBy(now)
	return nil
}

// newHub forgets how the old hub was: the new one has the time of a takeover to answer, and then is asked
// whether it knows the lease.
func (r *Router) newHub(now time.Time) {
	r.health = health.New(r.opt.Rand)
	r.state, r.stateSince, r.everUp = health.Connecting, now, false
	r.aliveUntilBy = now.Add(takeoverGrace)
	r.stepReceiver(now, ra.LinkDown{})
	r.stepClient(now, client.LinkDown{})
	r.sampleTunnel(now)
}

type errRestart string

func (e errRestart) Error() string {
	return string(e) + " cannot change while running: restart the box"
}

// TunnelConfig is the tunnel's part of a configuration.
func TunnelConfig(cfg *config.Config) tun.Config {
	i := cfg.Interface
	t := tun.Config{
		Name: i.Name, PrivateKey: i.PrivateKey, ListenPort: i.ListenPort, FwMark: i.FwMark,
		MTU: i.MTU, LinkLocal: i.LinkLocal,
	}
	if !t.LinkLocal.IsValid() {
		t.LinkLocal = i.PrivateKey.Public().LinkLocal()
	}
	if len(cfg.Peers) == 0 {
		return t
	}
	p := cfg.Peers[0]
	t.Peer = tun.Peer{
		Public: p.PublicKey, Preshared: p.PresharedKey, Endpoint: p.Endpoint,
		AllowedIPs: tunnelAllowedIPs(cfg), Keepalive: p.Keepalive, LinkLocal: p.LinkLocal,
	}
	if !t.Peer.LinkLocal.IsValid() {
		t.Peer.LinkLocal = p.PublicKey.LinkLocal()
	}
	return t
}
