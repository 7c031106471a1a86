// SPDX-License-Identifier: MIT

package nat

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

// program keeps what it hears.
type program struct{ got, failed []string }

func (p *program) listen(t *testing.T, n *Node, port uint16) {
	t.Helper()
	err := n.Listen(port, Program{
		Receive: func(from netip.AddrPort, data []byte) string {
			p.got = append(p.got, from.String()+" "+string(data))
			return ""
		},
		Failed: func(to netip.AddrPort, text string) { p.failed = append(p.failed, to.String()+" "+text) },
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The box is the translator itself: what its own programs send is not translated, and what comes for them comes to them.
func TestProgramsOfTheNodeItself(t *testing.T) {
	h := newHome(t, Config{})
	var p program
	p.listen(t, h.nat, 51820)
	if err := h.nat.Listen(51820, Program{Receive: func(netip.AddrPort, []byte) string { return "" }}); err == nil {
		t.Error("a port is given twice")
	}
	if err := h.nat.SendUDP(51820, serverX, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	h.run(time.Second)
	own := netip.AddrPortFrom(outside, 51820)
	if s := look(t, h.serv.last()); s.src != own || s.dst != serverX {
		t.Errorf("%v arrives", s)
	}
	h.serv.send(udp(serverX, own, "answer"))
	bad := udp(serverX, own, "broken")
	bad[len(bad)-1] ^= 1
	h.serv.send(bad)
	h.run(time.Second)
	if got := strings.Join(p.got, ", "); got != serverX.String()+" answer" {
		t.Errorf("the program has %q", got)
	}
	// A host's mapping must not take the port.
	h.host.send(udp(netip.AddrPortFrom(hostA.Addr(), 51820), serverX, "host"))
	h.run(time.Second)
	if s := look(t, h.serv.last()); s.src.Addr() != outside || s.src.Port() == 51820 {
		t.Errorf("a host's packet comes from %v, the program's port", s.src)
	}
	if err := h.nat.Listen(51820, Program{}); err != nil {
		t.Error(err)
	}
	h.serv.send(udp(serverX, own, "late"))
	h.run(time.Second)
	if len(p.got) != 1 {
		t.Error("a program that has ended gets packets")
	}
}

// RFC 1191 section 3: a node sends no more than the path carries once it was told.
func TestProgramsLearnThePath(t *testing.T) {
	h := newHome(t, Config{})
	var p program
	p.listen(t, h.nat, 51820)
	h.wires[2].SetMTU(1300) // beyond the provider's router
	big := make([]byte, 1400)
	if err := h.nat.SendUDP(51820, serverX, big); err != nil {
		t.Fatal(err)
	}
	h.run(time.Second)
	if len(h.serv.got) != 0 {
		t.Error("arrives all the same")
	}
	if mtu, err := h.nat.PathMTU(serverX.Addr()); mtu != 1300 || err != nil {
		t.Errorf("path MTU %d, %v", mtu, err)
	}
	if len(p.failed) != 1 || !strings.Contains(p.failed[0], "1300") {
		t.Errorf("the program was told %q", p.failed)
	}
	if err := h.nat.SendUDP(51820, serverX, big); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("sent again: %v", err)
	}
	if err := h.nat.SendUDP(51820, serverX, big[:1300-ipHeader-udpHeader]); err != nil {
		t.Error(err)
	}
	h.run(pathLasts)
	h.serv.last()
	if mtu, err := h.nat.PathMTU(serverX.Addr()); mtu != 1500 || err != nil {
		t.Errorf("after ten minutes the path MTU is %d, %v", mtu, err)
	}
}

// Two stacks share the box's LAN port.
func TestNodeOnAPartOfAPort(t *testing.T) {
	e := engine.New(engine.Config{Start: t0, Seed: 1})
	w := wire.New(e, wire.Config{ID: "w"}, [2]string{"host", "box"}, [2][6]byte{mac(1), mac(2)})
	rest, v6 := wire.Split(w.Port(1))
	six := 0
	v6.Attach(func([]byte) { six++ }, nil)
	n, err := NewNode(e, NodeConfig{Name: "box", Ports: []PortConfig{{Wire: rest, Address: netip.MustParsePrefix("192.168.1.1/24")}}})
	if err != nil {
		t.Fatal(err)
	}
	var p program
	p.listen(t, n, 7)
	s := newStation(t, e, w.Port(0), hostA.Addr(), netip.MustParseAddr("192.168.1.1"))
	s.send(udp(hostA, ap("192.168.1.1:7"), "x"))
	if err := e.RunFor(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if len(p.got) != 1 || six != 0 {
		t.Errorf("%d to the program, %d to the other stack", len(p.got), six)
	}
}
