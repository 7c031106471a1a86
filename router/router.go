// SPDX-License-Identifier: MIT

package router

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dhcpv6/client"
	"oasis6/dhcpv6/server"
	"oasis6/internal/control"
	"oasis6/internal/drift"
	"oasis6/internal/lifetime"
	"oasis6/internal/retry"
	"oasis6/ra"
	"oasis6/status"
	"oasis6/tun"
	"oasis6/tun/health"
)

// Tunnel is what the loop needs of the WireGuard tunnel. Methods are called from the loop only;
// none of them blocks on the network.
type Tunnel interface {
	Events() <-chan tun.Event
	// Send takes a whole IPv6 packet for the hub; the packet belongs to the tunnel afterwards.
	Send(packet []byte) error
	Sample() health.Sample
	// Perform carries out what the health machine decided from a sample.
	Perform(health.Actions, health.Sample)
	Reconfigure(tun.Config) error
	Snapshot() tun.Snapshot
}

// Clock is the boot clock with its one timer. C may deliver a value too many, never one too few.
type Clock interface {
	Now() time.Time
	Set(at time.Time) error // the zero Time stops the timer
	C() <-chan struct{}
}

// Options is everything a Router is made of. All fields but Files, Entropy, Reload and Commands are required.
type Options struct {
	Config  *config.Config
	Tunnel  Tunnel
	Plane   dataplane.Plane
	Clock   Clock
	Rand    func() float64 // uniform in [0,1), used by the loop's goroutine only
	Wall    func() time.Time
	BootID  string
	State   string    // folder of lease.json
	Files   Files     // instead of State; nil: on disk
	Entropy io.Reader // of a new DUID; nil: the machine's
	Log     *slog.Logger
	Version string
	// ProbeDNS says whether something answers DNS at an address of the box. It is called on a goroutine of its own and
	// returns with the context.
	ProbeDNS func(ctx context.Context, server netip.Addr) bool
	// Takeover: a predecessor of this boot left its kernel state behind, so the LAN is in service now
	// and must not be told otherwise before the tunnel has been tried.
	Takeover bool
	Reload   func() (*config.Config, error)
	Commands <-chan control.Command
}

// Router is the loop and all state it owns. Only Run's goroutine touches the fields.
type Router struct {
	opt     Options
	cfg     *config.Config
	log     *slog.Logger
	journal status.Journal
	started time.Time

	health       *health.Machine
	sample       health.Sample // the last one
	healthWake   time.Time
	state        health.State
	stateSince   time.Time
	handshakeAt  time.Time
	called       time.Time // when a handshake was begun because the hub was silent, as it seldom is; zero: none is awaited
	lastCall     time.Time // when one was last begun for that, seldom or not; zero: never
	everUp       bool
	aliveUntilBy time.Time // end of the benefit of the doubt after a takeover
	firstUntil   time.Time // end of firstPrefixPatience
	keepUntil    time.Time // end of the time in which routers on the tunnel can speak up

	receiver     *ra.Receiver // of the hub's Router Advertisements
	receiverWake time.Time
	client       *client.Client // nil while there is nothing to ask for
	clientWake   time.Time
	asked        []client.Wanted
	kept         kept // what an earlier process left, until the client has it
	keptAddress  bool // it left an address
	store        *store
	memory       *lanMemory
	ula          netip.Prefix // as the configuration wants it; zero: none
	ulaKept      bool         // it is that of ULA = auto
	lans         []*lan
	resuming     bool // LANs made now were served by a predecessor
	server       *lanServer
	received     chan lanMessage
	probed       chan dnsAnswer
	probing      context.Context // of the probes, until Run ends
	probes       sync.WaitGroup
	unsent       [][]byte // DHCPv6 messages that wait until the plan of the same step is carried out
	queries      chan chan status.Snapshot
	done         chan struct{}

	leaves  chan struct{}
	leaving bool         // Leave has been asked for
	left    *client.Left // how it ended; the box then stops

	plan     Plan
	replan   bool // facts changed
	reapply  bool // the kernel may differ from what was applied
	apply    retry.Retry
	applyErr error
	applied  bool // once at least
	drift    drift.Meter
	linkAt   time.Time      // when a LAN's link last came or went
	tunLink  dataplane.Link // the tunnel's interface as last seen
	reloads  string         // why the last reload was refused; empty: it was not
}

// takeoverGrace is how long a successor trusts that the tunnel of its predecessor still works: the
// health machine says Down within 15 s if it does not.
const takeoverGrace = 20 * time.Second

// New makes the machines. Nothing is sent and nothing in the kernel changes before Run.
func New(opt Options) (*Router, error) {
	if opt.Files == nil {
		opt.Files = folder(opt.State)
	}
	if opt.Entropy == nil {
		opt.Entropy = rand.Reader
	}
	r := &Router{
		opt: opt, cfg: opt.Config, log: opt.Log, journal: status.Journal{Log: opt.Log, Wall: opt.Wall},
		received: make(chan lanMessage, 64),
		probed:   make(chan dnsAnswer),
		queries:  make(chan chan status.Snapshot),
		leaves:   make(chan struct{}),
		done:     make(chan struct{}),
		health:   health.New(opt.Rand),
		receiver: ra.NewReceiver(ra.ReceiverConfig{PointToPoint: true}, opt.Rand),
	}
	now := opt.Clock.Now()
	r.started, r.stateSince, r.keepUntil = now, now, now.Add(takeoverGrace)
	if opt.Takeover {
		r.aliveUntilBy = now.Add(takeoverGrace)
	}
	r.startDHCPv6(now)
	r.memory = newLANMemory(opt.Files, opt.Wall, opt.BootID)
	if err := r.memory.load(now); err != nil {
		r.journal.Warn("file of advertised prefixes unusable, starting without it", "err", err.Error())
	}
	r.setULA()
	r.startServer(now)
	r.resuming = opt.Takeover
	r.setLANs(now)
	r.resuming = false
	r.memory.forget(now, func(name string) bool {
		return slices.ContainsFunc(r.lans, func(l *lan) bool { return l.name == name })
	})
	return r, nil
}

// ErrTunnelFailed ends Run when the WireGuard device died under it.
var ErrTunnelFailed = errors.New("tunnel device failed")

// Run is the loop. It returns nil after Stop or Handover (or the end of ctx, which counts as Stop). An error says
// that the kernel was not wholly put back, or that the box cannot go on; kernel state then stays, so that
// nothing leaks past the tunnel.
func (r *Router) Run(ctx context.Context) error {
	var cancel context.CancelFunc
	r.probing, cancel = context.WithCancel(context.Background())
	defer func() {
		close(r.done)
		cancel()
		r.probes.Wait()
	}()
	defer r.closeLANs()
	if err := r.opt.Plane.Watch(r.watched()); err != nil {
		return fmt.Errorf("watch interfaces: %w", err)
	}
	now := r.opt.Clock.Now()
	r.sampleTunnel(now)
	r.replan = true
	for {
		if err := r.settle(ctx, now); err != nil {
			return err
		}
		if r.left != nil {
			return r.stop(ctx, now)
		}
		select {
		case <-r.opt.Clock.C():
			now = r.opt.Clock.Now()
			r.tick(now)
		case ev := <-r.opt.Tunnel.Events():
			now = r.opt.Clock.Now()
			if err := r.onTunnel(now, ev); err != nil {
				return err
			}
		case ev := <-r.opt.Plane.Events():
			now = r.opt.Clock.Now()
			if err := r.onPlane(now, ev); err != nil {
				return err
			}
		case m := <-r.received:
			now = r.opt.Clock.Now()
			r.onMessage(now, m)
		case a := <-r.probed:
			now = r.opt.Clock.Now()
			r.onDNSAnswer(now, a)
		case <-r.leaves:
			now = r.opt.Clock.Now()
			r.leave(now)
		case q := <-r.queries:
			now = r.opt.Clock.Now()
			q <- r.snapshot(now)
		case c := <-r.opt.Commands:
			now = r.opt.Clock.Now()
			if done, err := r.onCommand(ctx, now, c); done {
				return err
			}
		case <-ctx.Done():
			return r.stop(context.WithoutCancel(ctx), r.opt.Clock.Now())
		}
	}
}

// maxReplans bounds the plans of one event; a third one would be a mistake, and comes with the next event.
const maxReplans = 3

// settle makes the plan true after an event and arms the timer for the next deadline.
func (r *Router) settle(ctx context.Context, now time.Time) error {
	// What the LANs' server takes back by a plan is in the next one; that changes nothing any more.
	for range maxReplans {
		if r.replan {
			r.replan = false
			r.makePlan(now)
		}
		if r.reapply && r.apply.Due(now) {
			r.applyPlan(ctx, now)
		}
		if !r.replan {
			break
		}
	}
	r.sendDHCPv6()
	r.sendServer()
	r.probeDNS(now)
	if err := r.opt.Clock.Set(r.nextWake()); err != nil {
		return fmt.Errorf("boot-clock timer: %w", err)
	}
	return nil
}

func (r *Router) nextWake() time.Time {
	var next time.Time
	soonest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	soonest(r.healthWake)
	soonest(r.receiverWake)
	soonest(r.clientWake)
	soonest(r.plan.Wake)
	soonest(r.store.wake)
	soonest(r.aliveUntilBy)
	soonest(r.firstUntil)
	soonest(r.keepUntil)
	soonest(r.drift.Wake())
	soonest(r.memory.wake)
	soonest(r.server.wake)
	soonest(r.server.saveAt)
	soonest(r.server.planAt)
	if r.reapply {
		soonest(r.apply.At())
	}
	for _, l := range r.lans {
		soonest(l.wake)
		soonest(l.dns.wake())
		for i := range l.sockets {
			soonest(l.sockets[i].retry.At())
		}
	}
	return next
}

// tick gives every machine whose deadline has come its Tick.
func (r *Router) tick(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	if due(r.healthWake) {
		r.sampleTunnel(now)
	}
	if due(r.receiverWake) {
		r.stepReceiver(now, ra.Tick{})
	}
	if due(r.clientWake) {
		r.stepClient(now, client.Tick{})
	}
	if due(r.plan.Wake) {
		r.replan = true
	}
	if due(r.aliveUntilBy) {
		r.aliveUntilBy = time.Time{}
		r.replan = true
	}
	for _, t := range []*time.Time{&r.firstUntil, &r.keepUntil} {
		if due(*t) {
			*t, r.replan = time.Time{}, true
		}
	}
	r.drift.Forget(now)
	if due(r.store.wake) {
		r.saveLease(now)
	}
	if due(r.memory.wake) {
		r.saveMemory(now)
	}
	if due(r.server.wake) {
		r.stepServer(now, server.Tick{})
	}
	if due(r.server.planAt) {
		r.server.planned, r.replan = now, true
	}
	if due(r.server.saveAt) {
		r.saveBindings(now)
	}
	for _, l := range r.lans {
		r.tickLAN(now, l)
	}
}

// facts gathers what Make decides from.
func (r *Router) facts(now time.Time) Facts {
	snap := r.opt.Tunnel.Snapshot()
	f := Facts{
		Config:          r.cfg,
		TunnelLinkLocal: snap.LinkLocal,
		TunnelMTU:       snap.MTU,
		Endpoint:        snap.Endpoint.Addr().Unmap(),
		TunnelAlive:     r.state == health.Up || (r.state != health.Down && !r.aliveUntilBy.IsZero()),
		Links:           map[string]dataplane.Link{},
		Told:            map[string][]Told{},
		Learned:         r.receiver.Learned(),
		ULA:             r.ula,
		Bindings:        r.server.Bindings(now),
		AnswersDNS:      map[string]bool{},
		Kept:            map[string]DNS{},
	}
	for _, l := range r.lans {
		f.Links[l.name] = l.link
		f.AnswersDNS[l.name] = l.dns.answers
		if learned := f.Learned; r.keepUntil.After(now) && !learned.Heard && !learned.NoRouter {
			f.Kept[l.name] = DNS{keep(l.kept.RDNSS, func(a netip.Addr) bool { return !l.own(a) }), l.kept.DNSSL}
		}
		for _, p := range l.sender.Announced(now).Prefixes {
			f.Told[l.name] = append(f.Told[l.name], Told{p.Prefix, lifetime.At(now.Add(p.Held)), p.Stale})
		}
	}
	f.Delegations, f.Addresses, f.Info = r.delegations()
	// After a takeover, having no prefix yet is no news for the LAN either.
	trying := r.state == health.Connecting || !r.aliveUntilBy.IsZero()
	f.Undecided = trying && (!f.TunnelAlive || len(f.Delegations) == 0) || r.askingFirst(now) && len(f.Delegations) == 0
	return f
}

// firstPrefixPatience is how long the first answer of the hub is awaited before hosts are told that there is no prefix: what
// they hold of an earlier process would die for the time of a question and its answer.
const firstPrefixPatience = 4 * time.Second

// askingFirst says whether the hub has only just become reachable for the first time, and is being asked.
func (r *Router) askingFirst(now time.Time) bool {
	return r.cfg.Prefix.Source == config.DHCPv6 && !r.leaving && r.firstUntil.After(now)
}

func (r *Router) makePlan(now time.Time) {
	old := r.plan
	r.server.planAt = time.Time{} // it is part of this one
	r.plan = Make(r.facts(now), now)
	for _, a := range r.plan.Duplicates {
		r.stepClient(now, client.Duplicate{Addr: a})
	}
	r.logPlan(old, r.plan)
	r.reapply = true
	r.apply.Reset()
}

// applyPlan makes the kernel equal to the plan, then tells the LANs: no host hears of what does not stand
// yet, but of what is gone in any case.
func (r *Router) applyPlan(ctx context.Context, now time.Time) {
	err := r.opt.Plane.Apply(ctx, r.plan.Desired)
	for i, l := range r.lans {
		r.tellLAN(now, l, r.plan.LANs[i], err)
	}
	if err == nil || r.applied { // before the first plan stands the server has what it has restored
		r.tellServer(now, r.plan, err)
	}
	if err == nil {
		r.server.unapplied = nil
		if r.applyErr != nil {
			r.journal.Info("kernel state applied again")
		}
		r.reapply, r.applyErr, r.applied = false, nil, true
		r.apply.Reset()
		return
	}
	if r.applyErr == nil || r.applyErr.Error() != err.Error() {
		r.journal.Warn("kernel refuses what the box needs", "err", err.Error())
	}
	r.applyErr = err
	r.apply.Failed(now, r.opt.Rand())
}

// onCommand carries out a command; done ends the loop with err.
func (r *Router) onCommand(ctx context.Context, now time.Time, c control.Command) (done bool, err error) {
	switch c {
	case control.Reload:
		r.reload(now)
		return false, nil
	case control.Handover:
		r.handOver(now)
		return true, nil
	}
	return true, r.stop(ctx, now)
}

// Snapshot asks the loop for the present status.
func (r *Router) Snapshot(ctx context.Context) (status.Snapshot, error) {
	q := make(chan status.Snapshot, 1)
	select {
	case r.queries <- q:
		return <-q, nil
	case <-r.done:
		return status.Snapshot{}, errors.New("the box is stopping")
	case <-ctx.Done():
		return status.Snapshot{}, ctx.Err()
	}
}

func addrPortString(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
