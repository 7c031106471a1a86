// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	lib "github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/config"
	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/lifetime"
	"oasis6/ra"
	"oasis6/status"
)

var assignedAddr = netip.MustParseAddr("2001:db8:0:ff::7")

// onTunnel says whether the kernel has an address on the tunnel.
func (b *boxTest) onTunnel(a netip.Addr) bool {
	applies := b.plane.Applies()
	return strings.Contains(applies[len(applies)-1], "address "+a.String()+"/128 dev oasis0")
}

// "If the [M flag] is set to 1 in an RA [...] the node requests an address by DHCPv6" (RFC 7084 WAA-6); RequestAddress
// settles it otherwise. The box asks for RAs as soon as the tunnel is up.
func TestCE_1_6_04_MFlag(t *testing.T) {
	for _, tc := range []struct {
		request config.RequestAddress
		managed bool
		want    bool
	}{
		{config.AddressAuto, true, true}, {config.AddressAuto, false, false},
		{config.AddressYes, false, true}, {config.AddressNo, true, false},
	} {
		run(t, delegated, func(b *boxTest) {
			b.opt.Config.Prefix.RequestAddress = tc.request
			b.hub.address = assignedAddr
			b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, Managed: tc.managed}
		}, func(b *boxTest) {
			b.after(time.Second)
			if b.hub.rs != 1 || b.hub.badRS != 0 {
				t.Errorf("%d Router Solicitations, %d that were none", b.hub.rs, b.hub.badRS)
			}
			b.wantSummary("up: ")
			if got := b.onTunnel(assignedAddr); got != tc.want {
				t.Errorf("RequestAddress %s, M %v: address on the tunnel %v, want %v", tc.request, tc.managed, got, tc.want)
			}
			ias := b.status().DHCPv6.IAs
			if got := slices.ContainsFunc(ias, func(a status.IA) bool { return a.Type == "IA_NA" && len(a.Prefixes) == 1 }); got != tc.want {
				t.Errorf("RequestAddress %s, M %v: IAs %+v", tc.request, tc.managed, ias)
			}
		})
	}
}

// The hub stops to say M: the address is used no longer, the prefix stays, and nothing is released.
func TestMFlagGoesAway(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.hub.address = assignedAddr
		b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, Managed: true}
	}, func(b *boxTest) {
		b.after(time.Second)
		if !b.onTunnel(assignedAddr) {
			t.Fatal("no address on the tunnel")
		}
		b.hub.mu.Lock()
		b.hub.ra.Managed = false
		b.hub.advertise()
		b.hub.mu.Unlock()
		b.after(time.Second)
		if b.onTunnel(assignedAddr) || b.hub.count(lib.MessageTypeRelease) != 0 {
			t.Errorf("address on the tunnel %v, sent %v", b.onTunnel(assignedAddr), b.hub.sent)
		}
		b.wantSummary("up: ")
	})
}

// RFC 7084 WPD-4: prefix delegation is started with M, with O, and without any RA at all.
func TestCE_1_6_06_MAndOForPrefixDelegation(t *testing.T) {
	for _, m := range []*ra.RouterAdvertisement{nil, {}, {Managed: true}, {OtherConfig: true}, {Managed: true, OtherConfig: true, RouterLifetime: 1800}} {
		run(t, delegated, func(b *boxTest) { b.hub.ra = m }, func(b *boxTest) {
			b.after(time.Second)
			b.wantSummary("up: " + delegated)
			if first := b.hub.got()[0]; first.Options.OneIAPD() == nil {
				t.Errorf("RA %+v: the first message is %s", m, first.Summary())
			}
		})
	}
}

// A delegation of another size than the hint is taken: a longer one as far as it goes, a shorter one with the subnets
// that the LANs have.
func TestCE_1_6_05_PrefixSize(t *testing.T) {
	for _, tc := range []struct{ hint, given, a, b string }{
		{"::/60", "2001:db8:ebbd:9900::/56", "2001:db8:ebbd:9900::/64", "2001:db8:ebbd:9901::/64"},
		{"::/60", "2001:db8:ebbd:9900::/63", "2001:db8:ebbd:9900::/64", "2001:db8:ebbd:9901::/64"},
		{"::/60", "2001:db8:ebbd:9900::/64", "2001:db8:ebbd:9900::/64", ""},
		{"::/60", "2001:db8::/32", "2001:db8::/64", "2001:db8:0:1::/64"},
	} {
		run(t, tc.given, func(b *boxTest) {
			b.opt.Config.Prefix.Hints = []netip.Prefix{prefix(tc.hint)}
			b.opt.Config.LANs = []config.LAN{config.NewLAN("br-lan", 0), config.NewLAN("br-guest", 1)}
			b.plane.SetLink(lanLink("br-guest"))
		}, func(b *boxTest) {
			for lan, want := range map[string]string{"br-lan": tc.a, "br-guest": tc.b} {
				var got string
				for _, m := range b.newRAs(lan) {
					for _, p := range raPrefixes(m) {
						got = p.Prefix.String()
					}
				}
				if got != want {
					t.Errorf("%s for %s: %s has %q, want %q", tc.given, tc.hint, lan, got, want)
				}
			}
			if s := b.status(); (tc.b == "") != strings.Contains(strings.Join(s.Problems, " "), "no /64 is left for LAN br-guest") {
				t.Errorf("%s: problems %q", tc.given, s.Problems)
			}
		})
	}
}

// A static prefix needs no DHCPv6. Where the hub's RA says that there is configuration, it is asked for, and hosts get
// its DNS; when the RA no longer says so, it is used no longer.
func TestStaticPrefixWithOtherConfiguration(t *testing.T) {
	dns := netip.MustParseAddr("2001:db8:0:6::53")
	run(t, "", func(b *boxTest) {
		b.opt.Config.Prefix = config.Prefix{Source: config.Static, Static: prefix("2001:db8:ebbd:9900::/56")}
		b.hub.prefix = prefix(delegated) // it answers
		b.hub.dns = []netip.Addr{dns}
	}, func(b *boxTest) {
		if n := len(b.hub.got()); n != 0 || b.status().DHCPv6 != nil {
			t.Fatalf("%d DHCPv6 messages without a reason", n)
		}
		b.hub.mu.Lock()
		b.hub.ra = &ra.RouterAdvertisement{RouterLifetime: 1800, OtherConfig: true}
		b.hub.advertise()
		b.hub.mu.Unlock()
		b.after(5 * time.Second)
		if got := b.hub.got(); len(got) != 1 || got[0].MessageType != lib.MessageTypeInformationRequest {
			t.Fatalf("sent %v", b.hub.sent)
		}
		if s := b.status(); !slices.Contains(s.LANs[0].RDNSS, dns.String()) || s.DHCPv6.State != "informed" {
			t.Errorf("RDNSS %v, client %+v", s.LANs[0].RDNSS, s.DHCPv6)
		}
		b.wantSummary("up: ")
		b.hub.mu.Lock()
		b.hub.ra.OtherConfig = false
		b.hub.advertise()
		b.hub.mu.Unlock()
		b.after(5 * time.Second)
		if s := b.status(); len(s.LANs[0].RDNSS) != 0 || s.DHCPv6 != nil {
			t.Errorf("RDNSS %v, client %+v", s.LANs[0].RDNSS, s.DHCPv6)
		}
	})
}

// Two delegations, one for each of two LANs; IAIDs follow from the order in the file.
func TestSeveralDelegationsAreAskedFor(t *testing.T) {
	run(t, delegated, func(b *boxTest) {
		b.opt.Config.Prefix.Hints = []netip.Prefix{prefix("::/64"), prefix("::/60")}
	}, func(b *boxTest) {
		ias := b.hub.got()[0].Options.IAPD()
		if len(ias) != 2 || ias[0].IaId != [4]byte{0, 0, 0, 1} || ias[1].IaId != [4]byte{0, 0, 0, 2} ||
			ias[0].Options.Prefixes()[0].Prefix.String() != "::/64" || ias[1].Options.Prefixes()[0].Prefix.String() != "::/60" {
			t.Errorf("IA_PDs: %v", ias)
		}
	})
}

// The server assigns an address that the box has on its LAN: it is declined, and never on the tunnel.
func TestAssignedAddressThatTheBoxHas(t *testing.T) {
	own := netip.MustParseAddr("2001:db8:ebbd:990a::1")
	run(t, delegated, func(b *boxTest) {
		b.opt.Config.Prefix.RequestAddress = config.AddressYes
		b.hub.address = own
	}, func(b *boxTest) {
		b.after(time.Second)
		if n := b.hub.count(lib.MessageTypeDecline); n != 1 || b.onTunnel(own) {
			t.Errorf("%d Declines, on the tunnel %v", n, b.onTunnel(own))
		}
		if !strings.HasPrefix(b.status().Summary, "up: ") {
			t.Errorf("summary %q", b.status().Summary)
		}
	})
}

// A reboot, and the tunnel takes 40 minutes to come up: the LAN keeps its prefix all the time, told for ten minutes at a
// time and with no default router; the first message is a Rebind with the prefix, within a second of the tunnel.
func TestRebootWithALateTunnel(t *testing.T) {
	state := t.TempDir()
	var file []byte
	run(t, delegated, func(b *boxTest) { b.opt.State = state }, func(b *boxTest) {
		b.after(5 * time.Minute)
		var err error
		if file, err = os.ReadFile(state + "/lease.json"); err != nil {
			t.Fatal(err)
		}
	})
	run(t, delegated, func(b *boxTest) {
		b.opt.State, b.opt.BootID = state, "another boot"
		b.hub.answering = false
		if err := os.WriteFile(state+"/lease.json", file, 0o600); err != nil { // the power went away: no last save
			t.Fatal(err)
		}
	}, func(b *boxTest) {
		told, held := false, time.Time{}
		for range 40 * 60 {
			b.after(time.Second)
			for _, m := range b.newRAs("br-lan") {
				ps := raPrefixes(m)
				if len(ps) != 1 || ps[0].Valid == 0 || ps[0].Valid > 600 || ps[0].Preferred == 0 || m.RouterLifetime != 0 {
					t.Fatalf("RA: router lifetime %d, prefixes %+v", m.RouterLifetime, ps)
				}
				told, held = true, time.Now().Add(time.Duration(ps[0].Preferred)*time.Second)
			}
			if told && !time.Now().Before(held) {
				t.Fatal("hosts have lost their prefix")
			}
		}
		if s := b.status(); !told || s.DHCPv6.Confirmed {
			t.Errorf("told %v, client %+v", told, s.DHCPv6)
		}
		b.hub.answer(true)
		for range 100 {
			if b.after(100 * time.Millisecond); b.status().Tunnel.State == "up" {
				break
			}
		}
		b.after(900 * time.Millisecond)
		if len(b.hub.got()) == 0 {
			t.Fatal("nothing was sent within a second of the tunnel")
		}
		first := b.hub.got()[0]
		if first.MessageType != lib.MessageTypeRebind || first.Options.OneIAPD().Options.Prefixes()[0].Prefix.String() != delegated {
			t.Errorf("the first message is %s", first.Summary())
		}
		b.after(4 * time.Second)
		b.wantSummary("up: ")
		if m := b.lastRA("br-lan"); m.RouterLifetime == 0 || raPrefixes(m)[0].Valid < 5390 || !b.status().DHCPv6.Confirmed {
			t.Errorf("after the confirmation: router lifetime %d, prefixes %+v", m.RouterLifetime, raPrefixes(m))
		}
	})
}

// Encrypted resolvers of the lease reach the LAN where its plain ones do.
func TestRFC9463_EncryptedDNSReachesTheLAN(t *testing.T) {
	f := boxFacts(delegated)
	f.Info = client.Info{EncryptedDNS: []dhcpv6.EncryptedDNS{{Priority: 1, Name: "dot.example", Addrs: []netip.Addr{addr("2001:db8::53")}, Params: "x"}}}
	want := ra.EncryptedDNS{Priority: 1, Name: "dot.example", Addrs: []netip.Addr{addr("2001:db8::53")}, Params: "x"}
	got := Make(f, t0).LANs[0].Content.EncryptedDNS
	if len(got) != 1 || got[0].Name != want.Name || got[0].Priority != 1 || got[0].Params != "x" || !slices.Equal(got[0].Addrs, want.Addrs) {
		t.Errorf("content %+v, want %+v", got, want)
	}
	f.Config.LANs[0].RDNSSMode = config.RDNSSOff
	if got := Make(f, t0).LANs[0].Content.EncryptedDNS; len(got) != 0 {
		t.Errorf("RDNSS = off: %+v", got)
	}
	f.Config.LANs[0].RDNSSMode = config.RDNSSAuto
	f.Config.Interface.DNS = []netip.Addr{addr("2001:db8::1")}
	if got := Make(f, t0).LANs[0].Content.EncryptedDNS; len(got) != 0 {
		t.Errorf("configured DNS: %+v", got)
	}
}

// A lease of unknown age is advertised for UnconfirmedLifetime at a time.
func TestMakeUnconfirmed(t *testing.T) {
	f := boxFacts(delegated)
	f.Delegations[0].Unconfirmed = true
	p := Make(f, t0).LANs[0].Content.Prefixes[0]
	if p.Limit != client.UnconfirmedLifetime || p.Valid != lifetime.At(t0.Add(90*time.Minute)) {
		t.Errorf("prefix %+v", p)
	}
}
