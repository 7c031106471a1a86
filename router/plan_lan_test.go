// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/lifetime"
)

func TestRDNSSAutoGoesDownTheLine(t *testing.T) {
	dns := netip.MustParseAddr
	f := boxFacts("2001:db8:ebbd:9900::/56")
	source := func() (string, DNSSource) {
		p := Make(f, t0)
		return strings.Join(texts(p.LANs[0].Content.RDNSS), " "), p.LANs[0].DNSSource
	}
	want := func(servers string, from DNSSource) {
		t.Helper()
		if got, s := source(); got != servers || s != from {
			t.Errorf("RDNSS %q from %s, want %q from %s", got, s, servers, from)
		}
	}
	want("", DNSOff)
	f.AnswersDNS = map[string]bool{"br-lan": true}
	want("2001:db8:ebbd:9900::1", DNSSelf)
	f.ULA = netip.MustParsePrefix("fd00:db8::/48")
	want("fd00:db8::1", DNSSelf)
	f.Learned.DNS = []netip.Addr{dns("2001:db8::53")}
	want("2001:db8::53", DNSFromRA)
	f.Info.DNS = []netip.Addr{dns("2001:db8:1::53")}
	want("2001:db8:1::53", DNSFromDHCPv6)
	f.Config.Interface.DNS = []netip.Addr{dns("2001:db8:2::53")}
	want("2001:db8:2::53", DNSConfigured)
	f.Config.LANs[0].RDNSSMode = config.RDNSSOff
	want("", DNSOff)
}

func TestCE_2_7_02_RouteInformation(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56", "2001:db8:ebbd:8800::/64")
	f.ULA = netip.MustParsePrefix("fd00:db8::/48")
	f.TunnelAlive = false
	var got []string
	for _, r := range Make(f, t0).LANs[0].Content.Routes {
		got = append(got, r.Prefix.String())
	}
	if want := []string{"2001:db8:ebbd:9900::/56", "fd00:db8::/48"}; !slices.Equal(got, want) {
		t.Errorf("routes %v, want %v", got, want)
	}
}

func TestRFC7084_L2_EveryLANHasItsOwn(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56")
	f.ULA = netip.MustParsePrefix("fd00:db8::/48")
	f.Config.LANs = append(f.Config.LANs, config.NewLAN("br-guest", 0xa))
	p := Make(f, t0)
	for i, want := range [][]string{{"2001:db8:ebbd:9900::/64", "fd00:db8::/64"}, {"2001:db8:ebbd:990a::/64", "fd00:db8:0:a::/64"}} {
		var got []string
		for _, x := range p.LANs[i].Content.Prefixes {
			got = append(got, x.Prefix.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: prefixes %v, want %v", p.LANs[i].Iface, got, want)
		}
	}
	fw := p.Desired.Firewall.String()
	if want := "local fd00:db8::/48 behind br-lan 2001:db8:ebbd:9900::/64 fd00:db8::/64 behind br-guest 2001:db8:ebbd:990a::/64 fd00:db8:0:a::/64"; !strings.HasSuffix(fw, want) {
		t.Errorf("firewall %s\nwant it to end in %s", fw, want)
	}
}

func TestRFC9762_WhereThereIsRoom(t *testing.T) {
	for _, c := range []struct {
		delegation string
		delegate   bool
		want       bool
	}{{"2001:db8:ebbd:9900::/56", true, true}, {"2001:db8:ebbd:9900::/60", true, true}, {"2001:db8:ebbd:9900::/61", true, false}, {"2001:db8:ebbd:9900::/56", false, false}} {
		f := boxFacts(c.delegation)
		f.Config.LANs[0].Delegate = c.delegate
		x := Make(f, t0).LANs[0].Content
		if p := x.Prefixes[0]; p.DHCPv6PD != c.want || !p.Autonomous || !p.OnLink || x.Managed || !x.OtherConfig {
			t.Errorf("%s, Delegate %v: %+v, want P %v", c.delegation, c.delegate, p, c.want)
		}
	}
}

func TestRFC7084_L9_Flags(t *testing.T) {
	for mode, want := range map[config.DHCPv6Mode][2]bool{config.DHCPv6Off: {false, false}, config.DHCPv6Stateless: {false, true}, config.DHCPv6Stateful: {true, true}} {
		f := boxFacts(delegated)
		f.Config.LANs[0].DHCPv6 = mode
		l := Make(f, t0).LANs[0]
		if got := [2]bool{l.Content.Managed, l.Content.OtherConfig}; got != want || (l.Server.Name == "") != (mode == config.DHCPv6Off) {
			t.Errorf("%s: M, O %v, want %v; server %+v", mode, got, want, l.Server)
		}
	}
}

func TestUnconfirmedDelegationLimitsTheServerToo(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56")
	f.Delegations[0].Unconfirmed = true
	p := Make(f, t0)
	if p.Pools[0].Limit != 10*time.Minute || p.LANs[0].Server.OnLink[0].Limit != 10*time.Minute || p.LANs[0].Content.Prefixes[0].Limit != 10*time.Minute {
		t.Errorf("pool %+v, on link %+v", p.Pools[0], p.LANs[0].Server.OnLink[0])
	}
}

func TestRFC9818_5_1_OWN_LANsFirst(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56", "2001:db8:ebbd:8800::/64")
	f.Delegations[0].Exclude = prefix("2001:db8:ebbd:99ff::/64")
	f.Config.LANs = append(f.Config.LANs, config.NewLAN("br-guest", 3))
	p := Make(f, t0)
	if len(p.Pools) != 1 {
		t.Fatalf("pools %+v, want one: a /64 has nothing beside the LAN's own", p.Pools)
	}
	if want := []netip.Prefix{prefix("2001:db8:ebbd:9900::/64"), prefix("2001:db8:ebbd:9903::/64"), prefix("2001:db8:ebbd:99ff::/64")}; !slices.Equal(p.Pools[0].Taken, want) {
		t.Errorf("taken %v, want %v", p.Pools[0].Taken, want)
	}
	if p.Pools[0].Valid != lifetime.At(t0.Add(90*time.Minute)) {
		t.Errorf("lifetime of the pool %v", p.Pools[0].Valid)
	}
}

func TestRFC7084_L14_SubnetThatNoLANHas(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:9900::/56")
	f.Config.LANs[0].Subnet = 5
	old := prefix("2001:db8:ebbd:9900::/64")
	f.Told = map[string][]Told{"br-lan": {{Prefix: old, Held: lifetime.At(t0.Add(time.Hour)), Stale: true}}}
	if p := Make(f, t0); !slices.Contains(p.Desired.Firewall.Stale, old) || !hasRoute(p, dataplane.Route{Dst: old, Iface: "br-lan", Metric: metricStale}) {
		t.Errorf("plan:\n%s", p.Desired)
	}
	f.Config.LANs = append(f.Config.LANs, config.NewLAN("br-guest", 0)) // another LAN has it now
	if p := Make(f, t0); slices.Contains(p.Desired.Firewall.Stale, old) {
		t.Errorf("plan:\n%s", p.Desired)
	}
}
