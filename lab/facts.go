// SPDX-License-Identifier: MIT

package lab

import (
	"time"

	"oasis6/lab/host"
	"oasis6/lab/nat"
	"oasis6/lab/page"
	"oasis6/status"
)

// facts are how the world stands at one instant, as its nodes say it. They are not changed once they are gathered.
type facts struct {
	now      time.Time
	hosts    map[string]host.View
	mappings map[string][]nat.Entry // of translators
	up       map[string]bool        // nodes that are no hosts
	wires    map[string]page.WireState
	boxes    []boxFacts
	hub      status.Snapshot
	r3       *behindFacts // nil: not in this world
	outcomes []result
	lessons  []page.LessonState
	actions  map[string]page.ActionState
}

// boxFacts are those of one box; status is of a run, else the zero value.
type boxFacts struct {
	name   string
	on     bool
	status status.Snapshot
}

// gather asks all nodes. The engine's goroutine calls it.
func (s *Source) gather() *facts {
	w := s.w
	f := &facts{
		now: w.Engine.Now(), hosts: map[string]host.View{}, mappings: map[string][]nat.Entry{}, up: map[string]bool{},
		wires: map[string]page.WireState{}, lessons: s.class.states(), actions: s.actionStates(),
	}
	for name, h := range w.hosts {
		f.hosts[name] = h.View()
	}
	for name, n := range w.ipv4 {
		f.up[name], f.mappings[name] = n.Up(), n.Mappings()
	}
	for id, x := range w.wires {
		f.wires[id] = page.WireState{Up: x.Up(), MTU: x.MTU(), Blocked: blocked(id, x.Filtered())}
	}
	for _, b := range w.boxes {
		x := boxFacts{name: b.name, on: b.on()}
		x.status, _ = b.status() // the zero value says enough
		f.boxes = append(f.boxes, x)
		f.up[b.name] = x.on
	}
	f.hub, _ = w.hub.status() // as above
	if w.r3 != nil {
		f.r3 = w.r3.facts()
	}
	f.outcomes, _ = w.script.all()
	return f
}

// blocked is what a filter on a wire keeps from passing, in a word or two.
func blocked(wire string, filtered bool) string {
	switch {
	case !filtered:
		return ""
	case wire == icmpWire:
		return "ICMPv6"
	case wire == cutWire:
		return "tunnel"
	}
	return "some packets"
}
