// SPDX-License-Identifier: MIT

package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"oasis6/internal/wgkey"
)

// hubPart is a [Hub] without faults of 2 lines, to put lines after; pool is its prefix.
const (
	pool    = "2001:db8:ebbd:9900::/56"
	hubPart = "[Hub]\nPool = " + pool + "\n"
)

func mustParseHub(t *testing.T, text string) *HubConfig {
	t.Helper()
	c, _, err := ParseHub("f", strings.NewReader(text))
	if err != nil {
		t.Fatalf("ParseHub(%q):\n%v\nwant no error", text, err)
	}
	return c
}

func TestHubDefaults(t *testing.T) {
	got := mustParseHub(t, iface+"DNS = 2001:db8::53, example.net\n"+hubPart+"[Peer]\nPublicKey = "+publicText+"\n")
	private, _ := wgkey.ParsePrivate(privateText)
	public, _ := wgkey.ParsePublic(publicText)
	dns, search := []netip.Addr{netip.MustParseAddr("2001:db8::53")}, []string{"example.net"}
	want := &HubConfig{
		Interface: Interface{PrivateKey: private, Name: "oasis0", ListenPort: 51820, DNS: dns, Search: search},
		Hub: Hub{
			Pools: []netip.Prefix{netip.MustParsePrefix(pool)}, SiteLength: 64, MaxSiteLength: 60,
			Preferred: 45 * time.Minute, Valid: 90 * time.Minute, DNS: dns, Search: search,
		},
		Sites:        []Site{{PublicKey: public, Line: 6}},
		FirewallOpen: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("ParseHub = %+v\nwant %+v", got, want)
	}
}
