// SPDX-License-Identifier: MIT

package forward

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"oasis6/dataplane"
)

// slowRoute is a route as it was wanted.
type slowRoute struct {
	wantedRoute
	source netip.Prefix // not valid: any
}

// slowLookup looks at every route: the longest destination that has one for the source, then the longest source, then the
// lowest metric, then the first.
func slowLookup(want []slowRoute, dst, src netip.Addr) *slowRoute {
	var best *slowRoute
	for i := range want {
		w := &want[i]
		if !w.dst.Contains(dst) || w.source.IsValid() && !w.source.Contains(src) {
			continue
		}
		if best == nil || w.dst.Bits() > best.dst.Bits() || w.dst.Bits() == best.dst.Bits() &&
			(w.bits > best.bits || w.bits == best.bits && w.metric < best.metric) {
			best = w
		}
	}
	return best
}

// few are addresses and prefixes that lie in each other often.
type few struct{ *rand.Rand }

func newFew(seed uint64) few { return few{rand.New(rand.NewPCG(seed, 6))} }

func (r few) addr() netip.Addr {
	a := ip("2001:db8::").As16()
	for _, i := range []int{4, 7, 8, 15} {
		a[i] = byte(r.IntN(3)) * 127
	}
	if r.IntN(20) == 0 {
		return ip([]string{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1"}[r.IntN(3)])
	}
	return netip.AddrFrom16(a)
}

func (r few) prefix() netip.Prefix {
	lengths := []int{0, 1, 32, 33, 40, 47, 56, 63, 64, 65, 72, 120, 127, 128}
	p, _ := r.addr().Prefix(lengths[r.IntN(len(lengths))])
	return p
}

func (r few) route(via int) slowRoute {
	w := slowRoute{wantedRoute: wantedRoute{dst: r.prefix(), route: route{metric: uint32(r.IntN(3)), via: u128{lo: uint64(via)}}}}
	if r.IntN(2) == 0 {
		if p := r.prefix(); p.Bits() > 0 {
			w.source, w.from, w.bits = p, spanOf(p), p.Bits()
		}
	}
	return w
}

// The table finds the same route as one who looks at all of them.
func TestRoutesAgreeWithASlowModel(t *testing.T) {
	r := newFew(6)
	for range 300 {
		var slow []slowRoute
		var want []wantedRoute
		for n := range r.IntN(30) {
			slow = append(slow, r.route(n))
			want = append(want, slow[n].wantedRoute)
		}
		table := buildRoutes(want)
		for range 200 {
			dst, src := r.addr(), r.addr()
			got, best := table.lookup(number(dst), number(src)), slowLookup(slow, dst, src)
			if (got == nil) != (best == nil) || got != nil && *got != best.route {
				t.Fatalf("lookup(%s from %s) = %+v, want %+v, of %+v", dst, src, got, best, slow)
			}
		}
	}
}

// A set of spans has what one of its prefixes has.
func TestSpansAgreeWithPrefixes(t *testing.T) {
	r := newFew(7)
	for range 500 {
		var list []netip.Prefix
		for range r.IntN(8) {
			if p := r.prefix(); p.Bits() > 0 {
				list = append(list, p)
			}
		}
		s := setOf(list, nil)
		for i := 1; i < len(s); i++ {
			if after, ok := s[i-1].last.next(); !ok || !after.less(s[i].first) {
				t.Errorf("%v: spans %d and %d are not apart", list, i-1, i)
			}
		}
		for range 100 {
			a := r.addr()
			if got, want := s.has(number(a)), slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) }); got != want {
				t.Fatalf("%v has %s: %v, want %v", list, a, got, want)
			}
		}
	}
	if s := setOf([]netip.Prefix{{}, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("::ffff:192.0.2.0/120")}); len(s) > 0 {
		t.Errorf("set of what is not IPv6: %v", s)
	}
}

// RFC 7084 WPD-5: what is delegated but on no LAN never goes back up; the sender is told.
func TestRFC7084_WPD5_Unreachable(t *testing.T) {
	run(t, aSite(), []ruleCase{
		{tunnel, udp(farHost, "2001:db8:ebbd:99aa::1"), "answer 1/0: unreachable route"},
		{lan, udp(lanHost, "2001:db8:ebbd:99aa::1"), "answer 1/0: unreachable route"},
		{lan, udp(lanHost, routedHost), "forward br-lan via fe80::10 and a redirect"},
	})
	none := aSite()
	none.Routes = none.Routes[:1]
	run(t, none, []ruleCase{
		{lan, udp(lanHost, farHost), "answer 1/0: no route"},
		{tunnel, echo(farHost, foreign), "answer 1/0: no route"},
	})
}

// Of two routes to the same destination that with the longer source goes first, then that with the lower metric; one over
// an interface that is down is none.
func TestRouteChoice(t *testing.T) {
	d := aSite()
	d.Firewall = dataplane.Firewall{}
	all := pfx("::/0")[0]
	d.Routes = []dataplane.Route{
		{Dst: all, Iface: "eth0", Metric: 1},
		{Dst: all, From: pfx(site)[0], Iface: "oasis0", Metric: 9},
		{Dst: all, Iface: "br-guest"}, // metric 1024
		{Dst: pfx("2001:db8:ffff::/48")[0], Iface: "br-guest"},
		{Dst: pfx("2001:db8:ffff::/48")[0], Via: ip("fe80::9"), Iface: "eth0", Metric: 1023},
		{Dst: all, Iface: "gone"},
		{Dst: netip.Prefix{}, Iface: "eth0"},
	}
	cases := []ruleCase{
		{lan, udp(lanHost, "2001:db8:6::1"), "forward oasis0"},
		{lan, udp(foreign, "2001:db8:6::1"), "forward eth0"},
		{lan, udp(lanHost, farHost), "forward eth0 via fe80::9"},
	}
	run(t, d, cases)
	w := newWorld(t, d)
	down := links()
	for _, name := range []string{"oasis0", "eth0"} {
		l := down[name]
		l.Up = false
		down[name] = l
	}
	w.f.Set(Compile(d, down))
	for _, c := range cases {
		w.wants(w.from(c.in, c.pkt), "forward br-guest")
	}
}

// Route finds the way of what the box itself sends.
func TestRouteOfOurOwn(t *testing.T) {
	w := newWorld(t, aSite())
	for _, c := range []struct {
		src, dst string
		out      Index
		hop      string
	}{
		{lanBox, farHost, tunnel, farHost},
		{"::", farHost, tunnel, farHost},
		{lanBox, guestHost, guest, guestHost},
		{lanBox, routedHost, lan, routerAddr},
	} {
		out, hop, ok := w.f.Route(ip(c.src), ip(c.dst))
		if out != c.out || hop != ip(c.hop) || !ok {
			t.Errorf("Route(%s, %s) = %s by %s, %v, want %s by %s", c.src, c.dst, hop, names[out], ok, c.hop, names[c.out])
		}
	}
	for _, dst := range []netip.Addr{ip("2001:db8:ebbd:99aa::1"), ip("192.0.2.1"), {}} {
		if out, hop, ok := w.f.Route(ip(lanBox), dst); ok {
			t.Errorf("Route to %s = %s by %d", dst, hop, out)
		}
	}
}
