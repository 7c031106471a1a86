// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/config"
	"oasis6/dataplane"
	"oasis6/internal/lifetime"
)

// RFC 7084 WPD-3: "the CE router MUST [...] accept a delegated prefix whose length is different from what is
// given in the hint"; "if the delegated prefix is too small to address all of its interfaces [...] SHOULD log
// a system management error". LANs are laid out in configured order, and what did not fit is named.
func TestRFC7084_WPD3_LayoutInConfiguredOrder(t *testing.T) {
	const a, b = "2001:db8:a::/64", "2001:db8:b::/64"
	for _, tc := range []struct {
		name        string
		lans        string // name=subnet, ...
		delegations string
		want        string // name: subnets; in order
		problems    []string
	}{
		{"room for all", "a=0 b=1 c=2", "2001:db8:0:f0::/60", "a: 2001:db8:0:f0::/64 b: 2001:db8:0:f1::/64 c: 2001:db8:0:f2::/64", nil},
		{"far more than asked for", "a=0 b=ff", "2001:db8::/32", "a: 2001:db8::/64 b: 2001:db8:0:ff::/64", nil},
		{"one /64 for two", "a=0 b=1", a, "a: 2001:db8:a::/64 b:", []string{"no /64 is left for LAN b: the hub delegates 2001:db8:a::/64"}},
		{"a /63 for three", "a=0 b=1 c=2", "2001:db8:0:f0::/63", "a: 2001:db8:0:f0::/64 b: 2001:db8:0:f1::/64 c:", []string{"no /64 is left for LAN c"}},
		{"two /64 for two", "a=0 b=1", a + " " + b, "a: 2001:db8:a::/64 b: 2001:db8:b::/64", []string{"LAN b has 2001:db8:b::/64: there is no subnet 1"}},
		{"the same /64 twice", "a=0 b=1", a + " " + a, "a: 2001:db8:a::/64 b:", []string{"prefix 2001:db8:a::/64 lies in 2001:db8:a::/64", "no /64 is left for LAN b"}},
		{"a /64 inside of a /56", "a=0 b=1", "2001:db8:0:f00::/64 2001:db8:0:f00::/56", "a: 2001:db8:0:f00::/64 b: 2001:db8:0:f01::/64", []string{"prefix 2001:db8:0:f00::/64 lies in 2001:db8:0:f00::/56"}},
		{"two /64 for two that do not say which", "a=any b=any", a + " " + b, "a: 2001:db8:a::/64 b: 2001:db8:b::/64", nil},
		{"two /64 for one", "a=0", a + " " + b, "a: 2001:db8:a::/64,2001:db8:b::/64", nil},
		{"two /64 for three", "a=0 b=1 c=2", a + " " + b, "a: 2001:db8:a::/64 b: 2001:db8:b::/64 c:", []string{"LAN b has", "no /64 is left for LAN c"}},
		{"a /56 and a /64", "a=0 b=1", "2001:db8:0:f00::/56 " + a, "a: 2001:db8:0:f00::/64,2001:db8:a::/64 b: 2001:db8:0:f01::/64", nil},
		{"a number that fits goes before one that does not", "a=5 b=0", a, "a: b: 2001:db8:a::/64", []string{"no /64 is left for LAN a"}},
		{"a number that does not fit", "a=5 b=0", "2001:db8:0:f0::/63", "a: 2001:db8:0:f1::/64 b: 2001:db8:0:f0::/64", []string{"LAN a has 2001:db8:0:f1::/64: there is no subnet 5"}},
		{"too long", "a=0", "2001:db8:a:0:100::/72", "a:", []string{"2001:db8:a:0:100::/72 is too long"}},
		{"too long beside a good one", "a=0", "2001:db8:a:0:100::/72 " + b, "a: 2001:db8:b::/64", []string{"2001:db8:a:0:100::/72 is too long"}},
	} {
		f := boxFacts(strings.Fields(tc.delegations)...)
		f.Config.LANs = nil
		for _, l := range strings.Fields(tc.lans) {
			name, n, _ := strings.Cut(l, "=")
			var subnet uint64
			if n == "any" {
				subnet = uint64(len(f.Config.LANs))
			} else if _, err := fmt.Sscanf(n, "%x", &subnet); err != nil {
				t.Fatal(err)
			}
			l := config.NewLAN(name, subnet)
			l.AnySubnet = n == "any"
			f.Config.LANs = append(f.Config.LANs, l)
		}
		p := Make(f, t0)
		if got := layoutText(p); got != tc.want {
			t.Errorf("%s: %s\nwant %s", tc.name, got, tc.want)
		}
		if len(p.Problems) != len(tc.problems) {
			t.Errorf("%s: problems %q, want %q", tc.name, p.Problems, tc.problems)
			continue
		}
		for i, want := range tc.problems {
			if !strings.Contains(p.Problems[i], want) {
				t.Errorf("%s: problem %q, want %q", tc.name, p.Problems[i], want)
			}
		}
	}
}

func layoutText(p Plan) string {
	var w []string
	for _, l := range p.LANs {
		s := l.Iface + ":"
		for i, x := range l.Subnets {
			if i == 0 {
				s += " "
			} else {
				s += ","
			}
			s += x.Prefix.String()
		}
		w = append(w, s)
	}
	return strings.Join(w, " ")
}

// Two delegations of a /64 for two LANs: when the first is lost, the second stays with the hosts that use it,
// although the first LAN then has nothing.
func TestLayoutMovesNoSubnetThatHostsUse(t *testing.T) {
	f := boxFacts("2001:db8:b::/64")
	f.Config.LANs = []config.LAN{config.NewLAN("a", 0), config.NewLAN("b", 1)}
	told := Told{Prefix: prefix("2001:db8:b::/64"), Held: lifetime.At(t0.Add(time.Hour))}
	f.Told = map[string][]Told{"b": {told}}
	if got, want := layoutText(Make(f, t0)), "a: b: 2001:db8:b::/64"; got != want {
		t.Errorf("layout = %s, want %s", got, want)
	}
	told.Stale = true
	f.Told = map[string][]Told{"b": {told}}
	if got, want := layoutText(Make(f, t0)), "a: 2001:db8:b::/64 b:"; got != want {
		t.Errorf("layout of a withdrawn one = %s, want %s", got, want)
	}
}

// A LAN that uses a substitute for an excluded number keeps it when another LAN comes.
func TestLayoutKeepsASubstitute(t *testing.T) {
	f := boxFacts("2001:db8:0:f0::/60")
	f.Delegations[0].Exclude = prefix("2001:db8:0:f0::/64")
	f.Config.LANs = []config.LAN{config.NewLAN("a", 0), config.NewLAN("c", 2)}
	f.Told = map[string][]Told{"a": {{Prefix: prefix("2001:db8:0:f2::/64"), Held: lifetime.At(t0.Add(time.Hour))}}}
	if got, want := layoutText(Make(f, t0)), "a: 2001:db8:0:f2::/64 c: 2001:db8:0:f1::/64"; got != want {
		t.Errorf("layout = %s, want %s", got, want)
	}
}

// A server renumbers: the deprecated prefix keeps its LAN, and the new one goes to the first LAN again.
func TestLayoutAfterRenumbering(t *testing.T) {
	f := boxFacts("2001:db8:a::/64", "2001:db8:b::/64")
	f.Config.LANs = []config.LAN{config.NewLAN("a", 0), config.NewLAN("b", 1)}
	f.Delegations[0].Preferred = lifetime.Until{}
	if got, want := layoutText(Make(f, t0)), "a: 2001:db8:a::/64,2001:db8:b::/64 b:"; got != want {
		t.Errorf("layout = %s, want %s", got, want)
	}
}

// RFC 6603 section 4.2: "the requesting router MUST NOT use the excluded prefix for its downstream". It leads to
// the hub, and the rest stays unreachable.
func TestRFC6603_4_2_ExcludedPrefixIsOnNoLAN(t *testing.T) {
	for _, tc := range []struct{ delegation, exclude, want string }{
		{"2001:db8:0:f0::/60", "2001:db8:0:f0::/64", "a: 2001:db8:0:f2::/64 b: 2001:db8:0:f1::/64"},
		{"2001:db8:0:f0::/60", "2001:db8:0:f0::/62", "a: 2001:db8:0:f4::/64 b: 2001:db8:0:f5::/64"},
		{"2001:db8:0:f0::/60", "2001:db8:0:f0::1:0/112", "a: 2001:db8:0:f2::/64 b: 2001:db8:0:f1::/64"},
		{"2001:db8:0:f0::/60", "2001:db8:0:ff::/64", "a: 2001:db8:0:f0::/64 b: 2001:db8:0:f1::/64"},
		{"2001:db8::/33", "2001:db8::/34", "a: 2001:db8:4000::/64 b: 2001:db8:4000:1::/64"},
		{"2001:db8:0:f0::/64", "2001:db8:0:f0:8000::/65", "a: b:"},
	} {
		f := boxFacts(netip.MustParsePrefix(tc.delegation).Masked().String())
		f.Config.LANs = []config.LAN{config.NewLAN("a", 0), config.NewLAN("b", 1)}
		f.Delegations[0].Exclude = prefix(tc.exclude).Masked()
		p := Make(f, t0)
		if got := layoutText(p); got != tc.want {
			t.Errorf("%s without %s: %s, want %s", tc.delegation, tc.exclude, got, tc.want)
		}
		if bad := strings.Join(p.Problems, " "); strings.Contains(bad, "there is no subnet") {
			t.Errorf("%s without %s: problems %q", tc.delegation, tc.exclude, bad)
		}
		if !hasRoute(p, dataplane.Route{Dst: prefix(tc.exclude).Masked(), Iface: "oasis0", Metric: metricTunnel}) {
			t.Errorf("%s: routes %v", tc.exclude, p.Desired.Routes)
		}
	}
}

// No subnet is ever on two LANs, inside an exclusion or outside of its delegation.
func TestLayoutIsSound(t *testing.T) {
	for bits := 48; bits <= 66; bits++ {
		for x := bits + 1; x <= 68; x++ {
			f := boxFacts(netip.PrefixFrom(addr("2001:db8::"), bits).Masked().String(), "2001:db8:f::/63")
			f.Delegations[0].Exclude = netip.PrefixFrom(addr("2001:db8::"), x).Masked()
			f.Config.LANs = nil
			for i := range 5 {
				f.Config.LANs = append(f.Config.LANs, config.NewLAN(fmt.Sprint(i), uint64(i)*3))
			}
			var seen []netip.Prefix
			for _, l := range Make(f, t0).LANs {
				for _, s := range l.Subnets {
					if slices.Contains(seen, s.Prefix) || s.Prefix.Overlaps(f.Delegations[0].Exclude) ||
						!covers(f.Delegations[0].Prefix, s.Prefix) && !covers(f.Delegations[1].Prefix, s.Prefix) {
						t.Fatalf("/%d without /%d: LAN %s has %s, others have %v", bits, x, l.Iface, s.Prefix, seen)
					}
					seen = append(seen, s.Prefix)
				}
			}
		}
	}
}

// An assigned address is on the tunnel, and what leaves from it goes through the tunnel; it dies on time.
func TestMakeAssignedAddress(t *testing.T) {
	f := boxFacts("2001:db8:ebbd:990a::/64")
	f.Addresses = []Address{{addr("2001:db8:0:ff::7"), lifetime.At(t0.Add(time.Minute)), lifetime.At(t0.Add(time.Hour))}}
	has := func(p Plan) (out string) {
		for _, a := range p.Desired.Addresses {
			if a.Prefix.Addr() == f.Addresses[0].Addr {
				out = fmt.Sprintf("%s /%d deprecated=%v", a.Iface, a.Prefix.Bits(), a.Deprecated)
			}
		}
		return out
	}
	from := dataplane.Route{Dst: prefix("::/0"), From: prefix("2001:db8:0:ff::7/128"), Iface: "oasis0", Metric: metricTunnel}
	for _, tc := range []struct {
		after time.Duration
		want  string
		route bool
	}{
		{0, "oasis0 /128 deprecated=false", true}, {time.Minute, "oasis0 /128 deprecated=true", true},
		{time.Hour - 1, "oasis0 /128 deprecated=true", true}, {time.Hour, "", false},
	} {
		p := Make(f, t0.Add(tc.after))
		if got := has(p); got != tc.want || hasRoute(p, from) != tc.route {
			t.Errorf("after %v: address %q, want %q; route %v", tc.after, got, tc.want, hasRoute(p, from))
		}
	}
}
