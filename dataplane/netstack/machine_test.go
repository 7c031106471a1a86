// SPDX-License-Identifier: MIT

package netstack

import (
	"net/netip"
	"testing"
)

// The machine may have its IPv6 from the box on its own LAN, or from another router there, or elsewhere.
func TestWhichRouterIsTheBox(t *testing.T) {
	w := ready(t)
	w.p.o.Identity = []byte("box")
	station := linkLocal(stationMAC(w.p.o.Identity, "br-lan"))
	for _, c := range []struct {
		iface string
		via   netip.Addr
		want  bool
	}{
		{"br-lan", station, true},
		{"br-lan", station.WithZone("br-lan"), true},
		{"br-lan", box, true},
		{"br-lan", netip.MustParseAddr("fe80::99"), false},
		{"br-lan", netip.MustParseAddr("2001:db8:1::99"), false},
		{"eth0", station, false},
		{"eth0", netip.MustParseAddr("fe80::1"), false},
	} {
		if got := w.p.IsRouter(c.iface, c.via); got != c.want {
			t.Errorf("IsRouter(%s, %s) = %v, want %v", c.iface, c.via, got, c.want)
		}
	}
}
