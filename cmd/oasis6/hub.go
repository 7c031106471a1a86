// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/dataplane/kernel"
	"oasis6/hub"
	"oasis6/hub/store"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
	"oasis6/tun"
)

func hubCommand() command {
	return command{
		name: "hub", args: "[leases | remove NAME]", topic: topicHub,
		short: "be the hub: delegate prefixes to many sites",
		long: `Runs in the foreground until a signal ends it:
  SIGTERM, SIGINT  stop for good: sites are told, the kernel is put back
  SIGUSR2          leave for a successor: forwarding state stays
  SIGHUP           read the configuration again, keeping all sessions and leases
leases      list what sites have, of a running hub or out of its store
remove NAME take out a site that joined by an invitation, or an invitation
Leases outlast restarts and reboots in --state.`,
		setup: func(o *options) action {
			var (
				d      hubDaemon
				lo     logOptions
				asJSON bool
			)
			configOption(o, &d.config)
			o.toggle(&asJSON, option{long: "json", usage: "leases as one JSON object"})
			o.text(&d.state, option{long: "state", arg: "DIR", usage: "folder of what must survive a reboot", def: defaultState})
			runOption(o, &d.run)
			lo.declare(o)
			return func(ctx context.Context, e env, args []string) error {
				d.log = lo.logger(e.stderr)
				switch {
				case len(args) == 0 && !asJSON:
					return d.start()
				case len(args) == 1 && args[0] == "leases":
					return d.listLeases(ctx, e, asJSON)
				case len(args) == 2 && args[0] == "remove" && !asJSON:
					return removeSite(ctx, e, d.run, args[1])
				}
				return usageError{"want leases, remove NAME, or nothing; --json is for leases"}
			}
		},
	}
}

// hubDaemon is what `oasis6 hub` was asked for.
type hubDaemon struct {
	config, state, run string
	log                *slog.Logger
}

func (d *hubDaemon) load(opts ...config.Option) (*config.HubConfig, error) {
	cfg, notices, err := config.LoadHub(d.config, opts...)
	for _, n := range notices {
		d.log.Info("configuration", "notice", n.String())
	}
	return cfg, fileFailure(err, "write one with [Interface] and [Hub], and a [Peer] for each site that does not come by an invitation")
}

func (d *hubDaemon) start() error {
	// First of all: a signal during the start must not kill the hub, or be lost.
	commands, done := signals(d.log)
	defer done()
	cfg, err := d.load(config.CreateKey)
	if err != nil {
		return err
	}
	return d.serve(cfg, commands)
}

// serve runs the hub until it is told to stop.
func (d *hubDaemon) serve(cfg *config.HubConfig, commands <-chan control.Command) (err error) {
	growHeap()
	controls := newHubControls()
	// A second hub finds the store in use: then nothing is to be left of the folders that are its own.
	clean := newFolders(d.run, d.state)
	defer func() {
		if errors.Is(err, store.ErrInUse) {
			clean()
		}
	}()
	// The socket comes first: its lock is what keeps a second one from touching anything.
	srv, err := control.Listen(socketPath(d.run), controls.methods())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	ctx := context.Background()
	leases, damage, err := store.OpenFile(ctx, filepath.Join(d.state, storeFile))
	if err != nil {
		return fmt.Errorf("store of leases: %w", err)
	}
	defer func() { err = errors.Join(err, leases.Close()) }()
	bootID := bootclock.BootID()
	plane, err := kernel.Open(kernel.Options{RunDir: d.run, Log: d.log, BootID: bootID})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Close()) }()
	tunnel, err := tun.OpenHub(hub.TunnelConfig(cfg), d.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tunnel.Close()) }()
	timer, err := bootclock.NewTimer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, timer.Close()) }()
	opt := hub.Options{
		Config: cfg, Tunnel: tunnel, Plane: plane, Store: leases, Clock: bootTimer{timer}, Rand: rand.Float64, Wall: time.Now,
		BootID: bootID, Log: d.log, Version: buildVersion(), Commands: commands,
		OnLink: onLink(cfg.Interface.Name),
		Reload: func() (*config.HubConfig, error) { return d.load() },
	}
	if damage != nil {
		opt.Damaged = damage.Error()
	}
	h, err := hub.New(ctx, opt)
	if err != nil {
		return err
	}
	defer keepHeap()()
	controls.open(h)
	return h.Run(ctx)
}

// newFolders notes which of these folders do not exist yet. What it returns removes those, if there is nothing in them but the
// lock of a control socket: a folder that nobody else knows.
func newFolders(paths ...string) (remove func()) {
	missing := slices.DeleteFunc(paths, func(p string) bool { _, err := os.Lstat(p); return err == nil })
	return func() {
		for _, p := range missing {
			_ = os.Remove(strings.TrimSuffix(socketPath(p), ".sock") + ".lock")
			_ = os.Remove(p) // one that was not made, or is not empty, stays as it is
		}
	}
}

// storeFile is in the state folder.
const storeFile = "hub.db"

// onLink gives the global prefixes of the machine's interfaces but the tunnel: what is on a link here cannot be a site's.
// Where the kernel does not say it is as it was: a prefix that looked free for a moment would be given away.
func onLink(tunnel string) func() []netip.Prefix {
	var last []netip.Prefix
	return func() []netip.Prefix {
		if here, err := hubHere(tunnel); err == nil {
			last = here.OnLink
		}
		return slices.Clone(last)
	}
}

// hubHere is what this machine has beside the tunnel.
func hubHere(tunnel string) (here hub.Here, err error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return here, err
	}
	for _, i := range ifaces {
		if i.Name == tunnel {
			continue
		}
		here.Links = append(here.Links, i.Name)
		addrs, err := i.Addrs()
		if err != nil {
			return here, err
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().Is6() && p.Addr().IsGlobalUnicast() {
				here.OnLink = append(here.OnLink, p)
			}
		}
	}
	return here, nil
}
