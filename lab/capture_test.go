// SPDX-License-Identifier: MIT

package lab

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"oasis6/lab/wire"
)

// tshark reads a capture and gives its lines; it skips the test where there is no tshark.
func tshark(t *testing.T, capture []byte, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") != "" {
			t.Fatal(err)
		}
		t.Skip("no tshark: apt-get install tshark")
	}
	file := filepath.Join(t.TempDir(), "wire.pcapng")
	if err := os.WriteFile(file, capture, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, append([]string{"-n", "-r", file}, args...)...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return string(out)
}

// A wire's capture opens in Wireshark: with keys also what is in the tunnel, be it simulated or true.
func TestCapturesOpenInWireshark(t *testing.T) {
	for _, link := range []LinkKind{Sim, WG} {
		t.Run(string(link), func(t *testing.T) {
			if link == WG && underRace {
				t.Skip("real time waits for nobody")
			}
			w := newTestWorld(t, Options{Seed: 1, Link: link})
			finish(t, w)
			s := NewSource(w)
			capture := func(wire string, keys bool) []byte {
				var b bytes.Buffer
				if err := s.Pcap(&b, wire, keys); err != nil {
					t.Fatal(err)
				}
				return b.Bytes()
			}
			lan := tshark(t, capture("lan-h1", false))
			if !strings.Contains(lan, "Router Advertisement") || !strings.Contains(lan, "HTTP") {
				t.Errorf("on the LAN:\n%s", lan)
			}
			closed := tshark(t, capture("carrier", false))
			if strings.Contains(closed, "DHCPv6") || !strings.Contains(closed, "Handshake Initiation") {
				t.Errorf("at the carrier, without keys:\n%s", closed)
			}
			open := tshark(t, capture("carrier", true))
			for _, want := range []string{"Handshake Initiation", "DHCPv6", "Router Advertisement", "HTTP"} {
				if !strings.Contains(open, want) {
					t.Errorf("at the carrier, with keys, no %s:\n%s", want, open)
				}
			}
			if bad := tshark(t, capture("carrier", true), "-Y", "_ws.malformed"); bad != "" {
				t.Errorf("malformed:\n%s", bad)
			}
			if inside := tshark(t, capture(pipeOf(nodeR1), false)); !strings.Contains(inside, "DHCPv6") {
				t.Errorf("in the tunnel:\n%s", inside)
			}
			// The walk of a packet in the tunnel goes from h1 to www.
			for _, r := range w.rec.all(0, func(r *record) bool { return r.Wire == "lan-h1" && r.From == nodeH1 && len(r.Frame) > wire.Header+200 }) {
				walk, _ := w.rec.walk(r.id, func(string) string { return "" })
				if last := walk.Hops[len(walk.Hops)-1]; len(walk.Hops) > 5 && last.To != nodeWWW && last.To != nodeOnly && last.To != nodeDNS {
					t.Errorf("%s ends at %s", walk.Summary, last.To)
				}
			}
		})
	}
}
