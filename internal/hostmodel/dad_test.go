// SPDX-License-Identifier: MIT

package hostmodel

import (
	"net/netip"
	"testing"
	"time"
)

// The host solicits when its link-local address has passed, uses an address when it is told that nobody else has it, and
// tries three others if somebody has.
func TestRealDAD(t *testing.T) {
	h := start(t, Config{RealDAD: true})
	h.at(time.Minute)
	if len(h.sent) > 0 {
		t.Error("solicits from a tentative address")
	}
	h.step(DAD{Addr: h.LinkLocal()})
	h.at(time.Minute)
	if len(h.sent) != 1 {
		t.Errorf("%d solicitations", len(h.sent))
	}
	h.hear(routerA, 1800, pio(first, "LA", 5400, 2700))
	seen := map[netip.Addr]bool{}
	for i := range 4 {
		a := h.address(first)
		if seen[a.Addr] || a.Duplicate {
			t.Fatalf("try %d: %+v", i, a)
		}
		delay := idGenDelay
		if i == 0 {
			delay = maxRtrSolicitationDelay / 2
		}
		if a.Probe.Sub(h.now) != delay {
			t.Errorf("try %d: probe after %v, want %v", i, a.Probe.Sub(h.now), delay)
		}
		seen[a.Addr] = true
		h.at(h.now.Sub(t0) + time.Minute)
		if src, _ := h.Source(h.now, world); seen[src] {
			t.Errorf("try %d: uses the tentative %v", i, src)
		}
		if i == 2 {
			h.step(DAD{Addr: netip.MustParseAddr("2001:db8::1"), Duplicate: true}) // another one's
		}
		h.step(DAD{Addr: a.Addr, Duplicate: true})
	}
	if a := h.address(first); !a.Duplicate {
		t.Errorf("after four duplicates: %+v", a)
	}
	h.hear(routerA, 1800, pio(first, "LA", 5400, 2700), pio(second, "LA", 5400, 2700))
	h.step(DAD{Addr: h.address(first).Addr})
	h.step(DAD{Addr: h.address(second).Addr})
	if src, _ := h.Source(h.now, world); src != h.address(second).Addr {
		t.Errorf("source %v", src)
	}
}

func TestViewNamesWhoGaveWhat(t *testing.T) {
	h := start(t, Config{TypeC: true})
	h.hear(routerA, 1800, pio(first, "LA", 5400, 2700), rdnss(600, "2001:db8::53"), dnssl(300, "\x03lan\x00"))
	h.hear(routerB, 900, pio(first, "LA", 5400, 2700), rio("2001:db8:ffff::/48", 1, 600))
	if a := h.address(first); len(a.From) != 2 || a.From[0] != routerA || a.From[1] != routerB {
		t.Errorf("address from %v", a.From)
	}
	s, d, table := h.Servers(h.now), h.Domains(h.now), h.Table(h.now)
	if len(s) != 1 || s[0].From != routerA || len(d) != 1 || d[0].From != routerA {
		t.Errorf("DNS: %v %v", s, d)
	}
	if len(table) != 4 || table[1].From != routerB || table[1].Preference != 1 || table[2].Via != routerA || table[3].Via != routerB {
		t.Errorf("routes: %v", table)
	}
	for _, want := range []time.Duration{300, 600, 900, 1800, 2700, 5400} {
		at := h.NextExpiry(h.now)
		if at.Sub(t0) != want*time.Second {
			t.Fatalf("next end after %v, want %v s", at.Sub(t0), want)
		}
		h.at(at.Sub(t0))
	}
	if at := h.NextExpiry(h.now); !at.IsZero() {
		t.Errorf("one more end: %v", at)
	}
}
