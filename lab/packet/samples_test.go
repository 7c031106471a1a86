// SPDX-License-Identifier: MIT

package packet

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/lifetime"
	"oasis6/ra"
)

var (
	router   = netip.MustParseAddr("fe80::1")
	host     = netip.MustParseAddr("fe80::200:5eff:fe00:5302")
	global   = netip.MustParseAddr("2001:db8:a::2")
	server   = netip.MustParseAddr("2001:db8:53::80")
	outerA   = netip.MustParseAddr("192.0.2.2")
	outerB   = netip.MustParseAddr("198.51.100.2")
	routerHW = [6]byte{0, 0, 0x5e, 0, 0x53, 1}
	hostHW   = [6]byte{0, 0, 0x5e, 0, 0x53, 2}
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// eth puts a frame around a packet. Multicast goes to its group's MAC, all else to dst.
func eth(packet []byte, src, dst [6]byte) []byte {
	typ := uint16(0x0800)
	if packet[0]>>4 == 6 {
		typ = 0x86dd
		if packet[24] == 0xff {
			dst = [6]byte{0x33, 0x33, packet[36], packet[37], packet[38], packet[39]}
		}
	}
	return slices.Concat(dst[:], src[:], []byte{byte(typ >> 8), byte(typ)}, packet)
}

// icmp6frame is an ICMPv6 message from the router, or from the host if its source is another.
func icmp6frame(src, dst netip.Addr, hops uint8, body []byte) []byte {
	from, to := routerHW, hostHW
	if src != router {
		from, to = hostHW, routerHW
	}
	return eth(ip6pkt.ICMPv6(src, dst, hops, body), from, to)
}

// ipv4 is a packet with its header checksum.
func ipv4(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 63, proto, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	sum := ip6pkt.Checksum(netip.IPv4Unspecified(), netip.IPv4Unspecified(), 0, b) + 20
	binary.BigEndian.PutUint16(b[10:], sum)
	return append(b, payload...)
}

// udp4 is a UDP datagram over IPv4.
func udp4(src, dst netip.AddrPort, payload []byte) []byte {
	u := binary.BigEndian.AppendUint16(nil, src.Port())
	u = binary.BigEndian.AppendUint16(u, dst.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(payload)))
	u = append(append(u, 0, 0), payload...)
	binary.BigEndian.PutUint16(u[6:], ip6pkt.Checksum(src.Addr(), dst.Addr(), protoUDP, u))
	return ipv4(src.Addr(), dst.Addr(), protoUDP, u)
}

// tcp6 is a TCP segment over IPv6 with its checksum.
func tcp6(src, dst netip.AddrPort, flags uint8, options, payload []byte) []byte {
	t := binary.BigEndian.AppendUint16(nil, src.Port())
	t = binary.BigEndian.AppendUint16(t, dst.Port())
	t = append(t, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, byte(5+len(options)/4)<<4, flags, 0xfa, 0xf0, 0, 0, 0, 0)
	t = append(append(t, options...), payload...)
	binary.BigEndian.PutUint16(t[16:], ip6pkt.Checksum(src.Addr(), dst.Addr(), protoTCP, t))
	return ip6pack(src.Addr(), dst.Addr(), protoTCP, t)
}

func ip6pack(src, dst netip.Addr, next uint8, payload []byte) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 0, next, 64}
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	return slices.Concat(b, src.AsSlice(), dst.AsSlice(), payload)
}

// plainChecksum fills in the checksum of an ICMP message of IPv4, which has no pseudo-header.
func plainChecksum(b []byte) {
	zero := netip.IPv4Unspecified()
	sum := uint32(ip6pkt.Checksum(zero, zero, 0, b)) + uint32(len(b))
	binary.BigEndian.PutUint16(b[2:], uint16(sum+sum>>16))
}

func port(a netip.Addr, n uint16) netip.AddrPort { return netip.AddrPortFrom(a, n) }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// advert is an RA with every option that routers send.
func advert(t testing.TB) []byte {
	b, err := ra.RouterAdvertisement{CurHopLimit: 64, Managed: true, OtherConfig: true, Preference: ra.High, RouterLifetime: 2700,
		Options: []ra.Option{ra.SourceLinkLayer(routerHW), ra.MTU(1420),
			ra.PrefixInformation{Prefix: pfx("2001:db8:a::/64"), OnLink: true, Autonomous: true, Valid: 5400, Preferred: 2700},
			ra.PrefixInformation{Prefix: pfx("2001:db8:b::/64"), Autonomous: true, Valid: lifetime.Infinity},
			ra.RouteInformation{Prefix: pfx("2001:db8:a::/48"), Preference: ra.Low, Lifetime: 4000},
			ra.RDNSS{Lifetime: 5400, Servers: []netip.Addr{server, netip.MustParseAddr("2001:db8:53::54")}},
			ra.DNSSL{Lifetime: 5400, Domains: []string{"lan.example", "example.net"}},
			ra.PREF64{Lifetime: 1800, Prefix: pfx("64:ff9b::/96")},
			ra.CaptivePortal("https://portal.example/api"),
			ra.RawOption{Type: 26, Data: []byte{0x80, 0, 0, 0, 0, 0}},
		}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dhcpReply is a Reply with every option that the product knows.
func dhcpReply() dhcpv6.Message {
	client, server := dhcpv6.DUID("\x00\x01\x00\x01\x2c\xbb\xcc\xdd\x00\x00\x5e\x00\x53\x02"), dhcpv6.NewDUIDUUID([16]byte{1, 2, 3})
	return dhcpv6.Message{Type: dhcpv6.Reply, XID: 0xa1b2c3, ClientID: client, ServerID: server,
		IAs: []dhcpv6.IA{
			{Type: dhcpv6.NA, IAID: 1, T1: 1350, T2: 2160, Prefixes: []dhcpv6.IAPrefix{{Preferred: 2700, Valid: 5400, Prefix: pfx("2001:db8:a::17/128")}}},
			{Type: dhcpv6.PD, IAID: 2, T1: 1350, T2: 2160, Prefixes: []dhcpv6.IAPrefix{
				{Preferred: 2700, Valid: 5400, Prefix: pfx("2001:db8:dead:be00::/56"), Exclude: pfx("2001:db8:dead:beff::/64")},
				{Prefix: pfx("2001:db8:2::/48"), Status: dhcpv6.Status{Code: dhcpv6.NoPrefixAvail, Text: "gone"}}}},
			{Type: dhcpv6.NA, IAID: 3, Status: dhcpv6.Status{Code: dhcpv6.NoAddrsAvail, Text: "none left"}}},
		Preference: 7, RapidCommit: true, Status: dhcpv6.Status{Text: "all well"},
		ReconfigureAccept: true, Auth: dhcpv6.KeyAuth(dhcpv6.ReconfigureKey{9, 8, 7}, 5),
		DNS: []netip.Addr{server2()}, Search: []string{"lan.example", "example.net"},
		NTP:           []dhcpv6.NTPServer{{Name: "ntp.example"}, {Addr: netip.MustParseAddr("2001:db8::123")}, {Addr: netip.MustParseAddr("ff05::101")}},
		CaptivePortal: "https://portal.example/api", SolMaxRT: 3600, InfMaxRT: 7200, RefreshTime: 86400}
}

func server2() netip.Addr { return netip.MustParseAddr("2001:db8::53") }

func dhcpFrame(m dhcpv6.Message) []byte {
	if m.Type == dhcpv6.Reply || m.Type == dhcpv6.Advertise || m.Type == dhcpv6.Reconfigure {
		return eth(ip6pkt.UDP(router, host, dhcpv6.ServerPort, dhcpv6.ClientPort, 64, m.Append(nil)), routerHW, hostHW)
	}
	return eth(ip6pkt.UDP(host, netip.MustParseAddr("ff02::1:2"), dhcpv6.ClientPort, dhcpv6.ServerPort, 1, m.Append(nil)), hostHW, routerHW)
}

// solicit is what our client sends first.
func solicit() dhcpv6.Message {
	return dhcpv6.Message{Type: dhcpv6.Solicit, XID: 0x010203, ClientID: "\x00\x03\x00\x01\x00\x00\x5e\x00\x53\x02", ElapsedTime: 123,
		IAs: []dhcpv6.IA{{Type: dhcpv6.PD, IAID: 1, Prefixes: []dhcpv6.IAPrefix{{Prefix: pfx("::/56")}}}},
		ORO: []dhcpv6.OptionCode{dhcpv6.OptionDNSServers, dhcpv6.OptionSolMaxRT, dhcpv6.OptionPDExclude}}
}

// lookup is a DNS answer with two AAAA records.
func lookup(t testing.TB) []byte {
	name := dnsmessage.MustNewName("www.example.com.")
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 0x4242, Response: true, RecursionDesired: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeAAAA, Class: dnsmessage.ClassINET}}}
	for i := range 2 {
		a := server.As16()
		a[15] += byte(i)
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 300}, Body: &dnsmessage.AAAAResource{AAAA: a}})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wg is a WireGuard message of the right size with octets that mean nothing.
func wg(typ byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	copy(b, []byte{typ, 0, 0, 0, 0x78, 0x56, 0x34, 0x12})
	return b
}

// sample is one frame with its kind and its line.
type sample struct {
	name    string
	frame   []byte
	kind    Kind
	summary string
}

func samples(t testing.TB) []sample {
	return slices.Concat(neighbourSamples(t), applicationSamples(t), outerSamples(t))
}

func neighbourSamples(t testing.TB) []sample {
	redirected := slices.Concat([]byte{4, 6, 0, 0, 0, 0, 0, 0}, ip6pack(global, server, protoNone, nil))
	echo := ip6pkt.EchoRequest(global, server, 64, 0x77, 3)
	return []sample{
		{"ra", icmp6frame(router, ra.AllNodes, 255, advert(t)), RA, "Router Advertisement: router for 45 min, MTU 1420, prefix 2001:db8:a::/64 (L A, preferred 45 min), prefix 2001:db8:b::/64 (A, preferred 0 s), route 2001:db8:a::/48, DNS 2001:db8:53::80, 2001:db8:53::54, NAT64 64:ff9b::/96"},
		{"rs", icmp6frame(host, ra.AllRouters, 255, unhex(t, "85000000 00000000 0101 00005e005302")), RS, "Router Solicitation"},
		{"dad", icmp6frame(netip.IPv6Unspecified(), netip.MustParseAddr("ff02::1:ff00:2"), 255, slices.Concat(unhex(t, "87000000 00000000"), global.AsSlice(), unhex(t, "0e01 010203040506"))), NS, "Neighbor Solicitation: is 2001:db8:a::2 taken? (duplicate address detection)"},
		{"ns", icmp6frame(host, router, 255, slices.Concat(unhex(t, "87000000 00000000"), router.AsSlice(), unhex(t, "0101 00005e005302"))), NS, "Neighbor Solicitation: who has fe80::1?"},
		{"na", icmp6frame(router, host, 255, slices.Concat(unhex(t, "88000000 e0000000"), router.AsSlice(), unhex(t, "0201 00005e005301"))), NA, "Neighbor Advertisement: fe80::1 is at 00:00:5e:00:53:01 [R S O]"},
		{"redirect", icmp6frame(router, host, 255, slices.Concat(unhex(t, "89000000 00000000"), host.AsSlice(), server.AsSlice(), unhex(t, "0201 00005e005302"), redirected)), Redirect, "Redirect: to 2001:db8:53::80 better by fe80::200:5eff:fe00:5302"},
		{"mldv2", eth(routerAlert(t, slices.Concat(unhex(t, "8f000000 00000002 04000000"), netip.MustParseAddr("ff02::1:ff00:2").AsSlice(), unhex(t, "03000001"), netip.MustParseAddr("ff02::16").AsSlice(), server.AsSlice())), hostHW, routerHW), MLD, "Multicast Listener Report v2: joins ff02::1:ff00:2, filters ff02::16"},
		{"mldquery", icmp6frame(router, ra.AllNodes, 1, slices.Concat(unhex(t, "82000000 27100000"), netip.IPv6Unspecified().AsSlice(), unhex(t, "027d0000"))), MLD, "Multicast Listener Query: who hears anything?"},
		{"mldv1", icmp6frame(host, netip.MustParseAddr("ff02::1:ff00:2"), 1, slices.Concat(unhex(t, "83000000 00000000"), netip.MustParseAddr("ff02::1:ff00:2").AsSlice())), MLD, "Multicast Listener Report: ff02::1:ff00:2"},
		{"echo", eth(echo, hostHW, routerHW), Echo, "Echo Request 0x0077, number 3, 0 octets"},
		{"toobig", icmp6frame(router, global, 64, slices.Concat(unhex(t, "02000000 0000058c"), tcp6(port(global, 40000), port(server, 80), 0x10, nil, nil))), ICMPError, "Packet Too Big: at most 1420 octets for the packet 2001:db8:a::2 → 2001:db8:53::80, TCP 40000 → 80 [ACK]"},
		{"code5", icmp6frame(router, global, 64, slices.Concat(unhex(t, "01050000 00000000"), echo)), ICMPError, "Destination Unreachable: source address failed ingress/egress policy for the packet 2001:db8:a::2 → 2001:db8:53::80, Echo Request"},
		{"exceeded", icmp6frame(router, global, 64, slices.Concat(unhex(t, "03000000 00000000"), ip6pkt.UDP(global, server, 33434, 33435, 1, make([]byte, 12)))), ICMPError, "Time Exceeded: hop limit exceeded in transit for the packet 2001:db8:a::2 → 2001:db8:53::80, UDP 33434 → 33435, 12 octets"},
		{"parameter", icmp6frame(server, global, 64, slices.Concat(unhex(t, "04010000 00000006"), ip6pack(global, server, 99, []byte("?")))), ICMPError, "Parameter Problem: unrecognized next header type at octet 6 for the packet 2001:db8:a::2 → 2001:db8:53::80"},
	}
}

// routerAlert is an MLD message behind the hop-by-hop header that it must have.
func routerAlert(t testing.TB, body []byte) []byte {
	to := netip.MustParseAddr("ff02::16")
	binary.BigEndian.PutUint16(body[2:], ip6pkt.Checksum(host, to, protoICMPv6, body))
	p := ip6pack(host, to, protoHopByHop, slices.Concat(unhex(t, "3a00 05020000 0100"), body))
	p[7] = 1
	return p
}

func applicationSamples(t testing.TB) []sample {
	options := unhex(t, "0204058c 0402 080a 00000001 00000002 01 030307")
	get := []byte("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	whole := ip6pkt.UDP(global, server, 5000, 6000, 64, make([]byte, 32))
	first := ip6pack(global, server, protoFragment, slices.Concat(unhex(t, "11000001 deadbeef"), whole[40:64]))
	last := ip6pack(global, server, protoFragment, slices.Concat(unhex(t, "11000018 deadbeef"), whole[64:]))
	return []sample{
		{"solicit", dhcpFrame(solicit()), DHCPv6, "DHCPv6 Solicit 0x010203, any /56"},
		{"reply", dhcpFrame(dhcpReply()), DHCPv6, "DHCPv6 Reply 0xa1b2c3, 2001:db8:a::17 for 1 h 30 min, 2001:db8:dead:be00::/56 for 1 h 30 min, 2001:db8:2::/48, IA_NA NoAddrsAvail, DNS 2001:db8::53"},
		{"reconfigure", eth(ip6pkt.UDP(router, host, 547, 546, 64, dhcpv6.SignReconfigure(dhcpv6.Message{Type: dhcpv6.Reconfigure, ClientID: "\x00\x03\x00\x01\x00\x00\x5e\x00\x53\x02", ServerID: dhcpReply().ServerID, ReconfigureMessage: dhcpv6.Renew}, dhcpv6.ReconfigureKey{1}, 6)), routerHW, hostHW), DHCPv6, "DHCPv6 Reconfigure 0x000000, wants a Renew"},
		{"relay", eth(ip6pkt.UDP(global, server, 547, 547, 64, slices.Concat([]byte{12, 0}, router.AsSlice(), host.AsSlice(), unhex(t, "0009"), []byte{0, byte(len(solicit().Append(nil)))}, solicit().Append(nil))), hostHW, routerHW), DHCPv6, "DHCPv6 Relay-forward"},
		{"dns", eth(ip6pkt.UDP(server, global, 53, 5353, 64, lookup(t)), routerHW, hostHW), DNS, "DNS answer: AAAA www.example.com is 2001:db8:53::80, 2001:db8:53::81"},
		{"syn", eth(tcp6(port(global, 40000), port(server, 80), 0x02, options, nil), hostHW, routerHW), TCP, "TCP 40000 → 80 [SYN], MSS 1420"},
		{"get", eth(tcp6(port(global, 40000), port(server, 80), 0x18, nil, get), hostHW, routerHW), TCP, "HTTP: GET / HTTP/1.1"},
		{"udp", eth(ip6pkt.UDP(global, server, 5000, 6000, 64, []byte("hello")), hostHW, routerHW), UDP, "UDP 5000 → 6000, 5 octets"},
		{"fragment", eth(first, hostHW, routerHW), UDP, "UDP 5000 → 6000, 32 octets"},
		{"lastfragment", eth(last, hostHW, routerHW), Other, "Fragment 0xdeadbeef from octet 24, the last"},
	}
}

func outerSamples(t testing.TB) []sample {
	tunnel := func(m []byte) []byte { return eth(udp4(port(outerA, 40001), port(outerB, 51820), m), hostHW, routerHW) }
	ping := func(typ byte) []byte {
		b := []byte{typ, 0, 0, 0, 0, 1, 0, 2, 'h', 'i'}
		plainChecksum(b)
		return b
	}
	unreachable := slices.Concat(unhex(t, "03040000 00000514"), udp4(port(outerB, 51820), port(outerA, 40001), wg(4, 64))[:28])
	plainChecksum(unreachable)
	return []sample{
		{"arp", unhex(t, "ffffffffffff 00005e005302 0806 0001 0800 06 04 0001 00005e005302 c0000202 000000000000 c0000201"), ARP, "ARP: who has 192.0.2.1? Tell 192.0.2.2"},
		{"arpreply", unhex(t, "00005e005302 00005e005301 0806 0001 0800 06 04 0002 00005e005301 c0000201 00005e005302 c0000202"), ARP, "ARP: 192.0.2.1 is at 00:00:5e:00:53:01"},
		{"initiation", tunnel(wg(1, 148)), Handshake, "WireGuard Handshake Initiation from 0x12345678"},
		{"response", tunnel(wg(2, 92)), Handshake, "WireGuard Handshake Response from 0x12345678 to 0x4d463f38"},
		{"cookie", tunnel(wg(3, 64)), Handshake, "WireGuard Cookie Reply to 0x12345678"},
		{"keepalive", tunnel(wg(4, 32)), Keepalive, "WireGuard Keepalive 7593732339331907384 to 0x12345678"},
		{"transport", tunnel(wg(4, 128)), Data, "WireGuard Data 7593732339331907384 to 0x12345678, 96 octets"},
		{"full", tunnel(wg(4, 1452)), Data, "WireGuard Data 7593732339331907384 to 0x12345678, 1420 octets"},
		{"ping4", eth(ipv4(outerA, outerB, 1, ping(8)), hostHW, routerHW), ICMPv4, "ICMP Echo Request 0x0001, number 2"},
		{"toobig4", eth(ipv4(outerB, outerA, 1, unreachable), routerHW, hostHW), ICMPv4, "ICMP Destination Unreachable: fragmentation needed and DF set"},
		{"short", []byte{1, 2, 3}, Other, "cut short (Ethernet: cut short after 3 octets)"},
	}
}
