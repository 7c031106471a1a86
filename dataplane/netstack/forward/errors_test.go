// SPDX-License-Identifier: MIT

package forward

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/ip6pkt"
)

func big(src, dst string, size int) []byte {
	return ip6pkt.UDP(ip(src), ip(dst), 40000, 53, 64, make([]byte, size-48))
}

// "A Packet Too Big MUST be sent by a router in response to a packet that it cannot forward because the packet is larger
// than the MTU of the outgoing link." (RFC 4443 section 3.2)
func TestRFC4443_3_2_PacketTooBig(t *testing.T) {
	run(t, aSite(), []ruleCase{
		{lan, big(lanHost, farHost, 1420), "forward oasis0"},
		{lan, big(lanHost, farHost, 1421), "answer 2/0 1420: too big"},
		{lan, big(lanHost, guestHost, 1500), "forward br-guest"},
		{lan, big(lanHost, guestHost, 1501), "answer 2/0 1500: too big"},
		{lan, big(foreign, farHost, 1421), "answer 2/0 1420: too big"}, // before the firewall, as Linux has it
	})
	small := links()
	l := small["br-guest"]
	l.MTU = 576 // no IPv6 link, but the kernel lets it be set
	small["br-guest"] = l
	w := newWorld(t, aSite())
	w.f.Set(Compile(aSite(), small))
	w.wants(w.from(lan, big(lanHost, guestHost, 1280)), "forward br-guest")
	w.wants(w.from(lan, big(lanHost, guestHost, 1281)), "answer 2/0 1280: too big")
}

// Of a super-packet each segment must fit, not the whole.
func TestSuperPacketsAreMeasuredBySegment(t *testing.T) {
	w := newWorld(t, aSite())
	seg := make([]byte, 20+12+60000)
	seg[12], seg[13] = 8<<4, tcpACK
	pkt := packetOf(protoTCP, lanHost, farHost, seg)
	for gso, want := range map[int]string{1348: "forward oasis0", 1349: "answer 2/0 1420: too big", 0: "answer 2/0 1420: too big"} {
		w.wants(w.f.Packet(w.now, lan, hostMAC, bytes.Clone(pkt), gso), want)
	}
	long := append(bytes.Clone(pkt), make([]byte, 30000)...) // more than the length field can say
	long[4], long[5] = 0, 0
	v := w.f.Packet(w.now, lan, hostMAC, long, 1348)
	if w.wants(v, "forward oasis0"); len(v.Packet) != len(long) {
		t.Errorf("%d octets of %d", len(v.Packet), len(long))
	}
	u := ip6pkt.UDP(ip(lanHost), ip(farHost), 1, 2, 64, make([]byte, 5000))
	w.wants(w.f.Packet(w.now, lan, hostMAC, bytes.Clone(u), 1372), "forward oasis0")
	w.wants(w.f.Packet(w.now, lan, hostMAC, bytes.Clone(u), 1373), "answer 2/0 1420: too big")
}

// "If a router receives a packet with a Hop Limit of zero, or if a router decrements a packet's Hop Limit to zero, it MUST
// discard the packet and originate an ICMPv6 Time Exceeded message with Code 0" (RFC 4443 section 3.3)
func TestRFC4443_3_3_TimeExceeded(t *testing.T) {
	for hop, want := range map[byte]string{0: "answer 3/0: hop limit exceeded", 1: "answer 3/0: hop limit exceeded", 2: "forward oasis0", 255: "forward oasis0"} {
		w := newWorld(t, aSite())
		pkt := with(udp(lanHost, farHost), offHopLimit, hop)
		before := bytes.Clone(pkt)
		v := w.from(lan, pkt)
		w.wants(v, want)
		if v.Action == Forward {
			before[offHopLimit]--
		}
		if !bytes.Equal(pkt, before) {
			t.Errorf("hop limit %d: the packet is % x, want % x", hop, pkt, before)
		}
		w.wants(w.from(lan, with(udp(lanHost, lanBox), offHopLimit, hop)), "local")
	}
}

// Destination Unreachable code 2, beyond scope of source address (RFC 4443 section 3.1), as Linux has it; and "Routers must
// not forward any packets with Link-Local source or destination addresses to other links." (RFC 4291 section 2.5.6)
func TestRFC4443_3_1_BeyondScope(t *testing.T) {
	const hostLL = "fe80::200:5eff:fe00:5310"
	w := newWorld(t, aSite())
	v := w.from(lan, udp(hostLL, farHost))
	w.wants(v, "answer 1/2: link-local source beyond its link")
	if src := netip.AddrFrom16([16]byte(v.Packet[8:24])); src != ip(lanLL) {
		t.Errorf("the answer is from %s, want %s", src, lanLL)
	}
	run(t, aSite(), []ruleCase{
		{lan, udp(lanHost, "fe80::1234"), "drop: to a link-local address"},
		{lan, udp(hostLL, lanLL), "local"},
		{lan, udp(hostLL, tunnelLL), "drop: to a link-local address"}, // ours, but on another link
		{lan, udp(hostLL, lanBox), "local"},
		{lan, udp(hostLL, "ff02::1"), "local"},
	})
}

// Addresses that no packet on a link has (RFC 4291 sections 2.5.2, 2.5.3, 2.5.5.2 and 2.7).
func TestRFC4291_2_5_AddressesThatNoPacketHas(t *testing.T) {
	cases := []ruleCase{
		{lan, udp("::", farHost), "drop: an address that no packet has"},
		{lan, icmp(typeNeighborSolicit, "::", "ff02::1:ff00:1"), "local"}, // duplicate address detection
		{lan, udp("::1", farHost), "drop: an address that no packet has"},
		{lan, udp("::1", lanBox), "drop: an address that no packet has"},
		{lan, udp("ff02::1", farHost), "drop: an address that no packet has"},
		{lan, udp(lanHost, "::1"), "drop: an address that no packet has"},
		{lan, udp(lanHost, "::"), "drop: an address that no packet has"},
		{lan, udp(lanHost, "ff01::1"), "drop: an address that no packet has"},
		{lan, udp(lanHost, "ff00::1"), "drop: an address that no packet has"},
		{lan, udp(lanHost, "ff0e::1"), "local"}, // never forwarded
	}
	mapped := udp(lanHost, farHost)
	a := netip.AddrFrom16(ip("::ffff:192.0.2.1").As16()).As16()
	copy(mapped[8:], a[:])
	run(t, aSite(), append(cases, ruleCase{lan, mapped, "drop: an address that no packet has"}))
}

// What an ICMPv6 error is never sent for (RFC 4443 section 2.4 e).
func TestRFC4443_2_4_NoErrorFor(t *testing.T) {
	nowhere := "2001:db8:ebbd:99aa::1"
	for name, c := range map[string]ruleCase{
		"an error":                {lan, icmp(typeTooBig, lanHost, nowhere), "drop: unreachable route"},
		"an unknown error":        {lan, icmp(127, lanHost, nowhere), "drop: unreachable route"},
		"a redirect":              {lan, icmp(typeRedirect, lanHost, nowhere), "drop: unreachable route"},
		"an error behind headers": {lan, packetOf(protoDestOpts, lanHost, nowhere, append([]byte{protoICMPv6, 0, 1, 4, 0, 0, 0, 0}, icmp(1, lanHost, nowhere)[40:]...)), "drop: unreachable route"},
		"a later part":            {lan, parts(big(lanHost, nowhere, 1300), 640)[1], "drop: unreachable route"},
		"the first part":          {lan, parts(big(lanHost, nowhere, 1300), 640)[0], "answer 1/0: unreachable route"},
		"an echo request":         {lan, echo(lanHost, nowhere), "answer 1/0: unreachable route"},
		"a kind without a name":   {lan, icmp(200, lanHost, nowhere), "answer 1/0: unreachable route"},
	} {
		t.Run(name, func(t *testing.T) { run(t, aSite(), []ruleCase{c}) })
	}
}

// "Every ICMPv6 error message (type < 128) MUST include as much of the IPv6 offending (invoking) packet [...] as possible
// without making the error message packet exceed the minimum IPv6 MTU"; and it goes where the packet came from.
func TestRFC4443_2_4_ErrorsAreWellFormed(t *testing.T) {
	for _, pkt := range [][]byte{
		udp(staleHost, farHost), big(lanHost, farHost, 1421), big(lanHost, farHost, 1500), with(big(lanHost, farHost, 1232), 7, 1), with(big(lanHost, farHost, 1233), 7, 1),
	} {
		w := newWorld(t, aSite())
		padded := append(bytes.Clone(pkt), 0, 0, 0, 0)
		v := w.from(lan, padded)
		w.checkAnswer(v, pkt)
		if v.Out != lan || v.MAC != hostMAC || v.NextHop != netip.AddrFrom16([16]byte(pkt[8:24])) {
			t.Errorf("the answer goes to %s, %x, by %s", v.NextHop, v.MAC, names[v.Out])
		}
	}
}

// The source of an error is an address that the sender can know us by (RFC 6724 section 5): never link-local to a global
// one, none of the site's own to the outside, of the delegation on the tunnel.
func TestSourceOfErrors(t *testing.T) {
	nowhere, d := "2001:db8:ebbd:99aa::1", aSite()
	source := func(in Index, pkt []byte) string {
		t.Helper()
		w := newWorld(t, d)
		v := w.from(in, pkt)
		if v.Action != Answer {
			return text(v)
		}
		return netip.AddrFrom16([16]byte(v.Packet[8:24])).String()
	}
	for _, c := range []struct {
		in       Index
		src, dst string
		want     string
	}{
		{lan, lanHost, nowhere, lanBox},
		{lan, localHost, nowhere, localBox},
		{lan, foreign, nowhere, lanBox},
		{guest, guestHost, nowhere, guestBox},
		{guest, localHost, nowhere, guestBox}, // forged, or two networks on one wire: the interface goes before the label
		{tunnel, farHost, nowhere, lanBox},
		{wan, "2001:db8:1::9", nowhere, "2001:db8:1::2"},
	} {
		if got := source(c.in, udp(c.src, c.dst)); got != c.want {
			t.Errorf("to %s by %s: from %s, want %s", c.src, names[c.in], got, c.want)
		}
	}
	for i := range d.Addresses {
		d.Addresses[i].Deprecated = d.Addresses[i].Iface == "br-guest"
	}
	if got := source(tunnel, udp(farHost, nowhere)); got != lanBox {
		t.Errorf("from %s, which is deprecated", got)
	}
	d.Addresses = append(d.Addresses, address("oasis0", "2001:db8:ebbd:99ff::1/128"))
	w := newWorld(t, d)
	l := links()
	tun := l["oasis0"]
	tun.Addrs = append(tun.Addrs, ip("2001:db8:ebbd:99ff::1"))
	l["oasis0"] = tun
	w.f.Set(Compile(d, l))
	if v := w.from(tunnel, udp(farHost, nowhere)); v.Action != Answer || netip.AddrFrom16([16]byte(v.Packet[8:24])) != ip("2001:db8:ebbd:99ff::1") {
		t.Errorf("the tunnel's own address is not taken: %+v", v)
	}
}

// "an IPv6 node MUST limit the rate of ICMPv6 error messages it originates" (RFC 4443 section 2.4 f): of each host, and of
// all together; Packet Too Big by itself.
func TestRFC4443_2_4_ErrorsAreLimited(t *testing.T) {
	w := newWorld(t, aSite())
	count := func(n int, pkt func(i int) []byte) (got int) {
		for i := range n {
			if w.from(lan, pkt(i)).Action == Answer {
				got++
			}
		}
		return got
	}
	nowhere := func(int) []byte { return udp(lanHost, "2001:db8:ebbd:99aa::1") }
	if got := count(100, nowhere); got != errorBurst {
		t.Errorf("%d errors at once, want %d", got, errorBurst)
	}
	if got := count(100, func(int) []byte { return big(lanHost, farHost, 1421) }); got != tooBigBurst {
		t.Errorf("%d Packet Too Big at once, want %d", got, tooBigBurst)
	}
	w.after(time.Second / errorRate)
	if got := count(100, nowhere); got != 1 {
		t.Errorf("%d errors after a time for one", got)
	}
	w.after(time.Minute)
	got := count(10000, func(i int) []byte {
		src := ip(lanHost).As16()
		binary.BigEndian.PutUint16(src[12:], uint16(i))
		return udp(netip.AddrFrom16(src).String(), "2001:db8:ebbd:99aa::1")
	})
	if got != allErrorBurst {
		t.Errorf("%d errors to many hosts at once, want %d", got, allErrorBurst)
	}
	if s := w.f.Stats(); s.Silent == 0 || s.Refused["unreachable route"] != 10200 {
		t.Errorf("counted: %+v", s)
	}
}

// Who has no neighbor is told so (RFC 4443 section 3.1, code 3).
func TestRFC4443_3_1_AddressUnreachable(t *testing.T) {
	w := newWorld(t, aSite())
	pkt := udp(lanHost, guestHost)
	w.wants(w.from(lan, pkt), "forward br-guest")
	v := w.f.Unreachable(w.now, lan, pkt)
	w.wants(v, "answer 1/3: no neighbor answers")
	w.checkAnswer(v, pkt)
	w.wants(w.f.Unreachable(w.now, lan, icmp(1, lanHost, guestHost)), "drop: no neighbor answers")
	w.wants(w.f.Unreachable(w.now, 77, pkt), "drop: no neighbor answers")
	w.wants(w.f.Unreachable(w.now, lan, pkt[:30]), "drop: no neighbor answers")
}

// Hop-by-hop options that a router does not know do what their two highest bits say (RFC 8200 section 4.2).
func TestRFC8200_4_2_UnknownHopByHopOptions(t *testing.T) {
	options := func(dst string, o ...byte) []byte {
		o = append([]byte{protoUDP, byte((len(o)+2)/8) - 1}, o...)
		return packetOf(protoHopByHop, lanHost, dst, append(o, udp(lanHost, dst)[40:]...))
	}
	run(t, aSite(), []ruleCase{
		{lan, options(farHost, 1, 4, 0, 0, 0, 0), "forward oasis0"},
		{lan, options(farHost, 0, 0, 0, 0, 0, 0), "forward oasis0"},
		{lan, options(farHost, optRouterAlert, 2, 0, 0, 0, 0), "forward oasis0"},
		{lan, options(farHost, 0x1e, 4, 0, 0, 0, 0), "forward oasis0"},
		{lan, options(farHost, 0x5e, 4, 0, 0, 0, 0), "drop: a hop-by-hop option"},
		{lan, options(farHost, 0x9e, 4, 0, 0, 0, 0), "answer 4/2 42: a hop-by-hop option"},
		{lan, options(farHost, 1, 0, 0xde, 2, 0, 0), "answer 4/2 44: a hop-by-hop option"},
		{lan, options("ff0e::1", 0x9e, 4, 0, 0, 0, 0), "answer 4/2 42: a hop-by-hop option"},
		{lan, options("ff0e::1", 0xde, 4, 0, 0, 0, 0), "drop: a hop-by-hop option"},
		{lan, options(farHost, optJumbo, 4, 0, 1, 0, 0), "drop: a hop-by-hop option"},
		{lan, options(farHost, 0x1e, 5, 0, 0, 0, 0), "drop: a hop-by-hop option"},                          // beyond the header
		{lan, options(farHost, 0, 0, 0, 0, 0, 0x1e), "drop: a hop-by-hop option"},                          // without a length
		{lan, packetOf(protoHopByHop, lanHost, farHost, []byte{17, 9, 0, 0}), "drop: a hop-by-hop option"}, // cut
		{lan, options(farHost, bytes.Repeat([]byte{0x1e, 0}, 11)...), "drop: a hop-by-hop option"},         // too many
		{lan, options(farHost, bytes.Repeat([]byte{1, 0}, 11)...), "forward oasis0"},
	})
}

// A packet with a damaged header is none.
func TestMalformed(t *testing.T) {
	good := udp(lanHost, farHost)
	cut := bytes.Clone(good)[:len(good)-1]
	run(t, aSite(), []ruleCase{
		{lan, cut, "drop: malformed"},
		{lan, good[:39], "drop: malformed"},
		{lan, with(bytes.Clone(good), 0, 0x45), "drop: malformed"},
		{lan, nil, "drop: malformed"},
	})
	w := newWorld(t, aSite())
	w.wants(w.by(9, hostMAC, good), "drop: unknown interface")
	w.wants(w.by(-1, hostMAC, good), "drop: unknown interface")
	v := w.from(lan, append(bytes.Clone(good), 0, 0)) // an Ethernet pads
	if len(v.Packet) != len(good) {
		t.Errorf("forwarded %d octets, want %d", len(v.Packet), len(good))
	}
}

// The Subnet-Router anycast address of each prefix is ours (RFC 4291 section 2.6.1), and nothing is sent from it.
func TestRFC4291_2_6_1_SubnetRouterAnycast(t *testing.T) {
	d := aSite()
	d.Addresses = append(d.Addresses, dataplane.Address{Iface: "br-lan", Prefix: netip.MustParsePrefix("2001:db8:ebbd:990c::/127")})
	run(t, d, []ruleCase{
		{lan, echo(lanHost, "2001:db8:ebbd:990a::"), "local"},
		{lan, echo(lanHost, "2001:db8:ebbd:990b::"), "local"},
		{tunnel, echo(farHost, "2001:db8:ebbd:990a::"), "local"},
		{lan, echo(lanHost, "2001:db8:ebbd:990c::"), "forward br-lan and a redirect"},
	})
}
