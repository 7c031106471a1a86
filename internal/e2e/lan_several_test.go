// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// gua64 is the /64 of a host's first global address that is not ULA; not valid if there is none.
func gua64(h *netlab.Node) netip.Prefix {
	for _, a := range h.GUAs("eth0") {
		if !a.IsPrivate() {
			p, _ := a.Prefix(64) // 64 fits: cannot fail
			return p
		}
	}
	return netip.Prefix{}
}

// Two LANs: each its own /64, neither with the other's sources.
func TestGuestLAN(t *testing.T) {
	t.Parallel()
	for name, subnet := range map[string]string{"subnets in order": "", "subnet chosen": "Subnet = 7"} {
		t.Run(name, func(t *testing.T) { guestLAN(t, subnet) })
	}
}

func guestLAN(t *testing.T, subnet string) {
	b := newBox(t, netlab.WorldConfig{Guest: true, DelegatedLen: 60})
	b.WriteBoxConfig(b.BoxConfig("[LAN]", "Interface = br-guest", subnet))
	b.up()
	b.waitOnline(b.G1)
	ours, guests := gua64(b.H1), gua64(b.G1)
	if ours == guests || !b.Delegated().Contains(ours.Addr()) || !b.Delegated().Contains(guests.Addr()) {
		t.Fatalf("h1 in %s, g1 in %s, of %s: want two of it", ours, guests, b.Delegated())
	}
	if a := guests.Addr().As16(); subnet != "" && a[7]&0xf != 7 {
		t.Errorf("g1 in %s, want subnet 7 of %s", guests, b.Delegated())
	}
	s := b.status()
	if len(s.LANs) != 2 || s.LANs[1].Interface != "br-guest" || len(s.LANs[1].Prefixes) != 1 || s.LANs[1].Prefixes[0].Prefix != guests.String() {
		t.Errorf("status: %+v", s.LANs)
	}
	seen := b.WWW.WatchIPv6("eth1")
	for _, tc := range []struct {
		from *netlab.Node
		of   netip.Prefix
	}{{b.G1, ours}, {b.H1, guests}} {
		src := tc.of.Addr().Next().Next()
		b.spoof(tc.from, "eth0", src)
		if n := seen.From(netip.PrefixFrom(src, 128)); n > 0 {
			t.Errorf("%s as %s: %d packets reached www", tc.from.Name, src, n)
		}
	}
	b.R1.Run("ip", "link", "set", "br-guest", "down") // and one LAN's trouble is not the other's
	b.waitSummary("degraded: ", "br-guest")
	if err := b.H1.Ping(netlab.WWWv6); err != nil {
		t.Errorf("h1 has no IPv6 while br-guest is down: %v", err)
	}
	b.R1.Run("ip", "link", "set", "br-guest", "up")
	b.waitOnline(b.G1)
	if err := b.CheckIPv4(b.G1); err != nil {
		t.Error(err)
	}
}

// ula is a host's first unique local address; not valid while it has none.
func ula(h *netlab.Node) netip.Addr {
	for _, a := range h.GUAs("eth0") {
		if a.IsPrivate() {
			return a
		}
	}
	return netip.Addr{}
}

// RFC 7084 section 4.3: the ULA prefix is the site's, generated once and kept; it stays within the site, and alone it
// makes nobody a default router (ULA-5).
func TestULA(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "ULA = auto"))
	ras := b.H1.WatchRA("eth0")
	b.start() // R2 is not there: the tunnel is down from the start
	if !netlab.Poll(enough, func() bool { return ula(b.H1).IsValid() && ula(b.H2).IsValid() }) {
		t.Fatalf("h1 has no ULA: %v\n%s", b.H1.GUAs("eth0"), b.text())
	}
	first := ula(b.H1)
	if first.As16()[0] != 0xfd {
		t.Errorf("ULA %s, want one of fd00::/8 (RFC 4193 section 3.1)", first)
	}
	if err := b.H1.Ping(ula(b.H2).String()); err != nil {
		t.Errorf("ULA within the LAN: %v", err)
	}
	time.Sleep(3 * time.Second) // more RAs come
	b.wantNoDefaultRoute(b.H1)
	for _, r := range ras.All() {
		if r.Msg.RouterLifetime != 0 {
			t.Errorf("RA with router lifetime %v and ULA alone", r.Msg.RouterLifetime)
		}
	}
	b.StartR2()
	crossed := b.R2.WatchIPv6("wg0")
	b.waitOnline(b.H1)
	b.wantNoAnswerTo(first)
	if n := crossed.From(netip.MustParsePrefix("fc00::/7")); n > 0 {
		t.Errorf("%d packets from ULAs crossed the tunnel", n)
	}
	if crossed.From(delegated) == 0 {
		t.Error("nothing was seen on the tunnel at all")
	}
	b.proc.Kill()
	b.H1.Run("ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global")
	b.start()
	if !netlab.Poll(enough, func() bool { return ula(b.H1).IsValid() }) || ula(b.H1) != first {
		t.Errorf("ULA after kill -9 %s, before %s", ula(b.H1), first)
	}
}

// wantNoAnswerTo pings www from an address that the host has.
func (b *box) wantNoAnswerTo(src netip.Addr) {
	b.Helper()
	if out, err := b.H1.Try("ping", "-n", "-c3", "-i0.2", "-W1", "-I", src.String(), netlab.WWWv6); err == nil {
		b.Errorf("www answers the ULA %s:\n%s", src, out)
	}
}

// A prefix that the file names is used as it is.
func TestULAOfTheFile(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "ULA = fd00:db8:5::/48"))
	b.up()
	if !netlab.Poll(enough, func() bool { return netip.MustParsePrefix("fd00:db8:5::/48").Contains(ula(b.H1)) }) {
		t.Errorf("h1 has %v\n%s", b.H1.GUAs("eth0"), b.text())
	}
	body, err := b.H1.Fetch(netlab.WWWv6)
	if err != nil || !strings.Contains(body, "2001:db8:ebbd:99") {
		t.Errorf("fetch beside a ULA: %q, %v", body, err)
	}
}
