// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestImportFindsThePrefix: a wrong guess gives the hosts addresses that nobody routes, so only
// one clear prefix counts.
func TestImportFindsThePrefix(t *testing.T) {
	for _, c := range []struct{ name, head, address, prefix, subnet string }{
		{"nothing said", "# my tunnel", "2001:db8:1::2/64", "", "0"},
		{"comment", "# Routed /48: 2001:db8:2::/48.", "2001:db8:1::2/64", "2001:db8:2::/48", "0"},
		{"comment with host bits", "#subnet=2001:db8:2::1/56;", "2001:db8:1::2/128", "2001:db8:2::/56", "0"},
		{"comment without the word", "# 2001:db8:2::/48", "2001:db8:1::2/64", "", "0"},
		{"twice the same", "# prefix 2001:db8:2::/48\n# delegated: 2001:db8:2::/48", "2001:db8:1::2/64", "2001:db8:2::/48", "0"},
		{"two", "# prefixes 2001:db8:2::/48, 2001:db8:3::/48", "2001:db8:1::2/64", "", "0"},
		{"the link and one", "# network 2001:db8:1::/64, prefix 2001:db8:3::/64", "2001:db8:1::2/64", "2001:db8:3::/64", "0"},
		{"the link", "# network 2001:db8:1::/64", "2001:db8:1::2/64", "", "0"},
		{"address", "", "2001:db8:1::2/48", "2001:db8:1::/48", "1"},
		{"address elsewhere in its prefix", "", "2001:db8:1:f::2/48", "2001:db8:1::/48", "0"},
		{"comment and address", "# routed: 2001:db8:2::/48", "2001:db8:2::1/48", "2001:db8:2::/48", "1"},
		{"address, too long", "", "2001:db8:1::2/64", "", "0"},
		{"two addresses", "", "2001:db8:1::2/48, 2001:db8:2::2/48", "", "0"},
		{"many", "# prefixes 2001:db8:1::/48 2001:db8:2::/48 2001:db8:3::/48 2001:db8:4::/48 2001:db8:5::/48 2001:db8:6::/48 2001:db8:7::/48 2001:db8:8::/48 2001:db8:9::/48 " +
			"2001:db8:a::/48 2001:db8:b::/48 2001:db8:c::/48 2001:db8:d::/48 2001:db8:e::/48 2001:db8:f::/48 2001:db8:10::/48 2001:db8:11::/48", "2001:db8:1::2/64", "", "0"},
		{"IPv4", "# routed subnet 192.0.2.0/24", "2001:db8:1::2/64", "", "0"},
		{"not for hosts", "# prefix fe80::/64 and prefix 2001:db8::/65", "2001:db8:1::2/64", "", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, notices, err := Import("f", strings.NewReader(c.head+"\n"+iface+"Address = "+c.address+"\n"+peer))
			if err != nil {
				t.Fatal(err)
			}
			got := effectiveText(t, mustParse(t, text))
			wantPrefix, wantNotice := "\n# Prefix: asked for by DHCPv6\n", ": "+askProvider+"\n"
			if c.name == "two" || c.name == "two addresses" || c.name == "many" {
				wantNotice = ": several prefixes could be the routed one" + wantNotice
			}
			if c.prefix != "" {
				wantPrefix, wantNotice = "\nPrefix = "+c.prefix+"\n", ", is taken as the one routed to this box: check it\n"
			}
			if !strings.Contains(got, wantPrefix) || !strings.Contains(got, "\nSubnet = "+c.subnet+"\n") || !strings.HasSuffix(lines(notices), wantNotice) {
				t.Errorf("Import means\n%s%s\nwant%sand subnet %s", got, lines(notices), wantPrefix, c.subnet)
			}
		})
	}
}

func TestImportLeavesOursAlone(t *testing.T) {
	text := "# mine: prefix 2001:db8:2::/48\n" + iface + peer + "\n[Prefix]\nHint = ::/60 # wish\n[LAN]\nInterface = lan0\n"
	got, notices, err := Import("f", strings.NewReader(text))
	if err != nil || got != text || len(notices) != 0 {
		t.Errorf("Import = %q, %v, %v, want the text as it was", got, notices, err)
	}
}

// Line numbers of the input stand in the errors, since import keeps each line in its place.
func TestImportRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[Interface]\nPostUp = x\nPrivateKey = " + privateText + "\nJc = 4\n" + peer, `f:4: unknown key "Jc" in [Interface]`},
		{iface + "[Peer]\nPublicKey = " + publicText + "\n\n# all\nAllowedIPs = 0.0.0.0/0\n", "f:7: AllowedIPs: nothing is left without IPv4: does this provider give IPv6? if so, write AllowedIPs = ::/0"},
		{iface + "[Peer]\nPublicKey = " + publicText + "\nAllowedIPs = 0.0.0.0/1\nAllowedIPs = 128.0.0.0/1\n", "f:6: AllowedIPs: nothing is left without IPv4: does this provider give IPv6? if so, write AllowedIPs = ::/0"},
		{iface + "[Peer]\nPublicKey = " + publicText + "\n", "f:3: [Peer] has no AllowedIPs: write AllowedIPs = ::/0 for the whole IPv6 Internet"},
		// What is wrong only with the lines that import adds is told of the last line that there is.
		{iface, "f:2: no [Peer] section: it holds PublicKey, Endpoint and AllowedIPs of the other end"},
		{"", "f:1: no [Interface] section: it holds the box's PrivateKey or PrivateKeyFile\nf:1: no [Peer] section: it holds PublicKey, Endpoint and AllowedIPs of the other end"},
		{iface + "Name = br-lan\n" + peer, `f:6: Interface = "br-lan": this is the tunnel: name the bridge or network card that the hosts are on`},
		{iface + peer + peer, "f:6: several peers: not available in this version"},
		{"\xfe\xff\x00[", "f:1: UTF-16 text: save the file as UTF-8"},
	} {
		text, _, err := Import("f", strings.NewReader(c.text))
		if err == nil || err.Error() != c.want || text != "" {
			t.Errorf("Import(%q) = %q, %v, want %s", c.text, text, err, c.want)
		}
	}
}

func TestImportKeepsTheOtherComments(t *testing.T) {
	text, _, err := Import("f", strings.NewReader(iface+"Address = 192.0.2.1, 2001:db8::1 # from the portal\n"+peer))
	want := "Address = 2001:db8::1 # oasis6: IPv4 stays on its native path: 192.0.2.1 # from the portal\n"
	if err != nil || !strings.Contains(text, want) {
		t.Errorf("Import = %q, %v, want %q in it", text, err, want)
	}
}

// BenchmarkWorstFiles are the most expensive files within the limits; none may take seconds on a desktop,
// because a board is 50 times slower.
func BenchmarkWorstFiles(b *testing.B) {
	for name, line := range map[string]string{
		"unknown keys": "PrivateKeyFil = 1\n",
		"servers":      "DNS = 2001:db8::%x\n",
		"addresses":    "Address = 2001:db8::%x\n",
		"peers":        "[Peer]\nPublicKey=" + publicText + "\n",
		"LANs":         "[LAN]\nInterface=a%x\n",
		"hints":        "# prefix 2001:db8:%x::/48\n",
	} {
		var text strings.Builder
		text.WriteString(iface)
		for i := 0; text.Len() < maxFile-len(line)-8; i++ {
			if strings.Contains(line, "%x") {
				fmt.Fprintf(&text, line, i%0x10000)
			} else {
				text.WriteString(line)
			}
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := Import("f", strings.NewReader(text.String())); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

// What Parse would drop is commented out, with its reason.
func TestImportCommentsOutLinkLocalServers(t *testing.T) {
	for line, want := range map[string]string{
		"DNS = fe80::53":                             "# DNS = fe80::53 # oasis6: no host of a LAN can reach link-local: fe80::53",
		"DNS = fe80::53, 2001:db8::53 # theirs":      "DNS = 2001:db8::53 # oasis6: no host of a LAN can reach link-local: fe80::53 # theirs",
		"DNS = fe80::53, 192.0.2.53, 2001:db8:1::53": "DNS = 2001:db8:1::53 # oasis6: IPv4 stays on its native path: 192.0.2.53; no host of a LAN can reach link-local: fe80::53",
	} {
		got, notices, err := Import("f", strings.NewReader(iface+line+"\n"+peer))
		if err != nil || !strings.Contains(got, "\n"+want+"\n") || len(notices) == 0 {
			t.Errorf("Import(%q) = %v, notices %v\n%s\nwant the line\n%s", line, err, notices, got, want)
		}
		if _, notices, err := Parse("f", strings.NewReader(got)); err != nil || len(notices) != 0 {
			t.Errorf("Parse of it: %v, %v", notices, err)
		}
	}
}
