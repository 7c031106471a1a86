// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// adn is the name of RFC 9463 figure 2 as its octets.
const adn = "\x04doh1\x07example\x03com\x00"

// dnr is the body of an OPTION_V6_DNR from its parts.
func dnr(priority byte, name string, parts ...[]byte) []byte {
	return slices.Concat(append([][]byte{{0, priority}, appendCounted(nil, []byte(name))}, parts...)...)
}

// addrsField is the field of addresses with its length.
func addrsField(addrs ...string) []byte {
	var v []byte
	for _, a := range addrs {
		v = append(v, netip.MustParseAddr(a).AsSlice()...)
	}
	return appendCounted(nil, v)
}

// param is one service parameter.
func param(key OptionCode, value string) []byte { return appendOption(nil, key, []byte(value)) }

// "This example conveys the FQDN doh1.example.com., and the resulting Option-length field is 18": the field of
// the name is, the option has priority and length of the name besides.
func TestRFC9463_4_1_ADNOnly(t *testing.T) {
	v := dnr(10, adn)
	if len(adn) != 18 || len(v) != 18+4 {
		t.Fatalf("%d octets of %d", len(adn), len(v))
	}
	m, problems := mustParse(t, replyWith(option(OptionEncryptedDNS, v...)))
	want := []EncryptedDNS{{Priority: 10, Name: "doh1.example.com"}}
	if d := cmp.Diff(want, m.EncryptedDNS, comparePrefixes); d != "" || problems != nil {
		t.Errorf("problems %v, resolvers (-want +got):\n%s", problems, d)
	}
	if got := want[0].append(nil); !bytes.Equal(got, option(OptionEncryptedDNS, v...)) {
		t.Errorf("written as %x, want the body %x", got, v)
	}
}

// The receiver "makes the following validation checks"; "If any of the checks fail, the receiver discards the
// received Encrypted DNS option."
func TestRFC9463_3_1_8_Validation(t *testing.T) {
	alpn, port := param(1, "\x03dot\x02h2"), param(3, "\x03\x55")
	one := addrsField("2001:db8::53")
	full := EncryptedDNS{Priority: 1, Name: "doh1.example.com", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Params: string(alpn)}
	with := func(params ...[]byte) *EncryptedDNS {
		e := full
		e.Params = string(slices.Concat(params...))
		return &e
	}
	dohpath := param(7, "/dns-query{?dns}")
	fill := strings.Repeat("x", maxServiceParams-len(alpn)-4)
	for _, tc := range []struct {
		name    string
		v       []byte
		want    *EncryptedDNS // nil: discarded
		problem string
	}{
		{"address and alpn", dnr(1, adn, one, alpn), &full, ""},
		{"port and path", dnr(1, adn, one, alpn, port, dohpath), with(alpn, port, dohpath), ""},
		{"unknown key, empty value", dnr(1, adn, one, alpn, param(0xffff, "")), with(alpn, param(0xffff, "")), ""},
		{"mandatory before alpn", dnr(1, adn, one, param(0, "\x00\x01"), alpn), with(param(0, "\x00\x01"), alpn), ""},
		{"upper case", dnr(1, "\x04DoH1\x07Example\x03com\x00", one, alpn), &full, ""},
		{"most parameters", dnr(1, adn, one, alpn, param(9, fill)), with(alpn, param(9, fill)), ""},
		{"too many parameters", dnr(1, adn, one, alpn, param(9, fill+"x")), nil, "too many service parameters"},
		{"empty", nil, nil, "Encrypted DNS option at offset 4: is too short for a priority"},
		{"one octet", []byte{0}, nil, "is too short for a priority"},
		{"priority only", []byte{0, 1}, nil, "name goes past the end"},
		{"half a length of the name", []byte{0, 1, 0}, nil, "name goes past the end"},
		{"alias mode", dnr(0, adn), nil, "priority 0 is no resolver but an alias"},
		{"no name", dnr(1, ""), nil, "a name has no end"},
		{"root", dnr(1, "\x00", one, alpn), nil, "the root is no name to use"},
		{"name without end", dnr(1, "\x04doh1", one, alpn), nil, "a name has no end"},
		{"two names", dnr(1, adn+adn, one, alpn), nil, "octets follow the name"},
		{"compressed name", dnr(1, "\x04doh1\xc0\x00", one, alpn), nil, "compression"},
		{"name with a space", dnr(1, "\x03a b\x00", one, alpn), nil, "letter"},
		{"name past the end", []byte{0, 1, 0, 3, 1, 'a'}, nil, "name goes past the end"},
		{"half a length of the addresses", dnr(1, adn, []byte{0}), nil, "addresses go past the end"},
		{"addresses past the end", dnr(1, adn, []byte{0, 17}, make([]byte, 16)), nil, "addresses go past the end"},
		{"addresses of 15 octets", dnr(1, adn, []byte{0, 15}, make([]byte, 15), alpn), nil, "not a multiple of 16"},
		{"17 addresses", dnr(1, adn, addrsField(slices.Repeat([]string{"2001:db8::53"}, 17)...), alpn), nil, "too much"},
		{"no address", dnr(1, adn, addrsField(), alpn), nil, "no address that can be used"},
		{"no alpn", dnr(1, adn, one, port), nil, "service parameters without alpn"},
		{"no parameters", dnr(1, adn, one), nil, "service parameters without alpn"},
		{"empty alpn", dnr(1, adn, one, param(1, "")), nil, "service parameters without alpn"},
		{"ipv4hint", dnr(1, adn, one, alpn, param(4, "\xc0\x00\x02\x01")), nil, "hold an address hint"},
		{"ipv6hint", dnr(1, adn, one, alpn, param(6, strings.Repeat("\x20", 16))), nil, "hold an address hint"},
		{"keys fall", dnr(1, adn, one, port, alpn), nil, "not in ascending order"},
		{"key twice", dnr(1, adn, one, alpn, alpn), nil, "not in ascending order"},
		{"parameter past the end", dnr(1, adn, one, alpn, []byte{0, 3, 0, 2, 1}), nil, "service parameters: length 2, only 1 octets are left"},
		{"half a parameter", dnr(1, adn, one, alpn, []byte{0, 3}), nil, "service parameters: 2 octets are left"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good := option(OptionEncryptedDNS, dnr(9, "\x01g\x00")...)
			m, problems := mustParse(t, replyWith(option(OptionEncryptedDNS, tc.v...), good))
			want := []EncryptedDNS{{Priority: 9, Name: "g"}}
			if tc.want != nil {
				want = append([]EncryptedDNS{*tc.want}, want...)
			}
			if d := cmp.Diff(want, m.EncryptedDNS, comparePrefixes); d != "" {
				t.Errorf("resolvers (-want +got):\n%s", d)
			}
			wantOne(t, problems, tc.problem)
		})
	}
}

// The client "MUST silently discard" multicast and loopback addresses: the resolver stays with the others, and
// goes when none is left.
func TestRFC9463_4_2_AddressesOneByOne(t *testing.T) {
	alpn := param(1, "\x03dot")
	for addr, reason := range map[string]string{"ff02::1": "ff02::1", "::1": "::1", "::": "::", "fe80::53": "fe80::53", "::ffff:192.0.2.1": "::ffff:192.0.2.1"} {
		m, problems := mustParse(t, replyWith(option(OptionEncryptedDNS, dnr(1, adn, addrsField(addr, "2001:db8::53", "fd00::53"), alpn)...)))
		if len(m.EncryptedDNS) != 1 || len(m.EncryptedDNS[0].Addrs) != 2 || m.EncryptedDNS[0].Addrs[0] != netip.MustParseAddr("2001:db8::53") {
			t.Errorf("%s and two others: %+v", addr, m.EncryptedDNS)
		}
		wantOne(t, problems, reason+" cannot be a name server")
		m, problems = mustParse(t, replyWith(option(OptionEncryptedDNS, dnr(1, adn, addrsField(addr), alpn)...)))
		if m.EncryptedDNS != nil || len(problems) != 2 {
			t.Errorf("%s alone: %+v, problems %v", addr, m.EncryptedDNS, problems)
		}
	}
}

// "The DHCPv6 client MUST be prepared to receive multiple instances of the OPTION_V6_DNR option".
func TestRFC9463_4_2_SeveralResolvers(t *testing.T) {
	var options [][]byte
	for i := range 100 {
		options = append(options, option(OptionEncryptedDNS, dnr(byte(100-i), "\x01"+string(rune('a'+i%26))+"\x00")...))
	}
	m, problems := mustParse(t, replyWith(options[:3]...))
	want := []EncryptedDNS{{Priority: 100, Name: "a"}, {Priority: 99, Name: "b"}, {Priority: 98, Name: "c"}}
	if d := cmp.Diff(want, m.EncryptedDNS); d != "" || problems != nil {
		t.Errorf("problems %v, resolvers (-want +got):\n%s", problems, d)
	}
	if m, problems = mustParse(t, replyWith(options...)); len(m.EncryptedDNS) != maxEncryptedDNS || len(problems) != maxProblems {
		t.Errorf("%d resolvers, %d problems", len(m.EncryptedDNS), len(problems))
	}
	if got := (EncryptedDNS{Priority: 1, Name: "no name"}).append(nil); got != nil {
		t.Errorf("a resolver without a valid name is written as %x", got)
	}
}
