// SPDX-License-Identifier: MIT

package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestServiceKeys is one file per value: what the effective text then says, or what is said against it.
func TestServiceKeys(t *testing.T) {
	long := "https://portal.example/" + strings.Repeat("x", maxCaptivePortal-len("https://portal.example/"))
	for _, c := range []struct{ text, want string }{
		{inPrefix(""), "ULA = off"},
		{inPrefix("ULA = Off"), "ULA = off"},
		{inPrefix("ULA = AUTO"), "ULA = auto"},
		{inPrefix("ULA = FD00:DB8:1::/48"), "ULA = fd00:db8:1::/48"},
		{inPrefix("Prefix = 2001:db8::/56\nULA = auto"), "ULA = auto"},
		{inPrefix("ULA = on"), `f:7: ULA = "on": want off, auto (one of the box's own, made once and kept), or a /48 in fd00::/8`},
		{inPrefix("ULA = fd00:db8:1::"), `f:7: ULA = "fd00:db8:1::": want off, auto (one of the box's own, made once and kept), or a /48 in fd00::/8`},
		{inPrefix("ULA = fc00:db8:1::/48"), `f:7: ULA = "fc00:db8:1::/48": fc00::/8 is not for use: its addresses have no L bit, and how they are given out was never defined (RFC 4193 section 3.2): write auto, or a /48 in fd00::/8`},
		{inPrefix("ULA = fc00::/7"), `f:7: ULA = "fc00::/7": fc00::/8 is not for use: its addresses have no L bit, and how they are given out was never defined (RFC 4193 section 3.2): write auto, or a /48 in fd00::/8`},
		{inPrefix("ULA = 2001:db8::/48"), `f:7: ULA = "2001:db8::/48": not a unique local prefix: write auto, or a /48 in fd00::/8`},
		{inPrefix("ULA = 192.0.2.0/24"), `f:7: ULA = "192.0.2.0/24": not a unique local prefix: write auto, or a /48 in fd00::/8`},
		{inPrefix("ULA = fd00:db8:1::/47"), `f:7: ULA = "fd00:db8:1::/47": a site's unique local prefix is a /48 (RFC 4193 section 3.1), each LAN gets a /64 of it`},
		{inPrefix("ULA = fd00:db8:1::/64"), `f:7: ULA = "fd00:db8:1::/64": a site's unique local prefix is a /48 (RFC 4193 section 3.1), each LAN gets a /64 of it`},
		{inPrefix("ULA = fd00:db8:1:2::/48"), `f:7: ULA = "fd00:db8:1:2::/48": bits are set beyond /48: write fd00:db8:1::/48`},
		{inPrefix("ULA = fd00:db8:1::/48\nPrefix = fd00:db8:1:100::/56"), `f:7: ULA = "fd00:db8:1::/48": the addresses of Prefix on line 8 are among these: keep one of them`},
		{inPrefix("Ula6 = auto"), `f:7: unknown key "Ula6" in [Prefix]: did you mean ULA?`},
		{inLAN("ULA = auto"), `f:8: unknown key "ULA" in [LAN]: ULA belongs to [Prefix]`},

		{inLAN(""), "DHCPv6 = stateless"},
		{inLAN("DHCPv6 = Stateless"), "DHCPv6 = stateless"},
		{inLAN("DHCPv6 = STATEFUL"), "DHCPv6 = stateful"},
		{inLAN("DHCPv6 = off"), "DHCPv6 = off"},
		{inLAN("DHCPv6 = on"), `f:8: DHCPv6 = "on": want stateless, stateful or off`},
		{inLAN("DHCP = off"), `f:8: unknown key "DHCP" in [LAN]: did you mean DHCPv6?`},

		{inLAN(""), "Delegate = yes"},
		{inLAN("Delegate = Yes"), "Delegate = yes"},
		{inLAN("Delegate = NO"), "Delegate = no"},
		{inLAN("DHCPv6 = stateful"), "Delegate = yes"},
		{inLAN("DHCPv6 = off"), "Delegate = no"},
		{inLAN("Delegate = no\nDHCPv6 = off"), "Delegate = no"},
		{inLAN("DHCPv6 = off\nDelegate = yes"), "f:9: Delegate = yes beside DHCPv6 = off on line 8: routers ask for prefixes by DHCPv6: write DHCPv6 = stateless, or Delegate = no"},
		{inLAN("Delegate = yes\nDHCPv6 = off"), "f:8: Delegate = yes beside DHCPv6 = off on line 9: routers ask for prefixes by DHCPv6: write DHCPv6 = stateless, or Delegate = no"},
		{inLAN("Delegate = on"), `f:8: Delegate = "on": want yes or no`},
		{inLAN(""), "OnLink = yes"},
		{inLAN(""), "Autonomous = yes"},
		{inLAN("OnLink = No"), "OnLink = no"},
		{inLAN("Autonomous = NO"), "Autonomous = no"},
		{inLAN("OnLink = off"), `f:8: OnLink = "off": want yes or no`},
		{inLAN("Autonomous = 1"), `f:8: Autonomous = "1": want yes or no`},
		{inLAN("Delegation = no"), `f:8: unknown key "Delegation" in [LAN]: did you mean Delegate?`},

		{inLAN(""), "# PREF64: none"},
		{inLAN("PREF64 = 64:FF9B::/96"), "PREF64 = 64:ff9b::/96"},
		{inLAN("PREF64 = 64:ff9b:1::/48"), "PREF64 = 64:ff9b:1::/48"},
		{inLAN("PREF64 = 2001:db8::/32"), "PREF64 = 2001:db8::/32"},
		{inLAN("PREF64 = 2001:db8:100::/40"), "PREF64 = 2001:db8:100::/40"},
		{inLAN("PREF64 = 2001:db8:122:300::/56"), "PREF64 = 2001:db8:122:300::/56"},
		{inLAN("PREF64 = 2001:db8:122:344::/64"), "PREF64 = 2001:db8:122:344::/64"},
		{inLAN("PREF64 = 2001:db8:122:344:ff:ffff::/96"), "PREF64 = 2001:db8:122:344:ff:ffff::/96"},
		{inLAN("PREF64 = off"), `f:8: PREF64 = "off": want PREFIX/LENGTH, as in 64:ff9b::/96`},
		{inLAN("PREF64 = 64:ff9b::"), `f:8: PREF64 = "64:ff9b::": want PREFIX/LENGTH, as in 64:ff9b::/96`},
		{inLAN("PREF64 = 64:ff9b::/95"), `f:8: PREF64 = "64:ff9b::/95": a NAT64 prefix has the length /96, /64, /56, /48, /40 or /32 (RFC 6052 section 2.2)`},
		{inLAN("PREF64 = 64:ff9b::1/96"), `f:8: PREF64 = "64:ff9b::1/96": bits are set beyond /96: write 64:ff9b::/96`},
		{inLAN("PREF64 = 2001:db8:1::/32"), `f:8: PREF64 = "2001:db8:1::/32": bits are set beyond /32: write 2001:db8::/32`},
		{inLAN("PREF64 = 2001:db8:122:344:100::/96"), `f:8: PREF64 = "2001:db8:122:344:100::/96": bits 64 to 71 must be zero (RFC 6052 section 2.2): 2001:db8:122:344::/96 would be right`},
		{inLAN("PREF64 = 192.0.2.0/32"), `f:8: PREF64 = "192.0.2.0/32": not IPv6`},
		{inLAN("PREF64 = ::ffff:0:0/96"), `f:8: PREF64 = "::ffff:0:0/96": not IPv6`},
		{inLAN("PREF64 = ::/96"), `f:8: PREF64 = "::/96": holds reserved addresses (::/8)`},
		{inLAN("PREF64 = ff0e::/96"), `f:8: PREF64 = "ff0e::/96": holds multicast addresses (ff00::/8)`},
		{inLAN("PREF64 = fe80::/64"), `f:8: PREF64 = "fe80::/64": holds link-local addresses (fe80::/10)`},

		{inLAN(""), "# CaptivePortal: none"},
		{inLAN("CaptivePortal = https://portal.example"), "CaptivePortal = https://portal.example"},
		{inLAN("CaptivePortal = HTTPS://portal.example:8443/api?lan=%20=1"), "CaptivePortal = HTTPS://portal.example:8443/api?lan=%20=1"},
		{inLAN("CaptivePortal = https://portal.example?a@b"), "CaptivePortal = https://portal.example?a@b"},
		{inLAN("CaptivePortal = URN:IETF:params:capport:unrestricted"), "CaptivePortal = urn:ietf:params:capport:unrestricted"},
		{inLAN("CaptivePortal = " + long), "CaptivePortal = " + long},
		{inLAN("CaptivePortal = " + long + "x"), `f:8: CaptivePortal = "` + long[:80] + `"...: 256 octets long, at most 255 are possible (RFC 8910 section 2)`},
		{inLAN("CaptivePortal = off"), `f:8: CaptivePortal = "off": want the URI of the portal's API, https://HOST/PATH, or urn:ietf:params:capport:unrestricted to say that there is none`},
		{inLAN("CaptivePortal = http://portal.example/"), `f:8: CaptivePortal = "http://portal.example/": want the URI of the portal's API, https://HOST/PATH, or urn:ietf:params:capport:unrestricted to say that there is none`},
		{inLAN("CaptivePortal = https://portal.example/a b"), `f:8: CaptivePortal = "https://portal.example/a b": ` + notInURI},
		{inLAN("CaptivePortal = https://portal.example/é"), `f:8: CaptivePortal = "https://portal.example/é": ` + notInURI},
		{inLAN("CaptivePortal = https://portal.example/<x>"), `f:8: CaptivePortal = "https://portal.example/<x>": ` + notInURI},
		{inLAN("CaptivePortal = https://portal.example/%2f%"), `f:8: CaptivePortal = "https://portal.example/%2f%": ` + notEscape},
		{inLAN("CaptivePortal = https://portal.example/%2"), `f:8: CaptivePortal = "https://portal.example/%2": ` + notEscape},
		{inLAN("CaptivePortal = https://portal.example/%zz"), `f:8: CaptivePortal = "https://portal.example/%zz": ` + notEscape},
		{inLAN("CaptivePortal = https://me@portal.example/"), `f:8: CaptivePortal = "https://me@portal.example/": want nothing but HOST or HOST:PORT between https:// and the path`},
		{inLAN("CaptivePortal = https://[fe80::1%eb]/"), `f:8: CaptivePortal = "https://[fe80::1%eb]/": want nothing but HOST or HOST:PORT between https:// and the path`},
		{inLAN("CaptivePortal = https:///api"), `f:8: CaptivePortal = "https:///api": no host between https:// and the path`},
		{inLAN("CaptivePortal = https://:443/"), `f:8: CaptivePortal = "https://:443/": no host between https:// and the path`},
		{inLAN("CaptivePortal = https://a..example/"), `f:8: CaptivePortal = "https://a..example/": the host name has an empty label`},
		{inLAN("CaptivePortal = https://portal.example:x/"), `f:8: CaptivePortal = "https://portal.example:x/": the port is not a number from 1 to 65535: want HOST:PORT or [IPv6 ADDRESS]:PORT`},
		{inLAN("CaptivePortal = https://2001:db8::1/"), `f:8: CaptivePortal = "https://2001:db8::1/": an IPv6 address needs brackets: [ADDRESS]:PORT`},
	} {
		cfg, notices, err := Parse("f", strings.NewReader(c.text))
		switch {
		case strings.HasPrefix(c.want, "f:"):
			if err == nil || err.Error() != c.want {
				t.Errorf("Parse(%q) = %v\nwant %s", c.text, err, c.want)
			}
		case err != nil || len(notices) != 0:
			t.Errorf("Parse(%q) = %v, %v, want neither", c.text, notices, err)
		case !slices.Contains(strings.Split(effectiveText(t, cfg), "\n"), c.want):
			t.Errorf("Parse(%q) means\n%s\nwant the line %q", c.text, effectiveText(t, cfg), c.want)
		}
	}
}

// A portal at an address works where hosts accept its certificate; the standard advises against it.
func TestRFC8910_S2_AddressInTheURI(t *testing.T) {
	for _, uri := range []string{"https://192.0.2.1/", "https://192.0.2.1:8443", "https://[2001:db8::1]/api", "https://[2001:db8::1]:443?x"} {
		cfg, notices, err := Parse("f", strings.NewReader(inLAN("CaptivePortal = "+uri)))
		want := "f:8: CaptivePortal: the URI should not contain an IP address (RFC 8910 section 2): hosts check the certificate of a name\n"
		if err != nil || lines(notices) != want || cfg.LANs[0].CaptivePortal != uri {
			t.Errorf("Parse of %s = %q, %v\nwant the URI, and %q", uri, lines(notices), err, want)
		}
	}
}

func TestNewLANIsWhatTheFileMeans(t *testing.T) {
	c := mustParse(t, inLAN("Subnet = 7"))
	if got, want := effectiveText(t, &Config{LANs: []LAN{NewLAN("br-lan", 7)}}), effectiveText(t, &Config{LANs: c.LANs}); got != want {
		t.Errorf("NewLAN means\n%s\nwant\n%s", got, want)
	}
	only, err := c.WithLAN("br-guest")
	if err != nil || only.LANs[0].DHCPv6 != DHCPv6Stateless || !only.LANs[0].Delegate {
		t.Errorf("WithLAN = %+v, %v, want the defaults", only, err)
	}
}

// RFC 6052 section 2.2: the six lengths and no other.
func TestRFC6052_S2_2_Lengths(t *testing.T) {
	var got []int
	for n := range 129 {
		p, _ := netip.MustParseAddr("2001:db8::").Prefix(n)
		if _, err := parsePREF64(p.String()); err == nil {
			got = append(got, n)
		}
	}
	if want := []int{32, 40, 48, 56, 64, 96}; !slices.Equal(got, want) {
		t.Errorf("lengths %v, want %v", got, want)
	}
}

// A ULA that holds addresses which the file has at the other end of the tunnel would cut them off.
func TestULABeyondTheTunnel(t *testing.T) {
	for _, text := range []string{
		iface + "Address = fd00:db8:1:5::2/128\n" + peer,
		iface + "DNS = fd00:db8:1::53\n" + peer,
		iface + strings.Replace(peer, "::/0", "::/0, fd00:db8:1:7::/64", 1),
	} {
		_, _, err := Parse("f", strings.NewReader(text+"[Prefix]\nULA = fd00:db8:1::/48\n"))
		if err == nil || !strings.Contains(err.Error(), "at the other end of the tunnel") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
