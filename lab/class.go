// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"time"

	"oasis6/lab/page"
)

// lesson is a text, a task and what must have happened for it to be passed.
type lesson struct {
	id, title, article string
	scenario           string // the only one with what the task needs; empty: any; see taskIn
	text               string
	task               string
	// begin makes what judges this lesson in this world, from now on.
	begin func(*World) judge
}

// fits says whether the task can be done in the world of a scenario.
func (l *lesson) fits(scenario string) bool { return l.scenario == "" || l.scenario == scenario }

// taskIn is the task, and before it, where it cannot be done, what to start instead.
func (l *lesson) taskIn(scenario string) string {
	if l.fits(scenario) {
		return l.task
	}
	return fmt.Sprintf("This world has not what the task needs. End the demo in its terminal with Ctrl-C, start it again with "+
		"oasis6 demo --scenario %s, and open the page that it names. There: %s", l.scenario, l.task)
}

// judge watches what happens since a lesson was started. The engine's goroutine calls it.
type judge interface {
	// see is told of each frame.
	see(r *record)
	// passed says whether the task is done, and if not, what it still waits for.
	passed() (ok bool, progress string)
}

// class is all lessons of a world, and how far they are. Only the engine's goroutine may call it.
type class struct {
	w       *World
	lessons []lesson
	pupils  map[string]*pupil
}

// pupil is a lesson that was started.
type pupil struct {
	judge    judge // nil: passed
	progress string
}

// judgeEvery is how often lessons that were started are looked at.
const judgeEvery = 100 * time.Millisecond

func newClass(w *World) *class {
	c := &class{w: w, lessons: lessons(), pupils: map[string]*pupil{}}
	w.rec.listen(func(r *record) {
		for _, p := range c.pupils {
			if p.judge != nil {
				p.judge.see(r)
			}
		}
	})
	return c
}

// list is the part that stands.
func (c *class) list() []page.Lesson {
	var out []page.Lesson
	for _, l := range c.lessons {
		out = append(out, page.Lesson{ID: l.id, Title: l.title, Article: l.article})
	}
	return out
}

// start begins a lesson, or begins it anew.
func (c *class) start(id string) error {
	for _, l := range c.lessons {
		if l.id == id && !l.fits(c.w.opt.Scenario) {
			return fmt.Errorf("this lesson needs another world: start oasis6 demo --scenario %s", l.scenario)
		}
		if l.id == id {
			first := !c.busy()
			c.pupils[id] = &pupil{judge: l.begin(c.w)}
			if first {
				c.w.Engine.AfterFunc(judgeEvery, c.look)
			}
			return nil
		}
	}
	return fmt.Errorf("there is no lesson %q", id)
}

// busy says whether a lesson waits to be passed.
func (c *class) busy() bool {
	for _, p := range c.pupils {
		if p.judge != nil {
			return true
		}
	}
	return false
}

// look goes on as long as a lesson waits.
func (c *class) look() {
	for _, l := range c.lessons {
		p := c.pupils[l.id]
		if p == nil || p.judge == nil {
			continue
		}
		var ok bool
		if ok, p.progress = p.judge.passed(); ok {
			p.judge = nil
			c.w.sayAs("info", "", "lesson passed: "+l.title, "")
		}
	}
	if c.busy() {
		c.w.Engine.AfterFunc(judgeEvery, c.look)
	}
}

// states are how far all lessons are.
func (c *class) states() []page.LessonState {
	var out []page.LessonState
	for _, l := range c.lessons {
		s := page.LessonState{ID: l.id, Text: l.text, Task: l.taskIn(c.w.opt.Scenario)}
		if p := c.pupils[l.id]; p != nil {
			s.Started, s.Passed, s.Progress = true, p.judge == nil, p.progress
		}
		out = append(out, s)
	}
	return out
}
