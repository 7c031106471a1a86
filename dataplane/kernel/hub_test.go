// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
)

const (
	testPool     = "2001:db8:ebbd:9900::/56"
	testSiteA    = "2001:db8:ebbd:990a::/64"
	testSiteB    = "2001:db8:ebbd:990b::/64"
	testHostA    = "2001:db8:ebbd:990a::10"
	testHostB    = "2001:db8:ebbd:990b::10"
	testHubAddr  = "2001:db8:1::2"
	testISPAddr  = "2001:db8:1::1"
	testNoSite   = "2001:db8:2::66"
	testOfPoolBy = "2001:db8:ebbd:99ff::1" // of the pool, but taken
)

// hubWorld is a hub with two sites and an uplink. What is a tunnel in the field is a bridge here, whose ports do not talk to
// each other: whatever goes from one site to the other goes through the hub.
type hubWorld struct {
	*world
	a, b, isp *netlab.Node
}

func newHubWorld(t *testing.T) *hubWorld {
	t.Helper()
	t.Parallel()
	netlab.Need(t, "ip", "nft", "ping")
	l := netlab.New(t)
	w := &hubWorld{world: &world{Lab: l, t: t, events: make(chan dataplane.Event, 4096), runDir: t.TempDir()}}
	w.box, w.a, w.b, w.isp = l.Node("hub"), l.Node("a"), l.Node("b"), l.Node("isp")
	w.far = w.isp
	l.Wire(w.box, "eth0", w.isp, "eth0")
	w.box.Run("ip", "-4", "address", "add", "192.0.2.2/24", "dev", "eth0")
	l.Wire(w.box, "pa", w.a, "eth0")
	l.Wire(w.box, "pb", w.b, "eth0")
	w.box.Bridge("oasis0", "pa", "pb")
	w.box.Run("ip", "link", "set", "oasis0", "down") // as it is made
	for _, port := range []string{"pa", "pb"} {
		w.box.Run("ip", "link", "set", port, "type", "bridge_slave", "isolated", "on")
	}
	w.before, w.beforeIPv4 = w.sysctls(), w.ipv4()
	w.box.Addr("eth0", testHubAddr+"/64")
	w.box.Run("ip", "-6", "route", "add", "default", "via", testISPAddr)
	w.isp.Addr("eth0", testISPAddr+"/64")
	w.isp.Addr("lo", testFarAddr+"/128")
	w.isp.Run("ip", "-6", "route", "add", testPool, "via", testHubAddr)
	for n, addr := range map[*netlab.Node]string{w.a: testHostA, w.b: testHostB} {
		n.Sysctl("net.ipv6.conf.eth0.accept_redirects", "0")
		n.Addr("eth0", addr+"/64")
		n.Run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
	}
	return w
}

func (w *hubWorld) hub() dataplane.Desired {
	pfx := netip.MustParsePrefix
	return dataplane.Desired{
		Tunnel:    dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		Addresses: []dataplane.Address{{Iface: "oasis0", Prefix: pfx("fe80::1/64"), NoDAD: true}},
		Routes: []dataplane.Route{
			{Dst: pfx(testSiteA), Iface: "oasis0", Metric: 128},
			{Dst: pfx(testSiteB), Iface: "oasis0", Metric: 128},
			{Kind: dataplane.Unreachable, Dst: pfx(testPool)},
		},
		Forward: true,
		Hub: dataplane.HubFirewall{
			Tunnel: "oasis0", Open: true,
			Pools: []netip.Prefix{pfx(testPool)}, Taken: []netip.Prefix{pfx(testOfPoolBy + "/128")},
		},
	}
}

// reaches waits for an answer to a ping from an address of the node.
func (w *hubWorld) reaches(n *netlab.Node, from, to string) {
	w.t.Helper()
	n.WaitFor(6*time.Second, from+" reaches "+to, func() bool { return pings(n, from, to) })
}

func pings(n *netlab.Node, from, to string) bool {
	_, err := n.Try("ping", "-c1", "-W1", "-I", from, to)
	return err == nil
}

// The default: sites are open to the outside, and what they answer passes; closed lets out and lets answers in.
func TestHubFirewallWithRealPackets(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	d := w.hub()
	w.apply(d)
	w.reaches(w.a, testHostA, testFarAddr)
	w.reaches(w.isp, testFarAddr, testHostB)
	serve(t, w.a, "["+testHostA+"]:80")
	serve(t, w.isp, "["+testFarAddr+"]:80")
	if err := dial(w.isp, "["+testHostA+"]:80"); err != nil {
		t.Errorf("open: TCP to a site: %v", err)
	}
	if got := w.box.Run("sh", "-c", "nft list table ip6 oasis6 | grep -c 'ct state' || :"); strings.TrimSpace(got) != "0" {
		t.Errorf("an open hub tracks connections: %s rules", got)
	}
	d.Hub.Open = false
	w.apply(d)
	if err := dial(w.a, "["+testFarAddr+"]:80"); err != nil {
		t.Errorf("closed: TCP out of a site: %v", err)
	}
	w.reaches(w.isp, testFarAddr, testHostA) // RFC 4890
	if err := dial(w.isp, "["+testHostA+"]:80"); err == nil {
		t.Error("closed: TCP to a site: connected")
	}
	if got := w.counter("unsolicited"); strings.Contains(got, "packets 0 ") {
		t.Errorf("not counted: %s", got)
	}
	w.mustBe("IPv4", w.ipv4(), w.beforeIPv4)
	w.restore()
	if got := w.box.Run("nft", "list", "tables", "ip6"); got != "" {
		t.Errorf("left after Restore: %s", got)
	}
	if got := w.box.Run("ip", "-6", "route", "show", "proto", "66"); got != "" {
		t.Errorf("left after Restore: %s", got)
	}
}

// A source that is no site's does not leave the tunnel, and a site's source does not come another way: not through the
// hub, not to it.
func TestHubSourcesHaveOneWay(t *testing.T) {
	w := newHubWorld(t)
	serve(t, w.box, "[::]:22")
	w.open()
	d := w.hub()
	d.Hub.SiteToSite = true // it is not that which does it
	w.apply(d)
	w.reaches(w.a, testHostA, testFarAddr)
	w.reaches(w.a, testHostA, testHostB)
	seen := w.isp.Start("tcpdump", "-nli", "eth0", "icmp6")
	w.isp.WaitFor(5*time.Second, "tcpdump", func() bool {
		_ = pings(w.a, testHostA, testFarAddr)
		return strings.Contains(seen.Output(), testHostA)
	})
	for rule, from := range map[string]string{"source of no site": testNoSite, "source that no site has": testOfPoolBy} {
		w.a.Addr("lo", from+"/128")
		for _, to := range []string{testFarAddr, testHostB} {
			before := w.counters(rule)
			w.box.WaitFor(6*time.Second, from+" to "+to+" counted", func() bool {
				_, _ = w.a.Try("ping", "-c1", "-W0.1", "-I", from, to)
				return w.counters(rule) != before
			})
		}
		if strings.Contains(seen.Output(), from) {
			t.Errorf("%s left by the uplink", from)
		}
	}
	w.isp.Addr("lo", testHostA+"/128")
	w.isp.Addr("lo", testOfPoolBy+"/128")
	w.box.Run("ip", "-6", "route", "add", testOfPoolBy, "via", testISPAddr)
	const forged = "a site's source by another way, forged"
	for _, to := range []string{testHostB, testHubAddr} {
		before := w.counters(forged)
		w.box.WaitFor(6*time.Second, "forged, to "+to+", counted", func() bool {
			_, _ = w.isp.Try("ping", "-c1", "-W0.1", "-I", testHostA, to)
			return w.counters(forged) != before
		})
	}
	w.reaches(w.isp, testOfPoolBy, testHostB)
	w.reaches(w.isp, testOfPoolBy, testHubAddr)
	// The hub's services towards sites are the operator's business.
	if err := dial(w.a, "["+testHubAddr+"]:22"); err != nil {
		t.Errorf("the hub's service is closed to a site: %v", err)
	}
}

// Sites reach each other if they may; if not a connection ends at once.
func TestHubSiteToSite(t *testing.T) {
	w := newHubWorld(t)
	serve(t, w.b, "["+testHostB+"]:80")
	w.open()
	d := w.hub()
	w.apply(d)
	w.reaches(w.a, testHostA, testFarAddr)
	if out, err := w.a.Try("ping", "-c1", "-W2", testHostB); err == nil || !strings.Contains(out, "Administratively prohibited") {
		t.Errorf("site to site: %v\n%s", err, out)
	}
	// Errors first, resets beyond their limit. A wire without delay brings an error while connect(2) still holds the socket:
	// then it is the one for a later try, 1 s after the other, that counts, and of those the kernel limits its errors.
	refused := make(chan error, 16)
	for range cap(refused) {
		go func() {
			refused <- w.a.Do(func() error {
				c, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp6", "["+testHostB+"]:80")
				if err == nil {
					_ = c.Close()
				}
				return err
			})
		}()
	}
	for range cap(refused) {
		if err := <-refused; err == nil || os.IsTimeout(err) {
			t.Errorf("site to site: %v, want a refusal at once", err)
		}
	}
	if got := w.counter("site to site, more than there may be errors"); strings.Contains(got, "packets 0 ") {
		t.Errorf("no resets: %s", got)
	}
	for _, open := range []bool{true, false} {
		d.Hub.SiteToSite, d.Hub.Open = true, open
		w.apply(d)
		if err := dial(w.a, "["+testHostB+"]:80"); err != nil {
			t.Errorf("SiteToSite, open %v: %v", open, err)
		}
	}
}

// A solicitation is never forwarded, however it is addressed.
func TestHubForwardsNoNeighborDiscovery(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	w.apply(w.hub())
	w.reaches(w.isp, testFarAddr, testHostA)
	src, dst := netip.MustParseAddr(testFarAddr), netip.MustParseAddr(testHostA)
	inject(t, w.isp, "eth0", w.mac("eth0"), 5, func(int) []byte { return nsPacket(src, dst, dst, nil) })
	var dropped int
	line := w.counter("neighbor discovery ends at its link")
	if _, err := fmt.Sscanf(line[strings.Index(line, "packets"):], "packets %d", &dropped); err != nil || dropped < 5 {
		t.Errorf("%d dropped, want at least those 5: %s", dropped, line)
	}
}

// nsPacket is a Neighbor Solicitation with its IPv6 header.
func nsPacket(src, dst, target netip.Addr, options []byte) []byte {
	b := append([]byte{ndNS, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	return ip6pkt.ICMPv6(src, dst, ndHopLimit, append(b, options...))
}

// The table comes back within 1 s, with all that is in it.
func TestHubDriftIsSeenAndCured(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	d := w.hub()
	d.Proxy = []dataplane.NDProxy{{Iface: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix(testSiteA)}}}
	w.apply(d)
	w.quiet(300 * time.Millisecond)
	good := w.hubState()
	for _, c := range []struct {
		name, drift string
		do          []string
	}{
		{"ruleset flushed", "table ip6 oasis6 missing", []string{"nft", "flush", "ruleset"}},
		{"rules flushed", "table ip6 oasis6 changed", []string{"nft", "flush", "table", "ip6", "oasis6"}},
		{"rule added", "table ip6 oasis6 changed", []string{"nft", "insert", "rule", "ip6", "oasis6", "forward", "accept"}},
		{"pools emptied", "table ip6 oasis6 changed", []string{"nft", "flush", "set", "ip6", "oasis6", "pools"}},
		{"pool added", "table ip6 oasis6 changed", []string{"nft", "add element ip6 oasis6 pools { 2001:db8:2::/64 }"}},
		{"a lease's route", "route " + testSiteA, []string{"ip", "-6", "route", "del", testSiteA, "dev", "oasis0"}},
		{"all our routes", "route", []string{"ip", "-6", "route", "flush", "proto", "66"}},
		{"another's route at the same place", "route " + testSiteA, []string{"ip", "-6", "route", "replace", testSiteA, "dev", "eth0", "metric", "128"}},
		{"forwarding off", "all.forwarding is 0", []string{"sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"}},
		{"tunnel down", "oasis0", []string{"ip", "link", "set", "oasis0", "down"}},
	} {
		w.peace()
		w.box.Run(c.do...)
		if took := w.drift(driftWithin, c.drift); took > time.Second {
			t.Errorf("%s: seen after %v", c.name, took)
		}
		w.apply(d)
		if strings.HasPrefix(c.name, "another's") {
			w.box.Run("ip", "-6", "route", "del", testSiteA, "dev", "eth0", "metric", "128")
		}
		if !netlab.Poll(5*time.Second, func() bool { return w.hubState() == good }) {
			w.mustBe("state after "+c.name, w.hubState(), good)
		}
		w.quiet(150 * time.Millisecond)
	}
}

func (w *hubWorld) hubState() string {
	return w.box.Run("sh", "-c", `ip -6 route show proto 66; ip -6 -o address show dev oasis0 | grep -o "fe80.*/64"; nft -s list table ip6 oasis6; cat /proc/sys/net/ipv6/conf/all/forwarding`)
}

// Without its table a hub does not forward.
func TestHubNeverFailsOpen(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	w.plane.nft.in = func(func() error) error { return unix.EPROTONOSUPPORT }
	err := w.plane.Apply(t.Context(), w.hub())
	if err == nil || !strings.Contains(err.Error(), "not done while the firewall is not in place") {
		t.Errorf("Apply without nftables = %v", err)
	}
	if got := w.box.SysctlGet("net.ipv6.conf.all.forwarding"); got != "0" {
		t.Errorf("forwarding = %s without the table", got)
	}
	w.plane.nft.in = w.plane.ns.do
	w.apply(w.hub())
	w.reaches(w.a, testHostA, testFarAddr)
}

func TestHubRulesReadAsNftPrintsThem(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	d := w.hub()
	d.Proxy = []dataplane.NDProxy{{Iface: "eth0"}}
	for i := range 4 {
		d.Hub.Open, d.Hub.SiteToSite = i&1 != 0, i&2 != 0
		w.apply(d)
		listed := strings.ReplaceAll(w.box.Run("nft", "-s", "list", "table", "ip6", tableName), "\t", "")
		rs := w.rules()
		for i, r := range rs.rules {
			line := r.text + ` comment "` + rs.comment(i) + `"`
			if !strings.Contains(listed, line+"\n") {
				t.Errorf("rule %d, want %q in:\n%s", i, line, listed)
			}
		}
		if !strings.Contains(listed, "elements = { "+testPool+" }") {
			t.Errorf("the pools are unreadable:\n%s", listed)
		}
	}
	if hubRuleset(dataplane.HubFirewall{}, nil) != nil {
		t.Error("a zero HubFirewall makes a table")
	}
}

// R2's own default is learned by RA and forwarding was off: the hub keeps the one and gives back the other.
func TestHubKeepsItsRARoute(t *testing.T) {
	w := newHubWorld(t)
	w.box.Run("ip", "-6", "route", "del", "default")
	w.isp.Sysctl("net.ipv6.conf.all.forwarding", "1")
	w.isp.WriteFile("/run/radvd.conf", `interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 9000;
 prefix 2001:db8:1::/64 { }; };`, 0o600)
	w.isp.Start("radvd", "-n", "-C", "/run/radvd.conf", "-p", "/run/radvd.pid", "-m", "stderr")
	ra := func() bool {
		return strings.Contains(w.box.Run("ip", "-6", "route", "show", "default", "proto", "ra"), "dev eth0")
	}
	w.box.WaitFor(10*time.Second, "default route by RA", ra)
	before := w.sysctls()
	if got := w.box.SysctlGet("net.ipv6.conf.all.forwarding"); got != "0" {
		t.Fatalf("forwarding = %s at the start", got)
	}
	mon := w.box.Start("ip", "-6", "monitor", "route")
	w.open()
	w.apply(w.hub())
	if !ra() {
		t.Errorf("with forwarding on: %s", w.box.Run("ip", "-6", "route"))
	}
	if got := w.box.SysctlGet("net.ipv6.conf.eth0.accept_ra"); got != "2" {
		t.Errorf("accept_ra = %s with forwarding on, want 2", got)
	}
	w.reaches(w.a, testHostA, testFarAddr)
	w.box.Run("ip", "-6", "route", "del", "default", "proto", "ra")
	w.box.WaitFor(10*time.Second, "default route by RA while forwarding", ra)
	w.apply(w.hub())
	w.restore()
	if !ra() {
		t.Error("with forwarding off again: RA route lost")
	}
	if n := strings.Count(mon.Output(), "Deleted default"); n != 1 {
		t.Errorf("the default route was deleted %d times, want 1, by this test:\n%s", n, mon.Output())
	}
	w.mustBe("net.ipv6.conf", w.sysctls(), before)
}
