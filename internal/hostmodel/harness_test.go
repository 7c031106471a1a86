// SPDX-License-Identifier: MIT

package hostmodel

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	t0      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	routerA = netip.MustParseAddr("fe80::a")
	routerB = netip.MustParseAddr("fe80::b")
	mac     = [6]byte{0, 0, 0x5e, 0, 0x53, 0x10}
	world   = netip.MustParseAddr("2001:db8:ffff::1")
)

const (
	first  = "2001:db8:1::/64"
	second = "2001:db8:2::/64"
)

// hostTest is a host with its clock; its random delays are half of the longest.
type hostTest struct {
	*testing.T
	*Host
	now  time.Time
	sent []time.Duration // solicitations, since t0
	wake time.Time
}

// start makes a host whose link came up at t0.
func start(t *testing.T, cfg Config) *hostTest {
	cfg.MAC = mac
	h := &hostTest{T: t, Host: New(cfg, func() float64 { return 0.5 }), now: t0}
	h.step(LinkUp{})
	return h
}

func (h *hostTest) step(ev Event) {
	a := h.Step(h.now, ev)
	for range a.Send {
		h.sent = append(h.sent, h.now.Sub(t0))
	}
	h.wake = a.Wake
}

// at lets time pass to d after t0, with every timer on the way.
func (h *hostTest) at(d time.Duration) {
	end := t0.Add(d)
	for !h.wake.IsZero() && !h.wake.After(end) {
		h.now = h.wake
		h.step(Tick{})
	}
	h.now = end
	h.step(Tick{})
}

// hear has the host receive an RA of a router.
func (h *hostTest) hear(from netip.Addr, lifetime uint16, options ...[]byte) {
	h.step(Received{Src: from, HopLimit: 255, Data: message(lifetime, 0, options...)})
}

// wantSource compares the source of a new connection to the world; empty means none.
func (h *hostTest) wantSource(prefix string) {
	h.Helper()
	src, ok := h.Source(h.now, world)
	switch {
	case prefix == "" && ok:
		h.Errorf("at %v: source %v, want none", h.now.Sub(t0), src)
	case prefix != "" && (!ok || !netip.MustParsePrefix(prefix).Contains(src)):
		h.Errorf("at %v: source %v %v, want one of %s", h.now.Sub(t0), src, ok, prefix)
	}
}

// address is the stable address in a prefix, nil if there is none.
func (h *hostTest) address(prefix string) *Address {
	for _, a := range h.Addresses(h.now) {
		if a.Prefix.String() == prefix && !a.Temporary {
			return &a
		}
	}
	return nil
}

// message is an RA from its figure (RFC 4861 section 4.2).
func message(lifetime uint16, flags byte, options ...[]byte) []byte {
	b := append([]byte{134, 0, 0, 0, 64, flags}, byte(lifetime>>8), byte(lifetime))
	b = append(b, make([]byte, 8)...)
	for _, o := range options {
		b = append(b, o...)
	}
	return b
}

// pio is a Prefix Information option; flags are a word of L and A.
func pio(prefix, flags string, valid, preferred uint32) []byte {
	p := netip.MustParsePrefix(prefix)
	o := []byte{3, 4, byte(p.Bits()), 0}
	if strings.Contains(flags, "L") {
		o[3] |= 0x80
	}
	if strings.Contains(flags, "A") {
		o[3] |= 0x40
	}
	o = binary.BigEndian.AppendUint32(o, valid)
	o = binary.BigEndian.AppendUint32(o, preferred)
	o = append(o, 0, 0, 0, 0)
	return append(o, p.Addr().AsSlice()...)
}

func slla() []byte { return append([]byte{1, 1}, mac[:]...) }

func rdnss(lifetime uint32, servers ...string) []byte {
	o := binary.BigEndian.AppendUint32([]byte{25, byte(1 + 2*len(servers)), 0, 0}, lifetime)
	for _, s := range servers {
		o = append(o, netip.MustParseAddr(s).AsSlice()...)
	}
	return o
}

// rio is a Route Information option of the longest form.
func rio(prefix string, preference byte, lifetime uint32) []byte {
	p := netip.MustParsePrefix(prefix)
	o := binary.BigEndian.AppendUint32([]byte{24, 3, byte(p.Bits()), preference << 3}, lifetime)
	return append(o, p.Addr().AsSlice()...)
}

// dnssl pads the wire form of names.
func dnssl(lifetime uint32, wire string) []byte {
	for len(wire)%8 != 0 {
		wire += "\x00"
	}
	o := binary.BigEndian.AppendUint32([]byte{31, byte(1 + len(wire)/8), 0, 0}, lifetime)
	return append(o, wire...)
}
