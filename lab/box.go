// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"oasis6/config"
	"oasis6/dataplane/netstack"
	"oasis6/internal/control"
	"oasis6/internal/wgkey"
	"oasis6/lab/nat"
	"oasis6/lab/wire"
	"oasis6/router"
	"oasis6/status"
)

// box is a site's router: `oasis6 run` without a kernel. Its IPv4 half, v4, is there also while oasis6 does not run.
// Only the engine's goroutine may call it.
type box struct {
	w     *World
	name  string
	key   wgkey.Private
	lans  map[string]wire.End // by interface
	v4    *nat.Node
	extra string // lines for the end of its configuration
	files *memoryFiles
	boots int
	*process
}

// process is one run of oasis6 in a box.
type process struct {
	plane    *netstack.Plane
	tunnel   tunnelEnd
	router   *router.Router
	commands chan control.Command
	done     chan struct{}
	err      error // after done
	cut      func()
	// endRelays is for when the loop has ended.
	endRelays func()
}

// text is the box's configuration.
func (b *box) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "[Interface]\nPrivateKey = %s\n\n[Peer]\nPublicKey = %s\nEndpoint = %s:%d\nAllowedIPs = ::/0\nPersistentKeepalive = 25\n",
		b.key.Reveal(), b.w.hub.key.Public(), addr4(r2Addr4), hubPort)
	for _, name := range sortedKeys(b.lans) {
		fmt.Fprintf(&s, "\n[LAN]\nInterface = %s\n", name)
	}
	return s.String() + b.extra
}

// start switches the box on.
func (b *box) start() error {
	cfg, _, err := config.Parse(b.name+".conf", strings.NewReader(b.text()))
	if err != nil {
		return err
	}
	b.boots++
	name := fmt.Sprintf("%s boot %d", b.name, b.boots)
	e := b.w.Engine
	log := b.w.logger(b.name)
	p := &process{commands: make(chan control.Command, 4), done: make(chan struct{})}
	links := &gates{e: e}
	p.plane, err = netstack.Open(netstack.Options{
		Log: log, Clock: e.Clock(), Now: e.Now, Random: e.Source(name), Tunnel: cfg.Interface.Name, Identity: []byte(b.name),
		Explain: b.w.explainer(b.name, cfg.Interface.Name),
		OpenLAN: func(iface string) (netstack.Link, error) {
			end, ok := b.lans[iface]
			if !ok {
				return nil, fmt.Errorf("%s has no interface %s", b.name, iface)
			}
			return links.open(end), nil
		},
	})
	if err != nil {
		return err
	}
	if p.tunnel, err = b.w.newTunnel(b.v4, p.plane, router.TunnelConfig(cfg), name, log); err != nil {
		return errors.Join(err, p.plane.Close())
	}
	end := p.tunnel.(router.Tunnel)
	events, endEvents := relay(e, end.Events())
	plane := newRelayedPlane(e, p.plane)
	p.endRelays = func() { endEvents(); plane.end() }
	p.router, err = router.New(router.Options{
		Config: cfg, Tunnel: relayedTunnel{end, events}, Plane: plane, Clock: newLoopClock(e), Rand: e.Rand(name + " loop").Float64,
		Entropy: e.Source(name + " identity"), Wall: e.Now, BootID: name, Files: b.files, Log: log, Version: "lab", Commands: p.commands,
		ProbeDNS: func(context.Context, netip.Addr) bool { return false }, // the box answers no DNS
	})
	if err != nil {
		p.endRelays()
		return errors.Join(err, p.tunnel.Close(), p.plane.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cut = func() {
		links.shut()
		_ = p.tunnel.Close() // nothing can be done about it, and nothing leaves
		e.Post(cancel)
	}
	b.process = p
	go func() {
		defer close(p.done)
		p.err = p.router.Run(ctx)
	}()
	return nil
}

// cutPower ends oasis6 as a power cut does: nothing more leaves, and of the files stays what was written.
func (b *box) cutPower() {
	p := b.process
	if p == nil {
		return
	}
	b.process = nil
	b.files = b.files.clone()
	p.cut()
	b.w.when(p.done, func() { b.closed(p) })
}

func (b *box) closed(p *process) {
	p.endRelays()
	if err := errors.Join(p.tunnel.Close(), p.plane.Close()); err != nil {
		b.w.say(slog.LevelWarn, b.name, "not wholly closed: "+err.Error(), "")
	}
}

// on says whether oasis6 runs.
func (b *box) on() bool { return b.process != nil }

// status is what `oasis6 status` would show; false: it does not run, or has just ended.
func (b *box) status() (status.Snapshot, bool) {
	if b.process == nil {
		return status.Snapshot{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	s, err := b.router.Snapshot(ctx)
	return s, err == nil
}

// statusPatience is real time. A loop answers at once, but not one that has ended.
const statusPatience = 2 * time.Second
