// SPDX-License-Identifier: MIT

package tun

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// With an IPv6 endpoint the tunnel's own default route may be the only way left: that is none.
func TestEndpointIsNotReachedThroughTheTunnel(t *testing.T) {
	l := netlab.New(t)
	n, far := l.Node("r1"), l.Node("far")
	for _, name := range []string{"oasis0", "wan0"} {
		l.Wire(n, name, far, name)
	}
	n.Addr("oasis0", "2001:db8:a::1/64")
	n.Addr("wan0", "2001:db8:b::1/64")
	ep := netip.MustParseAddrPort("[2001:db8:1::2]:51820")
	check := func(what string, want bool, mark uint32) {
		t.Helper()
		if err := n.Do(func() error {
			if got := usable("oasis0", mark, ep); got != want {
				t.Errorf("%s: usable = %v, want %v", what, got, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	check("no route at all", false, 0)
	n.Run("ip", "-6", "route", "add", "default", "dev", "oasis0", "metric", "512")
	check("only through the tunnel", false, 0)
	n.Run("ip", "-6", "route", "add", "default", "dev", "wan0", "table", "100")
	n.Run("ip", "-6", "rule", "add", "fwmark", "7", "table", "100")
	check("a way for marked datagrams", true, 7)
	n.Run("ip", "-6", "route", "add", "2001:db8:1::/48", "dev", "wan0")
	check("a way of its own", true, 0)
	if err := n.Do(func() error {
		index, via, err := routeTo(ep.Addr(), 0)
		wan, werr := net.InterfaceByName("wan0")
		if err != nil || werr != nil || index != wan.Index || via.IsValid() {
			t.Errorf("routeTo = %d, %v, %v; want wan0 (%v, %v)", index, via, err, wan, werr)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A box in userspace is a router beside the machine on its LAN. Native IPv6 of the machine there, by another router, stays a
// way to the hub; one by the box itself is none.
func TestNativeIPv6OnTheLANIsAWayOut(t *testing.T) {
	l := netlab.New(t)
	n, far := l.Node("r1"), l.Node("far")
	l.Wire(n, "br-lan", far, "lan")
	n.Addr("br-lan", "2001:db8:a::1/64")
	ep, box := netip.MustParseAddrPort("[2001:db8:1::2]:51820"), netip.MustParseAddr("fe80::b")
	way := Outside{Inside: func(iface string, via netip.Addr) bool { return iface == "br-lan" && via == box }}.way()
	for _, c := range []struct {
		route string
		want  bool
	}{
		{"", false},
		{"via fe80::b dev br-lan", false},
		{"via fe80::99 dev br-lan", true},
		{"via 2001:db8:a::99 dev br-lan", true},
		{"dev br-lan", true},
	} {
		if c.route != "" {
			n.Run(append([]string{"ip", "-6", "route", "replace", "default"}, strings.Fields(c.route)...)...)
		}
		if err := n.Do(func() error {
			if got := way.usable("oasis0", 0, ep); got != c.want {
				t.Errorf("default %q: usable = %v, want %v", c.route, got, c.want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}
