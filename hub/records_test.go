// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
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
