// SPDX-License-Identifier: MIT

package lab

import (
	"testing"

	"oasis6/lab/wire"
)

// What lessons and the pipe look at comes from everybody: no frame may confuse them.
func FuzzFramesForLessons(f *testing.F) {
	w, err := New(Options{Seed: 1, Start: start, Scenario: scenarioDownstream})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(w.Close)
	if passed, err := w.Finish(f.Context(), func(Outcome) {}); err != nil || !passed {
		f.Fatalf("%v, %v", passed, err)
	}
	for _, r := range w.rec.all(0, func(r *record) bool { return r.id%8 == 0 }) {
		f.Add(r.Frame, r.inner, uint8(r.id))
	}
	var judges []judge
	for _, l := range lessons() {
		judges = append(judges, l.begin(w))
	}
	pipes := newPipes(w)
	f.Fuzz(func(t *testing.T, frame, inner []byte, way uint8) {
		if len(frame) < wire.Header {
			return // a wire takes none
		}
		l := w.links[int(way/2)%len(w.links)]
		r := &record{id: 1, Passage: wire.Passage{Wire: l.id, From: l.a, To: l.b, Frame: frame}}
		if way%2 == 1 {
			r.From, r.To = r.To, r.From
		}
		if len(inner) > 0 {
			r.inner = inner
		}
		for _, j := range judges {
			j.see(r)
		}
		if x, ok := pipes.inside(r); ok && (x.Length > len(inner) || x.Kind == "" || x.Wire == "") {
			t.Errorf("%+v of %d octets", x, len(inner))
		}
	})
}
