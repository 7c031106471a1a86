// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"net/netip"
	"testing"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

// benchHub is a plane on a hub with a tunnel as the real one.
func benchHub(b *testing.B) (*netlab.Node, *Plane) {
	b.Helper()
	netlab.Need(b, "ip", "nft")
	hub := netlab.New(b).Node("hub")
	hub.Run("ip", "tuntap", "add", "oasis0", "mode", "tun")
	var p *Plane
	err := hub.Do(func() (err error) {
		p, err = Open(Options{RunDir: b.TempDir(), BootID: "boot-1"})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		for range p.Events() {
		}
	}()
	b.Cleanup(func() { _ = p.Close() })
	return hub, p
}

// leases is a hub with the first n prefixes of its pool leased.
func leases(n int) dataplane.Desired {
	pool := netip.MustParsePrefix("2001:db8::/40")
	d := dataplane.Desired{
		Tunnel:    dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		Addresses: []dataplane.Address{{Iface: "oasis0", Prefix: netip.MustParsePrefix("fe80::1/64"), NoDAD: true}},
		Routes:    []dataplane.Route{{Kind: dataplane.Unreachable, Dst: pool}},
		Forward:   true,
		Hub:       dataplane.HubFirewall{Tunnel: "oasis0", Open: true, Pools: []netip.Prefix{pool}},
	}
	for i := range n {
		d.Routes = append(d.Routes, dataplane.Route{Dst: lease(i), Via: netip.MustParseAddr("fe80::2"), Iface: "oasis0", Metric: 128})
	}
	return d
}

// lease is the i-th prefix of the pool.
func lease(i int) netip.Prefix {
	a := netip.MustParseAddr("2001:db8::").As16()
	a[5], a[6], a[7] = byte(i>>16), byte(i>>8), byte(i)
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

const benchSites = 10000

func BenchmarkHubApply(b *testing.B) {
	apply := func(b *testing.B, p *Plane, d dataplane.Desired) {
		b.Helper()
		if err := p.Apply(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("cold", func(b *testing.B) {
		_, p := benchHub(b)
		d := leases(benchSites)
		for b.Loop() {
			apply(b, p, d)
			b.StopTimer()
			if err := p.Restore(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		_, p := benchHub(b)
		d := leases(benchSites)
		apply(b, p, d)
		for b.Loop() {
			apply(b, p, d)
		}
	})
	for _, more := range []struct {
		name string
		n    int
	}{{"1 more", 1}, {"100 more", 100}} {
		b.Run(more.name, func(b *testing.B) {
			_, p := benchHub(b)
			d := leases(benchSites)
			next := benchSites
			apply(b, p, d)
			for b.Loop() {
				for range more.n { // each time others: the number stays
					d.Routes[1+next%benchSites].Dst = lease(next)
					next++
				}
				apply(b, p, d)
			}
		})
	}
}
