// SPDX-License-Identifier: MIT

package hostmodel

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/lifetime"
)

// "the two-hour rule", as Linux 6.18 was measured to keep it: what the address has after each Prefix Information
// option, one second apart.
func TestRFC4862_5_5_3_E_TwoHours(t *testing.T) {
	const day, quarter = 86400, 14400
	type step struct {
		valid, preferred         uint32
		wantValid, wantPreferred int // seconds; valid -1: there is no address
	}
	for _, tc := range []struct {
		name  string
		cfg   Config
		steps []step
	}{
		{"a day, then 0/0", Config{}, []step{{day, quarter, day, quarter}, {0, 0, 7200, 0}, {5400, 0, 7199, 0}, {7300, 100, 7300, 100}}},
		{"90 minutes, then 0/0", Config{}, []step{{5400, 2700, 5400, 2700}, {0, 0, 5399, 0}, {5000, 2500, 5398, 2500}, {5401, 2700, 5401, 2700}}},
		{"exactly two hours are ignored", Config{}, []step{{day, quarter, day, quarter}, {7200, 100, 7200, 100}, {7199, 50, 7199, 50}, {7100, 60, 7198, 60}}},
		{"more than two hours are taken", Config{}, []step{{day, quarter, day, quarter}, {7201, 100, 7201, 100}}},
		{"for ever, then 0/0", Config{}, []step{{lifetime.Infinity, lifetime.Infinity, -2, -2}, {0, 0, 7200, 0}}},
		{"valid below preferred", Config{}, []step{{2700, 5400, -1, 0}, {5400, 2700, 5400, 2700}, {100, 200, 5399, 2699}}},
		{"never there", Config{}, []step{{0, 0, -1, 0}}},
		{"ra_honor_pio_life", Config{HonorPIOLifetime: true}, []step{{day, quarter, day, quarter}, {5000, 10, 5000, 10}, {0, 0, -1, 0}}},
		{"Android", Config{AndroidLike: true}, []step{{150, 100, -1, 0}, {5400, 2700, 5400, 2700}, {150, 100, 5399, 2699}, {0, 0, 5398, 0}}},
	} {
		h := start(t, tc.cfg)
		for i, s := range tc.steps {
			h.at(time.Duration(10+i) * time.Second)
			h.hear(routerA, 1800, pio(first, "LA", s.valid, s.preferred))
			a := h.address(first)
			if a == nil {
				if s.wantValid != -1 {
					t.Errorf("%s, step %d: no address", tc.name, i)
				}
				continue
			}
			valid, preferred := seconds(h.now, a.Valid), seconds(h.now, a.Preferred)
			if valid != s.wantValid || preferred != s.wantPreferred {
				t.Errorf("%s, step %d: valid %d, preferred %d, want %d and %d", tc.name, i, valid, preferred, s.wantValid, s.wantPreferred)
			}
		}
	}
}

// seconds left; -2 for ever.
func seconds(now time.Time, u lifetime.Until) int {
	if u.IsForever() {
		return -2
	}
	return int(u.Left(now) / time.Second)
}

// A prefix of another length than 64 gives no address, L and A are independent, lifetime 0 ends the route at once
// although the address stays.
func TestRFC4862_5_5_3_FlagsAndLengths(t *testing.T) {
	for _, tc := range []struct {
		name, prefix, flags string
		address, onLink     bool
	}{
		{"both", first, "LA", true, true},
		{"/63", "2001:db8:2::/63", "LA", false, true},
		{"only L", first, "L", false, true},
		{"only A", first, "A", true, false},
		{"link-local", "fe80::/64", "LA", false, false},
	} {
		h := start(t, Config{})
		h.hear(routerA, 1800, pio(tc.prefix, tc.flags, 5400, 2700))
		if got := h.address(tc.prefix) != nil; got != tc.address {
			t.Errorf("%s: address %v", tc.name, got)
		}
		if got := len(h.OnLink(h.now)) == 1; got != tc.onLink {
			t.Errorf("%s: on-link %v", tc.name, got)
		}
		h.hear(routerA, 1800, pio(tc.prefix, tc.flags, 0, 0))
		if got := h.address(tc.prefix) != nil; got != tc.address || len(h.OnLink(h.now)) != 0 {
			t.Errorf("%s, withdrawn: address %v, on-link %v", tc.name, got, h.OnLink(h.now))
		}
	}
}

// Old prefix 0/0 and new one in the same RA: the old is used until the new has passed DAD, then never again.
func TestRFC4862_5_4_NewAddressAfterDAD(t *testing.T) {
	h := start(t, Config{})
	h.hear(routerA, 1800, slla(), pio(first, "LA", 5400, 2700))
	h.wantSource("") // link-local and the new one are tentative
	h.at(1499 * time.Millisecond)
	h.wantSource("")
	h.at(1500 * time.Millisecond)
	h.wantSource(first)
	h.at(time.Minute)
	h.hear(routerA, 1800, slla(), pio(first, "LA", 0, 0), pio(second, "LA", 5400, 2700))
	h.wantSource(first)
	h.at(time.Minute + 1499*time.Millisecond)
	h.wantSource(first)
	h.at(time.Minute + 1500*time.Millisecond)
	h.wantSource(second)

	h = start(t, Config{})
	for range 100 {
		if d := h.dad(t0).Sub(t0); d < time.Second || d >= 2*time.Second {
			t.Fatalf("DAD takes %v", d)
		}
	}
}

// An optimistic host uses the address at once, if the RA had a source link-layer address.
func TestRFC4429_3_1_OptimisticAddressIsUsedAtOnce(t *testing.T) {
	for _, withSource := range []bool{true, false} {
		h := start(t, Config{Optimistic: true})
		h.at(10 * time.Second)
		options := [][]byte{pio(first, "LA", 5400, 2700)}
		if withSource {
			options = append(options, slla())
		}
		h.hear(routerA, 1800, options...)
		if src, _ := h.Source(h.now, world); netip.MustParsePrefix(first).Contains(src) != withSource {
			t.Errorf("with source link-layer address %v: source %v", withSource, src)
		}
	}
}

// Router lifetime 0 removes the default route in the same instant, lifetimes end by themselves, the higher preference
// wins, and what RFC 4861 section 6.1.2 forbids is not taken.
func TestRFC4861_6_3_4_HOST_DefaultRouters(t *testing.T) {
	h := start(t, Config{})
	via := func() netip.Addr { hop, _ := h.NextHop(h.now, world); return hop.Router }
	h.hear(routerA, 1800)
	h.step(Received{Src: routerB, HopLimit: 255, Data: message(900, 0b01<<3)})
	if via() != routerB {
		t.Errorf("via %v, want the one of high preference", via())
	}
	h.at(899 * time.Second)
	if via() != routerB {
		t.Error("lost a second early")
	}
	h.at(900 * time.Second)
	if via() != routerA {
		t.Errorf("via %v after the end of the other", via())
	}
	h.hear(routerA, 0)
	if via().IsValid() || len(h.Routers(h.now)) != 0 {
		t.Errorf("via %v after router lifetime 0", via())
	}
	good := message(1800, 0)
	for name, bad := range map[string]Received{
		"hop limit":       {Src: routerA, HopLimit: 254, Data: good},
		"source":          {Src: world, HopLimit: 255, Data: good},
		"code":            {Src: routerA, HopLimit: 255, Data: append([]byte{134, 1}, good[2:]...)},
		"short":           {Src: routerA, HopLimit: 255, Data: good[:15]},
		"option length 0": {Src: routerA, HopLimit: 255, Data: append(slices.Clone(good), 5, 0, 0, 0, 0, 0, 0, 0)},
		"option cut":      {Src: routerA, HopLimit: 255, Data: append(slices.Clone(good), 5, 2, 0, 0, 0, 0, 0, 0)},
	} {
		if h.step(bad); via().IsValid() {
			t.Errorf("%s: taken", name)
		}
	}
	h.hear(routerA, 1800, []byte{5, 2, 15: 0}, pio(first, "LA", 5400, 2700)) // an MTU option of 16 octets
	if h.address(first) == nil || h.MTU() != 0 {
		t.Errorf("a bad option beside a good one: address %v, MTU %d", h.address(first), h.MTU())
	}
}

// accept_ra_min_lft: what lives for less than 180 s is ignored, 0 is not.
func TestAndroidIgnoresShortLifetimes(t *testing.T) {
	h := start(t, Config{AndroidLike: true, TypeC: true})
	all := func(router uint16, l uint32) {
		h.hear(routerA, router, pio(first, "LA", l, l), rio("2001:db8:8000::/33", 0, l), rdnss(l, "2001:db8::53"))
	}
	count := func() string {
		return fmt.Sprint(len(h.Routers(h.now)), len(h.Addresses(h.now)), len(h.Routes(h.now)), len(h.RDNSS(h.now)))
	}
	all(179, 179)
	if count() != "0 0 0 0" {
		t.Errorf("179 s: %s", count())
	}
	all(180, 180)
	if count() != "1 1 1 1" {
		t.Errorf("180 s: %s", count())
	}
	all(0, 0)
	if count() != "0 1 0 0" {
		t.Errorf("0 s: %s", count())
	}
}

// A type C host follows the longest route, and ::/0 overrules the router lifetime; others do not look.
func TestRFC4191_3_1_TypeC(t *testing.T) {
	for _, typeC := range []bool{true, false} {
		h := start(t, Config{TypeC: typeC})
		h.hear(routerA, 1800, rio("::/0", 0, 0))
		if hop, ok := h.NextHop(h.now, world); ok == typeC {
			t.Errorf("type C %v: %v after a ::/0 of lifetime 0", typeC, hop)
		}
		h.hear(routerA, 1800)
		h.hear(routerB, 0, rio("2001:db8:ffff::/48", 0, 600), rio("2001:db8:fffe::/48", 0b10, 600))
		if hop, _ := h.NextHop(h.now, world); (hop.Router == routerB) != typeC {
			t.Errorf("type C %v: via %v", typeC, hop)
		}
		if hop, _ := h.NextHop(h.now, netip.MustParseAddr("2001:db8:fffe::1")); hop.Router != routerA {
			t.Errorf("via %v by an option of reserved preference", hop)
		}
	}
}

// Lifetime 0 removes, and each entry ends by itself.
func TestRFC8106_6_Lists(t *testing.T) {
	h := start(t, Config{})
	h.hear(routerA, 1800, rdnss(600, "2001:db8::53", "2001:db8::54"), dnssl(300, "\x03lan\x00\x01a\x07example\x00"),
		append([]byte{38, 2, 0x02, 0x58}, netip.MustParseAddr("64:ff9b::").AsSlice()[:12]...))
	want := func(servers int, domains string, nat64 int) {
		t.Helper()
		if len(h.RDNSS(h.now)) != servers || fmt.Sprint(h.DNSSL(h.now)) != domains || len(h.PREF64(h.now)) != nat64 {
			t.Errorf("at %v: %v %v %v", h.now.Sub(t0), h.RDNSS(h.now), h.DNSSL(h.now), h.PREF64(h.now))
		}
	}
	want(2, "[lan a.example]", 1)
	h.hear(routerA, 1800, rdnss(0, "2001:db8::53"), []byte{25, 2, 15: 0})
	want(1, "[lan a.example]", 1)
	h.at(299 * time.Second)
	want(1, "[lan a.example]", 1)
	h.at(300 * time.Second)
	want(1, "[]", 1)
	h.at(600 * time.Second)
	want(0, "[]", 0)
}

// Random octets behind a good header neither panic nor leave more than the bounds.
func FuzzReceive(f *testing.F) {
	f.Add(message(1800, 0, slla(), pio(first, "LA", 5400, 2700), rdnss(600, "2001:db8::53")))
	f.Add(message(0, 0x18, rio("2001:db8::/33", 1, 5), dnssl(300, "\x03lan\x00")))
	f.Add(append(message(1, 0), 31, 1, 0, 0, 0, 0, 0, 0, 38, 2, 0, 7))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := New(Config{MAC: mac, TypeC: true, TempAddrs: true, Optimistic: true, Rule55: true}, func() float64 { return 0.5 })
		h.Step(t0, LinkUp{})
		h.Step(t0, Received{Src: routerA, HopLimit: 255, Data: data})
		now := t0.Add(2 * time.Second)
		h.Step(now, Tick{})
		h.Source(now, world)
		if len(h.addrs) > maxAddresses || len(h.servers) > maxNamed || len(h.domains) > maxNamed {
			t.Errorf("%d addresses, %d servers, %d domains", len(h.addrs), len(h.servers), len(h.domains))
		}
	})
}
