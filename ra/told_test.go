// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"testing"
	"time"
)

// What is taken away goes by unicast at once to those who ever solicited if the floor holds back the
// multicast.
func TestTakenAwayIsToldAtOnce(t *testing.T) {
	base := content(forever(prefixA), forever(prefixB))
	base.RDNSS = []netip.Addr{dns2}
	without := map[string]func(*Content){
		"prefix": func(c *Content) { c.Prefixes = c.Prefixes[:1] },
		"router": func(c *Content) { c.DefaultRouter = false },
		"server": func(c *Content) { c.RDNSS = nil },
		"preferred": func(c *Content) {
			c.Prefixes = []Prefix{forever(prefixA), lease(prefixB, 0, 0, 5000)}
		},
	}
	for name, change := range without {
		w := startWorld(t, half, base)
		w.at(5*time.Second, rsFrom(hostA))
		w.at(6*time.Second, rsFrom(hostB))
		w.until(17 * time.Second)
		c := base
		change(&c)
		ras := w.step(SetContent{Content: c})
		wantSent(t, ras, "17s fe80::a", "17s fe80::b")
		if &ras[0].data[0][0] != &ras[1].data[0][0] {
			t.Errorf("%s: the same RA was built twice", name)
		}
		wantSent(t, w.step(SetContent{Content: c}))
		wantSent(t, w.until(20*time.Second), "19s ff02::1")
		// Given and taken again while the floor holds: those who were told meanwhile hear of it, the third time a second later.
		w.at(20*time.Second, SetContent{Content: base})
		again, later := []string(nil), []string(nil)
		if name == "router" { // that it is back was told at once
			again, later = []string{"20.1s fe80::a", "20.1s fe80::b"}, []string{"21s fe80::a", "21s fe80::b"}
		}
		wantSent(t, w.at(20*time.Second+100*time.Millisecond, SetContent{Content: c}), again...)
		w.at(20*time.Second+200*time.Millisecond, SetContent{Content: base})
		w.at(20*time.Second+300*time.Millisecond, SetContent{Content: c})
		wantSent(t, w.until(22*time.Second-1), later...)
		w.at(25*time.Second, SetContent{Content: c})
		w.until(60 * time.Second)
		w.at(60*time.Second, PortUp{})
		w.at(60*time.Second+100*time.Millisecond, SetContent{Content: base})
		w.at(60*time.Second+200*time.Millisecond, rsFrom(hostA))
		wantSent(t, w.until(61500*time.Millisecond), "1m0.45s fe80::a")
		wantSent(t, w.step(SetContent{Content: c}), "1m1.5s fe80::a", "1m1.5s fe80::b")
	}
}

// The way to the Internet that is back is told at once too: a host that was just told to give it up would
// else wait for the floor.
func TestRouterRoleThatIsBackIsToldAtOnce(t *testing.T) {
	base := content(forever(prefixA))
	w := startWorld(t, half, base)
	w.at(5*time.Second, rsFrom(hostA))
	w.until(30 * time.Second)
	c := base
	c.DefaultRouter = false
	wantSent(t, w.step(SetContent{Content: c}), "30s ff02::1")
	w.until(31 * time.Second)
	wantSent(t, w.step(SetContent{Content: base}), "31s fe80::a")
	wantSent(t, w.step(SetContent{Content: base}))
	wantSent(t, w.until(34*time.Second), "33s ff02::1")
}

// Gone and back within a second, both behind the floor: hosts hear of both at once, and of a third turn a second later,
// not at the floor.
func TestRouterRoleThatIsBackAtOnce(t *testing.T) {
	base := content(forever(prefixA))
	w := startWorld(t, half, base)
	w.at(5*time.Second, rsFrom(hostA))
	w.until(16 * time.Second)
	w.at(16*time.Second, PortUp{}) // a multicast, and with it the floor
	c := base
	c.DefaultRouter = false
	neighbors := []netip.Addr{hostB} // the data plane has seen it; it never solicited
	wantSent(t, w.at(16500*time.Millisecond, SetContent{Content: c, Neighbors: neighbors}), "16.5s fe80::b", "16.5s fe80::a")
	wantSent(t, w.at(16700*time.Millisecond, SetContent{Content: base, Neighbors: neighbors}), "16.7s fe80::b", "16.7s fe80::a")
	wantSent(t, w.at(16800*time.Millisecond, SetContent{Content: c, Neighbors: neighbors}))
	wantSent(t, w.until(18*time.Second), "17.5s fe80::b", "17.5s fe80::a")
	if r := w.sent[len(w.sent)-1].ra; r.RouterLifetime != 0 {
		t.Error("the host was not told that the router is gone")
	}
	wantSent(t, w.until(20*time.Second), "19s ff02::1")
}

// Neighbors of the data plane hear what those hear who solicited, nobody twice, and what is no host's address never.
func TestNeighborsAreToldAtOnce(t *testing.T) {
	base := content(forever(prefixA))
	w := startWorld(t, half, base)
	w.at(5*time.Second, rsFrom(hostA))
	w.until(17 * time.Second)
	c := base
	c.DefaultRouter = false
	neighbors := []netip.Addr{hostB, hostA, hostB, AllNodes, netip.IPv6Unspecified()}
	wantSent(t, w.step(SetContent{Content: c, Neighbors: neighbors}), "17s fe80::b", "17s fe80::a")
	// They are not remembered: the next who are told are those whom the next event names.
	w.until(18 * time.Second)
	wantSent(t, w.step(SetContent{Content: base}), "18s fe80::a")
}
