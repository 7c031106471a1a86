// SPDX-License-Identifier: MIT

package packet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
	"oasis6/ra"
)

func TestKindAndSummary(t *testing.T) {
	seen := map[Kind]bool{}
	for _, s := range samples(t) {
		seen[s.kind] = true
		if k := KindOf(s.frame); k != s.kind {
			t.Errorf("%s: kind %s, want %s", s.name, k, s.kind)
		}
		if got := Summary(s.frame, nil); got != s.summary {
			t.Errorf("%s: summary\n%s, want\n%s", s.name, got, s.summary)
		}
		if o := Explain(s.frame, nil); o.Kind != s.kind || o.Summary != s.summary || o.Broken != "" && s.name != "short" {
			t.Errorf("%s: onion of kind %s, %q, broken %q", s.name, o.Kind, o.Summary, o.Broken)
		}
	}
	for _, k := range Kinds() {
		if !seen[k] {
			t.Errorf("no sample of kind %s", k)
		}
		if k != Other && k.Label() == Other.Label() {
			t.Errorf("kind %s has no label", k)
		}
	}
}

// names are the layers in one line.
func (o Onion) names() string {
	var n []string
	for _, l := range o.Layers {
		n = append(n, l.Name)
	}
	return strings.Join(n, " > ")
}

// text is the onion as a page would show it, for what tests look for.
func (o Onion) text() string {
	var b strings.Builder
	for _, l := range o.Layers {
		fmt.Fprintf(&b, "%s | %s | %s\n", l.Name, l.Short, l.RFC)
		for _, f := range l.Fields {
			fmt.Fprintf(&b, "%s%s = %s [%s] %s\n", strings.Repeat("  ", f.Depth+1), f.Name, f.Value, f.RFC, f.Note)
		}
	}
	return b.String()
}

func (o Onion) wants(t *testing.T, what string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(o.text(), l) {
			t.Errorf("%s: no %q in\n%s", what, l, o.text())
		}
	}
}

func TestLayersFromTheOutsideIn(t *testing.T) {
	want := map[string]string{
		"ra":         "Ethernet > IPv6 > ICMPv6 > Router Advertisement",
		"mldv2":      "Ethernet > IPv6 > Hop-by-Hop Options > ICMPv6 > Multicast Listener Report v2",
		"toobig":     "Ethernet > IPv6 > ICMPv6 > Packet Too Big > Quoted IPv6 > Quoted TCP",
		"code5":      "Ethernet > IPv6 > ICMPv6 > Destination Unreachable > Quoted IPv6 > Quoted ICMPv6 > Quoted Echo Request",
		"toobig4":    "Ethernet > IPv4 > ICMP > Quoted IPv4 > Quoted UDP",
		"reply":      "Ethernet > IPv6 > UDP > DHCPv6",
		"get":        "Ethernet > IPv6 > TCP > HTTP",
		"dns":        "Ethernet > IPv6 > UDP > DNS",
		"fragment":   "Ethernet > IPv6 > Fragment Header > UDP > Data",
		"initiation": "Ethernet > IPv4 > UDP > WireGuard Handshake Initiation",
		"keepalive":  "Ethernet > IPv4 > UDP > WireGuard Keepalive",
		"arp":        "Ethernet > ARP",
	}
	for _, s := range samples(t) {
		if w, ok := want[s.name]; ok && Explain(s.frame, nil).names() != w {
			t.Errorf("%s: %s, want %s", s.name, Explain(s.frame, nil).names(), w)
		}
	}
}

// What a student is to learn stands there: options by name with their RFC, values in words.
func TestFieldsTeach(t *testing.T) {
	frames := map[string][]byte{}
	for _, s := range samples(t) {
		frames[s.name] = s.frame
	}
	for name, lines := range map[string][]string{
		"ra": {"Router lifetime = 2700 s (45 min)", "Prefix Information = option 3, 32 octets [RFC 4861 section 4.6.2]", "Valid lifetime = infinity",
			"A flag = 1 [RFC 4862 section 5.5.3] autonomous", "Preferred lifetime = 0 s [] deprecated at once", "Preference = high [RFC 4191 section 2.2]", "Prefix = 64:ff9b::/96"},
		"dad":         {"duplicate address detection", "only hosts with an address that ends in 00:0002 listen", "Source = :: [] unspecified"},
		"na":          {"S flag = 1 [] answers a solicitation", "O flag = 1 [] override"},
		"reply":       {"DUID type = 1 (DUID-LLT) [RFC 9915 section 11.2]", "Status = 6 (NoPrefixAvail)", "Prefix = 2001:db8:dead:be00::/56 [] 256 networks of /64", "Reconfigure key = 0908"},
		"solicit":     {"Prefix = ::/56 [] no prefix but a wish", "Wanted = 67 (Prefix Exclude) [RFC 6603 section 4.2]", "Time = 1.23 s"},
		"reconfigure": {"Message type = 5 (Renew)", "Digest = "},
		"relay":       {"Hop count = 0", "Relay Message = option 9", "    Message type = 1 (Solicit)", "    IA_PD = option 25"},
		"code5":       {"Code = 5 (source address failed ingress/egress policy)", "RFC 7084 L-14"},
		"syn":         {"Flags = SYN [] the first segment", "Maximum segment size = 1420 [RFC 9293 section 3.7.1]", "Window scale = 7 [RFC 7323 section 2.2] windows count in units of 128"},
		"get":         {"Request line = GET / HTTP/1.1 [RFC 9112 section 3]", "Host = www.example.com"},
		"dns":         {"Answer = www.example.com AAAA 2001:db8:53::80 [RFC 3596 section 2.1] to be kept for 300 s (5 min)"},
		"initiation":  {"Type = 1", "Ephemeral = ", "MAC2 = "},
		"ping4":       {"Checksum = 0x8f93 [] right"},
		"redirect":    {"Redirected Header = option 4, 48 octets", "Packet = 2001:db8:a::2 → 2001:db8:53::80"},
		"mldv2":       {"Router Alert = 0 (MLD) [RFC 2711 section 2.1]", "Record type = 4 (CHANGE_TO_EXCLUDE_MODE)"},
	} {
		Explain(frames[name], nil).wants(t, name, lines...)
	}
}

func TestEncryptedDNSInBothProtocols(t *testing.T) {
	dot := ra.EncryptedDNS{Priority: 1, Name: "dot.example", Addrs: []netip.Addr{server}, Params: "\x00\x01\x00\x04\x03dot\x00\x03\x00\x02\x03\x55"}
	m, err := ra.RouterAdvertisement{Options: []ra.Option{ra.EncryptedDNSOption{Lifetime: 600, EncryptedDNS: dot}}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Name = dot.example", "alpn = dot [RFC 9460 section 7.1]", "Address = 2001:db8:53::80", "Priority = 1"}
	Explain(icmp6frame(router, ra.AllNodes, 255, m), nil).wants(t, "ra", append(want, "Encrypted DNS = option 144, 64 octets [RFC 9463 section 6.1]", "port = 853")...)
	d := dhcpv6.Message{Type: dhcpv6.Reply, EncryptedDNS: []dhcpv6.EncryptedDNS{{Priority: 1, Name: "dot.example", Addrs: dot.Addrs, Params: "\x00\x01\x00\x04\x03dot"}, {Priority: 2, Name: "doh.example"}}}
	Explain(dhcpFrame(d), nil).wants(t, "dhcpv6", append(want, "Encrypted DNS = option 144", "Name = doh.example")...)
}

// The opener's packet follows in a buffer of its own, and a keepalive stays closed.
func TestTunnelIsOpened(t *testing.T) {
	inner := ip6pkt.EchoRequest(global, server, 64, 1, 2)
	open := func(d []byte) ([]byte, bool) {
		if len(d) != 96 || d[0] != 4 {
			t.Errorf("asked to open %x", d)
		}
		return append(inner[:len(inner):len(inner)], 0, 0, 0, 0), true // with padding
	}
	frame := eth(udp4(port(outerA, 40001), port(outerB, 51820), wg(4, 96)), hostHW, routerHW)
	o := Explain(frame, open)
	if want := "Ethernet > IPv4 > UDP > WireGuard Data > IPv6 > ICMPv6 > Echo Request"; o.names() != want {
		t.Errorf("%s, want %s", o.names(), want)
	}
	if o.Kind != Data || o.Broken != "" || o.Summary != "WireGuard Data 7593732339331907384 to 0x12345678, 64 octets: Echo Request 0x0001, number 2, 0 octets" {
		t.Errorf("kind %s, broken %q, summary %q", o.Kind, o.Broken, o.Summary)
	}
	if l := o.Layers[4]; l.Buffer != 1 || l.Octets != [2]int{0, 40} {
		t.Errorf("inner IPv6 at %v of buffer %d", l.Octets, l.Buffer)
	}
	if l := o.Layers[6]; l.Octets != [2]int{44, 48} {
		t.Errorf("inner echo at %v: padding is no part of it", l.Octets)
	}
	for what, open := range map[string]Opener{
		"refuses": func([]byte) ([]byte, bool) { return nil, false },
		"empty":   func([]byte) ([]byte, bool) { return nil, true },
	} {
		if o := Explain(frame, open); o.names() != "Ethernet > IPv4 > UDP > WireGuard Data" {
			t.Errorf("opener %s: %s", what, o.names())
		}
	}
	if o := ExplainIP(inner, nil); o.names() != "IPv6 > ICMPv6 > Echo Request" || o.Kind != Echo || SummaryIP(inner, nil) != o.Summary || KindOfIP(inner) != Echo {
		t.Errorf("without Ethernet: %s, %s, %q", o.names(), o.Kind, o.Summary)
	}
}

func TestChecksumsAreJudged(t *testing.T) {
	for _, s := range samples(t) {
		for _, l := range Explain(s.frame, nil).Layers {
			for _, f := range l.Fields {
				if strings.HasSuffix(strings.ToLower(f.Name), "checksum") && !strings.HasPrefix(l.Name, "Quoted") && s.name != "fragment" && f.Note != "right" {
					t.Errorf("%s: %s: %s is %q", s.name, l.Name, f.Name, f.Note)
				}
			}
		}
	}
	f := icmp6frame(host, router, 64, unhex(t, "80000000 00010001"))
	f[len(f)-1]++
	Explain(f, nil).wants(t, "spoilt", "wrong: a receiver drops the packet")
	u := udp4(port(outerA, 1), port(outerB, 2), []byte("x"))
	u[26], u[27] = 0, 0
	Explain(eth(u, hostHW, routerHW), nil).wants(t, "without", "not used: allowed over IPv4 only")
}

// Malformed input shows what could be read and says where it broke.
func TestBrokenFrames(t *testing.T) {
	frame := func(dst netip.Addr, body string) []byte { return icmp6frame(router, dst, 255, unhex(t, body)) }
	dhcp := func(s string) []byte {
		return eth(ip6pkt.UDP(router, host, 547, 546, 64, unhex(t, s)), routerHW, hostHW)
	}
	long := eth(ip6pkt.EchoRequest(global, server, 64, 1, 1), hostHW, routerHW)
	long[14+5] = 99
	for _, c := range []struct {
		name   string
		frame  []byte
		broken string
		shown  string
	}{
		{"nothing", nil, "Ethernet: cut short after 0 octets", "Cut short = after 0 octets"},
		{"IPv6 header", long[:30], "IPv6: cut short after 16 octets", "Hop limit = 64"},
		{"payload length", long, "IPv6: payload length 99, only 8 octets follow", "Sequence number = 1"},
		{"half an RA", frame(ra.AllNodes, "86000000 40c00708 0000"), "Router Advertisement: cut short after 6 octets", "Router lifetime = 1800 s (30 min)"},
		{"option of zero", frame(ra.AllNodes, "86000000 40000708 00000000 00000000 0501 0000 0000058c 0100 000000000000"), "Router Advertisement: option of length zero at octet 20", "MTU = 1420"},
		{"option past the end", frame(ra.AllNodes, "86000000 40000708 00000000 00000000 0304 0000 00000000"), "Router Advertisement: option 3 at octet 12 goes past the end", "Router lifetime = 1800 s"},
		{"codec refuses", frame(ra.AllNodes, "86000000 40000708 00000000 00000000 0501 0000 0000058c 0502 0000 0000058c 0000000000000000"), "", "this program skips the option: length is not 8 octets"},
		{"preferred over valid", frame(ra.AllNodes, "86000000 40000708 00000000 00000000 0304 40c0 00000001 00000002 00000000 20010db8 00000000 00000000 00000000"), "", "Valid lifetime = 1 s"},
		{"DHCPv6 option past the end", dhcp("07010203 00170010 2001"), "DHCPv6: a part is cut short", "Transaction ID = 0x010203"},
		{"DHCPv6 half an address", dhcp("07010203 00170008 20010db8 00000000 000e0000"), "DHCPv6: a part is cut short", "Rapid Commit = option 14"},
		{"DHCPv6 refused", dhcp("07010203 0052 0004 00000001"), "", "this program does not take it as it is: 1 is outside of 60 to 86400"},
		{"UDP length", eth(ip6pack(global, server, protoUDP, unhex(t, "13881770 00ff0000 68")), hostHW, routerHW), "UDP: length 255, only 9 octets are here", "Octets = 1"},
		{"TCP length", eth(ip6pack(global, server, protoTCP, make([]byte, 20)), hostHW, routerHW), "TCP: header length 0 is less than 20", "Window = 0"},
		{"TCP option", eth(tcp6(port(global, 1), port(server, 2), 2, unhex(t, "0204ffff 08ff0000"), nil), hostHW, routerHW), "TCP: a part is cut short", "Maximum segment size = 65535"},
		{"MLD records", frame(ra.AllRouters, "8f000000 00000009 04000000 ff020000 00000000 00000001 ff000002"), "a part is cut short", "Group = ff02::1:ff00:2"},
		{"DNS", eth(ip6pkt.UDP(server, global, 53, 5353, 64, unhex(t, "4242 8180 0001 0000 0000 0000 03777777")), routerHW, hostHW), "DNS: a part is cut short", "ID = 0x4242"},
		{"not IPv6", eth(slices.Concat([]byte{0x60}, make([]byte, 39)), hostHW, routerHW), "", "Next header = 0 (Hop-by-Hop Options)"},
	} {
		o := Explain(c.frame, nil)
		if (c.broken == "") != (o.Broken == "") && c.name != "not IPv6" || !strings.Contains(o.Broken, c.broken) {
			t.Errorf("%s: broken %q, want %q", c.name, o.Broken, c.broken)
		}
		o.wants(t, c.name, c.shown)
	}
}

func TestEveryLayerSaysWhatForAndWhere(t *testing.T) {
	rfc := regexp.MustCompile(`^(RFC \d+( section [\d.]+)?|WireGuard paper section [\d.]+)$`)
	for _, s := range samples(t) {
		at := map[int]int{}
		for _, l := range Explain(s.frame, nil).Layers {
			if !strings.HasSuffix(l.For, ".") || l.Name == "" || l.Fields == nil {
				t.Errorf("%s: %+v", s.name, l)
			}
			if l.RFC != "" && !rfc.MatchString(l.RFC) || l.RFC == "" && !strings.HasSuffix(l.Name, "Data") {
				t.Errorf("%s: %s: RFC %q", s.name, l.Name, l.RFC)
			}
			if l.Octets[0] != at[l.Buffer] {
				t.Errorf("%s: %s at %v, but the last one ended at %d", s.name, l.Name, l.Octets, at[l.Buffer])
			}
			at[l.Buffer] = l.Octets[1]
			for _, f := range l.Fields {
				if f.Name == "" || f.RFC != "" && !rfc.MatchString(f.RFC) {
					t.Errorf("%s: %s: %+v", s.name, l.Name, f)
				}
			}
		}
		if at[0] != len(s.frame) {
			t.Errorf("%s: %d of %d octets are explained", s.name, at[0], len(s.frame))
		}
	}
}

// The page's contract.
func TestJSON(t *testing.T) {
	b, err := json.Marshal(Explain(unhex(t, "ffffffffffff 00005e005302 9999"), nil))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"other","summary":"00:00:5e:00:53:02 → ff:ff:ff:ff:ff:ff","layers":[{"name":"Ethernet","short":"00:00:5e:00:53:02 → ff:ff:ff:ff:ff:ff","rfc":"RFC 2464 section 3",` +
		`"for":"Carries the packet to the next station on this wire, and no further.","fields":[{"name":"Destination","value":"ff:ff:ff:ff:ff:ff","note":"broadcast: all stations on the wire"},` +
		`{"name":"Source","value":"00:00:5e:00:53:02","note":"one station"},{"name":"Type","value":"0x9999","note":"what the frame carries"}],"octets":[0,14]}]}`
	if string(b) != want {
		t.Errorf("\n%s, want\n%s", b, want)
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[uint32]string{0: "0 s", 90: "90 s", 2700: "2700 s (45 min)", 5401: "5401 s (1 h 30 min)", 1209600: "1209600 s (14 d)", 90061: "90061 s (1 d 1 h)", 0xffffffff: "infinity"} {
		if got := seconds(s); got != want {
			t.Errorf("seconds(%d) = %q, want %q", s, got, want)
		}
	}
}

func TestKindAllocatesNothing(t *testing.T) {
	for _, s := range samples(t) {
		if s.name == "short" {
			continue // what is broken is said in words
		}
		if n := testing.AllocsPerRun(50, func() { KindOf(s.frame) }); n > 0 {
			t.Errorf("%s: %v allocations", s.name, n)
		}
	}
}

func BenchmarkKindOf(b *testing.B)  { bench(b, func(f []byte) { KindOf(f) }) }
func BenchmarkSummary(b *testing.B) { bench(b, func(f []byte) { Summary(f, nil) }) }
func BenchmarkExplain(b *testing.B) { bench(b, func(f []byte) { Explain(f, nil) }) }

func bench(b *testing.B, f func([]byte)) {
	list := samples(b)
	for i := 0; b.Loop(); i++ {
		f(list[i%len(list)].frame)
	}
}

// Any octets are explained: nothing panics, layers follow each other, text is text, the input is left alone.
func FuzzExplain(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.frame, false)
	}
	f.Add(ip6pkt.EchoRequest(global, server, 64, 1, 1), true)
	f.Fuzz(func(t *testing.T, b []byte, ip bool) {
		if len(b) > 4096 {
			return
		}
		in := bytes.Clone(b)
		explain, kind := Explain, KindOf
		if ip {
			explain, kind = ExplainIP, KindOfIP
		}
		open := func(d []byte) ([]byte, bool) { return d[16:], true } // as a simulated link has it
		o := explain(b, open)
		if !bytes.Equal(in, b) {
			t.Fatal("the input was changed")
		}
		if k := kind(b); k != o.Kind {
			t.Fatalf("kind %s and %s", o.Kind, k)
		}
		last := [3]int{}
		for _, l := range o.Layers {
			if l.Octets[0] != last[l.Buffer] || l.Octets[1] < l.Octets[0] || l.Octets[1] > len(b) {
				t.Fatalf("%s at %v of buffer %d, after %v", l.Name, l.Octets, l.Buffer, last)
			}
			last[l.Buffer] = l.Octets[1]
			for _, f := range l.Fields {
				for _, s := range []string{f.Name, f.Value, f.Note} {
					if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
						t.Fatalf("%s: %q in %+v", l.Name, s, f)
					}
				}
			}
		}
	})
}
