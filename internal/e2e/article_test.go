// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// What the article's R2 sets apart for the box: "IPv6 Assignment length: 63, hint: 990a".
var assigned = netip.MustParsePrefix("2001:db8:ebbd:990a::/63")

// articleRAs are radvd's lines for "Router-Advertisement-service: server mode, DHCPv6-Mode: stateless + stateful" on the
// tunnel. WireGuard carries multicast to no more than one peer, so they go by unicast.
func articleRAs(box netip.Addr) []string {
	return []string{"\tAdvManagedFlag on;", "\tAdvOtherConfigFlag on;", "\tUnicastOnly on;", "\tMinRtrAdvInterval 3;", "\tMaxRtrAdvInterval 4;",
		"\tclients { " + box.String() + "; };", "\tprefix " + netlab.AddressPool + " { };"}
}

// articleConfig is the box's file with the article's allowed-ips, and a wish.
func (b *box) articleConfig(hint string) string {
	file := b.BoxConfig("[Prefix]", "Hint = "+hint)
	return strings.Replace(file, "AllowedIPs = ::/0", "AllowedIPs = ::/0, fe80::/64", 1)
}

// The box at the R2 of the article "WireGuard bringing IPv6 to NATland", made of other people's programs: fe80::/64 in the
// allowed-ips of both, an assignment of /63 with the hint 990a, stateless and stateful DHCPv6.
func TestArticleR2(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, hint string
		reserved   bool
	}{
		{"R2 sets the prefix apart", "::/64", true}, // "Select Request IPv6-prefix length of 64"
		{"the box wishes for it", assigned.String(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t, netlab.WorldConfig{NoDHCPv6: true, OpenPeer: true, DelegatedLen: assigned.Bits(), Addresses: true})
			b.WriteBoxConfig(b.articleConfig(tc.hint))
			b.StartR2()
			seen := b.WatchDHCPv6()
			b.R2.StartRadvd("wg0", articleRAs(b.BoxKey.Public().LinkLocal())...)
			if tc.reserved {
				b.start()
				if !b.proc.WaitOutput(enough, "tunnel up") {
					t.Fatalf("no tunnel:\n%s", b.proc.Output())
				}
				b.KeaReserve(b.status().DHCPv6.DUID, assigned)
				b.StartKea()
			} else {
				b.StartKea()
				b.start()
			}
			b.waitOnline(b.H1)
			b.waitSummary("up: "+assigned.String()[:18], "")
			b.wantAssignment()
			b.wantAddress(netlab.AddressPool)
			b.wantOtherHalfUnreachable()
			if !tc.reserved && !strings.Contains(seen.All()[0].Msg.Summary(), assigned.String()) {
				t.Errorf("the box's Solicit does not name %s: %s", assigned, seen.All()[0].Msg.Summary())
			}
		})
	}
}

// wantAssignment checks that the /63 is ours and that its first /64 is on the LAN, and no other.
func (b *box) wantAssignment() {
	b.Helper()
	first := netip.PrefixFrom(assigned.Addr(), 64)
	s := b.status()
	if len(s.Prefixes) != 1 || s.Prefixes[0].Prefix != assigned.String() {
		b.Errorf("prefixes %+v, want %s", s.Prefixes, assigned)
	}
	if l := s.LANs[0].Prefixes; len(l) != 1 || l[0].Prefix != first.String() {
		b.Errorf("the LAN has %+v, want %s alone", l, first)
	}
	for _, a := range b.H1.GUAs("eth0") {
		if !first.Contains(a) {
			b.Errorf("h1 has %s, want addresses of %s alone", a, first)
		}
	}
}

// wantAddress checks that the box took an address, because routers on the tunnel say M, and can be reached there.
func (b *box) wantAddress(pool string) {
	b.Helper()
	var own string
	if !netlab.Poll(enough, func() bool {
		for _, a := range b.ownAddresses() {
			if netip.MustParsePrefix(pool).Contains(a) {
				own = a.String()
			}
		}
		return own != ""
	}) {
		b.Fatalf("%s has no address of %s:\n%s", netlab.BoxTunnel, pool, b.text())
	}
	if b.Config.Userspace { // the machine's kernel has no way there
		if err := b.WWW.Ping(own); err != nil {
			b.Errorf("no echo reply from the box's address %s: %v", own, err)
		}
		return
	}
	if err := b.R1.Ping(netlab.WWWv6); err != nil {
		b.Errorf("the box itself does not reach www: %v", err)
	}
	if out, err := b.R1.Try("ping", "-n", "-c1", "-W2", "-I", own, netlab.WWWv6); err != nil {
		b.Errorf("no echo reply to the box's address %s: %v %s", own, err, out)
	}
}

// wantOtherHalfUnreachable: a packet for the second /64 comes out of the tunnel once, is answered by "no route" at most
// once, and never goes back.
func (b *box) wantOtherHalfUnreachable() {
	b.Helper()
	here, back, answers := b.outOfTunnel(), b.R2.WatchIPv6("wg0"), b.WWW.WatchIPv6("eth1")
	const nobody, pings = "2001:db8:ebbd:990b::1", 3 // errors are rate limited: one of them may stay unanswered
	out, err := b.WWW.Try("ping", "-n", "-c", strconv.Itoa(pings), "-W2", nobody)
	if err == nil || !strings.Contains(out, "No route") {
		b.Errorf("ping to the other half: %v, %s, want Destination unreachable: No route", err, out)
	}
	to := netip.MustParseAddr(nobody)
	toNobody := func(p netlab.Packet) bool { return p.Dst == to }
	noRoute := func(p netlab.Packet) bool { return p.Protocol == 58 && p.ICMPv6 == [2]byte{1, 0} }
	netlab.Poll(soon, func() bool { return here(toNobody) >= pings }) // ping may end before it is seen what it sent
	in, again, errors := here(toNobody), back.Count(toNobody), answers.Count(noRoute)
	if in != pings || again != 0 || errors == 0 || errors > pings {
		b.Errorf("%d packets came out of the tunnel %d times, went back %d times and drew %d errors, want once each, never, and one each",
			pings, in, again, errors)
	}
}
