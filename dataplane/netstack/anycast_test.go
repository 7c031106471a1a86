// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/dataplane/netstack/neigh"
	"oasis6/internal/ip6pkt"
)

var (
	subnet      = netip.MustParseAddr("2001:db8:1::")
	subnetGroup = netip.MustParseAddr("ff02::1:ff00:0")
)

// "If the target address is an anycast address, the sender SHOULD delay its response by a random time between 0 and
// MAX_ANYCAST_DELAY_TIME", and the Override flag "SHOULD be set to zero" (RFC 4861 sections 7.2.7 and 7.2.4).
func TestRFC4861_7_2_7_SubnetRouterIsAdvertised(t *testing.T) {
	w := ready(t)
	ask := func(n int, src netip.Addr) {
		for range n {
			w.fromHost(neigh.GroupMAC(subnetGroup), solicitation(src, subnet, subnetGroup))
		}
	}
	ask(40, host)
	if got := w.icmp(typeNA); len(got) > 0 {
		t.Errorf("%d advertisements at once, want a delay", len(got))
	}
	w.pass(300 * time.Millisecond)
	early := w.icmp(typeNA)
	w.pass(800 * time.Millisecond)
	late := w.icmp(typeNA)
	if len(early) == 0 || len(late) == 0 || len(early)+len(late) != 40 {
		t.Fatalf("%d advertisements in the first 0.3 s and %d later, want 40 spread over a second", len(early), len(late))
	}
	if a := early[0]; a.to != hostMAC || a.dst != host || a.src != boxLL || a.hops != 255 || a.pkt[44] != 0xc0 || netip.AddrFrom16([16]byte(a.pkt[48:64])) != subnet {
		t.Errorf("advertisement %+v, want R and S without O", a)
	}
	w.fromHost(boxMAC, solicitation(host, subnet, subnet)) // who looks whether we are still there
	if got := w.icmp(typeNA); len(got) != 1 {
		t.Errorf("%d advertisements to who asks us alone, want 1 at once", len(got))
	}
	ask(1, netip.IPv6Unspecified()) // who wants the address for itself
	w.pass(time.Second)
	all := netip.IPv6LinkLocalAllNodes()
	if got := w.icmp(typeNA); len(got) != 1 || got[0].dst != all || got[0].to != neigh.GroupMAC(all) || got[0].pkt[44] != 0x80 {
		t.Errorf("to who checks if it is free %+v, want an advertisement to all nodes", got)
	}
	ask(300, host)
	w.pass(1100 * time.Millisecond)
	if got := w.icmp(typeNA); len(got) != maxAnycastWaiting {
		t.Errorf("%d advertisements of 300 at once, want %d", len(got), maxAnycastWaiting)
	}
	// No subnet, no routers of it.
	want := desired()
	want.Addresses = want.Addresses[:2]
	ask(1, host)
	w.apply(want)
	w.pass(1100 * time.Millisecond)
	ask(1, host)
	w.pass(1100 * time.Millisecond)
	if got := w.icmp(typeNA); len(got) > 0 {
		t.Errorf("%d advertisements without the subnet", len(got))
	}
}

// An echo request is answered by the one router that got it, from an address that is its alone.
func TestRFC4291_2_6_1_SubnetRouterAnswersEcho(t *testing.T) {
	w := ready(t)
	w.fromHost(neigh.GroupMAC(subnetGroup), solicitation(host, box, subnetGroup)) // who asks is known
	w.pass(time.Second)
	w.frames()
	w.fromHost(boxMAC, ip6pkt.EchoRequest(host, subnet, 64, 7, 1))
	got := w.icmp(ip6pkt.TypeEchoReply)
	if len(got) != 1 || got[0].src != box || got[0].dst != host || got[0].to != hostMAC || got[0].pkt[45] != 7 {
		t.Fatalf("to the host %+v, want a reply from %v", got, box)
	}
	if _, err := ip6pkt.ParseICMPv6(got[0].pkt); err != nil {
		t.Error(err)
	}
	w.fromHost(neigh.GroupMAC(subnetGroup), solicitation(hostLL, boxLL, subnetGroup))
	w.fromHost(boxMAC, ip6pkt.EchoRequest(hostLL, subnet, 64, 7, 1))
	if got := w.icmp(ip6pkt.TypeEchoReply); len(got) != 1 || got[0].src != box || got[0].dst != hostLL {
		t.Errorf("to a link-local address %+v, want a reply from %v", got, box)
	}
	w.fromHub(ip6pkt.EchoRequest(far, subnet, 64, 7, 1))
	if out := w.toHub(); len(out) != 1 || out[0][40] != ip6pkt.TypeEchoReply || netip.AddrFrom16([16]byte(out[0][8:24])) != box {
		t.Errorf("to the hub %x, want a reply", out)
	}
	big := ip6pkt.ICMPv6(far, subnet, 64, append([]byte{ip6pkt.TypeEchoRequest, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 1432)...))
	w.fromHost(boxMAC, big) // as if far were on the LAN; the tunnel takes 1420 octets
	if out := w.toHub(); len(out) > 0 {
		t.Errorf("%d octets to the hub", len(out[0]))
	}
	broken := ip6pkt.EchoRequest(host, subnet, 64, 7, 1)
	broken[47]++
	for _, pkt := range [][]byte{broken, datagram(host, subnet, 10), ip6pkt.ICMPv6(host, subnet, 64, []byte{129, 0, 0, 0, 0, 0, 0, 0})} {
		w.fromHost(boxMAC, pkt)
	}
	if got := w.frames(); len(got) > 0 {
		t.Errorf("to what is no question %+v", got)
	}
}

// The switches of the LAN hear that the box wants the questions (RFC 4541).
func TestSubnetRouterJoinsItsGroup(t *testing.T) {
	w := newWorld(t, Given{})
	want := desired()
	want.Addresses = append(want.Addresses, dataplane.Address{Iface: "br-lan", Prefix: netip.MustParsePrefix("2001:db8:1:2::77/127")})
	w.apply(want)
	w.pass(5 * time.Second)
	joined := func() bool {
		in, err := w.p.stack.IsInGroup(w.p.ports["br-lan"].nic, fromAddr(subnetGroup))
		return err == nil && in
	}
	if !joined() {
		t.Error("the group was not joined")
	}
	if _, is := w.p.view.Load().anycast[netip.MustParseAddr("2001:db8:1:2::76")]; is {
		t.Error("a subnet of 127 bits has no such address (RFC 6164)")
	}
	want.Addresses = want.Addresses[:2]
	w.apply(want)
	w.pass(time.Second)
	if joined() {
		t.Error("the group was not left")
	}
}
