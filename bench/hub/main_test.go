// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// The whole bench in its smallest form: that it measures something, not what.
func TestSmallest(t *testing.T) {
	b := newBench(t, options{
		count: 50, alive: 10, settle: 100 * time.Millisecond, dir: t.TempDir(), rounds: 1, trial: time.Second, firstRate: 60, topRate: 60,
	})
	b.measure()
	var out strings.Builder
	b.write(&out)
	for _, want := range []string{"50 sites begin within", "one instant", "killed and started again", "50 sites with leases, 10 live", "bare WireGuard", "perfdhcp to Kea", "without sockets"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line about %q", want)
		}
	}
	t.Log("\n" + out.String())
}

func TestReportCountsWhatIsMissed(t *testing.T) {
	var r report
	r.add("told", "1 s", "", false)
	r.add("kept", "2 s", "≤ 3 s", true)
	r.add("missed", "4 s", "≤ 3 s", false)
	var out strings.Builder
	r.write(&out)
	if r.missed != 1 || strings.Count(out.String(), "pass") != 1 || strings.Count(out.String(), "MISSED") != 1 {
		t.Errorf("%d missed:\n%s", r.missed, out.String())
	}
}

func TestPerfReport(t *testing.T) {
	text, err := os.ReadFile("testdata/perfdhcp.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := perfReport(string(text))
	want := []exchange{{1999, 1998}, {1998, 1997}, {1994, 1990}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestClientIDIsFoundAmongOptions(t *testing.T) {
	m := dhcpv6.Message{Type: dhcpv6.Renew, XID: 7, ClientID: "0123456789", ServerID: "server-id-", IAs: []dhcpv6.IA{{IAID: 1}}}
	b := m.Append(nil)
	if got, ok := clientID(b); !ok || got != m.ClientID {
		t.Errorf("got %q %v, want %q", got, ok, m.ClientID)
	}
	for n := range len(b) {
		_, _ = clientID(b[:n]) // does not panic
	}
	if _, ok := clientID(b[:4]); ok {
		t.Error("a client in a message without options")
	}
}

func TestInPool(t *testing.T) {
	const text = "fe80::/64 dev oasis0\n2001:db8:4000::/48 unreachable\n2001:db8:4000:7::/64 dev oasis0 proto 66\n2001:db8:5000:7::/64 dev oasis0\n"
	if n := inPool(text); n != 1 {
		t.Errorf("%d prefixes, want 1", n)
	}
}
