// SPDX-License-Identifier: MIT

package netlab

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// dibblerConfig is a file for dibbler-server 1.0.1. Without Rapid Commit: dibbler hands the key for Reconfigure out
// in a Reply to a Request only.
func (w *World) dibblerConfig(pool netip.Prefix) string {
	c := w.Config
	secs := func(d time.Duration) int { return int(d / time.Second) }
	return fmt.Sprintf(`log-level 8
log-mode short
auth-protocol reconfigure-key
auth-replay monotonic
reconfigure-enabled 1
iface "wg0" {
	t1 %d
	t2 %d
	prefered-lifetime %d
	valid-lifetime %d
	pd-class {
		pd-pool %s
		pd-length %d
	}
	option dns-server %s
	option domain %s
}
`, secs(c.Preferred/2), secs(c.Preferred*4/5), secs(c.Preferred), secs(c.Valid), pool, c.DelegatedLen, DNSv6, SearchList)
}

// StartDibbler runs dibbler-server on R2 in place of Kea: use NoDHCPv6, and StartR2 before. It is the one free server
// that signs Reconfigures and is not ours. Its replay detection is always 0, in the Reply that hands the
// key out and in each Reconfigure: a client that follows RFC 9915 section 20.3 believes none.
func (w *World) StartDibbler() *Proc {
	w.T.Helper()
	Need(w.T, "dibbler-server")
	for _, dir := range []string{"/etc/dibbler", "/var/lib/dibbler", "/var/log/dibbler"} {
		w.R2.Tmpfs(dir)
	}
	return w.runDibbler(w.Config.Pool)
}

// DibblerRenumber stops dibbler and starts it with another pool. It then sends a Reconfigure to each client that has a
// prefix of the old one, once.
func (w *World) DibblerRenumber(p *Proc, pool netip.Prefix) *Proc {
	w.T.Helper()
	w.Route(pool)
	p.Stop(unix.SIGTERM)
	return w.runDibbler(pool)
}

func (w *World) runDibbler(pool netip.Prefix) *Proc {
	w.T.Helper()
	w.R2.WriteFile("/etc/dibbler/server.conf", w.dibblerConfig(pool), 0o644)
	p := w.R2.Start("dibbler-server", "run")
	if !p.WaitOutput(startTimeout, "Server begins operation") {
		w.T.Fatalf("r2: dibbler-server does not serve:\n%s", p.Output())
	}
	return p
}
