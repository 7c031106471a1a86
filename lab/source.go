// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"oasis6/lab/engine"
	"oasis6/lab/packet"
	"oasis6/lab/page"
)

// Source is a world for the page. Its methods may be called from any goroutine. While nobody watches, it costs the world
// nothing but what lessons look at.
type Source struct {
	w     *World
	class *class
	pipes *pipes

	stateMu  sync.Mutex // one gathers at a time
	facts    *facts
	gathered time.Time // real time
	painter  *painter

	mu       sync.Mutex
	readers  map[chan page.Update]bool
	fresh    []*record // not told yet
	missed   uint64
	toldLog  uint64
	changed  bool
	flushing bool
}

var _ page.Source = (*Source)(nil)

// What readers are told at most, and how often.
const (
	gatherEvery = 100 * time.Millisecond
	flushEvery  = 25 * time.Millisecond
	maxFresh    = 4000
	queueLen    = 64
	pastPackets = 300
	// patience is how long a question waits for the engine: one event, and what it set going.
	patience = 5 * time.Second
)

// NewSource makes a world's source. It is made before the world runs, and once.
func NewSource(w *World) *Source {
	s := &Source{w: w, painter: newPainter(w), readers: map[chan page.Update]bool{}}
	s.class, s.pipes = newClass(w), newPipes(w)
	w.rec.listen(s.record)
	w.mu.Lock()
	w.told = s.said
	w.mu.Unlock()
	return s
}

// World is page.Views'.
func (s *Source) World() page.World {
	w := s.w
	p := page.World{
		Title: w.title, Link: string(w.opt.Link), Seed: w.opt.Seed, Start: w.Engine.Start(), Scenario: w.opt.Scenario,
		Nodes: append([]page.Node(nil), w.nodes...), Actions: w.buttons(), Lessons: s.class.list(),
	}
	for _, x := range Scenarios() {
		if x.Missing == "" {
			p.Scenarios = append(p.Scenarios, page.Scenario{Name: x.Name, About: x.About})
		}
	}
	for _, l := range w.links {
		p.Wires = append(p.Wires, page.Wire{ID: l.id, A: l.a, B: l.b, Kind: l.kind, Name: l.name})
	}
	for _, b := range w.boxes {
		id := pipeOf(b.name)
		p.Wires = append(p.Wires, page.Wire{ID: id, A: b.name, B: nodeR2, Kind: page.Tunnel, Name: "inside the tunnel of " + b.name})
		p.Tunnels = append(p.Tunnels, page.Pipe{ID: id, Name: "Tunnel of " + b.name, Path: paths()[b.name]})
	}
	return p
}

// State is page.Views'.
func (s *Source) State() page.State {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	if s.facts == nil || time.Since(s.gathered) >= gatherEvery {
		ctx, cancel := context.WithTimeout(s.w.life, patience)
		defer cancel()
		got := make(chan *facts, 1) // a late answer goes nowhere
		if s.w.Engine.Call(ctx, func() { got <- s.gather() }) == nil {
			s.facts, s.gathered = <-got, time.Now()
		}
	}
	st := page.State{}
	if s.facts != nil {
		st = s.painter.paint(s.facts)
	}
	speed, paused := s.w.Engine.Pace()
	st.Clock = page.Clock{Now: s.w.Engine.Shown(), Speed: speed, Paused: paused, CanPause: !s.w.Engine.Real()}
	return st
}

// Walk is page.Views'.
func (s *Source) Walk(number uint64) (page.Walk, bool) {
	walk, ok := s.w.rec.walk(recordOf(number), s.w.Engine.Now(), func(node string) string {
		for _, n := range s.w.nodes {
			if n.ID == node {
				return n.Kind
			}
		}
		return ""
	})
	walk.ID = number
	for i := range walk.Hops {
		h := &walk.Hops[i]
		if h.ID = frameNumber(h.ID); recordOf(number) == recordOf(h.ID) {
			h.ID = number // also where it is asked for by its inside
		}
	}
	return walk, ok
}

// Subscribe is page.Stream's.
func (s *Source) Subscribe(ctx context.Context) <-chan page.Update {
	c := make(chan page.Update, queueLen)
	s.mu.Lock()
	s.readers[c] = true
	s.mu.Unlock()
	end := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.readers[c] {
			delete(s.readers, c)
			close(c)
		}
	}
	context.AfterFunc(ctx, end)
	context.AfterFunc(s.w.life, end)
	return c
}

// record notes a frame for readers. It runs on the engine's goroutine.
func (s *Source) record(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.readers) == 0:
		return
	case len(s.fresh) >= maxFresh:
		s.missed++
	default:
		s.fresh = append(s.fresh, r)
	}
	s.schedule()
}

// said is for a new line of the timeline.
func (s *Source) said() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = true
	if len(s.readers) > 0 {
		s.schedule()
	}
}

// schedule lets flush run soon. s.mu is held.
func (s *Source) schedule() {
	if !s.flushing {
		s.flushing = true
		time.AfterFunc(flushEvery, s.flush)
	}
}

// flush tells readers what is new. It computes what a line says only now, away from the engine's goroutine.
func (s *Source) flush() {
	s.mu.Lock()
	fresh, missed, changed, after := s.fresh, s.missed, s.changed, s.toldLog
	s.fresh, s.missed, s.changed = nil, 0, false
	s.mu.Unlock()
	u := page.Update{Changed: changed, Packets: s.packets(fresh), Log: s.w.entriesAfter(after), Missed: missed}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(u.Log); n > 0 {
		s.toldLog = max(s.toldLog, u.Log[n-1].ID)
	}
	for c := range s.readers {
		select {
		case c <- u:
		default:
			s.missed += uint64(len(u.Packets))
			s.changed = s.changed || u.Changed
		}
	}
	// Only now: a flush that began meanwhile could overtake this one.
	if s.flushing = false; len(s.fresh) > 0 || s.changed {
		s.schedule()
	}
}

func (s *Source) packets(records []*record) []page.Packet {
	out := make([]page.Packet, 0, len(records)+len(records)/4)
	for _, r := range records {
		out = append(out, page.Packet{
			ID: frameNumber(r.id), Walk: r.walk, At: r.At, Wire: r.Wire, From: r.From, To: r.To, Kind: packet.KindOf(r.Frame),
			Summary: packet.Summary(r.Frame, s.w.rec.opener(r)), Length: len(r.Frame), Flight: r.Flight, Dropped: r.Dropped != "",
		})
		if x, ok := s.pipes.inside(r); ok {
			out = append(out, x)
		}
	}
	return out
}

// Past is page.Stream's.
func (s *Source) Past(after page.Mark) page.Update {
	// The inside of the last packet may still be missing.
	packets := s.packets(s.w.rec.latest(max(recordOf(after.Packet), 1)-1, pastPackets))
	packets = slices.DeleteFunc(packets, func(p page.Packet) bool { return p.ID <= after.Packet })
	return page.Update{Packets: packets, Log: s.w.entriesAfter(after.Log)}
}

// Do is page.Controls'.
func (s *Source) Do(ctx context.Context, a page.Action) (string, error) {
	text := make(chan string, 1) // a late answer goes nowhere
	err := s.call(ctx, func() error {
		if err := s.w.press(a); err != nil {
			return err
		}
		text <- s.w.outcome(a)
		return nil
	})
	if err != nil {
		return "", err
	}
	return <-text, nil
}

// StartLesson is page.Controls'.
func (s *Source) StartLesson(id string) error {
	return s.call(context.Background(), func() error { return s.class.start(id) })
}

// errEnded says that the world does not run.
var errEnded = errors.New("the world does not answer: has it ended?")

// call runs f on the engine's goroutine.
func (s *Source) call(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got := make(chan error, 1)
	if s.w.Engine.Call(ctx, func() { got <- f() }) != nil {
		return errEnded
	}
	s.said() // the state is another one
	return <-got
}

var errRealTime = errors.New("this world runs on wireguard-go, in real time, which cannot be changed: start the demo with --link sim")

// stepLimit is lab time: longer than the world is ever quiet.
const stepLimit = 2 * time.Minute

// Time is page.Controls'.
func (s *Source) Time(op page.TimeOp) error {
	e := s.w.Engine
	if e.Real() {
		return errRealTime
	}
	switch op.Op {
	case "pause":
		e.Pause()
	case "play":
		e.Play()
	case "speed":
		e.SetSpeed(op.Speed)
	case "step":
		s.step(e)
	}
	s.said()
	return nil
}

// step goes on to the next frame on a wire.
func (s *Source) step(e *engine.Engine) {
	e.Pause()
	last := s.w.rec.newest()
	e.StepUntil(stepLimit, func() bool { return s.w.rec.newest() != last })
}
