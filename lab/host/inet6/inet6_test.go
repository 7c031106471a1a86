// SPDX-License-Identifier: MIT

package inet6

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/lifetime"
	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/wire"
	"oasis6/ra"
)

var (
	t0   = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	left = netip.MustParseAddr("2001:db8:1::10")
	rght = netip.MustParseAddr("2001:db8:2::10")
)

func mac(n byte) [6]byte { return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, n} }

// station is a host that has an address, resolves and is resolved, and keeps the packets that come.
type station struct {
	t   *testing.T
	p   port
	via netip.Addr
	got []ip6pkt.Message // ICMPv6 but for resolution
	all int              // packets
}

func newStation(t *testing.T, e *engine.Engine, w *wire.Port, addr, via netip.Addr) *station {
	s := &station{t: t, via: via}
	s.p = port{PortConfig: PortConfig{Wire: w, Addresses: []netip.Prefix{netip.PrefixFrom(addr, 64)}}, linkLocal: LinkLocal(w.MAC())}
	s.p.nd = newResolver(e, &s.p, func([][]byte) {})
	w.Attach(func(f []byte) {
		m, err := ip6pkt.ParseICMPv6(f[wire.Header:])
		switch {
		case err != nil:
			s.all++
		case m.Body[0] == typeNS:
			s.p.nd.solicited(m)
		case m.Body[0] == typeNA:
			s.p.nd.advertised(m)
		default:
			s.all++
			s.got = append(s.got, m)
		}
	}, nil)
	return s
}

// chain is station – router a – router b – station.
type chain struct {
	*testing.T
	e     *engine.Engine
	wires [3]*wire.Wire
	a, b  *Router
	l, r  *station
	said  []string
}

func newChain(t *testing.T) *chain {
	c := &chain{T: t, e: engine.New(engine.Config{Start: t0, Seed: 1})}
	for i := range c.wires {
		c.wires[i] = wire.New(c.e, wire.Config{ID: string(rune('a' + i)), Delay: time.Millisecond},
			[2]string{"left", "right"}, [2][6]byte{mac(byte(2*i + 1)), mac(byte(2*i + 2))})
	}
	c.l = newStation(t, c.e, c.wires[0].Port(0), left, netip.MustParseAddr("2001:db8:1::1"))
	c.r = newStation(t, c.e, c.wires[2].Port(1), rght, netip.MustParseAddr("2001:db8:2::1"))
	routers := []Config{
		{Name: "a", Explain: func(d Decision) { c.said = append(c.said, d.Text+" ("+d.RFC+")") }, Ports: []PortConfig{
			{Wire: c.wires[0].Port(1), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}},
			{Wire: c.wires[1].Port(0)}},
			Routes: []Route{{netip.MustParsePrefix("::/0"), LinkLocal(mac(4)), 1}}},
		{Name: "b", Ports: []PortConfig{
			{Wire: c.wires[1].Port(1)},
			{Wire: c.wires[2].Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:2::1/64")}}},
			Routes: []Route{{netip.MustParsePrefix("2001:db8:1::/64"), LinkLocal(mac(3)), 0}}},
	}
	var err error
	if c.a, err = New(c.e, routers[0]); err != nil {
		t.Fatal(err)
	}
	if c.b, err = New(c.e, routers[1]); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *chain) run(d time.Duration) {
	c.Helper()
	if err := c.e.RunFor(c.Context(), d); err != nil {
		c.Fatal(err)
	}
}

// ask sends from the left and gives what comes back.
func (c *chain) ask(b []byte) ip6pkt.Message {
	c.Helper()
	c.l.got = nil
	c.l.p.nd.Send(c.l.via, b)
	c.run(5 * time.Second)
	if len(c.l.got) != 1 {
		c.Fatalf("%d answers", len(c.l.got))
	}
	return c.l.got[0]
}

func TestForwardsAndSaysWhy(t *testing.T) {
	c := newChain(t)
	sent := ip6pkt.EchoRequest(left, rght, 64, 7, 1)
	c.l.p.nd.Send(c.l.via, sent)
	c.run(time.Second)
	if len(c.r.got) != 1 || c.r.got[0].HopLimit != 62 || c.r.got[0].Src != left {
		t.Fatalf("%+v", c.r.got)
	}
	c.r.p.nd.Send(c.r.via, ip6pkt.EchoRequest(rght, left, 64, 7, 1))
	c.run(time.Second)
	if len(c.l.got) != 1 || c.l.got[0].HopLimit != 62 {
		t.Fatalf("%+v", c.l.got)
	}
	if !slices.Contains(c.said, "forwarded to fe80::200:5eff:fe00:5304 (RFC 8200 section 3)") {
		t.Errorf("said: %s", strings.Join(c.said, ", "))
	}
	nearA, nearB := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::1")
	big := ip6pkt.UDP(left, rght, 1, 2, 64, make([]byte, 1300))
	c.wires[2].SetMTU(1300)
	for _, tc := range []struct {
		name       string
		sent       []byte
		from       netip.Addr
		kind, code byte
		word       uint32
	}{
		{"hop limit at a", ip6pkt.EchoRequest(left, rght, 1, 7, 1), nearA, timeExceeded, 0, 0},
		{"hop limit at b", ip6pkt.EchoRequest(left, rght, 2, 7, 1), nearB, timeExceeded, 0, 0}, // the only address that it has
		{"no route", ip6pkt.EchoRequest(left, netip.MustParseAddr("2001:db8:3::1"), 64, 7, 1), nearB, unreachable, noRoute, 0},
		{"nobody there", ip6pkt.EchoRequest(left, netip.MustParseAddr("2001:db8:2::77"), 64, 7, 1), nearB, unreachable, addrUnreachable, 0},
		{"no port", ip6pkt.UDP(left, nearB, 1, 2, 64, []byte("x")), nearB, unreachable, portUnreachable, 0},
		{"too big", big, nearB, tooBig, 0, 1300},
		{"scope", ip6pkt.EchoRequest(c.l.p.linkLocal, rght, 64, 7, 1), LinkLocal(mac(2)), unreachable, beyondScope, 0},
	} {
		m := c.ask(tc.sent)
		if m.Src != tc.from || m.Body[0] != tc.kind || m.Body[1] != tc.code || binary.BigEndian.Uint32(m.Body[4:]) != tc.word {
			t.Errorf("%s: from %v % x", tc.name, m.Src, m.Body[:8])
		}
		quoted := slices.Clone(m.Body[8:])
		quoted[hopsAt] = tc.sent[hopsAt]
		if len(m.Body) > minMTU-ip6pkt.HeaderLen || !slices.Equal(quoted, tc.sent[:len(quoted)]) {
			t.Errorf("%s: quotes % x", tc.name, quoted)
		}
	}
	if m := c.ask(ip6pkt.EchoRequest(left, nearB, 64, 7, 1)); m.Src != nearB || m.Body[0] != ip6pkt.TypeEchoReply {
		t.Errorf("%+v", m)
	}
}

// RFC 4443 section 2.4 e: no errors about errors, or to and from groups.
func TestSaysNothingWhereItMustNot(t *testing.T) {
	c := newChain(t)
	nowhere := netip.MustParseAddr("2001:db8:3::1")
	for name, b := range map[string][]byte{
		"an error":         ip6pkt.ICMPv6(left, nowhere, 64, []byte{1, 0, 0, 0, 0, 0, 0, 0}),
		"from nobody":      ip6pkt.ICMPv6(netip.IPv6Unspecified(), nowhere, 64, []byte{128, 0, 0, 0, 0, 0, 0, 0}),
		"to a group":       ip6pkt.ICMPv6(left, netip.MustParseAddr("ff0e::1"), 1, []byte{128, 0, 0, 0, 0, 0, 0, 0}),
		"a neighbor's own": ip6pkt.EchoRequest(left, netip.MustParseAddr("fe80::77"), 64, 7, 1),
		"nothing":          {0x60},
		"cut off":          ip6pkt.EchoRequest(left, nowhere, 64, 7, 1)[:45],
	} {
		c.l.all = 0
		c.l.p.nd.Send(c.l.via, b)
		c.run(5 * time.Second)
		if c.l.all > 0 {
			t.Errorf("%s: %d packets came back", name, c.l.all)
		}
	}
}

// Errors are limited, neighbors are bounded.
func TestLimits(t *testing.T) {
	c := newChain(t)
	c.l.p.nd.Send(c.l.via, ip6pkt.EchoRequest(left, rght, 64, 7, 1)) // then all on the way is known
	c.run(time.Second)
	for range 500 {
		c.l.p.nd.Send(c.l.via, ip6pkt.EchoRequest(left, rght, 1, 7, 1))
	}
	c.run(time.Second)
	if n := len(c.l.got); n > errorsBurst+2 {
		t.Errorf("%d errors at one instant", n)
	}
	for i := range 2 * neighbor.MaxEntries {
		a := rght.As16()
		binary.BigEndian.PutUint16(a[12:], uint16(i+1))
		c.l.p.nd.Send(c.l.via, ip6pkt.EchoRequest(left, netip.AddrFrom16(a), 64, 7, 1))
	}
	c.run(500 * time.Millisecond)
	if n := c.b.ports[1].nd.Len(); n != neighbor.MaxEntries { // with the one that was there
		t.Errorf("%d neighbors", n)
	}
	c.wires[2].SetUp(false)
	c.run(time.Second)
	if n := c.b.ports[1].nd.Len(); n != 0 {
		t.Errorf("%d neighbors on a wire that is down", n)
	}
}

// A neighbor that was there and is silent now is asked itself, three times, then all are asked, and then senders are told
// (RFC 4861 section 7.3.3).
func TestSilentNeighbor(t *testing.T) {
	c := newChain(t)
	ping := ip6pkt.EchoRequest(left, rght, 64, 7, 1)
	c.l.p.nd.Send(c.l.via, slices.Clone(ping))
	c.run(2 * time.Minute)
	c.wires[2].SetFilter(func(from *wire.Port, _ []byte) string {
		if from.Node() == "right" {
			return "silent"
		}
		return ""
	})
	var one, all []time.Duration
	began := c.e.Now()
	c.wires[2].Tap(func(p *wire.Passage) {
		m, err := ip6pkt.ParseICMPv6(p.Frame[wire.Header:])
		switch {
		case err != nil || p.From != "left" || m.Body[0] != typeNS:
		case p.Frame[0]&1 == 0:
			one = append(one, c.e.Now().Sub(began).Round(time.Second))
		default:
			all = append(all, c.e.Now().Sub(began).Round(time.Second))
		}
	})
	c.l.got = nil
	for range 14 {
		c.l.p.nd.Send(c.l.via, slices.Clone(ping))
		c.run(time.Second)
	}
	if want := []time.Duration{5 * time.Second, 6 * time.Second, 7 * time.Second}; !slices.Equal(one, want) {
		t.Errorf("asked itself after %v, want %v", one, want)
	}
	if len(all) < 3 || all[0] != 8*time.Second {
		t.Errorf("all asked after %v", all)
	}
	if n := len(c.l.got); n == 0 || c.l.got[0].Body[0] != unreachable || c.l.got[0].Body[1] != addrUnreachable {
		t.Errorf("%d answers: %+v", n, c.l.got)
	}
}

// A router that advertises is heard, answers who asks, stops with a last word and keeps still then.
func TestAdvertises(t *testing.T) {
	c := newChain(t)
	p := netip.MustParsePrefix("2001:db8:1::/64")
	c.a.Advertise(0, ra.Config{}, ra.Content{DefaultRouter: true,
		Prefixes: []ra.Prefix{{Prefix: p, OnLink: true, Autonomous: true, Preferred: lifetime.Forever, Valid: lifetime.Forever}}})
	ras := func() (out []ra.RouterAdvertisement) {
		for _, m := range c.l.got {
			if m.Body[0] == ra.TypeRouterAdvertisement {
				a, _, _ := ra.ParseRA(m.Src, int(m.HopLimit), m.Body)
				out = append(out, a)
			}
		}
		c.l.got = nil
		return out
	}
	c.run(time.Second)
	if a := ras(); len(a) != 1 || a[0].RouterLifetime == 0 {
		t.Fatalf("%+v", a)
	}
	c.run(time.Minute)
	ras()
	own := c.l.p.Wire.MAC()
	rs := append([]byte{133, 0, 0, 0, 0, 0, 0, 0, optSource, 1}, own[:]...)
	c.l.p.nd.Frame([6]byte{0x33, 0x33, 0, 0, 0, 2}, etherType, ip6pkt.ICMPv6(c.l.p.linkLocal, ra.AllRouters, ndHops, rs))
	c.run(time.Second)
	if a := ras(); len(a) != 1 {
		t.Errorf("asked: %d advertisements", len(a))
	}
	c.a.Silence(0, ra.Stop{Final: true})
	c.run(time.Second)
	if a := ras(); len(a) != 1 || a[0].RouterLifetime != 0 {
		t.Errorf("at the end: %+v", a)
	}
	c.run(time.Hour)
	if a := ras(); len(a) != 0 {
		t.Errorf("after the end: %+v", a)
	}
}

func TestConfigIsChecked(t *testing.T) {
	e := engine.New(engine.Config{})
	w := wire.New(e, wire.Config{ID: "w"}, [2]string{"a", "b"}, [2][6]byte{mac(1), mac(2)})
	v4 := PortConfig{Wire: w.Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
	if _, err := New(e, Config{Ports: []PortConfig{v4}}); err == nil {
		t.Error("an IPv4 address")
	}
	if _, err := New(e, Config{Routes: []Route{{Dst: netip.MustParsePrefix("::/0")}}}); err == nil {
		t.Error("a route by a port that is not there")
	}
}

// No frame panics, and what is forwarded has lost one hop and nothing else.
func FuzzReceive(f *testing.F) {
	f.Add(ip6pkt.EchoRequest(left, rght, 64, 7, 1))
	f.Add(ip6pkt.EchoRequest(left, rght, 1, 7, 1))
	f.Add(ip6pkt.UDP(left, netip.MustParseAddr("2001:db8:1::1"), 1, 2, 64, []byte("x")))
	f.Add(ip6pkt.ICMPv6(left, netip.MustParseAddr("2001:db8:1::1"), 255, append([]byte{typeNS, 7: 0}, left.AsSlice()...)))
	// One engine for all: each has to find out first which goroutines of the fuzzer never rest.
	e := engine.New(engine.Config{Start: t0, Seed: 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		w := [2]*wire.Wire{}
		for i := range w {
			w[i] = wire.New(e, wire.Config{ID: string(rune('a' + i))}, [2]string{"l", "r"}, [2][6]byte{mac(byte(2*i + 1)), mac(byte(2*i + 2))})
		}
		r, err := New(e, Config{Ports: []PortConfig{
			{Wire: w[0].Port(1), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")}},
			{Wire: w[1].Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:2::1/64")}}}})
		if err != nil {
			t.Fatal(err)
		}
		sent := 0
		w[1].Port(1).Attach(func(f []byte) {
			p, ok := parse(f[wire.Header:])
			if !ok || r.own(p.src) {
				return // the router's own word
			}
			if sent++; len(p.b) > len(b) || p.b[hopsAt]+1 != b[hopsAt] || !slices.Equal(p.b[hopsAt+1:], b[hopsAt+1:len(p.b)]) || !slices.Equal(p.b[:hopsAt], b[:hopsAt]) {
				t.Errorf("% x became % x", b, p.b)
			}
		}, nil)
		own, other := mac(2), mac(1)
		frame := append(append(append([]byte(nil), own[:]...), other[:]...), 0x86, 0xdd)
		frame = append(frame, b...)
		kept := slices.Clone(frame)
		if p, ok := parse(b); ok { // its neighbor is there
			r.ports[1].nd.Step(neighbor.Asked{By: p.dst, MAC: mac(4)})
		}
		r.receive(r.ports[0], frame)
		if err := e.RunFor(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		if sent > 1 {
			t.Errorf("forwarded %d times", sent)
		}
		if !slices.Equal(frame, kept) {
			t.Error("the frame was changed")
		}
	})
}
