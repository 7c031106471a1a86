// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"testing"

	"oasis6/internal/netlab"
)

// userspaceTest is the name of the test below: worlds that are made under it have boxes that forward by themselves.
const userspaceTest = "TestUserspace"

// What the kernel's data plane is held to, in the same words.
func TestUserspace(t *testing.T) {
	for name, body := range map[string]func(*testing.T){
		"SplitTunnel":               TestSplitTunnel,
		"Bulk":                      TestBulk,
		"ArticleR2":                 TestArticleR2,
		"MTUFollowsThePath":         TestMTUFollowsThePath,
		"WgShow":                    TestWgShow,
		"LANBridgeAppearsLater":     TestLANBridgeAppearsLater,
		"LANLinkDownAndUp":          TestLANLinkDownAndUp,
		"CarrierOfAPort":            TestRALAB_02_CarrierOfAPort,
		"SIGTERMPutsEverythingBack": TestSIGTERMPutsEverythingBack,
		"SIGUSR2AndSuccessor":       TestSIGUSR2AndSuccessor,
		"Reconfigure":               TestReconfigureRenumbersAtOnce,
		"StatefulDHCPv6":            TestStatefulDHCPv6,
		"ScanOfTheLAN":              TestScanOfTheLAN,
		"RouterBehindTheLAN":        TestRouterBehindTheLAN,
		"SomebodyUsesOurLinkLocal":  TestSomebodyUsesOurLinkLocal,
		"ULAOverADeadTunnel":        TestRALAB_05_ULAOverADeadTunnel,
		"NotOnLink":                 TestRALAB_08_NotOnLink,
		"LostDefaultRoute":          TestCE_3_2_02_LostDefaultRoute,
		"NoForwardingLoop":          TestCE_3_2_03_NoForwardingLoop,
	} {
		t.Run(name, body)
	}
}

// outOfTunnel counts the packets that come out of the tunnel, from now on. In userspace they cannot be seen: -1.
func (b *box) outOfTunnel() func(want func(netlab.Packet) bool) int {
	b.Helper()
	if b.Config.Userspace {
		return func(func(netlab.Packet) bool) int { return -1 }
	}
	return b.R1.WatchIPv6(netlab.BoxTunnel).Count
}

// ownAddresses are the box's on the tunnel; in userspace as the status has them.
func (b *box) ownAddresses() (out []netip.Addr) {
	b.Helper()
	if !b.Config.Userspace {
		return b.R1.GUAs(netlab.BoxTunnel)
	}
	s, err := b.statusErr()
	if err != nil || s.DHCPv6 == nil {
		return nil
	}
	for _, ia := range s.DHCPv6.IAs {
		for _, p := range ia.Prefixes {
			if ia.Type == "IA_NA" {
				out = append(out, netip.MustParseAddr(p.Prefix))
			}
		}
	}
	return out
}
