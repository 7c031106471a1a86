// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
	"oasis6/ra"
)

// "The L flag": a prefix in an RA on the tunnel makes nothing on-link that does not say so, and as the tunnel has one other end,
// what says so is reached by it all the same.
func TestCE_1_6_02_LFlag(t *testing.T) {
	for _, onLink := range []bool{false, true} {
		run(t, delegated, func(b *boxTest) {
			b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, Options: []ra.Option{
				ra.PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:77::/64"), OnLink: onLink, Valid: 5400, Preferred: 2700},
			}}
		}, func(b *boxTest) {
			b.after(time.Minute)
			for _, k := range b.plane.Applies() {
				if strings.Contains(k, "2001:db8:77::") {
					t.Fatalf("L %v: the RA changed the kernel state:\n%s", onLink, k)
				}
			}
		})
	}
}

// "WPD-7: MUST NOT by default initiate any dynamic routing protocol on its WAN interface": nothing but solicitations and DHCPv6.
func TestCE_1_6_07_NoRoutingProtocol(t *testing.T) {
	run(t, delegated, func(b *boxTest) { b.hub.strict = true }, func(b *boxTest) {
		b.days(1)
		if b.hub.badRS != 0 || len(b.hub.strange) > 0 {
			t.Errorf("sent into the tunnel: %d odd ICMPv6, %q", b.hub.badRS, b.hub.strange)
		}
	})
}

// CE 2.7.1: prefixes to the LANs: a /64 and a /60 are delegated, and one whose preferred lifetime is above its valid one is none.
func TestCE_2_7_01_PrefixesToLANs(t *testing.T) {
	for delegation, want := range map[string]string{"2001:db8:ebbd:990a::/64": "2001:db8:ebbd:990a::/64", "2001:db8:ebbd:9900::/60": "2001:db8:ebbd:9900::/64"} {
		run(t, delegation, nil, func(b *boxTest) {
			if m := b.lastRA("br-lan"); findPIO(m, want) == nil || len(raPrefixes(m)) != 1 {
				t.Errorf("%s: hosts are told %v, want %s", delegation, raPrefixes(m), want)
			}
		})
	}
	run(t, delegated, func(b *boxTest) { b.hub.preferred, b.hub.valid = 2*time.Hour, time.Hour }, func(b *boxTest) {
		b.after(time.Minute)
		if all := b.newRAs("br-lan"); len(all) > 0 && (all[0].RouterLifetime != 0 || len(raPrefixes(all[0])) != 0) {
			t.Errorf("hosts are told of a prefix that is preferred for longer than it is valid: %+v", all[0])
		}
	})
}

// CE 2.7.3: none delegated: no default router.
func TestCE_2_7_03_NoneDelegated(t *testing.T) {
	run(t, "", nil, func(b *boxTest) {
		b.after(time.Hour)
		for _, m := range b.newRAs("br-lan") {
			if m.RouterLifetime != 0 || len(raPrefixes(m)) != 0 {
				t.Errorf("hosts are told %+v", m)
			}
		}
	})
}

// CE 2.7.5: the prefix changes: the old one is told with lifetimes of 0; one that the hub just leaves out is deprecated and times out.
func TestCE_2_7_05_PrefixChange(t *testing.T) {
	for _, named := range []bool{true, false} {
		run(t, delegated, func(b *boxTest) { b.hub.preferred, b.hub.valid = 10*time.Minute, 20*time.Minute }, func(b *boxTest) {
			b.after(time.Minute)
			if named {
				b.hub.old = b.hub.prefix
			}
			b.hub.prefix = netip.MustParsePrefix(renumbered)
			b.after(15 * time.Minute) // T1 is past, and a host may hold the old one
			m := b.lastRA("br-lan")
			old := findPIO(m, delegated)
			if old == nil || (old.Valid == 0) != named || old.Preferred != 0 || findPIO(m, renumbered).Preferred == 0 {
				t.Errorf("named %v: hosts are told %+v", named, raPrefixes(m))
			}
		})
	}
}

// CE 3.2.1: nothing is forwarded, either way, before there is a prefix.
func TestCE_3_2_01_NothingBeforeThePrefix(t *testing.T) {
	f := boxFacts()
	p := Make(f, t0)
	for _, r := range p.Desired.Routes {
		if r.From.IsValid() || r.Iface == "br-lan" {
			t.Errorf("route without a prefix: %s", r)
		}
	}
	if fw := p.Desired.Firewall; len(fw.Delegations) != 0 || fw.Tunnel == "" {
		t.Errorf("firewall without a prefix: %s", fw)
	}
}

// CE 3.2.2: without a default route, never there or lost, packets are refused (ICMPv6 Destination Unreachable, code 0).
func TestCE_3_2_02_NoDefaultRoute(t *testing.T) {
	f := boxFacts(wide)
	refusal := dataplane.Route{Kind: dataplane.Unreachable, Dst: everywhere, From: prefix(wide), Metric: metricUnreachable}
	if p := Make(f, t0); p.Desired.Firewall.Dead || !hasRoute(p, refusal) {
		t.Errorf("with a tunnel:\n%s", p.Desired)
	}
	f.TunnelAlive = false
	if p := Make(f, t0); !p.Desired.Firewall.Dead || !hasRoute(p, refusal) {
		t.Errorf("with a dead tunnel:\n%s", p.Desired)
	}
}

// CE 3.2.3: no forwarding loop for what no LAN has.
func TestCE_3_2_03_NoLoop(t *testing.T) {
	p := Make(boxFacts(wide), t0)
	if !hasRoute(p, dataplane.Route{Kind: dataplane.Unreachable, Dst: prefix(wide), Metric: metricUnreachable}) {
		t.Errorf("plan:\n%s", p.Desired)
	}
}

// CE 3.2.4: no ULA leaves: it is local, and no route leads it out.
func TestCE_3_2_04_NoULA(t *testing.T) {
	f := boxFacts(wide)
	f.Config.Prefix.ULA, f.ULA = config.ULAAuto, prefix("fd00:db8::/48")
	p := Make(f, t0)
	if fw := p.Desired.Firewall; len(fw.Local) != 1 || fw.Local[0] != f.ULA || !fw.NoULA {
		t.Errorf("firewall %s", fw)
	}
	f.Config.Peers[0].AllowedIPs = append(f.Config.Peers[0].AllowedIPs, prefix("fd00:db8:9::/48")) // the hub has some
	if fw := Make(f, t0).Desired.Firewall; fw.NoULA {
		t.Errorf("firewall %s", fw)
	}
	for _, r := range p.Desired.Routes {
		if r.Iface == "oasis0" && (r.From.Overlaps(f.ULA) || r.Dst.Bits() > 0 && r.Dst.Overlaps(f.ULA)) {
			t.Errorf("route %s", r)
		}
	}
}

// L-4: "MUST NOT advertise itself as a default router" when all prefixes are deprecated.
func TestRFC7084_L4_DeprecatedIsNoDefaultRouter(t *testing.T) {
	f := boxFacts(wide)
	f.Delegations[0].Preferred = lifetime.Until{}
	if Make(f, t0).LANs[0].Content.DefaultRouter {
		t.Error("default router with a deprecated prefix alone")
	}
}

// L-12: what the hub's DHCPv6 server said reaches the clients of the LAN's.
func TestRFC7084_L12_OptionsOfTheWAN(t *testing.T) {
	f := boxFacts(wide)
	f.Info.DNS = []netip.Addr{addr("2001:db8::53")}
	f.Info.Search = []string{"lan.example"}
	f.Info.NTP = append(f.Info.NTP, struct {
		Addr netip.Addr
		Name string
	}{Name: "ntp.example"})
	i := Make(f, t0).LANs[0].Server.Info
	if len(i.DNS) != 1 || len(i.Search) != 1 || len(i.NTP) != 1 {
		t.Errorf("the LAN's server tells %+v", i)
	}
}

// L-6: "A and L flags MUST be set to 1 by default".
func TestRFC7084_L6_FlagsByDefault(t *testing.T) {
	if p := Make(boxFacts(wide), t0).LANs[0].Content.Prefixes[0]; !p.OnLink || !p.Autonomous {
		t.Errorf("by default %+v", p)
	}
}

// L-7: "SHOULD be user configurable".
func TestRFC7084_L7_FlagsOfTheFile(t *testing.T) {
	f := boxFacts(wide)
	f.Config.LANs[0].OnLink, f.Config.LANs[0].Autonomous = false, false
	if p := Make(f, t0).LANs[0].Content.Prefixes[0]; p.OnLink || p.Autonomous {
		t.Errorf("switched off: %+v", p)
	}
}

// L-5: every LAN interface is an advertising interface.
func TestRFC7084_L5_EveryLANAdvertises(t *testing.T) {
	run(t, wide, func(b *boxTest) {
		b.opt.Config.LANs = append(b.opt.Config.LANs, config.NewLAN("br-guest", 1))
		b.plane.SetLink(lanLink("br-guest"))
	}, func(b *boxTest) {
		for _, lan := range []string{"br-lan", "br-guest"} {
			if m := b.lastRA(lan); m.RouterLifetime == 0 || len(raPrefixes(m)) != 1 {
				t.Errorf("%s is told %+v", lan, m)
			}
		}
	})
}

// L-8: a DHCPv6 server, by default.
func TestRFC7084_L8_ServerByDefault(t *testing.T) {
	run(t, wide, nil, func(b *boxTest) {
		if got := b.lanClient(1).ask(lib.MessageTypeInformationRequest); len(got) != 1 || got[0].MessageType != lib.MessageTypeReply {
			t.Errorf("an Information-request is answered by %v", got)
		}
	})
}

// ULA-1: a prefix is made when that is asked for, another one for every box.
func TestRFC7084_ULA1_MadeOfTheKey(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for i := range 3 {
		run(t, wide, func(b *boxTest) {
			b.opt.Config.Prefix.ULA, b.opt.Config.Interface.PrivateKey = config.ULAAuto, wgkey.Private{8 * byte(i+1)}
		}, func(b *boxTest) { seen[b.r.ula] = true })
	}
	if len(seen) != 3 {
		t.Errorf("three boxes have %v", seen)
	}
}

// ULA-3: the prefix can be set.
func TestRFC7084_ULA3_OfTheFile(t *testing.T) {
	run(t, wide, func(b *boxTest) {
		b.opt.Config.Prefix.ULA, b.opt.Config.Prefix.ULAPrefix = config.ULAStatic, prefix("fd00:db8:1::/48")
	}, func(b *boxTest) {
		if findPIO(b.lastRA("br-lan"), "fd00:db8:1::/64") == nil {
			t.Error("hosts are not told of it")
		}
	})
}
