// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"oasis6/internal/ip6pkt"
)

const testMACOption = "\x01\x01\x00\x00\x5e\x00\x53\x09"

func TestRFC4861_7_1_1_SolicitationsAreChecked(t *testing.T) {
	router, target := netip.MustParseAddr("fe80::9"), netip.MustParseAddr(testHostA)
	group, nobody := ip6pkt.SolicitedNode(target), netip.IPv6Unspecified()
	good := func() []byte { return nsPacket(router, group, target, []byte(testMACOption)) }
	sum := func(pkt []byte) []byte { // of a changed packet
		pkt[42], pkt[43] = 0, 0
		src, dst := netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40]))
		binary.BigEndian.PutUint16(pkt[42:], ip6pkt.Checksum(src, dst, unix.IPPROTO_ICMPV6, pkt[40:]))
		return pkt
	}
	change := func(at int, v byte) []byte {
		pkt := good()
		pkt[at] = v
		return sum(pkt)
	}
	short := func(n int) []byte { // an ICMPv6 message of n octets
		pkt := good()[:40+n]
		pkt[5] = byte(n)
		return sum(pkt)
	}
	for _, c := range []struct {
		name string
		pkt  []byte
		want error
	}{
		{"good", good(), nil},
		{"without its MAC", nsPacket(router, group, target, nil), nil},
		{"from a global address, to the target", nsPacket(netip.MustParseAddr(testISPAddr), target, target, nil), nil},
		{"an option that nobody knows", nsPacket(router, group, target, []byte{200, 1, 0, 0, 0, 0, 0, 0}), nil},
		{"for a free address", nsPacket(nobody, group, target, nil), nil},
		{"padded by the link", append(good(), 0, 0, 0), nil},
		{"hop limit 254", change(7, 254), errHopLimit},
		{"code 1", change(41, 1), errMalformed},
		{"type 136", change(40, 136), errMalformed},
		{"bad checksum", append(good()[:71], 0x0a), errChecksum},
		{"23 octets", short(23), errMalformed},
		{"24 octets", short(24), nil},
		{"half an option", short(28), errMalformed},
		{"one octet of an option", short(25), errMalformed},
		{"option of length 0", nsPacket(router, group, target, []byte{1, 0, 0, 0, 0, 0, 0, 0}), errMalformed},
		{"option longer than the message", nsPacket(router, group, target, []byte{1, 2, 0, 0, 0, 0, 0, 0}), errMalformed},
		{"two MACs", nsPacket(router, group, target, []byte(testMACOption+testMACOption)), errMalformed},
		{"a multicast MAC", nsPacket(router, group, target, []byte{1, 1, 0x33, 0x33, 0, 0, 0, 1}), errMalformed},
		{"no MAC in the option", nsPacket(router, group, target, []byte{1, 1, 0, 0, 0, 0, 0, 0}), errMalformed},
		{"multicast target", nsPacket(router, group, netip.MustParseAddr("ff02::1"), nil), errMalformed},
		{"target ::", nsPacket(router, group, nobody, nil), errMalformed},
		{"from a group", nsPacket(netip.MustParseAddr("ff02::1"), group, target, nil), errSource},
		{"for a free address, with a MAC", nsPacket(nobody, group, target, []byte(testMACOption)), errSource},
		{"for a free address, to one node", nsPacket(nobody, target, target, nil), errSource},
		{"for a free address, to all nodes", nsPacket(nobody, netip.IPv6LinkLocalAllNodes(), target, nil), errSource},
		{"cut", good()[:60], errMalformed},
		{"empty", nil, errMalformed},
		{"IPv4", change(0, 0x45), errMalformed},
	} {
		if _, err := parseSolicitation(c.pkt); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A solicited advertisement of a proxy has no Override flag (RFC 4861 section 7.2.8).
func TestRFC4861_7_2_8_AnswerOfAProxy(t *testing.T) {
	from, mac := netip.MustParseAddr("fe80::1"), [6]byte{0, 0, 0x5e, 0, 0x53, 1}
	target := netip.MustParseAddr(testHostA)
	for src, want := range map[string]struct {
		to    string
		flags byte
	}{
		"fe80::9":     {"fe80::9", 0x40},
		testISPAddr:   {testISPAddr, 0x40},
		"::":          {"ff02::1", 0}, // section 7.2.4: to all nodes, not solicited
		testFarAddr:   {testFarAddr, 0x40},
		"fe80::1:2:3": {"fe80::1:2:3", 0x40},
	} {
		s, err := parseSolicitation(nsPacket(netip.MustParseAddr(src), ip6pkt.SolicitedNode(target), target, nil))
		if err != nil {
			t.Fatal(err)
		}
		m, err := ip6pkt.ParseICMPv6(s.advertisement(from, mac))
		if err != nil {
			t.Fatal(err)
		}
		option := [6]byte(m.Body[26:])
		if m.Src != from || m.Dst.String() != want.to || m.HopLimit != 255 || m.Body[0] != ndNA || m.Body[4] != want.flags ||
			netip.AddrFrom16([16]byte(m.Body[8:24])) != target || m.Body[24] != optTargetLinkLayer || m.Body[25] != 1 || option != mac || len(m.Body) != 32 {
			t.Errorf("answer to %s: %+v", src, m)
		}
	}
}

// The fast search finds what going through all finds.
func TestPrefixListFindsWhatIsThere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	short := func() netip.Addr { // few different ones, so that much is inside other
		b := netip.MustParseAddr("2001:db8::").As16()
		b[4], b[5], b[15] = byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(3))
		return netip.AddrFrom16(b)
	}
	for range 300 {
		var all []netip.Prefix
		for range r.IntN(40) {
			all = append(all, netip.PrefixFrom(short(), []int{36, 40, 44, 46, 48, 64, 128}[r.IntN(7)]))
		}
		list := prefixList(disjoint(all))
		for range 100 {
			a, want := short(), false
			for _, p := range all {
				want = want || p.Contains(a)
			}
			if got := list.contains(a); got != want {
				t.Fatalf("contains(%s) = %v in %v, of %v", a, got, list, all)
			}
		}
	}
}

func BenchmarkPrefixListOf10000(b *testing.B) {
	var all []netip.Prefix
	for i := range 10000 {
		all = append(all, lease(3*i))
	}
	list := prefixList(disjoint(all))
	addrs := []netip.Addr{lease(0).Addr(), lease(14999).Addr(), lease(29997).Addr().Next(), netip.MustParseAddr("2001:db8:ffff::")}
	i := 0
	for b.Loop() {
		list.contains(addrs[i&3])
		i++
	}
}

func FuzzParseSolicitation(f *testing.F) {
	router, target := netip.MustParseAddr("fe80::9"), netip.MustParseAddr(testHostA)
	f.Add(nsPacket(router, ip6pkt.SolicitedNode(target), target, []byte(testMACOption)))
	f.Add(nsPacket(netip.IPv6Unspecified(), ip6pkt.SolicitedNode(target), target, nil))
	f.Add(nsPacket(router, target, target, []byte{14, 1, 1, 2, 3, 4, 5, 6}))
	f.Add([]byte{0x60, 0, 0, 0, 0, 24, 58, 255})
	f.Fuzz(func(t *testing.T, pkt []byte) {
		s, err := parseSolicitation(pkt)
		if err != nil {
			return
		}
		if s.target.IsMulticast() || s.src.IsMulticast() || pkt[7] != 255 || s.dad() && s.hasMAC || s.hasMAC && s.mac[0]&1 != 0 {
			t.Errorf("accepted: %+v", s)
		}
		m, err := ip6pkt.ParseICMPv6(s.advertisement(router, [6]byte{2}))
		if err != nil || m.Body[0] != ndNA || netip.AddrFrom16([16]byte(m.Body[8:24])) != s.target || m.Body[4]&0x20 != 0 {
			t.Errorf("answer to %+v: %+v, %v", s, m, err)
		}
	})
}
