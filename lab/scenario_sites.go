// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"net/netip"
	"time"

	"oasis6/lab/host"
)

// Scenarios with more than one router of a site.

// twoSites: each has its own prefix, and they are strangers unless the hub says otherwise.
func twoSites(*World) []step {
	other := func(w *World) netip.Addr { return w.address(nodeH1B) }
	return append(beginning(),
		waitFor("h1b, behind another NAT, has an address of the second site's prefix", "RFC 9915 section 6.3", 15*time.Second, func(w *World) (bool, string) {
			a, b := w.address(nodeH1), w.address(nodeH1B)
			if !a.IsValid() || !b.IsValid() {
				return false, addressText(b)
			}
			p, _ := a.Prefix(64) // 64 fits every IPv6 address
			return !p.Contains(b), b.String()
		}),
		fetched("h1b fetches "+wwwName, nodeH1B, "http://"+wwwName+"/", true, seenFrom(other)),
		forbidden("h1 may not reach h1b, and is told so", "RFC 4443 section 3.1", other),
		act("The hub's owner writes SiteToSite = yes, and sends SIGHUP", "", func(w *World) error {
			w.hub.siteToSite = true
			w.sayUser("sites may reach each other")
			w.hub.reload()
			return nil
		}),
		pinged("h1 pings h1b: through both tunnels, by the hub", nodeH1, other, host.PingOptions{}, 15*time.Second),
	)
}

// forbidden is a step in which h1's ping is refused with code 1, administratively prohibited.
func forbidden(name, rfc string, to func(*World) netip.Addr) step {
	t := &tries{}
	return step{name: name, rfc: rfc, within: 10 * time.Second, begin: func(*World) error { *t = tries{}; return nil },
		done: func(w *World) (bool, string) {
			if t.done || t.busy || w.Engine.Now().Sub(t.last) < again {
				return t.done, t.found
			}
			t.busy, t.last = true, w.Engine.Now()
			w.hosts[nodeH1].Ping(to(w), host.PingOptions{}, func(p host.Pong) {
				t.busy = false
				e, is := p.Err.(host.ICMPError)
				t.done, t.found = is && e.Type == 1 && e.Code == 1, fmt.Sprint(p.Err)
			})
			return t.done, t.found
		}}
}

// routerBehind: prefixes go on downwards, RFC 9818.
func routerBehind(*World) []step {
	return append(beginning(),
		waitFor("r3, behind the LAN, asks the box for a prefix and gets one", "RFC 9818 section 5.1", 30*time.Second, func(w *World) (bool, string) {
			p := w.r3.delegated()
			return p.IsValid(), fmt.Sprint(p)
		}),
		waitFor("h3, behind r3, has an address of it", "RFC 4862 section 5.5", 15*time.Second, func(w *World) (bool, string) {
			a := w.address(nodeH3)
			return a.IsValid() && w.r3.delegated().Contains(a), addressText(a)
		}),
		fetched("h3 fetches "+wwwName+", through r3, the box and the tunnel", nodeH3, "http://"+wwwName+"/", true,
			seenFrom(func(w *World) netip.Addr { return w.address(nodeH3) })),
		pinged("h1 pings h3 on the same site", nodeH1, func(w *World) netip.Addr { return w.address(nodeH3) }, host.PingOptions{}, 10*time.Second),
	)
}
