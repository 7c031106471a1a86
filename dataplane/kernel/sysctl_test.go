// SPDX-License-Identifier: MIT

package kernel

import (
	"testing"
	"time"
)

// The kernel tells of forwarding, but not of accept_ra, autoconf and accept_redirects.
func TestSilentSysctlIsDrift(t *testing.T) {
	w := newWorld(t)
	w.recheck = 50 * time.Millisecond
	w.open()
	w.apply(w.desired())
	w.lanReady()
	for _, c := range []struct{ iface, name, bad, good string }{
		{"br-lan", "accept_ra", "1", "0"},
		{"br-lan", "autoconf", "1", "0"},
		{"br-lan", "accept_redirects", "1", "0"},
		{"oasis0", "accept_ra", "2", "0"},
	} {
		key := "net.ipv6.conf." + c.iface + "." + c.name
		w.box.Sysctl(key, c.bad)
		w.drift(driftWithin, "sysctl "+key+" is "+c.bad)
		w.apply(w.desired())
		if got := w.box.SysctlGet(key); got != c.good {
			t.Errorf("%s = %s, want %s", key, got, c.good)
		}
	}
	w.box.Sysctl("net.ipv6.conf.eth0.autoconf", "0") // not ours
	w.quiet(300 * time.Millisecond)
}

func TestSysctlsAreLookedAtEvery15s(t *testing.T) {
	w := newWorld(t)
	if got := w.open().watch.recheck; got != 15*time.Second {
		t.Errorf("period = %v, want 15s", got)
	}
}
