// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// suboption is one suboption of an NTP Server option.
func suboption(code OptionCode, v []byte) []byte { return appendOption(nil, code, v) }

func addrSuboption(code OptionCode, addr string) []byte {
	return suboption(code, netip.MustParseAddr(addr).AsSlice())
}

// ntpText is what the servers of a message are, for comparison.
func ntpText(servers []NTPServer) string {
	var out []string
	for _, s := range servers {
		if s.Addr.IsValid() == (s.Name != "") {
			out = append(out, fmt.Sprintf("%+v is neither or both", s))
		} else if s.Addr.IsValid() {
			out = append(out, s.Addr.String())
		} else {
			out = append(out, s.Name)
		}
	}
	return strings.Join(out, " ")
}

// Each row is one NTP Server option; a server with 2001:db8::1 follows in the same option where it can.
func TestRFC5908_4_NTPServer(t *testing.T) {
	good := addrSuboption(ntpServerAddr, "2001:db8::1")
	for _, tc := range []struct {
		name    string
		v       []byte
		want    string
		problem string
	}{
		{"address", good, "2001:db8::1", ""},
		{"unique local", addrSuboption(ntpServerAddr, "fd00::1"), "fd00::1", ""},
		{"multicast", addrSuboption(ntpMulticastAddr, "ff05::101"), "ff05::101", ""},
		{"name", suboption(ntpServerName, []byte("\x03NTP\x07example\x00")), "ntp.example", ""},
		{"all in one option", slices.Concat(suboption(ntpServerName, []byte("\x03ntp\x07example\x00")),
			addrSuboption(ntpMulticastAddr, "ff05::101"), good), "ntp.example ff05::101 2001:db8::1", ""},
		{"unknown suboption", slices.Concat(suboption(4, []byte{1, 2}), good), "2001:db8::1", ""},
		{"empty option", nil, "", "NTP Server option at offset 4: is empty"},
		{"address of 15 octets", slices.Concat(suboption(ntpServerAddr, make([]byte, 15)), good), "2001:db8::1", "suboption 1: an address has 16 octets"},
		{"two addresses in one", slices.Concat(suboption(ntpServerAddr, make([]byte, 32)), good), "2001:db8::1", "suboption 1: an address has 16 octets"},
		{"multicast of 0 octets", slices.Concat(suboption(ntpMulticastAddr, nil), good), "2001:db8::1", "suboption 2: an address has 16 octets"},
		{"link-local", slices.Concat(addrSuboption(ntpServerAddr, "fe80::1"), good), "2001:db8::1", "fe80::1 cannot be a server"},
		{"unspecified", slices.Concat(addrSuboption(ntpServerAddr, "::"), good), "2001:db8::1", ":: cannot be a server"},
		{"loopback", slices.Concat(addrSuboption(ntpServerAddr, "::1"), good), "2001:db8::1", "::1 cannot be a server"},
		{"IPv4-mapped", slices.Concat(addrSuboption(ntpServerAddr, "::ffff:192.0.2.1"), good), "2001:db8::1", "cannot be a server"},
		{"multicast as address", slices.Concat(addrSuboption(ntpServerAddr, "ff05::101"), good), "2001:db8::1", "ff05::101 cannot be a server"},
		{"address as multicast", slices.Concat(addrSuboption(ntpMulticastAddr, "2001:db8::2"), good), "2001:db8::1", "2001:db8::2 is not multicast"},
		{"compressed name", slices.Concat(suboption(ntpServerName, []byte("\x03ntp\xc0\x00")), good), "2001:db8::1", "compression"},
		{"name without end", slices.Concat(suboption(ntpServerName, []byte("\x03ntp")), good), "2001:db8::1", "a name has no end"},
		{"empty name", slices.Concat(suboption(ntpServerName, nil), good), "2001:db8::1", "a name has no end"},
		{"root", slices.Concat(suboption(ntpServerName, []byte{0}), good), "2001:db8::1", "the root is no name to use"},
		{"two names", slices.Concat(suboption(ntpServerName, []byte("\x01a\x00\x01b\x00")), good), "2001:db8::1", "octets follow the name"},
		{"name with a newline", slices.Concat(suboption(ntpServerName, []byte("\x01\n\x00")), good), "2001:db8::1", "letter"},
		{"suboption past the end", slices.Concat(good, []byte{0, 1, 0, 16, 1}), "2001:db8::1", "suboption 1: length 16, only 1 octets are left"},
		{"half a header", slices.Concat(good, []byte{0, 1, 0}), "2001:db8::1", "3 octets are left"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, problems := mustParse(t, replyWith(option(OptionNTPServer, tc.v...)))
			if got := ntpText(m.NTP); got != tc.want {
				t.Errorf("servers = %q, want %q", got, tc.want)
			}
			wantOne(t, problems, tc.problem)
		})
	}
}

// "This option can appear multiple times in a DHCPv6 message", and "MUST include one, and only one, time
// source suboption": that is how we write it.
func TestRFC5908_4_OneOptionForEachServer(t *testing.T) {
	servers := []NTPServer{{Name: "ntp.example"}, {Addr: netip.MustParseAddr("2001:db8::1")}, {Addr: netip.MustParseAddr("ff05::101")},
		{}, {Name: "no name"}, {Addr: netip.MustParseAddr("192.0.2.1")}}
	b := Message{Type: Reply, NTP: servers}.Append(nil)
	want := slices.Concat([]byte{byte(Reply), 0, 0, 0},
		option(OptionNTPServer, suboption(ntpServerName, []byte("\x03ntp\x07example\x00"))...),
		option(OptionNTPServer, addrSuboption(ntpServerAddr, "2001:db8::1")...),
		option(OptionNTPServer, addrSuboption(ntpMulticastAddr, "ff05::101")...))
	if !slices.Equal(b, want) {
		t.Errorf("written as %x\nwant       %x", b, want)
	}
	m, problems := mustParse(t, b)
	if got := ntpText(m.NTP); got != "ntp.example 2001:db8::1 ff05::101" || problems != nil {
		t.Errorf("read as %q, problems %v", got, problems)
	}
}

func TestRFC5908_4_BoundedServers(t *testing.T) {
	many := slices.Repeat(addrSuboption(ntpServerAddr, "2001:db8::1"), 100)
	m, problems := mustParse(t, replyWith(option(OptionNTPServer, many...), option(OptionNTPServer, many...)))
	if len(m.NTP) != maxNTPServers || len(problems) != 2 {
		t.Errorf("%d servers, problems %v", len(m.NTP), problems)
	}
}
