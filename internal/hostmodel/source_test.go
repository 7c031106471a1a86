// SPDX-License-Identifier: MIT

package hostmodel

import (
	"net/netip"
	"testing"
	"time"
)

// One row for each rule that can matter on one interface: what the host was told, and which source it takes.
func TestRFC6724_5_Rules(t *testing.T) {
	const ula = "fd00:db8::/64"
	for _, tc := range []struct {
		name string
		cfg  Config
		tell func(*hostTest)
		dst  string
		want string
	}{
		{"rule 2: a link-local destination", Config{}, nil, "fe80::1", "fe80::/64"},
		{"rule 2: a global one", Config{}, nil, world.String(), first},
		{"rule 3: deprecated loses, also with a longer match", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio("2001:db8:ffff::/64", "A", 5400, 0))
		}, world.String(), first},
		{"rule 3: the only one is taken all the same", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio(first, "LA", 0, 0))
		}, world.String(), first},
		{"rule 5.5 lacking: the longest match", Config{}, twoRouters, world.String(), "2001:db8:c000::/64"},
		{"rule 5.5: what the next hop advertised", Config{Rule55: true}, twoRouters, world.String(), first},
		{"rule 6: ULA to ULA", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio(ula, "A", 5400, 2700))
		}, "fd00:db8:1::1", ula},
		{"rule 6: not ULA to the world", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio(ula, "A", 5400, 2700))
		}, world.String(), first},
		{"rule 3 before rule 6: ULA if the global one is deprecated", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio(ula, "A", 5400, 2700), pio(first, "LA", 0, 0))
		}, world.String(), ula},
		{"rule 8: the longest match", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio("2001:db8:fffe::/64", "A", 5400, 2700))
		}, world.String(), "2001:db8:fffe::/64"},
		{"rule 8 ends at the length of the prefix, then the newest", Config{}, func(h *hostTest) {
			h.hear(routerA, 1800, pio("2001:db8:1:1::/64", "A", 5400, 2700))
		}, world.String(), "2001:db8:1:1::/64"},
	} {
		h := start(t, tc.cfg)
		h.hear(routerA, 1800, pio(first, "LA", 5400, 2700))
		if tc.tell != nil {
			tc.tell(h)
		}
		h.at(3 * time.Second)
		src, ok := h.Source(h.now, netip.MustParseAddr(tc.dst))
		if !ok || !netip.MustParsePrefix(tc.want).Contains(src) {
			t.Errorf("%s: source %v %v, want one of %s", tc.name, src, ok, tc.want)
		}
	}
}

// twoRouters has another router of low preference advertise a prefix that fits the destination better.
func twoRouters(h *hostTest) {
	h.step(Received{Src: routerB, HopLimit: 255, Data: message(1800, 0b11<<3, pio("2001:db8:c000::/64", "A", 5400, 2700))})
}

// Rule 1: the destination itself.
func TestRFC6724_5_OwnAddress(t *testing.T) {
	h := start(t, Config{})
	h.hear(routerA, 1800, pio(first, "LA", 5400, 2700), pio(second, "LA", 5400, 2700))
	h.at(3 * time.Second)
	for _, a := range h.Addresses(h.now) {
		if src, _ := h.Source(h.now, a.Addr); src != a.Addr {
			t.Errorf("source %v to %v", src, a.Addr)
		}
	}
}

// Rule 7, and that 0/0 deprecates both kinds.
func TestRFC8981_3_4_TemporaryAddresses(t *testing.T) {
	h := start(t, Config{TempAddrs: true})
	h.hear(routerA, 1800, pio(first, "LA", 30*86400, 7*86400))
	h.at(3 * time.Second)
	as := h.Addresses(h.now)
	if len(as) != 2 || as[0].Temporary || !as[1].Temporary || as[0].Addr == as[1].Addr {
		t.Fatalf("addresses %+v", as)
	}
	if src, _ := h.Source(h.now, world); src != as[1].Addr {
		t.Errorf("source %v, want the temporary one", src)
	}
	if v := as[1].Valid.Left(t0); v != tempValid {
		t.Errorf("temporary address valid for %v", v)
	}
	h.hear(routerA, 1800, pio(first, "LA", 0, 0))
	for _, a := range h.Addresses(h.now) {
		if !a.Deprecated(h.now) {
			t.Errorf("%v is not deprecated", a.Addr)
		}
	}
}
