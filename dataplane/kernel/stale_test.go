// SPDX-License-Identifier: MIT

package kernel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
)

const (
	testStale     = "2001:db8:ebbd:9909::/64"
	testStaleHost = "2001:db8:ebbd:9909::10"
)

// stale is desired after a renumbering: hosts may still hold addresses of testStale, the box has none.
func (w *world) stale() dataplane.Desired {
	d, p := w.desired(), netip.MustParsePrefix(testStale)
	d.Firewall.Stale = []netip.Prefix{p}
	d.Routes = append(d.Routes, dataplane.Route{Dst: p, Iface: "br-lan", Metric: 1024})
	return d
}

// nativeWAN gives the box a default route around the tunnel, by a router that counts what comes from src.
func (w *world) nativeWAN(src ...string) {
	w.t.Helper()
	w.wan.Run("ip", "-6", "address", "add", "fe80::9/64", "dev", "eth0", "nodad")
	w.wan.Run("nft", "add table netdev count; add chain netdev count in { type filter hook ingress device eth0 priority 0; }")
	for _, s := range src {
		w.wan.Run("nft", "add rule netdev count in ip6 saddr "+s+" counter")
	}
	w.box.Run("ip", "-6", "route", "add", "default", "via", "fe80::9", "dev", "eth0", "metric", "9999")
}

// byWAN is the line of nft that counts what came to the WAN from src.
func (w *world) byWAN(src string) string {
	for _, l := range strings.Split(w.wan.Run("nft", "list", "table", "netdev", "count"), "\n") {
		if strings.Contains(l, src+" ") {
			return l
		}
	}
	return "no rule for " + src
}

// "The IPv6 CE router MUST send an ICMPv6 Destination Unreachable message, code 5 (Source address failed
// ingress/egress policy) for packets forwarded to it that use an address from a prefix that has been
// invalidated." (RFC 7084 L-14)
func TestRFC7084_L14_StaleSourceGetsCode5(t *testing.T) {
	for _, native := range []bool{false, true} {
		t.Run(map[bool]string{false: "tunnel only", true: "beside a native default"}[native], func(t *testing.T) {
			w := newWorld(t)
			const other = "2001:db8:7777::10" // a native prefix beside ours: the WAN does carry it
			w.h1.Run("ip", "-6", "address", "add", testStaleHost+"/64", "dev", "eth0", "nodad", "preferred_lft", "0")
			w.h1.Run("ip", "-6", "address", "add", other+"/64", "dev", "eth0", "nodad", "preferred_lft", "0")
			if native {
				w.nativeWAN(testStaleHost, other)
			}
			w.open()
			w.apply(w.desired())
			w.apply(w.stale())
			if got := w.code(w.h1, testStaleHost); got != icmpPolicyFail {
				t.Errorf("code = %d, want %d: %s", got, icmpPolicyFail, w.counter("stale"))
			}
			if got := w.counter("stale, RFC 7084 L-14"); strings.Contains(got, "packets 0 ") || strings.HasPrefix(got, "no rule") {
				t.Errorf("not counted: %s", got)
			}
			if !native {
				return
			}
			w.h1.WaitFor(5*time.Second, "a packet by the WAN", func() bool {
				_, _ = w.h1.Try("ping", "-c1", "-W1", "-I", other, testFarAddr)
				return !strings.Contains(w.byWAN(other), "packets 0 ")
			})
			if got := w.byWAN(testStaleHost); !strings.Contains(got, "packets 0 ") {
				t.Errorf("left by the WAN: %s", got)
			}
		})
	}
}

// The on-link route of a stale prefix is an ordinary route of ours: it stays without an address, and comes
// back when somebody takes it.
func TestStaleRouteIsKeptAndSwept(t *testing.T) {
	w := newWorld(t)
	w.open()
	show := func() string { return strings.TrimSpace(w.box.Run("ip", "-6", "route", "show", testStale)) }
	before := w.desired() // the prefix was ours, with an address and its connected route
	before.Addresses = append(before.Addresses, dataplane.Address{
		Iface: "br-lan", Prefix: netip.MustParsePrefix("2001:db8:ebbd:9909::1/64"), NoDAD: true,
	})
	w.apply(before)
	w.apply(w.stale())
	w.lanReady()
	const want = testStale + " dev br-lan proto 66 metric 1024 pref medium"
	if got := show(); got != want {
		t.Errorf("without the address = %q, want %q", got, want)
	}
	w.quiet(150 * time.Millisecond)
	w.box.Run("ip", "-6", "route", "del", testStale)
	w.drift(driftWithin, "route "+testStale+" dev br-lan metric 1024 missing")
	w.apply(w.stale())
	if got := show(); got != want {
		t.Errorf("after its removal = %q, want %q", got, want)
	}
	w.plane.Close() // a successor that knows nothing of it sweeps it
	w.open()
	w.apply(w.desired())
	if got := show(); got != "" {
		t.Errorf("not wanted any more, but there: %q", got)
	}
}

// The route of a stale prefix must not be a way in.
func TestNothingFromOutsideToStale(t *testing.T) {
	w := newWorld(t)
	w.h1.Run("ip", "-6", "address", "add", testStaleHost+"/64", "dev", "eth0", "nodad")
	w.wan.Run("ip", "-6", "address", "add", "2001:db8:1::9/64", "dev", "eth0", "nodad")
	w.box.Run("ip", "-6", "address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
	w.wan.Run("ip", "-6", "route", "add", testStale, "via", "2001:db8:1::1")
	w.open()
	w.apply(w.stale())
	w.wan.WaitFor(5*time.Second, "a dropped packet", func() bool {
		if out, err := w.wan.Try("ping", "-c1", "-W1", testStaleHost); err == nil {
			t.Fatalf("came in: %s", out)
		}
		return !strings.Contains(w.counter("to a stale prefix"), "packets 0 ") && !strings.HasPrefix(w.counter("to a stale prefix"), "no rule")
	})
}
