// SPDX-License-Identifier: MIT

//go:build small

package main

import (
	"oasis6/config"
	"oasis6/dataplane/kernel"
	"oasis6/router"
	"oasis6/tun"
)

// withUserspace: this build has the kernel alone.
const withUserspace = false

// boxPlane is the data plane of a box: in this build, the kernel.
type boxPlane = *kernel.Plane

func (b *daemon) openPlane(_ *config.Config, bootID string) (boxPlane, error) {
	return kernel.Open(kernel.Options{RunDir: b.run, Log: b.log, BootID: bootID})
}

func (b *daemon) openTunnel(cfg *config.Config, _ boxPlane) (*tun.Tunnel, error) {
	return tun.Open(router.TunnelConfig(cfg), b.log)
}

// What follows is not called in this build.

func wantsUserspace(*config.Config) bool { return false }

func (b *daemon) snapshots(of snapshotter, _ boxPlane) snapshotter { return of }
