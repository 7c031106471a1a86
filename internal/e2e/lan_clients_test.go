// SPDX-License-Identifier: MIT

package e2e

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// ofPool says whether an address is one that the usual hub delegates.
func ofPool(addr string) bool {
	a, err := netip.ParseAddr(addr)
	return err == nil && delegated.Contains(a)
}

// Hosts that take no RDNSS option get DNS, search list and NTP server by Information-request: the RA has the O flag.
func TestStatelessDHCPv6(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	ras := b.H1.WatchRA("eth0")
	cpcd := b.H1.StartDHCPcd("", "eth0") // asks because of the O flag
	b.StartR2()
	b.start()
	b.waitOnline(b.H2)
	e, err := cpcd.First(enough, netlab.Has("INFORM6", "new_dhcp6_name_servers", netlab.DNSv6))
	if err != nil {
		t.Fatalf("dhcpcd: %v\n%s", err, b.text())
	}
	if e["new_dhcp6_domain_search"] != netlab.SearchList || e["new_dhcp6_ntp_server_addr"] != netlab.NTPv6 {
		t.Errorf("dhcpcd: search list %q, NTP %q", e["new_dhcp6_domain_search"], e["new_dhcp6_ntp_server_addr"])
	}
	client := b.H2.StartDHClient("eth0", "-S")
	e, err = client.First(enough, netlab.Has("RENEW6", "new_dhcp6_name_servers", netlab.DNSv6))
	if err != nil {
		t.Fatalf("dhclient: %v\n%s", err, b.text())
	}
	if strings.TrimSuffix(e["new_dhcp6_domain_search"], ".") != netlab.SearchList {
		t.Errorf("dhclient: search list %q", e["new_dhcp6_domain_search"])
	}
	for _, r := range ras.All() {
		if r.Msg.ManagedConfiguration || !r.Msg.OtherConfiguration {
			t.Errorf("RA with M %v, O %v, want O alone", r.Msg.ManagedConfiguration, r.Msg.OtherConfiguration)
		}
	}
	s := b.status().LANs[0]
	if s.DHCPv6 == nil || s.DHCPv6.Mode != "stateless" || s.DHCPv6.Received < 2 || s.DHCPv6.Sent < 2 {
		t.Errorf("status of the server: %+v", s.DHCPv6)
	}
}

// IA_NA: hosts use the address that they were given, and a client that returns has the same.
func TestStatefulDHCPv6(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.WriteBoxConfig(b.BoxConfig("DHCPv6 = stateful"))
	b.up()
	given := map[*netlab.Node]string{}
	cpcd := b.H1.StartDHCPcd("", "eth0") // because of the M flag
	e, err := cpcd.First(enough, func(e netlab.DHCPEvent) bool { return ofPool(e["new_dhcp6_ia_na1_ia_addr1"]) })
	if err != nil {
		t.Fatalf("dhcpcd: %v\n%s", err, b.text())
	}
	given[b.H1] = e["new_dhcp6_ia_na1_ia_addr1"]
	client := b.H2.StartDHClient("eth0", "-N")
	e, err = client.First(enough, func(e netlab.DHCPEvent) bool { return e["reason"] == "BOUND6" && ofPool(e["new_ip6_address"]) })
	if err != nil {
		t.Fatalf("dhclient: %v\n%s", err, b.text())
	}
	given[b.H2] = e["new_ip6_address"]
	if given[b.H1] == given[b.H2] {
		t.Fatalf("both hosts got %s", given[b.H1])
	}
	for h, addr := range given {
		var out string
		if !netlab.Poll(soon, func() (ok bool) { // after DAD
			out, err = h.Try("ping", "-n", "-c1", "-W1", "-I", addr, netlab.WWWv6)
			return err == nil
		}) {
			t.Errorf("%s: no echo reply from www to %s: %v\n%s", h.Name, addr, err, out)
		}
		if !b.bound("IA_NA", netip.MustParseAddr(addr)) {
			t.Errorf("status has no binding of %s: %+v", addr, b.status().LANs[0].DHCPv6)
		}
	}
	b.proc.Kill()
	b.start()
	b.waitSummary("up: ", "")
	client.Kill()
	client = b.H2.StartDHClient("eth0", "-N") // it has lost its lease file, but not its MAC address
	e, err = client.First(enough, func(e netlab.DHCPEvent) bool { return e["reason"] == "BOUND6" && ofPool(e["new_ip6_address"]) })
	if err != nil {
		t.Fatalf("dhclient after the box's restart: %v\n%s", err, b.text())
	}
	if e["new_ip6_address"] == given[b.H1] {
		t.Errorf("h2 got the address %s that h1 has: bindings were forgotten", given[b.H1])
	}
	if !b.bound("IA_NA", netip.MustParseAddr(given[b.H1])) {
		t.Errorf("the binding of h1 did not survive kill -9: %+v", b.status().LANs[0].DHCPv6)
	}
}

// bound says whether the status has a binding of that type with an address or prefix that contains it.
func (b *box) bound(typ string, a netip.Addr) bool {
	b.Helper()
	s, err := b.statusErr()
	if err != nil || len(s.LANs) == 0 || s.LANs[0].DHCPv6 == nil {
		return false
	}
	for _, x := range s.LANs[0].DHCPv6.Bindings {
		for _, l := range x.Prefixes {
			p, err := netip.ParsePrefix(l.Prefix)
			if single, e := netip.ParseAddr(l.Prefix); e == nil {
				p, err = netip.PrefixFrom(single, single.BitLen()), nil
			}
			if x.Type == typ && err == nil && p.Contains(a) && !l.Stale {
				return true
			}
		}
	}
	return false
}

// What a host's kernel accepts of the options, octet by octet, and what it hears when they change by SIGHUP.
func TestOptionsAtTheHost(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	file := b.H1.StartRDNSSd()
	seen := b.H1.WatchUserOptions()
	const portal = "https://portal.example/api"
	b.WriteBoxConfig(b.BoxConfig("PREF64 = 64:ff9b::/96", "CaptivePortal = "+portal))
	b.up()
	first := func(what string, typ byte, ok func(netlab.UserOption) bool) netlab.UserOption {
		t.Helper()
		o, err := seen.First(enough, func(o netlab.UserOption) bool { return o.Type == typ && ok(o) })
		if err != nil {
			t.Errorf("%s: %v, seen: %v", what, err, seen.All())
		}
		return o
	}
	lifetime := func(o netlab.UserOption) uint32 { return binary.BigEndian.Uint32(o.Value[2:]) }
	alive := func(o netlab.UserOption) bool { return lifetime(o) > 0 }
	over := func(o netlab.UserOption) bool { return lifetime(o) == 0 }
	if o := first("RDNSS", netlab.OptRDNSS, alive); len(o.Value) != 22 || netip.AddrFrom16([16]byte(o.Value[6:])).String() != netlab.DNSv6 {
		t.Errorf("RDNSS option % x", o.Value)
	}
	if o := first("DNSSL", netlab.OptDNSSL, alive); len(o.Value) != 22 || string(o.Value[6:19]) != "\x03lan\x07example\x00" {
		t.Errorf("DNSSL option % x", o.Value)
	}
	nat64 := netip.MustParsePrefix("64:ff9b::/96")
	first("PREF64", netlab.OptPREF64, func(o netlab.UserOption) bool { p, d := o.PREF64(); return p == nat64 && d > 0 })
	if o := first("captive portal", netlab.OptCaptivePortal, func(netlab.UserOption) bool { return true }); o.Text() != portal || (len(o.Value)+2)%8 != 0 {
		t.Errorf("captive portal option %q", o.Value)
	}
	b.wantResolver(file, netlab.DNSv6)

	b.WriteBoxConfig(b.BoxConfig("RDNSS = 2001:db8:0:6::54", "DNSSL = other.example"))
	b.proc.Signal(syscall.SIGHUP)
	old := netip.MustParseAddr(netlab.DNSv6).As16()
	first("RDNSS with lifetime 0", netlab.OptRDNSS, func(o netlab.UserOption) bool { return over(o) && strings.Contains(string(o.Value), string(old[:])) })
	first("DNSSL with lifetime 0", netlab.OptDNSSL, func(o netlab.UserOption) bool {
		return over(o) && strings.Contains(string(o.Value), "\x03lan\x07example\x00")
	})
	first("the new DNSSL", netlab.OptDNSSL, func(o netlab.UserOption) bool {
		return alive(o) && strings.Contains(string(o.Value), "\x05other\x07example\x00")
	})
	first("PREF64 with lifetime 0", netlab.OptPREF64, func(o netlab.UserOption) bool { p, d := o.PREF64(); return p == nat64 && d == 0 })
	b.wantResolver(file, "2001:db8:0:6::54")
}

// wantResolver waits until rdnssd has that server and no other.
func (b *box) wantResolver(file, addr string) {
	b.Helper()
	var text string
	if !netlab.Poll(enough, func() bool {
		data, err := os.ReadFile(file)
		text = string(data)
		return err == nil && strings.Contains(text, "nameserver "+addr+"\n") && strings.Count(text, "nameserver") == 1
	}) {
		b.Errorf("rdnssd has %q, want %s alone", text, addr)
	}
}

// A DHCPv6 client hears of a changed DNS server, too, when it asks again.
func TestDHCPv6FollowsTheConfig(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	b.WriteBoxConfig(b.BoxConfig("RDNSS = 2001:db8:0:6::54"))
	b.proc.Signal(syscall.SIGHUP)
	if !netlab.Poll(soon, func() bool {
		return len(b.status().LANs[0].RDNSS) == 1 && b.status().LANs[0].RDNSS[0] == "2001:db8:0:6::54"
	}) {
		t.Fatalf("RDNSS in status: %v", b.status().LANs[0].RDNSS)
	}
	begin := time.Now()
	c := b.H1.StartDHClient("eth0", "-S")
	if _, err := c.First(enough, netlab.Has("RENEW6", "new_dhcp6_name_servers", "2001:db8:0:6::54")); err != nil {
		t.Errorf("dhclient: %v\n%s", err, b.text())
	}
	t.Logf("dhclient -S was served after %v", time.Since(begin).Round(10*time.Millisecond))
}
