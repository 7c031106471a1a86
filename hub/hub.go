// SPDX-License-Identifier: MIT

// Package hub is R2: many sites on one WireGuard device, a DHCPv6 server that delegates prefixes to them, Router
// Advertisements for each, and forwarding.
//
// A lease owns its route, its allowed-ips and its source filter: hub/pd decides who has what, hub/store keeps it, and
// the loop here carries it out in a fixed order. It must not know netlink. Start at Make for what the kernel shall
// look like, then at Run and settle.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/hub/enroll"
	"oasis6/hub/pd"
	"oasis6/hub/store"
	"oasis6/internal/control"
	"oasis6/internal/drift"
	"oasis6/internal/retry"
	"oasis6/internal/wgkey"
	"oasis6/status"
	"oasis6/tun"
)

// Tunnel is what the loop needs of the WireGuard device. Methods are called from the loop only, but for Sites, which may
// take long; none of the others waits for the network.
type Tunnel interface {
	Events() <-chan tun.Event
	// Send takes a whole IPv6 packet for the site that its destination is of; the packet belongs to the tunnel then.
	Send(packet []byte) error
	SetSites([]tun.Site) error
	SetAllowed([]tun.Allowed) error
	Sites() (map[wgkey.Public]tun.Reading, error)
	Initiate(wgkey.Public) bool
	Reconfigure(tun.HubConfig) error
	Snapshot() tun.HubSnapshot
}

// Clock is the boot clock with its one timer. C may deliver a value too many, never one too few.
type Clock interface {
	Now() time.Time
	Set(at time.Time) error // the zero Time stops the timer
	C() <-chan struct{}
}

// Options is everything a Hub is made of. All fields but Reload and Commands are required.
type Options struct {
	Config  *config.HubConfig
	Tunnel  Tunnel
	Plane   dataplane.Plane
	Store   store.Store
	Clock   Clock
	Rand    func() float64 // uniform in [0,1), used by the loop's goroutine only
	Wall    func() time.Time
	BootID  string
	Log     *slog.Logger
	Version string
	// OnLink are the prefixes of the hub's own interfaces other than the tunnel, host bits kept: they are never
	// delegated.
	OnLink func() []netip.Prefix
	// Damaged says why the store of an earlier process could not be used; empty: it could.
	Damaged  string
	Reload   func() (*config.HubConfig, error)
	Commands <-chan control.Command
}

// Hub is the loop and all state it owns. Only Run's goroutine touches the fields.
type Hub struct {
	opt     Options
	cfg     *config.HubConfig
	journal status.Journal
	started time.Time

	sites  []*site // those of the file first, then joined ones, then invitations
	byKey  map[wgkey.Public]*site
	byLink map[netip.Addr]*site // by link-local address

	machine     *pd.Machine
	machineWake time.Time
	book        *enroll.State
	bookWake    time.Time
	newPeers    bool           // of the book
	anew        []wgkey.Public // of them, those that the device must forget first
	records     records
	outbox      []outgoing
	moved       map[wgkey.Public]bool     // their routed prefixes may be others than those carried out
	leaving     map[wgkey.Public]tun.Site // sites that are no more, and keep their place in the device until their routes are gone
	withdrawn   config.Hub                // its DNS and Search: what sites were told and is no longer so

	ring       ring
	adverts    [][]byte // Router Advertisement for all, without addresses
	advertFrom netip.Addr
	appeared   []wgkey.Public // sites to be told because they have come
	appearedAt time.Time
	initiate   []wgkey.Public
	initiateAt time.Time

	pollAt  time.Time
	polling bool
	polled  chan poll

	queries chan func(now time.Time)
	done    chan struct{}

	desired  dataplane.Desired
	retired  []netip.Prefix // pools of former configurations
	links    map[string]dataplane.Link
	taken    []netip.Prefix // what the hub's own interfaces have and no site gets
	mine     []netip.Prefix // what they have and no site sends from
	reapply  bool
	apply    retry.Retry
	applyErr error
	applied  bool
	drift    drift.Meter
	reloads  string // why the last reload was refused; empty: it was not
	counters counters
}

// counters are of packets that nobody gets.
type counters struct{ unknown, broken, unsent uint64 }

// ErrTunnelFailed ends Run when the WireGuard device died under it.
var ErrTunnelFailed = errors.New("tunnel device failed")

// New makes the machines and reads the store. Nothing is sent and nothing in the kernel changes before Run.
func New(ctx context.Context, opt Options) (*Hub, error) {
	h := &Hub{
		opt: opt, cfg: opt.Config, journal: status.Journal{Log: opt.Log, Wall: opt.Wall},
		byKey: map[wgkey.Public]*site{}, byLink: map[netip.Addr]*site{}, moved: map[wgkey.Public]bool{}, leaving: map[wgkey.Public]tun.Site{},
		machine: pd.New(machineConfig(opt.Config)), book: enroll.New(), records: newRecords(),
		polled: make(chan poll, 1), queries: make(chan func(time.Time)), done: make(chan struct{}),
		links: map[string]dataplane.Link{},
	}
	now := opt.Clock.Now()
	h.started = now
	if opt.Damaged != "" {
		h.journal.Warn("store of leases unusable, starting without it", "err", opt.Damaged)
	}
	h.stepBook(now, enroll.SetContent{Content: h.bookContent()})
	if err := h.restore(ctx, now); err != nil {
		return nil, err
	}
	if err := h.configure(now, opt.Config); err != nil {
		return nil, err
	}
	for _, s := range h.sites {
		if s.endpoint.IsValid() && !s.away {
			h.initiate = append(h.initiate, s.Public)
		}
	}
	h.initiateAt, h.pollAt = now, now.Add(pollFirst)
	return h, nil
}

// Run is the loop. It returns nil after Stop or Handover (or the end of ctx, which counts as Stop). An error says that
// the kernel was not wholly put back, or that the hub cannot go on; kernel state then stays.
func (h *Hub) Run(ctx context.Context) error {
	defer close(h.done)
	defer h.waitForPoll()
	if err := h.opt.Plane.Watch(h.watched()); err != nil {
		return fmt.Errorf("watch interfaces: %w", err)
	}
	now := h.opt.Clock.Now()
	h.reapply = true
	for {
		if err := h.settle(ctx, now); err != nil {
			return err
		}
		select {
		case <-h.opt.Clock.C():
			now = h.opt.Clock.Now()
			h.tick(now)
		case ev := <-h.opt.Tunnel.Events():
			now = h.opt.Clock.Now()
			if err := h.onTunnel(now, ev); err != nil {
				return err
			}
		case ev := <-h.opt.Plane.Events():
			now = h.opt.Clock.Now()
			if err := h.onPlane(now, ev); err != nil {
				return err
			}
		case p := <-h.polled:
			now = h.opt.Clock.Now()
			h.onPoll(now, p)
		case q := <-h.queries:
			now = h.opt.Clock.Now()
			q(now)
		case c := <-h.opt.Commands:
			now = h.opt.Clock.Now()
			switch c {
			case control.Reload:
				h.reload(now)
			case control.Handover:
				return h.handOver(ctx, now)
			case control.Stop:
				return h.stop(ctx, now)
			}
		case <-ctx.Done():
			return h.stop(context.WithoutCancel(ctx), h.opt.Clock.Now())
		}
	}
}

// onTunnel takes an event and what else has come meanwhile, so that one write to the disk serves all.
func (h *Hub) onTunnel(now time.Time, ev tun.Event) error {
	for n := 1; ; n++ {
		switch ev := ev.(type) {
		case tun.Received:
			h.onPacket(now, ev)
		case tun.Failed:
			return fmt.Errorf("%w: %w", ErrTunnelFailed, ev.Err)
		}
		if n >= batch {
			return nil
		}
		select {
		case ev = <-h.opt.Tunnel.Events():
		default:
			return nil
		}
	}
}

// batch bounds the packets that are answered together: some milliseconds of work.
const batch = 1024

func (h *Hub) onPlane(now time.Time, ev dataplane.Event) error {
	switch ev := ev.(type) {
	case dataplane.LinkChanged:
		was, known := h.links[ev.Link.Name]
		h.links[ev.Link.Name] = ev.Link
		if ev.Link.Name == h.cfg.Hub.Uplink {
			h.uplinkSeen(known && !was.Up, ev.Link)
		}
		if ev.Link.Name == h.cfg.Interface.Name && was.Exists && !ev.Link.Exists {
			return fmt.Errorf("%w: somebody renamed or removed interface %s", ErrTunnelFailed, ev.Link.Name)
		}
	case dataplane.Drift:
		if h.applied && h.drift.Count(now) {
			h.journal.Info("kernel state changed by somebody else, put right", "what", ev.What)
		}
		h.reapply = true
		h.apply.Reset()
	}
	return nil
}

// uplinkSeen logs what becomes of the uplink: that it is down, when it was not known to be, and that it is up again.
func (h *Hub) uplinkSeen(wasDown bool, l dataplane.Link) {
	switch {
	case l.Up && wasDown:
		h.journal.Info("uplink is up again", "iface", l.Name)
	case !l.Up && !wasDown && l.Exists:
		h.journal.Warn("uplink is down", "iface", l.Name)
	case !l.Exists && !wasDown:
		h.journal.Warn("uplink does not exist: check Uplink in [Hub]", "iface", l.Name)
	}
}

// watched are the interfaces whose state matters.
func (h *Hub) watched() []string {
	names := []string{h.cfg.Interface.Name}
	if h.cfg.Hub.Uplink != "" {
		names = append(names, h.cfg.Hub.Uplink)
	}
	return names
}

// tick gives everything whose time has come its turn.
func (h *Hub) tick(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	if due(h.machineWake) {
		h.step(now, pd.Tick{})
	}
	h.tellDue(now)
	if due(h.appearedAt) {
		h.tellAppeared(now)
	}
	if due(h.initiateAt) {
		h.initiateSome(now)
	}
	if due(h.pollAt) {
		h.startPoll(now)
	}
	if due(h.records.lazyAt) {
		h.saveLazily()
	}
	if due(h.bookWake) {
		h.stepBook(now, enroll.Tick{})
	}
	h.drift.Forget(now)
}

func (h *Hub) nextWake() time.Time {
	var next time.Time
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	soonest(h.machineWake)
	soonest(h.ring.wake(len(h.sites)))
	soonest(h.appearedAt)
	soonest(h.initiateAt)
	soonest(h.pollAt)
	soonest(h.records.lazyAt)
	soonest(h.bookWake)
	soonest(h.drift.Wake())
	if h.reapply {
		soonest(h.apply.At())
	}
	return next
}

// ask runs f in the loop.
func (h *Hub) ask(ctx context.Context, f func(now time.Time)) error {
	ran := make(chan struct{})
	select {
	case h.queries <- func(now time.Time) { f(now); close(ran) }:
		<-ran
		return nil
	case <-h.done:
		return errors.New("the hub is stopping")
	case <-ctx.Done():
		return ctx.Err()
	}
}
