// SPDX-License-Identifier: MIT

package router

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/dataplane"
	"oasis6/dhcpv6"
)

// regain is one way to lose the way to the Internet, and within which time every host has it back after f returns.
type regain struct {
	name   string
	within time.Duration
	f      func(*world)
}

// A host has its global address and a connection that works again after its link, its sleep, the bridge, the box or
// the hub was gone. Measured from the instant at which the cause ended; the times are printed.
func TestHostsRegainTheirAddress(t *testing.T) {
	all := func(w *world, f func(*lanHost)) {
		for _, h := range w.hosts {
			f(h)
		}
	}
	for _, tc := range []regain{
		{"link down for 3 s", joinedWithin, func(w *world) {
			all(w, w.unplug)
			w.sleepFor(3 * time.Second)
			all(w, w.plug)
		}},
		{"bridge without carrier for 3 s", joinedWithin, func(w *world) {
			l := lanLink(lanName)
			l.Up, l.LinkLocal = false, netip.Addr{}
			w.b.plane.SetLink(l)
			all(w, w.unplug)
			w.sleepFor(3 * time.Second)
			w.b.plane.SetLink(lanLink(lanName))
			all(w, w.plug)
		}},
		{"hosts suspended for 8 h", joinedWithin, func(w *world) {
			all(w, w.sleep)
			for range 8 * 60 {
				w.sleepFor(time.Minute)
			}
			all(w, func(h *lanHost) { w.resume(h, 8*time.Hour) })
		}},
		{"box rebooted, links stayed up", newAddressWithin, func(w *world) {
			state := w.b.opt.State
			w.powerOff()
			w.sleepFor(30 * time.Second)
			w.boot(w.far.prefix, state, "next", false)
		}},
		{"box rebooted, links went down", joinedWithin, func(w *world) {
			state := w.b.opt.State
			w.powerOff()
			all(w, w.unplug)
			w.sleepFor(30 * time.Second)
			w.boot(w.far.prefix, state, "next", false)
			all(w, w.plug)
		}},
		{"box killed, successor 5 s later", newAddressWithin, func(w *world) {
			state := w.b.opt.State
			w.kill()
			w.sleepFor(5 * time.Second)
			w.boot(w.far.prefix, state, "boot", true)
		}},
		// The next initiation may be 5.3 s away.
		{"WAN gone for 60 s, same prefix", newAddressWithin + 5300*time.Millisecond, func(w *world) {
			w.far.answer(false)
			w.sleepFor(time.Minute)
			w.far.answer(true)
		}},
		{"WAN gone for 60 s, another prefix", newAddressWithin + 5300*time.Millisecond, func(w *world) {
			w.far.answer(false)
			w.sleepFor(time.Minute)
			w.far.renumber(poolPrefix(1), namedZero)
			w.far.answer(true)
		}},
		{"WAN changed without an outage", newAddressWithin, func(w *world) {
			w.far.renumber(poolPrefix(1), namedZero)
			w.far.events <- endpointChanged("203.0.113.9:51820")
			w.far.reconfigure(dhcpv6.Renew)
		}},
	} {
		synctest.Test(t, func(t *testing.T) { tc.run(t) })
	}
}

// sleepFor lets d go by, in steps in which everything is delivered in time. There is traffic.
func (w *world) sleepFor(d time.Duration) {
	const step = 20 * time.Millisecond
	for end := time.Now().Add(d); time.Now().Before(end); {
		if d < time.Minute {
			time.Sleep(step)
		} else {
			time.Sleep(time.Second)
		}
		w.settle()
		if w.alive {
			w.far.traffic()
		}
	}
}

func (tc regain) run(t *testing.T) {
	w := newWorld(t, 1, poolPrefix(0))
	defer func() { w.b.end() }()
	w.sleepFor(20 * time.Second)
	dst := destination(0)
	for _, h := range w.hosts {
		if _, v := w.open(h, dst); v != works {
			t.Fatalf("%s: %q has no connection to begin with", tc.name, h.kind)
		}
	}
	tc.f(w)
	w.settle()
	begin := time.Now()
	took := map[string]time.Duration{}
	for len(took) < len(w.hosts) && time.Since(begin) < time.Minute {
		for _, h := range w.hosts {
			_, v := w.open(h, dst)
			if _, ok := took[h.kind]; !ok && v == works {
				took[h.kind] = time.Since(begin)
			}
		}
		w.sleepFor(20 * time.Millisecond)
	}
	for _, h := range w.hosts {
		d, ok := took[h.kind]
		if !ok || d > tc.within {
			t.Errorf("%s: %q has a connection after %v (%v), want within %v", tc.name, h.kind, d, ok, tc.within)
		}
		t.Logf("%-36s %-24s %6.2f s", tc.name, h.kind, d.Seconds())
	}
	if w.want.Firewall.Tunnel == "" || len(w.want.Firewall.Delegations) == 0 {
		t.Errorf("%s: the kernel has %v", tc.name, dataplane.Desired{Firewall: w.want.Firewall})
	}
}
