// SPDX-License-Identifier: MIT

package dataplane_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"oasis6/dataplane"
)

func TestDesiredReadsAsAnAdministratorWouldTypeIt(t *testing.T) {
	pfx := netip.MustParsePrefix
	d := dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		LANs:   []string{"br-lan"},
		Addresses: []dataplane.Address{
			{Iface: "oasis0", Prefix: pfx("fe80::1/64"), NoDAD: true},
			{Iface: "br-lan", Prefix: pfx("2001:db8:ebbd:990a::1/64")},
			{Iface: "br-lan", Prefix: pfx("2001:db8:ebbd:9900::1/64"), Deprecated: true},
		},
		Routes: []dataplane.Route{
			{Kind: dataplane.Unreachable, Dst: pfx("2001:db8:ebbd:990a::/64"), Metric: 9000},
			{Dst: pfx("::/0"), From: pfx("2001:db8:ebbd:990a::/64"), Iface: "oasis0"},
			{Dst: pfx("::/0"), Iface: "oasis0", IfNoOther: true},
			{Dst: pfx("2001:db8:ebbd:9a00::/60"), Via: netip.MustParseAddr("fe80::a"), Iface: "br-lan"},
		},
		Forward: true,
		Firewall: dataplane.Firewall{
			Tunnel: "oasis0", LANs: []string{"br-lan"},
			Delegations: []netip.Prefix{pfx("2001:db8:ebbd:990a::/64")},
			Stale:       []netip.Prefix{pfx("2001:db8:ebbd:9909::/64"), pfx("2001:db8:ebbd:9908::/64")},
			Local:       []netip.Prefix{pfx("fd00:db8:1::/48")},
			Sources: []dataplane.LANSources{{
				Iface: "br-lan", OnLink: []netip.Prefix{pfx("2001:db8:ebbd:990a::/64")}, Routed: []netip.Prefix{pfx("2001:db8:ebbd:9a00::/60")},
			}},
		},
	}
	want := `link oasis0 mtu 1420 up
lan br-lan
address fe80::1/64 dev oasis0 nodad
address 2001:db8:ebbd:990a::1/64 dev br-lan
address 2001:db8:ebbd:9900::1/64 dev br-lan deprecated
route unreachable 2001:db8:ebbd:990a::/64 metric 9000
route default from 2001:db8:ebbd:990a::/64 dev oasis0
route default dev oasis0 if no other
route 2001:db8:ebbd:9a00::/60 via fe80::a dev br-lan
forward ipv6
firewall closed tunnel oasis0 lan br-lan from 2001:db8:ebbd:990a::/64 stale 2001:db8:ebbd:9909::/64 stale 2001:db8:ebbd:9908::/64 local fd00:db8:1::/48 behind br-lan 2001:db8:ebbd:990a::/64 routed 2001:db8:ebbd:9a00::/60
`
	if diff := cmp.Diff(want, d.String()); diff != "" {
		t.Errorf("Desired.String() (-want +got):\n%s", diff)
	}
	if got := (dataplane.Desired{}).String(); got != "" {
		t.Errorf("zero Desired = %q, want nothing", got)
	}
}

func TestHubReadsAsAnAdministratorWouldTypeIt(t *testing.T) {
	pfx := netip.MustParsePrefix
	d := dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		Routes: []dataplane.Route{
			{Dst: pfx("2001:db8:ebbd:990a::/64"), Iface: "oasis0", Metric: 128},
			{Kind: dataplane.Unreachable, Dst: pfx("2001:db8:ebbd:9900::/56")},
		},
		Forward: true,
		Hub: dataplane.HubFirewall{
			Tunnel: "oasis0", Open: true, SiteToSite: true,
			Pools: []netip.Prefix{pfx("2001:db8:ebbd:9900::/56"), pfx("2001:db8:1::/64")},
			Taken: []netip.Prefix{pfx("2001:db8:ebbd:9900::1/128")},
		},
		Proxy: []dataplane.NDProxy{{Iface: "eth0", Prefixes: []netip.Prefix{pfx("2001:db8:ebbd:990a::/64"), pfx("2001:db8:ebbd:990b::/64")}}},
	}
	want := `link oasis0 mtu 1420 up
route 2001:db8:ebbd:990a::/64 dev oasis0 metric 128
route unreachable 2001:db8:ebbd:9900::/56
forward ipv6
hub open tunnel oasis0 pool 2001:db8:ebbd:9900::/56 pool 2001:db8:1::/64 taken 2001:db8:ebbd:9900::1/128 site to site
proxy 2001:db8:ebbd:990a::/64 dev eth0
proxy 2001:db8:ebbd:990b::/64 dev eth0
`
	if diff := cmp.Diff(want, d.String()); diff != "" {
		t.Errorf("Desired.String() (-want +got):\n%s", diff)
	}
	d.Hub.Open, d.Hub.SiteToSite, d.Hub.Taken = false, false, nil
	if got := d.Hub.String(); got != "hub closed tunnel oasis0 pool 2001:db8:ebbd:9900::/56 pool 2001:db8:1::/64" {
		t.Errorf("a closed hub = %q", got)
	}
	if got := (dataplane.HubFirewall{}).String(); got != "hub none" {
		t.Errorf("zero HubFirewall = %q", got)
	}
}
