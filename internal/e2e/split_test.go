// SPDX-License-Identifier: MIT

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"oasis6/internal/netlab"
)

// The main job: a LAN behind two NATs on IPv6, against an R2 that is not ours.
func TestSplitTunnel(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	before := b.R1.Snapshot4()
	ras, dns := b.H1.WatchRA("eth0"), b.H1.WatchDNS()
	b.up()
	b.waitOnline(b.H2)

	body, err := b.H1.Fetch(netlab.WWWv6)
	if err != nil || !strings.HasPrefix(body, netlab.WWWText) || !strings.Contains(body, "2001:db8:ebbd:99") {
		t.Errorf("fetch over IPv6 = %q, %v: want the text and an address of the pool", body, err)
	}
	if err := b.CheckIPv4(b.H1); err != nil {
		t.Error(err)
	}
	if during := b.R1.Snapshot4(); during != before {
		t.Errorf("IPv4 state changed:\n%s", netlab.Diff(before, during))
	}

	ra, err := ras.First(soon, func(r netlab.RA) bool { return r.Prefix(delegated) != nil })
	if err != nil {
		t.Fatalf("RA with the prefix: %v", err)
	}
	if ra.HopLimit != 255 || !ra.Src.IsLinkLocalUnicast() || ra.Msg.RouterLifetime != 45*time.Minute {
		t.Errorf("RA hop limit %d, source %s, router lifetime %s", ra.HopLimit, ra.Src, ra.Msg.RouterLifetime)
	}
	if _, err := dns.First(soon, func(o netlab.DNSOption) bool {
		return len(o.Servers) == 1 && o.Servers[0].String() == netlab.DNSv6
	}); err != nil {
		t.Errorf("RDNSS %s at the host: %v", netlab.DNSv6, err)
	}
	if _, err := dns.First(soon, func(o netlab.DNSOption) bool { return len(o.Search) == 1 && o.Search[0] == netlab.SearchList }); err != nil {
		t.Errorf("DNSSL %s at the host: %v", netlab.SearchList, err)
	}
	s := b.status()
	if !s.Ready || !strings.HasPrefix(s.Summary, "up: 2001:db8:ebbd:99") || s.Tunnel.State != "up" || len(s.Problems) != 0 {
		t.Errorf("status: ready %v, summary %q, tunnel %s, problems %q", s.Ready, s.Summary, s.Tunnel.State, s.Problems)
	}
	b.stop()
	if after := b.R1.Snapshot4(); after != before {
		t.Errorf("IPv4 state is not as before:\n%s", netlab.Diff(before, after))
	}
}

// rdisc6 is a decoder of its own; it also shows that a solicitation is answered.
func TestSolicitedByRdisc6(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	netlab.Need(t, "rdisc6")
	b.up()
	out := b.H1.Run("rdisc6", "-1", "-w", "3000", "eth0")
	for _, want := range []string{
		`Hop limit +: +64`, `Stateful address conf. +: +No`, `Router lifetime +: +2700`, `Prefix +: 2001:db8:ebbd:99..::/64`,
		`On-link +: +Yes`, `Autonomous address conf.: +Yes`, `MTU +: +1420`, `Source link-layer address`,
		`Recursive DNS server +: 2001:db8:0:6::53`, `DNS search list +: lan.example`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("rdisc6 shows no %q in\n%s", want, out)
		}
	}
}

// The block of the article: wg(8) of Debian asks our device.
func TestWgShow(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	out := b.R1.Run("wg", "show", "oasis0")
	for _, want := range []string{
		"interface: oasis0", "public key: " + b.BoxKey.Public().String(), "private key: (hidden)", "listening port: ",
		"peer: " + b.HubKey.Public().String(), "endpoint: 203.0.113.66:51820", "allowed ips: ::/0", "latest handshake: ",
		"received, ", "persistent keepalive: every 25 seconds",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("wg show lacks %q:\n%s", want, out)
		}
	}
}

// A broker's file: no DHCPv6, the prefix stands in the file.
func TestStaticPrefix(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.WriteBoxConfig(b.BoxConfig("RDNSS = 2001:db8:0:6::53", "Subnet = 0a", "[Prefix]", "Prefix = "+netlab.DefaultPool))
	b.up()
	if got := b.H1.GUAs("eth0"); len(got) != 1 || !strings.HasPrefix(got[0].String(), "2001:db8:ebbd:990a:") {
		t.Errorf("GUAs = %v, want one in subnet 990a", got)
	}
	s := b.status()
	if len(s.Prefixes) != 1 || s.Prefixes[0].State != "static" || s.DHCPv6 != nil {
		t.Errorf("prefixes = %+v, dhcpv6 = %+v", s.Prefixes, s.DHCPv6)
	}
	// An unused part of the /56 is answered for, and does not cross the tunnel again.
	out, err := b.H1.Try("ping", "-n", "-c1", "-W2", "2001:db8:ebbd:9942::1")
	if err == nil || !strings.Contains(out, "Destination unreachable") {
		t.Errorf("ping to an unassigned subnet: %v\n%s", err, out)
	}
}

// A kernel that sends Requests the long way round: no Rapid Commit.
func TestFourMessages(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoRapid: true})
	b.up()
}

// The tunnel's MTU is that of the path less 80, and hosts are told.
func TestMTUFollowsThePath(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.R1.Run("ip", "link", "set", "wan0", "mtu", "1450")
	ras := b.H1.WatchRA("eth0")
	b.up()
	mtu := func(want int) {
		t.Helper()
		if _, err := ras.First(time.Minute, func(r netlab.RA) bool {
			return slices.ContainsFunc(r.Msg.Options, func(o ndp.Option) bool {
				m, ok := o.(*ndp.MTU)
				return ok && m.MTU == uint32(want)
			})
		}); err != nil {
			t.Errorf("RA with MTU %d: %v\n%s", want, err, b.text())
		}
		if got := b.status().Tunnel.MTU; got != want {
			t.Errorf("status says MTU %d, want %d", got, want)
		}
		b.wantTooBig(want)
		if b.Config.Userspace {
			return // the kernel has no such interface
		}
		if out := b.R1.Run("ip", "link", "show", "oasis0"); !strings.Contains(out, fmt.Sprintf("mtu %d ", want)) {
			t.Errorf("oasis0 has not MTU %d: %s", want, out)
		}
	}
	mtu(1370)
	b.R1.Run("ip", "link", "set", "wan0", "mtu", "1400") // seen by the next measurement, every 30 s
	mtu(1320)
	if _, err := b.H1.Try("ping", "-n", "-c1", "-W2", "-M", "do", "-s", "1272", netlab.WWWv6); err != nil {
		t.Errorf("a packet of 1320 octets: %v", err)
	}
}

// wantTooBig sends a packet that is an octet larger than the tunnel's MTU from h1, which has forgotten what the RA said: the
// box names the MTU.
func (b *box) wantTooBig(mtu int) {
	b.Helper()
	const headers = 40 + 8
	way := []string{netlab.WWWv6 + "/128", "via", b.HostDefaultRoute(b.H1).String(), "dev", "eth0"}
	b.H1.Run(append([]string{"ip", "-6", "route", "add"}, way...)...)
	var out string
	if !netlab.Poll(enough, func() bool { // the next RA may come in between
		b.H1.Sysctl("net/ipv6/conf/eth0/mtu", "1500")
		out, _ = b.H1.Try("ping", "-n", "-c1", "-W2", "-M", "do", "-s", strconv.Itoa(mtu+1-headers), netlab.WWWv6)
		return strings.Contains(out, fmt.Sprintf("Packet too big: mtu=%d", mtu))
	}) {
		b.Errorf("a packet of %d octets: %s, want Packet too big with the MTU %d", mtu+1, out, mtu)
	}
	b.H1.Run(append([]string{"ip", "-6", "route", "del"}, way...)...) // and what it has learned
}
