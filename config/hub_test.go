// SPDX-License-Identifier: MIT

package config

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
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

// inHub and inSite are files of which only the given lines are wrong. They stand on lines 5 and 7.
func inHub(lines string) string  { return iface + hubPart + lines + "\n" }
func inSite(lines string) string { return iface + hubPart + site(publicText, lines) }

func site(key, lines string) string { return "[Peer]\nPublicKey = " + key + "\n" + lines + "\n" }

// otherText is the key of a second site, with its link-local address.
const (
	otherText  = "mIap/kJZEQlDIgJyBBjqouAlb+tw/yzCsX1ebxgd0QI="
	otherLocal = "fe80::ed5b:541c:9ff7:87e0"
	publicLL   = "fe80::9d23:9a19:b6c6:9d7c"
	ownLL      = "fe80::e515:e6e8:caea:235d"
)

// TestHubAccepts is one file per value, and what the effective text then says.
func TestHubAccepts(t *testing.T) {
	withPool := func(p, lines string) string { return iface + "[Hub]\nPool = " + p + "\n" + lines + "\n" }
	for _, c := range []struct{ text, want string }{
		{inHub(""), "Pool = " + pool},
		{inHub(""), "ListenPort = 51820"},
		{iface + "ListenPort = 1\n" + hubPart, "ListenPort = 1"},
		{inHub(""), "Firewall = open"},
		{inHub("[Router]\nFirewall = closed"), "Firewall = closed"},
		{inHub(""), "# [Peer]: none, sites come by invitation"},
		{withPool("2001:db8:2::/48, 2001:db8:1::/48,2001:db8:ffff:ffff::/64\npool = 2000::/16", ""), "Pool = 2001:db8:2::/48, 2001:db8:1::/48, 2001:db8:ffff:ffff::/64, 2000::/16"},
		{withPool("fd00:db8::/48", ""), "Pool = fd00:db8::/48"},
		{inHub("Uplink = fifteen-octets5"), "Uplink = fifteen-octets5"},
		{inHub("SiteLength = 57"), "MaxSiteLength = 57"},
		{inHub("SiteLength = /56"), "MaxSiteLength = 56"},
		{inHub("SiteLength = 64\nMaxSiteLength = 64"), "MaxSiteLength = 64"},
		{inHub("MaxSiteLength = 56"), "MaxSiteLength = 56"},
		{withPool("2001:db8::/64", ""), "MaxSiteLength = 64"},
		{withPool("2001:db8::/62", ""), "MaxSiteLength = 62"},
		{withPool("2001:db8::/64, 2001:db8:1::/61", ""), "MaxSiteLength = 61"},
		{withPool("2001::/16", "MaxSiteLength = 16"), "MaxSiteLength = 16"},
		{inHub("PreferredLifetime = 60\nValidLifetime = 60"), "PreferredLifetime = 1m"},
		{inHub("PreferredLifetime = 90m"), "PreferredLifetime = 90m"},
		{inHub("PreferredLifetime = 0061"), "PreferredLifetime = 61s"},
		{inHub("ValidLifetime = 1H30M5s"), "ValidLifetime = 5405s"},
		{inHub("ValidLifetime = 5405"), "PreferredLifetime = 2702s"},
		{inHub("ValidLifetime = 1m"), "PreferredLifetime = 1m"},
		{inHub("ValidLifetime = 119s"), "PreferredLifetime = 1m"},
		{inHub("ValidLifetime = 30d"), "PreferredLifetime = 15d"},
		{inHub("ValidLifetime = 2592000"), "ValidLifetime = 30d"},
		{inHub("ValidLifetime = 29d23h60m"), "ValidLifetime = 30d"},
		{inHub("DNS = 2001:db8::53, 2001:DB8::53 2001:db8::54"), "DNS = 2001:db8::53, 2001:db8::54"},
		{inHub("Search = A.example., b.example\nSearch = a.EXAMPLE"), "Search = A.example, b.example"},
		{inHub("SiteToSite = YES"), "SiteToSite = yes"},
		{inHub("OnLink = yes\nUplink = eth0"), "OnLink = yes"},
		{inHub("OnLink = no"), "OnLink = no"},
		{inHub("Endpoint = [2001:DB8::1]:051820"), "Endpoint = [2001:db8::1]:51820"},
		{inHub("Endpoint = 198.51.100.1:1"), "Endpoint = 198.51.100.1:1"},
		{inHub("Endpoint = hub.example.:443"), "Endpoint = hub.example:443"},
		{inHub("Store = FILE"), "Store = file"},
		{inSite("Name = the library"), "Name = the library"},
		{inSite("PresharedKey = " + pskText), "PresharedKey = (hidden)"},
		{inSite("PersistentKeepalive = 65535"), "PersistentKeepalive = 65535"},
		{inSite("PersistentKeepalive = 0"), "PersistentKeepalive = off"},
		{inSite(""), "# LinkLocal: " + publicLL + ", from the key"},
		{inSite("LinkLocal = " + publicLL), "LinkLocal = " + publicLL},
		{inSite("LinkLocal = fe80::2"), "LinkLocal = fe80::2"},
		{inSite("Prefix = 2001:db8:ebbd:990a::/64\nPrefix = 2001:db8:ebbd:9980::/57, 2001:db8:7::/48"), "Prefix = 2001:db8:ebbd:990a::/64, 2001:db8:ebbd:9980::/57, 2001:db8:7::/48"},
		{"[PEER]\nPUBLICKEY=" + publicText + "\n" + hubPart + iface, "PublicKey = " + publicText},
		{strings.ReplaceAll("\ufeff"+inSite("Name = x"), "\n", "\r\n"), "Name = x"},
	} {
		got := effectiveHubText(t, mustParseHub(t, c.text))
		if !slices.Contains(strings.Split(got, "\n"), c.want) {
			t.Errorf("ParseHub(%q) means\n%s\nwant the line %q", c.text, got, c.want)
		}
	}
}

// TestHubRefuses has for each rule a file that breaks it, and all that is said about it.
func TestHubRefuses(t *testing.T) {
	const times = "want a time as 45m, 1h30m, 7d, or seconds: 1m to 30d"
	for _, c := range []struct{ name, text, want string }{
		{"empty file", "", "f:1: no [Hub] section: this is the file of a box, not of a hub: oasis6 run -c f"},
		{"a box's file", iface + peer + "Foo = 1\n[LAN]\n", "f:7: no [Hub] section: this is the file of a box, not of a hub: oasis6 run -c f"},
		{"UTF-16", "\xff\xfe[\x00", "f:1: UTF-16 text: save the file as UTF-8"},
		{"long file", "[Hub]\n" + strings.Repeat("#"+strings.Repeat("x", 1022)+"\n", maxHubFile/1024), "f:1: larger than 16777216 octets: this is not a configuration file"},
		{"no interface", hubPart, "f:2: no [Interface] section: it holds the hub's PrivateKey or PrivateKeyFile"},
		{"hub twice", inHub("[HUB]"), "f:5: [HUB] stands twice, first on line 3: put its keys together"},
		{"LAN and Prefix", inHub("[lan]\nFoo = 1\n[Prefix]"), "f:5: [LAN] belongs to the file of a box: this is a hub's, because it has [Hub]\n" +
			"f:7: [Prefix] belongs to the file of a box: this is a hub's, because it has [Hub]"},
		{"unknown section", inHub("[Per]"), `f:5: unknown section "[Per]": did you mean [Peer]?`},
		{"unknown key", inHub("Pol = x"), `f:5: unknown key "Pol" in [Hub]: did you mean Pool?`},
		{"key of a site", inHub("PublicKey = x"), `f:5: unknown key "PublicKey" in [Hub]: PublicKey belongs to [Peer]`},
		{"port 0", iface + "ListenPort = 00\n" + hubPart, `f:3: ListenPort = "00": sites must know the hub's port: range 1 to 65535`},
		{"port", iface + "ListenPort = x\n" + hubPart, `f:3: ListenPort = "x": range 0 to 65535, 0 is any free port`},

		{"no pool", iface + "[Hub]\n", "f:3: [Hub] has no Pool: write Pool = PREFIX/LENGTH, the prefix that is routed to this hub"},
		{"empty pool", iface + "[Hub]\nPool =\nSiteLength = 20\n", "f:4: Pool: no value: write Pool = VALUE, or leave the line out"},
		{"pool", inHub("Pool = 2001:db8::, x/64"), `f:5: Pool "2001:db8::": want PREFIX/LENGTH, as in 2001:db8:ebbd:9900::/56` + "\n" + `f:5: Pool "x/64": want PREFIX/LENGTH, as in 2001:db8:ebbd:9900::/56`},
		{"pool lengths", inHub("Pool = 2000::/15, 2001:db8::/65"), `f:5: Pool "2000::/15": want a length from /16 to /64` + "\n" + `f:5: Pool "2001:db8::/65": want a length from /16 to /64`},
		{"pool host bits", inHub("Pool = 2001:db8::1/64"), `f:5: Pool "2001:db8::1/64": bits are set beyond /64: write 2001:db8::/64`},
		{"pool multicast", inHub("Pool = ff0e::/16"), `f:5: Pool "ff0e::/16": holds multicast addresses (ff00::/8)`},
		{"pool link-local", inHub("Pool = fe80::/64"), `f:5: Pool "fe80::/64": holds link-local addresses (fe80::/10)`},
		{"pool reserved", inHub("Pool = ::/64"), `f:5: Pool "::/64": holds reserved addresses (::/8)`},
		{"pool IPv4", inHub("Pool = 192.0.2.0/24"), `f:5: Pool "192.0.2.0/24": not IPv6`},
		{"pool twice", inHub("Pool = " + pool), "f:5: Pool " + pool + ": stands on line 4 already"},
		{"pool in a pool", inHub("Pool = 2001:db8:ebbd:9910::/64, 2001:db8:ebbd::/48"), "f:5: Pool 2001:db8:ebbd::/48: overlaps 2001:db8:ebbd:9900::/56 on line 4\n" +
			"f:5: Pool 2001:db8:ebbd:9910::/64: overlaps 2001:db8:ebbd::/48 on line 5"},
		{"pools apart and not", inHub("Pool = 2001:db8:1::/48, 2001:db8:3::/48, 2001:db8:1:8000::/49, 2001:db8:2::/48"), "f:5: Pool 2001:db8:1:8000::/49: overlaps 2001:db8:1::/48 on line 5"},
		{"too many pools", iface + "[Hub]\nPool = " + manyPrefixes(maxPools+2) + "\n", "f:4: Pool 2001:db8:41::/48: more than 64 pools"},
		{"pool of the tunnel", iface + "Address = 2001:db8:ebbd::5/48\n" + hubPart, "f:5: Pool " + pool + ": Address 2001:db8:ebbd::5/48 of [Interface] takes all of it for the tunnel: write that as 2001:db8:ebbd::5/128"},
		{"uplink", inHub("Uplink = a b"), `f:5: Uplink = "a b": not a possible interface name: no spaces, /, : and % in it`},
		{"uplink is the tunnel", inHub("Uplink = oasis0"), `f:5: Uplink = "oasis0": this is the tunnel: name the interface that leads to the IPv6 Internet`},
		{"uplink is lo", inHub("Uplink = lo"), `f:5: Uplink = "lo": nobody is behind the loopback interface: name the one that leads to the IPv6 Internet`},

		{"site length", inHub("SiteLength = 65\nMaxSiteLength = 15"), `f:5: SiteLength = "65": want a prefix length from 16 to 64` + "\n" + `f:6: MaxSiteLength = "15": want a prefix length from 16 to 64`},
		{"site length negative", inHub("SiteLength = -1"), `f:5: SiteLength = "-1": want a prefix length from 16 to 64`},
		{"site length of no pool", inHub("SiteLength = 55"), `f:5: SiteLength = "55": no pool has room for a /55: range 56 to 64`},
		{"max site length of no pool", inHub("MaxSiteLength = /48"), `f:5: MaxSiteLength = "/48": no pool has room for a /48: range 56 to 64`},
		{"lengths", inHub("SiteLength = 60\nMaxSiteLength = 62"), `f:6: MaxSiteLength = "62": longer than SiteLength, /60: it is the shortest length that a site may ask for`},
		{"lifetime unit", inHub("ValidLifetime = 90 min"), `f:5: ValidLifetime = "90 min": ` + times},
		{"lifetime without unit", inHub("ValidLifetime = 1h30"), `f:5: ValidLifetime = "1h30": ` + times},
		{"lifetime without number", inHub("ValidLifetime = h"), `f:5: ValidLifetime = "h": ` + times},
		{"lifetime fraction", inHub("ValidLifetime = 1.5h"), `f:5: ValidLifetime = "1.5h": ` + times},
		{"lifetime sign", inHub("ValidLifetime = -90m"), `f:5: ValidLifetime = "-90m": ` + times},
		{"lifetime overflow", inHub("ValidLifetime = 213503982335d"), `f:5: ValidLifetime = "213503982335d": ` + times},
		{"lifetime sum", inHub("ValidLifetime = 30d1s"), `f:5: ValidLifetime = "30d1s": ` + times},
		{"lifetime infinity", inHub("ValidLifetime = 4294967295"), `f:5: ValidLifetime = "4294967295": ` + times},
		{"lifetime short", inHub("PreferredLifetime = 59s"), `f:5: PreferredLifetime = "59s": ` + times},
		{"lifetimes", inHub("PreferredLifetime = 2h\nValidLifetime = 7199"), `f:5: PreferredLifetime = "2h": longer than ValidLifetime, 7199s`},
		{"preferred beyond the default", inHub("PreferredLifetime = 91m"), `f:5: PreferredLifetime = "91m": longer than ValidLifetime, 90m`},
		{"DNS", inHub("DNS = 192.0.2.53, fe80::53, ff02::fb, a.example"), `f:5: DNS "192.0.2.53": not an IPv6 address` + "\n" +
			"f:5: DNS fe80::53: link-local, no host of a site's LAN can reach it\nf:5: DNS ff02::fb: not an address that a server can have\n" +
			`f:5: DNS "a.example": not an IPv6 address: names belong to Search`},
		{"search", inHub("Search = a..b"), `f:5: Search: the name "a..b" has an empty label`},
		{"site to site", inHub("SiteToSite = on"), `f:5: SiteToSite = "on": want yes or no`},
		{"on link", inHub("OnLink = yes"), "f:5: OnLink = yes needs Uplink, the interface that the provider's router is on"},
		{"endpoint", inHub("Endpoint = hub.example.net"), `f:5: Endpoint = "hub.example.net": no port: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{"endpoint of here", inHub("Endpoint = [fe80::1%eth0]:1"), `f:5: Endpoint = "[fe80::1%eth0]:1": boxes elsewhere cannot reach this address: write the hub's name or public address`},
		{"endpoint unspecified", inHub("Endpoint = 0.0.0.0:51820"), `f:5: Endpoint = "0.0.0.0:51820": boxes elsewhere cannot reach this address: write the hub's name or public address`},
		{"endpoint loopback", inHub("Endpoint = [::1]:51820"), `f:5: Endpoint = "[::1]:51820": boxes elsewhere cannot reach this address: write the hub's name or public address`},
		{"store", inHub("Store = etcd://192.0.2.1:2379"), "f:5: Store: not available in this version: leave the line out, or write file"},
		{"carrier", inHub("CarrierListen = :443\nCarrierCert = a\nCarrierKey = b"), "f:5: CarrierListen: not available in this version\nf:6: CarrierCert: not available in this version\nf:7: CarrierKey: not available in this version"},
		{"web", inHub("[Router]\nWeb = lan\nDataplane = userspace\nMetrics = [::1]:1"), "f:6: Web: not available in this version: leave the line out, or write off\n" +
			"f:7: Dataplane = \"userspace\": a hub forwards by the kernel: write kernel or auto\nf:8: Metrics: not available in this version: leave the line out, or write off"},
	} {
		t.Run(c.name, func(t *testing.T) { hubSays(t, c.text, c.want) })
	}
}

// TestHubRefusesSites is TestHubRefuses for what is wrong with a [Peer].
func TestHubRefusesSites(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no key", inHub("[Peer]\nName = x"), "f:5: [Peer] has no PublicKey"},
		{"key", inHub(site(publicText[1:], "")), "f:6: PublicKey: not a WireGuard key: want 44 characters of base64 that end in ="},
		{"zero key", inHub(site(zeroText, "")), "f:6: PublicKey: all octets are zero: this is no key"},
		{"own key", inHub(site(ownText, "")), "f:6: PublicKey: this is the hub's own public key: the peer's belongs here"},
		{"private key", inHub(site(privateText, "")), "f:6: PublicKey: this is the hub's own private key: the peer's public key belongs here"},
		{"preshared key", inSite("PresharedKey = x"), "f:7: PresharedKey: not a WireGuard key: want 44 characters of base64 that end in ="},
		{"name", inSite("Name = " + strings.Repeat("x", 64)), `f:7: Name = "` + strings.Repeat("x", 64) + `": want at most 63 printable characters`},
		{"keepalive", inSite("PersistentKeepalive = 1m"), `f:7: PersistentKeepalive = "1m": want off, or seconds from 0 (off) to 65535`},
		{"link-local", inSite("LinkLocal = 2001:db8::1"), `f:7: LinkLocal = "2001:db8::1": want an address in fe80::/10, without %interface`},
		{"allowed-ips", inSite("AllowedIPs = ::/0"), "f:7: AllowedIPs: refused: the hub makes them of the leases; to give a site a certain prefix write Prefix"},
		{"endpoint", inSite("Endpoint = 192.0.2.1:1"), "f:7: Endpoint: refused: a site is known by its key, and its address is learned"},
		{"fallback", inSite("Fallback = tls://192.0.2.1:443"), "f:7: Fallback: refused: it is for the site to say, in its own file, how it comes to the hub"},

		{"key thrice", inSite("") + site(publicText, "LinkLocal = fe80::2") + site(publicText, ""), "f:9: PublicKey: has a [Peer] already, on line 5\nf:12: PublicKey: has a [Peer] already, on line 5"},
		{"name twice", inSite("Name = LIBRARY") + site(otherText, "Name = library"), `f:10: Name = "library": has a [Peer] already, on line 5`},
		{"link-local twice", inSite("LinkLocal = fe80::2") + site(otherText, "LinkLocal = fe80:0::2"), `f:10: LinkLocal = "fe80:0::2": has a [Peer] already, on line 5`},
		{"link-local of another's key", inSite("") + site(otherText, "LinkLocal = "+publicLL), `f:10: LinkLocal = "` + publicLL + `": has a [Peer] already, on line 5`},
		{"another has the link-local of the key", inSite("LinkLocal = "+otherLocal) + site(otherText, ""), "f:8: [Peer]: its link-local address, " + otherLocal + " from its key, is the LinkLocal of the [Peer] on line 5"},
		{"link-local of the hub", iface + "Address = fe80::1\n" + hubPart + site(publicText, "LinkLocal = fe80::1"), `f:8: LinkLocal = "fe80::1": the hub has the same one in Address`},
		{"link-local of the hub's key", inSite("LinkLocal = " + ownLL), `f:7: LinkLocal = "` + ownLL + `": the hub makes the same one of its key`},
		{"the hub has the link-local of the key", iface + "Address = " + publicLL + "\n" + hubPart + site(publicText, ""), "f:6: [Peer]: its link-local address, " + publicLL + " from its key, is the hub's own: change that Address"},
		{"no clash with the address of a key that is not used", iface + "Address = fe80::1\n" + hubPart + site(publicText, "LinkLocal = "+ownLL) + "x", "f:9: not a line of this file: want KEY = VALUE, [Section] or # comment"},

		{"reservation", inSite("Prefix = 2001:db8::/65, 192.0.2.0/24\nPrefix = 2001:db8::1/64"), `f:7: Prefix "2001:db8::/65": want a length from /16 to /64` + "\n" + `f:7: Prefix "192.0.2.0/24": not IPv6` + "\n" +
			`f:8: Prefix "2001:db8::1/64": bits are set beyond /64: write 2001:db8::/64`},
		{"reservation of a pool", inSite("Prefix = " + pool), "f:7: Prefix " + pool + ": all of Pool " + pool + " is in it, nothing is left for other sites"},
		{"reservation around a pool", inSite("Prefix = 2001:db8::/32"), "f:7: Prefix 2001:db8::/32: all of Pool " + pool + " is in it, nothing is left for other sites"},
		{"reserved twice", inSite("Prefix = 2001:db8:7::/64") + site(otherText, "Prefix = 2001:db8:7::/64"), "f:10: Prefix 2001:db8:7::/64: stands on line 7 already"},
		{"reserved twice for one", inSite("Prefix = 2001:db8:7::/64, 2001:db8:7::/63"), "f:7: Prefix 2001:db8:7::/64: overlaps 2001:db8:7::/63 on line 7"},
		{"reserved in another's", inSite("Prefix = 2001:db8:7:1::/64, 2001:db8:8::/48") + site(otherText, "Prefix = 2001:db8:7::/48"), "f:10: Prefix 2001:db8:7::/48: overlaps 2001:db8:7:1::/64 on line 7"},
		{"reserved and the tunnel's", iface + "Address = 2001:db8:7::1, 2001:db8:8::1/64\n" + hubPart + site(publicText, "Prefix = 2001:db8:7::/64, 2001:db8:8::/48, 2001:db8:9::/48"),
			"f:8: Prefix 2001:db8:7::/64: shares addresses with Address 2001:db8:7::1/128 of [Interface], which is for the tunnel\n" +
				"f:8: Prefix 2001:db8:8::/48: shares addresses with Address 2001:db8:8::1/64 of [Interface], which is for the tunnel"},
		{"reserved within the tunnel's", iface + "Address = 2001:db8:7::1/56\n" + hubPart + site(publicText, "Prefix = 2001:db8:7:1::/64"),
			"f:8: Prefix 2001:db8:7:1::/64: shares addresses with Address 2001:db8:7::1/56 of [Interface], which is for the tunnel"},
	} {
		t.Run(c.name, func(t *testing.T) { hubSays(t, c.text, c.want) })
	}
}

func hubSays(t *testing.T, text, want string) {
	t.Helper()
	cfg, _, err := ParseHub("f", strings.NewReader(text))
	if err == nil || err.Error() != want || cfg != nil {
		t.Errorf("ParseHub = %v,\n%v\nwant nil and\n%s", cfg, err, want)
	}
}

// manyPrefixes are n from 2001:db8:1::/48 on.
func manyPrefixes(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("2001:db8:%x::/48", i+1))
	}
	return strings.Join(all, ", ")
}

func TestHubNotices(t *testing.T) {
	text := iface + "Address = 192.0.2.1\n[Hub]\nSiteLength = 60\nPool = 2001:db8:1::/48, 2001:db8:2::/62\nPool = fc00::/16, fd00:db8:5e::/48\nUplink = eth0\nOnLink = YES\n" +
		site(publicText, "Prefix = fd00:db8:1::/48")
	_, notices, err := ParseHub("f", strings.NewReader(text))
	want := `f:3: Address: IPv4 dropped, it stays on its native path: 192.0.2.1
f:6: Pool 2001:db8:2::/62: only for sites that ask for /62 or longer: SiteLength is 60
f:7: Pool fc00::/16: unique local addresses lead nowhere on the Internet
f:7: Pool fd00:db8:5e::/48: unique local addresses lead nowhere on the Internet
f:9: OnLink = yes: the hub answers neighbor solicitations for each lease; better is a prefix that the provider routes to the hub
`
	if got := lines(notices); err != nil || got != want {
		t.Errorf("ParseHub = notices\n%serror %v\nwant\n%sno error", got, err, want)
	}
}

func TestHubReaderFailure(t *testing.T) {
	_, _, err := ParseHub("f", iotest.ErrReader(io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ParseHub = %v, want it to wrap %v", err, io.ErrUnexpectedEOF)
	}
}

// The order of the file is that of the pools' use and of a site's leases.
func TestHubKeepsTheOrder(t *testing.T) {
	c := mustParseHub(t, iface+"[Hub]\nPool = 2001:db8:3::/48, 2001:db8:1::/48\nPool = 2001:db8:2::/48\n"+
		site(publicText, "Prefix = 2001:db8:1:9::/64, 2001:db8:1:1::/64")+site(otherText, "Prefix = 2001:db8:1:5::/64"))
	got := fmt.Sprint(c.Hub.Pools, c.Sites[0].Prefixes, c.Sites[1].Prefixes, c.Sites[0].Line, c.Sites[1].Line)
	if want := "[2001:db8:3::/48 2001:db8:1::/48 2001:db8:2::/48] [2001:db8:1:9::/64 2001:db8:1:1::/64] [2001:db8:1:5::/64] 6 9"; got != want {
		t.Errorf("ParseHub = %s, want %s", got, want)
	}
}

// manySites is the file of a hub with n sites, each with all that it can have.
func manySites(n int) string {
	var b strings.Builder
	b.WriteString(iface + "[Hub]\nPool = 2001:db8::/32\n")
	for i := range n {
		key := sha256.Sum256(fmt.Appendf(nil, "site %d", i))
		fmt.Fprintf(&b, "\n[Peer]\nName = site-%05d\nPublicKey = %s\nPresharedKey = %s\nPrefix = 2001:db8:%x:%x::/64\nLinkLocal = fe80::1:%x\nPersistentKeepalive = 25\n",
			i, base64.StdEncoding.EncodeToString(key[:]), pskText, i>>8, i&0xff, i)
	}
	return b.String()
}

// A start of the hub and each reload read all sites. The limit is far above what it takes, and far below what a look at all
// sites for each site takes.
func TestHubOfManySites(t *testing.T) {
	text := manySites(10000)
	if len(text) <= 2*maxFile {
		t.Fatalf("%d octets", len(text))
	}
	start := time.Now()
	c := mustParseHub(t, text)
	took := time.Since(start)
	t.Logf("10,000 sites, %d octets, read in %v", len(text), took)
	if len(c.Sites) != 10000 || took > 10*time.Second {
		t.Errorf("%d sites in %v, want 10000 in less than 10s", len(c.Sites), took)
	}
	// All wrong: bounded work and output.
	start = time.Now()
	_, _, err := ParseHub("f", strings.NewReader(text+strings.ReplaceAll(text, "[Interface]", "[Router]")))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxReports+1 || time.Since(start) > 10*time.Second {
		t.Errorf("ParseHub = %d errors in %v, want %d", len(errs), time.Since(start), maxReports+1)
	}
}

func BenchmarkParseHub(b *testing.B) {
	text := manySites(10000)
	for b.Loop() {
		if _, _, err := ParseHub("f", strings.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

// What a person pastes into the wrong place does not go to a log.
func TestHubMessagesNeverQuoteAKey(t *testing.T) {
	for _, text := range []string{
		inHub("Pool = " + privateText), inHub("Uplink = " + privateText), inHub("SiteLength = " + privateText), inHub("ValidLifetime = " + privateText),
		inHub("DNS = " + privateText), inHub("Search = " + privateText), inHub("SiteToSite = " + privateText), inHub("Endpoint = " + privateText), inHub("Store = " + privateText),
		inSite("Prefix = " + privateText), inSite("LinkLocal = " + privateText), inSite("AllowedIPs = " + privateText), inHub(site(privateText, "")), inHub("[" + privateText + "]"), inSite(privateText),
	} {
		_, notices, err := ParseHub("f", strings.NewReader(text))
		if err == nil {
			t.Errorf("ParseHub(%q) = no error, want one", text)
			continue
		}
		for _, part := range []string{privateText[:20], privateText[20:40]} {
			if said := err.Error() + lines(notices); strings.Contains(said, part) {
				t.Errorf("ParseHub(%q) says\n%s\nwant nothing of the key in it", text, said)
			}
		}
	}
}
