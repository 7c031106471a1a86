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
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack"
	"oasis6/hub/store"
	"oasis6/internal/wgkey"
	"oasis6/lab/engine"
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
	// Start is the first instant; zero: now. With Sim the same seed and start give the same world, to the last octet.
	Start time.Time
}

// siteLength is that of a delegation: a site with routers behind its LAN needs more than a /64.
func (o Options) siteLength() int {
	if o.Scenario == scenarioDownstream {
		return 60
	}
	return 64
}

// World is one. Methods may be called from any goroutine unless they say otherwise; fields are the engine's.
type World struct {
	Engine *engine.Engine
	opt    Options
	life   context.Context
	end    context.CancelFunc

	nodes  []page.Node
	links  []link
	wires  map[string]*wire.Wire
	hub    *hubNode
	boxes  []*box
	ipv4   map[string]*nat.Node
	net6   *netstack.Plane
	places map[string]netip.Addr // of nodes on the IPv6 Internet, by name

	rec    *recorder
	script *script

	mu      sync.Mutex
	entries []page.Entry
	told    func() // there is something new
}

// New builds a world. It does nothing before it is run.
func New(o Options) (*World, error) {
	o.Link = cmp.Or(o.Link, Sim)
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	sc, err := findScenario(o.Scenario)
	if err != nil {
		return nil, err
	}
	o.Scenario = sc.name
	w := &World{
		Engine: engine.New(engine.Config{Start: o.Start, Seed: o.Seed, Real: o.Link == WG}), opt: o,
		wires: map[string]*wire.Wire{}, ipv4: map[string]*nat.Node{},
	}
	w.life, w.end = context.WithCancel(context.Background())
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

// lay makes the wires. Both ends get a MAC by the wire's place in the plan.
func (w *World) lay() {
	for i, l := range w.links {
		x := wire.New(w.Engine, wire.Config{ID: l.id, Delay: l.delay}, [2]string{l.a, l.b}, [2][6]byte{mac(byte(2 * i)), mac(byte(2*i + 1))})
		x.Tap(w.rec.add)
		w.wires[l.id] = x
	}
}

// end of a wire at a node.
func (w *World) port(id, node string) *wire.Port {
	x := w.wires[id]
	if x.Port(0).Node() == node {
		return x.Port(0)
	}
	return x.Port(1)
}

// build makes the nodes and switches them on.
func (w *World) build() error {
	w.hub = &hubNode{
		w: w, key: w.newKey(nodeR2), up: w.port("r2-net6", nodeR2), store: store.NewMemory(), pool: firstPool,
		preferred: 45 * time.Minute, valid: 90 * time.Minute,
	}
	lan := []*wire.Port{}
	for _, l := range w.links {
		if l.a == nodeLAN || l.b == nodeLAN {
			lan = append(lan, w.port(l.id, nodeLAN))
		}
	}
	wire.NewSwitch(w.Engine, lan...)
	b := &box{w: w, name: nodeR1, key: w.newKey(nodeR1), files: newMemoryFiles()}
	w.boxes = append(w.boxes, b)
	return errors.Join(w.buildIPv4(), w.buildIPv6(), w.buildBox(b, "lan-r1", r1LAN4), w.hub.start(), b.start())
}

// buildBox gives a box its LAN, shared with its IPv4 half.
func (w *World) buildBox(b *box, lan, address string) error {
	rest, v6 := wire.Split(w.port(lan, b.name))
	b.lans = map[string]wire.End{"br-lan": v6}
	var err error
	b.v4, err = nat.NewNode(w.Engine, nat.NodeConfig{
		Name: b.name, NAT: &nat.Config{}, Explain: w.rec.explain,
		Ports: []nat.PortConfig{
			{Wire: rest, Address: netip.MustParsePrefix(address), Inside: true},
			{Wire: w.port("wan", b.name), Address: netip.MustParsePrefix(r1WAN4)},
		},
		Routes: []nat.Route{{Dst: everything4, Via: addr4(nat1In4)}},
	})
	w.ipv4[b.name] = b.v4
	return err
}

var everything4 = netip.MustParsePrefix("0.0.0.0/0")

// buildIPv4 makes the NATs, the IPv4 Internet and the hub's IPv4.
func (w *World) buildIPv4() error {
	type leg struct {
		wire, address string
		inside        bool
	}
	var errs []error
	node := func(name string, translate *nat.Config, via string, legs ...leg) *nat.Node {
		c := nat.NodeConfig{Name: name, NAT: translate, Explain: w.rec.explain}
		for _, l := range legs {
			if w.wires[l.wire] != nil {
				c.Ports = append(c.Ports, nat.PortConfig{Wire: w.port(l.wire, name), Address: netip.MustParsePrefix(l.address), Inside: l.inside})
			}
		}
		if via != "" {
			c.Routes = []nat.Route{{Dst: everything4, Via: addr4(via)}}
		}
		n, err := nat.NewNode(w.Engine, c)
		errs = append(errs, err)
		w.ipv4[name] = n
		return n
	}
	node(nodeNAT1, &nat.Config{}, nat2In4, leg{"wan", nat1In4, true}, leg{"nats", nat1Out4, false})
	node(nodeNAT2, &nat.Config{Filtering: nat.AddressAndPortDependent, RandomPorts: true}, inetNAT4, leg{"nats", nat2In4, true}, leg{"carrier", nat2Out4, false})
	node(nodeInet, nil, "", leg{"carrier", inetNAT4, false}, leg{"r2-inet", inetR2, false}, leg{"www-inet", inetWWW4, false}, leg{"carrier-b", inetNATB4, false})
	w.hub.v4 = node(nodeR2, nil, inetR2, leg{"r2-inet", r2Addr4, false})
	return errors.Join(errs...)
}

// buildIPv6 makes the IPv6 Internet: one router that knows the way to the provider's prefix.
func (w *World) buildIPv6() error {
	given := netstack.Given{Routes: []dataplane.Route{{
		Dst: netip.MustParsePrefix(providerPrefix), Via: netip.MustParsePrefix(r2Net6).Addr(), Iface: "r2-net6",
	}}}
	for id, address := range map[string]string{
		"r2-net6": net6R2, "www-net6": net6WWW, "dns-net6": net6DNS, "only-net6": net6Only, "scan-net6": net6Scan,
	} {
		if w.wires[id] != nil {
			given.Addresses = append(given.Addresses, dataplane.Address{Iface: id, Prefix: netip.MustParsePrefix(address)})
		}
	}
	slices.SortFunc(given.Addresses, func(a, b dataplane.Address) int { return strings.Compare(a.Iface, b.Iface) })
	e := w.Engine
	var err error
	w.net6, err = netstack.Open(netstack.Options{
		Log: w.logger(nodeNet6), Clock: e.Clock(), Now: e.Now, Random: e.Source(nodeNet6), Identity: []byte(nodeNet6), Given: given,
		OpenLAN: func(name string) (netstack.Link, error) {
			if w.wires[name] == nil {
				return nil, fmt.Errorf("no wire %s", name)
			}
			return w.port(name, nodeNet6), nil
		},
	})
	if err != nil {
		return err
	}
	go func() { // nobody wants to know
		for range w.net6.Events() { //nolint:revive // drained
		}
	}()
	return w.net6.Apply(w.life, dataplane.Desired{Forward: true})
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
	w.script.poll()
	w.Engine.AfterFunc(pollEvery, w.poll)
}

// when runs f on the engine's goroutine once done is closed.
func (w *World) when(done <-chan struct{}, f func()) {
	go func() {
		select {
		case <-done:
			w.Engine.Post(f)
		case <-w.life.Done():
		}
	}()
}

// Run lets the world go on until ctx ends.
func (w *World) Run(ctx context.Context) { w.Engine.Run(ctx) }

// Close ends all that was started. It must not run any more.
func (w *World) Close() {
	w.end()
}

// opener opens what a tunnel carries, for whoever watches.
func (w *World) opener(datagram []byte) ([]byte, bool) { return device.Inner(datagram) }

// say writes a line of the timeline.
func (w *World) say(level slog.Level, node, text, rfc string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	word := "info"
	switch {
	case level >= slog.LevelError:
		word = "error"
	case level >= slog.LevelWarn:
		word = "warn"
	}
	w.entries = append(w.entries, page.Entry{ID: uint64(len(w.entries) + 1), At: w.Engine.Now(), Level: word, Node: node, Text: text, RFC: rfc})
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
