// SPDX-License-Identifier: MIT

package lab

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"oasis6/internal/underrace"
	"oasis6/lab/packet"
	"oasis6/lab/pcapng/pcapngtest"
	"oasis6/lab/wire"
)

// A wire's capture opens in Wireshark: with keys also what is in the tunnel, be it simulated or true.
func TestCapturesOpenInWireshark(t *testing.T) {
	for _, link := range []LinkKind{Sim, WG} {
		t.Run(string(link), func(t *testing.T) {
			if link == WG && underrace.Is {
				t.Skip("real time waits for nobody")
			}
			w := begun(t, Options{Seed: 1, Link: link})
			s := NewSource(w)
			capture := func(wire string, keys bool) []byte {
				var b bytes.Buffer
				if err := s.Pcap(&b, wire, keys); err != nil {
					t.Fatal(err)
				}
				return b.Bytes()
			}
			lan := pcapngtest.Tshark(t, capture("lan-h1", false))
			if !strings.Contains(lan, "Router Advertisement") || !strings.Contains(lan, "HTTP") {
				t.Errorf("on the LAN:\n%s", lan)
			}
			closed := pcapngtest.Tshark(t, capture("carrier", false))
			if strings.Contains(closed, "DHCPv6") || !strings.Contains(closed, "Handshake Initiation") {
				t.Errorf("at the carrier, without keys:\n%s", closed)
			}
			open := pcapngtest.Tshark(t, capture("carrier", true))
			for _, want := range []string{"Handshake Initiation", "DHCPv6", "Router Advertisement", "HTTP"} {
				if !strings.Contains(open, want) {
					t.Errorf("at the carrier, with keys, no %s:\n%s", want, open)
				}
			}
			if bad := pcapngtest.Tshark(t, capture("carrier", true), "-Y", "_ws.malformed"); bad != "" {
				t.Errorf("malformed:\n%s", bad)
			}
			if inside := pcapngtest.Tshark(t, capture(pipeOf(nodeR1), false)); !strings.Contains(inside, "DHCPv6") {
				t.Errorf("in the tunnel:\n%s", inside)
			}
			// The walk of a packet in the tunnel goes from h1 to www.
			for _, r := range w.rec.all(0, func(r *record) bool { return r.Wire == "lan-h1" && r.From == nodeH1 && len(r.Frame) > wire.Header+200 }) {
				walk, _ := w.rec.walk(r.id, w.Engine.Now(), func(string) string { return "" })
				if last := walk.Hops[len(walk.Hops)-1]; len(walk.Hops) > 5 && last.To != nodeWWW && last.To != nodeOnly && last.To != nodeDNS {
					t.Errorf("%s ends at %s", walk.Summary, last.To)
				}
			}
		})
	}
}

// A busy tunnel pushes its handshake out of what is kept of a wire, and opens all the same.
func TestCapturesOpenAfterAScan(t *testing.T) {
	w := begun(t, Options{Seed: 1})
	if err := w.scan(); err != nil {
		t.Fatal(err)
	}
	runFor(t, w, 10*time.Second)
	records := w.rec.all(0, func(r *record) bool { return r.Wire == "carrier" })
	if n := len(records); n < maxRecords || n > maxRecords+maxShakes {
		t.Fatalf("%d records", n)
	}
	if first := records[0]; packet.KindOf(first.Frame) != packet.Handshake || w.rec.get(first.id) != first {
		t.Errorf("the first is %s", packet.Summary(first.Frame, nil))
	}
	frames := make([][]byte, len(records))
	for i, r := range records {
		frames[i] = r.Frame
	}
	if secrets := w.seal(frames); len(secrets) == 0 {
		t.Error("no keys")
	}
	var b bytes.Buffer
	if err := NewSource(w).Pcap(&b, "carrier", true); err != nil {
		t.Fatal(err)
	}
	if open := pcapngtest.Tshark(t, b.Bytes(), "-Y", "wg && icmpv6"); strings.Count(open, "\n") < maxRecords/2 {
		t.Errorf("opened:\n%.2000s", open)
	}
}
