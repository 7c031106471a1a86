// SPDX-License-Identifier: MIT

package config

import (
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

// Keys of the tests. The public one is not the private one's.
const (
	privateText = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
	ownText     = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
	publicText  = "E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww="
	pskText     = "Dv6yY/Nj6V7pzpIA7hMb3wUQPhUrlPncjzTXZqVZxJk="
	zeroText    = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

// iface and peer are sections without faults of 2 and 3 lines, to put lines after.
const (
	iface = "[Interface]\nPrivateKey = " + privateText + "\n"
	peer  = "[Peer]\nPublicKey = " + publicText + "\nAllowedIPs = ::/0\n"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := Parse("f", strings.NewReader(text))
	if err != nil {
		t.Fatalf("Parse(%q):\n%v\nwant no error", text, err)
	}
	return c
}

// reveal is the text of a configuration with its keys, the exact twin of the file.
func reveal(c *Config) string { return effective(c, secret.Reveal) }

func lines(notices []Notice) string {
	var b strings.Builder
	for _, n := range notices {
		b.WriteString(n.String() + "\n")
	}
	return b.String()
}

func effectiveText(t *testing.T, c *Config) string {
	t.Helper()
	var b strings.Builder
	if err := WriteEffective(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDefaults(t *testing.T) {
	got := mustParse(t, iface+peer+"Endpoint = hub.example.net:51820\n[LAN]\nInterface = br-lan\n")
	private, _ := wgkey.ParsePrivate(privateText)
	public, _ := wgkey.ParsePublic(publicText)
	want := &Config{
		Interface: Interface{PrivateKey: private, Name: "oasis0"},
		Peers: []Peer{{
			PublicKey: public, Endpoint: "hub.example.net:51820",
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("::/0")}, Keepalive: 25 * time.Second,
		}},
		Prefix: Prefix{Source: DHCPv6},
		LANs:   []LAN{{Interface: "br-lan", AnySubnet: true, RDNSSMode: RDNSSAuto, Preference: "medium", DHCPv6: DHCPv6Stateless, Delegate: true, OnLink: true, Autonomous: true}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Parse = %+v\nwant %+v", got, want)
	}
}

// accepted is one line, put where its section is, and what the effective text then says.
func TestAcceptedValues(t *testing.T) {
	lan := "[LAN]\nInterface = br-lan\n"
	for _, c := range []struct{ text, want string }{
		{iface + "Name = wg6\n" + peer, "Name = wg6"},
		{iface + "name = fifteen-octets5\n" + peer, "Name = fifteen-octets5"},
		{iface + "Name = br-büro\n" + peer, "Name = br-büro"},
		{iface + "ListenPort = 65535\n" + peer, "ListenPort = 65535"},
		{iface + "FwMark = off\n" + peer, "FwMark = off"},
		{iface + "FwMark = 4294967295\n" + peer, "FwMark = 0xffffffff"},
		{iface + "FwMark = 0XCA6C\n" + peer, "FwMark = 0xca6c"},
		{iface + "MTU = Auto\n" + peer, "MTU = auto"},
		{iface + "MTU = 1280\n" + peer, "MTU = 1280"},
		{iface + "MTU = 65455\n" + peer, "MTU = 65455"},
		{iface + "Address = 2001:db8::1/64 2001:db8::2,,2001:db8::1/64,\n" + peer, "Address = 2001:db8::1/64, 2001:db8::2/128"},
		{iface + "Address = fe80::2/10\n" + peer, "Address = fe80::2/64"},
		{iface + "DNS = 64:ff9b::c000:235, fe80::1, Example.NET., example.net\n" + peer, "DNS = 64:ff9b::c000:235, Example.NET"},
		{iface + "DNS = " + strings.Repeat("a", 63) + ".example\n" + peer, "DNS = " + strings.Repeat("a", 63) + ".example"},
		{iface + "DNS = _tcp.example\n" + peer, "DNS = _tcp.example"},
		{iface + peer + "PersistentKeepalive = 0\nEndpoint = 192.0.2.1:1\n", "PersistentKeepalive = off"},
		{iface + peer + "PersistentKeepalive = 65535\n", "PersistentKeepalive = 65535"},
		{iface + peer, "PersistentKeepalive = off"}, // nowhere to send to
		{iface + peer + "Endpoint = 192.0.2.1:00443\n", "Endpoint = 192.0.2.1:443"},
		{iface + peer + "Endpoint = [2001:DB8:0::1]:1\n", "Endpoint = [2001:db8::1]:1"},
		{iface + peer + "Endpoint = [fe80::1%eth0]:1\n", "Endpoint = [fe80::1%eth0]:1"},
		{iface + peer + "Endpoint = hub.example.:1\n", "Endpoint = hub.example:1"},
		{iface + peer + "AllowedIPs = 2001:db8::1/32, 2001:db8:ffff::/32, ::/0\n", "AllowedIPs = ::/0, 2001:db8::/32"},
		{iface + peer + "Name = the hub = here\n", "Name = the hub = here"},
		{iface + peer + "LinkLocal = fe80::1\n", "LinkLocal = fe80::1"},
		{iface + peer + "PresharedKey = " + pskText + "\n", "PresharedKey = (hidden)"},
		{iface + peer + "[Prefix]\nSource = DHCPv6\n", "Source = dhcpv6"},
		{iface + peer + "[Prefix]\nHint = ::/16\n", "Hint = ::/16"},
		{iface + peer + "[Prefix]\nHint = ::/64\n", "Hint = ::/64"},
		{iface + peer + "[Prefix]\nHint = 2001:db8:ebbd:9900::/56\n", "Hint = 2001:db8:ebbd:9900::/56"},
		{iface + peer + "[Prefix]\nHint = ::/64, 2001:db8:ebbd:9900::/56\nhint = ::/64,\n", "Hint = ::/64, 2001:db8:ebbd:9900::/56, ::/64"},
		{iface + peer + "[Prefix]\nHint = ::/64" + strings.Repeat(" ::/64", MaxHints-1) + "\n", "Hint = ::/64" + strings.Repeat(", ::/64", MaxHints-1)},
		{iface + peer, "# Hint: none"},
		{iface + peer + "[Prefix]\nPrefix = 2001:db8:ebbd:9900::/64\nHint = ::/64\n", "# Hint: none"},
		{iface + peer, "RequestAddress = auto"},
		{iface + peer + "[Prefix]\nRequestAddress = Auto\n", "RequestAddress = auto"},
		{iface + peer + "[Prefix]\nRequestAddress = YES\n", "RequestAddress = yes"},
		{iface + peer + "[Prefix]\nPrefix = 2001:db8:ebbd:9900::/64\nRequestAddress = yes\n", "RequestAddress = yes"},
		{iface + peer + "[Prefix]\nRequestAddress = no\n", "RequestAddress = no"},
		{iface + peer + "[Prefix]\nPrefix = 2001:db8:ebbd:9900::/64\n", "Source = static"},
		{iface + peer + "[Prefix]\nSource = static\nPrefix = 2000::/3\n", "Prefix = 2000::/3"},
		{iface + peer + "[Prefix]\nPrefix = fd00:5e::/48\n", "Prefix = fd00:5e::/48"},
		{iface + peer + lan + "Subnet = 0xAf\n", "Subnet = af"},
		{iface + peer + lan + "Subnet = ffffffffffffffff\n", "Subnet = ffffffffffffffff"},
		{iface + peer + lan + "RDNSS = self\n", "RDNSS = self"},
		{iface + peer + lan + "RDNSS = OFF\n", "RDNSS = off"},
		{iface + peer + lan + "RDNSS = 2001:db8::53\nRDNSS = fe80::53, 2001:db8::53\n", "RDNSS = 2001:db8::53, fe80::53"},
		{iface + peer + lan + "DNSSL = lan.example, guest.example\n", "DNSSL = lan.example, guest.example"},
		{iface + peer + lan + "Preference = HIGH\n", "Preference = high"},
		{iface + peer + lan + "DHCPv6 = Off\nDelegate = no\n", "Delegate = no"},
		{iface + peer + "[Router]\nDataplane = auto\nFirewall = Open\nWeb = off\nMetrics = off\n", "Firewall = open"},
		{iface + peer, "Dataplane = auto"},
		{iface + peer + "[Router]\nDataplane = kernel\n", "Dataplane = kernel"},
		{iface + peer + "[Router]\nDataplane = Userspace\n", "Dataplane = userspace"},
		{strings.ReplaceAll("\ufeff"+iface+peer+"Endpoint\t=\t192.0.2.1:5", "\n", "\r\n"), "Endpoint = 192.0.2.1:5"},
		{"# " + strings.Repeat("x", maxLine-2) + "\n" + iface + peer, "Name = oasis0"},
		{"[ INTERFACE ] # ours\nPRIVATEKEY=" + privateText + "# the key\n" + peer, "Name = oasis0"},
	} {
		got := effectiveText(t, mustParse(t, c.text))
		if !slices.Contains(strings.Split(got, "\n"), c.want) {
			t.Errorf("Parse(%q) means\n%s\nwant the line %q", c.text, got, c.want)
		}
	}
}

func TestSubnetsAreFilledInOrder(t *testing.T) {
	lan := func(name, more string) string { return "[LAN]\nInterface = " + name + "\n" + more }
	text := iface + peer + lan("a", "") + lan("b", "Subnet = 0\n") + lan("c", "") + lan("d", "Subnet = 2\n") + lan("e", "")
	var got []string
	for _, l := range mustParse(t, text).LANs {
		got = append(got, fmt.Sprintf("%s %x", l.Interface, l.Subnet))
	}
	if want := []string{"a 1", "b 0", "c 3", "d 2", "e 4"}; !slices.Equal(got, want) {
		t.Errorf("subnets %q, want %q", got, want)
	}
}

// The place in the list numbers the IAID, so the order of the file is kept, and a length may come again.
func TestHintsKeepTheirOrder(t *testing.T) {
	c := mustParse(t, iface+peer+"[Prefix]\nHint = ::/64, 2001:db8:2::/56\nHint = ::/64, 2001:db8:1::/56\n")
	if got, want := fmt.Sprint(c.Prefix.Hints), "[::/64 2001:db8:2::/56 ::/64 2001:db8:1::/56]"; got != want {
		t.Errorf("Hints = %s, want %s", got, want)
	}
}

func TestNotices(t *testing.T) {
	text := iface + "Table = 0x1F\nTable = auto\nSaveConfig = false\nAddress = 192.0.2.7, 2001:db8::1, 192.0.2.8/24\n" +
		"DNS = fe80::53, 192.0.2.53, 2001:db8::53, fe80::54\n" +
		peer + "[Prefix]\nPrefix = 2001:db8::/56\nHint = ::/56, ::/64\nHint = ::/48\n"
	_, notices, err := Parse("f", strings.NewReader(text))
	want := `f:3: Table: no effect: the routes are made as needed, and IPv4 routes are left alone
f:4: Table: no effect: the routes are made as needed, and IPv4 routes are left alone
f:5: SaveConfig: no effect: nothing ever writes this file
f:6: Address: IPv4 dropped, it stays on its native path: 192.0.2.7, 192.0.2.8/24
f:7: DNS: IPv4 dropped, it stays on its native path: 192.0.2.53
f:7: DNS: link-local dropped, no host of a LAN can reach it: fe80::53, fe80::54
f:13: Hint: no effect with a static prefix
f:14: Hint: no effect with a static prefix
`
	if got := lines(notices); err != nil || got != want {
		t.Errorf("Parse = notices\n%serror %v\nwant\n%sno error", got, err, want)
	}
}

// A link-local server of the hub's link is no use on a LAN, one that the user names for the LAN itself is.
func TestLinkLocalServers(t *testing.T) {
	c := mustParse(t, iface+"DNS = fe80::53, 2001:db8::53\n"+peer+"[LAN]\nInterface = br-lan\nRDNSS = fe80::53, 2001:db8::54\n")
	if got := fmt.Sprint(c.Interface.DNS); got != "[2001:db8::53]" {
		t.Errorf("DNS = %s", got)
	}
	if got := fmt.Sprint(c.LANs[0].RDNSS); got != "[fe80::53 2001:db8::54]" {
		t.Errorf("RDNSS = %s", got)
	}
}

func TestAllErrorsInTheOrderOfTheLines(t *testing.T) {
	text := "Name = x\n[Interface]\nListenPort = 70000\nMTU = 576\n\n[LAN]\nSubnet = zz\n[Peer]\nEndpoint = h\nKeepalive = 25\n"
	_, _, err := Parse("/etc/oasis6/oasis6.conf", strings.NewReader(text))
	want := `/etc/oasis6/oasis6.conf:1: key "Name" outside a section: a line with [Interface], or another section, belongs above it
/etc/oasis6/oasis6.conf:2: [Interface] has no PrivateKey and no PrivateKeyFile: write PrivateKeyFile = /etc/oasis6/private.key, a missing file is made with a new key
/etc/oasis6/oasis6.conf:3: ListenPort = "70000": range 0 to 65535, 0 is any free port
/etc/oasis6/oasis6.conf:4: MTU = "576": want auto, or a number from 1280 (the least that IPv6 works with) to 65455
/etc/oasis6/oasis6.conf:6: [LAN] has no Interface: name the bridge, as in Interface = br-lan
/etc/oasis6/oasis6.conf:7: Subnet = "zz": want a hexadecimal number, the number of a /64 in the prefix
/etc/oasis6/oasis6.conf:8: [Peer] has no PublicKey
/etc/oasis6/oasis6.conf:8: [Peer] has no AllowedIPs: write AllowedIPs = ::/0 for the whole IPv6 Internet
/etc/oasis6/oasis6.conf:9: Endpoint = "h": no port: want HOST:PORT or [IPv6 ADDRESS]:PORT
/etc/oasis6/oasis6.conf:10: unknown key "Keepalive" in [Peer]: did you mean PersistentKeepalive?`
	var errs Errors
	if !errors.As(err, &errs) || err.Error() != want {
		t.Errorf("Parse = (%T)\n%v\nwant\n%s", err, err, want)
	}
}

func TestReaderFailure(t *testing.T) {
	_, _, err := Parse("f", iotest.ErrReader(io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Parse = %v, want it to wrap %v", err, io.ErrUnexpectedEOF)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, _, err := Parse("f", strings.NewReader(strings.Repeat("x\n", maxFile/2)))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxReports+1 {
		t.Fatalf("Parse = %d errors, want %d and a last line", len(errs), maxReports)
	}
	if got, want := errs[maxReports].Message, "too many errors: the rest is not shown"; got != want {
		t.Errorf("last error %q, want %q", got, want)
	}
}

// The lengths that stand at the edge; that of a link-local address is of no importance.
func TestAddressLengths(t *testing.T) {
	c := mustParse(t, iface+"Address = 2001:db8:1::1/48, 2001:db8::1/128, fe80::7/10\n"+peer)
	if got := fmt.Sprint(c.Interface.Addresses, c.Interface.LinkLocal); got != "[2001:db8:1::1/48 2001:db8::1/128] fe80::7" {
		t.Errorf("addresses %s", got)
	}
}

// Beginnings of the kernel's two words are names like any other.
func TestNamesLikeTheKernelsScopes(t *testing.T) {
	for _, name := range []string{"all0", "default0", "All", "al"} {
		if err := checkInterfaceName(name); err != nil {
			t.Errorf("checkInterfaceName(%q) = %v", name, err)
		}
	}
}
