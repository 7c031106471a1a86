// SPDX-License-Identifier: MIT

package ra

import (
	"bytes"
	"encoding/hex"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"oasis6/internal/lifetime"
)

// golden are messages by hand, from the figures of the RFCs; fields in the order of the wire.
var golden = []struct {
	name string
	ra   RouterAdvertisement
	hex  string
}{
	{"empty, router lifetime 0", RouterAdvertisement{CurHopLimit: 64},
		"8600 0000 40 00 0000 00000000 00000000"},
	{"header fields", RouterAdvertisement{CurHopLimit: 255, Managed: true, OtherConfig: true, Preference: High,
		RouterLifetime: 65535, ReachableTime: 3600000, RetransTimer: 1000},
		"8600 0000 ff c8 ffff 0036ee80 000003e8"},
	{"preference low", RouterAdvertisement{Preference: Low, RouterLifetime: 2700},
		"8600 0000 00 18 0a8c 00000000 00000000"},
	{"link-layer, MTU, prefix, servers, domains", RouterAdvertisement{CurHopLimit: 64, OtherConfig: true, RouterLifetime: 2700,
		Options: []Option{
			SourceLinkLayer{0x00, 0x00, 0x5e, 0x00, 0x53, 0x01},
			MTU(1420),
			PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:ebbd:990a::/64"), OnLink: true, Autonomous: true, Valid: 5400, Preferred: 2700},
			RDNSS{Lifetime: 5400, Servers: []netip.Addr{netip.MustParseAddr("2001:db8:1::53"), netip.MustParseAddr("2001:db8:1::54")}},
			DNSSL{Lifetime: 5400, Domains: []string{"lan", "a.example"}},
		}},
		"8600 0000 40 40 0a8c 00000000 00000000" +
			"01 01 00005e005301" +
			"05 01 0000 0000058c" +
			"03 04 40 c0 00001518 00000a8c 00000000 20010db8ebbd990a 0000000000000000" +
			"19 05 0000 00001518 20010db800010000 0000000000000053 20010db800010000 0000000000000054" +
			"1f 03 0000 00001518 036c616e00 0161076578616d706c6500"},
	{"withdrawn, P flag, infinite, padding", RouterAdvertisement{Options: []Option{
		PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:0:f0::/60"), Autonomous: true},
		PrefixInformation{Prefix: netip.MustParsePrefix("::/0"), OnLink: true, DHCPv6PD: true, Valid: lifetime.Infinity, Preferred: lifetime.Infinity},
		DNSSL{Domains: []string{"lan.example"}},
		RawOption{Type: 200, Data: []byte{0, 8, 0, 0, 0, 9}},
	}},
		"8600 0000 00 00 0000 00000000 00000000" +
			"03 04 3c 40 00000000 00000000 00000000 20010db8000000f0 0000000000000000" +
			"03 04 00 90 ffffffff ffffffff 00000000 0000000000000000 0000000000000000" +
			"1f 03 0000 00000000 036c616e 076578616d706c6500 000000" +
			"c8 01 0008 00000009"},
	{"routes, NAT64, portal", RouterAdvertisement{Options: []Option{
		RouteInformation{netip.MustParsePrefix("2001:db8:0:f0::/60"), Low, 5400},
		RouteInformation{Prefix: netip.MustParsePrefix("2001:db8::1/128")},
		PREF64{1800, netip.MustParsePrefix("64:ff9b::/96")},
		CaptivePortal("https://a.example/api"),
	}},
		"8600 0000 00 00 0000 00000000 00000000" +
			"18 02 3c 18 00001518 20010db8000000f0" +
			"18 03 80 00 00000000 20010db800000000 0000000000000001" +
			"26 02 0708 0064ff9b 0000000000000000" +
			"25 03 68747470733a2f2f612e6578616d706c652f617069 00"},
	{"encrypted resolver, and withdrawn in ADN-only mode", RouterAdvertisement{Options: []Option{
		EncryptedDNSOption{5400, EncryptedDNS{1, "dns.example", []netip.Addr{netip.MustParseAddr("2001:db8:a::1")}, dotParams}},
		EncryptedDNSOption{0, EncryptedDNS{Priority: 2, Name: "dns.example"}},
	}},
		"8600 0000 00 00 0000 00000000 00000000" +
			"90 08 0001 00001518 000d 03646e73076578616d706c6500 0010 20010db8000a0000 0000000000000001" +
			"000e 0001 0004 03646f74 0003 0002 0355 00000000000000" +
			"90 03 0002 00000000 000d 03646e73076578616d706c6500 00"},
}

// dotParams are alpn=dot and port=853 (RFC 9460 section 2.2).
const dotParams = "\x00\x01\x00\x04\x03dot\x00\x03\x00\x02\x03\x55"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRFC4861_4_2_Format(t *testing.T) {
	for _, g := range golden {
		want := unhex(t, g.hex)
		got, err := g.ra.Append(nil)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: Append = %x, %v\n                 want %x", g.name, got, err, want)
		}
		ra, problems, drop := ParseRA(ourLL, 255, want)
		if drop != Accepted || len(problems) > 0 || !reflect.DeepEqual(ra, g.ra) {
			t.Errorf("%s: ParseRA = %+v, %v, %v\n                want %+v", g.name, ra, problems, drop, g.ra)
		}
	}
}

// radvdHex was sent by radvd 2.19 for the content of TestEqualToRadvd, from MAC 00:00:5e:00:53:01.
const radvdHex = "8600 be4e 40 40 0a8c 00000000 00000000" +
	"0304 40c0 00001518 00000a8c 00000000 20010db8000a0000 0000000000000000" +
	"0304 40c0 00000000 00000000 00000000 20010db8000b0000 0000000000000000" +
	"1903 0000 00001518 20010db800530000 0000000000000053" +
	"1f05 0000 00001518 036c616e 076578616d706c6500 076578616d706c65 036e657400 000000000000" +
	"0501 0000 0000058c" +
	"0101 00005e005301"

// The same as the other daemon, octet for octet, but for the checksum and the order of the options: we
// put link-layer address and MTU first.
func TestEqualToRadvd(t *testing.T) {
	c := content(forever(prefixB))
	w := startWorld(t, half, c)
	w.until(100 * time.Second)
	c = content(forever(prefixA))
	c.OtherConfig, c.LinkMTU = true, 1420
	c.RDNSS, c.DNSSL = []netip.Addr{dns2}, []string{"lan.example", "example.net"}
	ours := w.step(SetContent{Content: c})[0].ra

	b := unhex(t, radvdHex)
	theirs, problems, drop := ParseRA(hostB, 255, b)
	if drop != Accepted || len(problems) > 0 || len(theirs.Options) != 6 {
		t.Fatalf("ParseRA = %+v, %v, %v", theirs, problems, drop)
	}
	n := len(ours.Options)
	if n != 6 {
		t.Fatalf("our options: %v", ours.Options)
	}
	ours.Options = append(ours.Options[2:n:n], ours.Options[1], ours.Options[0])
	got, err := ours.Append(nil)
	b[2], b[3] = 0, 0
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("octets differ, %v\n ours  %x\n radvd %x", err, got, b)
	}
}

// The other codec, where it is right: the same octets both ways.
func TestEqualToMdlayherNDP(t *testing.T) {
	for _, c := range []struct {
		pref Preference
		ndp  ndp.Preference
	}{{Medium, ndp.Medium}, {High, ndp.High}, {Low, ndp.Low}} {
		ours := RouterAdvertisement{CurHopLimit: 64, Managed: true, OtherConfig: true, Preference: c.pref, RouterLifetime: 2700,
			ReachableTime: 30000, RetransTimer: 1000, Options: []Option{
				SourceLinkLayer(ourMAC), MTU(1420),
				PrefixInformation{Prefix: prefixA, OnLink: true, Autonomous: true, Valid: 5400, Preferred: 2700},
				PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8:0:f0::/60"), Valid: lifetime.Infinity, Preferred: 0},
				RDNSS{Lifetime: 5400, Servers: []netip.Addr{dns1, dns2}},
				DNSSL{Lifetime: 0, Domains: []string{"lan.example", "example.net"}},
			}}
		theirs := &ndp.RouterAdvertisement{CurrentHopLimit: 64, ManagedConfiguration: true, OtherConfiguration: true,
			RouterSelectionPreference: c.ndp, RouterLifetime: 2700 * time.Second, ReachableTime: 30 * time.Second,
			RetransmitTimer: time.Second, Options: []ndp.Option{
				&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(ourMAC[:])}, ndp.NewMTU(1420),
				&ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true,
					ValidLifetime: 5400 * time.Second, PreferredLifetime: 2700 * time.Second, Prefix: prefixA.Addr()},
				&ndp.PrefixInformation{PrefixLength: 60, ValidLifetime: ndp.Infinity, Prefix: netip.MustParseAddr("2001:db8:0:f0::")},
				&ndp.RecursiveDNSServer{Lifetime: 5400 * time.Second, Servers: []netip.Addr{dns1, dns2}},
				&ndp.DNSSearchList{DomainNames: []string{"lan.example", "example.net"}},
			}}
		got, err := ours.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ndp.MarshalMessage(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("octets differ\n ours %x\n ndp  %x", got, want)
		}
		m, err := ndp.ParseMessage(got)
		if err != nil || !reflect.DeepEqual(m, ndp.Message(theirs)) {
			t.Errorf("ndp reads %+v, %v", m, err)
		}
	}
	rs, err := RouterSolicitation{Options: []Option{SourceLinkLayer(ourMAC)}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := ndp.ParseMessage(rs); err != nil || len(m.(*ndp.RouterSolicitation).Options) != 1 {
		t.Errorf("ndp reads the solicitation as %+v, %v", m, err)
	}
}

// "A host MUST silently discard any received Router Advertisement messages that do not satisfy all of
// the following validity checks".
func TestRFC4861_6_1_2_Validity(t *testing.T) {
	ok := unhex(t, golden[0].hex)
	with := func(opts ...byte) []byte { return append(bytes.Clone(ok), opts...) }
	code := bytes.Clone(ok)
	code[1] = 1
	for _, c := range []struct {
		name string
		src  netip.Addr
		hops int
		b    []byte
		want DropReason
	}{
		{"valid", hostB, 255, ok, Accepted},
		{"global source", dns1, 255, ok, WrongSource},
		{"no source", netip.Addr{}, 255, ok, WrongSource},
		{"unspecified", netip.IPv6Unspecified(), 255, ok, WrongSource},
		{"hop limit", hostB, 254, ok, WrongHopLimit},
		{"code", hostB, 255, code, WrongCode},
		{"short", hostB, 255, ok[:15], TooShort},
		{"empty", hostB, 255, nil, TooShort},
		{"type", hostB, 255, append([]byte{133}, ok[1:]...), WrongType},
		{"length 0", hostB, 255, with(5, 0, 0, 0, 0, 0, 0, 0), OptionLengthZero},
		{"length 0 after a good one", hostB, 255, with(5, 1, 0, 0, 0, 0, 5, 0, 5, 0, 0, 0, 0, 0, 0, 0), OptionLengthZero},
		{"past the end", hostB, 255, with(5, 2, 0, 0, 0, 0, 0, 0), OptionTruncated},
		{"half an option header", hostB, 255, with(5), OptionTruncated},
	} {
		if _, _, got := ParseRA(c.src, c.hops, c.b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// One bad option does not hide the others, as on Linux.
func TestRA_39_OneBadOptionDoesNotHideTheRest(t *testing.T) {
	head := "8600 0000 40 00 0708 00000000 00000000"
	good := "0501 0000 000005dc"
	for _, c := range []struct{ name, hex, reason string }{
		{"MTU length 2", "0502 0000 000005dc 0000000000000000", "length is not 8 octets"},
		{"prefix length 3", "0303 40c0 00000001 00000001 00000000 20010db800000000", "length is not 32 octets"},
		{"prefix of 200 bits", "0304 c8c0 00000001 00000001 00000000 20010db8000000000000000000000000", "prefix length greater than 128"},
		{"preferred > valid", "0304 40c0 00000001 00000002 00000000 20010db8000000000000000000000000", "preferred lifetime greater than valid lifetime"},
		{"RDNSS length 2", "1902 0000 00000001 0000000000000000", "length is not 8 octets and 16 for each server"},
		{"RDNSS length 1", "1901 0000 00000001", "length is not 8 octets and 16 for each server"},
		{"DNSSL length 1", "1f01 0000 00000001", "length is less than 16 octets"},
		{"DNSSL without domain", "1f02 0000 00000001 0000000000000000", "no domain"},
		{"DNSSL not ended", "1f02 0000 00000001 076578616d706c65", "domain without end"},
		{"DNSSL past the end", "1f02 0000 00000001 086578616d706c65", "label past the end"},
		{"DNSSL compressed", "1f02 0000 00000001 036c616ec0000000", "compressed domain or label too long"},
		{"DNSSL dot in label", "1f02 0000 00000001 036c2e6e00000000", "character in domain that is not allowed"},
		{"resolver of 8", "9001 0001 00000001", "length is less than 16 octets"},
		{"resolver name past the end", "9002 0001 00000001 0007 036c616e0000", "name past the end"},
		{"resolver name not ended", "9002 0001 00000001 0004 036c616e0000", "domain without end"},
		{"resolver without name", "9002 0001 00000001 0000 000000000000", "domain without end"},
		{"resolver is the root", "9002 0001 00000001 0001 00 0000000000", "no domain"},
		{"resolver name and more", "9002 0001 00000001 0006 036c616e0001", "octets after the domain"},
		{"resolver address of 15", "9004 0001 00000001 0005 036c616e00 000f 000000000000000000000000000000", "addresses past the end or not 16 octets each"},
		{"resolver address past the end", "9004 0001 00000001 0005 036c616e00 0020 000000000000000000000000000000", "addresses past the end or not 16 octets each"},
		{"resolver ends with the address", "9004 0001 00000001 0004 02616e00 0010 20010db80000000000000000000000aa", "no service parameters field"},
		{"resolver parameters past the end", "9003 0001 00000001 0005 036c616e00 0000 0006 0001000000", "service parameters past the end"},
		{"resolver padding", "9002 0001 00000001 0005 036c616e00 01", "padding is not zero or too long"},
		{"resolver padding of 15", "9004 0001 00000001 0003 016c00 0000 0000 000000000000000000000000000000", "padding is not zero or too long"},
		{"route of 129 bits", "1803 8100 00000001 00000000000000000000000000000000", "prefix length greater than 128"},
		{"route /65 in two units", "1802 4100 00000001 20010db800000000", "length does not fit the prefix length"},
		{"route /1 in one unit", "1801 0100 00000001", "length does not fit the prefix length"},
		{"route in four units", "1804 0000 00000001 000000000000000000000000000000000000000000000000", "length does not fit the prefix length"},
		{"route, reserved preference", "1802 4010 00000001 20010db800000000", "reserved preference"},
		{"PREF64 of one unit", "2601 0708 0064ff9b", "length is not 16 octets"},
		{"PREF64 of three", "2603 0708 0064ff9b 0000000000000000 0000000000000000", "length is not 16 octets"},
		{"PREF64 code 6", "2602 070e 0064ff9b 0000000000000000", "reserved prefix length code"},
		{"portal empty", "2501 000000000000", "no URI"},
		{"portal with NUL", "2501 616200636465", "character in URI that is not allowed"},
		{"portal with a space", "2501 612062636465", "character in URI that is not allowed"},
		{"portal with a line end", "2501 610a62636465", "character in URI that is not allowed"},
		{"DNSSL padding", "1f02 0000 00000001 036c616e00000001", "padding is not zero"},
	} {
		ra, problems, drop := ParseRA(hostB, 255, unhex(t, head+good+c.hex+good))
		want := []Problem{{Option: unhex(t, c.hex)[0], Offset: 24, Reason: c.reason}}
		if drop != Accepted || !reflect.DeepEqual(problems, want) || !reflect.DeepEqual(ra.Options, []Option{MTU(1500), MTU(1500)}) {
			t.Errorf("%s: %v %v %v, want %v", c.name, ra.Options, problems, drop, want)
		}
	}
	long := unhex(t, head+"1f22 0000 00000001")
	for range 4 {
		long = append(long, 63)
		long = append(long, bytes.Repeat([]byte{'x'}, 63)...)
	}
	long = append(long, 0, 0, 0, 0, 0, 0, 0, 0)
	if _, problems, drop := ParseRA(hostB, 255, long); drop != Accepted || len(problems) != 1 || problems[0].Reason != "domain too long" {
		t.Errorf("domain of 255: %v %v", problems, drop)
	}
	if s := (Problem{31, 24, "domain too long"}).String(); s != "option 31 at offset 24: domain too long" {
		t.Error(s)
	}
}

// RFC 4191 section 2.2: "the preference value MUST be set to (00) by the sender" if the lifetime is 0;
// "If the Reserved (10) value is received, the receiver MUST treat the value as if it were (00)".
func TestRFC4191_2_2_PreferenceBits(t *testing.T) {
	for _, c := range []struct {
		lifetime uint16
		p        Preference
		want     byte
	}{{0, High, 0}, {0, Low, 0}, {1, High, 0b01}, {1, Low, 0b11}, {1, Medium, 0}, {1, 0b10, 0}, {1, 0xff, 0}} {
		b, err := RouterAdvertisement{RouterLifetime: c.lifetime, Preference: c.p}.Append(nil)
		if err != nil || b[5] != c.want<<3 {
			t.Errorf("lifetime %d, preference %d: flags %08b, %v", c.lifetime, c.p, b[5], err)
		}
	}
	for bits, want := range map[byte]Preference{0b00: Medium, 0b01: High, 0b10: Medium, 0b11: Low} {
		b := unhex(t, "8600 0000 40 00 0708 00000000 00000000")
		b[5] = bits<<3 | 0x27 // with the bits for home agent, proxy and SNAC
		if ra, _, drop := ParseRA(hostB, 255, b); drop != Accepted || ra.Preference != want {
			t.Errorf("bits %02b: %v, %v", bits, ra.Preference, drop)
		}
		b[6], b[7] = 0, 0
		if ra, _, _ := ParseRA(hostB, 255, b); ra.Preference != Medium {
			t.Errorf("bits %02b with lifetime 0: %v", bits, ra.Preference)
		}
	}
}

// RFC 8106 section 5.2: "the remaining octets other than the encoding parts of the domain name
// representations MUST be padded with zeros".
func TestRFC8106_5_2_DomainsArePadded(t *testing.T) {
	for _, c := range []struct {
		domains []string
		want    string
	}{
		{[]string{"lan"}, "1f02 0000 00000009 036c616e00 000000"},
		{[]string{"lan."}, "1f02 0000 00000009 036c616e00 000000"}, // one root label only
		{[]string{"abcdef"}, "1f02 0000 00000009 0661626364656600"},
		{[]string{"abcdefg"}, "1f03 0000 00000009 076162636465666700 00000000000000"},
		{[]string{"lan", "xn--e1afmkfd.example"}, "1f05 0000 00000009 036c616e00 0c786e2d2d653161666d6b6664 076578616d706c65 00 0000000000"},
	} {
		b, err := RouterSolicitation{Options: []Option{DNSSL{9, c.domains}}}.Append(nil)
		if err != nil || !bytes.Equal(b[8:], unhex(t, c.want)) {
			t.Errorf("%q: %x, %v, want %s", c.domains, b, err, c.want)
		}
	}
}

func TestRFC1035_2_3_4_DomainLimits(t *testing.T) {
	l63, l64 := strings.Repeat("x", 63), strings.Repeat("x", 64)
	d253 := strings.Join([]string{l63, l63, l63, l63[:61]}, ".")
	for _, c := range []struct{ in, want string }{
		{"lan", "lan"}, {"Lan.Example.", "lan.example"}, {"_tcp.example", "_tcp.example"}, {l63, l63}, {d253, d253},
		{d253 + ".", d253},
		{"", ""}, {".", ""}, {"a..b", ""}, {".a", ""}, {"a..", ""}, {l64, ""}, {d253 + "x", ""}, {"a b", ""}, {"ä.example", ""},
		{"a\x00b", ""}, {"a/b", ""},
	} {
		got, err := CheckDomain(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("CheckDomain(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
	b, err := RouterSolicitation{Options: []Option{DNSSL{9, []string{d253}}}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if rs, problems, drop := ParseRS(hostA, 255, b); drop != Accepted || len(problems) > 0 || rs.Options[0].(DNSSL).Domains[0] != d253 {
		t.Errorf("longest domain: %v %v %v", rs, problems, drop)
	}
}

// What cannot be sent right is an error, not cut.
func TestAppendErrors(t *testing.T) {
	servers := make([]netip.Addr, 128)
	for i := range servers {
		servers[i] = dns1
	}
	for name, o := range map[string]Option{
		"128 servers":       RDNSS{1, servers},
		"no server":         RDNSS{Lifetime: 1},
		"IPv4 server":       RDNSS{1, []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		"no domain":         DNSSL{Lifetime: 1},
		"label of 64":       DNSSL{1, []string{strings.Repeat("x", 64)}},
		"empty domain":      DNSSL{1, []string{""}},
		"preferred > valid": PrefixInformation{Prefix: prefixA, Valid: 1, Preferred: 2},
		"zero prefix":       PrefixInformation{},
		"IPv4 prefix":       PrefixInformation{Prefix: netip.MustParsePrefix("192.0.2.0/24")},
		"resolver empty":    EncryptedDNSOption{Lifetime: 1},
		"resolver of IPv4":  EncryptedDNSOption{1, EncryptedDNS{1, "a", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, ""}},
		"resolver too big":  EncryptedDNSOption{1, EncryptedDNS{1, "a", servers, ""}},
		"raw of 7":          RawOption{Type: 200, Data: []byte{1, 2, 3, 4, 5}},
		"raw too long":      RawOption{Type: 200, Data: make([]byte, 2046)},
	} {
		if b, err := (RouterAdvertisement{Options: []Option{o}}).Append(nil); err == nil {
			t.Errorf("%s: %x", name, b)
		}
	}
	if b, err := (RouterAdvertisement{Options: []Option{PrefixInformation{Prefix: netip.MustParsePrefix("2001:db8::1/32"), Valid: 1}}}).Append(nil); err != nil || b[len(b)-1] != 0 {
		t.Errorf("host bits: %x, %v", b, err)
	}
}

func TestSplit(t *testing.T) {
	raw := func(n int) Option { return RawOption{Type: 200, Data: make([]byte, n-2)} }
	ll := SourceLinkLayer(ourMAC)
	for _, c := range []struct {
		name string
		opts []Option
		want []int // octets of each packet
	}{
		{"nothing", nil, []int{16}},
		{"link-layer only", []Option{ll}, []int{24}},
		{"just fits", []Option{ll, raw(MaxOptions - 8)}, []int{1240}},
		{"just fits alone", []Option{raw(MaxOptions)}, []int{1240}},
		{"one more", []Option{ll, raw(MaxOptions - 16), raw(16)}, []int{1232, 40}},
		{"too big", []Option{ll, raw(MaxOptions)}, nil},
		{"too big later", []Option{raw(8), raw(MaxOptions + 8)}, nil},
	} {
		parts, err := RouterAdvertisement{Options: c.opts}.Split()
		var got []int
		for _, p := range parts {
			got = append(got, len(p))
		}
		if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// Nothing that was parsed points into the buffer, which the edge uses again.
func TestParseKeepsNothing(t *testing.T) {
	for _, g := range golden {
		b := unhex(t, g.hex)
		ra, _, _ := ParseRA(ourLL, 255, b)
		for i := range b {
			b[i] = 0xee
		}
		if !reflect.DeepEqual(ra, g.ra) {
			t.Errorf("%s: changed with the buffer: %+v", g.name, ra)
		}
	}
}

func TestDropReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range numDropReasons {
		if s := d.String(); s == "" || seen[s] {
			t.Errorf("DropReason %d is %q", uint8(d), s)
		} else {
			seen[s] = true
		}
	}
	if s := numDropReasons.String(); s != "DropReason(13)" {
		t.Error(s)
	}
}

// A storm must not burden the collector: looking at a solicitation costs nothing, an advertisement a
// few allocations for each option, and one for each domain.
func TestParseAllocations(t *testing.T) {
	rs := append(bytes.Clone(rsBytes), 1, 1, 0, 0, 0x5e, 0, 0x53, 9)
	if n := testing.AllocsPerRun(100, func() { checkRS(hostA, 255, rs) }); n != 0 {
		t.Errorf("%v allocations for a solicitation", n)
	}
	b := unhex(t, golden[3].hex)
	if n := testing.AllocsPerRun(100, func() { ParseRA(ourLL, 255, b) }); n > 4*5 {
		t.Errorf("%v allocations for an advertisement with 5 options", n)
	}
}
