// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"fmt"
	"time"

	"oasis6/lab/page"
)

// Outcome is how a step of the scenario went.
type Outcome struct {
	Name string
	RFC  string
	// State is page.Passed or page.Failed; of a step that has not been decided, page.Running or page.Waiting.
	State string
	Took  time.Duration // of lab time; 0 as long as it is not decided
	Text  string        // what was found
}

// finishWithin is lab time: no scenario is longer.
const finishWithin = 20 * time.Minute

// Finish runs the world until its scenario has ended, instead of Run, and tells of each step when it is decided. It says
// whether all have passed.
func (w *World) Finish(ctx context.Context, tell func(Outcome)) (passed bool, err error) {
	told := 0
	over, err := w.Engine.RunUntil(ctx, finishWithin, func() bool {
		over := w.script.over()
		for all := w.Outcomes(); told < len(all) && (all[told].State == page.Passed || all[told].State == page.Failed); told++ {
			tell(all[told])
		}
		return over
	})
	if err != nil {
		return false, err
	}
	if !over {
		return false, fmt.Errorf("the scenario has not come to its end within %v of lab time", finishWithin)
	}
	_, passed = w.script.all()
	return passed, nil
}

// Outcomes are those of all steps of the scenario, also of those that are still to come.
func (w *World) Outcomes() []Outcome {
	results, _ := w.script.all()
	out := make([]Outcome, len(results))
	for i, r := range results {
		out[i] = Outcome{Name: r.name, RFC: w.script.steps[i].rfc, State: r.state, Text: r.text}
		if !r.at.IsZero() {
			out[i].Took = r.at.Sub(r.begun)
		}
	}
	return out
}

// Scenario is the name of the scenario that the world plays.
func (w *World) Scenario() string { return w.opt.Scenario }

// Timeline is what has been said so far, oldest first.
func (w *World) Timeline() []page.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]page.Entry(nil), w.entries...)
}
