// SPDX-License-Identifier: MIT

package tun

import (
	"net"
	"net/netip"
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
		index, err := routeInterface(ep.Addr(), 0)
		wan, werr := net.InterfaceByName("wan0")
		if err != nil || werr != nil || index != wan.Index {
			t.Errorf("routeInterface = %d, %v; want wan0 (%v, %v)", index, err, wan, werr)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
