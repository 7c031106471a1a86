// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"oasis6/config"
	"oasis6/dataplane/kernel"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
	"oasis6/router"
	"oasis6/tun"
)

func runCommand() command {
	return command{
		name: "run", topic: topicBox,
		short: "be the box: bring IPv6 from the hub to the LAN",
		long: `Runs in the foreground until a signal ends it:
  SIGTERM, SIGINT  stop for good: hosts are told, the kernel is put back
  SIGUSR2          leave for a successor: the LAN notices nothing
  SIGHUP           read the configuration again, keeping tunnel and addresses
A second box with the same --run folder is refused.`,
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
				cfg, err := b.load()
				if err != nil {
					return err
				}
				return b.serve(cfg)
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
}

// load reads the configuration, the key file created if it is missing, and logs its notices.
func (b *daemon) load() (*config.Config, error) {
	cfg, notices, err := config.Load(b.config, config.CreateKey, config.RequireLAN, config.OnlyLAN(b.lan))
	for _, n := range notices {
		b.log.Info("configuration", "notice", n.String())
	}
	return cfg, configFailure(err)
}

// serve runs the box until it is told to stop.
func (b *daemon) serve(cfg *config.Config) (err error) {
	// The socket comes first: its lock is what keeps a second box from touching anything.
	var r *router.Router
	ready := make(chan struct{})
	srv, err := control.Listen(socketPath(b.run), control.Methods{
		Answer: map[string]control.Handler{
			"status": func(ctx context.Context, _ json.RawMessage) (any, error) {
				select {
				case <-ready:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				return r.Snapshot(ctx)
			},
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()

	commands := make(chan router.Command, 4)
	stopSignals := b.signals(commands)
	defer stopSignals()

	_, statErr := os.Stat(filepath.Join(b.run, "kernel.json"))
	takeover := !errors.Is(statErr, fs.ErrNotExist)
	bootID := bootclock.BootID()
	plane, err := kernel.Open(kernel.Options{RunDir: b.run, Log: b.log, BootID: bootID})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plane.Close()) }()
	tunnel, err := tun.Open(router.TunnelConfig(cfg), b.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tunnel.Close()) }()
	timer, err := bootclock.NewTimer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, timer.Close()) }()

	r, err = router.New(router.Options{
		Config: cfg, Tunnel: tunnel, Plane: plane, Clock: bootTimer{timer},
		Rand: rand.Float64, Wall: time.Now, BootID: bootID, State: b.state, Log: b.log,
		Version: buildVersion(), Takeover: takeover, Reload: b.load, Commands: commands,
	})
	if err != nil {
		return err
	}
	close(ready)
	return r.Run(context.Background())
}

// signals turns signals into commands until the returned function is called.
func (b *daemon) signals(commands chan<- router.Command) (stop func()) {
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case s := <-ch:
				b.log.Info("signal", "what", s.String())
				select {
				case commands <- commandOf(s):
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
		<-ended
	}
}

func commandOf(s os.Signal) router.Command {
	switch s {
	case syscall.SIGHUP:
		return router.Reload
	case syscall.SIGUSR2:
		return router.Leave
	}
	return router.Stop
}

// bootTimer is bootclock as the router wants it.
type bootTimer struct{ t *bootclock.Timer }

func (b bootTimer) Now() time.Time         { return bootclock.Now() }
func (b bootTimer) Set(at time.Time) error { return b.t.Set(at) }
func (b bootTimer) C() <-chan struct{}     { return b.t.C }
