// SPDX-License-Identifier: MIT

package device

import "time"

// timers of a peer; zero: not set. Those that run out at one instant do so in this order.
type timers [timerKinds]time.Time

const (
	retransmit   = iota // the initiation has no answer
	keepaliveDue        // data came and nothing went: the peer must learn that we live
	rehandshake         // data went and nothing came: the peer may have lost the session
	zeroKeys            // no new session for long
	persistent          // the NAT must not forget us
	timerKinds
)

func (p *peer) set(timer int, at time.Time) { p.timers[timer] = at }
func (p *peer) stop(timer int)              { p.timers[timer] = time.Time{} }
func (p *peer) runs(timer int) bool         { return !p.timers[timer].IsZero() }

// due is the timer that runs out first; -1: none is set.
func (p *peer) due() int {
	first := -1
	for i, at := range p.timers {
		if !at.IsZero() && (first < 0 || at.Before(p.timers[first])) {
			first = i
		}
	}
	return first
}

// wake is the first deadline of all.
func (d *Device) wake() time.Time {
	var at time.Time
	for _, p := range d.peers {
		if i := p.due(); i >= 0 && (at.IsZero() || p.timers[i].Before(at)) {
			at = p.timers[i]
		}
	}
	return at
}

// expire runs what is due. A timer that it sets anew lies in the future, so it ends.
func (s *step) expire() {
	for _, p := range s.peers {
		for i := p.due(); i >= 0 && !s.now.Before(p.timers[i]); i = p.due() {
			p.stop(i)
			s.ran(p, i)
		}
	}
}

func (s *step) ran(p *peer, timer int) {
	switch timer {
	case retransmit:
		s.unanswered(p)
	case keepaliveDue:
		s.sendKeepalive(p)
		if p.another {
			p.another = false
			p.set(keepaliveDue, s.now.Add(KeepaliveTimeout))
		}
	case rehandshake:
		s.note(p, "nothing came back for 15 s: handshake begins anew")
		s.initiate(p, false)
	case zeroKeys:
		s.note(p, "keys removed: no new ones for 540 s")
		s.forget(p)
	case persistent:
		if p.keepalive > 0 {
			s.sendKeepalive(p)
		}
	}
}

// unanswered repeats the initiation, or gives up: "After REKEY_ATTEMPT_TIME seconds of trying to initiate a new handshake,
// the retries give up and cease, and clear all existing packets queued up to be sent" (whitepaper section 6.4).
func (s *step) unanswered(p *peer) {
	if p.attempts >= MaxAttempts {
		s.note(p, "handshake given up: no answer for 90 s")
		p.stop(keepaliveDue)
		p.staged = nil
		if !p.runs(zeroKeys) {
			p.set(zeroKeys, s.now.Add(3*RejectAfterTime))
		}
		return
	}
	p.attempts++
	s.note(p, "handshake unanswered for 5 s: initiation repeated")
	s.initiate(p, true)
}

// later is RekeyTimeout with its jitter from base on.
func (s *step) later(base time.Duration) time.Time {
	jitter := time.Duration(s.rand()%uint64(RekeyJitter/time.Millisecond)) * time.Millisecond
	return s.now.Add(base + jitter)
}

// sentAny is for any authentic message that is sent, sending before it.
func (s *step) sentAny(p *peer) {
	s.traverse(p)
	p.stop(keepaliveDue)
}

// heardAny is for any authentic message that came.
func (s *step) heardAny(p *peer) {
	s.traverse(p)
	p.stop(rehandshake)
}

// traverse keeps the persistent keepalive away while there is something else.
func (s *step) traverse(p *peer) {
	if p.keepalive > 0 {
		p.set(persistent, s.now.Add(p.keepalive))
	}
}

func (s *step) sentData(p *peer) {
	if !p.runs(rehandshake) {
		p.set(rehandshake, s.later(KeepaliveTimeout+RekeyTimeout))
	}
}

func (s *step) heardData(p *peer) {
	if !p.runs(keepaliveDue) {
		p.set(keepaliveDue, s.now.Add(KeepaliveTimeout))
	} else {
		p.another = true
	}
}

// complete is for the initiator when the response comes, and for the other end when the first data does.
func (s *step) complete(p *peer) {
	p.stop(retransmit)
	p.attempts, p.lastMinute, p.completed = 0, false, s.now
	s.note(p, "handshake complete")
}
