// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"net/netip"
	"time"

	"oasis6/lab/host"
)

// Scenarios of what happens to the tunnel and its path.

var wwwAt = netip.MustParsePrefix(wwwAddr6).Addr()

// natRebind: a NAT restarts, as cheap ones do.
func natRebind(*World) []step {
	var before string
	var had [2]netip.Addr
	return append(beginning(),
		pinged("h1 pings "+wwwName+" through the tunnel", nodeH1, fixed(wwwAddr6), host.PingOptions{}, 10*time.Second),
		act("The carrier's NAT restarts and forgets its table", "", func(w *World) error {
			before = w.siteEndpoint(nodeR1)
			had = [2]netip.Addr{w.address(nodeH1), w.address(nodeH2)}
			return w.rebind(nodeNAT2)
		}),
		pinged("h1 pings on; the box's next packet opens a new mapping", nodeH1, fixed(wwwAddr6), host.PingOptions{}, 30*time.Second),
		waitFor("The hub has learnt the site's new place from an authenticated packet", "", 10*time.Second, func(w *World) (bool, string) {
			now := w.siteEndpoint(nodeR1)
			return now != "" && now != before, fmt.Sprintf("%s, before %s", now, before)
		}),
		waitFor("Nobody lost an address", "", time.Second, func(w *World) (bool, string) {
			a, b := w.address(nodeH1), w.address(nodeH2)
			return a == had[0] && b == had[1], fmt.Sprintf("h1 has %s, h2 has %s", addressText(a), addressText(b))
		}),
	)
}

// siteEndpoint is where the hub believes a site to be.
func (w *World) siteEndpoint(name string) string {
	s, ok := w.hub.status()
	if !ok {
		return ""
	}
	for _, x := range s.Sites {
		if x.Name == name {
			return x.Endpoint
		}
	}
	return ""
}

// deadAfter is how long the box may take to know that the hub is gone, with an advertisement's delay.
const deadAfter = 60 * time.Second

// tunnelDown: the truth is told to hosts, and taken back.
func tunnelDown(*World) []step {
	var had netip.Addr
	return append(beginning(),
		pinged("h1 pings "+wwwName, nodeH1, fixed(wwwAddr6), host.PingOptions{}, 10*time.Second),
		act("The carrier begins to swallow the tunnel", "", func(w *World) error {
			had = w.address(nodeH1)
			w.cut(true)
			return nil
		}),
		waitFor("The box is no default router any more: h1 has no default route", "RFC 7084 section 4.1 G-5", deadAfter, func(w *World) (bool, string) {
			if w.hasDefault(nodeH1) {
				return false, "h1 has one still"
			}
			return true, "h1 has none"
		}),
		failsAtOnce("What h1 tries now fails at once, without waiting", ""),
		waitFor("Its address stays: it is still delegated", "", time.Second, func(w *World) (bool, string) {
			a := w.address(nodeH1)
			return a == had, addressText(a)
		}),
		fetched("IPv4 has noticed nothing", nodeH1, "http://"+addr4(wwwAddr4).String()+"/", false, seenFrom(func(*World) netip.Addr { return addr4(nat2Out4) })),
		act("The carrier lets the tunnel through again", "", func(w *World) error { w.cut(false); return nil }),
		waitFor("The box tells hosts at once", "RFC 4861 section 6.2.4", deadAfter, func(w *World) (bool, string) {
			if !w.hasDefault(nodeH1) {
				return false, "no default route yet"
			}
			return true, "h1 has a default route"
		}),
		pinged("h1 pings "+wwwName+" again", nodeH1, fixed(wwwAddr6), host.PingOptions{}, 10*time.Second),
	)
}

// failsAtOnce is a step in which a ping is refused, by h1 itself or by the box, before anybody would notice a delay.
func failsAtOnce(name, rfc string) step {
	const noticed = 100 * time.Millisecond
	t := &tries{}
	return step{name: name, rfc: rfc, within: 5 * time.Second, begin: func(*World) error { *t = tries{}; return nil },
		done: func(w *World) (bool, string) {
			if t.done || t.busy || w.Engine.Now().Sub(t.last) < again {
				return t.done, t.found
			}
			t.busy, t.last = true, w.Engine.Now()
			begun := w.Engine.Now()
			w.hosts[nodeH1].Ping(wwwAt, host.PingOptions{}, func(p host.Pong) {
				t.busy = false
				took := w.Engine.Now().Sub(begun)
				t.done = p.Err != nil && took < noticed
				t.found = fmt.Sprintf("%v, after %v", p.Err, took.Round(100*time.Microsecond))
			})
			return t.done, t.found
		}}
}

// bigPage is more than any path carries at once.
const bigPage = "/octets/200000"

// pathShrinks: what does not fit is said, and learnt.
func pathShrinks(*World) []step {
	var lastPing time.Time
	whole := func(_ *World, p host.Page) (bool, string) {
		return p.Octets == 200_000, fmt.Sprintf("%d octets in %v", p.Octets, p.Took.Round(time.Millisecond))
	}
	return append(beginning(),
		fetched("h1 fetches a large page", nodeH1, "http://"+wwwName+bigPage, true, whole),
		pinged("A ping of 1,372 octets fits the tunnel", nodeH1, fixed(wwwAddr6), host.PingOptions{Size: 1372}, 10*time.Second),
		act("The path between the NATs shrinks", "RFC 1191", func(w *World) error { w.shrink(narrowMTU); return nil }),
		waitFor("The box learns it, and tells hosts a smaller MTU", "RFC 4861 section 4.6.4", 2*time.Minute, func(w *World) (bool, string) {
			if w.Engine.Now().Sub(lastPing) > time.Second { // the tunnel must carry something large
				lastPing = w.Engine.Now()
				w.hosts[nodeH1].Ping(wwwAt, host.PingOptions{Size: 1372}, func(host.Pong) {})
			}
			s, _ := w.boxes[0].status()
			v := w.hosts[nodeH1].View()
			return s.Tunnel.MTU < narrowMTU && v.MTU == s.Tunnel.MTU, fmt.Sprintf("the tunnel has %d, h1 has %d", s.Tunnel.MTU, v.MTU)
		}),
		fetched("h1 fetches the large page again", nodeH1, "http://"+wwwName+bigPage, true, whole),
	)
}
