// SPDX-License-Identifier: MIT

package offload

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"oasis6/internal/ip6pkt"
)

var (
	src = netip.MustParseAddr("2001:db8:1::2")
	dst = netip.MustParseAddr("2001:db8:ffff::1")
)

// tcp is a segment with a right checksum.
func tcp(seq uint32, flags byte, payload []byte) []byte {
	u := make([]byte, 32, 32+len(payload))
	binary.BigEndian.PutUint16(u, 1000)
	binary.BigEndian.PutUint16(u[2:], 80)
	binary.BigEndian.PutUint32(u[tcpSeq:], seq)
	binary.BigEndian.PutUint32(u[tcpAck:], 7)
	u[tcpOffset], u[tcpFlags] = 8<<4, flags
	copy(u[20:], []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}) // timestamps
	u = append(u, payload...)
	binary.BigEndian.PutUint16(u[tcpSum:], ip6pkt.Checksum(src, dst, protoTCP, u))
	return ip6pkt.Packet(src, dst, protoTCP, 64, u)
}

func datagram(payload []byte) []byte { return ip6pkt.UDP(src, dst, 1000, 443, 64, payload) }

func octets(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// good says whether a packet's checksum is right.
func good(p []byte) bool {
	return ip6pkt.Checksum(src, dst, p[offNext], p[headerLen:]) == 0 && int(binary.BigEndian.Uint16(p[offLength:])) == len(p)-headerLen
}

// super is one packet of a Coalescer, in one piece.
type super struct {
	to   int
	info Info
	pkt  []byte
}

// coalesce gives copies to a Coalescer, which changes headers.
func coalesce(udp bool, pkts ...[]byte) (out []super) {
	c := NewCoalescer(func(s *Super[int]) { out = append(out, super{s.To, s.Info, slices.Concat(s.Parts...)}) })
	c.UDP = udp
	for _, p := range pkts {
		c.Add(1, slices.Clone(p))
	}
	c.Flush()
	return out
}

func cut(p []byte, off Info) (out [][]byte) {
	s := Cut(p, off)
	for {
		b := make([]byte, 70000)
		n, more := s.Next(b)
		if n > 0 {
			out = append(out, b[:n])
		}
		if !more {
			return out
		}
	}
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// What was made one and is cut again is what it was, checksums and all.
func TestCoalescedIsCutAgain(t *testing.T) {
	for name, c := range map[string]struct {
		pkts [][]byte
		want int // super-packets
	}{
		"one":           {[][]byte{tcp(1, flagACK, octets(1000))}, 1},
		"three":         {[][]byte{tcp(1, flagACK, octets(1000)), tcp(1001, flagACK, octets(1000)), tcp(2001, flagACK, octets(10))}, 1},
		"wraps":         {[][]byte{tcp(0xfffffff0, flagACK, octets(100)), tcp(0x54, flagACK, octets(100))}, 1},
		"push ends it":  {[][]byte{tcp(1, flagACK, octets(100)), tcp(101, flagACK|flagPSH, octets(100)), tcp(201, flagACK, octets(100))}, 2},
		"short ends it": {[][]byte{tcp(1, flagACK, octets(100)), tcp(101, flagACK, octets(50)), tcp(151, flagACK, octets(100))}, 2},
		"grows":         {[][]byte{tcp(1, flagACK, octets(100)), tcp(101, flagACK, octets(101))}, 2},
		"gap":           {[][]byte{tcp(1, flagACK, octets(100)), tcp(102, flagACK, octets(100))}, 2},
		"fin":           {[][]byte{tcp(1, flagACK, octets(100)), tcp(101, flagACK|flagFIN, octets(100))}, 2},
		"no payload":    {[][]byte{tcp(1, flagACK, nil), tcp(1, flagACK, nil)}, 2},
		"udp":           {[][]byte{datagram(octets(100)), datagram(octets(100)), datagram(octets(30))}, 1},
		"udp grows":     {[][]byte{datagram(octets(100)), datagram(octets(200))}, 2},
	} {
		out := coalesce(true, c.pkts...)
		if len(out) != c.want {
			t.Errorf("%s: %d packets, want %d", name, len(out), c.want)
		}
		var back [][]byte
		for _, s := range out {
			back = append(back, cut(s.pkt, s.info)...)
		}
		if !equal(back, c.pkts) {
			t.Errorf("%s: cut again:\n got %x\nwant %x", name, back, c.pkts)
		}
	}
}

func TestNotWhatTheLinkDoesNotTake(t *testing.T) {
	if out := coalesce(false, datagram(octets(100)), datagram(octets(100))); len(out) != 2 || out[0].info != (Info{}) {
		t.Errorf("%+v, want two as they were", out)
	}
}

// Whoever looks at class, label or hop limit must see what was sent; so what differs there is not made one.
func TestOtherHeadersAreNotJoined(t *testing.T) {
	for name, change := range map[string]func(p []byte){
		"congestion": func(p []byte) { p[1] |= 0x30 },
		"hop limit":  func(p []byte) { p[7]-- },
		"label":      func(p []byte) { p[3] = 9 },
		"checksum":   func(p []byte) { p[len(p)-1]++ },
		"port":       func(p []byte) { p[41]++ },
		"window":     func(p []byte) { p[55]++ },
		"ack":        func(p []byte) { p[51]++ },
		"timestamp":  func(p []byte) { p[67]++ },
		"length":     func(p []byte) { p[5]-- },
	} {
		second := tcp(1001, flagACK, octets(1000))
		change(second)
		if name != "checksum" && name != "length" {
			second[56], second[57] = 0, 0
			binary.BigEndian.PutUint16(second[56:], ip6pkt.Checksum(src, dst, protoTCP, second[40:]))
		}
		pkts := [][]byte{tcp(1, flagACK, octets(1000)), second}
		out := coalesce(true, pkts...)
		if len(out) != 2 || !bytes.Equal(out[0].pkt, pkts[0]) || !bytes.Equal(out[1].pkt, pkts[1]) {
			t.Errorf("%s: %d packets, want both as they were", name, len(out))
		}
	}
}

func TestFlowsAreApartAndInOrder(t *testing.T) {
	other := tcp(1, flagACK, octets(100))
	other[41]++
	other[56], other[57] = 0, 0
	binary.BigEndian.PutUint16(other[56:], ip6pkt.Checksum(src, dst, protoTCP, other[40:]))
	a, b, fin := tcp(1, flagACK, octets(100)), tcp(101, flagACK, octets(100)), tcp(201, flagACK|flagFIN, nil)
	out := coalesce(false, a, other, b, fin)
	if len(out) != 3 || len(out[2].pkt) != len(fin) {
		t.Fatalf("%d packets, the last of %d octets; want 3, the end of the flow last", len(out), len(out[len(out)-1].pkt))
	}
	var to []int
	c := NewCoalescer(func(s *Super[int]) { to = append(to, s.To) })
	c.Add(1, slices.Clone(a))
	c.Add(2, slices.Clone(b)) // another neighbor
	c.Flush()
	if !slices.Equal(to, []int{1, 2}) {
		t.Errorf("to %v, want 1 and 2 apart", to)
	}
}

func TestSuperIsBounded(t *testing.T) {
	var pkts [][]byte
	for i := range 100 {
		pkts = append(pkts, tcp(uint32(i*1200), flagACK, octets(1200)))
	}
	for _, s := range coalesce(false, pkts...) {
		if len(s.pkt) > maxSuper {
			t.Errorf("%d octets, want at most %d", len(s.pkt), maxSuper)
		}
	}
	c := NewCoalescer(func(*Super[int]) {})
	for i := range 3 * maxOpen {
		c.Add(i, slices.Clone(pkts[0]))
	}
	if c.n > maxOpen {
		t.Errorf("%d begun, want at most %d", c.n, maxOpen)
	}
}

// What a kernel leaves to be done: the field holds the sum of the pseudo-header.
func TestComplete(t *testing.T) {
	want := tcp(1, flagACK, octets(999))
	p := slices.Clone(want)
	u := p[headerLen:]
	pseudo := add(sum(uint16(protoTCP), p[offSrc:headerLen]), uint16(len(u)))
	binary.BigEndian.PutUint16(u[tcpSum:], pseudo)
	Complete(p, Info{Partial: true, Start: headerLen, Field: tcpSum})
	if !bytes.Equal(p, want) {
		t.Errorf("got %x, want %x", p[:72], want[:72])
	}
	for _, off := range []Info{{Partial: true, Start: 65535, Field: 65535}, {Partial: true, Start: uint16(len(p)) - 1, Field: 1}} {
		q := slices.Clone(p)
		if Complete(q, off); !bytes.Equal(p, q) {
			t.Errorf("%+v: changed", off)
		}
	}
}

func TestCutsFlags(t *testing.T) {
	p := tcp(1, flagACK|flagPSH|flagFIN|flagCWR, octets(250))
	out := cut(p, Info{Size: 100, Partial: true, Start: headerLen, Field: tcpSum})
	want := []byte{flagACK | flagCWR, flagACK, flagACK | flagPSH | flagFIN}
	if len(out) != 3 {
		t.Fatalf("%d segments, want 3", len(out))
	}
	for i, s := range out {
		if s[headerLen+tcpFlags] != want[i] || !good(s) || binary.BigEndian.Uint32(s[headerLen+tcpSeq:]) != uint32(1+100*i) {
			t.Errorf("segment %d: flags %#x, good %v", i, s[headerLen+tcpFlags], good(s))
		}
	}
}

func TestWhatCannotBeCutIsDropped(t *testing.T) {
	frag := tcp(1, flagACK, octets(3000))
	frag[offNext] = 44
	if out := cut(frag, Info{Size: 1000}); len(out) != 0 {
		t.Errorf("%d packets", len(out))
	}
	s := Cut(tcp(1, flagACK, octets(3000)), Info{Size: 1000})
	if n, _ := s.Next(make([]byte, 500)); n != 0 {
		t.Errorf("%d octets into 500", n)
	}
}

func TestSumIsTheSlowOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		start := uint16(r.Uint32())
		want := uint64(start)
		for i := 0; i < n; i += 2 {
			w := uint64(b[i]) << 8
			if i+1 < n {
				w |= uint64(b[i+1])
			}
			want += w
		}
		for want>>16 != 0 {
			want = want>>16 + want&0xffff
		}
		// 0 and 0xffff are the same in one's complement; sum never gives 0 where something was added.
		if got := sum(start, b); got != uint16(want) && got%0xffff != uint16(want)%0xffff {
			t.Fatalf("%d octets: %#x, want %#x", n, got, want)
		}
	}
}

// Whatever is cut: each segment is a good packet, and their payloads are the whole.
func FuzzCut(f *testing.F) {
	f.Add(tcp(1, flagACK, octets(3000)), uint16(1000), uint16(headerLen), uint16(tcpSum), true)
	f.Add(datagram(octets(3000)), uint16(1000), uint16(headerLen), uint16(udpSum), true)
	f.Fuzz(func(t *testing.T, pkt []byte, size, start, field uint16, partial bool) {
		if len(pkt) > 3000 {
			return
		}
		before := string(pkt)
		s := Cut(pkt, Info{Size: size, Partial: partial, Start: start, Field: field})
		b := make([]byte, 70000)
		total := 0
		for n := 0; ; n++ {
			got, more := s.Next(b)
			if n > len(pkt) {
				t.Fatal("no end")
			}
			if s.headers > 0 {
				total += got - s.headers
				a, d := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
				if !a.Is4In6() && ip6pkt.Checksum(a, d, b[offNext], b[headerLen:got]) != 0 {
					t.Fatalf("segment %d has a wrong checksum", n)
				}
			}
			if !more {
				break
			}
		}
		if s.headers > 0 && total != len(pkt)-s.headers {
			t.Fatalf("%d octets of %d", total, len(pkt)-s.headers)
		}
		if string(pkt) != before {
			t.Fatal("the packet was changed")
		}
	})
}

// Whatever is coalesced: cut again it is what it was, in the order of each flow.
func FuzzCoalesce(f *testing.F) {
	f.Add(tcp(1, flagACK, octets(100)), tcp(101, flagACK, octets(100)), uint8(1))
	f.Add(datagram(octets(100)), datagram(octets(50)), uint8(0))
	f.Fuzz(func(t *testing.T, a, b []byte, n uint8) {
		pkts := [][]byte{a, b}
		for i := range n % 8 {
			pkts = append(pkts, pkts[i])
		}
		var back, in [][]byte
		for _, s := range coalesce(true, pkts...) {
			if s.info == (Info{}) {
				back = append(back, s.pkt)
			} else {
				back = append(back, cut(s.pkt, s.info)...)
			}
		}
		in = append(in, pkts...)
		// Flows may pass each other.
		slices.SortFunc(in, bytes.Compare)
		slices.SortFunc(back, bytes.Compare)
		if !equal(in, back) {
			t.Fatalf("got %x\nwant %x", back, in)
		}
	})
}

func BenchmarkCut(b *testing.B) {
	p := tcp(1, flagACK, octets(60000))
	out := make([]byte, 2000)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		s := Cut(p, Info{Size: 1348})
		for {
			if _, more := s.Next(out); !more {
				break
			}
		}
	}
}

func BenchmarkCoalesce(b *testing.B) {
	var pkts [][]byte
	for i := range 46 {
		pkts = append(pkts, tcp(uint32(i*1348), flagACK, octets(1348)))
	}
	first := slices.Clone(pkts[0][:headerLen+32])
	c := NewCoalescer(func(*Super[int]) {})
	b.SetBytes(46 * 1420)
	for b.Loop() {
		copy(pkts[0], first) // its headers became those of all
		for _, p := range pkts {
			c.Add(1, p)
		}
		c.Flush()
	}
	if n := testing.AllocsPerRun(10, func() { c.Add(1, pkts[1]); c.Flush() }); n != 0 {
		b.Errorf("%v allocations", n)
	}
}
