// SPDX-License-Identifier: MIT

// Package lab is the whole world of this project in one process, without root: hosts, a box behind two NATs, a hub, the
// IPv4 and the IPv6 Internet. Box and hub are the product's own code on the userspace data plane; wires, switches and
// NATs are of the lab. Tunnels are simulated in virtual time, or wireguard-go in real time (LinkKind).
//
// It must not know the kernel. Start at New, World.Run and the scenarios.
package lab

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"oasis6/internal/wgkey"
	"oasis6/lab/engine"
	"oasis6/lab/host"
	"oasis6/lab/host/inet6"
	"oasis6/lab/host/trouble"
	"oasis6/lab/nat"
	"oasis6/lab/page"
	"oasis6/lab/simwg/device"
	"oasis6/lab/wire"
)

// Options of a world.
type Options struct {
	Seed     uint64
	Link     LinkKind
	Scenario string // its name; empty: the first
	// Start is the first instant; zero: now, with Sim always the same day. With Sim the same seed and start give the same
	// world, to the last octet.
	Start time.Time
}

// siteLength is that of a delegation: a site with routers behind its LAN needs more than a /64.
func (o Options) siteLength() int {
	if o.Scenario == scenarioDownstream {
		return 60
	}
	return 64
}

// boxExtra are lines for the configuration of the boxes.
func (o Options) boxExtra() string {
	switch o.Scenario {
	case scenarioDownstream:
		return "Delegate = yes\n"
	case scenarioTwoSites: // else a box lets nobody from outside begin
		return "\n[Router]\nFirewall = open\n"
	}
	return ""
}

// World is one. Methods may be called from any goroutine unless they say otherwise; fields are the engine's.
type World struct {
	Engine *engine.Engine
	opt    Options
	title  string
	life   context.Context
	end    context.CancelFunc

	nodes   []page.Node
	links   []link
	wires   map[string]*wire.Wire
	hub     *hubNode
	boxes   []*box
	ipv4    map[string]*nat.Node
	net6    *inet6.Router
	hosts   map[string]*host.Host
	visitor netip.Addr // whom a web server saw last; not valid: nobody yet
	rogue   *inet6.Router
	clone   *trouble.Claimant

	r3       *downstream   // nil: not in this world
	farewell *engine.Timer // of the rogue
	scanning *host.Scan    // nil: none is under way
	roguing  bool          // the laptop advertises

	keys    *keyring // of WG
	closing bool
	running atomic.Int64      // loops that are to end
	waiters sync.WaitGroup    // goroutines that wait for them
	ways    map[string]func() // look at the paths of boxes again, by their names; of WG

	rec    *recorder
	script *script

	mu      sync.Mutex
	entries []page.Entry // the last of them
	said    uint64       // how many there were
	told    func()       // there is something new
}

// firstDay is when simulated worlds begin: the story of this project was told that day.
var firstDay = time.Date(2019, time.April, 4, 14, 42, 0, 0, time.UTC)

// New builds a world. It does nothing before it is run.
func New(o Options) (*World, error) {
	o.Link = cmp.Or(o.Link, Sim)
	switch {
	case !o.Start.IsZero():
	case o.Link == Sim: // the same for the same seed
		o.Start = firstDay
	default:
		o.Start = time.Now()
	}
	sc, err := findScenario(o.Scenario)
	if err != nil {
		return nil, err
	}
	o.Scenario = sc.name
	w := &World{
		Engine: engine.New(engine.Config{Start: o.Start, Seed: o.Seed, Real: o.Link == WG}), opt: o,
		wires: map[string]*wire.Wire{}, ipv4: map[string]*nat.Node{}, hosts: map[string]*host.Host{}, ways: map[string]func(){},
	}
	w.title = sc.title
	w.life, w.end = context.WithCancel(context.Background())
	w.keys = newKeyring()
	w.rec = newRecorder(w.opener)
	w.nodes, w.links = sc.plan()
	w.lay()
	if err := w.build(); err != nil {
		w.Close()
		return nil, err
	}
	w.script = newScript(w, sc.steps(w))
	w.poll()
	return w, nil
}

// newKey is a node's key. It depends on the seed.
func (w *World) newKey(name string) wgkey.Private {
	var k wgkey.Private
	_, _ = w.Engine.Source("key of " + name).Read(k[:]) // never fails
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

// poll looks at the steps again and again.
func (w *World) poll() {
	if w.closing {
		return
	}
	for _, name := range sortedKeys(w.ways) {
		w.ways[name]()
	}
	w.script.poll()
	w.Engine.AfterFunc(pollEvery, w.poll)
}

// when runs f on the engine's goroutine once done is closed.
func (w *World) when(done <-chan struct{}, f func()) {
	w.running.Add(1)
	w.waiters.Go(func() {
		select {
		case <-done:
			w.Engine.Post(func() { f(); w.running.Add(-1) })
		case <-w.life.Done():
		}
	})
}

// check says in the timeline that something went wrong which should not.
func (w *World) check(err error) {
	if err != nil {
		w.say(slog.LevelError, "", err.Error(), "")
	}
}

// Run lets the world go on until ctx ends.
func (w *World) Run(ctx context.Context) { w.Engine.Run(ctx) }

// lastWords is how long box and hub may take to end, in the lab's time.
const lastWords = 20 * time.Second

// Close ends all that was started. It must not run any more.
func (w *World) Close() {
	w.Engine.Play()
	w.closing = true
	w.Engine.Post(func() {
		for _, b := range w.boxes {
			b.cutPower()
		}
		if w.hub != nil && w.hub.cancel != nil {
			w.hub.close()
		}
	})
	over := func() bool {
		return w.running.Load() == 0 && !w.pending()
	}
	_, _ = w.Engine.RunUntil(context.Background(), lastWords, over) // no error without an end of the context
	for _, name := range sortedKeys(w.hosts) {
		w.hosts[name].Close()
	}
	w.end()
	w.waiters.Wait()
}

// pending says whether something has still to be switched off.
func (w *World) pending() bool {
	return w.hub != nil && w.hub.cancel != nil || slices.ContainsFunc(w.boxes, (*box).on)
}

// opener opens what a tunnel carries, for whoever watches.
func (w *World) opener(datagram []byte) ([]byte, bool) {
	if w.opt.Link == WG {
		return w.keys.open(datagram)
	}
	return device.Inner(datagram)
}

// say writes a line of the timeline.
func (w *World) say(level slog.Level, node, text, rfc string) {
	word := "info"
	switch {
	case level >= slog.LevelError:
		word = "error"
	case level >= slog.LevelWarn:
		word = "warn"
	}
	w.sayAs(word, node, text, rfc)
}

// maxEntries of the timeline are kept at least, and twice as many at most: it runs for a whole lesson.
const maxEntries = 2000

// entriesAfter are those with higher numbers than after.
func (w *World) entriesAfter(after uint64) []page.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(w.said-min(w.said, after), uint64(len(w.entries)))
	return append([]page.Entry(nil), w.entries[uint64(len(w.entries))-n:]...)
}

// sayAs is say with the word for the level.
func (w *World) sayAs(word, node, text, rfc string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said++
	if len(w.entries) == 2*maxEntries {
		w.entries = append([]page.Entry(nil), w.entries[maxEntries:]...)
	}
	w.entries = append(w.entries, page.Entry{ID: w.said, At: w.Engine.Now(), Level: word, Node: node, Text: text, RFC: rfc})
	if w.told != nil {
		w.told()
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
