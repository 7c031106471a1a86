// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

// driftWithin is generous: the event itself is asked for within 100 ms, the rest is a busy test machine.
const driftWithin = 3 * time.Second

func TestDriftIsSeenAndCured(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	good := w.state()
	for _, c := range []struct {
		name, drift string
		do          []string
	}{
		{"routes flushed", "route", []string{"ip", "-6", "route", "flush", "table", "main"}},
		{"our routes flushed", "route", []string{"ip", "-6", "route", "flush", "proto", "66"}},
		{"ruleset flushed", "table ip6 oasis6 missing", []string{"nft", "flush", "ruleset"}},
		{"rules flushed", "table ip6 oasis6 changed", []string{"nft", "flush", "table", "ip6", "oasis6"}},
		{"rule added", "table ip6 oasis6 changed", []string{"nft", "insert", "rule", "ip6", "oasis6", "forward", "accept"}},
		{"set emptied", "table ip6 oasis6 changed", []string{"nft", "flush", "set", "ip6", "oasis6", "lans"}},
		{"table dormant", "table ip6 oasis6 changed", []string{"nft", "add table ip6 oasis6 { flags dormant; }"}},
		{"address deleted", "address " + testBoxAddr, []string{"ip", "-6", "address", "del", testBoxAddr, "dev", "br-lan"}},
		{"forwarding off", "all.forwarding is 0", []string{"sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"}},
		{"LAN forwarding off", "br-lan.forwarding is 0", []string{"sysctl", "-qw", "net.ipv6.conf.br-lan.forwarding=0"}},
		{"tunnel down", "oasis0", []string{"ip", "link", "set", "oasis0", "down"}},
		{"tunnel MTU", "oasis0", []string{"ip", "link", "set", "oasis0", "mtu", "1300"}},
		{"LAN down and up", "address " + testBoxAddr, []string{"sh", "-c", "ip link set br-lan down; ip link set br-lan up"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			w.peace() // each case stands alone
			w.box.Run(c.do...)
			t.Logf("seen after %v", w.drift(driftWithin, c.drift))
			w.apply(w.desired())
			if !netlab.Poll(5*time.Second, func() bool { return w.state() == good }) {
				w.mustBe("state", w.state(), good)
			}
			w.quiet(150 * time.Millisecond)
		})
	}
	w.t = t
	w.pingFromH1(testFarAddr)
}

// peace lets a quiet minute pass.
func (w *world) peace() {
	w.plane.watch.mu.Lock()
	defer w.plane.watch.mu.Unlock()
	w.plane.watch.pace = pace{}
}

// state is all of ours, without counters.
func (w *world) state() string {
	return w.box.Run("sh", "-c", `ip -6 route show proto 66 | grep -v "^fe80::/64 dev br-lan"; ip -6 -o address show scope global noprefixroute 2>&1 | grep -o "[0-9]*: .*/64"; ip -6 -o address show dev oasis0 | grep -o "fe80.*/64"; nft -s list table ip6 oasis6; ip -o link show oasis0 | grep -o 'mtu [0-9]*';
cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/br-lan/forwarding; ip -6 route show fe80::/64 dev br-lan | wc -l`)
}

func TestEqualApplyWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	mon := w.box.Start("ip", "monitor", "link", "address", "route", "netconf")
	nft := w.box.Start("nft", "monitor")
	// Both are listening when they have seen something of others.
	w.box.WaitFor(3*time.Second, "monitors ready", func() bool {
		w.box.Run("ip", "-6", "route", "replace", "blackhole", "2001:db8:aaaa::/64", "proto", "static")
		w.box.Run("nft", "add table ip6 probe; delete table ip6 probe")
		return mon.Output() != "" && nft.Output() != ""
	})
	for range 3 {
		w.apply(w.desired())
	}
	w.quiet(200 * time.Millisecond)
	if out := mon.Output(); strings.Contains(out, "proto 66") || strings.Contains(out, "oasis0") || strings.Contains(out, "br-lan") {
		t.Errorf("an equal Apply changed something:\n%s", out)
	}
	if out := nft.Output(); strings.Contains(out, tableName) {
		t.Errorf("an equal Apply changed the table:\n%s", out)
	}
}

// A successor takes over: the LAN never loses its address or route for a moment.
func TestSuccessorTakesOverWithoutAGap(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	before := w.state()
	mon := w.box.Start("ip", "monitor", "address", "route")
	nft := w.box.Start("nft", "monitor")
	w.box.WaitFor(3*time.Second, "monitors ready", func() bool {
		w.box.Run("ip", "-6", "route", "replace", "blackhole", "2001:db8:aaaa::/64", "proto", "static")
		w.box.Run("nft", "add table ip6 probe; delete table ip6 probe")
		return mon.Output() != "" && nft.Output() != ""
	})
	w.plane.Close() // SIGUSR2 and kill -9 are alike for the kernel
	w.open()
	w.apply(w.desired())
	w.quiet(200 * time.Millisecond)
	w.mustBe("state", w.state(), before)
	for _, out := range []string{mon.Output(), nft.Output()} {
		for _, l := range strings.Split(out, "\n") {
			if strings.Contains(strings.ToLower(l), "delete") && !strings.Contains(l, "probe") && !strings.Contains(l, "lladdr") {
				t.Errorf("taking over deleted: %s", l)
			}
		}
	}
	w.restore()
	w.box.Run("ip", "link", "del", "oasis0")
	w.box.Run("ip", "-6", "route", "del", "blackhole", "2001:db8:aaaa::/64")
	w.mustBe("net.ipv6.conf", w.sysctls(), w.before)
}

// start → kill -9 → start → SIGTERM: as before the first start, also where the second run wants less.
func TestLeftoversOfAKillAreSwept(t *testing.T) {
	w := newWorld(t)
	w.box.Sysctl("net.ipv6.conf.eth0.accept_ra", "0") // odd values must come back too
	w.box.Sysctl("net.ipv6.conf.eth1.forwarding", "1")
	w.before = w.sysctls()
	w.open()
	w.apply(w.desired())
	w.plane.Close()
	w.box.Run("ip", "link", "del", "oasis0") // a killed process takes its tunnel along
	if f := w.memoryFile(); f.BootID != "boot-1" || len(f.Sysctls) == 0 {
		t.Errorf("kernel.json after a kill: %+v", f)
	}
	w.open()
	w.apply(dataplane.Desired{Forward: true}) // no prefix yet, LAN gone from the configuration
	if got := w.box.Run("ip", "-6", "route", "show", "proto", "66"); got != "" {
		t.Errorf("leftovers not swept: %s", got)
	}
	if got := w.box.Run("nft", "list", "tables", "ip6"); got != "" {
		t.Errorf("leftovers not swept: %s", got)
	}
	if got := w.box.Run("ip", "-6", "address", "show", "scope", "global"); got != "" {
		t.Errorf("leftovers not swept: %s", got)
	}
	w.restore()
	w.mustBe("net.ipv6.conf", w.sysctls(), w.before)
	w.mustBe("IPv4", w.ipv4(), w.beforeIPv4)
	if _, err := os.Stat(w.runDir + "/kernel.json"); !os.IsNotExist(err) {
		t.Errorf("kernel.json after Restore: %v", err)
	}
}

func TestForeignDefaultKeepsAndOursYields(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.box.Run("ip", "-6", "route", "add", "default", "dev", "eth0", "metric", "9999")
	w.apply(w.desired())
	plain := func() string { return w.box.Run("ip", "-6", "route", "show", "default") }
	if got := plain(); strings.Contains(got, "default dev oasis0") || !strings.Contains(got, "default dev eth0 metric 9999") {
		t.Errorf("beside a foreign default: %s", got)
	}
	w.box.Run("ip", "-6", "route", "del", "default", "dev", "eth0", "metric", "9999")
	w.drift(driftWithin, "route default dev oasis0 metric 4096 missing")
	w.apply(w.desired())
	if got := plain(); !strings.Contains(got, "default dev oasis0") {
		t.Errorf("without a foreign default: %s", got)
	}
	w.box.Run("ip", "-6", "route", "add", "default", "dev", "eth0", "metric", "9999")
	w.drift(driftWithin, "another default route appeared")
	w.apply(w.desired())
	if got := plain(); strings.Contains(got, "default dev oasis0") {
		t.Errorf("beside a foreign default: %s", got)
	}
	w.quiet(150 * time.Millisecond)
	w.restore()
	if got := plain(); !strings.Contains(got, "default dev eth0 metric 9999") {
		t.Errorf("the foreign default is gone: %s", got)
	}
}

// WPD-5: while the LAN is down its /64 must not loop back up the tunnel.
func TestRFC7084_WPD5_UnassignedNeverLoops(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	get := func() string {
		out, _ := w.box.Try("ip", "-6", "route", "get", testHostAddr, "from", "2001:db8:ebbd:990a::99", "iif", "oasis0")
		return out
	}
	if got := get(); !strings.Contains(got, "dev br-lan") {
		t.Errorf("LAN up: %s", got)
	}
	w.box.Run("ip", "link", "set", "br-lan", "down")
	if got := get(); strings.Contains(got, "dev oasis0") && !strings.Contains(got, "unreachable") {
		t.Errorf("LAN down: packets to it would go back: %s", got)
	}
	if got := w.box.Run("ip", "-6", "route", "show", testDelegation); !strings.Contains(got, "unreachable") {
		t.Errorf("LAN down: %s", got)
	}
}

func TestMissingLANIsNoErrorAndComesLater(t *testing.T) {
	w := newWorld(t)
	w.box.Run("ip", "link", "del", "br-lan")
	w.open()
	if err := w.plane.Watch([]string{"br-lan"}); err != nil {
		t.Fatal(err)
	}
	w.link("br-lan", func(l dataplane.Link) bool { return !l.Exists })
	w.apply(w.desired())
	w.box.Run("ip", "link", "add", "br-lan", "type", "bridge")
	w.box.Run("ip", "link", "set", "br-lan", "up")
	w.drift(driftWithin, "br-lan")
	w.apply(w.desired())
	for name, want := range map[string]string{"accept_ra": "0", "forwarding": "1", "autoconf": "0"} {
		if got := w.box.SysctlGet("net.ipv6.conf.br-lan." + name); got != want {
			t.Errorf("late LAN: %s = %s, want %s", name, got, want)
		}
	}
	w.box.Run("ip", "link", "set", "eth1", "master", "br-lan")
	l := w.link("br-lan", func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() })
	if !l.Bridge || !l.HasMAC || l.Index == 0 || l.MTU != 1500 {
		t.Errorf("late LAN: %+v", l)
	}
	w.pingFromH1("2001:db8:ebbd:990a::1")
	w.restore()
	w.box.Run("ip", "link", "del", "oasis0")
	// A bridge that came while forwarding was on has the values it would have had without us.
	for name, want := range map[string]string{"accept_ra": "1", "forwarding": "0", "autoconf": "1", "accept_redirects": "1"} {
		if got := w.box.SysctlGet("net.ipv6.conf.br-lan." + name); got != want {
			t.Errorf("late LAN after Restore: %s = %s, want %s", name, got, want)
		}
	}
}

func TestPortUpAndLinkLocal(t *testing.T) {
	w := newWorld(t)
	w.open()
	if err := w.plane.Watch([]string{"br-lan", "eth1"}); err != nil {
		t.Fatal(err)
	}
	w.link("br-lan", func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() })
	w.Cut(w.h1, "eth0")
	w.link("br-lan", func(l dataplane.Link) bool { return !l.Up })
	w.Heal(w.h1, "eth0")
	after := time.After(3 * time.Second)
	for {
		select {
		case ev := <-w.events:
			if p, ok := ev.(dataplane.PortUp); ok {
				if p.Iface != "br-lan" {
					t.Errorf("PortUp of %q", p.Iface)
				}
				return
			}
		case <-after:
			t.Fatal("no PortUp within 3s")
		}
	}
}

// Two networks behind one box: what it does for us must not take the WAN's own default from it.
func TestWANKeepsItsRARoute(t *testing.T) {
	w := newWorld(t)
	w.wan.Sysctl("net.ipv6.conf.all.forwarding", "1")
	w.wan.WriteFile("/run/radvd.conf", `interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvDefaultLifetime 9000;
 prefix 2001:db8:1::/64 { }; };`, 0o600)
	w.wan.Run("ip", "-6", "address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
	w.wan.Start("radvd", "-n", "-C", "/run/radvd.conf", "-p", "/run/radvd.pid", "-m", "stderr")
	ra := func() bool {
		return strings.Contains(w.box.Run("ip", "-6", "route", "show", "default", "proto", "ra"), "dev eth0")
	}
	w.box.WaitFor(10*time.Second, "default route by RA", ra)
	mon := w.box.Start("ip", "-6", "monitor", "route")
	w.open()
	w.apply(w.desired())
	if !ra() || strings.Contains(w.box.Run("ip", "-6", "route", "show", "default"), "default dev oasis0") {
		t.Errorf("with forwarding on: %s", w.box.Run("ip", "-6", "route"))
	}
	w.box.WaitFor(5*time.Second, "answer over the WAN", func() bool {
		_, err := w.box.Try("ping", "-c1", "-W1", "2001:db8:1::1")
		return err == nil
	})
	w.box.Run("ip", "-6", "route", "del", "default", "proto", "ra")
	w.box.WaitFor(10*time.Second, "default route by RA while forwarding", ra)
	w.restore()
	if !ra() {
		t.Error("with forwarding off again: RA route lost")
	}
	if n := len(regexp.MustCompile(`(?m)^Deleted default .*proto ra`).FindAllString(mon.Output(), -1)); n != 1 {
		t.Errorf("the default route by RA was deleted %d times, want 1, by this test", n)
	}
	w.box.Run("ip", "link", "del", "oasis0")
	w.mustBe("net.ipv6.conf", w.sysctls(), w.before)
}

func TestDamagedAndForeignMemory(t *testing.T) {
	w := newWorld(t)
	path := w.runDir + "/kernel.json"
	for name, text := range map[string]string{
		"damaged":    `{"boot_id": "boot-1", "sysctls_before": [`,
		"other file": `{"boot_id":"boot-1","sysctls_before":[{"ifindex":-1,"sysctl":"../../../kernel/panic","value":"1"}]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.open()
		if got, err := os.ReadFile(path + ".bad"); err != nil || string(got) != text {
			t.Errorf("%s: not set aside: %v", name, err)
		}
		w.plane.Close()
	}
	w.open()
	w.apply(w.desired())
	w.plane.Close()
	p, err := Open(Options{RunDir: w.runDir, BootID: "boot-1"}) // another network namespace
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(p.memory.conf) != 0 {
		t.Errorf("memory of another namespace was taken: %v", p.memory)
	}
}

func TestApplyNamesWhatFailed(t *testing.T) {
	w := newWorld(t)
	w.open()
	d := w.desired()
	d.Addresses = append(d.Addresses, dataplane.Address{Iface: "br-lan", Prefix: netip.MustParsePrefix("ff02::5/64")})
	err := w.plane.Apply(context.Background(), d)
	if err == nil || !strings.Contains(err.Error(), "address put ff02::5/64 dev br-lan") {
		t.Errorf("Apply with a multicast address = %v", err)
	}
	if got := w.box.Run("ip", "-6", "address", "show", "dev", "br-lan"); !strings.Contains(got, testBoxAddr) {
		t.Errorf("the rest was not done: %s", got)
	}
	w.quiet(200 * time.Millisecond) // what failed is not drift
}
