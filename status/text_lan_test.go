// SPDX-License-Identifier: MIT

package status

import (
	"fmt"
	"strings"
	"testing"
)

// lanText is the block of one LAN.
func lanText(l LAN) string {
	s := empty()
	s.LANs = []LAN{l}
	_, block, _ := strings.Cut(Text(s), "\n\nlan: ")
	return block
}

func TestTextOfAQuietLAN(t *testing.T) {
	golden(t, "lan.txt", []byte(lanText(LAN{
		Interface: "br-guest", State: "up", RouterLifetimeS: 2700, OtherConfig: true, RDNSS: []string{"2001:db8:ebbd:990b::1"}, RDNSSSource: "self",
		Prefixes: []LANPrefix{
			{Prefix: "2001:db8:ebbd:990b::/64", Address: "2001:db8:ebbd:990b::1", PreferredS: 2700, ValidS: 5400},
			{Prefix: "fd00:db8:1:1::/64", Address: "fd00:db8:1:1::1", PreferredS: 2700, ValidS: 5400},
		},
		DHCPv6:  &LANServer{Mode: "stateless", Delegate: true, Received: 1, Sent: 1},
		Routers: []LANRouter{{Address: "fe80::7", Preference: "medium"}},
		Hosts:   []Host{{MAC: "00:00:5e:00:53:01"}, {MAC: "00:00:5e:00:53:02", Addresses: []string{"fe80::2"}, SeenS: 3600}},
	})))
}

// The whole of a full house is in the JSON form; the text form stays a page.
func TestTextOfAFullLANIsBounded(t *testing.T) {
	l := LAN{Interface: "br-lan", State: "up", DHCPv6: &LANServer{Mode: "stateful"}}
	for i := range textHosts + 3 {
		l.Hosts = append(l.Hosts, Host{MAC: fmt.Sprintf("00:00:5e:00:53:%02x", i)})
	}
	for i := range textBindings {
		l.DHCPv6.Bindings = append(l.DHCPv6.Bindings, Binding{Address: fmt.Sprintf("fe80::%x", i), Type: "IA_NA"})
	}
	got := lanText(l)
	if n := strings.Count(got, "\n  host: "); n != textHosts || !strings.HasSuffix(got, "\n  (3 more in --json)\n") {
		t.Errorf("%d hosts in %s\nwant %d and how many more", n, got, textHosts)
	}
	if n := strings.Count(got, "\n  binding: "); n != textBindings || strings.Count(got, "more in --json") != 1 {
		t.Errorf("%d bindings in %s\nwant all %d", n, got, textBindings)
	}
	l.Routers = make([]LANRouter, textRouters+2)
	if got := lanText(l); strings.Count(got, "\n  other router: ") != textRouters || !strings.Contains(got, "\n  (2 more in --json)\n") {
		t.Errorf("Text() = %s\nwant %d routers and how many more", got, textRouters)
	}
	l.DHCPv6.Bindings, l.Routers = append(l.DHCPv6.Bindings, Binding{}), nil
	if got := lanText(l); strings.Count(got, "\n  binding: ") != textBindings || !strings.Contains(got, "\n  (1 more in --json)\n  host: ") {
		t.Errorf("Text() = %s\nwant %d bindings and how many more", got, textBindings)
	}
}

// The schema lists the states; each but "up" is explained.
func TestTextExplainsEveryStateOfALAN(t *testing.T) {
	states := readSchema(t).Defs["lan"].Properties["state"].Enum
	if len(states) != 5 {
		t.Errorf("%d states in the schema, want 5", len(states))
	}
	for _, s := range states {
		if got := lanStateWords(s); s != "up" && !strings.HasPrefix(got, s+": ") {
			t.Errorf("lanStateWords(%q) = %q", s, got)
		}
	}
}

func TestTextSaysWhereDNSServersComeFrom(t *testing.T) {
	sources := readSchema(t).Defs["lan"].Properties["rdnss_source"].Enum
	want := map[string]string{
		"configured": "2001:db8::53 (configured)", "dhcpv6": "2001:db8::53 (learned by DHCPv6)",
		"ra": "2001:db8::53 (learned by Router Advertisements on the tunnel)", "self": "2001:db8::53 (this box)", "off": "none, ",
	}
	if len(sources) != len(want) {
		t.Errorf("%d sources in the schema, want %d", len(sources), len(want))
	}
	for _, source := range sources {
		l := LAN{RDNSS: []string{"2001:db8::53"}, RDNSSSource: source}
		if source == "off" {
			l.RDNSS = nil
		}
		if got := lanText(l); !strings.Contains(got, "\n  dns servers: "+want[source]) {
			t.Errorf("source %s: %s\nwant in it %q", source, got, want[source])
		}
	}
}

func TestTextSaysWhatHostsAskFor(t *testing.T) {
	for _, c := range []struct {
		m, o bool
		want string
	}{
		{false, false, ""}, {false, true, "configuration by DHCPv6"}, {true, false, "addresses by DHCPv6"},
		{true, true, "addresses by DHCPv6, configuration by DHCPv6"},
	} {
		if got := asked(c.m, c.o); got != c.want {
			t.Errorf("asked(%v, %v) = %q, want %q", c.m, c.o, got, c.want)
		}
	}
}

// A healthy table is nothing to read about; half full is the edge.
func TestTextOfNeighbors(t *testing.T) {
	for _, c := range []struct {
		n    Neighbors
		want []string
	}{
		{Neighbors{}, nil},
		{Neighbors{Known: 9, Entries: 1024}, nil}, // the limit is unknown
		{Neighbors{Known: 9, Entries: 512, Most: 1024}, nil},
		{Neighbors{Known: 9, Entries: 513, Most: 1024}, []string{"\nneighbors: 9 addresses of hosts known\n", "\n  table: 513 of 1024 entries, ", "gc_thresh3=2048\n"}},
		{Neighbors{Known: 9, Dropped: 1}, []string{"\n  dropped: 1 packets to addresses that no host is known to have, "}},
	} {
		s := empty()
		s.Neighbors = c.n
		got := Text(s)
		if len(c.want) == 0 && strings.Contains(got, "neighbors") {
			t.Errorf("Text() with %+v = %s\nwant nothing of them", c.n, got)
		}
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("Text() with %+v = %s\nwant in it %q", c.n, got, w)
			}
		}
	}
}

// A domain name in a DUID's place, a URI from a file, words of another router: none moves the cursor.
func TestTextOfALANKeepsTheTerminalWhole(t *testing.T) {
	const evil = "a\x1b[2J\r\nb"
	got := lanText(LAN{
		CaptivePortal: evil, Routes: []string{evil}, DHCPv6: &LANServer{Error: evil, Bindings: []Binding{{Address: evil}}},
		Routers: []LANRouter{{Address: evil, Conflicts: []string{evil}}}, Hosts: []Host{{MAC: evil}},
	})
	if strings.ContainsAny(got, "\x1b\r") || strings.Contains(got, "\nb") {
		t.Errorf("control characters pass: %q", got)
	}
}
