// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/faketime"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/underrace"
)

// fastMemory is a fastLink that takes all.
type fastMemory struct {
	memoryLink
	frames atomic.Int64
}

func (l *fastMemory) send(offload.Info, []byte, [][]byte) error {
	l.frames.Add(1)
	return nil
}

func (l *fastMemory) run(func([]byte, offload.Info)) {}
func (l *fastMemory) udp() bool                      { return true }
func (l *fastMemory) announced() (string, error)     { return "", nil }

// fastWorld is a box with wireguard-go's side of the tunnel, a LAN that is as fast as a tap, and a host that is known.
func fastWorld(tb testing.TB) (p *Plane, r *port, lan *fastMemory) {
	tb.Helper()
	lan = &fastMemory{memoryLink: memoryLink{mac: boxMAC, up: true}}
	// Nobody moves the clock, so that gVisor does nothing meanwhile.
	p, err := Open(Options{Clock: faketime.NewManualClock(), OpenLAN: func(string) (Link, error) { return lan, nil }, Tunnel: "oasis0"})
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range p.Events() {
		}
	}()
	tb.Cleanup(func() { _ = p.Close(); <-done })
	want := desired()
	for i := range want.Addresses {
		want.Addresses[i].NoDAD = true
	}
	if err := p.Apply(tb.Context(), want); err != nil {
		tb.Fatal(err)
	}
	_ = p.Device()
	r = p.ports["br-lan"]
	r.mu.Lock()
	r.neigh.SetSolicitor(neigh.Solicitor{From: boxLL, MAC: boxMAC})
	r.neigh.Resolve(p.o.Now(), host, waiting{})
	r.mu.Unlock()
	r.learn(p.o.Now(), advertisement(host, 0x60, boxLL))
	return p, r, lan
}

// A packet costs no allocation, in either direction, nor does one for which there is no room.
func TestPacketsAllocateNothing(t *testing.T) {
	if underrace.Is {
		t.Skip("under the race detector sync.Pool forgets at random")
	}
	p, r, lan := fastWorld(t)
	ether := append(append(append([]byte{}, boxMAC[:]...), hostMAC[:]...), 0x86, 0xdd)
	out := append(ether, datagram(host, far, 1000)...)
	bufs, sizes := [][]byte{make([]byte, 2000)}, []int{0}
	lan.frames.Store(0)
	for name, f := range map[string]func(){
		"to the hub": func() {
			out[etherHeader+offHops] = 64
			r.arrived(out, offload.Info{})
			if n, err := (device{p.tunnel}).Read(bufs, sizes, 0); n != 1 || err != nil {
				t.Fatalf("Read = %d, %v", n, err)
			}
		},
		"to the LAN": func() { r.send(p.o.Now(), host, out[etherHeader:], offload.Info{}) },
	} {
		if n := testing.AllocsPerRun(200, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := lan.frames.Load(); n < 200 {
		t.Errorf("%d frames on the LAN, want 200", n)
	}
	for range tunnelQueue { // until it is full
		out[etherHeader+offHops] = 64
		p.tunnel.send(out[etherHeader:], offload.Info{})
	}
	if n := testing.AllocsPerRun(5, func() { p.tunnel.sendOrWait(out[etherHeader:], offload.Info{}) }); n > 0 {
		t.Errorf("with a full queue: %v allocations", n)
	}
}

// What is bounded is the memory that waits, not how much of it is used.
func TestTheTunnelsQueueIsBounded(t *testing.T) {
	p, _, _ := fastWorld(t)
	for _, size := range []int{100, 2049, 9000, 30000, 65000} {
		held, queued := int64(0), 0
		for range 2 * tunnelQueue {
			p.tunnel.send(datagram(host, far, size), offload.Info{})
		}
		for len(p.tunnel.q) > 0 {
			item := <-p.tunnel.q
			held += int64(cap(*item.buf))
			queued++
			p.tunnel.held.Add(-item.held())
			p.tunnel.buf.free(item)
		}
		if held > tunnelHeld || queued > tunnelQueue || held < tunnelHeld/3 {
			t.Errorf("%d packets of %d octets wait in %d octets of memory, want at most %d in %d", queued, size, held, tunnelQueue, tunnelHeld)
		}
		if n := p.tunnel.held.Load(); n != 0 {
			t.Errorf("%d octets held by an empty queue", n)
		}
	}
}

func BenchmarkToHub(b *testing.B) {
	p, r, _ := fastWorld(b)
	ether := append(append(append([]byte{}, boxMAC[:]...), hostMAC[:]...), 0x86, 0xdd)
	out := append(ether, datagram(host, far, 1000)...)
	bufs, sizes := [][]byte{make([]byte, 2000)}, []int{0}
	b.ReportAllocs()
	for b.Loop() {
		out[etherHeader+offHops] = 64
		r.arrived(out, offload.Info{})
		_, _ = device{p.tunnel}.Read(bufs, sizes, 0)
	}
}

func BenchmarkToLAN(b *testing.B) {
	p, r, _ := fastWorld(b)
	pkt := datagram(far, host, 1000)
	b.ReportAllocs()
	for b.Loop() {
		r.send(p.o.Now(), host, pkt, offload.Info{})
	}
}

// BenchmarkFlood is what a message costs that nobody wants.
func BenchmarkFlood(b *testing.B) {
	all, group := allDHCPServers(), netip.MustParseAddr("ff02::1:ff00:1")
	for name, pkt := range map[string][]byte{
		"DHCPv6": ip6pkt.UDP(hostLL, all, dhcpClient, dhcpServer, 1, make([]byte, 100)), "RS": solicit(hostLL), "NS": solicitation(host, box, group),
	} {
		b.Run(name, func(b *testing.B) {
			_, r, _ := fastWorld(b)
			c := &socket{port: r, slot: &r.sockets.dhcpv6, udp: true, in: make(chan dataplane.Received, socketQueue), done: make(chan struct{})}
			r.sockets.dhcpv6.Store(c)
			to := neigh.GroupMAC(netip.AddrFrom16([16]byte(pkt[offDst : offDst+16])))
			frame := slices.Concat(to[:], hostMAC[:], []byte{0x86, 0xdd}, pkt)
			b.ReportAllocs()
			for b.Loop() {
				r.arrived(frame, offload.Info{})
			}
		})
	}
}
