// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"
)

var clientID = &dhcpv6.DUIDUUID{UUID: [16]byte{15: 7}}

func testServer(t *testing.T, words string) *server {
	t.Helper()
	m, err := parseMode(words)
	if err != nil {
		t.Fatalf("parseMode(%q): %v", words, err)
	}
	return &server{mode: m, config: config{
		pool: netip.MustParsePrefix("2001:db8:ebbd:9900::/56"), length: 60, addr: netip.MustParseAddr("2001:db8:ebbd:ff00::7"),
		times: times{10, 16, 60, 90}, dns: netip.MustParseAddr("2001:db8::53"), search: "lan.example", mtu: 1420, key: key{1, 2, 3},
	}}
}

// from is a client's message for two prefixes and an address.
func from(typ dhcpv6.MessageType, server []byte, more ...dhcpv6.Option) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: typ, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	m.AddOption(dhcpv6.OptClientID(clientID))
	if server != nil {
		m.AddOption(generic(dhcpv6.OptionServerID, server...))
	}
	m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList))
	m.AddOption(&dhcpv6.OptIAPD{IaId: [4]byte{3: 1}})
	m.AddOption(&dhcpv6.OptIAPD{IaId: [4]byte{3: 9}})
	m.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{3: 1}})
	for _, o := range more {
		m.AddOption(o)
	}
	reread, err := dhcpv6.MessageFromBytes(m.ToBytes())
	if err != nil {
		panic(err) // the library reads what it writes
	}
	return reread
}

// texts are the answers as the log has them.
func texts(out []datagram) (lines []string) {
	for _, d := range out {
		lines = append(lines, d.text)
	}
	return lines
}

const (
	head   = " 0x010203 server 000200007ed9bad000"
	leases = "; PD 00000001 T1 10 T2 16, 2001:db8:ebbd:9900::/60 60/90; PD 00000009 T1 10 T2 16, 2001:db8:ebbd:9910::/60 60/90" +
		"; NA 00000001 T1 10 T2 16, 2001:db8:ebbd:ff00::7/128 60/90"
	configuration = "; option 23; option 24"
)

// The right answers: what the library reads, and what the log says.
func TestGoodServer(t *testing.T) {
	rapid := generic(dhcpv6.OptionRapidCommit)
	accept := generic(dhcpv6.OptionReconfAccept)
	for _, tc := range []struct {
		mode string
		in   *dhcpv6.Message
		want []string
	}{
		{"good", from(dhcpv6.MessageTypeSolicit, nil, rapid), []string{"ADVERTISE" + head + leases + configuration}},
		{"rapid", from(dhcpv6.MessageTypeSolicit, nil, rapid), []string{"REPLY" + head + leases + configuration}},
		{"rapid", from(dhcpv6.MessageTypeSolicit, nil), []string{"ADVERTISE" + head + leases + configuration}},
		{"good", from(dhcpv6.MessageTypeRequest, duid(itself), accept), []string{"REPLY" + head + leases + configuration + "; option 20; option 11"}},
		{"good", from(dhcpv6.MessageTypeRenew, duid(itself), accept), []string{"REPLY" + head + leases + configuration + "; option 20"}},
		{"good", from(dhcpv6.MessageTypeRebind, nil), []string{"REPLY" + head + leases + configuration}},
		{"good", from(dhcpv6.MessageTypeRenew, []byte{0, 2, 0, 0, 1, 1, 1}), nil},
		{"good", from(dhcpv6.MessageTypeConfirm, nil), []string{"REPLY" + head + ", Success"}},
		{"good", from(dhcpv6.MessageTypeRelease, duid(itself)), []string{"REPLY" + head + ", Success"}},
		{"good", from(dhcpv6.MessageTypeInformationRequest, nil), []string{"REPLY" + head + configuration}},
		{"good", from(dhcpv6.MessageTypeReply, nil), nil},
	} {
		out := testServer(t, tc.mode).answer(tc.in)
		if d := cmp.Diff(tc.want, texts(out)); d != "" {
			t.Errorf("%s upon %s (-want +got):\n%s", tc.mode, tc.in.MessageType, d)
		}
		for _, o := range out {
			m, err := dhcpv6.MessageFromBytes(o.data)
			if err != nil {
				t.Errorf("upon %s: the library does not read the answer: %v", tc.in.MessageType, err)
			} else if m.TransactionID != tc.in.TransactionID || m.Options.ClientID().String() != clientID.String() {
				t.Errorf("upon %s: answer is %s", tc.in.MessageType, m.Summary())
			}
		}
	}
}

func TestTwoServers(t *testing.T) {
	s := testServer(t, "two,preference-255,request:pd=NoPrefixAvail")
	out := s.answer(from(dhcpv6.MessageTypeSolicit, nil))
	if len(out) != 2 || !strings.Contains(out[1].text, "server 000200007ed9bad001") || !strings.Contains(out[1].text, "2001:db8:ebbd:9980::/60") {
		t.Fatalf("answers to Solicit: %q", texts(out))
	}
	for i, want := range []uint8{255, 0} {
		if m, err := dhcpv6.MessageFromBytes(out[i].data); err != nil || m.Options.Preference() != want {
			t.Errorf("server %d: %v, preference %d, want %d", i, err, m.Options.Preference(), want)
		}
	}
	for identity, refused := range []bool{true, false} {
		out := s.answer(from(dhcpv6.MessageTypeRequest, duid(identity)))
		if len(out) != 1 || strings.Contains(out[0].text, "NoPrefixAvail") != refused {
			t.Errorf("answers of server %d to Request: %q", identity, texts(out))
		}
	}
}

// A fault that changes nothing would prove nothing.
func TestEveryFaultMatters(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range faults() {
		if seen[f.name] || f.what == "" {
			t.Errorf("fault %q: the name comes twice, or it is not explained", f.name)
		}
		seen[f.name] = true
		in := from(dhcpv6.MessageTypeRenew, duid(itself))
		good, bad := testServer(t, "good").answer(in), testServer(t, f.name).answer(in)
		if slices.EqualFunc(good, bad, func(a, b datagram) bool { return bytes.Equal(a.data, b.data) }) {
			t.Errorf("fault %q changes nothing in %q", f.name, texts(good))
		}
		other := testServer(t, "rebind+solicit:"+f.name).answer(in)
		if d := cmp.Diff(texts(good), texts(other)); d != "" {
			t.Errorf("fault %q for Rebind changes the answer to Renew:\n%s", f.name, d)
		}
	}
}

func TestFaults(t *testing.T) {
	pd := func(rest string) string { return "; PD 00000001 " + rest }
	for words, want := range map[string]string{
		"preferred-0":            pd("T1 0 T2 0, 2001:db8:ebbd:9900::/60 0/90"),
		"t-zero":                 pd("T1 0 T2 0, 2001:db8:ebbd:9900::/60 60/90"),
		"t1-one":                 pd("T1 1 T2 2, "),
		"t1-beyond-t2":           pd("T1 17 T2 16, "),
		"t-beyond-life":          pd("T1 180 T2 270, "),
		"preferred-beyond-valid": "2001:db8:ebbd:9900::/60 91/90",
		"renumber":               pd("T1 10 T2 16, 2001:db8:ebbd:9900::/60 0/0, 2001:db8:ebbd:9940::/60 60/90;"),
		"renumber-new-only":      pd("T1 10 T2 16, 2001:db8:ebbd:9940::/60 60/90;"),
		"withdraw":               pd("T1 10 T2 16, 2001:db8:ebbd:9900::/60 0/0;"),
		"no-pd":                  head + "; NA",
		"length-0":               ", 2001:db8:ebbd:9900::/0 60/90, 2001:db8:ebbd:9900::/60 60/90",
		"length-200":             ", 2001:db8:ebbd:9900::/200 60/90, 2001:db8:ebbd:9900::/60 60/90",
		"host-bits":              ", 2001:db8:ebbd:9900::7/60 60/90",
		"foreign-iaid":           "; PD 00000054 ",
		"other-server":           " server 000200007ed9bad001;",
		"no-server":              " server ;",
		"wrong-xid":              "REPLY 0xfe0203 ",
		"prefix=NoBinding":       "2001:db8:ebbd:9900::/60 60/90 NoBinding",
		"pd=NoPrefixAvail":       pd("T1 0 T2 0, NoPrefixAvail; PD 00000009 T1 0 T2 0, NoPrefixAvail; NA 00000001 T1 10"),
		"na=NotOnLink":           "; NA 00000001 T1 0 T2 0, NotOnLink",
		"top=UseMulticast":       head + ", UseMulticast; option 23",
	} {
		out := testServer(t, words).answer(from(dhcpv6.MessageTypeRenew, duid(itself)))
		if len(out) != 1 || !strings.Contains(out[0].text, want) {
			t.Errorf("%s: %q, want %q", words, texts(out), want)
		}
	}
}

// "many" is for the largest message that the tunnel lets through.
func TestManyPrefixesFillTheMTU(t *testing.T) {
	out := testServer(t, "many").answer(from(dhcpv6.MessageTypeRenew, duid(itself)))
	const onePrefix = 29
	if n := len(out[0].data) + 48; n > 1420 || n <= 1420-onePrefix {
		t.Errorf("packet of %d octets, want just below 1420", n)
	}
}

// The figure of RFC 6603 section 4.2: the subnet id is left-aligned and padded with zeros.
func TestExcludeOption(t *testing.T) {
	for _, tc := range []struct {
		bits    int
		exclude string
		want    string
	}{
		{60, "2001:db8:ebbd:990f::/64", "0043000240f0"},
		{56, "2001:db8:ebbd:99ff::/64", "0043000240ff"},
		{63, "2001:db8:0:1::/64", "004300024080"},
		{48, "2001:db8:0:1234::/64", "00430003401234"},
		{49, "2001:db8:0:8001::/64", "00430003400002"},
	} {
		got := fmt.Sprintf("%x", excludeOption(tc.bits, netip.MustParsePrefix(tc.exclude)))
		if got != tc.want {
			t.Errorf("%s out of a /%d: %s, want %s", tc.exclude, tc.bits, got, tc.want)
		}
	}
}

func TestParseModeRefuses(t *testing.T) {
	for _, words := range []string{"", "nonsense", "pd=Nonsense", "here=NoBinding", "nonsense:t-zero", "renew:", "good,nonsense", "renew+:t-zero"} {
		if m, err := parseMode(words); err == nil {
			t.Errorf("parseMode(%q) = %+v, want an error", words, m)
		}
	}
}

// Each Reconfigure has a greater replay detection, and each thing that can be wrong with one is.
func TestReconfigures(t *testing.T) {
	s := testServer(t, "good")
	if _, err := s.reconfigure([]string{"renew"}); err == nil {
		t.Error("Reconfigure without a client")
	}
	s.answer(from(dhcpv6.MessageTypeRequest, duid(itself), generic(dhcpv6.OptionReconfAccept)))
	if _, err := s.reconfigure([]string{"replayed"}); err == nil {
		t.Error("replay of nothing")
	}
	const (
		server = "00020009000200007ed9bad000"
		client = "00010012000400000000000000000000000000000007"
		auth   = "000b001c030100"
	)
	var last []byte
	for i, tc := range []struct{ words, want string }{
		{"renew", "0a000000" + server + client + auth + "0000000000000002" + "02"},
		{"rebind", "0a000000" + server + client + auth + "0000000000000003" + "02"},
		{"information-request wrong-key", "0a000000" + server + client + auth + "0000000000000004" + "02"},
		{"renew no-auth", "0a000000" + server + client + "0013000105"},
		{"renew no-client", "0a000000" + server + auth},
		{"renew wrong-server", "0a000000" + "00020009000200007ed9bad001" + client + auth},
	} {
		d, err := s.reconfigure(strings.Fields(tc.words))
		if err != nil || !strings.HasPrefix(fmt.Sprintf("%x", d.data), tc.want) {
			t.Fatalf("%s: %x, %v, want %s", tc.words, d.data, err, tc.want)
		}
		if i == 0 {
			last = d.data
		}
	}
	if _, err := s.reconfigure([]string{"nonsense"}); err == nil {
		t.Error("a word that is none was taken")
	}
	s.signed.last = last
	if d, err := s.reconfigure([]string{"renew", "replayed"}); err != nil || !bytes.Equal(d.data, last) {
		t.Errorf("replayed: %x, %v", d.data, err)
	}
}

// A Reconfigure that dibbler-server 1.0.1 signed with the key that it had handed out.
func TestDigestIsThatOfOtherSoftware(t *testing.T) {
	k, err := hex.DecodeString("71ee81724348e4d9f52c9c4599a48fdb")
	if err != nil {
		t.Fatal(err)
	}
	m, err := hex.DecodeString("0a000000" + "0002000e000100013297431c00005e005310" + "0001001200046666666666664666866666666666" + "6666" +
		"0013000105" + "000b001c030100" + "0000000000000000" + "02e7d321734a2a88f3f28b3776dc80f1a2")
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(m[len(m)-md5.Size:])
	clear(m[len(m)-md5.Size:])
	if got := digest(key(k), m); !bytes.Equal(got, want) {
		t.Errorf("digest %x, dibbler says %x", got, want)
	}
	s := testServer(t, "good")
	s.answer(from(dhcpv6.MessageTypeRequest, duid(itself)))
	d, err := s.reconfigure([]string{"renew"})
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(d.data, []byte{0, byte(dhcpv6.OptionReconfMessage), 0, 1}) - md5.Size
	got := bytes.Clone(d.data[at : at+md5.Size])
	clear(d.data[at : at+md5.Size])
	if want := digest(s.key, d.data); !bytes.Equal(got, want) {
		t.Errorf("digest of our Reconfigure %x, want %x", got, want)
	}
}
