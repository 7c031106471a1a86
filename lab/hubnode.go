// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dataplane/netstack"
	"oasis6/hub"
	"oasis6/hub/store"
	"oasis6/internal/control"
	"oasis6/internal/wgkey"
	"oasis6/lab/nat"
	"oasis6/lab/wire"
	"oasis6/status"
)

// uplink is the hub's interface to the IPv6 Internet.
const uplink = "eth1"

// hubNode is R2: `oasis6 hub` without a kernel. Only the engine's goroutine may call it.
type hubNode struct {
	w     *World
	key   wgkey.Private
	v4    *nat.Node
	up    wire.End
	store store.Store

	pool       string
	siteToSite bool
	preferred  time.Duration // lifetimes of delegations
	valid      time.Duration

	wanted   atomic.Pointer[string] // the text, for a reload
	plane    *netstack.Plane
	tunnel   tunnelEnd
	hub      *hub.Hub
	commands chan control.Command
	done     chan struct{}
	cancel   context.CancelFunc
	err      error // after done
	// endRelays is for when the loop has ended.
	endRelays func()
}

// text is the hub's configuration.
func (h *hubNode) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "[Interface]\nPrivateKey = %s\nListenPort = %d\n", h.key.Reveal(), hubPort)
	for _, b := range h.w.boxes {
		fmt.Fprintf(&s, "\n[Peer]\nName = %s\nPublicKey = %s\n", b.name, b.key.Public())
	}
	fmt.Fprintf(&s, "\n[Hub]\nPool = %s\nUplink = %s\nSiteLength = %d\nDNS = %s\nSearch = %s\nPreferredLifetime = %v\nValidLifetime = %v\n",
		h.pool, uplink, h.w.opt.siteLength(), netip.MustParsePrefix(dnsAddr6).Addr(), searchName, h.preferred, h.valid)
	if h.siteToSite {
		s.WriteString("SiteToSite = yes\n")
	}
	return s.String()
}

func parseHub(text string) (*config.HubConfig, error) {
	cfg, _, err := config.ParseHub("r2.conf", strings.NewReader(text))
	return cfg, err
}

func (h *hubNode) start() error {
	cfg, err := parseHub(h.text())
	if err != nil {
		return err
	}
	e, log := h.w.Engine, h.w.logger(nodeR2)
	h.plane, err = netstack.Open(netstack.Options{
		Log: log, Clock: e.Clock(), Now: e.Now, Random: e.Source(nodeR2), Tunnel: cfg.Interface.Name, Identity: []byte(nodeR2),
		Explain: h.w.explainer(nodeR2, cfg.Interface.Name),
		OpenLAN: func(name string) (netstack.Link, error) {
			if name != uplink {
				return nil, fmt.Errorf("%s has no interface %s", nodeR2, name)
			}
			return (&gates{e: e}).open(h.up), nil
		},
		Given: netstack.Given{
			Addresses: []dataplane.Address{{Iface: uplink, Prefix: netip.MustParsePrefix(r2Net6)}},
			Routes:    []dataplane.Route{{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParsePrefix(net6R2).Addr(), Iface: uplink}},
		},
	})
	if err != nil {
		return err
	}
	if h.tunnel, err = h.w.newHubTunnel(h.v4, h.plane, hub.TunnelConfig(cfg), nodeR2, log); err != nil {
		return errors.Join(err, h.plane.Close())
	}
	h.commands, h.done = make(chan control.Command, 4), make(chan struct{})
	// The loop reads what was wanted last, and asks nobody: whoever asks the loop would wait for it.
	reload := func() (*config.HubConfig, error) { return parseHub(*h.wanted.Load()) }
	end := h.tunnel.(hub.Tunnel)
	events, endEvents := relay(e, end.Events())
	plane := newRelayedPlane(e, h.plane)
	h.endRelays = func() { endEvents(); plane.end() }
	h.hub, err = hub.New(h.w.life, hub.Options{
		Config: cfg, Tunnel: relayedHub{end, events}, Plane: plane, Store: h.store, Clock: newLoopClock(e), Rand: e.Rand(nodeR2 + " loop").Float64,
		Wall: e.Now, BootID: "lab", Log: log, Version: "lab", Commands: h.commands, Reload: reload,
		OnLink: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(r2Net6)} },
	})
	if err != nil {
		h.endRelays()
		return errors.Join(err, h.tunnel.Close(), h.plane.Close())
	}
	ctx, cancel := context.WithCancel(h.w.life)
	h.cancel = cancel
	go func() {
		defer close(h.done)
		h.err = h.hub.Run(ctx)
	}()
	return nil
}

// reload is SIGHUP, after a change of the fields above. One that finds no place is not missed: those that wait read what
// is then.
func (h *hubNode) reload() {
	text := h.text()
	h.wanted.Store(&text)
	h.w.Engine.Post(func() {
		select {
		case h.commands <- control.Reload:
		default:
		}
	})
}

// status is what `oasis6 status` would show; false: it has not begun, or has just ended.
func (h *hubNode) status() (status.Snapshot, bool) {
	if h.hub == nil {
		return status.Snapshot{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	s, err := h.hub.Snapshot(ctx)
	return s, err == nil
}

func (h *hubNode) close() {
	h.w.Engine.Post(h.cancel)
	h.cancel = nil
	h.w.when(h.done, func() {
		h.endRelays()
		if err := errors.Join(h.tunnel.Close(), h.plane.Close()); err != nil {
			h.w.say(slog.LevelWarn, nodeR2, "not wholly closed: "+err.Error(), "")
		}
	})
}
