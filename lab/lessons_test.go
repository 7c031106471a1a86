// SPDX-License-Identifier: MIT

package lab

import (
	"strings"
	"testing"
	"time"

	"oasis6/internal/underrace"
	"oasis6/lab/page"
)

// pupilWorld is a world after its scenario, with a source.
func pupilWorld(t *testing.T, scenario string) (*World, *Source) {
	t.Helper()
	w := newTestWorld(t, Options{Seed: 1, Scenario: scenario})
	s := NewSource(w)
	finish(t, w)
	return w, s
}

func (s *Source) lesson(id string) page.LessonState {
	for _, l := range s.class.states() {
		if l.ID == id {
			return l
		}
	}
	return page.LessonState{}
}

// runs lets d pass, or less if the lesson is passed before.
func runs(t *testing.T, s *Source, id string, d time.Duration) {
	t.Helper()
	if _, err := s.w.Engine.RunUntil(t.Context(), d, func() bool { return s.lesson(id).Passed }); err != nil {
		t.Fatal(err)
	}
}

// press is a button, on the goroutine of the test, which runs the engine.
func press(t *testing.T, s *Source, action, target, arg string) {
	t.Helper()
	if err := s.w.press(page.Action{Action: action, Target: target, Arg: arg}); err != nil {
		t.Fatalf("%s: %v", action, err)
	}
}

// tasks are what a pupil does for each lesson.
func tasks() map[string]func(*testing.T, *Source, func(time.Duration)) {
	return map[string]func(*testing.T, *Source, func(time.Duration)){
		"split-tunnel": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doPing, "h1", "v4")
			wait(time.Second)
			press(t, s, doPing, "h1", "v6")
			wait(time.Second)
		},
		"address-plan": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doRenumber, "", "")
			wait(20 * time.Second)
		},
		"prefix-delegation": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doReboot, nodeR1, "")
			wait(time.Minute)
		},
		"slaac": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doCable, "lan-h2", "")
			wait(time.Second)
			press(t, s, doCable, "lan-h2", "")
			wait(20 * time.Second)
		},
		"dad": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doDuplicate, "h2", "")
			wait(20 * time.Second)
		},
		"redirect": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doRenumber, "", "") // whom h2 was redirected to before has another address then
			wait(30 * time.Second)
			press(t, s, doPing, "h2", "h3")
			wait(2 * time.Second)
			press(t, s, doPing, "h2", "h3")
			wait(2 * time.Second)
		},
		"link-local": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doTunnel, "", "")
			wait(2 * time.Minute)
			press(t, s, doPing, "h1", "ll")
			wait(time.Second)
		},
		"neighbour-limits": func(t *testing.T, s *Source, wait func(time.Duration)) {
			press(t, s, doScan, "", "")
			wait(time.Second)
			press(t, s, doPing, "h1", "v6")
			wait(10 * time.Second)
		},
		"route-flapping": func(t *testing.T, s *Source, wait func(time.Duration)) {
			for range flaps {
				press(t, s, doTunnel, "", "")
				wait(5 * time.Second)
				press(t, s, doTunnel, "", "")
				wait(2 * time.Second)
			}
			press(t, s, doPing, "h2", "v6")
			wait(5 * time.Second)
		},
	}
}

// Who does the task passes, and nobody else.
func TestLessons(t *testing.T) {
	for _, l := range lessons() {
		t.Run(l.id, func(t *testing.T) {
			w, s := pupilWorld(t, l.scenario)
			do := tasks()[l.id]
			if do == nil {
				t.Fatal("nobody does its task")
			}
			if !underrace.Is { // it takes its time
				do(t, s, func(d time.Duration) { runs(t, s, "", d) })
				if st := s.lesson(l.id); st.Started || st.Passed {
					t.Errorf("it was not started, and yet: %+v", st)
				}
				if w.isCut() {
					press(t, s, doTunnel, "", "")
				}
				runs(t, s, "", 2*time.Minute)
			}
			if err := s.class.start(l.id); err != nil {
				t.Fatal(err)
			}
			runs(t, s, l.id, time.Minute)
			if st := s.lesson(l.id); !st.Started || st.Passed || st.Progress == "" || st.Text == "" || st.Task == "" {
				t.Errorf("a minute in which nobody does anything: %+v", st)
			}
			do(t, s, func(d time.Duration) { runs(t, s, l.id, d) })
			if st := s.lesson(l.id); !st.Passed {
				t.Errorf("the task was done: %s", st.Progress)
			}
		})
	}
}

// An interruption that hosts have to be told of does not count, and those before it count no more.
func TestFlappingLessonNeedsShortInterruptions(t *testing.T) {
	_, s := pupilWorld(t, "")
	if err := s.class.start("route-flapping"); err != nil {
		t.Fatal(err)
	}
	cut := func(d time.Duration) {
		press(t, s, doTunnel, "", "")
		runs(t, s, "", d)
		press(t, s, doTunnel, "", "")
		runs(t, s, "", 2*time.Second)
	}
	cut(time.Second)
	cut(time.Second)
	cut(time.Minute)
	runs(t, s, "", time.Minute)
	cut(time.Second)
	cut(time.Second)
	press(t, s, doPing, "h1", "v6")
	runs(t, s, "", 2*time.Second)
	if st := s.lesson("route-flapping"); st.Passed {
		t.Error("passed with two short interruptions after a long one")
	}
	cut(time.Second)
	press(t, s, doPing, "h1", "v6")
	runs(t, s, "", 2*time.Second)
	if st := s.lesson("route-flapping"); !st.Passed {
		t.Errorf("not passed after three: %s", st.Progress)
	}
}

// After a renumbering a host asks for an address out of each prefix, and prefers one of them.
func TestLessonOnSLAACBesideAStalePrefix(t *testing.T) {
	_, s := pupilWorld(t, "renumber")
	if err := s.class.start("slaac"); err != nil {
		t.Fatal(err)
	}
	tasks()["slaac"](t, s, func(d time.Duration) { runs(t, s, "slaac", d) })
	if st := s.lesson("slaac"); !st.Passed {
		t.Error(st.Progress)
	}
}

// Each lesson can be passed in the world that the page begins with, or says what to start: in its task, and to who starts it
// all the same.
func TestLessonSaysWhichWorldItNeeds(t *testing.T) {
	const start = "--scenario downstream-router"
	s := NewSource(newTestWorld(t, Options{Seed: 1}))
	for _, l := range lessons() {
		needs := l.id == "redirect"
		if task := s.lesson(l.id).Task; strings.Contains(task, start) != needs || !strings.HasSuffix(task, l.task) {
			t.Errorf("%s: %s", l.id, task)
		}
		if err := s.class.start(l.id); (err != nil) != needs || needs && !strings.Contains(err.Error(), start) {
			t.Errorf("%s: %v", l.id, err)
		}
	}
	if there := NewSource(newTestWorld(t, Options{Seed: 1, Scenario: scenarioDownstream})); strings.Contains(there.lesson("redirect").Task, start) {
		t.Error("it is sent away from the world that it needs")
	}
}
