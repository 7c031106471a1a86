// SPDX-License-Identifier: MIT

package page

import (
	"testing"
	"time"

	"oasis6/lab/packet"
)

func at(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }

func packets(first uint64, n int, kind packet.Kind) []Packet {
	out := make([]Packet, n)
	for i := range out {
		out[i] = Packet{ID: first + uint64(i), Kind: kind}
	}
	return out
}

func TestPacketsGoAtMostTwentyTimesASecond(t *testing.T) {
	var o outbox
	o.add(Update{Packets: packets(1, 2, packet.RA)})
	if b := o.takePackets(at(0)); b == nil || len(b.Packets) != 2 {
		t.Fatalf("first batch %v, want both packets at once", b)
	}
	o.add(Update{Packets: packets(3, 1, packet.RA)})
	if b := o.takePackets(at(packetsPeriod - 1)); b != nil {
		t.Errorf("a batch %v just before the period is over", b)
	}
	if w := o.wake(); w.After(at(packetsPeriod)) {
		t.Errorf("wakes at %v, want no later than %v", w, at(packetsPeriod))
	}
	if b := o.takePackets(at(packetsPeriod)); b == nil || len(b.Packets) != 1 {
		t.Errorf("batch %v when the period is over, want one packet", b)
	}
	if b := o.takePackets(at(time.Minute)); b != nil {
		t.Errorf("batch %v with nothing to tell", b)
	}
}

func TestFloodHidesNoOtherKind(t *testing.T) {
	var o outbox
	o.add(Update{Packets: packets(1, 700, packet.Echo)})
	o.add(Update{Packets: packets(701, 1, packet.RA), Missed: 3})
	o.add(Update{Packets: packets(702, 700, packet.Data)})
	o.add(Update{Packets: packets(1402, 4, packet.DHCPv6)})
	b := o.takePackets(at(0))
	kinds := map[packet.Kind]int{}
	last := uint64(0)
	for _, p := range b.Packets {
		kinds[p.Kind]++
		if p.ID <= last {
			t.Errorf("packet %d after %d: out of order", p.ID, last)
		}
		last = p.ID
	}
	if len(b.Packets) != maxBatch || kinds[packet.RA] != 1 || kinds[packet.DHCPv6] != 4 || kinds[packet.Echo] != 10 || kinds[packet.Data] != 10 {
		t.Errorf("%d packets %v, want %d with the RA, all DHCPv6, and the rest in halves", len(b.Packets), kinds, maxBatch)
	}
	if want := uint64(1405 - maxBatch + 3); b.Hidden != want {
		t.Errorf("hidden %d, want %d", b.Hidden, want)
	}
}

func TestDroppedPacketsAreNotThinnedWithTheirKind(t *testing.T) {
	var o outbox
	ps := packets(1, 500, packet.TCP)
	ps[250].Dropped = true
	o.add(Update{Packets: ps})
	seen := false
	for _, p := range o.takePackets(at(0)).Packets {
		seen = seen || p.Dropped
	}
	if !seen {
		t.Error("the one dropped packet of 500 is not told")
	}
}

func TestFloodIsBounded(t *testing.T) {
	var o outbox
	for i := range 1000 {
		o.add(Update{Packets: packets(uint64(i*100+1), 100, packet.TCP)})
		if len(o.packets) > maxPending {
			t.Fatalf("%d packets wait, want at most %d", len(o.packets), maxPending)
		}
	}
	b := o.takePackets(at(0))
	if got := uint64(len(b.Packets)) + b.Hidden; got != 100000 {
		t.Errorf("told and hidden are %d, want all 100000", got)
	}
}

func TestNothingIsToldTwice(t *testing.T) {
	o := outbox{mark: Mark{Log: 5, Packet: 10}}
	o.add(Update{Packets: packets(9, 3, packet.RA), Log: []Entry{{ID: 5}, {ID: 6}}})
	o.add(Update{Packets: packets(10, 3, packet.RA), Log: []Entry{{ID: 6}, {ID: 7}}})
	if b := o.takePackets(at(0)); len(b.Packets) != 2 || b.Packets[0].ID != 11 || b.Packets[1].ID != 12 {
		t.Errorf("packets %v, want 11 and 12", b.Packets)
	}
	if l := o.takeLog(); len(l) != 2 || l[0].ID != 6 || l[1].ID != 7 {
		t.Errorf("log %v, want 6 and 7", l)
	}
}

func TestStateGoesTenTimesASecondOnChangeElseFour(t *testing.T) {
	var o outbox
	if !o.takeState(at(0)) {
		t.Fatal("no state for a page that comes")
	}
	if o.takeState(at(idlePeriod - 1)) {
		t.Error("looked at the state without a change just before the idle period was over")
	}
	if got := o.wake(); !got.Equal(at(idlePeriod)) {
		t.Errorf("wakes at %v, want %v", got, at(idlePeriod))
	}
	o.add(Update{Changed: true})
	if o.takeState(at(statePeriod - 1)) {
		t.Error("a change told before the period was over")
	}
	if got := o.wake(); !got.Equal(at(statePeriod)) {
		t.Errorf("with a change wakes at %v, want %v", got, at(statePeriod))
	}
	if !o.takeState(at(statePeriod)) {
		t.Error("a change not told when the period was over")
	}
	if !o.takeState(at(statePeriod + idlePeriod)) {
		t.Error("state not looked at when the idle period was over")
	}
}
