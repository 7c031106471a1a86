// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dataplane/kernel"
	"oasis6/dataplane/netstack"
	"oasis6/router"
	"oasis6/status"
	"oasis6/tun"
)

// withUserspace: this build can forward by itself.
const withUserspace = true

// boxPlane is the data plane of a box.
type boxPlane interface {
	dataplane.Plane
	TookOver() bool
}

// openPlane makes the data plane that the configuration wants.
func (b *daemon) openPlane(cfg *config.Config, bootID string) (boxPlane, error) {
	b.forwards, b.userspace = true, wantsUserspace(cfg)
	if !b.userspace {
		if err := netstack.Sweep(b.run, bootID); err != nil {
			b.log.Warn("kernel state of an earlier box in userspace not put back", "err", err)
		}
		return kernel.Open(kernel.Options{RunDir: b.run, Log: b.log, BootID: bootID})
	}
	b.log.Info("forwarding in userspace", "dataplane", cfg.Router.Dataplane.Name())
	b.sweepKernel(bootID)
	public := router.TunnelConfig(cfg).PrivateKey.Public()
	return netstack.Open(netstack.Options{
		Log: b.log, Tunnel: cfg.Interface.Name, RunDir: b.run, BootID: bootID, Identity: public[:],
	})
}

func wantsUserspace(cfg *config.Config) bool {
	switch cfg.Router.Dataplane {
	case config.DataplaneUserspace:
		return true
	case config.DataplaneAuto:
		return !kernelHasIPv6()
	}
	return false
}

// kernelHasIPv6 is false for a kernel without it, or with ipv6.disable=1.
func kernelHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf/all/forwarding")
	return !errors.Is(err, fs.ErrNotExist)
}

// sweepKernel takes back what a box with the other data plane has left in the kernel: it would forward, too.
func (b *daemon) sweepKernel(bootID string) {
	k, err := kernel.Open(kernel.Options{RunDir: b.run, Log: b.log, BootID: bootID})
	if err == nil {
		err = errors.Join(k.Restore(context.Background()), k.Close())
	}
	if err != nil {
		b.log.Warn("kernel state of an earlier box not put back", "err", err)
	}
}

// snapshots adds what the router does not know.
func (b *daemon) snapshots(of snapshotter, plane boxPlane) snapshotter {
	return func(ctx context.Context) (status.Snapshot, error) {
		s, err := of(ctx)
		s.Dataplane = config.DataplaneKernel.Name()
		if p, ok := plane.(*netstack.Plane); ok {
			c := status.Forwarding(p.Counters())
			s.Dataplane, s.Forwarding = config.DataplaneUserspace.Name(), &c
		}
		return s, err
	}
}

// openTunnel makes the tunnel on it.
func (b *daemon) openTunnel(cfg *config.Config, plane boxPlane) (*tun.Tunnel, error) {
	p, ok := plane.(*netstack.Plane)
	if !ok {
		return tun.Open(router.TunnelConfig(cfg), b.log)
	}
	return tun.OpenOn(router.TunnelConfig(cfg), p.Device(), tun.Outside{Inside: p.IsRouter, Control: true}, b.log)
}
