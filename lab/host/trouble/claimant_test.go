// SPDX-License-Identifier: MIT

package trouble

import (
	"net/netip"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

func TestClaimantAnswersOnlyWhoLooks(t *testing.T) {
	e := engine.New(engine.Config{})
	w := wire.New(e, wire.Config{ID: "w"}, [2]string{"host", "claimant"}, [2][6]byte{{0, 0, 0x5e, 0, 0x53, 1}, {0, 0, 0x5e, 0, 0x53, 2}})
	var got []ip6pkt.Message
	w.Port(0).Attach(func(f []byte) {
		m, err := ip6pkt.ParseICMPv6(f[wire.Header:])
		if err != nil {
			t.Errorf("not a valid message: %v", err)
		}
		got = append(got, m)
	}, nil)
	c := NewClaimant(e, w.Port(1))
	a, b := netip.MustParseAddr("2001:db8::a"), netip.MustParseAddr("2001:db8::b")
	solicit := func(src netip.Addr, hops uint8, target netip.Addr) {
		x := target.As16()
		group := ip6pkt.SolicitedNode(target)
		f := []byte{0x33, 0x33, 0xff, x[13], x[14], x[15], 0, 0, 0x5e, 0, 0x53, 1, 0x86, 0xdd}
		body := append([]byte{typeNS, 0, 0, 0, 0, 0, 0, 0}, x[:]...)
		if err := w.Port(0).Send(append(f, ip6pkt.ICMPv6(src, group, hops, body)...)); err != nil {
			t.Error(err)
		}
		if err := e.RunFor(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	none := netip.IPv6Unspecified()
	solicit(none, 255, a)
	c.Claim(func(x netip.Addr) bool { return x == a })
	solicit(none, 255, b)
	solicit(netip.MustParseAddr("fe80::1"), 255, a) // resolution, not detection
	solicit(none, 254, a)
	if len(got) > 0 {
		t.Errorf("%d answers too many", len(got))
	}
	solicit(none, 255, a)
	if len(got) != 1 || got[0].Src != a || got[0].Dst != netip.IPv6LinkLocalAllNodes() || got[0].Body[0] != typeNA || got[0].HopLimit != 255 {
		t.Errorf("%+v", got)
	}
	if len(c.Took()) != 1 || c.Took()[0] != a {
		t.Errorf("took %v", c.Took())
	}
	c.Claim(nil)
	solicit(none, 255, a)
	if len(got) != 1 {
		t.Error("claims what it gave up")
	}
}
