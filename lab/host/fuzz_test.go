// SPDX-License-Identifier: MIT

package host

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// No frame panics, neither here nor in gVisor, in any of a host's states, and none is changed.
func FuzzFrame(f *testing.F) {
	ll, own := netip.MustParseAddr("fe80::1"), mac(1)
	frame := func(etherType uint16, b []byte) []byte {
		return append(append(append([]byte(nil), own[:]...), 0, 0, 0x5e, 0, 0x53, 9, byte(etherType>>8), byte(etherType)), b...)
	}
	ra := append([]byte{134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0, 0, 0, 0x70, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0},
		netip.MustParseAddr("2001:db8:a::").AsSlice()...)
	f.Add(frame(0x86dd, ip6pkt.ICMPv6(ll, netip.IPv6LinkLocalAllNodes(), 255, ra)), uint8(1))
	target := append([]byte{135, 7: 0}, ll.AsSlice()...)
	f.Add(frame(0x86dd, ip6pkt.ICMPv6(netip.IPv6Unspecified(), netip.IPv6LinkLocalAllNodes(), 255, target)), uint8(2))
	quoted := append([]byte{1, 7: 0}, ip6pkt.UDP(ll, ll, 1, 2, 64, []byte("x"))...)
	f.Add(frame(0x86dd, ip6pkt.ICMPv6(ll, ll, 64, quoted)), uint8(0))
	redirect := append(append([]byte{137, 7: 0}, ll.AsSlice()...), netip.MustParseAddr(webAddr).AsSlice()...)
	f.Add(frame(0x86dd, ip6pkt.ICMPv6(ll, ll, 255, redirect)), uint8(3))
	f.Add(frame(0x0800, []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 192, 168, 1, 10, 3, 1, 0, 0, 0, 0, 0, 0}), uint8(0))
	f.Add(frame(0x0806, []byte{0, 1, 8, 0, 6, 4, 0, 1}), uint8(0))
	// One host for all: each engine has to find out first which goroutines of the fuzzer never rest.
	e := engine.New(engine.Config{Start: t0, Seed: 1})
	w := wire.New(e, wire.Config{ID: "w"}, [2]string{"host", "x"}, [2][6]byte{own, mac(2)})
	h, err := New(e, Config{Name: "h", Port: w.Port(0), Autoconf: true, IPv4: netip.MustParsePrefix("192.168.1.10/24"), Explain: func(Decision) {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(h.Close)
	f.Fuzz(func(t *testing.T, b []byte, tenths uint8) {
		if len(b) < wire.Header {
			return // no wire carries it
		}
		if tenths%8 == 0 { // from the beginning
			w.SetUp(false)
			w.SetUp(true)
		}
		kept := slices.Clone(b)
		for range 2 {
			h.receive(b)
			if err := e.RunFor(t.Context(), time.Duration(tenths%32)*time.Second/10); err != nil {
				t.Fatal(err)
			}
		}
		h.View()
		if !slices.Equal(b, kept) {
			t.Error("the frame was changed")
		}
	})
}

// What a client says to the servers is hostile.
func FuzzZone(f *testing.F) {
	q, err := question(7, "www.example.net", 28)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q)
	z := Zone{"www.example.net": {netip.MustParseAddr(webAddr), netip.MustParseAddr("192.0.2.1")}}
	f.Fuzz(func(_ *testing.T, b []byte) { z.answer(b) })
}
