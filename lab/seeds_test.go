// SPDX-License-Identifier: MIT

package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"testing"
	"time"

	"oasis6/internal/underrace"
	"oasis6/lab/packet"
)

// fingerprint is a hash of all that was seen on the wires, decoded, and of the timeline.
func fingerprint(w *World, f func()) string {
	sum := sha256.New()
	w.rec.listen(func(r *record) {
		fmt.Fprintf(sum, "%d %s %s %s %s %s\n", r.At.Sub(start), r.Wire, r.From, packet.Summary(r.Frame, w.opener), r.Dropped, hex.EncodeToString(r.Frame))
	})
	f()
	for _, r := range w.rec.all(0, func(*record) bool { return true }) { // what nodes said comes after a frame has arrived
		fmt.Fprintf(sum, "%d %d %s %s %v\n", r.id, r.walk, r.decision, r.rfc, r.verdict)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		fmt.Fprintf(sum, "%d %s %s %s\n", e.At.Sub(start), e.Level, e.Node, e.Text)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// seeds are those that each scenario runs with, from and to but not with the last; OASIS6_SEEDS names others, as in 60-100.
func seeds(t *testing.T) (from, to uint64) {
	to = 100
	if testing.Short() {
		to = 3
	}
	if s := os.Getenv("OASIS6_SEEDS"); s != "" {
		if n, err := fmt.Sscanf(s, "%d-%d", &from, &to); n != 2 || err != nil || from >= to {
			t.Fatalf("OASIS6_SEEDS=%s: want two numbers, as in 60-100", s)
		}
	}
	return from, to
}

// twice: so many seeds are run again, to see that nothing but the seed counts.
const twice = 10

// Each scenario passes with every seed, and the same seed gives the same, to the last octet.
func TestScenariosDependOnTheSeedAlone(t *testing.T) {
	if underrace.Is {
		t.Skip("make lab-seeds runs it with a hundred seeds")
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			seen := map[string]bool{}
			begin := time.Now()
			from, to := seeds(t)
			for seed := from; seed < to; seed++ {
				var prints [2]string
				for i := range prints {
					if i == 1 && seed >= twice {
						prints[1] = prints[0]
						break
					}
					w, err := New(Options{Scenario: s.name, Seed: seed, Start: start})
					if err != nil {
						t.Fatal(err)
					}
					prints[i] = fingerprint(w, func() {
						ok, err := w.Engine.RunUntil(t.Context(), 20*time.Minute, w.script.over)
						if results, passed := w.script.all(); !ok || err != nil || !passed {
							t.Errorf("seed %d: %v, %v, %+v", seed, ok, err, results)
						}
					})
					w.Close()
				}
				if prints[0] != prints[1] {
					t.Errorf("seed %d gives two worlds", seed)
				}
				seen[prints[0]] = true
			}
			if uint64(len(seen)) != to-from {
				t.Errorf("%d seeds give %d worlds", to-from, len(seen))
			}
			t.Logf("seeds %d to %d in %v", from, to-1, time.Since(begin).Round(time.Millisecond))
		})
	}
}
