// SPDX-License-Identifier: MIT

package status

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

const server = "000100012a2b2c2d00005e005301"

// full sets every field, which TestSampleIsFull checks.
func full() Snapshot {
	return Snapshot{
		Version: "v1.0.0", Role: "run", UptimeS: 3723.5, Ready: true,
		Summary: "up: 2001:db8:ebbd:990a::/64 on br-lan",
		Tunnel: Tunnel{
			Interface: "oasis0", PublicKey: "E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=",
			LinkLocal: "fe80::9d23:9a19:b6c6:9d7c", MTU: 1420, State: "up",
			Peers: []Peer{{
				Name: "hub", PublicKey: "cqrT9TuDN3yAjRXprLVWYiH0tAgPxr8Np/HDIQ21+AM=",
				Endpoint: "198.51.100.2:51820", Carrier: "udp", HandshakeAgeS: 106,
				RxBytes: 1101005, TxBytes: 1080033,
			}},
		},
		Prefixes: []Prefix{{
			Prefix: "2001:db8:ebbd:990a::/64", Source: "dhcpv6", State: "bound",
			PreferredS: 2700, ValidS: 5400, T1S: 1350, T2S: 2160, Server: server,
		}, {
			Prefix: "2001:db8:ebbd:9a00::/56", Source: "dhcpv6", State: "bound",
			PreferredS: 2700, ValidS: 5400, T1S: 1350, T2S: 2160, Server: server,
		}},
		DHCPv6: &DHCPv6{
			State: "bound", DUID: "00040f0e0d0c0b0a09080706050403020100", Server: server, ServerAddress: "fe80::1",
			Next: "send Renew", NextS: 9.5, LastError: "server gives no prefix: Request: NoPrefixAvail: pool is empty",
			LastRefused: "Reconfigure is a replay", Confirmed: true, Reconfigure: true,
			IAs: []IA{{
				Type: "IA_PD", IAID: 1, State: "bound", Server: server, T1S: 1350, T2S: 2160, Next: "send Renew", NextS: 9.5,
				Prefixes: []IAPrefix{{Prefix: "2001:db8:ebbd:990a::/64", PreferredS: 2700, ValidS: 5400}},
			}, {
				Type: "IA_PD", IAID: 2, State: "bound", Server: server, T1S: 0, T2S: 2160, Next: "send Renew", NextS: 9.5,
				Prefixes: []IAPrefix{{Prefix: "2001:db8:ebbd:9a00::/56", Exclude: "2001:db8:ebbd:9aff::/64", PreferredS: 2700, ValidS: 5400}},
			}, {
				Type: "IA_PD", IAID: 3, State: "none", Wish: "::/48", Next: "send Renew", NextS: 9.5,
				LastError: "Request: NoPrefixAvail: pool is empty",
			}, {
				Type: "IA_NA", IAID: 1, State: "declining", Server: "000200007ed90a515606", T1S: Never, T2S: Never, Next: "send Decline", NextS: 1,
				Prefixes: []IAPrefix{{Prefix: "2001:db8:1::7", PreferredS: Never, ValidS: Never}},
			}},
			DNS: []string{"2001:db8:1::53"}, Search: []string{"lan.example"}, NTP: []string{"2001:db8:1::123", "ntp.example.net"},
			EncryptedDNS: []string{"dns.example.net"}, Sent: 3, Received: 2, Dropped: 1,
		},
		LANs: []LAN{{
			Interface: "br-lan", State: "up",
			Prefixes: []LANPrefix{
				{Prefix: "2001:db8:ebbd:990a::/64", Address: "2001:db8:ebbd:990a::1", PreferredS: 2700, ValidS: 5400, DHCPv6PD: true},
				{Prefix: "2001:db8:ebbd:9907::/64", PreferredS: 0, ValidS: 1800, Stale: true},
			},
			RouterLifetimeS: 1800, Managed: true, OtherConfig: true, Routes: []string{"2001:db8:ebbd:9a00::/56"},
			RDNSS: []string{"2001:db8:1::53"}, RDNSSSource: "dhcpv6", DNSSL: []string{"lan.example"},
			PREF64: "64:ff9b::/96", CaptivePortal: "https://portal.example/api", MTU: 1420, RASent: 12, RSReceived: 3,
			Dropped: map[string]uint64{"bad hop limit": 2, "bad checksum": 1, "too short": 0},
			DHCPv6: &LANServer{
				Mode: "stateful", Delegate: true, Error: "port 547 is taken by another program", Received: 9, Sent: 8,
				Bindings: []Binding{{
					Client: "0003000100005e005302", Address: "fe80::2", Type: "IA_PD", IAID: 7,
					Prefixes: []BindingLease{
						{Prefix: "2001:db8:ebbd:9a10::/60", PreferredS: 2700, ValidS: 5400},
						{Prefix: "2001:db8:ebbd:9b10::/60", ValidS: 1800, Stale: true},
					},
				}, {
					Client: "0003000100005e005303", Address: "fe80::3", Type: "IA_NA", IAID: 1,
					Prefixes: []BindingLease{{Prefix: "2001:db8:ebbd:990a::1:7", PreferredS: 2700, ValidS: 5400}},
				}},
			},
			Routers: []LANRouter{{
				Address: "fe80::99", MAC: "00:00:5e:00:53:99", RouterLifetimeS: 1800, Preference: "high", Prefixes: []string{"2001:db8:77::/64"}, SeenS: 12,
				Conflicts: []string{"its MTU is 1500, ours 1420", "its preference is higher: hosts use it first"},
			}},
			Hosts: []Host{{MAC: "00:00:5e:00:53:01", Addresses: []string{"2001:db8:ebbd:990a::10", "fe80::10"}, SeenS: 75.5}},
		}},
		Neighbors: Neighbors{Known: 12, Dropped: 9913, Entries: 700, Most: 1024},
		Build: Build{Dataplane: "userspace", Forwarding: &Forwarding{
			Flows: 31, Refused: map[string]uint64{"unsolicited": 17, "no route": 2}, Lost: map[string]uint64{"no room in the tunnel's queue": 4}, Silent: 5,
		}},
		Hub: &Hub{
			Pools: []Pool{{Prefix: "2001:db8:ebbd:9900::/56", Leases: 2}}, SitesUp: 1, Leases: 2,
			FormerPools: []FormerPool{{Prefix: "2001:db8:ebbd:9a00::/56", Leases: 1, ValidS: 1200}},
			Invitations: []Invitation{{Name: "museum", ExpiresS: 86000}}, Received: 17, Sent: 16,
			Dropped: map[string]uint64{"no Client Identifier": 1}, StoreError: "hub.db: no space left on device",
			NDAnswered: 12, SiteToSite: true, FirewallOpen: true,
		},
		Sites: []Site{{
			Name: "library", PublicKey: "E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=", LinkLocal: "fe80::9d23:9a19:b6c6:9d7c",
			Origin: "file", State: "up", Endpoint: "198.51.100.2:51820", HandshakeAgeS: 106, RxBytes: 1101005, TxBytes: 1080033,
			Flapping: true, Leases: []SiteLease{
				{Prefix: "2001:db8:ebbd:990a::/64", IAID: 1, DUID: "00040f0e0d0c0b0a09080706050403020100", State: "bound", PreferredS: 2700, ValidS: 5400},
				{Prefix: "2001:db8:ebbd:9a00::/64", IAID: 1, DUID: "00040f0e0d0c0b0a09080706050403020100", State: "stale", PreferredS: 0, ValidS: 1200, AtMost: true},
			},
		}, {
			PublicKey: "cqrT9TuDN3yAjRXprLVWYiH0tAgPxr8Np/HDIQ21+AM=", LinkLocal: "fe80::2", Origin: "joined", State: "never", HandshakeAgeS: Never,
		}},
		Problems: []string{"LAN br-guest does not exist: create it or take its section out of the file"},
		Events: []Event{
			{At: at("2026-11-23T12:00:00Z"), Level: "info", What: "prefix bound", Detail: "prefix=2001:db8:ebbd:990a::/64", Count: 1},
			{At: at("2026-11-23T12:30:00Z"), Level: "warn", What: "link down", Detail: "iface=br-lan", Count: 17},
		},
	}
}

// bound is a healthy box: one delegation, and nothing to say of it twice.
func bound() Snapshot {
	s := full()
	s.Prefixes, s.Problems, s.Events = s.Prefixes[:1], nil, nil
	s.Neighbors = Neighbors{Known: 12, Entries: 512, Most: 1024}
	d := *s.DHCPv6
	d.IAs = slices.Clone(d.IAs[:1])
	d.IAs[0].Wish = "::/64"
	d.NextS, d.IAs[0].NextS = 1350, 1350
	d.LastError, d.LastRefused, d.Dropped = "", "", 0
	s.DHCPv6 = &d
	s.LANs[0].DHCPv6.Error, s.LANs[0].Routers = "", nil // full makes its own each time
	return s
}

func empty() Snapshot {
	return Snapshot{Role: "run", Summary: "starting: no handshake yet", Tunnel: Tunnel{State: "connecting"}}
}

func TestSampleIsFull(t *testing.T) {
	seen := map[string]bool{} // by struct type and field: in a list one element is enough
	var visit func(v reflect.Value)
	visit = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			visit(v.Elem())
		case reflect.Slice:
			for i := range v.Len() {
				visit(v.Index(i))
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range v.NumField() {
				k := v.Type().Name() + "." + v.Type().Field(i).Name
				seen[k] = seen[k] || !v.Field(i).IsZero()
				visit(v.Field(i))
			}
		}
	}
	visit(reflect.ValueOf(full()))
	for k, set := range seen {
		if !set {
			t.Errorf("%s is not set in the sample", k)
		}
	}
}

func TestJSON(t *testing.T) {
	for name, s := range map[string]Snapshot{"full.json": full(), "empty.json": empty()} {
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(b, '\n'))
	}
}

func TestJSONHasNoNullAndLeavesTheSnapshotAlone(t *testing.T) {
	s := Snapshot{Hub: &Hub{}, Sites: []Site{{}}, DHCPv6: &DHCPv6{IAs: []IA{{}}}, LANs: []LAN{{Hosts: []Host{{}}, Routers: []LANRouter{{}}, DHCPv6: &LANServer{Bindings: []Binding{{}}}}}}
	text := func() string { return fmt.Sprintf("%#v %#v %#v", s, *s.DHCPv6, *s.LANs[0].DHCPv6) }
	before := text()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("null")) {
		t.Errorf("null in %s", b)
	}
	if after := text(); after != before {
		t.Errorf("snapshot changed from\n%s to\n%s", before, after)
	}
	var back Snapshot
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
}

func TestText(t *testing.T) {
	golden(t, "full.txt", []byte(Text(full())))
	golden(t, "bound.txt", []byte(Text(bound())))
	golden(t, "empty.txt", []byte(Text(empty())))

	s := empty()
	s.Summary = "starting: waiting for a prefix from the hub"
	s.Prefixes = []Prefix{{Source: "dhcpv6", State: "soliciting"}}
	s.DHCPv6 = &DHCPv6{State: "soliciting", Next: "send Solicit", NextS: 0.4, Sent: 1, IAs: []IA{{Type: "IA_PD", IAID: 1, State: "soliciting", Wish: "::/56"}}}
	s.Tunnel.Peers = []Peer{{PublicKey: "cqrT9TuDN3yAjRXprLVWYiH0tAgPxr8Np/HDIQ21+AM=", HandshakeAgeS: Never}}
	s.LANs = []LAN{{Interface: "br-lan", State: "missing"}}
	golden(t, "starting.txt", []byte(Text(s)))

	s.Prefixes = []Prefix{{Prefix: "2001:db8::/56", Source: "dhcpv6", State: "bound", PreferredS: Never, ValidS: Never, T1S: Never, T2S: Never}}
	if got, want := Text(s), "preferred for ever, valid for ever\n  renew: never, rebind never\n"; !strings.Contains(got, want) {
		t.Errorf("Text() = %s\nwant in it %q", got, want)
	}
}

// A lease of before the reboot is said to be one, as long as there is one.
func TestTextOfALeaseThatIsNotConfirmed(t *testing.T) {
	const want = "\n  lease: not confirmed since the reboot: hosts are told of it for 10 minutes at a time\n"
	s := bound()
	if strings.Contains(Text(s), "confirmed") {
		t.Errorf("Text() of a confirmed lease = %s", Text(s))
	}
	s.DHCPv6.Confirmed = false
	if got := Text(s); !strings.Contains(got, want) {
		t.Errorf("Text() = %s\nwant in it %q", got, want)
	}
	s.DHCPv6.IAs[0].Prefixes = nil
	if strings.Contains(Text(s), "confirmed") {
		t.Errorf("Text() without a lease = %s", Text(s))
	}
}

// An IA that the server has said something against gets its block, alone or not, and so does an address. What
// stands there does not stand in a block of its prefix again.
func TestTextShowsAnIAThatSaysMore(t *testing.T) {
	s := bound()
	if got := Text(s); strings.Contains(got, "\nia: ") || !strings.Contains(got, "\nprefix: 2001:db8:ebbd:990a::/64\n") || !strings.Contains(got, "\n  iaid: 1\n  wish: ::/64\n") {
		t.Errorf("Text() of one delegation = %s\nwant no block for its IA, IAID and wish all the same", got)
	}
	s.DHCPv6.IAs[0].LastError = "Renew: NoBinding"
	if got, want := Text(s), "\nia: IA_PD 1\n  state: bound\n  server: "+server+"\n  prefix: 2001:db8:ebbd:990a::/64, "; !strings.Contains(got, want) {
		t.Errorf("Text() = %s\nwant in it %q", got, want)
	}
	if got := Text(s); strings.Contains(got, "\nprefix: ") {
		t.Errorf("Text() = %s\nwant the prefix in the block of its IA only", got)
	}
	s.Prefixes = []Prefix{{Prefix: "2001:db8:ebbd:9900::/56", Source: "static", State: "static"}}
	s.DHCPv6.IAs = []IA{{Type: "IA_NA", IAID: 1, State: "bound", Server: server, Prefixes: []IAPrefix{{Prefix: "2001:db8:1::7", PreferredS: 60, ValidS: 120}}}}
	if got, want := Text(s), "\nia: IA_NA 1\n  state: bound\n  server: "+server+"\n  address: 2001:db8:1::7, preferred for 1 minute, valid for 2 minutes\n"; !strings.Contains(got, want) || !strings.Contains(got, "\nprefix: 2001:db8:ebbd:9900::/56\n") {
		t.Errorf("Text() = %s\nwant in it %q", got, want)
	}
}

// The schema lists the states; each but "bound" is explained.
func TestTextExplainsEveryState(t *testing.T) {
	states := readSchema(t).Defs["ia"].Properties["state"].Enum
	if len(states) != 12 {
		t.Errorf("%d states in the schema, want 12", len(states))
	}
	for _, s := range states {
		if got := stateWords(s); s != "bound" && !strings.HasPrefix(got, s+": ") {
			t.Errorf("stateWords(%q) = %q", s, got)
		}
	}
}

// The summary is the contract's first line; scripts read it with head -n 1.
func TestTextBeginsWithTheSummary(t *testing.T) {
	if got, _, _ := strings.Cut(Text(full()), "\n"); got != full().Summary {
		t.Errorf("first line %q, want %q", got, full().Summary)
	}
}

func TestTextKeepsTheTerminalWhole(t *testing.T) {
	s := full()
	s.LANs[0].DNSSL = []string{"evil\x1b[2J\r\n.example", "bad\xff"}
	got := Text(s)
	if strings.ContainsAny(got, "\x1b\r") || !utf8.ValidString(got) || strings.Contains(got, "\n.example") {
		t.Errorf("control characters pass: %q", got)
	}
}

// The kernel may refuse several things at once: joined errors are separated by line ends.
func TestTextShowsJoinedErrorsAsAList(t *testing.T) {
	s := empty()
	s.Summary = "degraded: the kernel refuses what the box needs: one\ntwo"
	if got, want := Text(s), "degraded: the kernel refuses what the box needs: one; two\n"; !strings.HasPrefix(got, want) {
		t.Errorf("Text() begins with %q, want %q", got[:min(len(got), 80)], want)
	}
}

func TestTextShowsTheLastEventsOnly(t *testing.T) {
	s := empty()
	for i := range 30 {
		s.Events = append(s.Events, Event{At: at("2026-11-23T12:00:00Z"), Level: "info", What: fmt.Sprintf("event %d.", i), Count: 1})
	}
	got := Text(s)
	for _, want := range []string{"(10 earlier ones in --json)", "event 10.", "event 29."} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	if strings.Contains(got, "event 9.") {
		t.Errorf("event 9 shows in %s", got)
	}
}

func TestUnits(t *testing.T) {
	for s, want := range map[float64]string{
		0: "0 seconds", 0.9: "0 seconds", 1: "1 second", 106: "1 minute, 46 seconds", 3600: "1 hour",
		90061: "1 day, 1 hour, 1 minute, 1 second", 172800: "2 days", -1: "ever", 1e300: "11574074 days, 1 hour, 46 minutes, 40 seconds",
	} {
		if got := duration(s); got != want {
			t.Errorf("duration(%v) = %q, want %q", s, got, want)
		}
	}
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 1101005: "1.05 MiB", 1 << 30: "1.00 GiB", 1 << 63: "8388608.00 TiB",
	} {
		if got := octets(n); got != want {
			t.Errorf("octets(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRemaining(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		u    lifetime.Until
		want float64
	}{
		{lifetime.Until{}, 0},
		{lifetime.Forever, Never},
		{lifetime.At(now.Add(-time.Hour)), 0},
		{lifetime.At(now.Add(1560 * time.Millisecond)), 1.6},
	} {
		if got := Remaining(c.u, now); got != c.want {
			t.Errorf("Remaining(%v) = %v, want %v", c.u, got, c.want)
		}
	}
}

func TestEventLogCountsRepetitions(t *testing.T) {
	var l EventLog
	t0 := at("2026-11-23T12:00:00Z")
	for i := range 10 {
		l.Add(t0.Add(time.Duration(2*i)*time.Second), note.Warn, "link down", "iface=br-lan")
		l.Add(t0.Add(time.Duration(2*i+1)*time.Second), note.Info, "link up", "iface=br-lan")
	}
	want := []Event{
		{At: t0.Add(18 * time.Second), Level: "warn", What: "link down", Detail: "iface=br-lan", Count: 10},
		{At: t0.Add(19 * time.Second), Level: "info", What: "link up", Detail: "iface=br-lan", Count: 10},
	}
	if d := cmp.Diff(want, l.Events()); d != "" {
		t.Errorf("Events() (-want +got):\n%s", d)
	}
}

func TestEventLogIsBounded(t *testing.T) {
	var l EventLog
	if got := l.Events(); got == nil || len(got) != 0 {
		t.Errorf("Events() of an empty log = %#v, want an empty list", got)
	}
	for i := range 10 * maxEvents {
		l.Add(time.Time{}, note.Error, "event", fmt.Sprint(i))
	}
	got := l.Events()
	if len(got) != maxEvents || got[0].Detail != "1800" || got[maxEvents-1].Detail != "1999" {
		t.Errorf("%d events from %s to %s, want %d from 1800 to 1999", len(got), got[0].Detail, got[len(got)-1].Detail, maxEvents)
	}
	got[0].Detail = "changed"
	if l.Events()[0].Detail == "changed" {
		t.Error("Events() gives the log's own memory away")
	}
}

// Far apart, the same event is news again: "prefix bound" of the morning must stay in the list.
func TestEventLogListsDistantRepetitions(t *testing.T) {
	var l EventLog
	l.Add(time.Time{}, note.Info, "prefix bound", "")
	for i := range mergeWindow {
		l.Add(time.Time{}, note.Info, "other", fmt.Sprint(i))
	}
	l.Add(time.Time{}, note.Info, "prefix bound", "")
	if got := l.Events(); len(got) != mergeWindow+2 || got[0].Count != 1 {
		t.Errorf("%d events, the first counted %d times; want %d and 1", len(got), got[0].Count, mergeWindow+2)
	}
}

func TestEventLogTakesNotesFromInfoUpward(t *testing.T) {
	var l EventLog
	for _, lv := range []note.Level{note.Debug, note.Info, note.Warn, note.Error} {
		l.AddNote(time.Time{}, note.New(lv, "note", "iface", "br-lan"))
	}
	var got []string
	for _, e := range l.Events() {
		got = append(got, e.Level+" "+e.What+" "+e.Detail)
	}
	want := []string{"info note iface=br-lan", "warn note iface=br-lan", "error note iface=br-lan"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
