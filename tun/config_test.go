// SPDX-License-Identifier: MIT

package tun

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/wgkey"
)

func prefixes(s ...string) (list []netip.Prefix) {
	for _, p := range s {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

func goodConfig() Config {
	return Config{
		Name: "oasis0", PrivateKey: wgkey.Private{31: 0x41, 0: 8},
		Peer: Peer{
			Public: wgkey.Private{31: 0x42, 0: 8}.Public(), Endpoint: "198.51.100.2:51820",
			AllowedIPs: prefixes("::/0"), Keepalive: 25 * time.Second,
		},
	}
}

func TestConfigDerivesLinkLocals(t *testing.T) {
	c, err := goodConfig().normalize()
	if err != nil {
		t.Fatal(err)
	}
	if c.LinkLocal != c.PrivateKey.Public().LinkLocal() || c.Peer.LinkLocal != c.Peer.Public.LinkLocal() {
		t.Errorf("link-locals %s and %s, want them from the keys", c.LinkLocal, c.Peer.LinkLocal)
	}
}

func TestConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Name = "" }, `interface name ""`},
		{func(c *Config) { c.Name = "a-name-of-16-oct" }, "1 to 15 characters"},
		{func(c *Config) { c.Name = "oasis%d" }, "without / : %"},
		{func(c *Config) { c.PrivateKey = wgkey.Private{} }, "no private key"},
		{func(c *Config) { c.Peer.Public = wgkey.Public{} }, "no public key"},
		{func(c *Config) { c.Peer.Public = c.PrivateKey.Public() }, "is our own"},
		{func(c *Config) { c.MTU = 1279 }, "want 1280 to 65455"},
		{func(c *Config) { c.Peer.Keepalive = 65536 * time.Second }, "keepalive"},
		{func(c *Config) { c.Peer.Endpoint = "hub.example.net" }, "want host:port"},
		{func(c *Config) { c.Peer.Endpoint = "hub.example.net:0" }, "1 to 65535"},
		{func(c *Config) { c.Peer.Endpoint = ":51820" }, "no host"},
		{func(c *Config) { c.LinkLocal = farGUA }, "not in fe80::/10"},
		{func(c *Config) { c.Peer.LinkLocal = netip.MustParseAddr("192.0.2.1") }, "not in fe80::/10"},
	} {
		cfg := goodConfig()
		c.edit(&cfg)
		if _, err := cfg.normalize(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("normalize = %v, want %q", err, c.want)
		}
	}
	_, err := Config{}.normalize()
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("an empty Config: %v, want three errors", err)
	}
}

// The peer's link-local address and link-scope multicast must be allowed, or DHCPv6 goes nowhere.
func TestAllowedIPsHoldWhatTheTunnelNeeds(t *testing.T) {
	for _, c := range []struct{ in, want []netip.Prefix }{
		{prefixes("::/0"), prefixes("::/0")},
		{prefixes("::/1", "8000::/1"), prefixes("::/1", "8000::/1")},
		{prefixes("2000::/3", "2000::/3"), prefixes("2000::/3", "fe80::1/128", "ff02::/16")},
		{prefixes("2001:db8::1/32", "fe80::/10"), prefixes("2001:db8::/32", "fe80::/10", "ff02::/16")},
	} {
		got := allowed(Peer{AllowedIPs: c.in, LinkLocal: hubLL})
		if len(got) != len(c.want) {
			t.Errorf("allowed(%v) = %v, want %v", c.in, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("allowed(%v) = %v, want %v", c.in, got, c.want)
			}
		}
	}
}

func TestChangeSettingsTouchOnlyWhatDiffers(t *testing.T) {
	was, _ := goodConfig().normalize()
	if s := changeSettings(was, was); s != "" {
		t.Errorf("no change: %q", s)
	}
	now := was
	now.ListenPort, now.FwMark = 51821, 7
	if s := changeSettings(was, now); s != "listen_port=51821\nfwmark=7\n" {
		t.Errorf("device only: %q", s)
	}
	now = was
	now.Peer.Keepalive = 0
	now.Peer.Preshared = wgkey.Preshared{1}
	now.Peer.AllowedIPs = prefixes("2000::/3")
	want := "public_key=" + was.Peer.Public.Hex() + "\nupdate_only=true\npreshared_key=" + now.Peer.Preshared.RevealHex() +
		"\npersistent_keepalive_interval=0\nallowed_ip=2000::/3\nallowed_ip=-::/0\n"
	if s := changeSettings(was, now); s != want {
		t.Errorf("peer: %q, want %q", s, want)
	}
	now = was
	now.Peer.Public = wgkey.Private{31: 0x43, 0: 8}.Public()
	if s := changeSettings(was, now); !strings.HasPrefix(s, "public_key="+was.Peer.Public.Hex()+"\nremove=true\npublic_key="+now.Peer.Public.Hex()+"\n") {
		t.Errorf("another peer: %q", s)
	}
}

// What a change that broke off may have left is undone part by part, on the port that was in use.
func TestRestoreSettingsUndoTheChange(t *testing.T) {
	was, _ := goodConfig().normalize()
	if got := restoreSettings(was, was, 40000); len(got) != 0 {
		t.Errorf("no change: %q", got)
	}
	now := was
	now.ListenPort, now.FwMark, now.Peer.Keepalive = 51821, 7, 0
	want := []string{"listen_port=40000\n", "fwmark=0\n",
		"public_key=" + was.Peer.Public.Hex() + "\nupdate_only=true\npersistent_keepalive_interval=25\n"}
	if got := restoreSettings(was, now, 40000); !slices.Equal(got, want) {
		t.Errorf("restoreSettings = %q, want %q", got, want)
	}
	was.ListenPort = 51820
	if got := restoreSettings(was, now, 0); got[0] != "listen_port=51820\n" {
		t.Errorf("port unknown: %q, want the configured one", got[0])
	}
	now.Peer.Public = wgkey.Private{31: 0x43, 0: 8}.Public()
	got := restoreSettings(was, now, 0)
	if s := got[len(got)-1]; !strings.HasPrefix(s, "public_key="+now.Peer.Public.Hex()+"\nremove=true\npublic_key="+was.Peer.Public.Hex()+"\n") {
		t.Errorf("another peer: %q", s)
	}
}

func TestTunnelMTU(t *testing.T) {
	for _, c := range []struct {
		outer, mtu int
		small      bool
	}{{1500, 1420, false}, {1492, 1412, false}, {1360, 1280, false}, {1359, 1280, true}, {576, 1280, true}, {9000, 8920, false}, {65536, 65455, false}} {
		if mtu, small := tunnelMTU(c.outer); mtu != c.mtu || small != c.small {
			t.Errorf("tunnelMTU(%d) = %d, %v, want %d, %v", c.outer, mtu, small, c.mtu, c.small)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for s, want := range map[string]target{
		"198.51.100.2:51820":          {addr: netip.MustParseAddr("198.51.100.2"), port: 51820},
		"[2001:db8::1]:1":             {addr: netip.MustParseAddr("2001:db8::1"), port: 1},
		"[::ffff:198.51.100.2]:51820": {addr: netip.MustParseAddr("198.51.100.2"), port: 51820},
		"hub.example.net:65535":       {name: "hub.example.net", port: 65535},
	} {
		if got, err := parseTarget(s); err != nil || got != want {
			t.Errorf("parseTarget(%q) = %+v, %v, want %+v", s, got, err, want)
		}
	}
}

func TestParseReadingTakesOurPeerOnly(t *testing.T) {
	text := "private_key=00\nlisten_port=51820\nfwmark=1\n" +
		"public_key=aa\nendpoint=192.0.2.9:9\nlast_handshake_time_sec=9\nrx_bytes=9\ntx_bytes=9\n" +
		"public_key=bb\npreshared_key=00\nendpoint=198.51.100.2:51820\nlast_handshake_time_sec=5\nlast_handshake_time_nsec=6\ntx_bytes=7\nrx_bytes=8\nallowed_ip=::/0\n" +
		"public_key=cc\nrx_bytes=1\n"
	want := reading{port: 51820, found: true, peerReading: peerReading{
		endpoint: netip.MustParseAddrPort("198.51.100.2:51820"), handshake: handshakeStamp{5, 6}, rx: 8, tx: 7,
	}}
	if got := parseReading(text, "bb"); got != want {
		t.Errorf("parseReading = %+v, want %+v", got, want)
	}
	if got := parseReading(text, "dd"); got != (reading{port: 51820}) {
		t.Errorf("parseReading without our peer = %+v", got)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{openError(unix.ENOENT), "modprobe tun, on OpenWrt install kmod-tun"},
		{openError(unix.ENODEV), "kmod-tun"},
		{openError(unix.EACCES), "CAP_NET_ADMIN"},
		{attachError("oasis0", unix.EBUSY), "interface oasis0 exists: "},
		{attachError("oasis0", unix.EPERM), "CAP_NET_ADMIN"},
	} {
		if !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%q does not say %q", c.err, c.want)
		}
	}
	if !errors.Is(openError(unix.EACCES), unix.EACCES) {
		t.Error("the cause is lost")
	}
}
