// SPDX-License-Identifier: MIT

package lab

import (
	"strings"
	"testing"

	"oasis6/lab/host"
	"oasis6/lab/nat"
)

// The nearer NAT is an airport's, which lets no UDP out: the tunnel is down, and said to be, IPv4's TCP is as before, and
// when UDP passes again all comes back by itself.
func TestAirportThatBlocksUDP(t *testing.T) {
	for _, f := range []nat.Filter{nat.BlockUDP, nat.BlockUDPButDNS} {
		w := begun(t, Options{Seed: 1})
		airport := w.ipv4[nodeNAT1]
		airport.SetFilter(f)
		until := func(what string, done func() bool) {
			t.Helper()
			if ok, err := w.Engine.RunUntil(t.Context(), 2*deadAfter, done); !ok || err != nil {
				t.Fatalf("%v: %s: never, %v", f, what, err)
			}
		}
		until("no default route", func() bool { return !w.hasDefault(nodeH1) })
		if r := w.rec.all(0, func(r *record) bool {
			return strings.HasPrefix(r.decision, "dropped: ") && strings.Contains(r.decision, "UDP")
		}); len(r) == 0 || r[0].To != nodeNAT1 {
			t.Errorf("%v: nobody says that it drops UDP", f)
		}
		if s, _ := w.boxes[0].status(); strings.HasPrefix(s.Summary, "up:") {
			t.Errorf("%v: the box says %q", f, s.Summary)
		}
		var page *host.Page
		w.hosts[nodeH1].Fetch("http://"+addr4(wwwAddr4).String()+"/", host.FetchOptions{}, func(p host.Page) { page = &p })
		until("a page by IPv4", func() bool { return page != nil })
		if page.Err != nil {
			t.Errorf("%v: by IPv4: %v", f, page.Err)
		}
		airport.SetFilter(nat.NoFilter)
		until("the default route again", func() bool { return w.hasDefault(nodeH1) })
		var pong *host.Pong
		w.hosts[nodeH1].Ping(wwwAt, host.PingOptions{}, func(p host.Pong) { pong = &p })
		until("an answer", func() bool { return pong != nil })
		if pong.Err != nil {
			t.Errorf("%v: afterwards: %v", f, pong.Err)
		}
	}
}
