// SPDX-License-Identifier: MIT

package device

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/wgkey"
)

// begin is where virtual time begins.
var begin = time.Unix(1_000_000, 0).UTC()

// world is some devices and the IPv4 Internet between them, in virtual time.
type world struct {
	t     testing.TB
	now   time.Time
	rand  *rand.Rand
	delay time.Duration
	nodes []*node
	way   []*flying
	log   []string
	quiet bool                                   // keep no log
	drop  func(from, to *node, data []byte) bool // nil: nothing is lost
	nat   func(from *node) (seen netip.AddrPort) // nil: what the node believes
	got   func(at *node, v Verdict, data []byte) // nil
	dead  map[string]bool
}

type node struct {
	name string
	at   netip.AddrPort
	key  wgkey.Public
	dev  *Device
	wake time.Time
	in   [][]byte // inner packets
	last Verdict
	note []string
}

type flying struct {
	at   time.Time
	from netip.AddrPort
	to   netip.AddrPort
	data []byte
}

func newWorld(t testing.TB) *world {
	return &world{t: t, now: begin, rand: rand.New(rand.NewPCG(1, 2)), delay: 10 * time.Millisecond, dead: map[string]bool{}}
}

// keyOf is no real public key: nothing here computes with it.
func keyOf(name string) (k wgkey.Public) { copy(k[:], "public key of "+name); return k }

// add makes a node.
func (w *world) add(name, at string) *node {
	n := &node{name: name, at: netip.MustParseAddrPort(at), key: keyOf(name)}
	r := rand.New(rand.NewPCG(7, uint64(len(w.nodes))))
	n.dev = New(Config{Public: n.key, MTU: 1420, Rand: r.Uint64})
	w.nodes = append(w.nodes, n)
	return n
}

func (n *node) peer(endpoint bool, allowed ...string) Peer {
	p := Peer{Public: n.key}
	if endpoint {
		p.Endpoint = n.at
	}
	for _, a := range allowed {
		p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix(a))
	}
	return p
}

// pair is a box that knows where its hub is, and a hub that does not know where the box is.
func pair(t testing.TB) (w *world, box, hub *node) {
	w = newWorld(t)
	box, hub = w.add("box", "192.0.2.1:1000"), w.add("hub", "198.51.100.2:51820")
	w.do(box, SetPeers{[]Peer{hub.peer(true, "::/0")}})
	w.do(hub, SetPeers{[]Peer{box.peer(false, "2001:db8:1::/64", "fe80::1/128")}})
	return w, box, hub
}

func (w *world) do(n *node, ev Event) Actions {
	a := n.dev.Step(w.now, ev)
	n.wake = a.Wake
	if a.Verdict != None {
		n.last = a.Verdict
	}
	if !a.Wake.IsZero() && !a.Wake.After(w.now) {
		w.t.Fatalf("at %v: wake %v is not in the future", w.since(), a.Wake.Sub(begin))
	}
	for _, p := range a.Deliver {
		n.in = append(n.in, p.Data)
	}
	for _, m := range a.Notes {
		n.note = append(n.note, m.Msg)
	}
	for _, d := range a.Send {
		w.send(n, d)
	}
	return a
}

func (w *world) send(n *node, d Datagram) {
	from := n.at
	if w.nat != nil {
		from = w.nat(n)
	}
	to := w.find(d.To)
	if !w.quiet {
		w.log = append(w.log, fmt.Sprintf("%v %s>%s %s", w.since(), n.name, toName(to), sort(d.Data)))
	}
	if to == nil || w.dead[to.name] || w.drop != nil && w.drop(n, to, d.Data) {
		return
	}
	w.way = append(w.way, &flying{at: w.now.Add(w.delay), from: from, to: to.at, data: d.Data})
}

func toName(n *node) string {
	if n == nil {
		return "nobody"
	}
	return n.name
}

func (w *world) find(at netip.AddrPort) *node {
	for _, n := range w.nodes {
		if n.at == at {
			return n
		}
	}
	if w.nat != nil { // what stands outside of a NAT
		for _, n := range w.nodes {
			if w.nat(n) == at {
				return n
			}
		}
	}
	return nil
}

// sort is the kind and the length of a datagram.
func sort(b []byte) string {
	return fmt.Sprintf("%s %d", [...]string{"?", "init", "resp", "cookie", "data"}[kind(b)], len(b))
}

func (w *world) since() time.Duration { return w.now.Sub(begin) }

// run goes on to the instant until, and does all that happens before.
func (w *world) run(until string) {
	w.t.Helper()
	d, err := time.ParseDuration(until)
	if err != nil {
		w.t.Fatal(err)
	}
	w.runTo(begin.Add(d))
}

func (w *world) runTo(end time.Time) {
	for {
		at, next := end, -1
		for i, f := range w.way {
			if f.at.Before(at) || f.at.Equal(at) && next < 0 {
				at, next = f.at, i
			}
		}
		var n *node
		for _, c := range w.nodes {
			if !c.wake.IsZero() && c.wake.Before(at) {
				at, n = c.wake, c
			}
		}
		if n == nil && next < 0 {
			w.now = end
			return
		}
		w.now = at
		if n != nil {
			w.do(n, Tick{})
			continue
		}
		f := w.way[next]
		w.way = slices.Delete(w.way, next, next+1)
		to := w.find(f.to)
		a := w.do(to, Received{From: f.from, Data: f.data})
		if w.got != nil {
			w.got(to, a.Verdict, f.data)
		}
	}
}

// ping is an inner packet of n octets.
func ping(from, to string, n int) []byte {
	p := make([]byte, max(n, ip6HeaderLen))
	p[0] = 0x60
	binary.BigEndian.PutUint16(p[offPayloadLen:], uint16(len(p)-ip6HeaderLen))
	p[6], p[7] = 59, 64 // no next header
	src, dst := netip.MustParseAddr(from).As16(), netip.MustParseAddr(to).As16()
	copy(p[offSrc:], src[:])
	copy(p[offDst:], dst[:])
	return p
}

const (
	boxHost = "2001:db8:1::a"
	hubHost = "2001:db8:2::b"
)

// out sends a packet from the box's side, and back from the hub's.
func (w *world) out(box *node) Verdict {
	return w.do(box, PacketOut{ping(boxHost, hubHost, 100)}).Verdict
}
func (w *world) back(hub *node) Verdict {
	return w.do(hub, PacketOut{ping(hubHost, boxHost, 100)}).Verdict
}

// wants compares what was sent since the last wants.
func (w *world) wants(lines ...string) {
	w.t.Helper()
	if got, want := strings.Join(w.log, "\n"), strings.Join(lines, "\n"); got != want {
		w.t.Errorf("sent:\n%s\nwant:\n%s", got, want)
	}
	w.log = nil
}

// still makes the node's jitter zero from here on, so that timers can be tested at their edges.
func (n *node) still() *node {
	i := uint64(0)
	n.dev.rand = func() uint64 { i++; return i * 334 } // zero modulo 334, and another index each time
	return n
}
