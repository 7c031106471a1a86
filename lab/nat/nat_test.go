// SPDX-License-Identifier: MIT

package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// RFC 4787 REQ-1: "A NAT MUST have an 'Endpoint-Independent Mapping' behavior." The others exist, and are the lab's symmetric ones.
func TestMapping(t *testing.T) {
	for _, tc := range []struct {
		mapping    Behaviour
		port, addr bool // another port, another address of the remote: the same outside port
	}{
		{EndpointIndependent, true, true},
		{AddressDependent, true, false},
		{AddressAndPortDependent, false, false},
	} {
		m := machine(Config{Mapping: tc.mapping, RandomPorts: true})
		x := goesOut(t, m, t0, udp(hostA, serverX, "1"))
		if again := goesOut(t, m, t0, udp(hostA, serverX, "2")); again != x {
			t.Errorf("%v: %v, then %v", tc.mapping, x, again)
		}
		if y := goesOut(t, m, t0, udp(hostA, serverY, "")); (y == x) != tc.port {
			t.Errorf("%v: %v, to another port %v", tc.mapping, x, y)
		}
		if z := goesOut(t, m, t0, udp(hostA, serverZ, "")); (z == x) != tc.addr {
			t.Errorf("%v: %v, to another address %v", tc.mapping, x, z)
		}
		if b := goesOut(t, m, t0, udp(hostB, serverX, "")); b == x {
			t.Errorf("%v: two hosts leave as %v", tc.mapping, b)
		}
		if to := comesIn(t, m, t0, udp(serverX, x, "answer")); to != hostA {
			t.Errorf("%v: the answer goes to %v", tc.mapping, to)
		}
	}
}

// RFC 4787 REQ-8: "If application transparency is most important, it is RECOMMENDED that a NAT have Endpoint-Independent Filtering".
func TestFiltering(t *testing.T) {
	for _, tc := range []struct {
		filtering  Behaviour
		port, addr bool // one who was not spoken to, but at this port, at this address: comes in
	}{
		{EndpointIndependent, true, true},
		{AddressDependent, true, false},
		{AddressAndPortDependent, false, false},
	} {
		m := machine(Config{Filtering: tc.filtering})
		x := goesOut(t, m, t0, udp(hostA, serverX, ""))
		if !comesIn(t, m, t0, udp(serverX, x, "")).IsValid() {
			t.Errorf("%v: the answer does not come in", tc.filtering)
		}
		if got := comesIn(t, m, t0, udp(serverY, x, "")).IsValid(); got != tc.port {
			t.Errorf("%v: from another port: %v", tc.filtering, got)
		}
		if got := comesIn(t, m, t0, udp(serverZ, x, "")).IsValid(); got != tc.addr {
			t.Errorf("%v: from another address: %v", tc.filtering, got)
		}
		if got := comesIn(t, m, t0, udp(serverX, netip.AddrPortFrom(outside, 4), "")); got.IsValid() {
			t.Errorf("%v: to a port without mapping: %v", tc.filtering, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	const ack = header.TCPFlagAck
	syn := func(now time.Time, m *Machine) netip.AddrPort {
		return goesOut(t, m, now, tcp(hostA, serverX, header.TCPFlagSyn))
	}
	for _, tc := range []struct {
		name  string
		talk  func(m *Machine)
		probe func(to netip.AddrPort) []byte // what comes in
		lives time.Duration
	}{
		{"UDP without an answer", func(m *Machine) { goesOut(t, m, t0, udp(hostA, serverX, "")) },
			func(to netip.AddrPort) []byte { return udp(serverX, to, "") }, 30 * time.Second},
		{"UDP with one", func(m *Machine) { comesIn(t, m, t0, udp(serverX, goesOut(t, m, t0, udp(hostA, serverX, "")), "")) },
			func(to netip.AddrPort) []byte { return udp(serverX, to, "") }, 5 * time.Minute},
		{"TCP that begins", func(m *Machine) { syn(t0, m) },
			func(to netip.AddrPort) []byte { return tcp(serverX, to, ack) }, 4 * time.Minute},
		{"TCP", func(m *Machine) { comesIn(t, m, t0, tcp(serverX, syn(t0, m), header.TCPFlagSyn|ack)) },
			func(to netip.AddrPort) []byte { return tcp(serverX, to, ack) }, 2*time.Hour + 4*time.Minute},
		{"TCP with one FIN", func(m *Machine) { comesIn(t, m, t0, tcp(serverX, syn(t0, m), header.TCPFlagSyn|header.TCPFlagFin|ack)) },
			func(to netip.AddrPort) []byte { return tcp(serverX, to, ack) }, 2*time.Hour + 4*time.Minute},
		{"TCP with both", func(m *Machine) {
			comesIn(t, m, t0, tcp(serverX, syn(t0, m), header.TCPFlagSyn|header.TCPFlagFin|ack))
			goesOut(t, m, t0, tcp(hostA, serverX, header.TCPFlagFin|ack))
		}, func(to netip.AddrPort) []byte { return tcp(serverX, to, ack) }, 4 * time.Minute},
		{"TCP reset", func(m *Machine) { comesIn(t, m, t0, tcp(serverX, syn(t0, m), header.TCPFlagRst)) },
			func(to netip.AddrPort) []byte { return tcp(serverX, to, ack) }, 4 * time.Minute},
		{"TCP begun again", func(m *Machine) {
			comesIn(t, m, t0, tcp(serverX, syn(t0, m), header.TCPFlagRst))
			comesIn(t, m, t0, tcp(serverX, syn(t0, m), header.TCPFlagSyn|ack))
		}, func(to netip.AddrPort) []byte { return tcp(serverX, to, ack) }, 2*time.Hour + 4*time.Minute},
		{"ICMP", func(m *Machine) {
			goesOut(t, m, t0, echo(hostA.Addr(), serverX.Addr(), header.ICMPv4Echo, hostA.Port()))
		},
			func(to netip.AddrPort) []byte {
				return echo(serverX.Addr(), outside, header.ICMPv4EchoReply, to.Port())
			}, time.Minute},
	} {
		to := netip.AddrPortFrom(outside, hostA.Port())
		for _, late := range []time.Duration{-1, 0} {
			m := machine(Config{UDP: 5 * time.Minute, Filtering: AddressAndPortDependent})
			tc.talk(m)
			e := m.Entries(t0)
			if len(e) != 1 || e[0].Expires.Sub(t0) != tc.lives || e[0].Inside != hostA || e[0].Outside != to {
				t.Errorf("%s: table %v", tc.name, e)
			}
			if got := comesIn(t, m, t0.Add(tc.lives+late), tc.probe(to)).IsValid(); got != (late < 0) {
				t.Errorf("%s: comes in %v after the end: %v", tc.name, late, got)
			}
		}
	}
}

func TestRebindGivesOtherPorts(t *testing.T) {
	for _, random := range []bool{false, true} {
		m := machine(Config{RandomPorts: random})
		before := goesOut(t, m, t0, udp(hostA, serverX, ""))
		if !random && before.Port() != hostA.Port() {
			t.Errorf("leaves as %v: the port is not kept", before)
		}
		m.Rebind()
		if comesIn(t, m, t0, udp(serverX, before, "")).IsValid() {
			t.Error("comes in by a mapping that is forgotten")
		}
		after := goesOut(t, m, t0, udp(hostA, serverX, ""))
		if after == before {
			t.Errorf("random %v: the same port %v", random, after)
		}
		if to := comesIn(t, m, t0, udp(serverX, after, "")); to != hostA {
			t.Errorf("the answer goes to %v", to)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	m := machine(Config{MaxSessions: 3})
	for i := range 3 {
		goesOut(t, m, t0.Add(time.Duration(i)*time.Second), udp(netip.AddrPortFrom(hostA.Addr(), uint16(i+1)), serverX, ""))
	}
	more := udp(hostB, serverX, "")
	if r := m.Outward(t0.Add(29*time.Second), more); r.Verdict != Refused {
		t.Errorf("one too many: %v %s", r.Verdict, r.Text)
	}
	if r := m.Inward(t0.Add(29*time.Second), udp(serverZ, netip.AddrPortFrom(outside, 1), "")); r.Verdict != Dropped {
		t.Errorf("one too many from outside: %v", r.Verdict)
	}
	goesOut(t, m, t0.Add(30*time.Second), more) // the first is over
	if r := m.Outward(t0.Add(30*time.Second), udp(hostB, serverY, "")); r.Verdict != Refused {
		t.Errorf("one too many: %v %s", r.Verdict, r.Text)
	}
}

// Every port is given once, and none twice.
func TestPortsRunOut(t *testing.T) {
	m := machine(Config{MaxSessions: 1 << 20, RandomPorts: true})
	seenPorts := map[uint16]bool{}
	for i := range 1<<16 - lowestPort {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 9)
		r := m.Outward(t0, udp(src, serverX, ""))
		if r.Verdict != Passed {
			t.Fatalf("packet %d: %s", i, r.Text)
		}
		p := binary.BigEndian.Uint16(r.Packet[20:])
		if seenPorts[p] || p < lowestPort {
			t.Fatalf("port %d", p)
		}
		seenPorts[p] = true
	}
	if r := m.Outward(t0, udp(hostA, serverX, "")); r.Verdict != Refused {
		t.Errorf("there is one more port: %v", r.Verdict)
	}
}

// RFC 4787 REQ-9: "A NAT MUST support 'Hairpinning'. a) A NAT Hairpinning behavior MUST be 'External source IP address and port'."
func TestHairpin(t *testing.T) {
	m := machine(Config{})
	b := goesOut(t, m, t0, udp(hostB, serverX, ""))
	r := m.Outward(t0, udp(hostA, b, "hello"))
	if r.Verdict != Passed {
		t.Fatal(r.Text)
	}
	if s := look(t, r.Packet); s.src.Addr() != outside || s.dst != hostB {
		t.Errorf("%v to %v", s.src, s.dst)
	}
	m = machine(Config{NoHairpin: true})
	b = goesOut(t, m, t0, udp(hostB, serverX, ""))
	if r := m.Outward(t0, udp(hostA, b, "hello")); r.Verdict != Dropped {
		t.Error("turned around")
	}
}

// A checksum of zero means that there is none (RFC 768), and one that becomes zero is sent as ones.
func TestUDPWithoutChecksumStaysSo(t *testing.T) {
	m := machine(Config{})
	b := udp(hostA, serverX, "text")
	b[26], b[27] = 0, 0
	r := m.Outward(t0, b)
	if r.Packet[26]|r.Packet[27] != 0 {
		t.Error("a checksum was made up")
	}
	for i := range 1 << 16 { // one of them has 0xffff after translation
		b := udp(hostA, serverX, string([]byte{byte(i >> 8), byte(i)}))
		if r := m.Outward(t0, b); r.Packet[26]|r.Packet[27] == 0 {
			t.Fatalf("payload %x: checksum zero", i)
		}
	}
}

// What the inside gets of an error quotes what the inside had sent; what the outside gets, what the outside had sent.
func TestErrorsAreTranslated(t *testing.T) {
	hop := netip.MustParseAddr("203.0.113.254")
	for name, sent := range map[string][]byte{
		"udp":  udp(hostA, serverX, "some text"),
		"tcp":  tcp(hostA, serverX, header.TCPFlagSyn),
		"icmp": echo(hostA.Addr(), serverX.Addr(), header.ICMPv4Echo, hostA.Port()),
	} {
		m := machine(Config{RandomPorts: true, Mapping: AddressAndPortDependent})
		out := m.Outward(t0, sent).Packet
		for _, quoted := range []int{28, len(out)} {
			q, err := parse(out, false)
			if err != nil {
				t.Fatal(err)
			}
			q.b = q.b[:quoted]
			r := m.Inward(t0, icmpError(hop, &q, icmpTimeExceeded, 0, 0))
			if r.Verdict != Passed {
				t.Fatalf("%s: %s", name, r.Text)
			}
			s := look(t, r.Packet)
			if s.src.Addr() != hop || s.dst.Addr() != hostA.Addr() || !slices.Equal(r.Packet[28:], sent[:quoted]) {
				t.Errorf("%s: from %v to %v, quotes\n% x, sent was\n% x", name, s.src, s.dst, r.Packet[28:], sent)
			}
		}
		q, _ := parse(out, false) // as above
		if r := m.Inward(t0.Add(5*time.Minute), icmpError(hop, &q, icmpTimeExceeded, 0, 0)); r.Verdict != Dropped {
			t.Errorf("%s: an error about a session that is over passes", name)
		}
	}
	m := machine(Config{RandomPorts: true})
	x := goesOut(t, m, t0, udp(hostA, serverX, ""))
	sent := udp(serverX, x, "an answer that nobody wants")
	in, err := parse(m.Inward(t0, sent).Packet, false)
	if err != nil {
		t.Fatal(err)
	}
	r := m.Outward(t0, icmpError(hostA.Addr(), &in, icmpUnreachable, codePort, 0))
	if r.Verdict != Passed {
		t.Fatal(r.Text)
	}
	if s := look(t, r.Packet); s.src.Addr() != outside || s.dst.Addr() != serverX.Addr() || !slices.Equal(r.Packet[28:], sent) {
		t.Errorf("%v to %v quotes\n% x, sent was\n% x", s.src, s.dst, r.Packet[28:], sent)
	}
	stranger, _ := parse(udp(serverZ, netip.AddrPortFrom(hostB.Addr(), 4), ""), false) // it is whole
	if r := m.Outward(t0, icmpError(hostB.Addr(), &stranger, icmpUnreachable, codePort, 0)); r.Verdict != Dropped {
		t.Error("an error about nothing known leaves")
	}
}

// RFC 4787 REQ-14: "A NAT MUST support receiving in-order and out-of-order fragments": in order only here.
func TestPiecesInOrder(t *testing.T) {
	m := machine(Config{})
	x := goesOut(t, m, t0, udp(hostA, serverX, ""))
	whole, err := parse(udp(serverX, x, string(make([]byte, 3000))), false)
	if err != nil {
		t.Fatal(err)
	}
	pieces := fragments(&whole, 1500)
	if len(pieces) != 3 {
		t.Fatalf("%d pieces", len(pieces))
	}
	if m.Inward(t0, pieces[1]).Verdict == Passed {
		t.Error("a later piece before the first passes")
	}
	for i, p := range pieces {
		r := m.Inward(t0, p)
		if r.Verdict != Passed || look(t, r.Packet).dst.Addr() != hostA.Addr() {
			t.Errorf("piece %d: %s", i, r.Text)
		}
	}
	if m.Inward(t0.Add(fragmentsWait), pieces[1]).Verdict == Passed {
		t.Error("a piece that is much too late passes")
	}
}

func TestOthersAreNotForThisMachine(t *testing.T) {
	m := machine(Config{})
	for name, b := range map[string][]byte{
		"GRE":            ip4(hostA.Addr(), serverX.Addr(), 47, []byte("12345678")),
		"echo reply":     echo(hostA.Addr(), serverX.Addr(), header.ICMPv4EchoReply, 1),
		"short UDP":      ip4(hostA.Addr(), serverX.Addr(), UDP, []byte("1234567")),
		"wrong checksum": append([]byte{0x46}, udp(hostA, serverX, "")[1:]...),
		"nothing":        nil,
	} {
		if r := m.Outward(t0, b); r.Verdict == Passed {
			t.Errorf("%s goes out", name)
		}
	}
	if r := m.Inward(t0, echo(serverX.Addr(), outside, header.ICMPv4Echo, 1)); r.Verdict != Local {
		t.Errorf("a ping from outside: %v", r.Verdict)
	}
}

// No input panics, what passes has right checksums, the table stays in its bounds and its two sides agree.
func FuzzMachine(f *testing.F) {
	f.Add(udp(hostA, serverX, "text"), true, uint16(0))
	f.Add(tcp(hostA, serverX, header.TCPFlagSyn), true, uint16(3))
	f.Add(udp(serverX, netip.AddrPortFrom(outside, 5000), "text"), false, uint16(5))
	f.Add(echo(serverX.Addr(), outside, header.ICMPv4EchoReply, 5000), false, uint16(60))
	q, _ := parse(udp(netip.AddrPortFrom(outside, 5000), serverX, ""), false) // it is whole
	f.Add(icmpError(serverX.Addr(), &q, icmpUnreachable, codePort, 0), false, uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, outward bool, seconds uint16) {
		m := New(Config{Outside: outside, MaxSessions: 4, Mapping: Behaviour(seconds % 3), Filtering: Behaviour(seconds / 3 % 3)},
			rand.New(rand.NewPCG(1, uint64(seconds))).Float64)
		m.Outward(t0, udp(hostA, serverX, ""))
		m.Outward(t0, tcp(hostA, serverX, header.TCPFlagSyn))
		m.Outward(t0, echo(hostA.Addr(), serverX.Addr(), header.ICMPv4Echo, hostA.Port()))
		kept := slices.Clone(b)
		now := t0.Add(time.Duration(seconds) * time.Second)
		step := m.Inward
		if outward {
			step = m.Outward
		}
		r := step(now, b)
		if !slices.Equal(b, kept) {
			t.Error("the packet was changed in place")
		}
		if r.Verdict == Passed && !header.IPv4(r.Packet).IsChecksumValid() {
			t.Error("wrong checksum")
		}
		n := 0
		for k, p := range m.byOutside {
			if m.byInside[insideKey{p.proto, p.inside, p.pair}] != p || k != (outsideKey{p.proto, p.port}) {
				t.Error("the sides of the table do not agree")
			}
			n += len(p.sessions)
		}
		if n != m.sessions || n > 4 || len(m.byInside) != len(m.byOutside) {
			t.Errorf("%d sessions, %d counted, %d and %d mappings", n, m.sessions, len(m.byInside), len(m.byOutside))
		}
	})
}
