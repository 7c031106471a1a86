// SPDX-License-Identifier: MIT

package house

import (
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowedAddresses are the ranges whose addresses may stand in the tree, each with its reason.
// They belong to nobody, so no example of ours can ever send packets to somebody.
func allowedAddresses() map[string]string {
	return map[string]string{
		"2001:db8::/32":   "documentation (RFC 3849)",
		"3fff::/20":       "documentation (RFC 9637)",
		"192.0.2.0/24":    "documentation (RFC 5737)",
		"198.51.100.0/24": "documentation (RFC 5737)",
		"203.0.113.0/24":  "documentation (RFC 5737)",
		"::/128":          "unspecified, and as ::/n a wished length",
		"::1/128":         "loopback",
		"127.0.0.0/8":     "loopback",
		"0.0.0.0/8":       "unspecified, and the netmasks that begin with 0",
		"fe80::/10":       "link-local",
		"ff00::/8":        "multicast",
		"224.0.0.0/4":     "multicast",
		"fc00::/7":        "unique local (RFC 4193)",
		"10.0.0.0/8":      "private (RFC 1918), the labs' NATs",
		"172.16.0.0/12":   "private (RFC 1918), the labs' NATs",
		"192.168.0.0/16":  "private (RFC 1918), the labs' NATs",
		"100.64.0.0/10":   "shared by carrier-grade NATs (RFC 6598)",
		"169.254.0.0/16":  "link-local (RFC 3927)",
		"255.0.0.0/8":     "netmasks and the limited broadcast",
		"128.0.0.0/32":    "the upper half in 0.0.0.0/1, 128.0.0.0/1",
		"8000::/128":      "the upper half in ::/1, 8000::/1",
		"2000::/128":      "global unicast as a whole, 2000::/3",
		"2001::/128":      "Teredo as a whole, 2001::/32 (RFC 4380)",
		"2002::/128":      "6to4 as a whole, 2002::/16 (RFC 3056)",
		"64:ff9b::/96":    "NAT64's well-known prefix (RFC 6052)",
		"64:ff9b:1::/48":  "local NAT64 (RFC 8215)",
		"100::/64":        "discard (RFC 6666)",
		"fec0::/10":       "site-local, deprecated (RFC 3879): refused, so tests name it",
		"5f00::/128":      "SRv6 SIDs as a whole, 5f00::/16 (RFC 9602)",
		"192.88.99.0/24":  "6to4 anycast, deprecated (RFC 7526)",
	}
}

// exceptions are addresses outside these ranges, by file, each with its reason.
func exceptions() map[string]map[string]string {
	return map[string]map[string]string{}
}

var (
	ipv4Literal = regexp.MustCompile(`(?:^|[^0-9A-Za-z_.])((?:\d{1,3}\.){3}\d{1,3})(?:[^0-9A-Za-z_.]|\.?$|\.[^0-9])`)
	ipv6Literal = regexp.MustCompile(`(?:^|[^0-9A-Za-z_:.])([0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(?:\d{1,3}(?:\.\d{1,3}){3})?)(?:[^0-9A-Za-z_:.]|\.(?:[^0-9]|$)|$)`)
	sectionWord = regexp.MustCompile(`(?i)(?:sections?|§|table|figure|appendix|rfc ?\d+,?)[ _]*(?:\d[\d.]*,? ?(?:and|to|or)? ?)*$`)
)

// addresses are the literals of one line.
func addresses(line string) []netip.Addr {
	var out []netip.Addr
	for _, re := range []*regexp.Regexp{ipv4Literal, ipv6Literal} {
		rest := 0
		for {
			m := re.FindStringSubmatchIndex(line[rest:])
			if m == nil {
				break
			}
			start, end := rest+m[2], rest+m[3]
			// A section number of four parts looks like an IPv4 address.
			if !sectionWord.MatchString(line[:start]) {
				if a, err := netip.ParseAddr(line[start:end]); err == nil {
					out = append(out, a)
				}
			}
			rest = end
		}
	}
	return out
}

func TestAddressesAreFoundInText(t *testing.T) {
	for line, want := range map[string]string{
		`ping 9.9.9.9`:                         "9.9.9.9",
		`"9.9.9.9:53"`:                         "9.9.9.9",
		`from 1.2.3.4, 5.6.7.8.`:               "1.2.3.4 5.6.7.8",
		`RFC 9915 section 18.2.10.1 says`:      "",
		`section 1.2.3.4 and 18.2.10.2`:        "",
		`version v1.2.3.4`:                     "",
		`1.2.3`:                                "",
		`1.2.3.4.5`:                            "",
		`[2001:4860::1]:53`:                    "2001:4860::1",
		`2a00::/12`:                            "2a00::",
		`::/0 and ::1`:                         ":: ::1",
		`::ffff:9.9.9.9`:                       "9.9.9.9 ::ffff:9.9.9.9",
		`00:00:5e:00:53:01 at 12:00:00`:        "",
		`a::b`:                                 "a::b",
		`std::move, x::y`:                      "",
		`2620:fe:0:0:0:0:0:fe`:                 "2620:fe::fe",
		`Address = 2620:fe::fe/128,2620:fe::9`: "2620:fe::fe 2620:fe::9",
	} {
		var got []string
		for _, a := range addresses(line) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestOnlyDocumentationAddresses(t *testing.T) {
	var allowed []netip.Prefix
	for p := range allowedAddresses() {
		allowed = append(allowed, netip.MustParsePrefix(p))
	}
	tr := readTree(t)
	used := map[string]bool{}
	for _, name := range tr.files {
		if slices.Contains([]string{".sum", ".pcap", ".pcapng"}, path.Ext(name)) || name == "internal/house/addresses_test.go" {
			continue // hashes; this file's own table
		}
		if strings.Contains(name, "testdata/fuzz/") || picture(name) {
			continue // made by a machine out of random octets
		}
		for i, line := range strings.Split(tr.read(t, name), "\n") {
			for _, a := range addresses(line) {
				a = a.Unmap()
				in := slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(a) })
				if in {
					continue
				}
				if exceptions()[name][a.String()] != "" {
					used[name+" "+a.String()] = true
					continue
				}
				t.Errorf("%s:%d: %s is somebody's address: use one of the documentation ranges", name, i+1, a)
			}
		}
	}
	for name, m := range exceptions() {
		for a := range m {
			if !used[name+" "+a] {
				t.Errorf("the exception for %s in %s is no longer needed", a, name)
			}
		}
	}
}
