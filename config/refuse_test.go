// SPDX-License-Identifier: MIT

package config

import (
	"strings"
	"testing"
)

// inInterface and the like are files of which only the given lines are wrong.
func inInterface(line string) string { return iface + line + "\n" + peer }
func inPeer(line string) string      { return iface + peer + line + "\n" }
func inPrefix(lines string) string   { return iface + peer + "[Prefix]\n" + lines + "\n" }
func inLAN(line string) string       { return iface + peer + "[LAN]\nInterface = br-lan\n" + line + "\n" }
func inRouter(line string) string    { return iface + peer + "[Router]\n" + line + "\n" }

// TestRefused has for each rule a file that breaks it, and all that is said about it.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty file", "", "f:1: no [Interface] section: it holds the box's PrivateKey or PrivateKeyFile\nf:1: no [Peer] section: it holds PublicKey, Endpoint and AllowedIPs of the other end"},
		{"no peer", iface, "f:2: no [Peer] section: it holds PublicKey, Endpoint and AllowedIPs of the other end"},
		{"no interface", peer, "f:3: no [Interface] section: it holds the box's PrivateKey or PrivateKeyFile"},
		{"interface twice", iface + peer + iface, "f:6: [Interface] stands twice, first on line 1: put its keys together"},
		{"prefix twice", inPrefix("Source = dhcpv6") + "[prefix]", "f:8: [prefix] stands twice, first on line 6: put its keys together"},
		{"router twice", inRouter("") + "[Router]", "f:8: [Router] stands twice, first on line 6: put its keys together"},
		{"hub", iface + peer + "Foo = 1\n[ hub ]\nPool = x\n", "f:7: [Hub]: this is the file of a hub, not of a box: oasis6 hub -c f"},
		{"long hub", "[Hub]\n" + strings.Repeat("#\n", maxFile/2), "f:1: [Hub]: this is the file of a hub, not of a box: oasis6 hub -c f"},
		{"second peer", iface + peer + peer + peer, "f:6: several peers: not available in this version"},
		{"unknown section", iface + peer + "[Lann]\nFoo = 1\n", `f:6: unknown section "[Lann]": did you mean [LAN]?`},
		{"far section", iface + peer + "[Wonderland]\n", `f:6: unknown section "[Wonderland]"`},
		{"open section", iface + peer + "[LAN\n", "f:6: a section is written [Name], alone on its line"},
		{"junk after section", iface + peer + "[LAN] x\n", "f:6: a section is written [Name], alone on its line"},
		{"empty section", iface + peer + "[]\n", `f:6: unknown section "[]"`},

		{"not a pair", inPeer("hello"), "f:6: not a line of this file: want KEY = VALUE, [Section] or # comment"},
		{"no key", inPeer("= x"), `f:6: unknown key "" in [Peer]`},
		{"NUL", inPeer("Name = a\x00b"), "f:6: control character 0x00 at octet 9: is this a text file?"},
		{"lone CR", inPeer("Name = a\rName = b"), "f:6: control character 0x0d at octet 9: is this a text file?"},
		{"Latin-1", inPeer("Name = B\xfcro"), "f:6: not UTF-8: save the file as UTF-8"},
		{"UTF-16", "\xff\xfe[\x00I\x00", "f:1: UTF-16 text: save the file as UTF-8"},
		{"long line", inPeer("# " + strings.Repeat("x", maxLine)), "f:6: longer than 65536 octets"},
		{"long file", strings.Repeat("#\n", maxFile/2) + "#", "f:1: larger than 1048576 octets: this is not a configuration file"},

		{"unknown key", inPeer("PubKey = x"), `f:6: unknown key "PubKey" in [Peer]: did you mean PublicKey?`},
		{"swapped letters", inPeer("Enpdoint = x"), `f:6: unknown key "Enpdoint" in [Peer]: did you mean Endpoint?`},
		{"far key", inInterface("Jc = 4"), `f:3: unknown key "Jc" in [Interface]`},
		{"key of another section", inInterface("endpoint = x:1"), `f:3: unknown key "endpoint" in [Interface]: Endpoint belongs to [Peer]`},
		{"long key", inPeer(strings.Repeat("x", 25) + " = 1"), "f:6: unknown key (too long to be one) in [Peer]"},
		{"no value", inPeer("Endpoint ="), "f:6: Endpoint: no value: write Endpoint = VALUE, or leave the line out"},
		{"no value in a list", inInterface("DNS = # none"), "f:3: DNS: no value: write DNS = VALUE, or leave the line out"},
		{"single key twice", inInterface("MTU = 1400\nmtu = 1400"), "f:4: MTU stands twice in this section, first on line 3"},

		{"both keys", inInterface("PrivateKeyFile = k"), "f:3: PrivateKey and PrivateKeyFile: keep one of them"},
		{"private key short", "[Interface]\nPrivateKey = abc\n" + peer, "f:2: PrivateKey: not a WireGuard key: want 44 characters of base64 that end in ="},
		{"private key zero", "[Interface]\nPrivateKey = " + zeroText + "\n" + peer, "f:2: PrivateKey: all octets are zero: this is no key"},
		{"key as file name", "[Interface]\nPrivateKeyFile = " + privateText + "\n" + peer, "f:2: PrivateKeyFile holds a key, not the name of a file: use PrivateKey for it"},
		{"name too long", inInterface("Name = sixteen-octets-x"), `f:3: Name = "sixteen-octets-x": 16 octets long, at most 15 are possible`},
		{"name with slash", inInterface("Name = a/b"), `f:3: Name = "a/b": not a possible interface name: no spaces, /, : and % in it`},
		{"name with space", inInterface("Name = a b"), `f:3: Name = "a b": not a possible interface name: no spaces, /, : and % in it`},
		{"name pattern", inInterface("Name = wg%d"), `f:3: Name = "wg%d": not a possible interface name: no spaces, /, : and % in it`},
		{"name all", inInterface("Name = all"), `f:3: Name = "all": the kernel's name for all interfaces together: settings of this one would go to every one`},
		{"name default", inInterface("Name = default"), `f:3: Name = "default": the kernel's name for interfaces to come: settings of this one would go to each new one`},
		{"name dots", inInterface("Name = .."), `f:3: Name = "..": not a possible interface name`},
		{"port", inInterface("ListenPort = -1"), `f:3: ListenPort = "-1": range 0 to 65535, 0 is any free port`},
		{"mark", inInterface("FwMark = 0x100000000"), `f:3: FwMark = "0x100000000": want off, or a number from 0 to 4294967295, or 0x0 to 0xffffffff`},
		{"MTU below", inInterface("MTU = 1279"), `f:3: MTU = "1279": want auto, or a number from 1280 (the least that IPv6 works with) to 65455`},
		{"MTU above", inInterface("MTU = 65456"), `f:3: MTU = "65456": want auto, or a number from 1280 (the least that IPv6 works with) to 65455`},
		{"address", inInterface("Address = 2001:db8::1/129, x"), `f:3: Address "2001:db8::1/129": not ADDRESS/LENGTH` + "\n" + `f:3: Address "x": not an IP address`},
		{"address zone", inInterface("Address = fe80::1%eth0"), `f:3: Address "fe80::1%eth0": not an IP address`},
		{"address multicast", inInterface("Address = ff02::1"), "f:3: Address ff02::1: not an address that an interface can have"},
		{"address unspecified", inInterface("Address = ::/0"), "f:3: Address ::/0: not an address that an interface can have"},
		{"address mapped", inInterface("Address = ::ffff:192.0.2.1"), "f:3: Address ::ffff:192.0.2.1: not an address that an interface can have"},
		{"address too short", inInterface("Address = 2001:db8::1/32, 2001:db8:2::1/47"),
			"f:3: Address 2001:db8::1/32: a length below /48 is surely wrong, nobody is given so much: write the length that the provider told, or none\n" +
				"f:3: Address 2001:db8:2::1/47: a length below /48 is surely wrong, nobody is given so much: write the length that the provider told, or none"},
		{"address lengths", inInterface("Address = 2001:db8::1/64\nAddress = 2001:db8::1"), "f:4: Address 2001:db8::1: the same address stands here as 2001:db8::1/64"},
		{"two link-locals", inInterface("Address = fe80::1, fe80::2"), "f:3: Address fe80::2: a second link-local address beside fe80::1"},
		{"DNS", inInterface("DNS = 192.0.2, 2001:db8::g, ff02::fb, a..b"),
			`f:3: DNS "192.0.2": not an IPv6 address` + "\n" + `f:3: DNS "2001:db8::g": not an IPv6 address` + "\n" +
				"f:3: DNS ff02::fb: not an address that a server can have\n" + `f:3: DNS: the name "a..b" has an empty label`},
		{"too many servers", inInterface("DNS = 2001:db8::1:0" + manyServers(16)), "f:3: DNS 2001:db8::f: more than 16 servers"},
		{"hooks", inInterface("PreUp = a\nPOSTUP = b\nPreDown = c\nPostDown ="),
			"f:3: PreUp: refused: " + whyNoHooks + "\nf:4: PostUp: refused: " + whyNoHooks + "\nf:5: PreDown: refused: " + whyNoHooks + "\nf:6: PostDown: refused: " + whyNoHooks},

		{"no public key", iface + "[Peer]\nAllowedIPs = ::/0\n", "f:3: [Peer] has no PublicKey"},
		{"public key", iface + "[Peer]\nPublicKey = " + publicText[1:] + "\nAllowedIPs = ::/0\n", "f:4: PublicKey: not a WireGuard key: want 44 characters of base64 that end in ="},
		{"public key zero", iface + "[Peer]\nPublicKey = " + zeroText + "\nAllowedIPs = ::/0\n", "f:4: PublicKey: all octets are zero: this is no key"},
		{"own public key", iface + "[Peer]\nPublicKey = " + ownText + "\nAllowedIPs = ::/0\n", "f:4: PublicKey: this is the box's own public key: the peer's belongs here"},
		{"private key as public", iface + "[Peer]\nPublicKey = " + privateText + "\nAllowedIPs = ::/0\n", "f:4: PublicKey: this is the box's own private key: the peer's public key belongs here"},
		{"preshared key", inPeer("PresharedKey = secret"), "f:6: PresharedKey: not a WireGuard key: want 44 characters of base64 that end in ="},
		{"peer name", inPeer("Name = " + strings.Repeat("x", 64)), `f:6: Name = "` + strings.Repeat("x", 64) + `": want at most 63 printable characters`},
		{"endpoint port 0", inPeer("Endpoint = h:0"), `f:6: Endpoint = "h:0": the port is not a number from 1 to 65535: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{"endpoint service", inPeer("Endpoint = h:https"), `f:6: Endpoint = "h:https": the port is not a number from 1 to 65535: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{"endpoint brackets", inPeer("Endpoint = 2001:db8::1:51820"), `f:6: Endpoint = "2001:db8::1:51820": an IPv6 address needs brackets: [ADDRESS]:PORT`},
		{"endpoint IPv4 in brackets", inPeer("Endpoint = [192.0.2.1]:1"), `f:6: Endpoint = "[192.0.2.1]:1": no IPv6 address between the brackets: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{"endpoint half address", inPeer("Endpoint = 192.0.2:1"), `f:6: Endpoint = "192.0.2:1": not an IPv4 address: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{"endpoint name", inPeer("Endpoint = a b:1"), `f:6: Endpoint = "a b:1": the host name has the character ' ': letters, digits and hyphens are possible`},
		{"endpoint empty", inPeer("Endpoint = :1"), `f:6: Endpoint = ":1": not an IPv4 address: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{"no allowed-ips", iface + "[Peer]\nPublicKey = " + publicText, "f:3: [Peer] has no AllowedIPs: write AllowedIPs = ::/0 for the whole IPv6 Internet"},
		{"empty allowed-ips", iface + "[Peer]\nPublicKey = " + publicText + "\nAllowedIPs = ", "f:5: AllowedIPs: no value: write AllowedIPs = VALUE, or leave the line out"},
		{"IPv4 allowed-ips", iface + "[Peer]\nPublicKey = " + publicText + "\nAllowedIPs = 0.0.0.0/0", "f:5: AllowedIPs: nothing is left without IPv4: does this provider give IPv6? if so, write AllowedIPs = ::/0"},
		{"allowed-ips", inPeer("AllowedIPs = ::/129, ::ffff:192.0.2.0/120"), `f:6: AllowedIPs "::/129": not ADDRESS/LENGTH` + "\nf:6: AllowedIPs ::ffff:192.0.2.0/120: IPv4-mapped addresses are never on the wire"},
		{"keepalive", inPeer("PersistentKeepalive = 65536"), `f:6: PersistentKeepalive = "65536": want off, or seconds from 0 (off) to 65535`},
		{"link-local", inPeer("LinkLocal = 2001:db8::1"), `f:6: LinkLocal = "2001:db8::1": want an address in fe80::/10, without %interface`},
		{"link-local zone", inPeer("LinkLocal = fe80::1%eth0"), `f:6: LinkLocal = "fe80::1%eth0": want an address in fe80::/10, without %interface`},
		{"same link-local", inInterface("Address = fe80::1/64") + "LinkLocal = fe80::1", `f:7: LinkLocal = "fe80::1": the box has the same one in Address`},
		{"fallback", inPeer("Fallback = tls://hub.example.net:443"), "f:6: Fallback: not available in this version"},
		{"reservation", inPeer("Prefix = 2001:db8::/64"), "f:6: Prefix: refused: a reservation stands in the file of the hub; a box writes its wish as Hint in [Prefix]"},

		{"source", inPrefix("Source = slaac"), `f:7: Source = "slaac": want dhcpv6 or static`},
		{"static without prefix", inPrefix("Source = static"), "f:7: Source = static needs Prefix, the one that is routed to this box"},
		{"dhcpv6 with prefix", inPrefix("Source = dhcpv6\nPrefix = 2001:db8::/56"), "f:7: Source = dhcpv6 and Prefix on line 8: keep one of them, for a wished prefix write Hint"},
		{"prefix too long", inPrefix("Prefix = 2001:db8::/65"), `f:7: Prefix = "2001:db8::/65": longer than /64: hosts need a /64 to make their addresses; range /1 to /64`},
		{"prefix too short", inPrefix("Prefix = ::/0"), `f:7: Prefix = "::/0": length 0: range /1 to /64`},
		{"prefix host bits", inPrefix("Prefix = 2001:db8:ebbd:99ff::1/56"), `f:7: Prefix = "2001:db8:ebbd:99ff::1/56": bits are set beyond /56: write 2001:db8:ebbd:9900::/56`},
		{"prefix multicast", inPrefix("Prefix = ff0e::/16"), `f:7: Prefix = "ff0e::/16": holds multicast addresses (ff00::/8)`},
		{"prefix link-local", inPrefix("Prefix = fe80::/64"), `f:7: Prefix = "fe80::/64": holds link-local addresses (fe80::/10)`},
		{"prefix zero", inPrefix("Prefix = ::/64"), `f:7: Prefix = "::/64": holds reserved addresses (::/8)`},
		{"prefix IPv4", inPrefix("Prefix = 192.0.2.0/24"), `f:7: Prefix = "192.0.2.0/24": not IPv6`},
		{"prefix address", inPrefix("Prefix = 2001:db8::"), `f:7: Prefix = "2001:db8::": want PREFIX/LENGTH, as in 2001:db8:ebbd:9900::/56`},
		{"hint", inPrefix("Hint = /56"), `f:7: Hint "/56": want a length as ::/56, or a prefix as 2001:db8:ebbd:9900::/56`},
		{"hint length 0", inPrefix("Hint = ::/0"), `f:7: Hint "::/0": shorter than /16: the box takes no delegation of that size; range /16 to /64`},
		{"hint too long", inPrefix("Hint = ::/65"), `f:7: Hint "::/65": longer than /64: hosts need a /64 to make their addresses; range /16 to /64`},
		{"hint host bits", inPrefix("Hint = 2001:db8:1::/32"), `f:7: Hint "2001:db8:1::/32": bits are set beyond /32: write 2001:db8::/32`},
		{"hints", inPrefix("Hint = ::/56, /56\nHint = ::/0"), `f:7: Hint "/56": want a length as ::/56, or a prefix as 2001:db8:ebbd:9900::/56` + "\n" + `f:8: Hint "::/0": shorter than /16: the box takes no delegation of that size; range /16 to /64`},
		{"hint twice", inPrefix("Hint = 2001:db8:1::/56, 2001:db8:2::/56\nHint = 2001:DB8:1:0::/56"), "f:8: Hint 2001:DB8:1:0::/56: stands twice: each entry is a delegation of its own"},
		{"hint twice, static", inPrefix("Prefix = 2001:db8::/56\nHint = 2001:db8:1::/56, 2001:db8:1::/56"), "f:8: Hint 2001:db8:1::/56: stands twice: each entry is a delegation of its own"},
		{"too many hints", inPrefix("Hint = ::/64" + strings.Repeat(", ::/64", MaxHints)), "f:7: Hint ::/64: more than 7 delegations"},
		{"request address", inPrefix("RequestAddress = off"), `f:7: RequestAddress = "off": want auto, yes or no`},

		{"LAN is the tunnel", iface + peer + "[LAN]\nInterface = oasis0\n", `f:7: Interface = "oasis0": this is the tunnel: name the bridge or network card that the hosts are on`},
		{"LAN is lo", iface + peer + "[LAN]\nInterface = lo\n", `f:7: Interface = "lo": no hosts are on the loopback interface`},
		{"LAN is all", iface + peer + "[LAN]\nInterface = all\n", `f:7: Interface = "all": the kernel's name for all interfaces together: settings of this one would go to every one`},
		{"LAN is default", iface + peer + "[LAN]\nInterface = default\n", `f:7: Interface = "default": the kernel's name for interfaces to come: settings of this one would go to each new one`},
		{"LAN twice", inLAN("") + "[LAN]\nInterface = br-lan\n", `f:10: Interface = "br-lan": has a [LAN] already, on line 7`},
		{"subnet twice", inLAN("Subnet = 1") + "[LAN]\nInterface = br-guest\nSubnet = 0x1\n", `f:11: Subnet = "0x1": has a [LAN] already, on line 8`},
		{"subnet", inLAN("Subnet = 10000000000000000"), `f:8: Subnet = "10000000000000000": want a hexadecimal number, the number of a /64 in the prefix`},
		{"subnet beyond /56", inPrefix("Prefix = 2001:db8::/56") + "[LAN]\nInterface = a\nSubnet = 100\n", `f:10: Subnet = "100": not in 2001:db8::/56, range 0 to ff`},
		{"subnet beyond /64", inPrefix("Prefix = 2001:db8::/64") + "[LAN]\nInterface = a\nSubnet = 1\n", `f:10: Subnet = "1": not in 2001:db8::/64, range 0 to 0`},
		{"LANs beyond /64", inPrefix("Prefix = 2001:db8::/64") + "[LAN]\nInterface = a\n[LAN]\nInterface = b\n", "f:10: no /64 of 2001:db8::/64 is left for this [LAN]"},
		{"RDNSS mixed", inLAN("RDNSS = auto, 2001:db8::53"), "f:8: RDNSS: want one of auto, self, off, or IPv6 addresses, not both"},
		{"RDNSS IPv4", inLAN("RDNSS = 192.0.2.53"), `f:8: RDNSS "192.0.2.53": not an IPv6 address`},
		{"RDNSS multicast", inLAN("RDNSS = ff02::fb"), "f:8: RDNSS ff02::fb: not an address that a server can have"},
		{"RDNSS unspecified", inLAN("RDNSS = ::"), "f:8: RDNSS ::: not an address that a server can have"},
		{"RDNSS word", inLAN("RDNSS = on"), `f:8: RDNSS "on": not an IPv6 address`},
		{"IDN", inLAN("DNSSL = büro.example"), `f:8: DNSSL: the name "büro.example" is not ASCII: write its A-label form, xn--..., as "idn2 NAME" prints it`},
		{"label", inLAN("DNSSL = " + strings.Repeat("a", 64)), `f:8: DNSSL: the name "` + strings.Repeat("a", 64) + `" has a label longer than 63 characters`},
		{"name", inLAN("DNSSL = " + strings.Repeat("a.", 126) + "aa"), `f:8: DNSSL: the name "` + strings.Repeat("a.", 40) + `"... longer than 253 characters`},
		{"root", inLAN("DNSSL = ."), `f:8: DNSSL: the name "." has an empty label`},
		{"hyphen", inLAN("DNSSL = -a.example"), `f:8: DNSSL: the name "-a.example" has a label that begins or ends with a hyphen`},
		{"names too long together", inLAN("DNSSL = " + strings.Repeat("a", 63) + "." + strings.Repeat("b.", 94) + "," + strings.Repeat("c.", 126) + ",dddddd"), "f:8: DNSSL: all names together are longer than 512 octets"},
		{"preference", inLAN("Preference = reserved"), `f:8: Preference = "reserved": want low, medium or high`},
		{"no DNS in userspace", inLAN("RDNSS = self\n[Router]\nDataplane = userspace"), `f:8: RDNSS = "self": with Dataplane = userspace no DNS server of this machine answers at the box's address: write auto, or addresses`},
		{"Dataplane", inRouter("Dataplane = gvisor"), `f:7: Dataplane = "gvisor": want auto, kernel or userspace`},
		{"Web", inRouter("Web = lan"), "f:7: Web: not available in this version: leave the line out, or write off"},
		{"Metrics", inRouter("Metrics = [::1]:9100"), "f:7: Metrics: not available in this version: leave the line out, or write off"},
		{"Firewall", inRouter("Firewall = on"), `f:7: Firewall = "on": want closed or open`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, _, err := Parse("f", strings.NewReader(c.text))
			if err == nil || err.Error() != c.want || cfg != nil {
				t.Errorf("Parse = %v,\n%v\nwant nil and\n%s", cfg, err, c.want)
			}
		})
	}
}

func manyServers(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(", 2001:db8::" + string("0123456789abcdef"[i]))
	}
	return b.String()
}

// A person pastes a key into the wrong place; the message goes to a log and from there to a forum.
func TestMessagesNeverQuoteAKey(t *testing.T) {
	for _, text := range []string{
		privateText, " " + privateText, "PrivateKey " + privateText, "PrivateKey: " + privateText,
		"[" + privateText + "]", "[Peer]\n" + privateText, privateText + " = x", privateText[:43], "[" + privateText[:43] + "]",
		iface + "Name = " + privateText, iface + "Address = " + privateText, iface + "DNS = " + privateText, iface + "MTU = " + privateText,
		iface + "PrivateKeyFile = " + privateText, "[Interface]\nPrivateKey = " + privateText + "x", "[Interface]\nPrivateKey = " + privateText[:43],
		"[Interface]\nPrivateKey = \"" + privateText + "\"", peer + "PresharedKey = " + privateText[:40], peer + "Endpoint = " + privateText,
		peer + "AllowedIPs = ::/0, " + privateText, inPrefix("Hint = " + privateText), inPrefix("ULA = " + privateText),
		inLAN("DHCPv6 = " + privateText), inLAN("Delegate = " + privateText), inLAN("PREF64 = " + privateText), inLAN("CaptivePortal = " + privateText),
		inLAN("CaptivePortal = https://" + privateText), inLAN("DNSSL = " + privateText), inLAN("RDNSS = " + privateText),
		iface + "Name = " + privateText[:43], iface + "Name = " + privateText + privateText, iface + "MTU = x" + privateText[1:], inPeer("Endpoint = " + privateText[:40] + ":x"),
	} {
		_, notices, err := Parse("f", strings.NewReader(text))
		if err == nil {
			t.Errorf("Parse(%q) = no error, want one", text)
			continue
		}
		for _, part := range []string{privateText[:20], privateText[20:40]} {
			if said := err.Error() + lines(notices); strings.Contains(said, part) {
				t.Errorf("Parse(%q) says\n%s\nwant nothing of the key in it", text, said)
			}
		}
	}
}
