// SPDX-License-Identifier: MIT

package netstack

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/faketime"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/internal/ip6pkt"
)

// Addresses of the tests' world: a box with one LAN and one host.
var (
	boxMAC  = neigh.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x01}
	hostMAC = neigh.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x02}

	boxLL   = linkLocal(boxMAC)
	hostLL  = linkLocal(hostMAC)
	box     = netip.MustParseAddr("2001:db8:1::1")
	host    = netip.MustParseAddr("2001:db8:1::2")
	nobody  = netip.MustParseAddr("2001:db8:1::3")
	far     = netip.MustParseAddr("2001:db8:ffff::1")
	tunAddr = netip.MustParseAddr("2001:db8:1:f::1")
)

// memoryLink is a link whose other end is the test.
type memoryLink struct {
	mu      sync.Mutex
	mac     neigh.MAC
	up      bool
	deliver func([]byte)
	state   func(bool)
	sent    [][]byte
	closed  bool
}

func (l *memoryLink) MAC() [6]byte { return l.mac }
func (l *memoryLink) MTU() int     { return 1500 }

func (l *memoryLink) Up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

func (l *memoryLink) Attach(deliver func([]byte), state func(bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver, l.state = deliver, state
}

func (l *memoryLink) Send(frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		l.sent = append(l.sent, frame)
	}
	return nil
}

func (l *memoryLink) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

func (l *memoryLink) setUp(up bool) {
	l.mu.Lock()
	l.up = up
	state := l.state
	l.mu.Unlock()
	state(up)
}

// world is a Plane in time that the test moves.
type world struct {
	*testing.T
	p     *Plane
	clock *faketime.ManualClock
	lan   *memoryLink
	mu    sync.Mutex
	out   [][]byte // to the hub
	links map[string]dataplane.Link
	drift []string
	done  chan struct{}
}

var epoch = time.Unix(1000, 0).UTC()

func newWorld(t *testing.T, given Given) *world {
	t.Helper()
	w := &world{T: t, clock: faketime.NewManualClock(), lan: &memoryLink{mac: boxMAC, up: true}, links: map[string]dataplane.Link{}, done: make(chan struct{})}
	start := w.clock.NowMonotonic()
	p, err := Open(Options{
		Clock: w.clock, Now: func() time.Time { return epoch.Add(w.clock.NowMonotonic().Sub(start)) },
		OpenLAN: func(string) (Link, error) { return w.lan, nil }, Tunnel: "oasis0", Given: given,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.p = p
	p.Tunnel().Output(func(pkt []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.out = append(w.out, pkt)
	})
	go func() {
		defer close(w.done)
		for ev := range p.Events() {
			w.mu.Lock()
			switch ev := ev.(type) {
			case dataplane.LinkChanged:
				w.links[ev.Link.Name] = ev.Link
			case dataplane.Drift:
				w.drift = append(w.drift, ev.What)
			}
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		<-w.done
	})
	if err := p.Watch([]string{"oasis0", "br-lan"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// desired is the plan of a box with one subnet.
func desired() dataplane.Desired {
	lan := netip.MustParsePrefix("2001:db8:1::/64")
	all := netip.MustParsePrefix("::/0")
	site := netip.MustParsePrefix("2001:db8:1::/48")
	return dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420}, LANs: []string{"br-lan"}, Forward: true,
		Addresses: []dataplane.Address{
			{Iface: "oasis0", Prefix: netip.PrefixFrom(netip.MustParseAddr("fe80::2"), 64), NoDAD: true},
			{Iface: "oasis0", Prefix: netip.PrefixFrom(tunAddr, 128), NoDAD: true},
			{Iface: "br-lan", Prefix: netip.PrefixFrom(box, 64)},
		},
		Routes: []dataplane.Route{
			{Dst: all, From: site, Iface: "oasis0", Metric: 1},
			{Dst: all, Iface: "oasis0", Metric: 1, IfNoOther: true},
			{Kind: dataplane.Unreachable, Dst: site},
		},
		Firewall: dataplane.Firewall{
			Tunnel: "oasis0", LANs: []string{"br-lan"}, Delegations: []netip.Prefix{site},
			Sources: []dataplane.LANSources{{Iface: "br-lan", OnLink: []netip.Prefix{lan}}},
		},
	}
}

func (w *world) apply(want dataplane.Desired) {
	w.Helper()
	if err := w.p.Apply(context.Background(), want); err != nil {
		w.Fatalf("Apply: %v", err)
	}
}

// ready is a world whose box has its addresses.
func ready(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, Given{})
	w.apply(desired())
	w.pass(3 * time.Second)
	if l := w.link("br-lan"); l.LinkLocal != boxLL {
		t.Fatalf("link-local address %v, want %v", l.LinkLocal, boxLL)
	}
	w.frames()
	return w
}

// pass lets time pass in steps, as what happens in between sets timers.
func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= 100 * time.Millisecond {
		w.clock.Advance(min(d, 100*time.Millisecond))
	}
}

// link is an interface as the consumer was told.
func (w *world) link(name string) dataplane.Link {
	w.Helper()
	w.settled()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.links[name]
}

// settled waits until the consumer has all events that there are.
func (w *world) settled() {
	w.Helper()
	for range 1000 {
		m := w.p.events
		m.mu.Lock()
		empty := len(m.queue) == 0 && len(m.kick) == 0
		m.mu.Unlock()
		time.Sleep(time.Millisecond) // the last one is on its way through a channel
		if empty {
			return
		}
	}
	w.Fatal("events do not end")
}

// frame is one of the link, taken apart.
type frame struct {
	to, from neigh.MAC
	src, dst netip.Addr
	next     byte
	hops     byte
	typ      byte // of ICMPv6
	pkt      []byte
}

func parseFrame(f []byte) frame {
	pkt := f[etherHeader:]
	return frame{
		to: neigh.MAC(f[0:6]), from: neigh.MAC(f[6:12]), pkt: pkt, next: pkt[offNext], hops: pkt[offHops], typ: pkt[ip6pkt.HeaderLen],
		src: netip.AddrFrom16([16]byte(pkt[offSrc:24])), dst: netip.AddrFrom16([16]byte(pkt[offDst:40])),
	}
}

// frames takes what the box has sent on the LAN.
func (w *world) frames() (out []frame) {
	w.lan.mu.Lock()
	defer w.lan.mu.Unlock()
	for _, f := range w.lan.sent {
		out = append(out, parseFrame(f))
	}
	w.lan.sent = nil
	return out
}

// icmp takes those of one ICMPv6 type.
func (w *world) icmp(typ byte) (out []frame) {
	for _, f := range w.frames() {
		if f.next == ip6pkt.ProtoICMPv6 && f.typ == typ {
			out = append(out, f)
		}
	}
	return out
}

// toHub takes what has left by the tunnel.
func (w *world) toHub() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.out
	w.out = nil
	return out
}

// fromHost puts a packet on the LAN.
func (w *world) fromHost(to neigh.MAC, pkt []byte) { w.from(hostMAC, to, pkt) }

// from is fromHost for any station.
func (w *world) from(mac, to neigh.MAC, pkt []byte) {
	w.lan.deliver(slices.Concat(to[:], mac[:], []byte{0x86, 0xdd}, pkt))
}

func (w *world) fromHub(pkt []byte) { w.p.Tunnel().Deliver(slices.Clone(pkt)) }

// advertise is the host's answer to a solicitation.
func (w *world) advertise(target netip.Addr, flags byte, to netip.Addr, toMAC neigh.MAC) {
	w.fromHost(toMAC, advertisement(target, flags, to))
}

func advertisement(target netip.Addr, flags byte, to netip.Addr) []byte {
	body := make([]byte, 24, 32)
	body[0], body[4] = typeNA, flags
	ip := target.As16()
	copy(body[8:], ip[:])
	body = append(append(body, 2, 1), hostMAC[:]...)
	return ip6pkt.ICMPv6(target, to, 255, body)
}

// solicitation is the host's question.
func solicitation(src, target, dst netip.Addr) []byte {
	body := make([]byte, 24, 32)
	body[0] = typeNS
	ip := target.As16()
	copy(body[8:], ip[:])
	if !src.IsUnspecified() {
		body = append(append(body, 1, 1), hostMAC[:]...)
	}
	return ip6pkt.ICMPv6(src, dst, 255, body)
}

func datagram(src, dst netip.Addr, size int) []byte {
	return ip6pkt.UDP(src, dst, 1000, 9, 64, make([]byte, size))
}

// code is that of an ICMPv6 error, param its MTU.
func code(pkt []byte) (typ, code byte, param uint32) {
	b := pkt[ip6pkt.HeaderLen:]
	return b[0], b[1], binary.BigEndian.Uint32(b[4:])
}
