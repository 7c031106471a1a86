// SPDX-License-Identifier: MIT

package netlab

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The world must work without our box, or its tests would prove nothing about the box: here R1 is
// made of wireguard-go, wide-dhcpv6-client and radvd.
func TestWorldWithHandMadeR1(t *testing.T) {
	w := NewWorld(t, WorldConfig{})
	before := w.R1.Snapshot4()
	ras, dns := w.H1.WatchRA("eth0"), w.H1.WatchDNS()
	w.StartR2()
	w.StartHandMade()
	ra, err := ras.First(20*time.Second, func(r RA) bool { return r.Prefix(w.Config.Pool) != nil })
	if err != nil {
		t.Fatalf("RA with a prefix of the pool: %v", err)
	}
	if !ra.Src.IsLinkLocalUnicast() || ra.HopLimit != 255 || ra.Msg.RouterLifetime == 0 {
		t.Errorf("RA from %v, hop limit %d, router lifetime %v", ra.Src, ra.HopLimit, ra.Msg.RouterLifetime)
	}
	w.H1.WaitFor(10*time.Second, "no GUA of the pool", func() bool { return w.HostHasGUA(w.H1, w.Config.Pool) })
	if via := w.HostDefaultRoute(w.H1); via != ra.Src {
		t.Errorf("default route of h1 via %v, want %v", via, ra.Src)
	}
	w.H1.WaitFor(5*time.Second, "no echo reply from www", func() bool { return w.H1.Ping(WWWv6) == nil })
	body, err := w.H1.Fetch(WWWv6)
	if gua := w.H1.GUAs("eth0")[0].String(); err != nil || !strings.Contains(body, WWWText) || !strings.Contains(body, gua) {
		t.Errorf("fetch over IPv6 = %q, %v, want the greeting and %s", body, err, gua)
	}
	if _, err := dns.First(time.Second, func(o DNSOption) bool {
		return len(o.Servers) == 1 && o.Servers[0] == netip.MustParseAddr(DNSv6)
	}); err != nil {
		t.Errorf("RDNSS: %v; seen: %+v", err, dns.All())
	}
	if _, err := dns.First(time.Second, func(o DNSOption) bool { return len(o.Search) == 1 && o.Search[0] == SearchList }); err != nil {
		t.Errorf("DNSSL: %v; seen: %+v", err, dns.All())
	}
	if show := w.R2.Run("wg", "show", "wg0"); !strings.Contains(show, "endpoint: "+NAT2v4+":") || !strings.Contains(show, "latest handshake") {
		t.Errorf("R2 sees the box not behind NAT2:\n%s", show)
	}
	if err := w.CheckIPv4(w.H1); err != nil {
		t.Error(err)
	}
	if after := w.R1.Snapshot4(); len(before) < 5000 {
		t.Errorf("snapshot of %d octets is too short to prove anything:\n%s", len(before), before)
	} else if after != before {
		t.Errorf("wireguard-go, dhcp6c and radvd changed IPv4:\n%s", Diff(before, after))
	}

	w.RebindNAT()
	w.H1.WaitFor(35*time.Second, "no echo reply after the NAT forgot its flows", func() bool { return w.H1.Ping(WWWv6) == nil })
	w.CutTunnel()
	if w.H1.Ping(WWWv6) == nil {
		t.Error("echo reply through a cut tunnel")
	}
	if err := w.CheckIPv4(w.H1); err != nil {
		t.Error(err)
	}
	w.HealTunnel()
	w.H1.WaitFor(35*time.Second, "no echo reply after heal", func() bool { return w.H1.Ping(WWWv6) == nil })
}

func TestIPv6InternetIsFarFromNATLand(t *testing.T) {
	w := NewWorld(t, WorldConfig{NoDHCPv6: true})
	w.StartR2()
	if err := w.CheckIPv4(w.H2); err != nil {
		t.Error(err)
	}
	if err := w.R1.Ping(WWWv6); err == nil {
		t.Error("R1 reaches the IPv6 Internet without a tunnel")
	}
	if w.R1.SysctlGet("net/ipv6/conf/br-lan/forwarding") != "0" {
		t.Error("R1 forwards IPv6 before anybody asked")
	}
	w.StopR2()
}

// A snapshot that sees nothing would prove nothing.
func TestSnapshotsSeeChanges(t *testing.T) {
	l := New(t)
	n := l.Node("n")
	n.Bridge("br0")
	for _, c := range []struct {
		snap     func() string
		do, want string
		undo     string
	}{
		{n.Snapshot4, "ip addr add 192.0.2.1/24 dev br0", "192.0.2.1/24", "ip addr del 192.0.2.1/24 dev br0"},
		{n.Snapshot4, "ip route add blackhole 192.0.2.0/24 table 7", "table 7", "ip route del blackhole 192.0.2.0/24 table 7"},
		{n.Snapshot4, "ip rule add fwmark 5 table 7", "fwmark 0x5", "ip rule del fwmark 5"},
		{n.Snapshot4, "nft add table inet x", "table inet x", "nft delete table inet x"},
		{n.Snapshot4, "sysctl -w net.ipv4.conf.br0.rp_filter=1", "net/ipv4/conf/br0/rp_filter = 1", "sysctl -w net.ipv4.conf.br0.rp_filter=0"},
		{n.Snapshot6, "sysctl -w net.ipv6.conf.br0.accept_ra=2", "net/ipv6/conf/br0/accept_ra = 2", "sysctl -w net.ipv6.conf.br0.accept_ra=1"},
		{n.Snapshot6, "nft add table ip6 x", "table ip6 x", "nft delete table ip6 x"},
		{n.Snapshot6, "ip -6 route add unreachable 2001:db8::/64 metric 9 proto 66", "proto 66", "ip -6 route del unreachable 2001:db8::/64"},
		{n.Snapshot6, "ip -6 addr add 2001:db8::1/64 dev lo", "2001:db8::1/64", "ip -6 addr del 2001:db8::1/64 dev lo"},
	} {
		before := c.snap()
		n.Run(strings.Fields(c.do)...)
		if d := Diff(before, c.snap()); !strings.Contains(d, c.want) {
			t.Errorf("after %s the difference is:\n%s\nwant a line with %q", c.do, d, c.want)
		}
		n.Run(strings.Fields(c.undo)...)
		if after := c.snap(); after != before {
			t.Errorf("after %s there is a difference:\n%s", c.undo, Diff(before, after))
		}
	}
}

func TestKeaRestarts(t *testing.T) {
	w := NewWorld(t, WorldConfig{})
	w.StartR2()
	w.StopKea()
	w.StartKea()
	if leases := w.KeaLeases(); !strings.HasPrefix(leases, "address,duid") {
		t.Errorf("lease file begins with %.40q", leases)
	}
}

// Two sites with the same private addresses, each behind its own NAT, do not see each other. The tunnel of the second one
// is made by upstream wireguard-go here.
func TestTwoSites(t *testing.T) {
	w := NewWorld(t, WorldConfig{NoDHCPv6: true, TwoSites: true})
	w.StartR2()
	for _, s := range w.Sites() {
		if err := s.CheckIPv4(s.H1); err != nil {
			t.Error(err)
		}
	}
	b := w.B
	b.R1.startWireGuard(WireGuard{Interface: HandMadeTunnel, Key: b.BoxKey.Reveal(), LinkLocal: b.BoxKey.Public().LinkLocal(),
		PeerKey: w.HubKey.Public().String(), Endpoint: R2v4 + ":51820", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("::/0")}})
	b.R1.Addr(HandMadeTunnel, netip.MustParsePrefix(PrefixB).Addr().Next().String()+"/128")
	b.R1.Run("ip", "-6", "route", "add", "default", "dev", HandMadeTunnel)
	reached := func() bool { return b.R1.Ping(WWWv6) == nil }
	b.R1.WaitFor(10*time.Second, "no echo reply from www", reached)
	if show := w.R2.Run("wg", "show", "wg0"); !strings.Contains(show, "endpoint: "+NATBv4+":") || strings.Contains(show, "endpoint: "+NAT2v4+":") {
		t.Errorf("R2 sees the second site not behind its NAT, or the first one, which is silent:\n%s", show)
	}
	b.RebindNAT()
	if !Poll(10*time.Second, reached) {
		t.Error("no echo reply after the NAT of the second site forgot its flows")
	}
	if w.LastHandshake() != 0 {
		t.Error("the handshake of the second box counts for the first one")
	}
}
