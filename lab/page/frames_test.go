// SPDX-License-Identifier: MIT

package page

import (
	"encoding/binary"
	"net/netip"

	"oasis6/internal/ip6pkt"
	"oasis6/ra"
)

// frames builds the frames of the fake world: true ones, so that lab/packet has something to explain.
type frames struct {
	inner map[string][]byte // what is in a WireGuard message, as the lab knows it
	count uint64
}

func (f *frames) open(datagram []byte) ([]byte, bool) {
	b, ok := f.inner[string(datagram)]
	return b, ok
}

func mac(n byte) []byte { return []byte{0, 0, 0x5e, 0, 0x53, n} }

func ethernet(dst, src []byte, kind uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst...), src...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

func eth6(dst, src byte, pkt []byte) []byte { return ethernet(mac(dst), mac(src), 0x86dd, pkt) }

// ethMulticast is to the group of an IPv6 destination (RFC 2464 section 7).
func ethMulticast(src byte, pkt []byte) []byte {
	return ethernet(append([]byte{0x33, 0x33}, pkt[36:40]...), mac(src), 0x86dd, pkt)
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func ones(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// udp4 is an IPv4 packet with UDP in it (RFC 791 section 3.1); UDP's checksum is zero, as IPv4 allows.
func udp4(src, dst netip.AddrPort, ttl byte, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, ttl, 17, 0, 0}
	b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[10:], ones(sum))
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// transport is a WireGuard transport message around inner.
func (f *frames) transport(inner []byte) []byte {
	f.count++
	b := binary.LittleEndian.AppendUint64([]byte{4, 0, 0, 0, 0x2b, 0x51, 0xc0, 0x0a}, f.count)
	b = append(b, make([]byte, (len(inner)+15)/16*16+16)...)
	f.inner[string(b)] = inner
	return b
}

func (f *frames) initiation() []byte {
	f.count++
	b := make([]byte, 148)
	b[0] = 1
	binary.LittleEndian.PutUint64(b[4:], f.count)
	return b
}

func solicitation(src netip.Addr) []byte {
	return ip6pkt.ICMPv6(src, ip("ff02::2"), 255, []byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0x5e, 0, 0x53, 0x10})
}

func advertisement(prefix string, preferred, valid uint32) []byte {
	m := ra.RouterAdvertisement{CurHopLimit: 64, OtherConfig: true, RouterLifetime: 2700, Options: []ra.Option{
		ra.SourceLinkLayer(mac(1)),
		ra.PrefixInformation{Prefix: netip.MustParsePrefix(prefix), OnLink: true, Autonomous: true, Preferred: preferred, Valid: valid},
		ra.MTU(1420),
		ra.RDNSS{Lifetime: 2700, Servers: []netip.Addr{ip("fe80::1")}},
		ra.DNSSL{Lifetime: 2700, Domains: []string{"lan.example"}},
	}}
	b, err := m.Append(nil)
	if err != nil {
		panic(err)
	}
	return ip6pkt.ICMPv6(ip("fe80::1"), ip("ff02::1"), 255, b)
}

// neighborSolicitation asks for target; from :: it is Duplicate Address Detection.
func neighborSolicitation(src, target netip.Addr) []byte {
	b := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	return ip6pkt.ICMPv6(src, ip6pkt.SolicitedNode(target), 255, b)
}

func echo(src, dst netip.Addr, hops, kind byte, seq uint16) []byte {
	b := []byte{kind, 0, 0, 0, 0x0a, 0x51, byte(seq >> 8), byte(seq)}
	return ip6pkt.ICMPv6(src, dst, hops, append(b, "how far is the oasis?"...))
}

// tooBig is a Packet Too Big (RFC 4443 section 3.2) about pkt.
func tooBig(src, dst netip.Addr, mtu uint32, pkt []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{2, 0, 0, 0}, mtu)
	return ip6pkt.ICMPv6(src, dst, 64, append(b, pkt...))
}

// solicit is a DHCPv6 Solicit for a prefix (RFC 9915 sections 16.2 and 21.21).
func solicit(src netip.Addr) []byte {
	b := []byte{1, 0x4f, 0x0a, 0x51,
		0, 1, 0, 10, 0, 3, 0, 1, 0, 0, 0x5e, 0, 0x53, 1,
		0, 8, 0, 2, 0, 0,
		0, 6, 0, 4, 0, 23, 0, 82,
		0, 25, 0, 41, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 26, 0, 25, 0, 0, 0, 0, 0, 0, 0, 0, 64}
	return ip6pkt.UDP(src, ip("ff02::1:2"), 546, 547, 1, append(b, make([]byte, 16)...))
}

func syn(src, dst netip.Addr) []byte {
	b := []byte{0xc0, 0x51, 0, 80, 0, 0, 0x1a, 0x2b, 0, 0, 0, 0, 0x60, 2, 0xfd, 0xe8, 0, 0, 0, 0, 2, 4, 5, 0x8c}
	binary.BigEndian.PutUint16(b[16:], ip6pkt.Checksum(src, dst, 6, b))
	return ip6pkt.Packet(src, dst, 6, 64, b)
}

func query(src, dst netip.Addr) []byte {
	b := []byte{0x1a, 0x2b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 'w', 'w', 'w', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 28, 0, 1}
	return ip6pkt.UDP(src, dst, 49152, 53, 64, b)
}
