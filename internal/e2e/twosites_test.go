// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"testing"

	"oasis6/internal/netlab"
)

// Two boxes at one R2, each behind its own NAT, with the same private IPv4 addresses: one has its prefix by DHCPv6, the other
// one from its file. Their hosts reach the Internet and each other.
func TestTwoBoxesAtOneR2(t *testing.T) {
	a := newBox(t, netlab.WorldConfig{TwoSites: true})
	b := a.second()
	b.WriteBoxConfig(b.BoxConfig("[Prefix]", "Prefix = "+netlab.PrefixB))
	a.StartR2()
	a.start()
	b.start()
	a.waitOnline(a.H1)
	ofB := netip.MustParsePrefix(netlab.PrefixB)
	if !netlab.Poll(enough, func() bool { return b.HostHasGUA(b.H1, ofB) && b.H1.Ping(netlab.WWWv6) == nil }) {
		t.Fatalf("h1b is not on IPv6: %v\n%s", b.H1.GUAs("eth0"), b.text())
	}
	for _, s := range a.World.Sites() {
		if err := s.CheckIPv4(s.H1); err != nil {
			t.Error(err)
		}
	}
	// A box's firewall lets echo requests in (RFC 4890), and this R2 keeps no sites apart.
	if err := a.H1.Ping(b.H1.GUAs("eth0")[0].String()); err != nil {
		t.Errorf("h1 does not reach h1b: %v\n%s\n%s", err, a.text(), b.text())
	}
}
