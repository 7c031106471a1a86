// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// lanPool is what the tests' LAN has, and delegates from.
const (
	lanRouter = "2001:db8:ebbd:9900::1"
	lanSubnet = "2001:db8:ebbd:9900::/64"
	lanPDs    = "2001:db8:ebbd:9910::"
)

// startLANServer makes a node the router of a LAN out of radvd and Kea: the judges of the clients that judge the box.
func startLANServer(t *testing.T, n *Node, iface string, radvd ...string) *Proc {
	t.Helper()
	Need(t, "kea-dhcp6")
	n.Sysctl("net.ipv6.conf.all.forwarding", "1")
	n.Addr(iface, lanRouter+"/64")
	n.Tmpfs("/var/lib")
	n.Tmpfs("/etc/kea")
	n.Run("mkdir", "-p", "/var/lib/kea", "/run/kea", "/run/lock/kea")
	text, err := json.Marshal(obj{"Dhcp6": obj{
		"interfaces-config": obj{"interfaces": []string{iface}},
		"lease-database":    obj{"type": "memfile", "persist": true, "name": keaLeases, "lfc-interval": 0},
		"server-id":         obj{"type": "EN", "enterprise-id": 32473, "identifier": "0A515606", "persist": false},
		"option-def": []obj{
			{"name": "ntp-server", "code": 56, "space": "dhcp6", "type": "empty", "encapsulate": "ntp"},
			{"name": "address", "code": 1, "space": "ntp", "type": "ipv6-address"},
		},
		"option-data": []obj{{"name": "dns-servers", "data": DNSv6}, {"name": "domain-search", "data": SearchList},
			{"name": "ntp-server"}, {"name": "address", "space": "ntp", "data": NTPv6}},
		"subnet6": []obj{{"id": 1, "subnet": lanSubnet, "interface": iface, "pools": []obj{{"pool": "2001:db8:ebbd:9900::d000/116"}},
			"pd-pools": []obj{{"prefix": lanPDs, "prefix-len": 60, "delegated-len": 64}}}},
		"loggers": []obj{{"name": "kea-dhcp6", "severity": "INFO", "output_options": []obj{{"output": "stdout", "flush": true}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	n.WriteFile(keaConf, string(text), 0o644)
	n.WaitFor(10*time.Second, "no link-local address past DAD on "+iface, func() bool {
		return len(n.addresses(iface, netip.Addr.IsLinkLocalUnicast)) > 0
	})
	kea := n.Start("kea-dhcp6", "-c", keaConf)
	if !kea.WaitOutput(startTimeout, "DHCP6_STARTED") {
		t.Fatalf("kea-dhcp6 does not serve:\n%s", kea.Output())
	}
	return n.StartRadvd(iface, append(radvd, "\tMinRtrAdvInterval 3;", "\tMaxRtrAdvInterval 4;")...)
}

// lan is a router and a host on a wire.
func lan(t *testing.T) (r, h *Node) {
	t.Helper()
	l := New(t)
	r, h = l.Node("r"), l.Node("h")
	l.Wire(r, "eth0", h, "eth0")
	return r, h
}

const plainPrefix = "\tprefix " + lanSubnet + " { };\n"

func TestDHCPcdStateless(t *testing.T) {
	t.Parallel()
	r, h := lan(t)
	startLANServer(t, r, "eth0", plainPrefix, "\tAdvOtherConfigFlag on;")
	c := h.StartDHCPcd("", "eth0")
	e, err := c.First(20*time.Second, Has("INFORM6", "new_dhcp6_name_servers", DNSv6))
	if err != nil {
		t.Fatal(err)
	}
	if e["new_dhcp6_domain_search"] != SearchList || e["new_dhcp6_ntp_server_addr"] != NTPv6 {
		t.Errorf("search list %q, NTP %q in\n%v", e["new_dhcp6_domain_search"], e["new_dhcp6_ntp_server_addr"], e)
	}
	if text, err := os.ReadFile("/etc/resolv.conf"); err == nil && strings.Contains(string(text), DNSv6) {
		t.Error("dhcpcd changed the machine's /etc/resolv.conf")
	}
}

func TestDHCPcdStateful(t *testing.T) {
	t.Parallel()
	r, h := lan(t)
	startLANServer(t, r, "eth0", "\tprefix "+lanSubnet+" { AdvAutonomous off; };\n", "\tAdvManagedFlag on;")
	c := h.StartDHCPcd("", "eth0")
	e, err := c.First(20*time.Second, func(e DHCPEvent) bool { return e["reason"] == "BOUND6" })
	if err != nil {
		t.Fatal(err)
	}
	addr := e["new_dhcp6_ia_na1_ia_addr1"]
	if !strings.HasPrefix(addr, "2001:db8:ebbd:9900::d") {
		t.Errorf("address %q in\n%v", addr, e)
	}
	h.WaitFor(5*time.Second, "no address "+addr, func() bool {
		g := h.GUAs("eth0")
		return len(g) == 1 && g[0].String() == addr
	})
	if err := h.Ping(lanRouter); err != nil {
		t.Errorf("the address does not work: %v", err)
	}
}

func TestDHClient(t *testing.T) {
	t.Parallel()
	r, h := lan(t)
	startLANServer(t, r, "eth0", plainPrefix)
	h.WaitFor(10*time.Second, "no address by SLAAC", func() bool { return len(h.GUAs("eth0")) > 0 })
	c := h.StartDHClient("eth0", "-S")
	e, err := c.First(20*time.Second, Has("RENEW6", "new_dhcp6_name_servers", DNSv6))
	if err != nil {
		t.Fatal(err)
	}
	if e["new_dhcp6_domain_search"] != SearchList+"." || !NTPServerIs(e, NTPv6) {
		t.Errorf("search list %q, NTP %q", e["new_dhcp6_domain_search"], e["new_dhcp6_ntp_server"])
	}
	c.Kill()
	c = h.StartDHClient("eth0", "-N")
	e, err = c.First(20*time.Second, func(e DHCPEvent) bool { return e["reason"] == "BOUND6" })
	if err != nil {
		t.Fatal(err)
	}
	addr := e["new_ip6_address"]
	set := func() bool { return strings.Contains(h.Run("ip", "-6", "addr", "show", "eth0"), addr) }
	if !strings.HasPrefix(addr, "2001:db8:ebbd:9900::d") || !Poll(5*time.Second, set) { // the script tells before it does
		t.Errorf("address %q, of the kernel:\n%s", addr, h.Run("ip", "-6", "addr", "show", "eth0"))
	}
	if text, err := os.ReadFile("/etc/resolv.conf"); err == nil && strings.Contains(string(text), DNSv6) {
		t.Error("dhclient changed the machine's /etc/resolv.conf")
	}
}

func TestRDNSSd(t *testing.T) {
	t.Parallel()
	r, h := lan(t)
	file := h.StartRDNSSd()
	time.Sleep(300 * time.Millisecond) // it listens without saying so
	r.StartRadvd("eth0", plainPrefix, "\tRDNSS "+DNSv6+" { };", "\tDNSSL "+SearchList+" { };", "\tMinRtrAdvInterval 3;", "\tMaxRtrAdvInterval 4;")
	var text []byte
	if !Poll(20*time.Second, func() bool {
		text, _ = os.ReadFile(file) // until it is there
		return strings.Contains(string(text), "nameserver "+DNSv6)
	}) {
		t.Errorf("rdnssd wrote %q", text)
	}
}

// R3 of other people's programs in a LAN of other people's programs, and a host behind it.
func TestDownstreamRouter(t *testing.T) {
	t.Parallel()
	w := NewWorld(t, WorldConfig{NoDHCPv6: true, Downstream: true, Guest: true})
	w.Settle()
	startLANServer(t, w.R1, "br-lan", plainPrefix)
	d := w.StartDownstream(64)
	w.H3.WaitFor(20*time.Second, "no GUA behind R3", func() bool { return len(w.H3.GUAs("eth0")) > 0 })
	p := d.Prefix()
	if !netip.MustParsePrefix(lanPDs+"/60").Contains(p.Addr()) || !p.Contains(w.H3.GUAs("eth0")[0]) {
		t.Fatalf("R3 has %s, h3 %v", p, w.H3.GUAs("eth0"))
	}
	lls := w.R3.addresses("eth0", netip.Addr.IsLinkLocalUnicast)
	w.R1.Run("ip", "-6", "route", "add", p.String(), "via", lls[0].String(), "dev", "br-lan") // Kea routes nothing
	w.H3.WaitFor(10*time.Second, "no echo reply from R1", func() bool { return w.H3.Ping(lanRouter) == nil })
	if _, err := d.DHCPcd.First(5*time.Second, func(e DHCPEvent) bool { return strings.HasPrefix(e["new_dhcp6_ia_pd1_prefix1"], "2001:db8:ebbd:991") }); err != nil {
		t.Errorf("dhcpcd's event: %v", err)
	}
	for _, h := range []*Node{w.G1, w.H1} {
		if err := w.CheckIPv4(h); err != nil {
			t.Error(err)
		}
	}
	if err := w.G1.Ping("192.0.2.10"); err != nil {
		t.Errorf("the bare R1 routes IPv4 between its LANs: %v", err)
	}
}
