// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"time"

	"oasis6/config"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
	"oasis6/internal/dnsprobe"
	"oasis6/router"
)

func runCommand() command {
	return command{
		name: "run", topic: topicBox,
		short: "be the box: bring IPv6 from the hub to the LAN",
		long: `Runs in the foreground until a signal ends it:
  SIGTERM, SIGINT  stop for good: hosts are told, the kernel is put back
  SIGUSR2          leave for a successor: the LAN notices nothing
  SIGHUP           read the configuration again, keeping tunnel and addresses
One box runs in a network namespace, whatever its --run folder:
a second is refused.`,
		setup: func(o *options) action {
			var (
				b  daemon
				lo logOptions
			)
			configOption(o, &b.config)
			lanOption(o, &b.lan)
			o.text(&b.state, option{long: "state", arg: "DIR", usage: "folder of what must survive a reboot", def: defaultState})
			runOption(o, &b.run)
			lo.declare(o)
			return func(_ context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				b.log = lo.logger(e.stderr)
				// First of all: a signal during the start must not kill the box, or be lost.
				commands, done := signals(b.log)
				defer done()
				cfg, err := b.load(config.CreateKey)
				if err != nil {
					return err
				}
				return b.serve(cfg, commands)
			}
		},
	}
}

// daemon is what `oasis6 run` was asked for.
type daemon struct {
	config string
	lan    string // --lan, replaces the file's LANs; empty: as the file says
	state  string
	run    string
	log    *slog.Logger

	forwards, userspace bool // there is a data plane, and which
}

// load reads the configuration and logs its notices.
func (b *daemon) load(opts ...config.Option) (*config.Config, error) {
	cfg, notices, err := config.Load(b.config, append(opts, config.RequireLAN, config.OnlyLAN(b.lan))...)
	for _, n := range notices {
		b.log.Info("configuration", "notice", n.String())
	}
	if withUserspace && err == nil && b.forwards && wantsUserspace(cfg) != b.userspace {
		return nil, errors.New("another Dataplane needs a restart")
	}
	return cfg, configFailure(err)
}

// garbagePercent of the live heap may be garbage before it is collected. Most of the heap are packet buffers that wireguard-go
// holds ready and never touches; with Go's 100 the same again would be touched by garbage, 26 MB of a board's memory. A
// collection has little to look at and takes a millisecond.
const garbagePercent = 10

// settled is how long after the start there is a prefix, as a rule, and the LANs have been told.
const settled = 5 * time.Second

// serve runs the box until it is told to stop.
func (b *daemon) serve(cfg *config.Config, commands <-chan control.Command) (err error) {
	debug.SetGCPercent(garbagePercent)
	// What the start has touched and needs no more goes back: by itself it would stay as long as the buffers are held ready.
	tidy := time.AfterFunc(settled, debug.FreeOSMemory)
	defer tidy.Stop()
	// The socket comes first: its lock is what keeps a second box from touching anything.
	box := newControls()
	srv, err := control.Listen(socketPath(b.run), box.methods())
	if err != nil {
		return err
	}
	defer func() {
		box.end(err)
		err = errors.Join(err, srv.Close())
	}()

	bootID := bootclock.BootID()
	plane, err := b.openPlane(cfg, bootID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Close()) }()
	tunnel, err := b.openTunnel(cfg, plane)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tunnel.Close()) }()
	timer, err := bootclock.NewTimer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, timer.Close()) }()

	r, err := router.New(router.Options{
		Config: cfg, Tunnel: tunnel, Plane: plane, Clock: bootTimer{timer},
		Rand: rand.Float64, Wall: time.Now, BootID: bootID, State: b.state, Log: b.log,
		Version: buildVersion(), Takeover: plane.TookOver(), Commands: commands,
		// A reload makes no key: a key file that has gone is a mistake, and a new identity would hide it.
		Reload: func() (*config.Config, error) { return b.load() },
		ProbeDNS: func(ctx context.Context, server netip.Addr) bool {
			return dnsprobe.Answers(ctx, netip.AddrPortFrom(server, dnsprobe.Port))
		},
	})
	if err != nil {
		return err
	}
	snapshot := snapshotter(r.Snapshot)
	if withUserspace {
		snapshot = b.snapshots(snapshot, plane)
	}
	box.open(snapshot, func() (released bool, how string) {
		left, err := r.Leave(context.Background()) // it ends with Run, whatever becomes of the client
		if err != nil {
			return false, err.Error()
		}
		return left.Released, left.How
	})
	return r.Run(context.Background())
}

// bootTimer is bootclock as the router wants it.
type bootTimer struct{ t *bootclock.Timer }

func (b bootTimer) Now() time.Time         { return bootclock.Now() }
func (b bootTimer) Set(at time.Time) error { return b.t.Set(at) }
func (b bootTimer) C() <-chan struct{}     { return b.t.C }
