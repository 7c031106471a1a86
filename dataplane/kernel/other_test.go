// SPDX-License-Identifier: MIT

package kernel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
)

func TestIfNoOtherLooksAtWhatCovers(t *testing.T) {
	pfx := netip.MustParsePrefix
	const lan, tunnel, wan = 2, 5, 4
	for _, c := range []struct {
		name  string
		route route
		want  bool // ours is made
	}{
		{"the same", route{dst: pfx("2000::/3"), index: wan, metric: 1024, proto: 3}, false},
		{"a default covers it", route{dst: pfx("::/0"), index: wan, metric: 1024, proto: 9}, false},
		{"half of it does not", route{dst: pfx("2000::/4"), index: wan, metric: 1024, proto: 3}, true},
		{"beside it", route{dst: pfx("fc00::/7"), index: wan, metric: 1024, proto: 3}, true},
		{"source-specific", route{dst: pfx("::/0"), from: pfx("2001:db8:1::/64"), index: wan, metric: 1024, proto: 9}, true},
		{"unreachable", route{kind: dataplane.Unreachable, dst: pfx("::/0"), metric: 4000, proto: 2}, true},
		{"on our LAN", route{dst: pfx("::/0"), index: lan, metric: 1024, proto: 9}, true},
		{"on the tunnel", route{dst: pfx("::/0"), index: tunnel, metric: 1024, proto: 3}, true},
		{"multipath", route{dst: pfx("::/0"), metric: 1024, proto: 3}, false},
		{"ours", route{dst: pfx("::/0"), index: wan, metric: 1024, proto: mark}, true},
	} {
		s := &snapshot{conf: confMap{}, marked: true, routes: []route{c.route}}
		for i, n := range []string{"lo", "br-lan", "br-guest", "wan", "oasis0"} {
			s.links = append(s.links, link{index: i + 1, name: n, mtu: 1420, up: true, running: true})
		}
		want := dataplane.Desired{
			Tunnel: dataplane.Tunnel{Name: "oasis0"}, LANs: []string{"br-lan"},
			Routes: []dataplane.Route{{Dst: pfx("2000::/3"), Iface: "oasis0", IfNoOther: true}},
		}
		got := false
		for _, st := range makePlan(s, newMemory(), want, "").steps {
			got = got || st.op == addRoute && st.route.dst == pfx("2000::/3")
		}
		if got != c.want {
			t.Errorf("%s: beside %v ours is made: %v, want %v", c.name, c.route, got, c.want)
		}
	}
}

// The watcher sees a route that covers ours come and go.
func TestCoveringRouteIsDrift(t *testing.T) {
	w := newWorld(t)
	w.open()
	d := w.desired()
	d.Routes[2].Dst = netip.MustParsePrefix("2000::/3")
	ours := func() bool {
		return strings.Contains(w.box.Run("ip", "-6", "route", "show", "2000::/3"), "dev oasis0")
	}
	w.apply(d)
	w.lanReady()
	if !ours() {
		t.Fatal("no route of ours without another")
	}
	for _, covering := range []string{"default", "2000::/3", "::/1"} {
		w.box.Run("ip", "-6", "route", "add", covering, "dev", "eth0", "metric", "9999")
		w.drift(driftWithin, "another 2000::/3 route appeared")
		w.apply(d)
		if ours() {
			t.Errorf("beside %s: ours is still there", covering)
		}
		w.quiet(150 * time.Millisecond)
		w.box.Run("ip", "-6", "route", "del", covering, "dev", "eth0", "metric", "9999")
		w.drift(driftWithin, "route 2000::/3 dev oasis0 metric 4096 missing")
		w.apply(d)
		if !ours() {
			t.Errorf("after %s: ours is not back", covering)
		}
	}
}
