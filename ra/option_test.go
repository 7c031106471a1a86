// SPDX-License-Identifier: MIT

package ra

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// wire is one option alone on the wire.
func wire(t testing.TB, o Option) []byte {
	t.Helper()
	b, err := appendOptions(nil, []Option{o})
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return b
}

// "Length […] 1, 2, or 3 depending on the Prefix Length": no bit of a /60 or /63 is lost, none beyond the length is sent.
func TestRFC4191_2_3_RouteLengths(t *testing.T) {
	for _, c := range []struct {
		prefix string
		hex    string
	}{
		{"::/0", "1801 00 08 00000e10"},
		{"8000::/1", "1802 01 08 00000e10 8000000000000000"},
		{"2001:db8:0:f0::/60", "1802 3c 08 00000e10 20010db8000000f0"},
		{"2001:db8:0:fe::/63", "1802 3f 08 00000e10 20010db8000000fe"},
		{"2001:db8:0:ff::/64", "1802 40 08 00000e10 20010db8000000ff"},
		{"2001:db8:0:ff:8000::/65", "1803 41 08 00000e10 20010db8000000ff 8000000000000000"},
		{"2001:db8:0:ff::1/128", "1803 80 08 00000e10 20010db8000000ff 0000000000000001"},
	} {
		o := RouteInformation{pfx(c.prefix), High, 3600}
		b := wire(t, o)
		if want := unhex(t, c.hex); !bytes.Equal(b, want) {
			t.Errorf("%s: %x, want %x", c.prefix, b, want)
		}
		got, why := parseOption(b)
		if why != "" || got != Option(o) {
			t.Errorf("%s: read %+v, %s", c.prefix, got, why)
		}
	}
	unmasked := RouteInformation{netip.PrefixFrom(netip.MustParseAddr("2001:db8:0:ff:ffff::1"), 60), Low, 1}
	if b := wire(t, unmasked); !bytes.Equal(b, unhex(t, "1802 3c 18 00000001 20010db8000000f0")) {
		t.Errorf("bits after the prefix length: %x", b)
	}
	// A longer field than the prefix needs is legal.
	got, why := parseOption(unhex(t, "1803 30 00 00000001 20010db80001ffff ffffffffffffffff"))
	if want := (RouteInformation{pfx("2001:db8:1::/48"), Medium, 1}); why != "" || got != Option(want) {
		t.Errorf("longer field: %+v, %s", got, why)
	}
}

// RFC 8781 section 4.1: rounded up to a multiple of eight, for 0 withdraws.
func TestRFC8781_4_1_ScaledLifetime(t *testing.T) {
	for _, c := range []struct{ lifetime, units uint32 }{
		{600, 75}, {601, 76}, {3, 1}, {1, 1}, {7, 1}, {8, 1}, {9, 2}, {0, 0}, {65528, 8191}, {65529, 8191}, {70000, 8191}, {1<<32 - 1, 8191},
	} {
		b := wire(t, PREF64{c.lifetime, pfx("64:ff9b::/96")})
		if got := (uint32(b[2])<<8 | uint32(b[3])) >> 3; got != c.units || b[3]&7 != 0 {
			t.Errorf("%d s: %d units, code %d; want %d, 0", c.lifetime, got, b[3]&7, c.units)
		}
	}
}

// "The PLC field values 0, 1, 2, 3, 4, and 5 indicate the NAT64 prefix length of 96, 64, 56, 48, 40, and 32 bits".
func TestRFC8781_4_PrefixLengthCodes(t *testing.T) {
	for i, p := range []string{"64:ff9b::/96", "2001:db8:1:2::/64", "2001:db8:1:200::/56", "2001:db8:1::/48", "2001:db8:100::/40", "2001:db8::/32"} {
		o := PREF64{1800, pfx(p)}
		b := wire(t, o)
		if len(b) != 16 || b[0] != 38 || b[1] != 2 || int(b[3]&7) != i {
			t.Errorf("%s: %x", p, b)
		}
		if got, why := parseOption(b); why != "" || got != Option(o) {
			t.Errorf("%s: read %+v, %s", p, got, why)
		}
	}
	for _, p := range []string{"2001:db8::/33", "2001:db8::/63", "2001:db8::/128", "::/0"} {
		if b, err := appendOptions(nil, []Option{PREF64{1800, pfx(p)}}); err == nil {
			t.Errorf("%s: %x", p, b)
		}
	}
	if b := wire(t, PREF64{1800, pfx("64:ff9b::/96")}); !bytes.Equal(b, unhex(t, "2602 0708 0064ff9b 0000000000000000")) {
		t.Errorf("%x", b)
	}
}

// RFC 8910 section 2.3: padded with NUL to a multiple of eight, not ended by one.
func TestRFC8910_2_3_Format(t *testing.T) {
	for _, c := range []struct{ uri, hex string }{
		{"https:", "2501 68747470733a"},
		{"https:/", "2502 68747470733a2f 00000000000000"},
		{"https://a.test", "2502 68747470733a2f2f612e74657374"},
		{Unrestricted, "2505 75726e3a696574663a706172616d733a636170706f72743a756e72657374726963746564 0000"},
	} {
		b := wire(t, CaptivePortal(c.uri))
		if want := unhex(t, c.hex); !bytes.Equal(b, want) {
			t.Errorf("%s: %x, want %x", c.uri, b, want)
		}
		if got, why := parseOption(b); why != "" || got != Option(CaptivePortal(c.uri)) {
			t.Errorf("%s: read %v, %s", c.uri, got, why)
		}
	}
	// Longer than what an eight bit length in octets could say.
	long := CaptivePortal("https://portal.example/" + strings.Repeat("x", 900))
	if got, why := parseOption(wire(t, long)); why != "" || got != Option(long) {
		t.Errorf("long URI: %s", why)
	}
}

func TestNewOptionErrors(t *testing.T) {
	for name, o := range map[string]Option{
		"route zero":       RouteInformation{},
		"route of IPv4":    RouteInformation{Prefix: pfx("192.0.2.0/24")},
		"pref64 zero":      PREF64{},
		"pref64 of IPv4":   PREF64{Prefix: pfx("192.0.2.0/32")},
		"portal empty":     CaptivePortal(""),
		"portal space":     CaptivePortal("https://a b"),
		"portal NUL":       CaptivePortal("https://a\x00"),
		"portal not ASCII": CaptivePortal("https://ä.example"),
		"portal too long":  CaptivePortal(strings.Repeat("x", 2040)),
	} {
		if b, err := appendOptions(nil, []Option{o}); err == nil {
			t.Errorf("%s: %x", name, b)
		}
	}
}

// The other codec, where it is right: routes of whole octets, lifetimes that are multiples of eight, URIs under 250 octets.
func TestNewOptionsEqualToMdlayherNDP(t *testing.T) {
	for _, c := range []struct {
		ours   Option
		theirs ndp.Option
	}{
		{RouteInformation{pfx("2001:db8:1::/48"), Low, 3600},
			&ndp.RouteInformation{PrefixLength: 48, Preference: ndp.Low, RouteLifetime: time.Hour, Prefix: netip.MustParseAddr("2001:db8:1::")}},
		{RouteInformation{pfx("2001:db8:1:2::/64"), High, 0},
			&ndp.RouteInformation{PrefixLength: 64, Preference: ndp.High, Prefix: netip.MustParseAddr("2001:db8:1:2::")}},
		{PREF64{1800, pfx("64:ff9b::/96")}, &ndp.PREF64{Lifetime: 1800 * time.Second, Prefix: pfx("64:ff9b::/96")}},
		{PREF64{0, pfx("2001:db8:1::/48")}, &ndp.PREF64{Prefix: pfx("2001:db8:1::/48")}},
		{CaptivePortal("https://portal.example/api"), &ndp.CaptivePortal{URI: "https://portal.example/api"}},
	} {
		got, err := RouterAdvertisement{Options: []Option{c.ours}}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{Options: []ndp.Option{c.theirs}})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%+v\n ours %x\n ndp  %x", c.ours, got, want)
		}
		m, err := ndp.ParseMessage(got)
		if err != nil || !reflect.DeepEqual(m.(*ndp.RouterAdvertisement).Options, []ndp.Option{c.theirs}) {
			t.Errorf("ndp reads %+v, %v", m, err)
		}
	}
}

// The SNAC flag and others that nobody knows do not disturb, nor does the flags extension.
func TestRFC5175_4_UnknownFlags(t *testing.T) {
	m, problems, drop := ParseRA(hostB, 255, unhex(t, "8600 0000 40 c2 0708 00000000 00000000 1a01 800000000001"))
	want := RouterAdvertisement{CurHopLimit: 64, Managed: true, OtherConfig: true, RouterLifetime: 1800,
		Options: []Option{RawOption{Type: 26, Data: []byte{0x80, 0, 0, 0, 0, 1}}}}
	if drop != Accepted || len(problems) != 0 || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, %v, %v", m, problems, drop)
	}
}

// fuzzOption: any octets as one option of type typ read or are refused, and what was read is written canonically.
func fuzzOption(t *testing.T, typ byte, body []byte) {
	b := append([]byte{typ, 0}, body[:min(len(body), maxOptionLen-2)]...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	b[1] = byte(len(b) / 8)
	in := bytes.Clone(b)
	o, why := parseOption(b)
	if !bytes.Equal(in, b) {
		t.Fatal("the input was changed")
	}
	if (o == nil) != (why != "") {
		t.Fatalf("%x: %v, %q", b, o, why)
	}
	if why != "" {
		return
	}
	out := wire(t, o)
	if len(out) != o.wireLen() {
		t.Fatalf("%+v: %d octets, wireLen %d", o, len(out), o.wireLen())
	}
	again, why := parseOption(out)
	if why != "" || !reflect.DeepEqual(again, o) {
		t.Fatalf("read %+v, wrote %x, read %+v, %s", o, out, again, why)
	}
	if len(out) == len(in) && typ == optCaptivePortal && !bytes.Equal(out, in) {
		t.Fatalf("%x became %x", in, out)
	}
}

func FuzzRouteInformation(f *testing.F) {
	for _, s := range []string{"00 08 00000e10", "3c 18 00000001 20010db8000000f0", "80 00 ffffffff 20010db8000000ff 0000000000000001", "41 10 00000000 00"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzOption(t, optRouteInformation, b) })
}

func FuzzPREF64(f *testing.F) {
	for _, s := range []string{"0708 0064ff9b 0000000000000000", "ffff 20010db8 0000000000000000", "0005 20010db8 ffffffffffffffff"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzOption(t, optPREF64, b) })
}

func FuzzCaptivePortal(f *testing.F) {
	for _, s := range []string{"https:", Unrestricted, "", "a\x00b", "https://portal.example/\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { fuzzOption(t, optCaptivePortal, b) })
}
