// SPDX-License-Identifier: MIT

package kernel

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

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
	got, err := p.Neighbors("eth0")
	if !ok || got[0].Addr != netip.MustParseAddr("2001:db8::2") || got[0].MAC == [6]byte{} || got[0].Seen > 6*time.Second {
		t.Fatalf("after a ping: %v, %v, want one neighbor, seen a moment ago", got, err)
	}
	if got, err := p.Neighbors("nonesuch"); err != nil || len(got) != 0 {
		t.Errorf("no interface: %v, %v, want none", got, err)
	}
}

func TestNeighborsLastHeardFirst(t *testing.T) {
	var list []neighbor
	for i := range dataplane.MaxNeighbors + 10 {
		list = append(list, neighbor{age: time.Duration((i * 7919) % 2003)})
	}
	sortNeighbors(list)
	got := seen(list)
	if len(got) != dataplane.MaxNeighbors || !slices.IsSortedFunc(got, func(a, b dataplane.Neighbor) int { return int(a.Seen - b.Seen) }) {
		t.Errorf("%d neighbors, want the %d heard last, in order", len(got), dataplane.MaxNeighbors)
	}
}
