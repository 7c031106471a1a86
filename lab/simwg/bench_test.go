// SPDX-License-Identifier: MIT

package simwg

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/tun"
)

// calls are what is to run; time stands.
type calls struct{ list []func() }

func (c *calls) Now() time.Time { return time.Unix(1000, 0) }

func (c *calls) AfterFunc(d time.Duration, f func()) (stop func()) {
	if d == 0 {
		c.list = append(c.list, f)
	}
	return func() {}
}

func (c *calls) run() {
	for len(c.list) > 0 {
		f := c.list[0]
		c.list = c.list[1:]
		f()
	}
}

// One packet of 1400 octets from the box's data plane to the hub's.
func BenchmarkPacket(b *testing.B) {
	var c calls
	var box *Tunnel
	var hub *Hub
	arrived := 0
	hub, err := NewHub(tun.HubConfig{Name: "oasis0", PrivateKey: hubKey}, Options{
		Scheduler: &c, Rand: rand.New(rand.NewPCG(1, 1)).Uint64, Deliver: func([]byte) { arrived++ },
		SendUDP: func(_ uint16, _ netip.AddrPort, data []byte) error { box.Datagram(hubAt, data); return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := hub.SetSites([]tun.Site{boxSite(lease)}); err != nil {
		b.Fatal(err)
	}
	box, err = NewTunnel(boxConfig(hubAt.String()), Options{
		Scheduler: &c, Rand: rand.New(rand.NewPCG(1, 2)).Uint64, Deliver: func([]byte) {},
		SendUDP: func(_ uint16, _ netip.AddrPort, data []byte) error { hub.Datagram(boxAt, data); return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	c.run()
	p := data(boxGUA, farGUA, strings.Repeat("x", 1352))
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		box.Packet(p)
		c.run()
		n++
	}
	if arrived != n {
		b.Errorf("%d of %d packets arrive", arrived, n)
	}
}
