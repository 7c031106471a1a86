// SPDX-License-Identifier: MIT

package device

import (
	"net/netip"
	"testing"
)

func from(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// One packet of 1400 octets from the box to the hub, through both devices.
func BenchmarkPacket(b *testing.B) {
	w, box, hub := established(b)
	p := ping(boxHost, hubHost, 1400)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		for _, d := range box.dev.Step(w.now, PacketOut{p}).Send {
			if a := hub.dev.Step(w.now, Received{box.at, d.Data}); a.Verdict != Delivered {
				b.Fatal(a.Verdict)
			}
		}
	}
}

// A packet costs its datagram and the lists that hold it, however long it is.
func TestAllocationsPerPacket(t *testing.T) {
	w, box, hub := established(t)
	p := ping(boxHost, hubHost, 1400)
	n := testing.AllocsPerRun(1000, func() {
		a := box.dev.Step(w.now, PacketOut{p})
		hub.dev.Step(w.now, Received{box.at, a.Send[0].Data})
	})
	if n > 6 {
		t.Errorf("%v allocations for a packet, want 6 at most", n)
	}
}
