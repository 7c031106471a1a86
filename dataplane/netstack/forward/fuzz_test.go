// SPDX-License-Identifier: MIT

package forward

import (
	"bytes"
	"sync"
	"testing"

	"oasis6/dataplane"
)

// Whatever comes in: nothing panics, what is forwarded is the packet with one hop less, an answer is well formed and to
// who has sent, and nothing else is changed.
func FuzzPacket(f *testing.F) {
	for _, p := range paths() {
		f.Add(p.pkt, uint8(p.in), uint16(0), p.open)
	}
	for _, pkt := range [][]byte{
		big(lanHost, farHost, 1500), echo(lanHost, "2001:db8:ebbd:99aa::1"), udp(staleHost, farHost), tcp(staleHost, farHost, tcpSYN),
		parts(big(farHost, lanHost, 1400), 704)[0], parts(big(farHost, lanHost, 1400), 704)[1], icmp(typeTooBig, farHost, lanHost),
		packetOf(protoHopByHop, lanHost, farHost, []byte{17, 0, 0x9e, 4, 0, 0, 0, 0}), udp(lanHost, routedHost), udp("fe80::1", farHost),
	} {
		f.Add(pkt, uint8(lan), uint16(0), false)
		f.Add(pkt, uint8(tunnel), uint16(100), true)
	}
	// Each input has a world of its own: what it does does not depend on those before.
	wants := []dataplane.Desired{variants()[0], variants()[9], aHub()}
	f.Fuzz(func(t *testing.T, pkt []byte, from uint8, gso uint16, hub bool) {
		for n, d := range wants {
			if hub != (n == 2) {
				continue
			}
			w := newWorld(t, d)
			for _, pkt := range [][]byte{tcp(lanHost, farHost, tcpSYN), udp(lanHost, farHost), echo(lanHost, farHost)} {
				w.f.Packet(w.now, lan, hostMAC, pkt, 0)
			}
			p := bytes.Clone(pkt)
			v := w.f.Packet(w.now, Index(from%6), hostMAC, p, int(gso))
			want := bytes.Clone(pkt)
			switch v.Action {
			case Forward:
				want[offHopLimit]--
				if want[offHopLimit] == 0 || !bytes.Equal(v.Packet, want[:len(v.Packet)]) || names[v.Out] == "" || !v.NextHop.IsValid() {
					t.Errorf("forwarded % x, want % x", v.Packet, want)
				}
				if len(v.Redirect) > minMTU {
					t.Errorf("redirect of %d octets", len(v.Redirect))
				}
			case Answer:
				w.checkAnswer(v, trimmed(pkt, gso))
			case Local:
				if !bytes.Equal(v.Packet, pkt[:len(v.Packet)]) {
					t.Errorf("local % x of % x", v.Packet, pkt)
				}
			}
			if !bytes.Equal(p, want) {
				t.Errorf("%s: the packet is % x, was % x", text(v), p, pkt)
			}
			w.f.Output(w.now, Index(from%6), p)
			w.f.Unreachable(w.now, Index(from%6), p)
		}
	})
}

// trimmed is a packet without what a link has padded.
func trimmed(pkt []byte, gso uint16) []byte {
	n := int(pkt[4])<<8 | int(pkt[5])
	if n == 0 && gso > 0 {
		return pkt
	}
	return pkt[:40+n]
}

// Compile takes whatever prefixes, routes and interfaces there are.
func FuzzCompile(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := newFew(seed)
		d := aSite()
		for range r.IntN(20) {
			p := r.prefix()
			d.Routes = append(d.Routes, dataplane.Route{Dst: p, From: r.prefix(), Iface: names[Index(r.IntN(6))], Via: r.addr(), Kind: dataplane.RouteKind(r.IntN(2))})
			d.Addresses = append(d.Addresses, dataplane.Address{Iface: names[Index(r.IntN(6))], Prefix: p})
			d.Firewall.Sources = append(d.Firewall.Sources, dataplane.LANSources{Iface: names[Index(r.IntN(6))], OnLink: pfx(p.String()), Routed: pfx(r.prefix().String())})
		}
		w := newWorld(t, d)
		for range 20 {
			w.from(Index(r.IntN(5)), udp(r.addr().String(), r.addr().String()))
		}
	})
}

// Both directions, changes of the Table, news of neighbors and questions at once. The race detector judges.
func TestManyGoroutines(t *testing.T) {
	w := newWorld(t, aSite())
	var wg sync.WaitGroup
	do := func(f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 2000 {
				f(i)
			}
		}()
	}
	for n := range 2 {
		do(func(i int) {
			q := udpPorts(lanHost, farHost, uint16(i%100), uint16(n))
			w.f.Packet(w.now, lan, hostMAC, q, 0)
			w.f.Packet(w.now, tunnel, [6]byte{}, back(q), 0)
			w.f.Packet(w.now, tunnel, [6]byte{}, echo(farHost, lanNobody), 0)
			w.f.Packet(w.now, lan, routerMAC, udp(routedHost, farHost), 0)
		})
	}
	do(func(i int) { w.f.Set(Compile(variants()[i%16], linksByName)) })
	do(func(i int) { w.f.Neighbor(w.now, lan, ip(routerAddr), [6]byte{5: byte(i)}) })
	do(func(int) { _ = w.f.Stats() })
	do(func(int) { w.f.Output(w.now, tunnel, udp(lanBox, farHost)) })
	wg.Wait()
	w.set(aSite())
	w.f.Neighbor(w.now, lan, ip(lanHost), hostMAC)
	w.sends(udp(lanHost, farHost), out)
	w.answers(back(udp(lanHost, farHost)), in)
}
