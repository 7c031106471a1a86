// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// "The IPv6 CE router MUST support router behavior according to Neighbor Discovery for IPv6": it solicits nothing,
// advertises by itself and answers.
func TestRFC7084_L1_RouterBehaviour(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, rsFrom(hostA))
	w.until(time.Hour)
	unicast := 0
	for _, r := range w.sent {
		if !r.multicast() {
			unicast++
		}
		if r.data[0][0] != TypeRouterAdvertisement {
			t.Errorf("sent %x", r.data[0])
		}
	}
	if unicast != 1 || len(multicasts(w.sent)) < 7 {
		t.Errorf("%d unicast, %d multicast in an hour", unicast, len(multicasts(w.sent)))
	}
}

// A and L of the Prefix Information option are what the content says, each for itself.
func TestRFC7084_L7_FlagsAsConfigured(t *testing.T) {
	for i := range 4 {
		p := forever(prefixA)
		p.OnLink, p.Autonomous = i&1 > 0, i&2 > 0
		w := startWorld(t, half, content(p))
		if pio := w.sent[0].pio(t, prefixA); pio.OnLink != p.OnLink || pio.Autonomous != p.Autonomous {
			t.Errorf("%+v for L %v A %v", pio, p.OnLink, p.Autonomous)
		}
	}
}

// M and O are what the content says, and a change is told.
func TestRFC7084_L9_ManagedAndOther(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	for i := range 4 {
		c.Managed, c.OtherConfig = i&1 > 0, i&2 == 0
		if r := w.at(time.Duration(i+1)*100*time.Second, SetContent{Content: c}); len(r) != 1 || r[0].ra.Managed != c.Managed || r[0].ra.OtherConfig != c.OtherConfig {
			t.Errorf("%d: sent %v", i, r)
		}
	}
}

func TestRFC7084_L11_RDNSSAndDNSSL(t *testing.T) {
	r := startWorld(t, half, full()).sent[0]
	server, ok1 := r.server(dns2)
	domain, ok2 := r.domain("lan.example")
	if !ok1 || !ok2 || server != 5400 || domain != 5400 {
		t.Errorf("server %d, domain %d", server, domain)
	}
}

// "If the delegated prefix changes, i.e., the current prefix is replaced with a new prefix without any overlapping time
// period, then the IPv6 CE router MUST immediately advertise the old prefix with a Preferred Lifetime of zero".
func TestRFC7084_L13_OldPrefixAtOnce(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(5*time.Second, rsFrom(hostA))
	ras := w.at(17*time.Second, SetContent{Content: content(forever(prefixB))}) // the floor ends at 19 s
	wantSent(t, ras, "17s fe80::a")
	wantSent(t, w.until(19*time.Second), "19s ff02::1")
	for _, r := range w.sent[len(w.sent)-2:] {
		if old := r.pio(t, prefixA); old.Preferred != 0 || r.pio(t, prefixB).Preferred != 2700 {
			t.Errorf("at %v: %+v", r.at, old)
		}
	}
}

// "An IPv6 CE router MUST NOT advertise itself as a default router with a Router Lifetime greater than zero whenever all
// of its configured and delegated prefixes are ULA prefixes."
func TestRFC7084_ULA5_ULAAlone(t *testing.T) {
	for _, prefixes := range [][]Prefix{{forever(ulaP)}, {forever(ulaP), lease(prefixA, 0, 0, 0)}} {
		if r := startWorld(t, half, content(prefixes...)).sent[0]; r.ra.RouterLifetime != 0 {
			t.Errorf("router lifetime %d", r.ra.RouterLifetime)
		}
	}
	if r := startWorld(t, half, content(forever(ulaP), forever(prefixA))).sent[0]; r.ra.RouterLifetime != 2700 {
		t.Errorf("beside a global one %d", r.ra.RouterLifetime)
	}
}

// A /64 and what is no /64 are both told; a preferred lifetime above the valid one is cut to it.
func TestCE_2_7_01_PrefixesToLANs(t *testing.T) {
	p60 := pfx("2001:db8:0:f0::/60")
	w := startWorld(t, half, content(forever(prefixA), forever(p60), lease(prefixB, 0, 5000, 1000)))
	r := w.sent[0]
	for _, c := range []struct {
		prefix           netip.Prefix
		valid, preferred uint32
	}{{prefixA, 5400, 2700}, {p60, 5400, 2700}, {prefixB, 1000, 1000}} {
		if pio := r.pio(t, c.prefix); pio.Valid != c.valid || pio.Preferred != c.preferred {
			t.Errorf("%v: %d/%d", c.prefix, pio.Valid, pio.Preferred)
		}
	}
}

func TestCE_2_7_02_RouteInformation(t *testing.T) {
	c := content(forever(prefixA), forever(ulaP))
	ulaSite := pfx("fd00:6:6::/48")
	c.Routes = []Route{{delegation, Low, fromSeconds(4000)}, {ulaSite, Medium, fromSeconds(1 << 31)}}
	r := startWorld(t, half, c).sent[0]
	if a, _ := r.route(delegation); a != (RouteInformation{delegation, Low, 4000}) {
		t.Errorf("delegation %+v", a)
	}
	if u, _ := r.route(ulaSite); u != (RouteInformation{ulaSite, Medium, 5400}) {
		t.Errorf("ULA %+v", u)
	}
}

// Nothing delegated: not a word. Not renewed: the end is told in its instant, and that we lead nowhere.
func TestCE_2_7_03_NoneDelegated(t *testing.T) {
	w := startWorld(t, half, Content{DefaultRouter: true, OtherConfig: true})
	w.at(10*time.Second, rsFrom(hostA))
	wantSent(t, w.until(time.Hour))
	w = startWorld(t, half, content(lease(prefixA, 0, 600, 1200)))
	w.until(1200 * time.Second)
	r := w.sent[len(w.sent)-1]
	if pio := r.pio(t, prefixA); r.at != 1200*time.Second || pio.Valid != 0 || r.ra.RouterLifetime != 0 {
		t.Errorf("at %v: %+v, router lifetime %d", r.at, pio, r.ra.RouterLifetime)
	}
}

// A host that ignores nonzero lifetimes under 180 s of routers, as Android does, over three hours of short leases, limits
// and an uplink that comes and goes: it never holds a router that is none for longer than the RA on its way, and never
// loses one that is.
func TestRA_31_AndroidHost(t *testing.T) {
	for _, limit := range []time.Duration{0, MinPrefixLimit, 10 * time.Minute} {
		w := newWorld(t, Config{}, seeded(31))
		w.step(linkUp)
		up, until, checked := false, time.Duration(0), 0
		hear := func(ras []sentRA) {
			for _, r := range ras {
				if l := r.ra.RouterLifetime; l == 0 || l >= 180 {
					until = r.at + time.Duration(l)*time.Second
				}
			}
		}
		for i := range 180 {
			at := time.Duration(i) * time.Minute
			w.until(at)
			hear(w.sent)
			if i > 0 && up != (until > at) {
				t.Fatalf("limit %v, at %v: up is %v, host holds a router until %v", limit, at, up, until)
			}
			checked++
			up = i%7 != 3
			p := lease(prefixA, at, 120, 170)
			p.Limit = limit
			hear(w.step(SetContent{Content: Content{DefaultRouter: up, Prefixes: []Prefix{p}}}))
		}
		if checked != 180 {
			t.Error("nothing was checked")
		}
	}
}

// The same sequence gives the same octets: nothing depends on the order of a map or on a clock.
func TestStepIsDeterministic(t *testing.T) {
	run := func() (out []string) {
		w := startWorld(t, seeded(4), full())
		w.at(10*time.Second, rsFrom(hostA))
		w.at(20*time.Second, foreign(hostB, nil, MTU(1500)))
		w.at(30*time.Second, SetContent{Content: content(forever(prefixB))})
		w.until(time.Hour)
		for _, r := range w.sent {
			out = append(out, fmt.Sprintf("%v %v %x", r.at, r.to, r.data))
		}
		return out
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
}
