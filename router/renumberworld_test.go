// SPDX-License-Identifier: MIT

package router

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/dataplanetest"
	"oasis6/internal/hostmodel"
	"oasis6/tun"
	"oasis6/tun/health"
)

// lanHost is a model host on the LAN.
type lanHost struct {
	kind   string
	ll     netip.Addr
	mac    [6]byte
	model  *hostmodel.Host
	wake   time.Time
	asleep bool
	joined time.Time // when its link last came up
	heard  time.Time // the first RA since
	// frozen: its lifetimes stood still for hours, so it holds what every router has long forgotten.
	frozen bool
}

// hostKinds are the hosts of the LAN, one of each.
func hostKinds() []struct {
	kind string
	cfg  hostmodel.Config
} {
	return []struct {
		kind string
		cfg  hostmodel.Config
	}{
		{"RFC", hostmodel.Config{}},
		{"Linux kernel alone", hostmodel.Config{AnyRAEndsSoliciting: true, KeepOnLinkDown: true}},
		{"Linux, optimistic, RIO", hostmodel.Config{AnyRAEndsSoliciting: true, Optimistic: true, TypeC: true}},
		{"Linux, honors lifetimes", hostmodel.Config{AnyRAEndsSoliciting: true, HonorPIOLifetime: true}},
		{"Linux, temporary", hostmodel.Config{AnyRAEndsSoliciting: true, TempAddrs: true}},
		{"Android", hostmodel.Config{AnyRAEndsSoliciting: true, AndroidLike: true, TempAddrs: true, TypeC: true}},
		{"rule 5.5, temporary", hostmodel.Config{TempAddrs: true, Rule55: true}},
		{"clock stands still", hostmodel.Config{AnyRAEndsSoliciting: true, KeepOnLinkDown: true, StandsStill: true}},
	}
}

// world is one box, the hub far away and the hosts on its LAN, in a bubble.
type world struct {
	*testing.T
	b     *boxTest
	far   *renumberingHub
	rnd   *rand.Rand // of what happens; hosts and box have their own, so that the course of a seed is always the same
	hosts []*lanHost
	want  dataplane.Desired // what the kernel has, also while the process is dead
	alive bool              // the process
	wall  func() time.Time
	born  time.Time // the process

	// What the loop of the box holds, as look read it.
	down      bool // it knows that the tunnel is dead
	preferred []netip.Prefix
	nextDHCP  time.Time
}

const lanName = "br-lan"

func newWorld(t *testing.T, seed uint64, first netip.Prefix) *world {
	w := &world{T: t, rnd: rand.New(rand.NewPCG(seed, 5)), wall: time.Now}
	w.far = &renumberingHub{routed: map[netip.Prefix]time.Time{}}
	for i, k := range hostKinds() {
		h := &lanHost{kind: k.kind, mac: [6]byte{0, 0, 0x5e, 0, 0x53, byte(0x20 + i)}}
		k.cfg.MAC = h.mac
		h.model = hostmodel.New(k.cfg, rand.New(rand.NewPCG(seed, uint64(100+i))).Float64)
		w.hosts = append(w.hosts, h)
		w.plug(h)
	}
	w.boot(first, t.TempDir(), "boot", false)
	return w
}

// boot starts a process of the box. Its predecessor is dead.
func (w *world) boot(prefix netip.Prefix, state, bootID string, takeover bool) {
	answering := w.far.hub == nil || w.far.answering
	b := testBox(w.T, prefix.String())
	rnd := rand.New(rand.NewPCG(w.rnd.Uint64(), 6))
	b.opt.State, b.opt.BootID, b.opt.Takeover, b.opt.Rand, b.opt.Wall = state, bootID, takeover, rnd.Float64, w.wall
	b.hub.answering = answering
	w.far.hub, b.opt.Tunnel = b.hub, w.far
	w.b, w.alive, w.born = b, true, time.Now()
	w.setNeighbors()
	b.start()
	w.settle()
}

// kill is kill -9: nothing more is sent or written.
func (w *world) kill() {
	w.settle()
	w.far.events <- tun.Failed{Err: errors.New("killed")}
	<-w.b.ended
	synctest.Wait()
	w.alive = false
}

// powerOff takes the kernel's state too.
func (w *world) powerOff() {
	w.kill()
	w.want = dataplane.Desired{}
}

// settle lets everything of this instant happen: RAs reach hosts, solicitations the box.
func (w *world) settle() {
	for synctest.Wait(); w.exchange(); synctest.Wait() {
	}
	if w.alive {
		w.look()
	}
}

// look reads what the loop holds while it sleeps. Both sides take the clock's lock, which is what tells the race
// detector that they take turns.
func (w *world) look() {
	w.want = w.b.plane.Want()
	w.down, w.nextDHCP, w.preferred = w.b.r.state == health.Down, w.b.r.clientWake, w.preferred[:0]
	for _, s := range w.b.r.planLAN(0).Subnets {
		if !s.Preferred.Over(time.Now()) {
			w.preferred = append(w.preferred, s.Prefix)
		}
	}
	w.b.opt.Clock.Now()
}

// exchange carries what waits in both directions; more says that the box got something.
func (w *world) exchange() (more bool) {
	now := time.Now()
	var nd *dataplanetest.Conn
	if w.alive {
		nd = w.b.plane.ND(lanName)
	}
	for nd != nil && len(nd.Out) > 0 {
		s := <-nd.Out
		for _, h := range w.hosts {
			if h.model.Up() && !h.asleep && (s.To.IsMulticast() || s.To == h.ll) {
				w.step(h, hostmodel.Received{Src: netip.MustParseAddr(lanLL), HopLimit: 255, Data: s.Data}, nd)
				if h.heard.IsZero() {
					h.heard = now
				}
			}
		}
	}
	for _, h := range w.hosts {
		if !h.wake.IsZero() && !h.wake.After(now) && !h.asleep {
			more = w.step(h, hostmodel.Tick{}, nd) || more
		}
	}
	return more
}

// step has a host take an event, and the box what it sends.
func (w *world) step(h *lanHost, ev hostmodel.Event, nd *dataplanetest.Conn) (sent bool) {
	a := h.model.Step(time.Now(), ev)
	h.wake = a.Wake
	for _, s := range a.Send {
		if nd != nil && !nd.IsClosed() {
			nd.In <- dataplane.Received{Iface: lanName, Src: s.Src, HopLimit: 255, Data: s.Data}
			sent = true
		}
	}
	return sent
}

// plug brings the link of a host up: at a port of the bridge, so the box sees the carrier.
func (w *world) plug(h *lanHost) {
	h.joined, h.heard = time.Now(), time.Time{}
	w.step(h, hostmodel.LinkUp{}, nil)
	h.ll = h.model.LinkLocal()
	if w.b != nil && w.alive {
		w.setNeighbors()
		w.b.plane.Push(dataplane.PortUp{Iface: lanName})
		w.settle()
	}
}

func (w *world) unplug(h *lanHost) {
	w.step(h, hostmodel.LinkDown{}, nil)
	w.setNeighbors()
}

// setNeighbors: who opens a connection ten times a second is in the neighbor table.
func (w *world) setNeighbors() {
	var ns []dataplane.Neighbor
	for _, h := range w.hosts {
		if h.model.Up() && !h.asleep {
			ns = append(ns, dataplane.Neighbor{Addr: h.ll, MAC: h.mac})
		}
	}
	w.b.plane.SetNeighbors(ns...)
}

// sleep suspends a host: its link goes.
func (w *world) sleep(h *lanHost) {
	w.unplug(h)
	h.asleep = true
}

// resume wakes it up after d.
func (w *world) resume(h *lanHost, d time.Duration) {
	h.asleep = false
	w.step(h, hostmodel.Resumed{Slept: d}, nil)
	w.plug(h)
}

// knowsDead says whether the box knows that the tunnel is dead.
func (w *world) knowsDead() bool { return w.alive && w.down }

// verdict is what becomes of the first packet of a connection.
type verdict uint8

const (
	works   verdict = iota
	refused         // at once, by an ICMPv6 error that reaches the host
	hangs           // nobody says anything
	noRoute         // the host has no default router or no address: it fails at once
)

// fate decides from what the kernel was given, as its rules stand in dataplane/kernel/ruleset.go: stale sources, then the
// route, then sources that are nobody's. An error reaches the host only if a route leads back to its address.
func (w *world) fate(src, dst netip.Addr) verdict {
	d := &w.want
	contains := func(p netip.Prefix) bool { return p.Contains(src) }
	no := hangs
	back := func(r dataplane.Route) bool { return r.Iface == lanName && r.Dst.Contains(src) }
	on := func(a dataplane.Address) bool { return a.Iface == lanName && a.Prefix.Contains(src) }
	if slices.ContainsFunc(d.Routes, back) || slices.ContainsFunc(d.Addresses, on) {
		no = refused
	}
	out := func(r dataplane.Route) bool {
		return r.Kind == dataplane.Unicast && r.Iface == d.Tunnel.Name && r.Dst.Contains(dst) && (!r.From.IsValid() || r.From.Contains(src))
	}
	switch {
	case slices.ContainsFunc(d.Firewall.Stale, contains), !slices.ContainsFunc(d.Routes, out),
		!slices.ContainsFunc(d.Firewall.Delegations, contains):
		return no
	case !w.far.answering || !w.far.carries(src):
		return hangs
	}
	return works
}

// open has a host open a connection.
func (w *world) open(h *lanHost, dst netip.Addr) (src netip.Addr, v verdict) {
	src, ok := h.model.Source(time.Now(), dst)
	if !ok || src.IsLinkLocalUnicast() { // the box answers "beyond scope of source address"
		return src, noRoute
	}
	return src, w.fate(src, dst)
}

// poolPrefix is the n-th prefix of a hub's pool.
func poolPrefix(n int) netip.Prefix {
	return netip.MustParsePrefix("2001:db8:" + strconv.FormatInt(int64(0x1000*(n+1)), 16) + "::/56")
}
