// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

// many is the hub with n leases more, beyond those of its two sites.
func (w *hubWorld) many(n int) dataplane.Desired {
	d := w.hub()
	d.Hub.Pools = append(d.Hub.Pools, netip.MustParsePrefix("2001:db8::/40"))
	for i := range n {
		d.Routes = append(d.Routes, dataplane.Route{Dst: lease(i), Via: netip.MustParseAddr("fe80::2"), Iface: "oasis0", Metric: 128})
	}
	return d
}

// kernelRoutes are our routes, sorted, as the kernel has them.
func (w *hubWorld) kernelRoutes() []string {
	return slices.Sorted(strings.Lines(w.box.Run("ip", "-6", "route", "show", "proto", "66")))
}

func (w *hubWorld) mustHold(d dataplane.Desired) {
	w.t.Helper()
	want := []string{"fe80::/64 dev oasis0 metric 256 pref medium\n"}
	for _, r := range d.Routes {
		line := strings.TrimPrefix(r.String(), "route ")
		if r.Kind == dataplane.Unreachable {
			line += fmt.Sprint(" dev lo metric ", metricUnreachable)
		}
		want = append(want, line+" pref medium\n")
	}
	slices.Sort(want)
	if got := w.kernelRoutes(); !slices.Equal(got, want) {
		w.t.Errorf("routes:\n%s", lineDiff(strings.Join(want, ""), strings.Join(got, "")))
	}
}

func (w *hubWorld) signs() uint64 {
	w.plane.watch.mu.Lock()
	defer w.plane.watch.mu.Unlock()
	return w.plane.watch.signs
}

// checked waits until the kernel has looked for duplicates of all its own addresses: their end is news of its own.
func (w *hubWorld) checked() {
	w.t.Helper()
	var left string
	if !netlab.Poll(10*time.Second, func() bool {
		left = w.box.Run("ip", "-6", "address", "show", "tentative")
		return left == ""
	}) {
		w.t.Fatalf("still tentative:\n%s", left)
	}
}

// Leases come and go: only the routes are changed, nothing is read again, and our own news is none.
func TestHubChangesOnlyRoutes(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	d := w.many(400)
	w.apply(d)
	w.mustHold(d)
	w.checked()
	w.quiet(300 * time.Millisecond)
	w.apply(d) // reads
	signs, read := w.signs(), w.plane.last.read
	next := 400
	for range 30 {
		for range 1 + rand.IntN(200) {
			if i := rand.IntN(len(d.Routes)); d.Routes[i].Via.IsValid() {
				d.Routes[i].Dst = lease(next)
				next++
			}
		}
		w.apply(d)
	}
	w.mustHold(d)
	d.Routes = d.Routes[:3]
	w.apply(d)
	w.mustHold(d)
	w.quiet(200 * time.Millisecond)
	if got := w.signs(); got != signs {
		t.Errorf("%d signs of others' changes, want none", got-signs)
	}
	if !w.plane.kept.holds || w.plane.last.read != read {
		t.Error("the kernel was read again")
	}
	before := w.kernelRoutes()
	w.plane.Close() // a successor has to read
	w.open()
	w.apply(d)
	if got := w.kernelRoutes(); !slices.Equal(got, before) {
		t.Errorf("a successor changed routes:\n%s", lineDiff(strings.Join(before, ""), strings.Join(got, "")))
	}
}

// Whatever the two lists are, what is gone and what has come makes the one of the other, and nothing is both.
func TestDifferencesOfRoutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.IntRange(0, 12), 0, 20)
		routes := func(name string) (out []dataplane.Route) {
			for _, i := range list.Draw(t, name) {
				out = append(out, dataplane.Route{Dst: lease(i), Iface: "oasis0"})
			}
			return out
		}
		old, now := routes("old"), routes("now")
		gone, come := differences(old, now)
		count := map[dataplane.Route]int{}
		for _, r := range old {
			count[r]++
		}
		for _, r := range gone {
			if count[r]--; slices.Contains(come, r) {
				t.Fatalf("%s is gone and has come", r)
			}
		}
		for _, r := range come {
			count[r]++
		}
		for _, r := range now {
			count[r]--
		}
		for r, n := range count {
			if n != 0 {
				t.Fatalf("%d of %s left: of %v to %v gone %v, come %v", n, r, old, now, gone, come)
			}
		}
	})
	var old, now []dataplane.Route // in one order, with some of them others: it is seen at a glance
	for i := range 1000 {
		old = append(old, dataplane.Route{Dst: lease(i)})
		switch {
		case i%100 == 7:
			now = append(now, dataplane.Route{Dst: lease(i + 5000)})
		case i%100 == 20:
		case i%100 == 50:
			now = append(now, dataplane.Route{Dst: lease(i + 6000)}, old[i])
		default:
			now = append(now, old[i])
		}
	}
	if gone, come := differences(old, now); len(gone) != 20 || len(come) != 20 {
		t.Errorf("%d gone, %d have come", len(gone), len(come))
	}
}

// What others change is not forgotten for what is kept.
func TestHubReadsAgainAfterOthersChanges(t *testing.T) {
	w := newHubWorld(t)
	at := time.Now()
	w.clock = func() time.Time { return at }
	w.open()
	d := w.many(300)
	w.apply(d)
	w.quiet(300 * time.Millisecond)
	w.apply(d)
	w.box.Run("ip", "-6", "route", "flush", "proto", "66")
	if took := w.drift(driftWithin, "route"); took > time.Second {
		t.Errorf("a flush was seen after %v", took)
	}
	w.apply(d)
	w.mustHold(d)
	w.quiet(200 * time.Millisecond)
	// A change without a sign: it is seen when what is kept is old.
	w.apply(d)
	w.box.Sysctl("net.ipv6.conf.oasis0.accept_ra", "1")
	at = at.Add(keptFor)
	w.apply(d)
	if got := w.box.SysctlGet("net.ipv6.conf.oasis0.accept_ra"); got != "0" {
		t.Errorf("accept_ra = %s after %v, want 0", got, keptFor)
	}
	w.quiet(200 * time.Millisecond)
	// Other pools are more than routes.
	w.apply(d)
	d.Hub.Pools[1] = netip.MustParsePrefix("2001:db8::/32")
	w.apply(d)
	if got := w.box.Run("nft", "list", "set", "ip6", tableName, "pools"); !strings.Contains(got, "2001:db8::/32") {
		t.Errorf("the new pool is not in the table: %s", got)
	}
}

// One route among many that the kernel refuses is named, and the others are made.
func TestHubNamesTheRouteThatIsRefused(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	d := w.many(300)
	good := slices.Clone(d.Routes)
	const bad = 150
	d.Routes[bad].Via = netip.MustParseAddr("fe80::1") // our own address
	// And one that is there already, another program's.
	w.box.Run("ip", "link", "set", "oasis0", "up")
	w.box.Run("ip", "-6", "route", "add", d.Routes[10].Dst.String(), "via", "fe80::2", "dev", "oasis0", "metric", "128")
	err := w.plane.Apply(t.Context(), d)
	if err == nil || strings.Count(err.Error(), "route add") != 1 || !strings.Contains(err.Error(), d.Routes[bad].Dst.String()) {
		t.Fatalf("Apply = %v, want one error, with %s", err, d.Routes[bad].Dst)
	}
	if got := len(w.kernelRoutes()); got != len(d.Routes)-2 {
		t.Errorf("%d routes of ours, want %d", got, len(d.Routes)-2)
	}
	w.quiet(300 * time.Millisecond) // what failed is not drift
	d.Routes = good
	w.apply(d)
	if got := len(w.kernelRoutes()); got != len(d.Routes)-1 {
		t.Errorf("%d routes of ours, want %d", got, len(d.Routes)-1)
	}
}

// The kernel makes a neighbor of each destination behind a tunnel, and its table is finite; of a next hop it makes one.
func TestHubRoutesByANextHopNeedOneNeighbor(t *testing.T) {
	w := newHubWorld(t)
	w.box.Run("ip", "link", "del", "oasis0")
	w.box.Run("ip", "tuntap", "add", "oasis0", "mode", "tun")
	w.open()
	const hosts = 200
	count := func() int {
		return strings.Count(w.box.Run("ip", "-6", "neigh", "show", "dev", "oasis0", "nud", "all"), "lladdr")
	}
	forwarded := func() int {
		n := 0
		for line := range strings.Lines(w.box.Run("cat", "/proc/net/snmp6")) {
			if f := strings.Fields(line); f[0] == "Ip6OutForwDatagrams" {
				n, _ = strconv.Atoi(f[1])
			}
		}
		return n
	}
	flood := func() {
		src, a := netip.MustParseAddr(testFarAddr), netip.MustParseAddr(testHostA).As16()
		before := forwarded()
		inject(t, w.isp, "eth0", w.mac("eth0"), hosts, func(i int) []byte {
			a[15] = byte(i)
			return echo(src, netip.AddrFrom16(a))
		})
		w.box.WaitFor(10*time.Second, "the flood is forwarded", func() bool { return forwarded() >= before+hosts })
	}
	d := w.hub()
	w.apply(d)
	// Other tests share the kernel's table, and fill it for a while.
	w.box.WaitFor(40*time.Second, "a neighbor for each host without a next hop (else the next hop is needed no more)", func() bool {
		flood()
		return count() >= hosts/2
	})
	w.box.Run("ip", "-6", "neigh", "flush", "dev", "oasis0", "nud", "noarp")
	d.Routes[0].Via = netip.MustParseAddr("fe80::2")
	w.apply(d)
	before := count()
	flood()
	if got := count() - before; got > 5 { // the kernel's own multicasts make some, too
		t.Errorf("%d neighbors by a next hop, %d hosts", got, hosts)
	}
}

// To a destination on the link of where a packet came from the kernel answers with a Redirect, which makes no sense in a tunnel.
// To one by a next hop it does not.
func TestHubRoutesByANextHopSendNoRedirects(t *testing.T) {
	w := newHubWorld(t)
	w.open()
	d := w.hub()
	d.Hub.SiteToSite = true
	w.apply(d)
	seen := w.a.Start("tcpdump", "-nli", "eth0", "icmp6")
	redirects := func() int { return strings.Count(seen.Output(), "ICMP6, redirect") }
	w.a.WaitFor(6*time.Second, "a redirect without a next hop", func() bool {
		_ = pings(w.a, testHostA, testHostB)
		return redirects() > 0
	})
	w.a.Addr("eth0", "fe80::a/64")
	w.b.Addr("eth0", "fe80::b/64")
	d.Routes[0].Via, d.Routes[1].Via = netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b")
	w.apply(d)
	w.reaches(w.a, testHostA, testHostB)
	time.Sleep(1200 * time.Millisecond) // the kernel sends one in a second
	before := redirects()
	for range 3 {
		w.reaches(w.a, testHostA, testHostB)
	}
	w.a.WaitFor(5*time.Second, "the answers seen", func() bool { return strings.Count(seen.Output(), "echo reply") >= 4 })
	if got := redirects() - before; got != 0 {
		t.Errorf("%d redirects by a next hop", got)
	}
}
