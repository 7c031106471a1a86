// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

const (
	testDelegation = "2001:db8:ebbd:990a::/64"
	testBoxAddr    = "2001:db8:ebbd:990a::1/64"
	testHostAddr   = "2001:db8:ebbd:990a::10"
	testFarAddr    = "2001:db8:ffff::1"
)

// world is a box with a LAN bridge (host h1), a tunnel (the far end is a veth's other end, which is
// all that the kernel sees of a tunnel) and a WAN.
type world struct {
	*netlab.Lab
	t                  *testing.T
	box, h1, far, wan  *netlab.Node
	runDir             string
	plane              *Plane
	events             chan dataplane.Event // all that the planes of this world said
	before, beforeIPv4 string
	clock              func() time.Time // of the planes to come; nil: the true one
	recheck            time.Duration    // of the planes to come; 0: as in the field
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	netlab.Need(t, "ip", "nft", "ping")
	l := netlab.New(t)
	w := &world{Lab: l, t: t, events: make(chan dataplane.Event, 4096)}
	w.box, w.h1, w.far, w.wan = l.Node("box"), l.Node("h1"), l.Node("far"), l.Node("wan")
	l.Wire(w.box, "eth1", w.h1, "eth0")
	l.Wire(w.box, "eth0", w.wan, "eth0")
	w.box.Run("ip", "link", "add", "br-lan", "type", "bridge")
	w.box.Run("ip", "link", "set", "eth1", "master", "br-lan")
	w.box.Run("ip", "link", "set", "br-lan", "up")
	w.box.Run("ip", "-4", "address", "add", "192.0.2.2/24", "dev", "eth0")
	w.box.Run("ip", "-4", "route", "add", "default", "via", "192.0.2.1")
	w.box.Run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname eth0 masquerade")
	w.box.Run("nft", "add table inet other; add chain inet other fw1 { type filter hook forward priority 5; }; add rule inet other fw1 ip daddr 192.0.2.99 drop")
	w.runDir = t.TempDir()
	w.before, w.beforeIPv4 = w.sysctls(), w.ipv4()
	l.Wire(w.box, "oasis0", w.far, "oasis0")
	w.box.Run("ip", "link", "set", "oasis0", "down")
	w.far.Run("ip", "-6", "address", "add", testFarAddr+"/128", "dev", "lo")
	w.far.Run("ip", "-6", "address", "add", "fe80::2/64", "dev", "oasis0", "nodad")
	w.far.Run("ip", "-6", "route", "add", "2001:db8:ebbd::/48", "dev", "oasis0")
	w.far.Run("ip", "-6", "neigh", "replace", testHostAddr, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.h1.Run("ip", "-6", "address", "add", testHostAddr+"/64", "dev", "eth0", "nodad")
	w.h1.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:ebbd:990a::1")
	return w
}

func (w *world) mac(iface string) string {
	return strings.TrimSpace(w.box.Run("cat", "/sys/class/net/"+iface+"/address"))
}

// sysctls is every net.ipv6.conf of the box but of the interfaces that go with us.
func (w *world) sysctls() string {
	out := w.box.Run("sh", "-c", "cd /proc/sys/net/ipv6/conf; for f in */*; do case $f in oasis0/*|*/stable_secret) continue;; esac; echo $f = $(cat $f); done")
	return out
}

func (w *world) ipv4() string {
	return w.box.Run("sh", "-c", `ip -4 address; ip -4 route show table all; ip -4 rule; nft list ruleset ip; nft list ruleset inet; nft list ruleset arp
cd /proc/sys/net/ipv4; for f in conf/*/* ip_forward; do case $f in conf/oasis0/*) continue;; esac; echo $f = $(cat $f); done`)
}

// open starts a plane in the box, as a process would.
func (w *world) open() *Plane {
	w.t.Helper()
	var p *Plane
	err := w.box.Do(func() (err error) {
		log := slog.New(slog.NewTextHandler(testWriter{w.t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		// A program that another test starts holds a copy of each descriptor of this process between fork and exec, so
		// that what a predecessor has closed is in use for some more microseconds.
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			p, err = Open(Options{RunDir: w.runDir, BootID: "boot-1", Log: log, recheck: w.recheck, now: w.clock})
			if !errors.Is(err, ErrInUse) || time.Now().After(end) {
				return err
			}
		}
	})
	if err != nil {
		w.t.Fatalf("Open: %v", err)
	}
	go func() {
		for ev := range p.Events() {
			w.events <- ev
		}
	}()
	w.t.Cleanup(func() { _ = p.Close() })
	w.plane = p
	return p
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (w *world) desired() dataplane.Desired {
	d := netip.MustParsePrefix(testDelegation)
	return dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		LANs:   []string{"br-lan"},
		Addresses: []dataplane.Address{
			{Iface: "oasis0", Prefix: netip.MustParsePrefix("fe80::1/64"), NoDAD: true},
			{Iface: "br-lan", Prefix: netip.MustParsePrefix(testBoxAddr), NoDAD: true},
		},
		Routes: []dataplane.Route{
			{Kind: dataplane.Unreachable, Dst: d},
			{Dst: netip.MustParsePrefix("::/0"), From: d, Iface: "oasis0"},
			{Dst: netip.MustParsePrefix("::/0"), Iface: "oasis0", Metric: 4096, IfNoOther: true},
		},
		Forward: true,
		Firewall: dataplane.Firewall{
			Tunnel: "oasis0", LANs: []string{"br-lan"}, Delegations: []netip.Prefix{d},
		},
	}
}

func (w *world) apply(d dataplane.Desired) {
	w.t.Helper()
	if err := w.plane.Apply(context.Background(), d); err != nil {
		w.t.Fatalf("Apply: %v", err)
	}
	w.neighbours()
}

// neighbours says who is where on the far side: our stand-in for a tunnel is an Ethernet, the real one is not.
func (w *world) neighbours() {
	if mac, err := w.far.Try("cat", "/sys/class/net/oasis0/address"); err == nil {
		w.box.Run("ip", "-6", "neigh", "replace", testFarAddr, "lladdr", strings.TrimSpace(mac), "dev", "oasis0")
	}
}

// restore stops for good, as `oasis6 run` on SIGTERM: the tunnel goes with it.
func (w *world) restore() {
	w.t.Helper()
	if err := w.plane.Restore(context.Background()); err != nil {
		w.t.Fatalf("Restore: %v", err)
	}
	w.plane.Close()
}

// drift waits for a Drift whose text contains what.
func (w *world) drift(within time.Duration, what string) time.Duration {
	w.t.Helper()
	start := time.Now()
	after := time.After(within)
	for {
		select {
		case ev := <-w.events:
			if d, ok := ev.(dataplane.Drift); ok && strings.Contains(d.What, what) {
				return time.Since(start)
			}
		case <-after:
			w.t.Fatalf("no Drift with %q within %v", what, within)
		}
	}
}

// quiet fails if a Drift comes within the time.
func (w *world) quiet(d time.Duration) {
	w.t.Helper()
	after := time.After(d)
	for {
		select {
		case ev := <-w.events:
			if d, ok := ev.(dataplane.Drift); ok {
				w.t.Fatalf("Drift without reason: %q", d.What)
			}
		case <-after:
			return
		}
	}
}

// link waits for a LinkChanged of the interface for which ok holds.
func (w *world) link(name string, ok func(dataplane.Link) bool) dataplane.Link {
	w.t.Helper()
	after := time.After(5 * time.Second)
	for {
		select {
		case ev := <-w.events:
			if l, is := ev.(dataplane.LinkChanged); is && l.Link.Name == name && ok(l.Link) {
				return l.Link
			}
		case <-after:
			w.t.Fatalf("no such LinkChanged of %s within 5s", name)
		}
	}
}

// lanReady waits until the kernel is through with what it does by itself on a new bridge.
func (w *world) lanReady() {
	w.t.Helper()
	w.link("br-lan", func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() })
	w.quiet(300 * time.Millisecond)
}

// lanUp waits until sockets can be opened on the LAN.
func (w *world) lanUp() {
	w.t.Helper()
	if err := w.plane.Watch([]string{"br-lan"}); err != nil {
		w.t.Fatal(err)
	}
	w.link("br-lan", func(l dataplane.Link) bool { return l.Up && l.LinkLocal.IsValid() })
}

func (w *world) mustBe(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s is not as before:\n%s", what, lineDiff(want, got))
	}
}

// lineDiff shows the lines of which the other text has none.
func lineDiff(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	in := func(l string, ls []string) bool {
		for _, x := range ls {
			if x == l {
				return true
			}
		}
		return false
	}
	for _, l := range w {
		if !in(l, g) {
			b.WriteString("-" + l + "\n")
		}
	}
	for _, l := range g {
		if !in(l, w) {
			b.WriteString("+" + l + "\n")
		}
	}
	return b.String()
}

func (w *world) memoryFile() memoryFile {
	w.t.Helper()
	var f memoryFile
	b, err := os.ReadFile(w.runDir + "/kernel.json")
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		w.t.Fatalf("kernel.json: %v", err)
	}
	return f
}
