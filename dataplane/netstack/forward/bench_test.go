// SPDX-License-Identifier: MIT

package forward

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"oasis6/dataplane"
)

// paths are the ways on which packets are many.
func paths() map[string]struct {
	open bool
	in   Index
	pkt  []byte
} {
	type path = struct {
		open bool
		in   Index
		pkt  []byte
	}
	data := tcp(lanHost, farHost, tcpACK)
	return map[string]path{
		"closed out":   {false, lan, data},
		"closed in":    {false, tunnel, back(data)},
		"open out":     {true, lan, data},
		"open in":      {true, tunnel, back(data)},
		"LAN to LAN":   {false, lan, udp(lanHost, guestHost)},
		"unsolicited":  {false, tunnel, syn(farHost, lanHost)},
		"scan dropped": {true, tunnel, syn(farHost, lanNobody)},
	}
}

func pathWorld(t testing.TB, open bool) *world {
	d := aSite()
	d.Firewall.Open = open
	w := newWorld(t, d)
	w.f.Neighbor(w.now, lan, ip(routerAddr), routerMAC)
	w.sends(tcp(lanHost, farHost, tcpACK), out)
	w.scan(neighborBurst, syn)
	return w
}

// The path of packets allocates nothing.
func TestPacketsAllocateNothing(t *testing.T) {
	for name, p := range paths() {
		w := pathWorld(t, p.open)
		if n := testing.AllocsPerRun(1000, func() {
			p.pkt[offHopLimit] = 64
			w.now = w.now.Add(time.Microsecond)
			w.f.Packet(w.now, p.in, hostMAC, p.pkt, 0)
		}); n != 0 {
			t.Errorf("%s: %v allocations for each packet", name, n)
		}
	}
	w := newWorld(t, aSite())
	q := udp(lanBox, farHost)
	w.f.Output(w.now, tunnel, q)
	if n := testing.AllocsPerRun(1000, func() { w.f.Output(w.now, tunnel, q) }); n != 0 {
		t.Errorf("Output: %v allocations", n)
	}
}

func BenchmarkPacket(b *testing.B) {
	for name, p := range paths() {
		b.Run(name, func(b *testing.B) {
			w := pathWorld(b, p.open)
			b.ReportAllocs()
			for b.Loop() {
				p.pkt[offHopLimit] = 64
				w.now = w.now.Add(time.Microsecond)
				w.f.Packet(w.now, p.in, hostMAC, p.pkt, 0)
			}
		})
	}
}

// Both directions at once, with as many flows as there may be.
func BenchmarkManyFlows(b *testing.B) {
	w := newWorld(b, aSite())
	for i := range DefaultFlows {
		w.sends(udpPorts(lanHost, farHost, uint16(i), 53), out)
	}
	b.RunParallel(func(pb *testing.PB) {
		q := udpPorts(lanHost, farHost, 0, 53)
		pkts := [2][]byte{q, back(q)}
		for i := 0; pb.Next(); i++ {
			n, from := byte(i>>1), [2]Index{lan, tunnel}[i&1]
			p := pkts[i&1]
			p[offHopLimit], p[40+2*(i&1)+1] = 64, n
			w.f.Packet(w.now, from, hostMAC, p, 0)
		}
	})
}

// New flows, each of which pushes one out.
func BenchmarkNewFlows(b *testing.B) {
	w := newWorld(b, aSite())
	p := udpPorts(lanHost, farHost, 0, 53)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p[offHopLimit] = 64
		p[38], p[39], p[40], p[41] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
		w.f.Packet(w.now, lan, hostMAC, p, 0)
	}
}

// The table of a hub with ten thousand sites.
func BenchmarkHubTable(b *testing.B) {
	d := aHub()
	for i := range 10000 {
		p := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x:%x::/64", 0x8000+i>>8, i&0xff))
		d.Routes = append(d.Routes, dataplane.Route{Dst: p, Iface: "oasis0", Metric: 128})
	}
	d.Hub.Pools = pfx("2001:db8:8000::/33")
	b.Run("compile", func(b *testing.B) {
		for b.Loop() {
			Compile(d, links())
		}
	})
	b.Run("packet", func(b *testing.B) {
		w := newWorld(b, d)
		p := udp(foreign, "2001:db8:8010:42::1")
		for b.Loop() {
			p[offHopLimit] = 64
			if v := w.f.Packet(w.now, wan, hostMAC, p, 0); v.Action != Forward {
				b.Fatal(text(v))
			}
		}
	})
}
