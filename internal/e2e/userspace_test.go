// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// userspaceTest is how the names of the tests below begin: worlds that are made under them have boxes that forward by
// themselves. elsewhereTest is the one whose boxes are built for the processor that its subtest is named for.
const (
	userspaceTest = "TestUserspace"
	elsewhereTest = "TestUserspaceElsewhere"
)

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

// emulators run programs of other processors; those of 386 need none on amd64. qemu-mips 7.2 hands the kernel the numbers in
// netlink attributes in the wrong order.
var emulators = map[string]string{"386": "", "arm": "qemu-arm", "mipsle": "qemu-mipsel"}

// Half of the boards have 32 bits: gVisor, the tap's header and the checksums must know it.
func TestUserspaceElsewhere(t *testing.T) {
	for arch, emulator := range emulators {
		t.Run(arch, func(t *testing.T) {
			if emulator == "" && runtime.GOARCH != "amd64" {
				t.Skip("needs a processor that runs both")
			}
			if _, err := exec.LookPath(emulator); emulator != "" && err != nil {
				t.Skipf("needs %s (Debian package qemu-user)", emulator)
			}
			TestBulk(t)
		})
	}
}

// boxBinary is the program under test.
func boxBinary(t *testing.T) string {
	t.Helper()
	if name, ok := strings.CutPrefix(t.Name(), elsewhereTest+"/"); ok {
		arch, _, _ := strings.Cut(name, "/")
		return netlab.BuildFor(t, netlab.BoxPackage, arch, emulators[arch])
	}
	return netlab.Build(t, netlab.BoxPackage)
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
