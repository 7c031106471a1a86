// SPDX-License-Identifier: MIT

package kernel

import (
	"testing"
	"time"

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
	if got, err := p.Neighbors("eth0"); !ok {
		t.Errorf("after a ping: %v, %v, want one neighbor", got, err)
	}
	if got, err := p.Neighbors("nonesuch"); err != nil || len(got) != 0 {
		t.Errorf("no interface: %v, %v, want none", got, err)
	}
}
