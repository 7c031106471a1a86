// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"sync"
	"time"

	"oasis6/lab/page"
)

// pollEvery is how often steps and lessons are looked at.
const pollEvery = 20 * time.Millisecond

// step is one of a scenario's: something is done, and then something becomes true.
type step struct {
	name   string
	rfc    string
	within time.Duration // of the begin of the step
	begin  func(*World) error
	// done says whether it is true, and what was found, in words.
	done func(*World) (ok bool, found string)
}

// result is how a step went.
type result struct {
	name  string
	state string // page.Waiting and so on
	begun time.Time
	at    time.Time // when it was decided
	text  string
}

// script runs the steps of a scenario one after the other, on the engine's goroutine. It ends with the first that fails.
type script struct {
	w     *World
	steps []step

	mu      sync.Mutex
	results []result
	now     int // index of the one that runs
	ended   bool
}

func newScript(w *World, steps []step) *script {
	s := &script{w: w, steps: steps}
	for _, x := range steps {
		s.results = append(s.results, result{name: x.name, state: page.Waiting})
	}
	s.ended = len(steps) == 0
	return s
}

// poll goes on as far as it can.
func (s *script) poll() {
	for !s.over() {
		s.mu.Lock()
		i, r := s.now, s.results[s.now]
		s.mu.Unlock()
		st := &s.steps[i]
		now := s.w.Engine.Now()
		if r.state == page.Waiting {
			r.state, r.begun = page.Running, now
			s.set(i, r)
			if st.begin != nil {
				if err := st.begin(s.w); err != nil {
					s.decide(i, r, page.Failed, err.Error())
					return
				}
			}
		}
		ok, found := st.done(s.w)
		switch {
		case ok:
			s.decide(i, r, page.Passed, found)
		case now.Sub(r.begun) >= st.within:
			s.decide(i, r, page.Failed, fmt.Sprintf("not within %v: %s", st.within, found))
		default:
			if found != r.text {
				r.text = found
				s.set(i, r)
			}
			return
		}
	}
}

func (s *script) set(i int, r result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[i] = r
}

func (s *script) decide(i int, r result, state, text string) {
	r.state, r.text, r.at = state, text, s.w.Engine.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[i] = r
	s.now++
	s.ended = state == page.Failed || s.now == len(s.steps)
}

// over says whether nothing is left to do.
func (s *script) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// all are the results so far; passed says whether all steps passed.
func (s *script) all() (results []result, passed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed = s.ended
	for _, r := range s.results {
		passed = passed && r.state == page.Passed
	}
	return append([]result(nil), s.results...), passed
}
