// SPDX-License-Identifier: MIT

package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// userspaceTest is the test below: worlds that are made under it have boxes that forward by themselves. Under elsewhereTest
// they are built for the processor that its subtest is named for.
const (
	userspaceTest = "TestUserspace"
	elsewhereTest = userspaceTest + "/Elsewhere"
)

// onBothPlanes are the tests of this package whose body TestUserspace runs once more.
func onBothPlanes() []func(*testing.T) {
	return []func(*testing.T){
		TestSplitTunnel, TestSolicitedByRdisc6, TestWgShow, TestStaticPrefix, TestFourMessages, TestMTUFollowsThePath,
		TestBulk, TestArticleR2, TestTwoBoxesAtOneR2, TestGreedyServerBesideAGoodOne, TestTryBesideTheBox, TestTryWithTheKeyOfABoxElsewhere,

		TestServerGoesBadWhileBound, TestServerThatCanBeUsedAllTheSame, TestServerThatCannotBeUsed, TestServerThatInvitesAStorm,
		TestServerFallsSilent, TestServerRenumbers, TestServerTakesThePrefixBack,

		TestReconfigure, TestReconfigureRenumbersAtOnce, TestReconfigureOfDibblerIsAReplay, TestAddressAndSeveralPrefixes,
		TestPrefixFailsWhileAddressWorks, TestExcludedSubnetIsNotUsed, TestEncryptedDNSReachesTheLAN, TestTruncatedReplyIsNoRefusal,

		TestLANBridgeAppearsLater, TestLANLinkDownAndUp, TestFlushedByOthers, TestTwoStartsAtOnce, TestSIGTERMPutsEverythingBack,
		TestKilledStartedStopped, TestSIGUSR2AndSuccessor, TestSIGHUP, TestSIGTERMAfterManySIGHUPs, TestSignalsDuringTheStart,
		TestSecondBoxWithItsOwnFolders, TestDuplicateAddressThenDeadTunnel, TestPeerRemovedByWg,

		TestPeerThatNeverAnswers, TestHubWithoutDHCPv6, TestServerAnswersAfter30Seconds, TestDelegationTooLongForALAN,
		TestTunnelDeadUnderTraffic, TestTunnelDeadIdle, TestNATRebinds, TestNoSecretInStatusOrLog,

		TestHubWithTwoBoxes, TestJoinByInvitation, TestHubRenumbers, TestHubKilledAndRestarted, TestHubHandsOverAndStops,

		TestRestartKeepsAddresses, TestKeaRestartKeepsAddresses, TestOutageKeepsAddresses, TestNATPortKeepsAddresses, TestLeave,
		TestFullDisk,

		TestRFC7084_G3_NothingBeforeThePrefix, TestCE_2_7_06_UnknownPrefix, TestCE_3_2_02_LostDefaultRoute,
		TestCE_3_2_03_NoForwardingLoop, TestRALAB_01_OptimisticHost, TestRALAB_02_CarrierOfAPort, TestRALAB_05_ULAOverADeadTunnel,
		TestRALAB_08_NotOnLink, TestRALAB_10_MACOfTheBridgeChanges,

		TestStatelessDHCPv6, TestStatefulDHCPv6, TestOptionsAtTheHost, TestDHCPv6FollowsTheConfig, TestScanOfTheLAN,
		TestHostRegainsItsAddress, TestRenumberings, TestRouterBehindTheLAN, TestSecondRouterOnTheLAN, TestSomebodyUsesOurLinkLocal,
		TestGuestLAN, TestULA, TestULAOfTheFile,

		TestOdhcpdOfTheArticle, TestOdhcpdGivesLongerPrefixes, TestOdhcpdForgetsLeases, TestOdhcpdReboots,
		TestOdhcpdForgetsAndRenumbers, TestOdhcpdAndASolicit, TestOdhcpdRenumbers, TestOdhcpdLifetimesDecay,

		TestServerLosesItsMemory, TestOperatorRenumbers, TestReservedPrefix, TestDibblerAtTheHub,
	}
}

// onOnePlane are all the others, each with the reason.
func onOnePlane() map[string]string {
	const (
		hub   = "of the hub alone, which forwards by the kernel"
		start = "ends before there is a data plane"
		try   = "oasis6 try has a stack of its own and no data plane"
		plane = "is about both"
	)
	return map[string]string{
		"TestMain":                        "is no test",
		userspaceTest:                     plane,
		"TestEveryBodyOnBothPlanes":       plane,
		"TestFloodsFromTheLAN":            "has a box of either plane itself, beside the kernel that both are measured against",
		"TestDigestOfDibblerIsRight":      "has no world",
		"TestKeyFileReadableByOthers":     start,
		"TestUnknownKey":                  start,
		"TestHubAndABadSite":              hub,
		"TestHubAndTwoBoxesWithOneKey":    hub,
		"TestHubWithoutRoom":              hub,
		"TestHubKilledAgainAndAgain":      hub,
		"TestHubKeepsTheRouteOfItsUplink": hub,
		"TestHubOnLink":                   hub,
		"TestTry":                         try,
		"TestTryWrongKeys":                try,
		"TestTryUDPBlocked":               try,
		"TestTryWithoutPrefix":            try,
		"TestTryBrokersFile":              try,
		"TestTryMTU":                      try,
	}
}

// What the kernel's data plane is held to, in the same words.
func TestUserspace(t *testing.T) {
	for _, body := range onBothPlanes() {
		t.Run(subtestOf(body), body)
	}
	t.Run(strings.TrimPrefix(elsewhereTest, userspaceTest+"/"), userspaceElsewhere)
}

func subtestOf(body func(*testing.T)) string { return strings.TrimPrefix(nameOf(body), "Test") }

func nameOf(body func(*testing.T)) string {
	full := runtime.FuncForPC(reflect.ValueOf(body).Pointer()).Name()
	return full[strings.LastIndexByte(full, '.')+1:]
}

// A test that comes new is a test of both data planes, or says why not.
func TestEveryBodyOnBothPlanes(t *testing.T) {
	var both []string
	for _, body := range onBothPlanes() {
		both = append(both, nameOf(body))
	}
	one, all := onOnePlane(), testsOfThisPackage(t)
	for _, name := range all {
		switch reason, alone := one[name]; {
		case alone && slices.Contains(both, name):
			t.Errorf("%s is in both lists", name)
		case !alone && !slices.Contains(both, name), alone && reason == "":
			t.Errorf("%s runs on the kernel's data plane alone: name it in onBothPlanes, or in onOnePlane with the reason", name)
		}
	}
	for name := range one {
		if !slices.Contains(all, name) {
			t.Errorf("onOnePlane has %s, which does not exist", name)
		}
	}
}

// testsOfThisPackage are the names of its test functions.
func testsOfThisPackage(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("no tests found")
	}
	return names
}

// emulators run programs of other processors; those of 386 need none on amd64. qemu-mips 7.2 hands the kernel the numbers in
// netlink attributes in the wrong order.
var emulators = map[string]string{"386": "", "arm": "qemu-arm", "mipsle": "qemu-mipsel"}

// notEmulated are the bodies that need what qemu-user does not have.
var notEmulated = map[string]string{
	"MTUFollowsThePath": "it does not know IP_MTU, by which the box asks the kernel for the path's MTU",
}

// Half of the boards have 32 bits: gVisor, the tap's header and the checksums must know it.
func userspaceElsewhere(t *testing.T) {
	t.Parallel()
	for arch, emulator := range emulators {
		t.Run(arch, func(t *testing.T) {
			if emulator == "" && runtime.GOARCH != "amd64" {
				t.Skip("needs a processor that runs both")
			}
			if emulator != "" {
				netlab.Need(t, emulator)
			}
			t.Parallel()
			for _, body := range elsewhere(emulator != "") {
				t.Run(subtestOf(body), body)
			}
		})
	}
}

// elsewhere are the tests that run with boxes of other processors: what goes through the tap, the offloads and the forwarder
// in bulk, its errors and its table, both sides of DHCPv6, and what a successor finds. Two processors are not enough for
// emulated boxes beside all else: there the first one runs. `make soak` has the whole table on all, but for notEmulated.
func elsewhere(emulated bool) []func(*testing.T) {
	some := []func(*testing.T){
		TestBulk, TestSplitTunnel, TestCE_2_7_06_UnknownPrefix, TestCE_3_2_03_NoForwardingLoop, TestStatefulDHCPv6,
		TestOperatorRenumbers, TestRestartKeepsAddresses,
	}
	switch {
	case os.Getenv("OASIS6_ELSEWHERE") == "all":
		return slices.DeleteFunc(onBothPlanes(), func(body func(*testing.T)) bool { return emulated && notEmulated[subtestOf(body)] != "" })
	case emulated:
		return some[:1]
	}
	return some
}

// boxBinary is the program under test.
func boxBinary(t *testing.T) string {
	t.Helper()
	if arch := elsewhereIs(t); arch != "" {
		return netlab.BuildFor(t, netlab.BoxPackage, arch, emulators[arch])
	}
	return netlab.Build(t, netlab.BoxPackage)
}

// hubBinary is the program of hubs: the one under test, unless it is emulated. Hubs forward by the kernel's data plane, and
// qemu-user passes on no netfilter sockets.
func hubBinary(t *testing.T) string {
	t.Helper()
	if emulators[elsewhereIs(t)] != "" {
		return netlab.Build(t, netlab.BoxPackage)
	}
	return boxBinary(t)
}

// elsewhereIs is the architecture that a test under elsewhereTest is for, or empty.
func elsewhereIs(t *testing.T) string {
	name, ok := strings.CutPrefix(t.Name(), elsewhereTest+"/")
	if !ok {
		return ""
	}
	arch, _, _ := strings.Cut(name, "/")
	return arch
}
