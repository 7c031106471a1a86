// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// stepTimes are the steps that --once has printed: which one of how many, how it went, how long it took.
var stepTimes = regexp.MustCompile(`(?m)^ *(\d+)/(\d+) (\S+) +(\d+\.\d{3}) s  \S`)

func TestDemoOnce(t *testing.T) {
	r := oasis6(t, "", "demo", "--once")
	if r.code != exitDone || !strings.Contains(r.stdout, "(link wg, in real time)") {
		t.Errorf("%+v", r)
	}
	wantSteps(t, r.stdout)
}

// wantSteps wants each step in its turn, passed, and with its time, and the sum.
func wantSteps(t *testing.T, out string) {
	t.Helper()
	steps := stepTimes.FindAllStringSubmatch(out, -1)
	if len(steps) < 6 {
		t.Errorf("%d steps in:\n%s", len(steps), out)
	}
	for i, s := range steps {
		if s[1] != strconv.Itoa(i+1) || s[2] != strconv.Itoa(len(steps)) || s[3] != "passed" {
			t.Errorf("step %d of %d: %q", i+1, len(steps), s[0])
		}
	}
	if last := fmt.Sprintf("\nall %d steps passed, in ", len(steps)); !strings.Contains(out, last) {
		t.Errorf("no %q in:\n%s", last, out)
	}
}

// A seed is for the world that depends on nothing else.
func TestDemoTakesSeedsForSimulatedLinks(t *testing.T) {
	for range 2 {
		r := oasis6(t, "", "demo", "--once", "--seed", "7")
		if r.code != exitDone || !strings.Contains(r.stdout, "(link sim, seed 7)") {
			t.Errorf("%+v", r)
		}
		wantSteps(t, r.stdout)
	}
}

func TestDemoIsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }() // nobody connects
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--scenario", "ipv6-only"}, exitUsage, "scenario ipv6-only is not available: NAT64 is not in this version"},
		{[]string{"--scenario", "udp-blocked"}, exitUsage, "scenario udp-blocked is not available: the TLS carrier is not"},
		{[]string{"--scenario", "reboot-1970"}, exitUsage, "scenario reboot-1970 is not available: setting the clock is not"},
		{[]string{"--once", "--scenario", "roam"}, exitUsage, "scenario roam is not available: roaming of the box is not"},
		{[]string{"--scenario", "nonsense"}, exitUsage, `no scenario "nonsense": there are split-tunnel, `},
		{[]string{"--scenario", ""}, exitUsage, `no scenario "": there are split-tunnel, `},
		{[]string{"--scenario"}, exitUsage, "--scenario needs NAME"},
		{[]string{"--seed", "x"}, exitUsage, "--seed x: want a number"},
		{[]string{"--seed", "-1"}, exitUsage, "--seed -1: want a number"},
		{[]string{"--seed", "18446744073709551616"}, exitUsage, "want a number from 0 to 18446744073709551615"},
		{[]string{"--seed", "1", "--link", "wg"}, exitUsage, "only with --link sim"},
		{[]string{"--once", "--link", "wg", "--seed", "0"}, exitUsage, "only with --link sim"},
		{[]string{"--link", "ipsec"}, exitUsage, "want sim or wg"},
		{[]string{"--speed", "2"}, exitUsage, "no option --speed"},
		{[]string{"--once", "--listen", "localhost:1"}, exitUsage, "no page to listen for"},
		{[]string{"--listen", "192.0.2.1:8066"}, exitUsage, "not on this machine alone"},
		{[]string{"--listen", "[::]:8066"}, exitUsage, "not on this machine alone"},
		{[]string{"--listen", ":8066"}, exitUsage, "not on this machine alone"},
		{[]string{"--listen", "127.0.0.1"}, exitUsage, "give HOST:PORT"},
		{[]string{"--listen", "127.0.0.1:99999"}, exitUsage, "give HOST:PORT"},
		{[]string{"--listen", taken.Addr().String()}, exitFailed, "is another demo running, or does it need another port?"},
		{[]string{"x"}, exitUsage, "takes no words"},
	} {
		r := oasis6(t, "", append([]string{"demo"}, c.args...)...)
		if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v, want exit code %d and %q", c.args, r, c.code, c.want)
		}
	}
}

func TestDemoListsScenarios(t *testing.T) {
	r := oasis6(t, "", "demo", "--list")
	for _, want := range []string{
		"split-tunnel ", "renumber ", "nat-rebind ", "tunnel-down ", "rogue-ra ", "duplicate-address ", "mtu ", "neighbour-scan ",
		"two-sites ", "downstream-router ",
	} {
		if line := listed(r.stdout, want); line == "" || strings.Contains(line, "not available") {
			t.Errorf("%s: %q", want, line)
		}
	}
	for _, want := range []string{"roam ", "udp-blocked ", "reboot-1970 ", "ipv6-only "} {
		if line := listed(r.stdout, want); !strings.Contains(line, "(not available: ") {
			t.Errorf("%s: %q", want, line)
		}
	}
}

// listed is the line that begins so.
func listed(list, begin string) string {
	for line := range strings.Lines(list) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	return ""
}
