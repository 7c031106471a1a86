// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oracle "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

var comparePrefixes = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

const (
	clientDUID = DUID("\x00\x04cccccccccccccccc")
	serverDUID = DUID("\x00\x03\x00\x01\x00\x00\x5e\x00\x53\x01")
)

// option is one option as octets.
func option(code OptionCode, v ...byte) []byte { return appendOption(nil, code, v) }

// replyWith is a Reply that holds the options.
func replyWith(options ...[]byte) []byte {
	b := []byte{byte(Reply), 1, 2, 3}
	for _, o := range options {
		b = append(b, o...)
	}
	return b
}

// prefixOption is an IA Prefix whose address and length are taken as they are.
func prefixOption(preferred, valid uint32, length byte, addr string, options ...byte) []byte {
	a := netip.MustParseAddr(addr).As16()
	v := append([]byte{byte(preferred >> 24), byte(preferred >> 16), byte(preferred >> 8), byte(preferred),
		byte(valid >> 24), byte(valid >> 16), byte(valid >> 8), byte(valid), length}, a[:]...)
	return option(OptionIAPrefix, append(v, options...)...)
}

func iapdOption(iaid byte, t1, t2 byte, options ...[]byte) []byte {
	v := []byte{0, 0, 0, iaid, 0, 0, 0, t1, 0, 0, 0, t2}
	for _, o := range options {
		v = append(v, o...)
	}
	return option(OptionIAPD, v...)
}

func mustParse(t *testing.T, b []byte) (Message, []Problem) {
	t.Helper()
	m, problems, err := ParseMessage(b)
	if err != nil {
		t.Fatalf("ParseMessage(%x): %v", b, err)
	}
	return m, problems
}

// Clients and servers "MAY choose to [...] extract information from such a message if the information is
// of use to the recipient": each row has one bad option beside a good IA_PD.
func TestRFC9915_16_OneBadOptionIsNotTheMessage(t *testing.T) {
	good := iapdOption(1, 10, 16, prefixOption(20, 40, 64, "2001:db8:1::"))
	for _, tc := range []struct {
		name    string
		bad     []byte
		problem string
	}{
		{"DNS of 15 octets", option(OptionDNSServers, make([]byte, 15)...), "DNS Recursive Name Server option at offset 4: length 15 is not a multiple of 16"},
		{"DNS empty", option(OptionDNSServers), "length 0"},
		{"DNS multicast", option(OptionDNSServers, append([]byte{0xff, 2}, make([]byte, 14)...)...), "ff02:: cannot be a name server"},
		{"DNS link-local", option(OptionDNSServers, append([]byte{0xfe, 0x80}, make([]byte, 14)...)...), "fe80:: is link-local: it cannot be reached from the LAN"},
		{"DNS loopback", option(OptionDNSServers, append(make([]byte, 15), 1)...), "::1 cannot be a name server"},
		{"DNS unspecified", option(OptionDNSServers, make([]byte, 16)...), ":: cannot be a name server"},
		{"search with a pointer", option(OptionDomainList, 0xc0, 0), "compression"},
		{"search label past the end", option(OptionDomainList, 5, 'a'), "past the end"},
		{"search without end", option(OptionDomainList, 1, 'a'), "no end"},
		{"search with a newline", option(OptionDomainList, 1, '\n', 0), "letter"},
		{"search root", option(OptionDomainList, 0), "root"},
		{"search empty", option(OptionDomainList), "empty"},
		{"SOL_MAX_RT of 3 octets", option(OptionSolMaxRT, 0, 0, 60), "length 3, want 4"},
		{"status of 1 octet", option(OptionStatusCode, 0), "length 1, want at least 2"},
		{"preference of 2 octets", option(OptionPreference, 0, 1), "length 2, want 1"},
		{"rapid commit with data", option(OptionRapidCommit, 1), "length 1, want 0"},
		{"ORO of 3 octets", option(OptionORO, 0, 1, 0), "odd"},
		{"client id of 2 octets", option(OptionClientID, 0, 4), "DUID of 2 octets"},
		{"server id of 131 octets", option(OptionServerID, make([]byte, 131)...), "DUID of 131 octets"},
		{"authentication of 10 octets", option(OptionAuth, make([]byte, 10)...), "Authentication option at offset 4: length 10, want 11 to 267"},
		{"reconfigure message 3", option(OptionReconfigureMessage, 3), "Request is no answer"},
		{"reconfigure accept with data", option(OptionReconfigureAccept, 1), "Reconfigure Accept option at offset 4: length 1, want 0"},
		{"refresh time of 5 octets", option(OptionRefreshTime, make([]byte, 5)...), "Information Refresh Time option at offset 4: length 5, want 4"},
		{"NTP empty", option(OptionNTPServer), "empty"},
		{"INF_MAX_RT of 0", option(OptionInfMaxRT, 0, 0, 0, 0), "INF_MAX_RT option at offset 4: 0 is outside of 60 to 86400"},
		{"encrypted DNS of 1 octet", option(OptionEncryptedDNS, 0), "too short"},
		{"IA_NA of 11 octets", option(OptionIANA, make([]byte, 11)...), "IA_NA option at offset 4: length 11, want at least 12"},
		{"IA_PD of 11 octets", option(OptionIAPD, make([]byte, 11)...), "length 11, want at least 12"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, problems := mustParse(t, replyWith(tc.bad, good))
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), tc.problem) {
				t.Errorf("problems = %v, want one with %q", problems, tc.problem)
			}
			want := []IA{{IAID: 1, T1: 10, T2: 16, Prefixes: []IAPrefix{{Preferred: 20, Valid: 40, Prefix: netip.MustParsePrefix("2001:db8:1::/64")}}}}
			if d := cmp.Diff(want, m.IAs, comparePrefixes); d != "" {
				t.Errorf("IA_PD (-want +got):\n%s", d)
			}
			m.ORO, m.IAs = nil, nil // the whole codes of an odd Option Request stay
			if d := cmp.Diff(Message{Type: Reply, XID: 0x010203}, m); d != "" {
				t.Errorf("the bad option left something behind (-want +got):\n%s", d)
			}
		})
	}
}

// An option that claims more octets than there are ends the walk; what came before stays.
func TestRFC9915_21_1_TruncatedOptionKeepsWhatCameBefore(t *testing.T) {
	good := iapdOption(1, 10, 16, prefixOption(20, 40, 64, "2001:db8:1::"))
	for _, tail := range [][]byte{{0}, {0, 23, 0}, {0, 23, 0, 16, 1}} {
		m, problems := mustParse(t, append(replyWith(good), tail...))
		if len(m.IAs) != 1 || len(problems) != 1 || problems[0].Offset != 4+len(good) {
			t.Errorf("tail %x: %d IA_PD, problems %v", tail, len(m.IAs), problems)
		}
	}
}

// "The client MUST discard any prefixes for which the preferred lifetime is greater than the valid
// lifetime."
func TestRFC9915_21_22_PrefixValidation(t *testing.T) {
	for _, tc := range []struct {
		name    string
		option  []byte
		want    string // prefix, empty: discarded
		problem string
	}{
		{"length 0", prefixOption(1, 2, 0, "2001:db8::"), "", "prefix length 0"},
		{"length 1", prefixOption(1, 2, 1, "8000::"), "8000::/1", ""},
		{"length 64", prefixOption(1, 2, 64, "2001:db8::"), "2001:db8::/64", ""},
		{"length 72", prefixOption(1, 2, 72, "2001:db8:0:0:100::"), "2001:db8:0:0:100::/72", ""},
		{"length 128", prefixOption(1, 2, 128, "2001:db8::1"), "2001:db8::1/128", ""},
		{"length 129", prefixOption(1, 2, 129, "2001:db8::"), "", "prefix length 129"},
		{"length 200", prefixOption(1, 2, 200, "2001:db8::"), "", "prefix length 200"},
		{"host bits", prefixOption(1, 2, 56, "2001:db8:0:ab01::7"), "2001:db8:0:ab00::/56", "host bits of 2001:db8:0:ab01::7/56 are cleared"},
		{"preferred > valid", prefixOption(3, 2, 64, "2001:db8::"), "", "preferred lifetime 3 is greater than valid lifetime 2"},
		{"preferred = valid", prefixOption(2, 2, 64, "2001:db8::"), "2001:db8::/64", ""},
		{"0/0", prefixOption(0, 0, 64, "2001:db8::"), "2001:db8::/64", ""},
		{"infinite", prefixOption(0xffffffff, 0xffffffff, 64, "2001:db8::"), "2001:db8::/64", ""},
		{"unspecified", prefixOption(1, 2, 56, "::"), "", "cannot be delegated"},
		{"loopback", prefixOption(1, 2, 128, "::1"), "", "cannot be delegated"},
		{"link-local", prefixOption(1, 2, 64, "fe80::"), "", "cannot be delegated"},
		{"multicast", prefixOption(1, 2, 64, "ff0e::"), "", "cannot be delegated"},
		{"IPv4-mapped", prefixOption(1, 2, 128, "::ffff:192.0.2.1"), "", "cannot be delegated"},
		{"truncated", option(OptionIAPrefix, make([]byte, 24)...), "", "length 24, want at least 25"},
		{"bad option inside", prefixOption(1, 2, 64, "2001:db8::", 0, 13, 0, 9), "2001:db8::/64", "length 9"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, problems := mustParse(t, replyWith(iapdOption(1, 0, 0, tc.option)))
			got := ""
			if len(m.IAs) == 1 && len(m.IAs[0].Prefixes) == 1 {
				got = m.IAs[0].Prefixes[0].Prefix.String()
			}
			if got != tc.want {
				t.Errorf("prefix = %q, want %q", got, tc.want)
			}
			if tc.problem == "" && len(problems) > 0 || tc.problem != "" && (len(problems) != 1 || !strings.Contains(problems[0].Reason, tc.problem)) {
				t.Errorf("problems = %v, want %q", problems, tc.problem)
			}
		})
	}
}

// "If a client receives an IA_PD with T1 greater than T2 and both T1 and T2 are greater than 0, the
// client discards the IA_PD option".
func TestRFC9915_21_21_T1GreaterThanT2(t *testing.T) {
	p := prefixOption(1, 2, 64, "2001:db8::")
	for _, tc := range []struct {
		t1, t2 byte
		kept   int
	}{{0, 0, 1}, {5, 0, 1}, {0, 5, 1}, {5, 5, 1}, {5, 6, 1}, {6, 5, 0}} {
		if m, _ := mustParse(t, replyWith(iapdOption(1, tc.t1, tc.t2, p))); len(m.IAs) != tc.kept {
			t.Errorf("T1 %d T2 %d: %d IA_PD, want %d", tc.t1, tc.t2, len(m.IAs), tc.kept)
		}
	}
	// "The server MUST ignore any values in these fields in messages received from a client."
	b := replyWith(iapdOption(1, 6, 5, prefixOption(3, 2, 56, "::")))
	b[0] = byte(Solicit)
	if m, problems := mustParse(t, b); len(m.IAs) != 1 || len(m.IAs[0].Prefixes) != 1 || len(problems) != 0 {
		t.Errorf("a client's IA_PD: %+v, problems %v", m, problems)
	}
}

// Options that appear more than once: the first that can be read counts.
func TestRFC9915_21_1_DuplicateOptions(t *testing.T) {
	p := prefixOption(1, 2, 64, "2001:db8::")
	m, problems := mustParse(t, replyWith(
		option(OptionPreference, 1, 1), option(OptionPreference, 7), option(OptionPreference, 8),
		iapdOption(1, 0, 0, p, p), iapdOption(1, 0, 0), iapdOption(2, 0, 0)))
	if m.Preference != 7 || len(m.IAs) != 2 || len(m.IAs[0].Prefixes) != 1 || m.IAs[1].IAID != 2 {
		t.Errorf("message = %+v", m)
	}
	if len(problems) != 4 {
		t.Errorf("problems = %v, want 4", problems)
	}
}

// "A DHCP client MUST ignore any SOL_MAX_RT option values that are less than 60 or more than 86400."
func TestRFC9915_21_24_SolMaxRTRange(t *testing.T) {
	for value, want := range map[uint32]uint32{0: 0, 59: 0, 60: 60, 86400: 86400, 86401: 0, 0xffffffff: 0} {
		m, problems := mustParse(t, replyWith(option(OptionSolMaxRT, byte(value>>24), byte(value>>16), byte(value>>8), byte(value))))
		if m.SolMaxRT != want || (len(problems) == 1) != (want == 0) {
			t.Errorf("SOL_MAX_RT %d gives %d (%v), want %d", value, m.SolMaxRT, problems, want)
		}
	}
}

// "A DHCP client MUST ignore any INF_MAX_RT option values that are less than 60 or more than 86400."
func TestRFC9915_21_25_InfMaxRTRange(t *testing.T) {
	for value, want := range map[uint32]uint32{0: 0, 59: 0, 60: 60, 86400: 86400, 86401: 0, 0xffffffff: 0} {
		m, problems := mustParse(t, replyWith(option(OptionInfMaxRT, binary.BigEndian.AppendUint32(nil, value)...)))
		if m.InfMaxRT != want || m.SolMaxRT != 0 || (len(problems) == 1) != (want == 0) {
			t.Errorf("INF_MAX_RT %d gives %d (%v), want %d", value, m.InfMaxRT, problems, want)
		}
	}
}

// "A client MUST use the refresh time IRT_MINIMUM if it receives the option with a value less than
// IRT_MINIMUM." 0xffffffff is infinity (section 7.7).
func TestRFC9915_21_23_RefreshTimeMinimum(t *testing.T) {
	for value, want := range map[uint32]uint32{0: 600, 599: 600, 600: 600, 601: 601, 86400: 86400, 0xffffffff: 0xffffffff} {
		m, problems := mustParse(t, replyWith(option(OptionRefreshTime, binary.BigEndian.AppendUint32(nil, value)...)))
		if m.RefreshTime != want || problems != nil {
			t.Errorf("refresh time %d gives %d (%v), want %d", value, m.RefreshTime, problems, want)
		}
	}
}

// AFTR-Name (64, RFC 6334) is for DS-Lite, which we do not do: it is ignored without a word.
func TestAFTRIsIgnored(t *testing.T) {
	name := []byte("\x04aftr\x07example\x00")
	for _, v := range [][]byte{name, nil, {0xc0, 0}} {
		aftr := option(64, v...)
		m, problems := mustParse(t, replyWith(aftr, option(OptionPreference, 9), aftr))
		if d := cmp.Diff(Message{Type: Reply, XID: 0x010203, Preference: 9}, m); d != "" || problems != nil {
			t.Errorf("AFTR-Name %x: problems %v, (-want +got):\n%s", v, problems, d)
		}
	}
}

// "A client or server MUST discard any received DHCP messages with an unknown message type."
func TestRFC9915_16_UnknownTypeIsDiscarded(t *testing.T) {
	for _, b := range [][]byte{nil, {7, 0, 0}, {0, 1, 2, 3}, {12, 0, 0, 0}, {13, 0, 0, 0}, {14, 0, 0, 0}, {255, 0, 0, 0}} {
		if _, _, err := ParseMessage(b); !errors.Is(err, ErrNotClientServer) {
			t.Errorf("ParseMessage(%x) = %v, want ErrNotClientServer", b, err)
		}
	}
	// "MUST NOT discard messages that contain unknown options".
	if m, problems := mustParse(t, replyWith(option(999, 1, 2), option(0xffff), option(OptionPreference, 9))); m.Preference != 9 || problems != nil {
		t.Errorf("unknown options: %+v %v", m, problems)
	}
}

// Names of RFC 3646 section 4 "must not be stored in compressed form".
func TestRFC3646_4_DomainList(t *testing.T) {
	long := strings.Repeat("a", 63)
	longWire := "\x3f" + long + "\x3f" + long + "\x3f" + long
	for _, tc := range []struct {
		wire     string
		want     string
		problems int
	}{
		{"\x03LAN\x07example\x00", "lan.example", 0},
		{"\x03lan\x07example\x00\x07example\x03net\x00", "lan.example example.net", 0},
		{"\x03lan\x00\x00\x03net\x00", "lan net", 1},
		{"\x03l n\x00\x03net\x00", "net", 1},
		{"\x03\xe2\x84\xaa\x00\x01k\x00", "k", 1}, // a Kelvin sign is no k
		{"\x03lan\x00\x40x", "lan", 1},
		{longWire + "\x3d" + long[:61] + "\x00", long + "." + long + "." + long + "." + long[:61], 0}, // 255 octets
		{longWire + "\x3e" + long[:62] + "\x00", "", 1},                                               // 256
		{"\x05_tcp-\x00", "_tcp-", 0},
	} {
		m, problems := mustParse(t, replyWith(option(OptionDomainList, []byte(tc.wire)...)))
		if got := strings.Join(m.Search, " "); got != tc.want || len(problems) != tc.problems {
			t.Errorf("%q = %q %v, want %q and %d problems", tc.wire, got, problems, tc.want, tc.problems)
		}
		for _, n := range m.Search {
			if !ValidName(n) {
				t.Errorf("ValidName(%q) = false", n)
			}
		}
	}
	for _, n := range []string{"", ".", "a.", ".a", "a..b", "A", "a b", strings.Repeat("a", 64)} {
		if ValidName(n) {
			t.Errorf("ValidName(%q) = true", n)
		}
	}
}

// A status message of the network fits into a log line.
func TestRFC9915_21_13_StatusTextIsBounded(t *testing.T) {
	m, _ := mustParse(t, replyWith(option(OptionStatusCode, append([]byte{0, 6}, "no\nway \x1b[31m \xff"...)...)))
	if got, want := m.Status.String(), "NoPrefixAvail: no?way ?[31m ?"; got != want {
		t.Errorf("status = %q, want %q", got, want)
	}
	m, _ = mustParse(t, replyWith(option(OptionStatusCode, append([]byte{0, 99}, strings.Repeat("é", 300)...)...)))
	if n := len(m.Status.Text); n > MaxStatusText || m.Status.Code.String() != "status 99" {
		t.Errorf("status %q with %d octets", m.Status.Code, n)
	}
}

// A hostile message costs bounded work and memory.
func TestHostileMessageIsBounded(t *testing.T) {
	var prefixes [][]byte
	for i := range 2000 {
		prefixes = append(prefixes, prefixOption(1, 2, 64, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}).String()))
	}
	m, problems := mustParse(t, replyWith(iapdOption(1, 0, 0, prefixes...)))
	if len(m.IAs[0].Prefixes) != maxIAPrefixes || len(problems) != maxProblems {
		t.Errorf("%d prefixes, %d problems", len(m.IAs[0].Prefixes), len(problems))
	}
}

// What we write, other software reads as the same.
func TestMessageAgainstLibrary(t *testing.T) {
	m := Message{Type: Solicit, XID: 0xa1b2c3, ClientID: clientDUID, ServerID: serverDUID, ElapsedTime: 123, RapidCommit: true,
		ORO: []OptionCode{OptionDNSServers, OptionDomainList, OptionSolMaxRT},
		IAs: []IA{{IAID: 7, Prefixes: []IAPrefix{{Prefix: netip.MustParsePrefix("2001:db8:0:ab00::/56")}}}},
	}
	got, err := oracle.MessageFromBytes(m.Append(nil))
	if err != nil {
		t.Fatalf("the library refuses our Solicit: %v", err)
	}
	ia := got.Options.OneIAPD()
	p := ia.Options.Prefixes()[0]
	if got.MessageType != oracle.MessageTypeSolicit || got.TransactionID != (oracle.TransactionID{0xa1, 0xb2, 0xc3}) ||
		string(got.Options.ClientID().ToBytes()) != string(clientDUID) || string(got.Options.ServerID().ToBytes()) != string(serverDUID) ||
		got.Options.ElapsedTime() != 1230*time.Millisecond || got.GetOneOption(oracle.OptionRapidCommit) == nil ||
		ia.IaId != [4]byte{0, 0, 0, 7} || p.Prefix.String() != "2001:db8:0:ab00::/56" || len(got.Options.RequestedOptions()) != 3 {
		t.Errorf("the library reads our Solicit as %s", got.Summary())
	}
}

// What other software writes, we read as the same.
func TestLibraryAgainstMessage(t *testing.T) {
	_, prefix, _ := net.ParseCIDR("2001:db8:ebbd:990a::/64")
	o := &oracle.Message{MessageType: oracle.MessageTypeReply, TransactionID: oracle.TransactionID{1, 2, 3}}
	o.AddOption(oracle.OptClientID(&oracle.DUIDUUID{UUID: [16]byte([]byte("cccccccccccccccc"))}))
	o.AddOption(oracle.OptServerID(&oracle.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}}))
	ia := &oracle.OptIAPD{IaId: [4]byte{0, 0, 0, 1}, T1: 1350 * time.Second, T2: 2160 * time.Second}
	ia.Options.Add(&oracle.OptIAPrefix{PreferredLifetime: 2700 * time.Second, ValidLifetime: 5400 * time.Second, Prefix: prefix})
	o.AddOption(ia)
	o.AddOption(oracle.OptDNS(net.ParseIP("2001:db8::53")))
	o.AddOption(oracle.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{"lan.example", "example.net"}}))
	o.AddOption(&oracle.OptStatusCode{StatusCode: iana.StatusSuccess, StatusMessage: "all well"})
	want := Message{Type: Reply, XID: 0x010203, ClientID: clientDUID, ServerID: serverDUID,
		IAs: []IA{{IAID: 1, T1: 1350, T2: 2160, Prefixes: []IAPrefix{{Preferred: 2700, Valid: 5400, Prefix: netip.MustParsePrefix("2001:db8:ebbd:990a::/64")}}}},
		DNS: []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Search: []string{"lan.example", "example.net"},
		Status: Status{Text: "all well"}}
	m, problems := mustParse(t, o.ToBytes())
	if d := cmp.Diff(want, m, comparePrefixes); d != "" || problems != nil {
		t.Errorf("problems %v, message (-want +got):\n%s", problems, d)
	}
}

// goldens are messages of real software as hex text.
func goldens(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/*.hex: %d files, %v", len(files), err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var digits strings.Builder
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "#") {
				digits.WriteString(strings.TrimSpace(line))
			}
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out[filepath.Base(f)] = b
	}
	return out
}

// Kea's answers are read without a problem.
func TestKeaMessages(t *testing.T) {
	const common = "DNS [2001:db8:1::53] search [lan.example example.net] SOL_MAX_RT 3000 server 000200007ed90cc084d303000912"
	for file, want := range map[string]string{
		"kea-advertise.hex":   "Advertise 1 rapid false IAID 0x1 T1 1350 T2 2160 2001:db8:ebbd:9900::/64 2700 5400 " + common,
		"kea-reply-rapid.hex": "Reply 2 rapid true IAID 0x1 T1 1350 T2 2160 2001:db8:ebbd:9901::/64 2700 5400 " + common,
		"kea-reply-renew.hex": "Reply 3 rapid false IAID 0x9 T1 1350 T2 2160 2001:db8:ebbd:99ff::/64 2700 5400 " + common,
	} {
		m, problems := mustParse(t, goldens(t)[file])
		ia := m.IAs[0]
		got := fmt.Sprint(m.Type, " ", m.XID, " rapid ", m.RapidCommit, " IAID ", ia.IAID, " T1 ", ia.T1, " T2 ", ia.T2, " ",
			ia.Prefixes[0].Prefix, " ", ia.Prefixes[0].Preferred, " ", ia.Prefixes[0].Valid,
			" DNS ", m.DNS, " search ", m.Search, " SOL_MAX_RT ", m.SolMaxRT, " server ", m.ServerID)
		if got != want || problems != nil || m.ClientID.String() != "0004cccccccccccccccccccccccccccccccc" {
			t.Errorf("%s:\n got %s\nwant %s\nproblems %v", file, got, want, problems)
		}
	}
}

func TestFromClient(t *testing.T) {
	for typ := range 16 {
		want := slices.Contains([]MessageType{Solicit, Request, Confirm, Renew, Rebind, Release, Decline, InformationRequest}, MessageType(typ))
		if got := FromClient([]byte{byte(typ), 0, 0, 0}); got != want {
			t.Errorf("FromClient of %s = %v, want %v", MessageType(typ), got, want)
		}
	}
	if FromClient([]byte{1, 0, 0}) || FromClient(nil) {
		t.Error("FromClient takes less than a header")
	}
}
