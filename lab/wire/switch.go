// SPDX-License-Identifier: MIT

package wire

import (
	"slices"
	"time"

	"oasis6/lab/engine"
)

// Of a switch.
const (
	learntFor = 5 * time.Minute // IEEE 802.1D table 7-4
	maxLearnt = 1024
)

// Switch forwards frames between its ports by what it has learnt of addresses. Only the engine's goroutine touches it.
type Switch struct {
	e      *engine.Engine
	ports  []*Port
	learnt map[[6]byte]learnt
}

type learnt struct {
	port *Port
	at   time.Time
}

// NewSwitch connects the ports, which are ends of wires.
func NewSwitch(e *engine.Engine, ports ...*Port) *Switch {
	s := &Switch{e: e, learnt: map[[6]byte]learnt{}}
	for _, p := range ports {
		s.Plug(p)
	}
	return s
}

// Plug adds a port.
func (s *Switch) Plug(p *Port) {
	s.ports = append(s.ports, p)
	p.Attach(func(frame []byte) { s.forward(p, frame) }, func(up bool) {
		if !up {
			s.forget(p)
		}
	})
}

// forget is for a port whose cable was pulled: what was there may come back elsewhere.
func (s *Switch) forget(p *Port) {
	for mac, l := range s.learnt {
		if l.port == p {
			delete(s.learnt, mac)
		}
	}
}

func (s *Switch) forward(in *Port, frame []byte) {
	if len(frame) < Header {
		return
	}
	now := s.e.Now()
	dst, src := [6]byte(frame), [6]byte(frame[6:])
	if src[0]&1 == 0 {
		if _, known := s.learnt[src]; known || len(s.learnt) < maxLearnt {
			s.learnt[src] = learnt{in, now}
		}
	}
	if l, ok := s.learnt[dst]; ok && now.Sub(l.at) <= learntFor {
		if l.port != in {
			_ = l.port.Send(slices.Clone(frame)) // fails only when taken off
		}
		return
	}
	for _, p := range s.ports {
		if p != in {
			_ = p.Send(slices.Clone(frame)) // as above
		}
	}
}
