// SPDX-License-Identifier: MIT

package kernel

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

func TestNeighborsOnePerMAC(t *testing.T) {
	a, b := [6]byte{0, 0, 0x5e, 0, 0x53, 1}, [6]byte{0, 0, 0x5e, 0, 0x53, 2}
	ip := netip.MustParseAddr
	got := onePerMAC([]neighbor{
		{mac: a, ip: ip("2001:db8::a")}, {mac: b, ip: ip("fe80::b")}, {mac: a, ip: ip("fe80::a")}, {mac: b, ip: ip("2001:db8::b")},
	})
	if want := []netip.Addr{ip("fe80::a"), ip("fe80::b")}; !slices.Equal(got, want) {
		t.Errorf("onePerMAC = %v, want %v", got, want)
	}
	var flood []neighbor
	for i := range 2 * maxNeighbors {
		flood = append(flood, neighbor{mac: [6]byte{byte(i >> 8), byte(i)}, ip: ip("fe80::a")})
	}
	if got := len(onePerMAC(flood)); got != maxNeighbors {
		t.Errorf("%d neighbors of a flood, want %d", got, maxNeighbors)
	}
}

func TestNeighborsOfTheKernel(t *testing.T) {
	l := netlab.New(t)
	a, b := l.Node("a"), l.Node("b")
	l.Wire(a, "eth0", b, "eth0")
	a.Addr("eth0", "2001:db8::1/64")
	b.Addr("eth0", "2001:db8::2/64")
	var p *Plane
	if err := a.Do(func() (err error) { p, err = Open(Options{RunDir: a.Path("run")}); return err }); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := p.Neighbors("eth0"); err != nil || len(got) != 0 {
		t.Errorf("before any packet: %v, %v, want none", got, err)
	}
	a.Run("ping", "-c1", "-W2", "2001:db8::2")
	ok := netlab.Poll(5*time.Second, func() bool {
		got, err := p.Neighbors("eth0")
		return err == nil && len(got) == 1
	})
	if got, err := p.Neighbors("eth0"); !ok {
		t.Errorf("after a ping: %v, %v, want one neighbor", got, err)
	}
	if got, err := p.Neighbors("nonesuch"); err != nil || len(got) != 0 {
		t.Errorf("no interface: %v, %v, want none", got, err)
	}
}
