// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"oasis6/config"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func planConfig() *config.HubConfig {
	return &config.HubConfig{
		Interface: config.Interface{Name: "oasis0", Addresses: prefixes("2001:db8:1::2/64")},
		Hub:       config.Hub{Pools: prefixes("2001:db8:ebbd:9900::/56"), Uplink: "eth0", SiteLength: 64, MaxSiteLength: 60},
		Sites:     []config.Site{{Name: "a", Prefixes: prefixes("2001:db8:ebbd:990a::/64", "2001:db8:beef::/56")}},
	}
}

func TestMake(t *testing.T) {
	f := Facts{
		Config: planConfig(), LinkLocal: netip.MustParseAddr("fe80::1"), MTU: 1420,
		Routed: prefixes("2001:db8:beef::/56", "2001:db8:ebbd:990a::/64"), Own: prefixes("2001:db8:1::2/128"),
	}
	const want = `link oasis0 mtu 1420 up
address fe80::1/128 dev oasis0 nodad
address 2001:db8:1::2/128 dev oasis0 nodad
route fe80::/10 via fe80::2 dev oasis0 metric 128
route unreachable 2001:db8:beef::/56 metric 1073741824
route unreachable 2001:db8:ebbd:9900::/56 metric 1073741824
route 2001:db8:beef::/56 via fe80::2 dev oasis0 metric 128
route 2001:db8:ebbd:990a::/64 via fe80::2 dev oasis0 metric 128
forward ipv6
`
	if got := Make(f).String(); !strings.HasPrefix(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if d := Make(f); d.Hub.SiteToSite || d.Hub.Open || d.Proxy != nil || !slices.Equal(d.Hub.Taken, f.Own) {
		t.Errorf("hub %+v, proxy %+v", d.Hub, d.Proxy)
	}
	f.Config.Hub.OnLink, f.Config.Hub.SiteToSite, f.Config.FirewallOpen = true, true, true
	if d := Make(f); !d.Hub.SiteToSite || !d.Hub.Open || len(d.Proxy) != 1 || !slices.Equal(d.Proxy[0].Prefixes, f.Routed) {
		t.Errorf("hub %+v, proxy %+v", d.Hub, d.Proxy)
	}
	f.Routed = nil
	if d := Make(f); len(d.Proxy) != 1 || len(d.Proxy[0].Prefixes) != 0 {
		t.Errorf("nobody has anything: %+v, want the interface without a prefix", d.Proxy)
	}
	f.LinkLocal, f.Routed = netip.MustParseAddr("fe80::2"), prefixes("2001:db8:beef::/56")
	if text := Make(f).String(); !strings.Contains(text, "via fe80::3") {
		t.Errorf("the hub's own address as next hop:\n%s", text)
	}
}

// Blocks are disjoint and cover all that a site can have: what is not routed there has no way, and no loop.
func TestBlocks(t *testing.T) {
	for _, c := range []struct{ name, pools, retired, routed, want string }{
		{"pool and reservations", "2001:db8:ebbd:9900::/56", "", "", "2001:db8:beef::/56 2001:db8:ebbd:9900::/56"},
		{"pools in each other", "2001:db8:ebbd::/48 2001:db8:ebbd:9900::/56", "", "", "2001:db8:beef::/56 2001:db8:ebbd::/48"},
		{"a former pool", "2001:db8:aa00::/56", "2001:db8:ebbd:9900::/56", "2001:db8:ebbd:9901::/64", "2001:db8:aa00::/56 2001:db8:beef::/56 2001:db8:ebbd:9900::/56"},
		{"a former reservation", "2001:db8:aa00::/56", "", "2001:db8:cafe::/64", "2001:db8:aa00::/56 2001:db8:beef::/56 2001:db8:cafe::/64 2001:db8:ebbd:990a::/64"},
	} {
		f := Facts{Config: planConfig(), Retired: prefixes(strings.Fields(c.retired)...), Routed: prefixes(strings.Fields(c.routed)...)}
		f.Config.Hub.Pools = prefixes(strings.Fields(c.pools)...)
		var got []string
		for _, p := range blocks(f) {
			got = append(got, p.String())
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

func TestPreview(t *testing.T) {
	cfg := planConfig()
	cfg.Hub.OnLink = true
	cfg.Hub.DNS = []netip.Addr{netip.MustParseAddr("2001:db8:1::53")}
	cfg.Hub.Search = []string{"lab.example"}
	text := Preview(cfg, Here{})
	for _, want := range []string{
		"for 1 site\n", "forward through oasis0: from each site what comes from its own prefixes; from outside to sites answers to their own flows alone; from site to site refused\n", "route 2001:db8:ebbd:990a::/64 via fe80::2 dev oasis0", "delegate /64, down to /60 for sites that ask, out of 2001:db8:ebbd:9900::/56",
		"tell sites of dns 2001:db8:1::53", "tell sites of search lab.example", "problem: OnLink",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	cfg.Hub.OnLink, cfg.Hub.Uplink = false, "eth0"
	here := Here{OnLink: []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9900::1/48")}}
	for _, problem := range []string{"problem: uplink eth0 does not exist on this machine", "problem: pool 2001:db8:ebbd:9900::/56 is on a link of this machine"} {
		if text := Preview(cfg, here); !strings.Contains(text, problem) {
			t.Errorf("no %q in\n%s", problem, text)
		}
	}
	here.Links, here.OnLink[0] = []string{"eth0"}, netip.MustParsePrefix("2001:db8:ebbd:9901::1/64")
	if text := Preview(cfg, here); strings.Contains(text, "problem") {
		t.Errorf("a problem without need:\n%s", text)
	}
}

func TestFilled(t *testing.T) {
	for _, tc := range []struct {
		p, others string
		want      bool
	}{
		{"2001:db8::/56", "", false},
		{"2001:db8::/56", "2001:db8::/56", true},
		{"2001:db8::/56", "2001:db8:1::/56 2001:db8::/32", true},
		{"2001:db8::/56", "2001:db8::/57", false},
		{"2001:db8::/56", "2001:db8:0:80::/57 2001:db8::/57", true},
		{"2001:db8::/62", "2001:db8:0:3::/64 2001:db8::/63 2001:db8:0:2::/64", true},
		{"2001:db8::/62", "2001:db8:0:3::/64 2001:db8::/63 2001:db8:0:2::1/128", false},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", false},
	} {
		var others []netip.Prefix
		for _, o := range strings.Fields(tc.others) {
			others = append(others, netip.MustParsePrefix(o))
		}
		if got := filled(netip.MustParsePrefix(tc.p), others); got != tc.want {
			t.Errorf("filled(%s, %s) = %v, want %v", tc.p, tc.others, got, tc.want)
		}
	}
}
