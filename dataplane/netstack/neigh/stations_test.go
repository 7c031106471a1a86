// SPDX-License-Identifier: MIT

package neigh

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
)

// counted are the stations as a look at all entries finds them.
func (b *bench) counted() map[MAC]int {
	out := map[MAC]int{}
	for _, e := range b.t.entries {
		if e.rank == rankKnown {
			out[e.mac]++
		}
	}
	return out
}

// The stations are always those of the entries.
func TestStationsAgreeWithTheEntries(t *testing.T) {
	for seed := range uint64(20) {
		r, b := rand.New(rand.NewPCG(seed, 7)), newBench(t)
		macs := []*MAC{&hers, &his, nil}
		at := time.Duration(0)
		for step := range 500 {
			a := numbered(r.IntN(6))
			switch r.IntN(8) {
			case 0, 1:
				b.resolve(a, "x")
			case 2, 3, 4:
				flags := []byte{0, flagSolicited, flagOverride, flagSolicited | flagOverride}[r.IntN(4)]
				b.hear(na(a, flags, macs[r.IntN(3)]))
			case 5:
				b.hear(message4861(typeNS, a, ip6pkt.SolicitedNode(me), me, 0, macs[r.IntN(2)]))
			case 6:
				at += time.Duration(r.IntN(40)) * time.Second
				b.at(at.String())
			default:
				b.lookup(a)
				if r.IntN(30) == 0 {
					b.t.Flush()
				}
			}
			got := map[MAC]int{}
			for m, s := range b.t.stations {
				got[m] = s.entries
			}
			if want := b.counted(); !maps.Equal(got, want) {
				t.Fatalf("seed %d, step %d: stations %v, want %v", seed, step, got, want)
			}
		}
	}
}

// A station that has answered has its own measure; from its address, to us alone, it may say all.
func TestAdmits(t *testing.T) {
	b := newBench(t)
	alone := message4861(typeNS, host, me, me, 0, &hers)
	forged := message4861(typeNS, numbered(1), me, me, 0, &hers)
	group := message4861(typeNS, host, ip6pkt.SolicitedNode(me), me, 0, &hers)
	admits := func(pkt []byte, mac MAC, n int) string {
		count := 0
		known := false
		for range n {
			var ok bool
			if ok, known = b.t.Admits(b.now, pkt, mac); ok {
				count++
			}
		}
		return fmt.Sprint(count, " ", known)
	}
	b.wants("a stranger", admits(alone, hers, 1), "0 false")
	b.hear(group) // heard is not answered
	b.wants("who was heard", admits(alone, hers, 1), "0 false")
	b.resolve(host, "x")
	b.at("5s")
	b.hear(na(host, flagSolicited|flagOverride, &hers))
	b.wants("to us alone", admits(alone, hers, 2000), "2000 true")
	b.wants("from another address", admits(forged, hers, 2000), fmt.Sprint(stationBurst, " true"))
	b.wants("to all", admits(group, hers, 10), "0 true")
	b.wants("to us alone", admits(alone, hers, 10), "10 true")
	b.wants("another station", admits(alone, his, 1), "0 false")
	b.now = b.now.Add(time.Second)
	b.wants("a second later", admits(group, hers, 2000), "100 true")
	b.hear(na(host, flagOverride, &his)) // the address moves
	b.wants("who had it", admits(alone, hers, 1), "0 false")
	b.wants("who has it", admits(alone, his, 2000), "2000 true")
}
