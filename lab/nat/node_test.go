// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"oasis6/lab/engine"
	"oasis6/lab/neighbor"
	"oasis6/lab/wire"
)

func mac(n byte) [6]byte { return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, n} }

// station is a host that has an address, answers ARP, and keeps the packets that come.
type station struct {
	t    *testing.T
	arp  resolver
	via  netip.Addr
	got  [][]byte
	deaf bool
}

func newStation(t *testing.T, e *engine.Engine, p *wire.Port, addr, via netip.Addr) *station {
	s := &station{t: t, via: via}
	s.arp = newResolver(e, p, addr, func([][]byte) {})
	p.Attach(func(f []byte) {
		switch binary.BigEndian.Uint16(f[12:]) {
		case typeARP:
			if !s.deaf {
				s.arp.receive(f[wire.Header:])
			}
		case typeIPv4:
			s.got = append(s.got, f[wire.Header:])
		}
	}, nil)
	return s
}

func (s *station) send(b []byte) { s.arp.Send(s.via, b) }

// last is what came since it was last asked for, which is one packet.
func (s *station) last() []byte {
	s.t.Helper()
	got := s.got
	s.got = nil
	if len(got) != 1 {
		s.t.Fatalf("%d packets came to %v", len(got), s.arp.addr)
	}
	return got[0]
}

// home is host A (192.168.1.10) – translator – provider's router – server X (198.51.100.1).
type home struct {
	*testing.T
	e          *engine.Engine
	wires      [3]*wire.Wire
	nat, inet  *Node
	host, serv *station
	said       []string
}

func newHome(t *testing.T, c Config) *home {
	h := &home{T: t, e: engine.New(engine.Config{Start: t0, Seed: 1})}
	for i := range h.wires {
		h.wires[i] = wire.New(h.e, wire.Config{ID: string(rune('a' + i)), Delay: time.Millisecond},
			[2]string{"left", "right"}, [2][6]byte{mac(byte(2 * i)), mac(byte(2*i + 1))})
	}
	h.host = newStation(t, h.e, h.wires[0].Port(0), hostA.Addr(), netip.MustParseAddr("192.168.1.1"))
	h.serv = newStation(t, h.e, h.wires[2].Port(1), serverX.Addr(), netip.MustParseAddr("198.51.100.254"))
	var err error
	h.nat, err = NewNode(h.e, NodeConfig{Name: "nat", NAT: &c, Explain: func(d Decision) { h.said = append(h.said, d.Text) },
		Ports: []PortConfig{
			{Wire: h.wires[0].Port(1), Address: netip.MustParsePrefix("192.168.1.1/24"), Inside: true},
			{Wire: h.wires[1].Port(0), Address: netip.PrefixFrom(outside, 24)},
		},
		Routes: []Route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.0.2.254")}}})
	if err != nil {
		t.Fatal(err)
	}
	h.inet, err = NewNode(h.e, NodeConfig{Name: "inet", Ports: []PortConfig{
		{Wire: h.wires[1].Port(1), Address: netip.MustParsePrefix("192.0.2.254/24")},
		{Wire: h.wires[2].Port(0), Address: netip.MustParsePrefix("198.51.100.254/24")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *home) run(d time.Duration) {
	h.Helper()
	if err := h.e.RunFor(h.Context(), d); err != nil {
		h.Fatal(err)
	}
}

// ask sends from the host and gives what the host gets.
func (h *home) ask(b []byte) seen {
	h.Helper()
	h.host.got = nil
	h.host.send(b)
	h.run(5 * time.Second)
	return look(h.T, h.host.last())
}

func TestHomeReachesServerAndBack(t *testing.T) {
	h := newHome(t, Config{})
	h.host.send(udp(hostA, serverX, "question"))
	h.run(time.Second)
	b := h.serv.last()
	s := look(t, b)
	if s.src != netip.AddrPortFrom(outside, hostA.Port()) || s.dst != serverX || b[ttlAt] != 62 {
		t.Errorf("the server sees %v to %v with TTL %d", s.src, s.dst, b[ttlAt])
	}
	h.serv.send(udp(serverX, s.src, "answer"))
	h.run(time.Second)
	if b := h.host.last(); look(t, b).dst != hostA || b[ttlAt] != 62 {
		t.Errorf("the host gets % x", b)
	}
	if e := h.nat.Mappings(); len(e) != 1 || e[0].Remote != serverX {
		t.Errorf("table: %v", e)
	}
	want := "udp from 192.168.1.10:5000 leaves as 192.0.2.1:5000; forwarded to 192.0.2.254 | " +
		"udp to 192.0.2.1:5000 goes to 192.168.1.10:5000; forwarded to 192.168.1.10"
	if got := strings.Join(h.said, " | "); got != want {
		t.Errorf("said: %s\nwant: %s", got, want)
	}
	h.nat.Rebind()
	h.serv.send(udp(serverX, s.src, "too late"))
	h.run(time.Second)
	if len(h.host.got) > 0 {
		t.Error("a packet came in after the ports were forgotten")
	}
	h.nat.SetUp(false)
	h.host.send(udp(hostA, serverX, "question"))
	h.run(time.Second)
	if len(h.serv.got) > 0 || h.nat.Up() {
		t.Error("a node that is off forwards")
	}
}

func TestRouterSpeaksICMP(t *testing.T) {
	h := newHome(t, Config{RandomPorts: true})
	router := netip.MustParseAddr("192.0.2.254")
	hops := func(ttl byte) []byte {
		b := udp(hostA, serverX, "far away")
		b[ttlAt] = ttl
		putChecksum(b[:ipHeader], checksumAt)
		return b
	}
	expect := func(name string, s seen, from netip.Addr, about netip.AddrPort) {
		t.Helper()
		if s.src.Addr() != from || s.quoted == nil || s.quoted.src != hostA || s.quoted.dst != about {
			t.Errorf("%s: from %v about %v", name, s.src, s.quoted)
		}
	}
	expect("TTL 1", h.ask(hops(1)), netip.MustParseAddr("192.168.1.1"), serverX)
	expect("TTL 2", h.ask(hops(2)), router, serverX)
	nowhere := ap("203.0.113.1:9")
	expect("no route", h.ask(udp(hostA, nowhere, "")), router, nowhere)
	absent := ap("198.51.100.77:9")
	expect("nobody there", h.ask(udp(hostA, absent, "")), netip.MustParseAddr("192.0.2.254"), absent)
	toRouter := netip.AddrPortFrom(router, 9)
	expect("no port", h.ask(udp(hostA, toRouter, "")), router, toRouter)
	for _, a := range []string{"192.168.1.1", "192.0.2.1", "192.0.2.254"} {
		s := h.ask(echo(hostA.Addr(), netip.MustParseAddr(a), header.ICMPv4Echo, 77))
		if s.src.Addr().String() != a || s.dst != netip.AddrPortFrom(hostA.Addr(), 77) {
			t.Errorf("ping %s: %v to %v", a, s.src, s.dst)
		}
	}
	h.wires[2].SetMTU(1300)
	big := udp(hostA, serverX, string(make([]byte, 1400)))
	h.host.send(big)
	h.run(time.Second)
	if len(h.serv.got) != 2 {
		t.Errorf("%d pieces came", len(h.serv.got))
	}
	big[6] |= dontFragment >> 8
	putChecksum(big[:ipHeader], checksumAt)
	expect("too big", h.ask(big), router, serverX)
}

func TestARPFindsAndForgets(t *testing.T) {
	h := newHome(t, Config{})
	asked, polls := 0, 0
	h.wires[1].Tap(func(p *wire.Passage) {
		if binary.BigEndian.Uint16(p.Frame[12:]) == typeARP {
			asked++
			if p.Frame[0]&1 == 0 && p.Frame[wire.Header+7] == arpRequest {
				polls++
			}
		}
	})
	for range 3 {
		h.host.send(udp(hostA, serverX, ""))
	}
	h.run(time.Second)
	if len(h.serv.got) != 3 || asked != 2 {
		t.Errorf("%d packets came, %d ARP messages", len(h.serv.got), asked)
	}
	h.run(2 * neighbor.ReachableTime)
	h.host.send(udp(hostA, serverX, "")) // goes at once, and then the neighbor itself is asked whether it is there
	h.run(time.Second)
	if len(h.serv.got) != 4 || asked != 2 {
		t.Errorf("%d packets came, %d ARP messages", len(h.serv.got), asked)
	}
	h.run(neighbor.DelayFirstProbeTime)
	if asked != 4 || polls != 1 {
		t.Errorf("%d ARP messages, %d requests to one", asked, polls)
	}
	h.serv.deaf = true
	h.wires[2].SetUp(false)
	h.run(time.Second)
	h.wires[2].SetUp(true)
	h.run(time.Second)
	for range 2 * neighbor.MaxWaiting {
		h.host.send(udp(hostA, serverX, ""))
	}
	h.run(10 * time.Second)
	if len(h.serv.got) != 4 {
		t.Error("a packet reached a station that does not answer ARP")
	}
}

func TestAirport(t *testing.T) {
	h := newHome(t, Config{})
	question := udp(hostA, netip.AddrPortFrom(serverX.Addr(), dnsPort), "")
	other, stream := udp(hostA, serverX, ""), tcp(hostA, serverX, header.TCPFlagSyn)
	for _, tc := range []struct {
		filter Filter
		pass   [3]bool
	}{{NoFilter, [3]bool{true, true, true}}, {BlockUDP, [3]bool{false, false, true}}, {BlockUDPButDNS, [3]bool{true, false, true}}} {
		h.nat.SetFilter(tc.filter)
		if h.nat.Filter() != tc.filter {
			t.Error("the filter is not kept")
		}
		for i, b := range [][]byte{question, other, stream} {
			h.serv.got = nil
			h.host.send(b)
			h.run(time.Second)
			if (len(h.serv.got) == 1) != tc.pass[i] {
				t.Errorf("filter %v: packet %d passes: %v", tc.filter, i, len(h.serv.got) == 1)
			}
		}
	}
}

// Two translators, one behind the other, as at home behind a provider's.
func TestTranslatorBehindTranslator(t *testing.T) {
	e := engine.New(engine.Config{Start: t0, Seed: 1})
	var w [3]*wire.Wire
	for i := range w {
		w[i] = wire.New(e, wire.Config{ID: string(rune('a' + i))}, [2]string{"l", "r"}, [2][6]byte{mac(byte(2 * i)), mac(byte(2*i + 1))})
	}
	host := newStation(t, e, w[0].Port(0), hostA.Addr(), netip.MustParseAddr("192.168.1.1"))
	serv := newStation(t, e, w[2].Port(1), serverX.Addr(), netip.MustParseAddr("198.51.100.2"))
	for i, c := range []NodeConfig{
		{Name: "home", Ports: []PortConfig{{w[0].Port(1), netip.MustParsePrefix("192.168.1.1/24"), true}, {w[1].Port(0), netip.MustParsePrefix("100.64.0.9/24"), false}},
			Routes: []Route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("100.64.0.1")}}},
		{Name: "carrier", Ports: []PortConfig{{w[1].Port(1), netip.MustParsePrefix("100.64.0.1/24"), true}, {w[2].Port(0), netip.MustParsePrefix("198.51.100.2/24"), false}}},
	} {
		c.NAT = &Config{RandomPorts: i == 1, Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent}
		if _, err := NewNode(e, c); err != nil {
			t.Fatal(err)
		}
	}
	host.send(udp(hostA, serverX, ""))
	if err := e.RunFor(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	s := look(t, serv.last())
	if s.src.Addr() != netip.MustParseAddr("198.51.100.2") {
		t.Errorf("the server sees %v", s.src)
	}
	serv.send(udp(serverX, s.src, "answer"))
	if err := e.RunFor(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if got := look(t, host.last()); got.src != serverX || got.dst != hostA {
		t.Errorf("the host sees %v to %v", got.src, got.dst)
	}
}

func TestNodeNeedsAnOutside(t *testing.T) {
	e := engine.New(engine.Config{})
	w := wire.New(e, wire.Config{ID: "w"}, [2]string{"a", "b"}, [2][6]byte{mac(1), mac(2)})
	in := PortConfig{w.Port(0), netip.MustParsePrefix("192.168.1.1/24"), true}
	if _, err := NewNode(e, NodeConfig{Ports: []PortConfig{in}, NAT: &Config{}}); err == nil {
		t.Error("a translator without an outside")
	}
	in.Address = netip.MustParsePrefix("2001:db8::1/64")
	if _, err := NewNode(e, NodeConfig{Ports: []PortConfig{in}}); err == nil {
		t.Error("a port with an IPv6 address")
	}
}
