// SPDX-License-Identifier: MIT

package kernel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
)

const testBehind = "2001:db8:ebbd:9a00::/60" // of a router behind the LAN

// behind is desired with a route to a router behind the LAN.
func (w *world) behind(via string) dataplane.Desired {
	d := w.desired()
	d.Routes = append(d.Routes, dataplane.Route{
		Dst: netip.MustParsePrefix(testBehind), Via: netip.MustParseAddr(via), Iface: "br-lan", Metric: 512,
	})
	return d
}

func (w *world) behindRoutes() string {
	return strings.TrimSpace(w.box.Run("ip", "-6", "route", "show", testBehind))
}

// A route by a next hop is one of ours as any other: it changes, comes back and is swept.
func TestRouteByANextHop(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.behind("fe80::a"))
	w.lanReady()
	line := func(via string) string {
		return testBehind + " via " + via + " dev br-lan proto 66 metric 512 pref medium"
	}
	is := func(when, want string) {
		t.Helper()
		if got := w.behindRoutes(); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	is("at first", line("fe80::a"))
	w.apply(w.behind("fe80::b"))
	is("another next hop", line("fe80::b"))
	w.quiet(150 * time.Millisecond)
	w.box.Run("ip", "-6", "route", "flush", testBehind)
	w.drift(driftWithin, "route "+testBehind+" via fe80::b dev br-lan metric 512 missing")
	w.apply(w.behind("fe80::b"))
	is("after a flush", line("fe80::b"))
	w.box.Run("ip", "-6", "route", "change", testBehind, "via", "fe80::c", "dev", "br-lan", "metric", "512", "proto", "66")
	w.drift(driftWithin, "route "+testBehind)
	w.apply(w.behind("fe80::b"))
	is("after another's change", line("fe80::b"))
	w.plane.Close() // kill -9
	w.open()
	w.apply(w.desired())
	is("a successor that knows nothing of it", "")
	w.quiet(150 * time.Millisecond)
}

// kill -9 between the new next hop and the end of the old one leaves both; and a route on the link is not one by a
// next hop.
func TestRouteByANextHopAfterAKill(t *testing.T) {
	w := newWorld(t)
	w.open()
	w.apply(w.desired())
	w.lanReady()
	for _, left := range [][]string{
		{"via fe80::a", "via fe80::b"},
		{"via fe80::b", "via fe80::a", "via fe80::c"},
		{""},
	} {
		w.plane.Close()
		for _, hop := range left {
			args := strings.Fields("ip -6 route append " + testBehind + " " + hop + " dev br-lan metric 512 proto 66")
			w.box.Run(args...)
		}
		w.open()
		w.apply(w.behind("fe80::b"))
		const want = testBehind + " via fe80::b dev br-lan proto 66 metric 512 pref medium"
		if got := w.behindRoutes(); got != want {
			t.Errorf("left %q, after Apply: %q, want %q", left, got, want)
		}
		w.quiet(150 * time.Millisecond)
		w.apply(w.desired())
		if got := w.behindRoutes(); got != "" {
			t.Errorf("left %q, not wanted any more: %q", left, got)
		}
	}
}
