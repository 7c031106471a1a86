// SPDX-License-Identifier: MIT

// Package health decides from counters whether the tunnel is alive, and when the box must speak up
// by itself to find out.
//
// It must not know WireGuard's code, sockets or the clock: a Sample comes in, Actions go out. Life is
// what WireGuard authenticated; a datagram that merely looks right proves nothing. Start at
// Machine.Step.
package health

import (
	"time"

	"oasis6/internal/note"
)

// The timers. WireGuard's own, which they lean on: a peer that received data and has none to send
// answers with a keepalive after 10 s; an initiation is repeated after 5 s to 5.334 s, and never sent
// less than 5 s after the last; a session lives 180 s.
const (
	// ForceHandshakeAfter data with nothing back a handshake is begun, whose response counts as life.
	ForceHandshakeAfter = 5 * time.Second
	// DeadAfter data with nothing back the peer is dead. Data is noticed up to one SampleEvery after
	// it left, and it left up to one SampleEvery after the fault: 12.5 + 2 is within 15 s. It is more than the
	// 10 s after which an idle peer must answer, and holds two initiations.
	DeadAfter = 12500 * time.Millisecond
	// ProbeAfter nothing received a packet is sent that the peer must answer: 20 + 1 + 12.5 is within 40 s.
	ProbeAfter = 20 * time.Second
	// ReprobeEvery while something is unanswered: a peer that answers echo requests shows itself before a
	// handshake need be forced, also when the traffic goes one way only, and gets 8 more chances than the
	// two initiations on a lossy path (0.51^11 at 30 % loss each way).
	ReprobeEvery = 1500 * time.Millisecond
	// InitiateEvery while dead or connecting, for ever; InitiateJitter is added, so that the boxes of a
	// street do not knock in step after a power cut.
	InitiateEvery  = 5 * time.Second
	InitiateJitter = 300 * time.Millisecond
	// ConnectWithin this time a first handshake completes or the tunnel is called down.
	ConnectWithin = 15 * time.Second
	// ResolveAfter initiations without answer the endpoint's name is looked up again, then after
	// ResolveEvery, doubled up to ResolveMax.
	ResolveAfter = 15 * time.Second
	ResolveEvery = 30 * time.Second
	ResolveMax   = 5 * time.Minute
	// SampleEvery is the cadence while something is unanswered or data flows; otherwise the machine
	// sleeps to the next probe and asks to be woken by data (Actions.Watch), so an idle box wakes
	// twice in 20 s.
	SampleEvery = time.Second
	// SleptAfter: a Step this much later than Wake asked for means the box was asleep or starved, and the
	// silence before it says nothing of the peer.
	SleptAfter = 10 * time.Second
)

// State is what the rest of the box makes of the tunnel; only Up is good enough for a default route.
//
//	Connecting ──no handshake in ConnectWithin──▶ Down
//	     │                                        │ ▲
//	 handshake                           handshake│ │data or probe unanswered for DeadAfter
//	     └───────────────▶ Up ◀───────────────────┘ │
//	                       └────────────────────────┘
type State uint8

const (
	// Connecting is the time between start and first handshake.
	Connecting State = iota
	// Down means that the peer does not answer.
	Down
	// Up means that a handshake completed and nothing sent since is overdue.
	Up
)

func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "connecting"
}

// Sample is one reading of the tunnel's counters. All of them only grow.
type Sample struct {
	// DataSent counts data packets handed to the outer network, keepalives not included.
	DataSent uint64
	// Initiations counts handshake initiations sent.
	Initiations uint64
	// Life is authenticated octets received, without the peer's initiations: those show that the
	// peer lives but not that anything of ours reaches it.
	Life uint64
	// LastHandshake is when a handshake was last completed, an instant of the boot clock; zero means never.
	LastHandshake time.Time
}

// Event is what Step takes: Sampled, PathChanged or EndpointReady.
type Event interface{ healthEvent() }

type (
	// Sampled brings a fresh reading. It is also the timer's event: whoever wakes at Actions.Wake samples.
	Sampled struct{ Sample Sample }
	// PathChanged says that the outer network is another one: link up, new address, new default route.
	PathChanged struct{}
	// EndpointReady says that the peer's address is known now, or another one than before.
	EndpointReady struct{}
)

func (Sampled) healthEvent()       {}
func (PathChanged) healthEvent()   {}
func (EndpointReady) healthEvent() {}

// Actions is what to do, in this order. Wake is the next deadline and never zero.
type Actions struct {
	State    State
	Resolve  bool // look the endpoint's name up again, in the background
	Initiate bool // begin a handshake now, whether or not there is a session
	Probe    bool // send data that the peer must answer
	Watch    bool // step again, with a sample, as soon as data is sent: Wake is far away
	Wake     time.Time
	Notes    []note.Note
}

// Machine is the health of one tunnel to one peer. It is not safe for concurrent use.
type Machine struct {
	rand  func() float64
	state State

	started    bool
	seen       Sample    // the highest of each counter
	lastSample time.Time // instant of the last Sampled
	wake       time.Time // what the last Step asked for

	heard    time.Time // Up: not later than the last sign of life
	waiting  time.Time // Up: since when something sent is unanswered; zero: nothing is
	busy     bool      // Up: data was sent since the sample before
	trying   time.Time // not Up: since when initiations go unanswered
	initiate time.Time // when the next initiation is due
	probe    time.Time // when the next repeated probe is due
	resolve  time.Time // not Up: when the next lookup is due
	backoff  time.Duration
}

// New makes a machine in state Connecting. rand returns uniform values in [0, 1).
func New(rand func() float64) *Machine { return &Machine{rand: rand} }

// Step takes one event at the instant now of the boot clock. The first Step begins the first handshake.
func (m *Machine) Step(now time.Time, ev Event) Actions {
	var a Actions
	slept := m.started && now.Sub(m.wake) > SleptAfter
	if !m.started {
		m.started = true
		m.tryAgain(now)
	}
	switch ev := ev.(type) {
	case Sampled:
		m.sampled(now, ev.Sample, &a)
	case PathChanged:
		m.pathChanged(now)
	case EndpointReady:
		m.prove(now)
		m.resolve = later(m.resolve, now.Add(ResolveAfter)) // the new address gets its chance
	}
	if slept {
		m.resumed(now)
	}
	if m.state == Up {
		m.stepUp(now, &a)
	}
	if m.state != Up { // also when stepUp has just found it dead
		m.stepDown(now, &a)
	}
	a.State = m.state
	m.wake = a.Wake
	return a
}

// tryAgain begins the first or another series of initiations.
func (m *Machine) tryAgain(now time.Time) {
	m.trying = now
	m.initiate = now
	m.backoff = ResolveEvery
	m.resolve = now.Add(ResolveAfter)
}

// resumed forgets the silence before now. The session is likely to have expired, so a handshake is
// begun at once, and the peer has DeadAfter to answer it before anybody on the LAN is told.
func (m *Machine) resumed(now time.Time) {
	if m.state == Up {
		m.heard, m.waiting = now, now
		m.initiate = now
		m.probe = now.Add(ReprobeEvery)
		return
	}
	m.tryAgain(now)
}

func (m *Machine) pathChanged(now time.Time) {
	m.prove(now)
	m.backoff = ResolveEvery
	m.resolve = now // another network may have another answer
}

// prove asks for a sign of life in this step: an initiation if one is wanted already, else a probe.
func (m *Machine) prove(now time.Time) {
	m.initiate, m.probe = now, now
	m.heard = earlier(m.heard, now.Add(-ProbeAfter))
}

// sampled compares with the sample before. Where an order of two things within one interval is unknown,
// the earliest possible instant is taken for life: dead must be noticed in time.
func (m *Machine) sampled(now time.Time, s Sample, a *Actions) {
	completed := s.LastHandshake.After(m.seen.LastHandshake)
	alive := s.Life > m.seen.Life
	sent := s.DataSent > m.seen.DataSent || s.Initiations > m.seen.Initiations
	before := m.lastSample
	if before.IsZero() {
		before = now
	}
	m.seen = Sample{
		DataSent:      max(m.seen.DataSent, s.DataSent),
		Initiations:   max(m.seen.Initiations, s.Initiations),
		Life:          max(m.seen.Life, s.Life),
		LastHandshake: later(m.seen.LastHandshake, s.LastHandshake),
	}
	m.lastSample = now
	m.busy = sent
	if m.state != Up {
		if completed {
			m.change(Up, a)
			m.heard, m.waiting = now, time.Time{}
		}
		return
	}
	switch {
	case completed || alive:
		m.heard, m.waiting = later(m.heard, before), time.Time{}
	case sent && m.waiting.IsZero():
		m.await(now)
	}
}

// await notes that something was sent which the peer must answer.
func (m *Machine) await(now time.Time) {
	m.waiting = now
	m.initiate = now.Add(ForceHandshakeAfter)
	m.probe = now.Add(ReprobeEvery)
}

func (m *Machine) stepUp(now time.Time, a *Actions) {
	if m.waiting.IsZero() && !now.Before(m.heard.Add(ProbeAfter)) {
		a.Probe = true
		m.await(now)
	}
	if m.waiting.IsZero() {
		a.Wake = m.heard.Add(ProbeAfter)
		if m.busy {
			a.Wake = earlier(a.Wake, now.Add(SampleEvery))
		} else {
			a.Watch = true
		}
		return
	}
	dead := m.waiting.Add(DeadAfter)
	if !now.Before(dead) {
		m.change(Down, a)
		m.trying = m.waiting.Add(ForceHandshakeAfter) // then the first initiation went unanswered
		m.backoff = ResolveEvery
		m.resolve = m.trying.Add(ResolveAfter)
		return
	}
	if !now.Before(m.initiate) {
		a.Initiate = true
		m.initiate = m.nextInitiation(now)
	}
	if !now.Before(m.probe) {
		a.Probe = true
		m.probe = now.Add(ReprobeEvery)
	}
	a.Wake = earlier(earlier(now.Add(SampleEvery), dead), earlier(m.initiate, m.probe))
}

// stepDown keeps knocking. Life without a handshake does not end it: only a handshake proves that
// datagrams go both ways.
func (m *Machine) stepDown(now time.Time, a *Actions) {
	if m.state == Connecting && !now.Before(m.trying.Add(ConnectWithin)) {
		m.change(Down, a)
	}
	if !now.Before(m.resolve) {
		a.Resolve = true
		m.resolve = now.Add(m.backoff)
		m.backoff = min(2*m.backoff, ResolveMax)
	}
	if !now.Before(m.initiate) {
		a.Initiate = true
		m.initiate = m.nextInitiation(now)
	}
	a.Wake = earlier(m.initiate, m.resolve)
	if m.state == Connecting {
		a.Wake = earlier(a.Wake, m.trying.Add(ConnectWithin))
	}
}

func (m *Machine) nextInitiation(now time.Time) time.Time {
	return now.Add(InitiateEvery + time.Duration(m.rand()*float64(InitiateJitter)))
}

func (m *Machine) change(to State, a *Actions) {
	level, msg := note.Info, "tunnel up"
	if to == Down {
		level, msg = note.Warn, "tunnel down: the peer does not answer"
	}
	a.Notes = append(a.Notes, note.New(level, msg, "from", m.state.String(), "to", to.String()))
	m.state = to
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
