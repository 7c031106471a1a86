// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/tun"
)

// Last endpoints are on disk, and the next hub begins handshakes with them, some at a time.
func TestEndpointsOutlastAHub(t *testing.T) {
	w := newWorld(t, 40)
	for i, c := range w.order {
		w.tunnel.reading[c.key] = tun.Reading{HandshakeAt: w.now, Endpoint: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), uint16(1000+i))}
	}
	w.wait(time.Minute)
	w.start()
	for i, c := range w.order {
		if got, want := w.tunnel.sites[c.key].Endpoint.Port(), uint16(1000+i); got != want {
			t.Fatalf("site %d begins at port %d, want %d", i, got, want)
		}
	}
	w.h.tick(w.now)
	if n := len(w.tunnel.began); n == 0 || n > initiateEach {
		t.Errorf("%d handshakes at once, want some", n)
	}
	w.wait(200 * time.Millisecond)
	if n := len(w.tunnel.began); n != 40 {
		t.Errorf("%d handshakes begun in 200 ms, want all 40", n)
	}
	cfg := *w.cfg
	cfg.Sites = cfg.Sites[:38]
	w.reconfigure(&cfg)
	w.wait(time.Minute)
	if n := w.endpointsOnDisk(); n != 38 {
		t.Errorf("%d endpoints on disk after two sites went, want 38", n)
	}
	cfg.Sites = cfg.Sites[:30] // while the hub is not there
	w.start()
	w.wait(time.Minute)
	if n := w.endpointsOnDisk(); n != 30 {
		t.Errorf("%d endpoints on disk of 30 sites", n)
	}
}

// WireGuard calls who does not answer for 90 s. A hub that starts spares those that were long gone; where they were it
// knows, so packets for them can call them.
func TestSitesThatAreAwayAreNotCalled(t *testing.T) {
	w := newWorld(t, 3)
	silent, back := w.order[0], w.order[1]
	ep := netip.MustParseAddrPort("198.51.100.2:1000")
	heard := func(c *client) { w.tunnel.reading[c.key] = tun.Reading{HandshakeAt: w.now, Endpoint: ep} }
	called := func(what string, want ...*client) {
		t.Helper()
		w.start()
		w.wait(time.Second)
		for _, c := range w.order[:2] {
			if got := w.tunnel.sites[c.key].Endpoint; got != ep {
				t.Errorf("%s: a site's endpoint is %v, want %v", what, got, ep)
			}
			if got, want := slices.Contains(w.tunnel.began, c.key), slices.Contains(want, c); got != want {
				t.Errorf("%s: called %v, want %v", what, got, want)
			}
		}
	}
	heard(silent)
	heard(back)
	w.wait(awayAfter - 30*time.Second)
	called("silent for less than ten minutes", silent, back)
	w.wait(5 * time.Minute)
	heard(back)
	w.wait(awayAfter - 3*time.Minute) // silent has not been heard since the start
	called("one has not answered for ten minutes", back)
	called("as the hub before the last has seen it", back)
	heard(silent)
	w.wait(time.Minute)
	called("it has come back", silent, back)
}

func (w *world) endpointsOnDisk() (n int) {
	w.Helper()
	records, _, err := w.disk.Load(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range records {
		if strings.HasPrefix(r.Key, keyEndpoint) {
			n++
		}
	}
	return n
}
