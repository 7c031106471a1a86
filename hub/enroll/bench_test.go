// SPDX-License-Identifier: MIT

package enroll

import (
	"fmt"
	"testing"
	"time"

	"oasis6/internal/lifetime"
)

// What a join costs a hub with many sites: the list of peers is made anew.
func BenchmarkPeers(b *testing.B) {
	w := newWorld(nil)
	for n := range uint64(10000) {
		k := testKey(n + 100)
		w.s.putJoined(k, &site{name: fmt.Sprint(n), key: k, link: k.LinkLocal()})
	}
	for b.Loop() {
		if len(w.s.Peers()) != 10000 {
			b.Fatal("peers are missing")
		}
	}
}

// What a poll costs a hub with many sites and open invitations: most sites are nobody's that waits.
func BenchmarkSeen(b *testing.B) {
	w := newWorld(nil)
	for n := range uint64(MaxInvitations) {
		k := testKey(n + 100)
		w.s.putInvitation(k, &invitation{name: fmt.Sprint(n), key: k, link: k.LinkLocal(), until: lifetime.At(w.now.Boot.Add(time.Hour)), expires: w.now.Wall.Add(time.Hour)})
	}
	for b.Loop() {
		w.s.Step(w.now, Seen{Key: testKey(7), Age: time.Second})
	}
}
