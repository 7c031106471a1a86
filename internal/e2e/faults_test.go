// SPDX-License-Identifier: MIT

package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

func TestLANBridgeAppearsLater(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.R1.Run("ip", "link", "del", "br-lan")
	b.StartR2()
	b.start()
	b.waitSummary("degraded: ", "br-lan does not exist")
	b.R1.Bridge("br-lan", "lan1", "lan2")
	b.waitOnline(b.H1)
}

func TestLANLinkDownAndUp(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	ras := b.H1.WatchRA("eth0")
	b.R1.Run("ip", "link", "set", "br-lan", "down")
	b.waitSummary("degraded: ", "no carrier")
	b.R1.Run("ip", "link", "set", "br-lan", "up")
	b.waitOnline(b.H1)
	for _, r := range ras.All() {
		if p := r.Prefix(delegated); p != nil && p.ValidLifetime == 0 {
			t.Errorf("a lost carrier made the prefix stale: RA at %v", r.At)
		}
	}
	b.waitSummary("up: ", "")
}

// "If another program flushes our table, routes or addresses, they are back within 1 s." In userspace there is a tap instead,
// and the rest is nothing to us.
func TestFlushedByOthers(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	b.up()
	whole, now := b.unharmed()
	for _, tc := range b.others() {
		tc.do()
		begin := time.Now()
		ok := netlab.Poll(3*time.Second, whole)
		if d := time.Since(begin); !ok || d > time.Second {
			t.Errorf("%s flushed: back %v after %v, want within 1s\n%s", tc.what, ok, d, now())
		}
		if !netlab.Poll(soon, func() bool { return b.H1.Ping(netlab.WWWv6) == nil }) {
			t.Errorf("%s flushed: h1 has no IPv6\n%s", tc.what, b.text())
		}
	}
}

var (
	counters = regexp.MustCompile(`packets \d+ bytes \d+`)
	elements = regexp.MustCompile(`(?s)(set seen \{.*?)elements = \{.*?\}\n`) // packets fill it, and each has its time left
)

// fixedPart is a table without what changes from second to second.
func fixedPart(table string) string {
	return elements.ReplaceAllString(counters.ReplaceAllString(table, ""), "$1")
}

// ownRoutes are the routes with our protocol.
func ownRoutes(b *box) string { return b.R1.Run("ip", "-6", "route", "show", "proto", "66") }

func TestTwoStartsAtOnce(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	out, err := b.R1.Try(b.BoxArgs(b.bin, "run")...)
	if err == nil || !strings.Contains(err.Error(), "another oasis6 is running") {
		t.Errorf("second start: %q, %v: want a refusal that says why", out, err)
	}
	if !b.online(b.H1) {
		t.Errorf("the refused start harmed the first box\n%s", b.text())
	}
}

// SIGTERM: "hosts lose the default route within 1 s; kernel state byte-identical to before the start".
func TestSIGTERMPutsEverythingBack(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	before6, before4 := b.R1.Snapshot6(), b.R1.Snapshot4()
	b.up()
	begin := time.Now()
	b.proc.Signal(syscall.SIGTERM)
	if !netlab.Poll(soon, func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) || time.Since(begin) > time.Second {
		t.Errorf("h1 lost its default route %v after SIGTERM (it is now via %v), want at most 1s", time.Since(begin), b.HostDefaultRoute(b.H1))
	}
	if code := b.proc.WaitTimeout(soon); code != 0 || time.Since(begin) > 3*time.Second {
		t.Errorf("exit code %d %v after SIGTERM, want 0 within 3s\n%s", code, time.Since(begin), b.proc.Output())
	}
	b.wantState("stopped", before6, before4)
}

func (b *box) wantState(when, before6, before4 string) {
	b.Helper()
	if after := b.R1.Snapshot6(); after != before6 {
		b.Errorf("%s: IPv6 state differs:\n%s", when, netlab.Diff(before6, after))
	}
	if after := b.R1.Snapshot4(); after != before4 {
		b.Errorf("%s: IPv4 state differs:\n%s", when, netlab.Diff(before4, after))
	}
}

func TestKilledStartedStopped(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	before6, before4 := b.R1.Snapshot6(), b.R1.Snapshot4()
	b.up()
	ping := b.pinging()
	b.proc.Kill()
	b.start()
	b.waitSummary("up: ", "")
	b.waitOnline(b.H1)
	b.reportLoss("kill -9 and start", ping)
	if got := b.H1.GUAs("eth0"); len(got) != 1 {
		t.Errorf("h1 has %v after a restart, want the one address it had", got)
	}
	b.stop()
	b.wantState("after kill -9, start, SIGTERM", before6, before4)
}

// A successor takes over: "LAN never loses its addresses; forwarding gap ≤ 1 s".
func TestSIGUSR2AndSuccessor(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	b.up()
	ras := b.H1.WatchRA("eth0")
	monitor := b.R1.Start("ip", "-6", "monitor", "address")
	ping := b.pinging()
	lease := b.lease()
	b.proc.Signal(syscall.SIGUSR2)
	if code := b.proc.WaitTimeout(soon); code != 0 {
		t.Errorf("exit code after SIGUSR2 = %d, want 0\n%s", code, b.proc.Output())
	}
	b.start()
	b.waitSummary("up: ", "")
	time.Sleep(time.Second) // the ping must see the new box
	b.reportLoss("SIGUSR2 and successor", ping)
	for _, r := range ras.All() {
		if r.Msg.RouterLifetime == 0 {
			t.Error("an RA with router lifetime 0 was sent for a restart")
		}
	}
	for line := range strings.Lines(monitor.Output()) {
		if strings.HasPrefix(line, "Deleted") && strings.Contains(line, "br-lan") && strings.Contains(line, "global") {
			t.Errorf("the LAN lost an address: %s", line)
		}
	}
	if !strings.Contains(lease, "duid") {
		t.Errorf("lease.json = %s", lease)
	}
}

const pingInterval = 20 * time.Millisecond

// pinging starts a ping from h1 that counts.
func (b *box) pinging() *netlab.Proc {
	b.Helper()
	p := b.H1.Start("ping", "-n", "-i", "0.02", netlab.WWWv6)
	if !p.WaitOutput(soon, "bytes from") {
		b.Fatalf("ping does not run: %s", p.Output())
	}
	return p
}

// reportLoss ends a ping, prints how long packets were lost, and fails beyond 1 s.
func (b *box) reportLoss(what string, p *netlab.Proc) {
	b.Helper()
	p.Stop(syscall.SIGINT)
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(p.Output())
	if m == nil {
		b.Fatalf("no statistics from ping: %s", p.Output())
	}
	sent, _ := strconv.Atoi(m[1])
	got, _ := strconv.Atoi(m[2])
	lost := time.Duration(sent-got) * pingInterval
	b.Logf("%s: %d of %d echo requests lost, %v", what, sent-got, sent, lost)
	most := time.Second
	if emulators[elsewhereIs(b.T)] != "" {
		most = 3 * time.Second // an emulated program takes its time to start
	}
	if lost > most {
		b.Errorf("%s: %v of forwarding lost, want at most %v", what, lost, most)
	}
}

func TestSIGHUP(t *testing.T) {
	b := newLoneBox(t, netlab.WorldConfig{})
	b.up()
	ping := b.pinging()
	addrs := b.H1.GUAs("eth0")
	b.WriteBoxConfig(b.BoxConfig("Nonsense = 1"))
	b.proc.Signal(syscall.SIGHUP)
	if !netlab.Poll(soon, func() bool { return strings.Contains(strings.Join(b.status().Problems, " "), "reload refused") }) {
		t.Errorf("a bad reload is not reported: %q", b.status().Problems)
	}
	dns := b.H1.WatchDNS()
	b.WriteBoxConfig(b.BoxConfig("RDNSS = 2001:db8:0:6::54"))
	b.proc.Signal(syscall.SIGHUP)
	if _, err := dns.First(soon+soon, func(o netlab.DNSOption) bool {
		return o.Lifetime > 0 && len(o.Servers) == 1 && o.Servers[0].String() == "2001:db8:0:6::54"
	}); err != nil {
		t.Errorf("new RDNSS at the host: %v", err)
	}
	if _, err := dns.First(soon, func(o netlab.DNSOption) bool {
		return o.Lifetime == 0 && len(o.Servers) == 1 && o.Servers[0].String() == netlab.DNSv6
	}); err != nil {
		t.Errorf("withdrawal of the old RDNSS: %v", err)
	}
	b.reportLoss("SIGHUP", ping)
	if got := b.H1.GUAs("eth0"); len(got) != len(addrs) || got[0] != addrs[0] {
		t.Errorf("addresses of h1 = %v, before %v", got, addrs)
	}
}

func TestKeyFileReadableByOthers(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.R1.WriteFile(b.R1.Path("oasis6.conf"), b.BoxConfig(), 0o644)
	p := b.R1.Start(b.bin, "run", "-c", b.R1.Path("oasis6.conf"), "--state", b.BoxState(), "--run", b.BoxRun())
	if code := p.WaitTimeout(soon); code != 2 || !strings.Contains(p.Output(), "chmod") {
		t.Errorf("exit code %d, output %q: want 2 and the chmod command", code, p.Output())
	}
}

func TestUnknownKey(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.WriteBoxConfig(b.BoxConfig("Subnett = 1"))
	b.start()
	if code := b.proc.WaitTimeout(soon); code != 2 || !strings.Contains(b.proc.Output(), "Subnet") {
		t.Errorf("exit code %d, output %q: want 2 and the nearest key", code, b.proc.Output())
	}
}

// A storm of reloads must not swallow the order to stop.
func TestSIGTERMAfterManySIGHUPs(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	for range 50 {
		b.proc.Signal(syscall.SIGHUP)
	}
	b.stop()
}

// A signal in the first moments is a signal.
func TestSignalsDuringTheStart(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.StartR2()
	before := b.R1.Snapshot6()
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
		b.start()
		time.Sleep(after) // where the start is then does not matter
		if !b.proc.WaitOutput(0, "") || !b.proc.Running() {
			t.Fatalf("the box ended by itself: %s", b.proc.Output())
		}
		if after > 0 { // before its first instruction the process is Go's runtime, which the signal ends
			b.proc.Signal(syscall.SIGHUP)
		}
		b.proc.Signal(syscall.SIGTERM)
		b.proc.WaitTimeout(soon)
		if diff := netlab.Diff(before, b.R1.Snapshot6()); diff != "" {
			t.Errorf("SIGTERM %v after the start leaves\n%s", after, diff)
		}
	}
}

// Two boxes with folders of their own would undo each other's work for ever.
func TestSecondBoxWithItsOwnFolders(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	text := strings.Replace(b.BoxConfig(), "[Interface]\n", "[Interface]\nName = oasis1\n", 1)
	b.R1.WriteFile(b.R1.Path("second.conf"), text, 0o600)
	_, err := b.R1.Try(b.bin, "run", "-c", b.R1.Path("second.conf"), "--state", b.R1.Path("state2"), "--run", b.R1.Path("run2"))
	if err == nil || !strings.Contains(err.Error(), "another oasis6 is running in this network namespace") {
		t.Errorf("second box: %v, want a refusal", err)
	}
	if !b.online(b.H1) {
		t.Errorf("the refused box harmed the first\n%s", b.text())
	}
}

// A host that takes the box's address makes the data plane refuse it; the LAN must still hear of a dead tunnel.
func TestDuplicateAddressThenDeadTunnel(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	own := b.lanAddress()
	b.H2.Addr("eth0", own+"/128")
	b.askAgain(own)
	b.waitSummary("degraded: ", "another node on the link uses it")
	b.CutTunnel()
	if !netlab.Poll(50*time.Second, func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) {
		t.Errorf("h1 still has its default route\n%s", b.text())
	}
}

// wg(8) can take the peer away behind the box's back; the status says so, and a reload mends it.
func TestPeerRemovedByWg(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	b.R1.Run("wg", "set", "oasis0", "peer", b.HubKey.Public().String(), "remove")
	b.waitSummaryFor(time.Minute, "down: ", "was removed from interface oasis0")
	b.proc.Signal(syscall.SIGHUP)
	b.waitOnline(b.H1)
}
