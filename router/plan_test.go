// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/lifetime"
	"oasis6/ra"
)

var t0 = time.Unix(1000, 0).UTC()

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// boxConfig is a box with one LAN at a hub that takes everything.
func boxConfig() *config.Config {
	return &config.Config{
		Interface: config.Interface{Name: "oasis0"},
		Peers:     []config.Peer{{AllowedIPs: []netip.Prefix{prefix("::/0")}}},
		LANs:      []config.LAN{config.NewLAN("br-lan", 0)},
	}
}

func boxFacts(delegations ...string) Facts {
	f := Facts{Config: boxConfig(), TunnelLinkLocal: addr("fe80::a"), TunnelMTU: 1420, TunnelAlive: true}
	for _, d := range delegations {
		f.Delegations = append(f.Delegations, Delegation{
			Prefix: prefix(d), Preferred: lifetime.At(t0.Add(45 * time.Minute)), Valid: lifetime.At(t0.Add(90 * time.Minute)),
		})
	}
	return f
}

func hasRoute(p Plan, want dataplane.Route) bool { return slices.Contains(p.Desired.Routes, want) }

func TestMakeWithoutPrefixAdvertisesNothing(t *testing.T) {
	p := Make(boxFacts(), t0)
	if c := p.LANs[0].Content; c.DefaultRouter || len(c.Prefixes) != 0 {
		t.Errorf("content = %+v, want no prefix and no default router", c)
	}
	if len(p.Desired.Firewall.Delegations) != 0 || p.Desired.Firewall.Tunnel != "oasis0" {
		t.Errorf("firewall = %+v, want the tunnel closed for every source", p.Desired.Firewall)
	}
	if !p.Wake.IsZero() {
		t.Errorf("wake = %v, want none", p.Wake)
	}
}

// "L-4: An IPv6 CE router MUST NOT advertise itself as a default router with a Router Lifetime greater
// than zero whenever all of its configured and delegated prefixes are in the deprecated state or its
// upstream is not usable."
func TestRFC7084_L4_DefaultRouterOnlyWithPrefixAndTunnel(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:990a::/64")
	edge := t0.Add(45 * time.Minute)
	for _, tc := range []struct {
		name  string
		alive bool
		now   time.Time
		want  bool
	}{
		{"prefix preferred, tunnel alive", true, t0, true},
		{"tunnel dead", false, t0, false},
		{"just before the preferred lifetime ends", true, edge.Add(-1), true},
		{"at its end", true, edge, false},
		{"at the end of the valid lifetime", true, t0.Add(90 * time.Minute), false},
	} {
		f.TunnelAlive = tc.alive
		if got := Make(f, tc.now).LANs[0].Content.DefaultRouter; got != tc.want {
			t.Errorf("%s: DefaultRouter = %v, want %v", tc.name, got, tc.want)
		}
	}
}

// "WPD-5: ... MUST assign the unassigned prefixes to a null next hop; ICMPv6 Destination Unreachable
// SHOULD be sent."
func TestRFC7084_WPD5_UnassignedPartIsUnreachable(t *testing.T) {
	for _, d := range []string{"2001:db8:ebbd:9900::/56", "2001:db8:ebbd:990a::/64"} {
		p := Make(boxFacts(d), t0)
		want := dataplane.Route{Kind: dataplane.Unreachable, Dst: prefix(d), Metric: metricUnreachable}
		if !hasRoute(p, want) {
			t.Errorf("%s: routes %v lack %v", d, p.Desired.Routes, want)
		}
	}
}

func TestMakeRoutesAreSourceSpecific(t *testing.T) {
	p := Make(boxFacts("2001:db8:ebbd:990a::/64"), t0)
	from := dataplane.Route{Dst: prefix("::/0"), From: prefix("2001:db8:ebbd:990a::/64"), Iface: "oasis0", Metric: metricTunnel}
	plain := dataplane.Route{Dst: prefix("::/0"), Iface: "oasis0", Metric: metricTunnel, IfNoOther: true}
	if !hasRoute(p, from) || !hasRoute(p, plain) {
		t.Errorf("routes = %v, want %v and %v", p.Desired.Routes, from, plain)
	}
}

// The tunnel's own datagrams must not go into the tunnel.
func TestMakeKeepsAnIPv6EndpointOutOfTheTunnel(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:990a::/64")
	for _, tc := range []struct {
		endpoint string
		plain    bool
	}{{"198.51.100.2", true}, {"2001:db8:1::2", false}} {
		f.Endpoint = addr(tc.endpoint)
		p := Make(f, t0)
		plain := slices.ContainsFunc(p.Desired.Routes, func(r dataplane.Route) bool { return r.IfNoOther })
		from := slices.ContainsFunc(p.Desired.Routes, func(r dataplane.Route) bool { return r.From.IsValid() })
		if plain != tc.plain || !from {
			t.Errorf("endpoint %s: plain default %v, want %v; source-specific one %v, want true", tc.endpoint, plain, tc.plain, from)
		}
	}
}

// A native default must win against the tunnel for the box's own packets, however the file spells "all".
func TestMakeFoldsWhatIsTheDefault(t *testing.T) {
	for _, tc := range []struct {
		allowed []string
		want    string // destinations
		is      bool
	}{
		{[]string{"::/0"}, "[::/0]", true},
		{[]string{"::/1", "8000::/1", "fe80::/64"}, "[::/0]", true},
		{[]string{"2000::/3"}, "[::/0]", true},
		{[]string{"8000::/1"}, "[8000::/1]", false},
		{[]string{"2001:db8::/32", "fe80::/64"}, "[2001:db8::/32]", false},
	} {
		f := boxFacts("2001:db8:ebbd:990a::/64")
		f.Config.Peers[0].AllowedIPs = nil
		for _, a := range tc.allowed {
			f.Config.Peers[0].AllowedIPs = append(f.Config.Peers[0].AllowedIPs, prefix(a))
		}
		p := Make(f, t0)
		var got []netip.Prefix
		for _, r := range p.Desired.Routes {
			if r.From.IsValid() && r.Kind == dataplane.Unicast {
				got = append(got, r.Dst)
			}
		}
		if fmt.Sprint(got) != tc.want || p.LANs[0].Content.DefaultRouter != tc.is || (len(p.Problems) == 0) != tc.is {
			t.Errorf("%v: destinations %v, default router %v, problems %q; want %s, %v", tc.allowed, got, p.LANs[0].Content.DefaultRouter, p.Problems, tc.want, tc.is)
		}
	}
}

// "L-14: ... ICMPv6 Destination Unreachable, code 5" for packets from a prefix that is gone: for as long as a
// host may hold it, and the answer has a route.
func TestRFC7084_L14_StalePrefixIsAnswered(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:990a::/64")
	held := t0.Add(time.Hour)
	f.Told = map[string][]Told{"br-lan": {
		{prefix("2001:db8:ebbd:990a::/64"), lifetime.At(held), false},
		{prefix("2001:db8:ebbd:990b::/64"), lifetime.At(held), true},
	}}
	onLink := dataplane.Route{Dst: prefix("2001:db8:ebbd:990b::/64"), Iface: "br-lan", Metric: metricStale}
	for _, tc := range []struct {
		now  time.Time
		want int
	}{{t0, 1}, {held.Add(-1), 1}, {held, 0}} {
		p := Make(f, tc.now)
		if got := p.Desired.Firewall.Stale; len(got) != tc.want || hasRoute(p, onLink) != (tc.want == 1) {
			t.Errorf("at %v: stale %v, route %v", tc.now, got, hasRoute(p, onLink))
		}
	}
	if p := Make(f, t0.Add(46*time.Minute)); !p.Wake.Equal(held) {
		t.Errorf("wake %v, want when no host holds it: %v", p.Wake, held)
	}
}

func TestWithdrawOnlyAddsNothing(t *testing.T) {
	a, b := ra.Prefix{Prefix: prefix("2001:db8:0:a::/64")}, ra.Prefix{Prefix: prefix("2001:db8:0:b::/64")}
	told := ra.Content{DefaultRouter: true, Prefixes: []ra.Prefix{a}, RDNSS: []netip.Addr{addr("2001:db8::53")}, DNSSL: []string{"a.example"}}
	next := ra.Content{DefaultRouter: true, Prefixes: []ra.Prefix{b}, RDNSS: []netip.Addr{addr("2001:db8::54")}, DNSSL: []string{"a.example", "b.example"}}
	got := withdrawOnly(told, next)
	if !got.DefaultRouter || len(got.Prefixes) != 0 || len(got.RDNSS) != 0 || !slices.Equal(got.DNSSL, []string{"a.example"}) {
		t.Errorf("withdrawOnly = %+v", got)
	}
	next.DefaultRouter = false
	if withdrawOnly(told, next).DefaultRouter || withdrawOnly(ra.Content{}, told).DefaultRouter {
		t.Error("the default router role is given where it was not, or kept where it is gone")
	}
}

func TestMakeSubnets(t *testing.T) {
	for _, tc := range []struct {
		delegation string
		subnet     uint64
		want       string // address/64, or part of the problem
	}{
		{"2001:db8:ebbd:990a::/64", 0, "2001:db8:ebbd:990a::1/64"},
		{"2001:db8:ebbd:9900::/56", 0xa, "2001:db8:ebbd:990a::1/64"},
		{"2001:db8:ebbd:9900::/56", 0xff, "2001:db8:ebbd:99ff::1/64"},
		{"2001:db8:ebbd:9900::/56", 0x100, "2001:db8:ebbd:9900::1/64LAN br-lan has 2001:db8:ebbd:9900::/64: there is no subnet 100 in 2001:db8:ebbd:9900::/56"},
		{"2001:db8:ebbd:990a::/63", 1, "2001:db8:ebbd:990b::1/64"},
		{"2001:db8:ebbd:990a::/64", 1, "2001:db8:ebbd:990a::1/64LAN br-lan has 2001:db8:ebbd:990a::/64: there is no subnet 1"},
		{"2001:db8:ebbd:990a:ff00::/72", 0, "too long"},
		{"2001:db8::/32", 0xdeadbeef, "2001:db8:dead:beef::1/64"},
	} {
		f := boxFacts(tc.delegation)
		f.Config.LANs[0].Subnet = tc.subnet
		p := Make(f, t0)
		var got string
		for _, s := range p.LANs[0].Subnets {
			got += netip.PrefixFrom(s.Address, s.Prefix.Bits()).String()
		}
		got += strings.Join(p.Problems, "; ")
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s subnet %x: got %q, want %q", tc.delegation, tc.subnet, got, tc.want)
		}
	}
}

func TestMakeWakesAtEachEnd(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:990a::/64")
	preferred, valid := t0.Add(45*time.Minute), t0.Add(90*time.Minute)
	for _, tc := range []struct{ now, want time.Time }{{t0, preferred}, {preferred, valid}, {valid, time.Time{}}} {
		if got := Make(f, tc.now).Wake; !got.Equal(tc.want) {
			t.Errorf("at %v: wake %v, want %v", tc.now, got, tc.want)
		}
	}
}

func TestMakeTransferAddressInsideTheDelegation(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56")
	f.Config.Interface.Addresses = []netip.Prefix{prefix("2001:db8:ebbd:9900::2/64"), prefix("2001:db8:1::2/64")}
	p := Make(f, t0)
	want := []string{"fe80::a/64", "2001:db8:ebbd:9900::2/128", "2001:db8:1::2/64", "2001:db8:ebbd:9900::1/64"}
	var got []string
	for _, a := range p.Desired.Addresses {
		got = append(got, a.Prefix.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("addresses = %v, want %v", got, want)
	}
}

func TestMakeRDNSS(t *testing.T) {
	configured, learned, own := addr("2001:db8:1::53"), addr("2001:db8:2::53"), addr("2001:db8:ebbd:990a::1")
	for _, tc := range []struct {
		name string
		mode config.RDNSSMode
		dns  []netip.Addr // [Interface] DNS
		want []netip.Addr
	}{
		{"auto, configured", config.RDNSSAuto, []netip.Addr{configured}, []netip.Addr{configured}},
		{"auto, learned", config.RDNSSAuto, nil, []netip.Addr{learned}},
		{"self", config.RDNSSSelf, nil, []netip.Addr{own}},
		{"off", config.RDNSSOff, []netip.Addr{configured}, nil},
	} {
		f := boxFacts("2001:db8:ebbd:990a::/64")
		f.Info.DNS = []netip.Addr{learned}
		f.Config.Interface.DNS, f.Config.LANs[0].RDNSSMode = tc.dns, tc.mode
		if got := Make(f, t0).LANs[0].Content.RDNSS; !slices.Equal(got, tc.want) {
			t.Errorf("%s: RDNSS = %v, want %v", tc.name, got, tc.want)
		}
	}
}

// The LAN's own MTU is smaller than the tunnel's on some links; hosts must not be told more than it carries.
func TestMakeLinkMTU(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:990a::/64")
	f.Links = map[string]dataplane.Link{"br-lan": {MTU: 1500}}
	if got := Make(f, t0).LANs[0].Content.LinkMTU; got != 1420 {
		t.Errorf("LinkMTU = %d, want the tunnel's 1420", got)
	}
	f.Links = map[string]dataplane.Link{"br-lan": {MTU: 1400}}
	if got := Make(f, t0).LANs[0].Content.LinkMTU; got != 1400 {
		t.Errorf("LinkMTU = %d, want the LAN's 1400", got)
	}
}

// RFC 8987: the route to a delegated prefix and the filter of its sources come together, and the route says whose it is:
// the data plane checks the MAC of that next hop.
func TestRFC8987_RouteAndFilterComeTogether(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56")
	valid := lifetime.At(t0.Add(time.Hour))
	bind := func(peer string, t dhcpv6.IAType, leases ...server.Lease) {
		f.Bindings = append(f.Bindings, server.Binding{Link: "br-lan", Type: t, Peer: addr(peer), Leases: leases})
	}
	bind("fe80::10", dhcpv6.PD, server.Lease{Prefix: prefix("2001:db8:ebbd:9910::/60"), Valid: valid})
	bind("fe80::11", dhcpv6.PD, server.Lease{Prefix: prefix("2001:db8:ebbd:9920::/60"), Valid: valid},
		server.Lease{Prefix: prefix("2001:db8:ebbd:9930::/60"), Valid: valid, Stale: true})
	bind("fe80::12", dhcpv6.NA, server.Lease{Prefix: prefix("2001:db8:ebbd:9900::12/128"), Valid: valid})
	p := Make(f, t0)
	want := []netip.Prefix{prefix("2001:db8:ebbd:9910::/60"), prefix("2001:db8:ebbd:9920::/60")}
	if got := p.Desired.Firewall.Sources[0].Routed; !slices.Equal(got, want) {
		t.Fatalf("routed = %v, want %v", got, want)
	}
	for i, dst := range want {
		r := dataplane.Route{Dst: dst, Via: addr([]string{"fe80::10", "fe80::11"}[i]), Iface: "br-lan", Metric: metricTunnel}
		if !hasRoute(p, r) {
			t.Errorf("no %s in\n%s", r, p.Desired)
		}
	}
}
