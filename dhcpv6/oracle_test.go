// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	oracle "github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"oasis6/internal/ip6pkt"
)

// everything is a message with every field set; what a real one would not hold together stands side by side.
func everything(mt MessageType) Message {
	m := Message{
		Type: mt, XID: 0xa1b2c3, ClientID: clientDUID, ServerID: serverDUID,
		IAs: []IA{
			{Type: NA, IAID: 1, T1: 10, T2: 16, Prefixes: []IAPrefix{
				{Preferred: 20, Valid: 40, Prefix: netip.MustParsePrefix("2001:db8::17/128")},
				{Prefix: netip.MustParsePrefix("2001:db8::18/128"), Status: Status{Code: NotOnLink, Text: "moved"}}}},
			{Type: PD, IAID: 1, T1: 10, T2: 16, Status: Status{Code: UnspecFail, Text: "some"}, Prefixes: []IAPrefix{
				{Preferred: 20, Valid: 40, Prefix: netip.MustParsePrefix("2001:db8:dead:bee0::/59"),
					Exclude: netip.MustParsePrefix("2001:db8:dead:beef::/64"), Status: Status{Text: "first"}},
				{Preferred: 0xffffffff, Valid: 0xffffffff, Prefix: netip.MustParsePrefix("2001:db8:2::/48")}}},
			{Type: NA, IAID: 2, Status: Status{Code: NoAddrsAvail}},
		},
		ORO: []OptionCode{OptionPDExclude, OptionEncryptedDNS}, Preference: 7, RapidCommit: true, Status: Status{Text: "all well"},
		ReconfigureMessage: Rebind, ReconfigureAccept: true,
		Auth: &Auth{Protocol: 3, Algorithm: 1, RDM: 0, Replay: 0x0102030405060708, Info: append([]byte{2}, make([]byte, 16)...)},
		DNS:  []netip.Addr{netip.MustParseAddr("2001:db8::53")}, Search: []string{"lan.example", "example.net"},
		NTP: []NTPServer{{Name: "ntp.example"}, {Addr: netip.MustParseAddr("2001:db8::123")}, {Addr: netip.MustParseAddr("ff05::101")}},
		EncryptedDNS: []EncryptedDNS{{Priority: 2, Name: "doh1.example.com"}, {Priority: 1, Name: "dot.example",
			Addrs:  []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("fd00::53")},
			Params: string(slices.Concat(param(1, "\x03dot"), param(3, "\x03\x55")))}},
		CaptivePortal: "https://example.com/capport", SolMaxRT: 3600, InfMaxRT: 7200, RefreshTime: 86400,
	}
	if !mt.fromServer() {
		m.ElapsedTime = 123
	}
	return m
}

// What is written is read back, whatever the field.
func TestEveryFieldIsWrittenAndRead(t *testing.T) {
	for _, mt := range []MessageType{Solicit, Advertise, Reply, Reconfigure, InformationRequest} {
		want := everything(mt)
		for f, v := range reflect.ValueOf(want).Fields() {
			if v.IsZero() && !(f.Name == "ElapsedTime" && mt.fromServer()) {
				t.Errorf("%s is not set: this test proves nothing for it", f.Name)
			}
		}
		m, problems := mustParse(t, want.Append(nil))
		if d := cmp.Diff(want, m, comparePrefixes); d != "" || problems != nil {
			t.Errorf("%s: problems %v (-written +read):\n%s", mt, problems, d)
		}
	}
	// A client's limits and flags do not hang on other fields: each alone is read back too.
	full := reflect.ValueOf(everything(Reply))
	for i := range full.NumField() {
		want := Message{Type: Reply}
		reflect.ValueOf(&want).Elem().Field(i).Set(full.Field(i))
		m, problems := mustParse(t, want.Append(nil))
		if d := cmp.Diff(want, m, comparePrefixes); d != "" || problems != nil {
			t.Errorf("%s alone: problems %v (-written +read):\n%s", full.Type().Field(i).Name, problems, d)
		}
	}
}

// The library reads the new options as they were meant: those it knows by its decoders, the others as octets.
func TestNewOptionsAgainstLibrary(t *testing.T) {
	got, err := oracle.MessageFromBytes(everything(Reply).Append(nil))
	if err != nil {
		t.Fatalf("the library refuses our Reply: %v", err)
	}
	ianas := got.Options.IANA()
	if len(ianas) != 2 || ianas[0].IaId != [4]byte{0, 0, 0, 1} || ianas[0].T1 != 10*time.Second || ianas[0].T2 != 16*time.Second ||
		ianas[1].Options.Status() == nil || ianas[1].Options.Status().StatusCode != 2 {
		t.Fatalf("the library reads our IA_NAs as %v", ianas)
	}
	addrs := ianas[0].Options.Addresses()
	if len(addrs) != 2 || addrs[0].IPv6Addr.String() != "2001:db8::17" || addrs[0].PreferredLifetime != 20*time.Second ||
		addrs[0].ValidLifetime != 40*time.Second || addrs[1].Options.Status() == nil || addrs[1].Options.Status().StatusMessage != "moved" {
		t.Errorf("the library reads our addresses as %v", addrs)
	}
	p := got.Options.OneIAPD().Options.Prefixes()[0]
	if x := p.Options.GetOne(oracle.OptionCode(OptionPDExclude)); x == nil || !bytes.Equal(x.ToBytes(), []byte{64, 0x78}) {
		t.Errorf("the library reads our Prefix Exclude as %v", x)
	}
	var ntp []string
	for _, o := range got.Options.Get(oracle.OptionNTPServer) {
		for _, s := range o.(*oracle.OptNTPServer).Suboptions {
			switch s := s.(type) {
			case *oracle.NTPSuboptionSrvAddr:
				ntp = append(ntp, net.IP(*s).String())
			case *oracle.NTPSuboptionMCAddr:
				ntp = append(ntp, "multicast "+net.IP(*s).String())
			case *oracle.NTPSuboptionSrvFQDN:
				ntp = append(ntp, s.Labels.Labels...)
			}
		}
	}
	if want := "[ntp.example 2001:db8::123 multicast ff05::101]"; fmt.Sprint(ntp) != want {
		t.Errorf("the library reads our NTP servers as %v, want %s", ntp, want)
	}
	if irt := got.Options.InformationRefreshTime(0); irt != 86400*time.Second {
		t.Errorf("the library reads our refresh time as %s", irt)
	}
	for code, want := range map[OptionCode][]string{
		OptionReconfigureMessage: {"06"}, OptionReconfigureAccept: {""}, OptionInfMaxRT: {"00001c20"},
		OptionAuth:          {"030100" + "0102030405060708" + "02" + strings.Repeat("00", 16)},
		OptionCaptivePortal: {fmt.Sprintf("%x", "https://example.com/capport")},
		OptionEncryptedDNS:  {"00020012" + fmt.Sprintf("%x", adn), "0001000d" + "03646f74076578616d706c6500" + "0020" + "20010db8000000000000000000000053" + "fd000000000000000000000000000053" + "0001000403646f74" + "000300020355"},
	} {
		var have []string
		for _, o := range got.Options.Get(oracle.OptionCode(code)) {
			have = append(have, fmt.Sprintf("%x", o.ToBytes()))
		}
		if !slices.Equal(have, want) {
			t.Errorf("%s: the library has %q, want %q", code, have, want)
		}
	}
}

// What the library writes, we read as it was meant.
func TestLibraryAgainstNewOptions(t *testing.T) {
	o := &oracle.Message{MessageType: oracle.MessageTypeReply, TransactionID: oracle.TransactionID{1, 2, 3}}
	na := &oracle.OptIANA{IaId: [4]byte{0, 0, 1, 0}, T1: 100 * time.Second, T2: 160 * time.Second}
	na.Options.Add(&oracle.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::17"), PreferredLifetime: 200 * time.Second, ValidLifetime: 400 * time.Second})
	o.AddOption(na)
	addr, group := oracle.NTPSuboptionSrvAddr(net.ParseIP("2001:db8::123")), oracle.NTPSuboptionMCAddr(net.ParseIP("ff05::101"))
	o.AddOption(&oracle.OptNTPServer{Suboptions: oracle.Options{&addr, &group,
		&oracle.NTPSuboptionSrvFQDN{Labels: rfc1035label.Labels{Labels: []string{"ntp.example"}}}}})
	o.AddOption(oracle.OptInformationRefreshTime(time.Hour))
	want := Message{Type: Reply, XID: 0x010203,
		IAs: []IA{{Type: NA, IAID: 256, T1: 100, T2: 160, Prefixes: []IAPrefix{{Preferred: 200, Valid: 400, Prefix: netip.MustParsePrefix("2001:db8::17/128")}}}},
		NTP: []NTPServer{{Addr: netip.MustParseAddr("2001:db8::123")}, {Addr: netip.MustParseAddr("ff05::101")}, {Name: "ntp.example"}}, RefreshTime: 3600}
	m, problems := mustParse(t, o.ToBytes())
	if d := cmp.Diff(want, m, comparePrefixes); d != "" || problems != nil {
		t.Errorf("problems %v, message (-want +got):\n%s", problems, d)
	}
}

// tsharkFields are what an independent decoder finds in the message, its complaints first.
func tsharkFields(t *testing.T, message []byte, fields ...string) string {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs tshark:", err)
		}
		t.Skip("needs tshark (apt install tshark):", err)
	}
	pkt := ip6pkt.UDP(netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2"), ServerPort, ClientPort, 64, message)
	b := []byte{0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0, 0} // pcap, raw IP
	b = binary.BigEndian.AppendUint32(b, uint32(len(pkt)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(pkt)))
	file := filepath.Join(t.TempDir(), "dhcpv6.pcap")
	if err := os.WriteFile(file, append(b, pkt...), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", file, "-T", "fields", "-E", "separator=;", "-e", "_ws.malformed", "-e", "_ws.expert.message"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func TestTsharkReadsTheSame(t *testing.T) {
	t.Parallel()
	m := everything(Reply)
	m.EncryptedDNS = nil // Wireshark 4.0 does not know the option
	got := tsharkFields(t, m.Append(nil), "dhcpv6.iaid", "dhcpv6.iaid.t1", "dhcpv6.iaaddr.ip", "dhcpv6.iaaddr.pref_lifetime",
		"dhcpv6.iaaddr.valid_lifetime", "dhcpv6.pd_exclude.pref_len", "dhcpv6.pd_exclude.subnet_id", "dhcpv6.reconf_msg",
		"dhcpv6.auth.protocol", "dhcpv6.auth.algorithm", "dhcpv6.auth.rdm", "dhcpv6.auth.replay_detection",
		"dhcpv6.ntpserver.fqdn", "dhcpv6.ntpserver.addr", "dhcpv6.ntpserver.mc_addr")
	want := ";;00000001,00000001,00000002;10,10,0;2001:db8::17,2001:db8::18;20,0;40,0;64;78;6;3;1;0;0102030405060708;ntp.example.;2001:db8::123;ff05::101"
	if got != want {
		t.Errorf("tshark reads\n%s\nwant\n%s", got, want)
	}
}
