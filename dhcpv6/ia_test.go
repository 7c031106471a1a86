// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// addrOption is an IA Address whose address is taken as it is.
func addrOption(preferred, valid uint32, addr string, options ...byte) []byte {
	a := netip.MustParseAddr(addr).As16()
	v := binary.BigEndian.AppendUint32(a[:], preferred)
	return option(OptionIAAddr, append(binary.BigEndian.AppendUint32(v, valid), options...)...)
}

func ianaOption(iaid, t1, t2 byte, options ...[]byte) []byte {
	b := iapdOption(iaid, t1, t2, options...)
	b[1] = byte(OptionIANA)
	return b
}

// wantOne says whether the problems are none for an empty text, one that contains it otherwise.
func wantOne(t *testing.T, problems []Problem, text string) {
	t.Helper()
	if text == "" && len(problems) > 0 || text != "" && (len(problems) != 1 || !strings.Contains(problems[0].Error(), text)) {
		t.Errorf("problems = %v, want %q", problems, text)
	}
}

// "If a client receives an IA_NA with T1 greater than T2 and both T1 and T2 are greater than 0, the client
// discards the IA_NA option and processes the remainder of the message as though the server had not
// included the invalid IA_NA option."
func TestRFC9915_21_4_T1GreaterThanT2(t *testing.T) {
	a, good := addrOption(1, 2, "2001:db8::1"), iapdOption(1, 6, 7)
	for _, tc := range []struct {
		t1, t2 byte
		kept   int
	}{{0, 0, 2}, {5, 0, 2}, {0, 5, 2}, {5, 5, 2}, {5, 6, 2}, {6, 5, 1}} {
		if m, _ := mustParse(t, replyWith(ianaOption(1, tc.t1, tc.t2, a), good)); len(m.IAs) != tc.kept || m.IAs[tc.kept-1].Type != PD {
			t.Errorf("T1 %d T2 %d: %+v, want %d IAs", tc.t1, tc.t2, m.IAs, tc.kept)
		}
	}
	// "The server MUST ignore any values in these fields in messages received from a client."
	b := replyWith(ianaOption(1, 6, 5, addrOption(3, 2, "2001:db8::1")))
	b[0] = byte(Renew)
	if m, problems := mustParse(t, b); len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 || len(problems) != 0 {
		t.Errorf("a client's IA_NA: %+v, problems %v", m, problems)
	}
}

// "The number space for IA_NA IAIDs is separate from the number space for other IA option types".
func TestRFC9915_21_4_IAIDsOfTypesAreApart(t *testing.T) {
	m, problems := mustParse(t, replyWith(
		ianaOption(1, 0, 0, addrOption(1, 2, "2001:db8::1")),
		iapdOption(1, 0, 0, prefixOption(1, 2, 64, "2001:db8:1::")),
		ianaOption(1, 0, 0, addrOption(1, 2, "2001:db8::2")),
		ianaOption(2, 0, 0)))
	want := []IA{
		{Type: NA, IAID: 1, Prefixes: []IAPrefix{{Preferred: 1, Valid: 2, Prefix: netip.MustParsePrefix("2001:db8::1/128")}}},
		{Type: PD, IAID: 1, Prefixes: []IAPrefix{{Preferred: 1, Valid: 2, Prefix: netip.MustParsePrefix("2001:db8:1::/64")}}},
		{Type: NA, IAID: 2},
	}
	if d := cmp.Diff(want, m.IAs, comparePrefixes); d != "" {
		t.Errorf("IAs (-want +got):\n%s", d)
	}
	wantOne(t, problems, "IA_NA option at offset 93: IAID 0x1 appears more than once")
}

// The lease options of the other type are none: an IA Address in an IA_PD, an IA Prefix in an IA_NA.
func TestRFC9915_21_4_LeasesOfTheOtherTypeAreIgnored(t *testing.T) {
	a, p := addrOption(1, 2, "2001:db8::1"), prefixOption(1, 2, 64, "2001:db8:1::")
	m, problems := mustParse(t, replyWith(ianaOption(1, 0, 0, p), iapdOption(1, 0, 0, a), a, p))
	if len(m.IAs) != 2 || m.IAs[0].Prefixes != nil || m.IAs[1].Prefixes != nil || problems != nil {
		t.Errorf("IAs = %+v, problems %v", m.IAs, problems)
	}
}

// "The client MUST discard any addresses for which the preferred lifetime is greater than the valid
// lifetime."
func TestRFC9915_21_6_AddressValidation(t *testing.T) {
	for _, tc := range []struct {
		name    string
		option  []byte
		want    string // empty: discarded
		problem string
	}{
		{"address", addrOption(1, 2, "2001:db8::1"), "2001:db8::1/128", ""},
		{"preferred = valid", addrOption(2, 2, "2001:db8::1"), "2001:db8::1/128", ""},
		{"preferred > valid", addrOption(3, 2, "2001:db8::1"), "", "preferred lifetime 3 is greater than valid lifetime 2"},
		{"0/0", addrOption(0, 0, "2001:db8::1"), "2001:db8::1/128", ""},
		{"infinite", addrOption(0xffffffff, 0xffffffff, "2001:db8::1"), "2001:db8::1/128", ""},
		{"unique local", addrOption(1, 2, "fd00::1"), "fd00::1/128", ""},
		{"unspecified", addrOption(1, 2, "::"), "", "IA Address option at offset 20: ::/128 cannot be delegated"},
		{"loopback", addrOption(1, 2, "::1"), "", "cannot be delegated"},
		{"link-local", addrOption(1, 2, "fe80::1"), "", "cannot be delegated"},
		{"multicast", addrOption(1, 2, "ff0e::1"), "", "cannot be delegated"},
		{"IPv4-mapped", addrOption(1, 2, "::ffff:192.0.2.1"), "", "cannot be delegated"},
		{"truncated", option(OptionIAAddr, make([]byte, 23)...), "", "length 23, want at least 24"},
		{"bad option inside", addrOption(1, 2, "2001:db8::1", 0, 13, 0, 9), "2001:db8::1/128", "offset 48: length 9, only 0 octets are left"},
		{"exclude is for prefixes", addrOption(1, 2, "2001:db8::1", option(OptionPDExclude, 64)...), "2001:db8::1/128", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, problems := mustParse(t, replyWith(ianaOption(1, 0, 0, tc.option)))
			got := ""
			if len(m.IAs) == 1 && len(m.IAs[0].Prefixes) == 1 {
				got = m.IAs[0].Prefixes[0].Prefix.String()
			}
			if got != tc.want {
				t.Errorf("address = %q, want %q", got, tc.want)
			}
			wantOne(t, problems, tc.problem)
		})
	}
}

// "The client SHOULD NOT send the IA Address option with an unspecified address (::)": it asks for nothing.
func TestRFC9915_21_6_UnspecifiedAddressWishesNothing(t *testing.T) {
	b := replyWith(ianaOption(1, 0, 0, addrOption(0, 0, "::"), addrOption(0, 0, "2001:db8::1")))
	b[0] = byte(Solicit)
	m, problems := mustParse(t, b)
	if len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 || m.IAs[0].Prefixes[0].Prefix.String() != "2001:db8::1/128" || problems != nil {
		t.Errorf("IAs = %+v, problems %v", m.IAs, problems)
	}
}

// "The status of any operations involving this IA Address is indicated in a Status Code option in the
// IAaddr-options field", that of an IA_NA in its own.
func TestRFC9915_21_6_StatusOfAddressAndIA(t *testing.T) {
	m, problems := mustParse(t, replyWith(
		ianaOption(1, 0, 0, addrOption(0, 0, "2001:db8::1", option(OptionStatusCode, 0, 4)...), addrOption(1, 2, "2001:db8::2")),
		ianaOption(2, 0, 0, option(OptionStatusCode, 0, 2, 'f', 'u', 'l', 'l'), option(OptionStatusCode, 0, 0))))
	if len(m.IAs) != 2 || len(m.IAs[0].Prefixes) != 2 || problems != nil {
		t.Fatalf("IAs = %+v, problems %v", m.IAs, problems)
	}
	if s := m.IAs[0].Prefixes[0].Status.Code; s != NotOnLink {
		t.Errorf("status of the address = %s, want NotOnLink", s)
	}
	if s := m.IAs[0].Prefixes[1].Status.Code; s != Success {
		t.Errorf("status of the other address = %s, want Success", s)
	}
	if s := m.IAs[1].Status.String(); s != "NoAddrsAvail: full" {
		t.Errorf("status of the IA = %q, want NoAddrsAvail: full", s)
	}
}

// A message with more IAs or addresses than anybody needs costs bounded work and memory.
func TestRFC9915_21_4_BoundedIAs(t *testing.T) {
	var ias, addrs [][]byte
	for i := range 200 {
		ias = append(ias, ianaOption(byte(i), 0, 0))
		addrs = append(addrs, addrOption(1, 2, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}).String()))
	}
	if m, problems := mustParse(t, replyWith(ias...)); len(m.IAs) != maxIAs || len(problems) != maxProblems {
		t.Errorf("%d IAs, %d problems", len(m.IAs), len(problems))
	}
	if m, problems := mustParse(t, replyWith(ianaOption(1, 0, 0, addrs...))); len(m.IAs[0].Prefixes) != maxIAPrefixes || len(problems) != maxProblems {
		t.Errorf("%d addresses, %d problems", len(m.IAs[0].Prefixes), len(problems))
	}
	a := addrOption(1, 2, "2001:db8::1")
	m, problems := mustParse(t, replyWith(ianaOption(1, 0, 0, a, a)))
	if len(m.IAs[0].Prefixes) != 1 {
		t.Errorf("%d addresses, want 1", len(m.IAs[0].Prefixes))
	}
	wantOne(t, problems, "2001:db8::1/128 appears more than once")
}

// The example of the RFC: from 2001:db8:dead:bee0::/59 the prefix 2001:db8:dead:beef::/64 is left out. The
// five bits 01111 stand at the left of one octet.
func TestRFC6603_4_2_PrefixExclude(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prefix  string
		exclude []byte
		want    string // empty: nothing is excluded
		problem string
	}{
		{"the example of the RFC", "2001:db8:dead:bee0::/59", []byte{64, 0x78}, "2001:db8:dead:beef::/64", ""},
		{"whole octets", "2001:db8:1::/48", []byte{64, 0xab, 0xcd}, "2001:db8:1:abcd::/64", ""},
		{"nine bits in two octets", "2001:db8::/55", []byte{64, 0xff, 0x80}, "2001:db8:0:1ff::/64", ""},
		{"eight bits over an octet's edge", "2001:db8::/60", []byte{68, 0x12}, "2001:db8:0:1:2000::/68", ""},
		{"one bit", "2001:db8::/63", []byte{64, 0x80}, "2001:db8:0:1::/64", ""},
		{"the lowest", "2001:db8::/56", []byte{64, 0}, "2001:db8::/64", ""},
		{"the longest", "2001:db8::/120", []byte{128, 0xff}, "2001:db8::ff/128", ""},
		{"sixteen octets", "2000::/3", []byte{128, 0, 8, 0x6d, 0xc0, 15: 0, 16: 0x0f}, "2001:db8::1/128", "bits after the subnet ID are ignored"},
		{"padding", "2001:db8:dead:bee0::/59", []byte{64, 0x7f}, "2001:db8:dead:beef::/64", "Prefix Exclude option at offset 49: bits after the subnet ID are ignored"},
		{"empty", "2001:db8::/56", nil, "", "length 0, want at least 2"},
		{"no subnet ID", "2001:db8::/56", []byte{64}, "", "length 1, want at least 2"},
		{"as long as the delegated prefix", "2001:db8::/56", []byte{56, 0}, "", "prefix length 56 is not within 2001:db8::/56"},
		{"shorter than it", "2001:db8::/56", []byte{48, 0}, "", "prefix length 48"},
		{"longer than an address", "2001:db8::/56", append([]byte{129}, make([]byte, 10)...), "", "prefix length 129"},
		{"in a prefix of 128 bits", "2001:db8::1/128", []byte{129, 0}, "", "prefix length 129"},
		{"subnet ID too short", "2001:db8::/48", []byte{64, 1}, "", "subnet ID of 1 octets, want 2"},
		{"subnet ID too long", "2001:db8::/56", []byte{64, 1, 0}, "", "subnet ID of 2 octets, want 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := netip.MustParsePrefix(tc.prefix)
			m, problems := mustParse(t, replyWith(iapdOption(1, 0, 0,
				prefixOption(1, 2, byte(p.Bits()), p.Addr().String(), option(OptionPDExclude, tc.exclude...)...))))
			if len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 || m.IAs[0].Prefixes[0].Prefix != p {
				t.Fatalf("IAs = %+v: the prefix is gone", m.IAs)
			}
			got := ""
			if x := m.IAs[0].Prefixes[0].Exclude; x.IsValid() {
				got = x.String()
			}
			if got != tc.want {
				t.Errorf("excluded = %q, want %q", got, tc.want)
			}
			wantOne(t, problems, tc.problem)
		})
	}
}

// The subnet ID is what a division and two shifts of whole numbers say.
func TestRFC6603_4_2_SubnetIDAgainstArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(6603, 42))
	for range 20000 {
		from := 1 + r.IntN(127)
		to := from + 1 + r.IntN(128-from)
		var a [16]byte
		for i := range a {
			a[i] = byte(r.Uint32())
		}
		exclude := netip.PrefixFrom(netip.AddrFrom16(a), to).Masked()
		p := IAPrefix{Prefix: netip.PrefixFrom(exclude.Addr(), from).Masked(), Exclude: exclude}

		octets := (to-from-1)/8 + 1
		id := new(big.Int).SetBytes(exclude.Addr().AsSlice())
		id.Rsh(id, uint(128-to))
		id.And(id, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(to-from)), big.NewInt(1)))
		id.Lsh(id, uint(octets*8-(to-from)))
		want := option(OptionPDExclude, append([]byte{byte(to)}, id.FillBytes(make([]byte, octets))...)...)
		if got := p.appendExclude(nil); !slices.Equal(got, want) {
			t.Fatalf("%s of %s is written as %x, want %x", p.Exclude, p.Prefix, got, want)
		}
		q := parser{}
		if got := q.exclude(want[4:], 0, p.Prefix); got != exclude || q.problems != nil {
			t.Fatalf("%x in %s is read as %s %v, want %s", want, p.Prefix, got, q.problems, exclude)
		}
	}
}

// A prefix has one option (erratum 3332): the first that can be read counts. What is no part of the prefix is not written.
func TestRFC6603_4_2_OneExcludeOfItsPrefix(t *testing.T) {
	x := append(option(OptionPDExclude, 64), append(option(OptionPDExclude, 64, 7), option(OptionPDExclude, 64, 8)...)...)
	m, problems := mustParse(t, replyWith(iapdOption(1, 0, 0, prefixOption(1, 2, 56, "2001:db8::", x...))))
	if got := m.IAs[0].Prefixes[0].Exclude; got != netip.MustParsePrefix("2001:db8:0:7::/64") || len(problems) != 1 {
		t.Errorf("excluded = %s, problems %v", got, problems)
	}
	for _, p := range []IAPrefix{
		{Prefix: netip.MustParsePrefix("2001:db8::/56")},
		{Prefix: netip.MustParsePrefix("2001:db8::/56"), Exclude: netip.MustParsePrefix("2001:db8::/56")},
		{Prefix: netip.MustParsePrefix("2001:db8::/56"), Exclude: netip.MustParsePrefix("2001:db8::/48")},
		{Prefix: netip.MustParsePrefix("2001:db8::/56"), Exclude: netip.MustParsePrefix("2001:db8:1::/64")},
		{Prefix: netip.MustParsePrefix("2001:db8::/16"), Exclude: netip.MustParsePrefix("192.0.2.0/24")},
	} {
		if got := p.appendExclude(nil); got != nil {
			t.Errorf("%s of %s is written as %x", p.Exclude, p.Prefix, got)
		}
	}
}
