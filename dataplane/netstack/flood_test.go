// SPDX-License-Identifier: MIT

package netstack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/forward"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/dataplane/netstack/offload"
	"oasis6/internal/ip6pkt"
)

// forged is one address of many in a /64.
func forged(net netip.Addr, i int) netip.Addr {
	a := net.As16()
	binary.BigEndian.PutUint32(a[12:], uint32(i)+1000)
	return netip.AddrFrom16(a)
}

// solicit is a Router Solicitation of a forged host.
func solicit(src netip.Addr) []byte {
	all := netip.IPv6LinkLocalAllRouters()
	return ip6pkt.ICMPv6(src, all, 255, slices.Concat([]byte{typeRS, 0, 0, 0, 0, 0, 0, 0, 1, 1}, hostMAC[:]))
}

func (w *world) heard() int { return w.p.ports["br-lan"].neighStats().Entries }

// What is over the limit gets neither to the socket nor to the neighbors.
func TestFloodOfRouterSolicitationsCostsNothing(t *testing.T) {
	w := ready(t)
	c, err := w.p.OpenND("br-lan")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := w.heard()
	for i := range 3000 {
		w.fromHost(neigh.GroupMAC(netip.IPv6LinkLocalAllRouters()), solicit(forged(hostLL, i)))
	}
	if n := w.p.Counters().Refused["too many solicitations"]; n != 3000-256 {
		t.Errorf("%d refused, want all but 256", n)
	}
	if n := w.heard() - before; n != 256 {
		t.Errorf("%d neighbors of 3000 solicitations, want 256", n)
	}
	if n := w.p.Counters().Lost[lostSocket.String()]; n != 0 {
		t.Errorf("%d found the socket full, want none", n)
	}
}

// One station that speaks as many does not push out who was heard: of the neighbors, nor of those that are reached freely.
func TestFloodOfNeighborSolicitationsPushesOutNobody(t *testing.T) {
	w := ready(t)
	group := netip.MustParseAddr("ff02::1:ff00:1")
	w.fromHost(neigh.GroupMAC(group), solicitation(host, box, group)) // a host that was only heard
	w.frames()
	for i := range 6000 {
		w.from(neigh.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x66}, neigh.GroupMAC(group), solicitation(forged(host, i), box, group))
	}
	if n := len(w.icmp(typeNA)); n > 600 {
		t.Errorf("%d advertisements for a flood, want some 500", n)
	}
	if _, ok := w.p.ports["br-lan"].lookup(w.p.o.Now(), host); !ok {
		t.Error("the host was forgotten")
	}
	if n := w.p.Counters().Refused["too much Neighbor Discovery of one station"]; n < 5000 {
		t.Errorf("%d refused, want more than 5000", n)
	}
	w.fromHost(neigh.GroupMAC(group), solicitation(host, box, group))
	if n := len(w.icmp(typeNA)); n != 1 {
		t.Errorf("%d answers to another station, want 1", n)
	}
}

// A host that sends to all addresses of its LAN by the box has few asked for (RFC 6583).
func TestScanFromTheLANIsLimited(t *testing.T) {
	w := ready(t)
	for i := range 2000 {
		w.fromHost(boxMAC, datagram(host, forged(nobody, i), 10))
	}
	if n := len(w.icmp(typeNS)); n > 64 {
		t.Errorf("%d solicitations, want at most 64", n)
	}
	w.pass(time.Second)
	w.frames()
	// Who was seen is reached all the same.
	third := netip.MustParseAddr("2001:db8:1::33")
	w.fromHost(boxMAC, datagram(third, far, 10))
	w.fromHost(boxMAC, datagram(host, third, 10))
	asked := slices.ContainsFunc(w.icmp(typeNS), func(f frame) bool {
		return netip.AddrFrom16([16]byte(f.pkt[48:64])) == third
	})
	if !asked {
		t.Error("a host that was seen is not asked for")
	}
}

// The box's own answers to forged senders are few.
func TestAnswersToForgedSendersAreLimited(t *testing.T) {
	w := ready(t)
	for i := range 2000 {
		w.fromHost(boxMAC, ip6pkt.EchoRequest(forged(host, i), box, 64, 1, 1))
		w.fromHost(boxMAC, ip6pkt.EchoRequest(forged(hostLL, i), boxLL, 64, 1, 1))
		if i%10 == 0 {
			w.clock.Advance(time.Millisecond) // so that gVisor answers
		}
	}
	if n := len(w.icmp(typeNS)); n < 100 || n > ownAskBurst+40 {
		t.Errorf("%d solicitations, want some %d", n, ownAskBurst)
	}
	if w.p.Counters().Lost[lostStrange.String()] == 0 {
		t.Error("not counted")
	}
}

// A switch that does not snoop brings what a station asks of others: that is no talk to us, and must not cost it its router.
func TestQuestionsForOthersAreNotCounted(t *testing.T) {
	w := ready(t)
	for i := range 600 {
		other := forged(host, i)
		group := ip6pkt.SolicitedNode(other)
		w.fromHost(neigh.GroupMAC(group), solicitation(host, other, group))
	}
	if n := w.heard(); n != 0 {
		t.Errorf("%d neighbors of questions for others, want none", n)
	}
	w.fromHost(boxMAC, solicitation(host, box, box))
	if n := len(w.icmp(typeNA)); n != 1 {
		t.Errorf("%d advertisements, want 1", n)
	}
	if c := w.p.Counters(); c.Refused["too much Neighbor Discovery of one station"] != 0 {
		t.Errorf("refused: %v", c.Refused)
	}
}

// Whoever forges MACs, those of hosts too, takes the router from no host that is known.
func TestForgedStationsSilenceNobody(t *testing.T) {
	w := ready(t)
	victim := neigh.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x77}
	w.fromHub(ip6pkt.EchoRequest(far, host, 64, 1, 1)) // so that the host is asked, and answers
	w.pass(100 * time.Millisecond)
	w.advertise(host, 0x60, boxLL, boxMAC)
	group := ip6pkt.SolicitedNode(box)
	for i := range 200000 { // so many frames of the flood, or more
		m := neigh.MAC{0x02, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}
		if i%500 == 0 {
			w.from(m, neigh.GroupMAC(group), solicitation(forged(host, i), box, group))
		}
		w.p.fwd.Discovery(w.p.o.Now(), forward.Index(w.p.ports["br-lan"].nic), m, func() (ok, known bool) { return false, false })
	}
	for i := range 2000 {
		w.from(hostMAC, neigh.GroupMAC(group), solicitation(forged(host, i), box, group))
	}
	w.frames()
	for range 1000 { // the host looks whether its router is there
		w.fromHost(boxMAC, solicitation(host, box, box))
	}
	if n := len(w.icmp(typeNA)); n != 1000 {
		t.Errorf("%d of 1000 questions of a known host answered", n)
	}
	w.from(victim, neigh.GroupMAC(group), solicitation(forged(host, 9), box, group))
	if n := len(w.icmp(typeNA)); n != 0 {
		t.Errorf("%d answers to a new station while the flood lasts: the test shows nothing", n)
	}
}

// manyHeard is a flood of forged hosts, each of a station of its own.
func (w *world) manyHeard(n int) {
	group := ip6pkt.SolicitedNode(box)
	for i := range n {
		m := neigh.MAC{0x02, 0, 0, 1, byte(i >> 8), byte(i)}
		w.from(m, neigh.GroupMAC(group), solicitation(forged(host, i), box, group))
	}
}

// Whoever is only heard pushes out nobody who has answered, of those that packets from the tunnel reach freely.
func TestHeardPushOutNobodyWhoHasAnswered(t *testing.T) {
	w := ready(t)
	w.fromHub(ip6pkt.EchoRequest(far, host, 64, 1, 1)) // so that the host is asked
	w.pass(100 * time.Millisecond)
	w.advertise(host, 0x60, boxLL, boxMAC)
	w.manyHeard(9000)
	for i := range 100 { // all tokens
		w.fromHub(ip6pkt.EchoRequest(far, forged(nobody, 1<<20+i), 64, 1, 1))
	}
	w.frames()
	for range 50 {
		w.fromHub(ip6pkt.EchoRequest(far, host, 64, 1, 1))
	}
	if got := w.icmp(ip6pkt.TypeEchoRequest); len(got) != 50 {
		t.Errorf("%d of 50 reach the host", len(got))
	}
}

// RFC 8987: who has a router's prefix is known from the router's answer, also when many were heard since.
func TestRouterIsKnownDuringAFlood(t *testing.T) {
	w := ready(t)
	router, behind := netip.MustParseAddr("fe80::99"), netip.MustParsePrefix("2001:db8:1:10::/64")
	group := ip6pkt.SolicitedNode(boxLL)
	w.fromHost(neigh.GroupMAC(group), solicitation(router, boxLL, group)) // is answered, and asked in turn
	w.p.ports["br-lan"].send(w.p.o.Now(), router, datagram(far, host, 1), offload.Info{})
	w.pass(6 * time.Second)
	w.advertise(router, 0x60, boxLL, boxMAC)
	w.manyHeard(1500)
	want := desired()
	want.Routes = append(want.Routes, dataplane.Route{Dst: behind, Via: router, Iface: "br-lan"})
	want.Firewall.Sources[0].Routed = []netip.Prefix{behind}
	w.apply(want)
	w.toHub()
	w.from(neigh.MAC{0x00, 0x00, 0x5e, 0x00, 0x53, 0x77}, boxMAC, datagram(netip.MustParseAddr("2001:db8:1:10::5"), far, 10))
	if out := w.toHub(); len(out) > 0 {
		t.Error("a router's source by another node has left")
	}
}
