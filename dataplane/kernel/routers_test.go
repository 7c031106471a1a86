// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

const (
	testRouterAddr = "fe80::10"
	testRoutedHost = "2001:db8:ebbd:9910::1"
	routersLine    = "by another node"
)

// newShared is a site with h1 as the router of testRouted and h2 as a host, both on br-lan. The box has not heard h1 by its
// link-local address yet.
func newShared(t *testing.T) (w *world, h2 *netlab.Node) {
	t.Helper()
	w, _ = newSite(t)
	h2 = w.Node("h2")
	w.Wire(w.box, "eth3", h2, "eth0")
	w.box.Run("ip", "link", "set", "eth3", "master", "br-lan")
	h2.Run("ip", "-6", "address", "add", "2001:db8:ebbd:990a::20/64", "dev", "eth0", "nodad")
	h2.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:ebbd:990a::1")
	w.h1.Run("ip", "-6", "address", "add", testRouterAddr+"/64", "dev", "eth0", "nodad")
	w.h1.Run("ip", "-6", "address", "add", testRoutedHost+"/128", "dev", "lo", "nodad")
	w.far.Run("ip", "-6", "neigh", "replace", testRoutedHost, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	return w, h2
}

// heard makes the box resolve the router, and waits until the table has what it found.
func (w *world) heard(mac string) time.Duration {
	w.t.Helper()
	start := time.Now()
	w.box.WaitFor(5*time.Second, "the router's MAC in the table", func() bool {
		_, _ = w.box.Try("ping", "-c1", "-W1", testRouterAddr+"%br-lan")
		return strings.Contains(w.box.Run("nft", "list", "table", "ip6", tableName), testRouted+" . "+mac+" }")
	})
	return time.Since(start)
}

// rules is the table that the plane wants now.
func (w *world) rules() *ruleset {
	w.plane.mu.Lock()
	defer w.plane.mu.Unlock()
	return w.plane.ruleset()
}

// reach sends 10 packets with a source of the routed prefix, and says how many of them came to the far end.
func (w *world) reach(n *netlab.Node, seen *netlab.PacketWatch) int {
	w.t.Helper()
	src := netip.MustParseAddr(testRoutedHost)
	before := seen.From(netip.PrefixFrom(src, 128))
	inject(w.t, n, "eth0", w.mac("br-lan"), 10, func(int) []byte { return echo(src, netip.MustParseAddr(testFarAddr)) })
	got := 0 // all of them, or what has come within a second
	netlab.Poll(time.Second, func() bool {
		got = seen.From(netip.PrefixFrom(src, 128)) - before
		return got == 10
	})
	return got
}

// A delegated prefix is its router's alone, also among the nodes of one LAN; and a router that is replaced by one with
// another MAC is not cut off.
func TestRFC8987_ADelegationIsItsRoutersAlone(t *testing.T) {
	w, h2 := newShared(t)
	w.apply(w.site())
	w.lanReady()
	seen := w.far.WatchIPv6("oasis0")
	if got := w.reach(h2, seen); got != 10 {
		t.Errorf("unknown MAC: %d of 10 packets passed", got)
	}
	w.heard(w.h1.MAC("eth0").String())
	if got := w.reach(h2, seen); got != 0 {
		t.Errorf("another host of the LAN: %d of 10 packets passed", got)
	}
	if got := w.reach(w.h1, seen); got != 10 {
		t.Errorf("the router: %d of 10 packets passed", got)
	}
	before := w.counters(routersLine)
	src, us := netip.MustParseAddr(testRoutedHost), netip.MustParseAddr("2001:db8:ebbd:990a::1")
	inject(t, h2, "eth0", w.mac("br-lan"), 1, func(int) []byte { return echo(src, us) })
	w.box.WaitFor(5*time.Second, "a packet to the box counted", func() bool { return w.counters(routersLine) != before })

	const second = "00:00:5e:00:53:77"
	w.h1.Run("ip", "link", "set", "eth0", "address", second)
	begin := time.Now()
	w.h1.WaitFor(5*time.Second, "an answer to the router with another MAC", func() bool {
		_, err := w.h1.Try("ping", "-c1", "-W1", "-I", testRoutedHost, testFarAddr)
		_, _ = w.h1.Try("ping", "-c1", "-W1", testLinkLocalOf(w)+"%eth0")
		return err == nil
	})
	t.Logf("another MAC is known after %v", time.Since(begin).Round(time.Millisecond))
	w.heard(second)
	if got := w.reach(h2, seen); got != 0 {
		t.Errorf("another host, after the router's MAC has changed: %d of 10 packets passed", got)
	}
	w.quiet(300 * time.Millisecond)
	w.plane.Close() // kill -9: the successor knows the MAC from the start
	w.box.Run("nft", "delete", "table", "ip6", tableName)
	w.open()
	w.apply(w.site())
	if got := w.reach(h2, seen); got != 0 {
		t.Errorf("another host, after Apply with a MAC that the kernel knows: %d of 10 packets passed", got)
	}
	w.box.Run("ip", "-6", "neigh", "flush", "dev", "br-lan")
	w.apply(w.site())
	if got := w.reach(h2, seen); got != 0 {
		t.Errorf("another host, after the kernel has forgotten the router: %d of 10 packets passed", got)
	}
}

// testLinkLocalOf is the box's own link-local address on br-lan.
func testLinkLocalOf(w *world) string { return w.box.LinkLocals("br-lan")[0].String() }

// What a router sends back to us of its own prefix does not go to it again; other nodes of the LAN reach it by us.
func TestRFC8987_NoLoopWithTheRouter(t *testing.T) {
	w, h2 := newShared(t)
	w.h1.Sysctl("net.ipv6.conf.all.forwarding", "1")
	w.apply(w.site())
	w.lanReady()
	w.heard(w.h1.MAC("eth0").String())
	errs := w.far.Start("tcpdump", "-nli", "oasis0", "-Q", "in", "icmp6 and ip6[40] == 1 and ip6[41] == 6")
	at, far := w.h1.WatchIPv6("eth0"), netip.MustParseAddr(testFarAddr)
	inject(t, w.far, "oasis0", w.mac("oasis0"), 1, func(int) []byte {
		return echo(far, netip.MustParseAddr("2001:db8:ebbd:9915::99")) // where h1 has nothing
	})
	w.far.WaitFor(5*time.Second, "a packet at the router", func() bool { return at.From(netip.PrefixFrom(far, 128)) > 0 })
	time.Sleep(200 * time.Millisecond)
	if got := at.From(netip.PrefixFrom(far, 128)); got != 1 {
		t.Errorf("the packet came to the router %d times", got)
	}
	w.far.WaitFor(5*time.Second, "reject route to destination", func() bool {
		inject(t, w.far, "oasis0", w.mac("oasis0"), 1, func(int) []byte { return echo(far, netip.MustParseAddr("2001:db8:ebbd:9915::99")) })
		time.Sleep(200 * time.Millisecond)
		return strings.Contains(errs.Output(), testFarAddr+":")
	})
	h2.WaitFor(5*time.Second, "h2 to reach a host of the router by the box", func() bool {
		_, err := h2.Try("ping", "-c1", "-W1", testRoutedHost)
		return err == nil
	})
}

// A kernel before 5.6 refuses the set: the table is made without the check. After another error the check is back with the next
// table.
func TestTableWithoutConcatenatedRanges(t *testing.T) {
	w, _ := newShared(t)
	w.apply(w.site())
	w.lanReady()
	w.heard(w.h1.MAC("eth0").String())
	refusing := func(with error) func(*ruleset) (bool, error) {
		return func(rs *ruleset) (bool, error) {
			if len(rs.checked) > 0 {
				return false, fmt.Errorf("set %s: %w", setRouters, with)
			}
			return w.plane.nft.replace(rs)
		}
	}
	put := func(with error) error {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		return w.plane.putTable(refusing(with))
	}
	if err := put(unix.EBUSY); err != nil || w.counters(routersLine) != "" || w.counters("another's source") == "" {
		t.Errorf("EBUSY: %v, and the check is %q", err, w.counters(routersLine))
	}
	if w.apply(w.site()); w.counters(routersLine) == "" {
		t.Error("after one EBUSY the check does not come back")
	}
	for _, when := range []string{"at once", "later"} {
		if err := put(unix.EINVAL); err != nil || w.counters(routersLine) != "" || w.counters("another's source") == "" {
			t.Errorf("EINVAL, %s: %v, and the table is\n%s", when, err, w.box.Run("nft", "list", "table", "ip6", tableName))
		}
		w.apply(w.site())
		w.quiet(300 * time.Millisecond)
	}
	if w.counters(routersLine) != "" {
		t.Error("the set is tried again with each Apply")
	}
}

// Prefixes of one router inside each other, and more of them than one attribute holds, and than are checked.
func TestManyRoutersInTheTable(t *testing.T) {
	w := newWorld(t)
	w.open()
	d := w.site()
	w.box.Run("ip", "-6", "neigh", "replace", testRouterAddr, "lladdr", "00:00:5e:00:53:10", "dev", "br-lan")
	w.box.Run("ip", "-6", "neigh", "replace", "fe80::11", "lladdr", "00:00:5e:00:53:11", "dev", "br-lan")
	add := func(prefix, via string) {
		p := netip.MustParsePrefix(prefix)
		d.Firewall.Sources[0].Routed = append(d.Firewall.Sources[0].Routed, p)
		d.Routes = append(d.Routes, dataplane.Route{Dst: p, Via: netip.MustParseAddr(via), Iface: "br-lan"})
	}
	add("2001:db8:ebbd:9914::/62", testRouterAddr) // in testRouted
	add("2001:db8:ebbd:9918::/62", "fe80::11")     // of another one
	for i := range 2 * seenBatch {
		add(fmt.Sprintf("2001:db8:ebbe:%x::/64", 2*i), "fe80::11")
	}
	w.apply(d)
	if n := len(w.rules().checked); n != maxChecked {
		t.Errorf("%d prefixes in the table, want %d", n, maxChecked)
	}
	w.plane.mu.Lock()
	if !w.plane.crowded {
		t.Error("nobody is told that some are not checked")
	}
	state, err := w.plane.nft.read(w.plane.rules)
	w.plane.mu.Unlock()
	if err != nil || state.sum != w.plane.rules.sum {
		t.Errorf("the table reads as %+v, %v", state, err)
	}
	w.box.Run("nft", "add element ip6 oasis6 routers { 2001:db8:ebbd:9910::/60 . 00:00:5e:00:53:66 }")
	w.drift(driftWithin, "table ip6 oasis6")
}
