// SPDX-License-Identifier: MIT

package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

// sim is a box with this machine, a path and a stock WireGuard peer, in steps of 50 ms. WireGuard's own
// timers that matter are modelled: passive keepalive after 10 s, session of 180 s, one
// initiation per 5 s.
type sim struct {
	t    *testing.T
	m    *Machine
	rng  *rand.Rand
	now  time.Duration
	wake time.Duration

	answersEcho bool
	loss        float64
	broken      func(now time.Duration) bool      // the path carries nothing
	traffic     func(now time.Duration) (up bool) // the LAN sends a packet in this step
	replies     bool                              // the far end answers each data packet

	c            Sample
	watch        bool
	session      time.Duration // begin; <0: none
	lastInit     time.Duration
	keepalive    time.Duration // when the peer's passive keepalive is due; 0: none
	inbox        []arrival
	wakes        int
	downs        []time.Duration
	ups          []time.Duration
	forcedHandsh int
}

type arrival struct {
	at        time.Duration
	handshake bool
}

const (
	tick = 50 * time.Millisecond
	rtt  = 100 * time.Millisecond
)

func newSim(t *testing.T, seed uint64) *sim {
	rng := rand.New(rand.NewPCG(seed, seed))
	return &sim{
		t: t, rng: rng, m: New(rng.Float64), session: -1, lastInit: -time.Hour, answersEcho: true,
		broken: func(time.Duration) bool { return false }, traffic: func(time.Duration) bool { return false },
	}
}

func (s *sim) lost() bool { return s.broken(s.now) || s.rng.Float64() < s.loss }

func (s *sim) initiate() {
	if s.now-s.lastInit < 5*time.Second {
		return
	}
	s.lastInit = s.now
	s.c.Initiations++
	if there := !s.lost(); there && !s.lost() {
		s.inbox = append(s.inbox, arrival{s.now + rtt, true})
	}
}

func (s *sim) send(replied bool) {
	if s.session < 0 || s.now-s.session > 180*time.Second {
		s.initiate()
		return
	}
	if s.now-s.session > 120*time.Second {
		s.initiate()
	}
	s.c.DataSent++
	if s.lost() {
		return
	}
	if replied {
		s.keepalive = 0
		if !s.lost() {
			s.inbox = append(s.inbox, arrival{s.now + rtt, false})
		}
	} else if s.keepalive == 0 {
		s.keepalive = s.now + 10*time.Second
	}
}

func (s *sim) run(for_ time.Duration) {
	for end := s.now + for_; s.now < end; s.now += tick {
		step := s.now >= s.wake
		if s.keepalive != 0 && s.now >= s.keepalive {
			s.keepalive = 0
			if !s.lost() {
				s.inbox = append(s.inbox, arrival{s.now + rtt/2, false})
			}
		}
		var rest []arrival
		for _, a := range s.inbox {
			switch {
			case a.at > s.now:
				rest = append(rest, a)
			case a.handshake:
				s.c.Life += 92
				s.c.LastHandshake = boot.Add(s.now)
				s.session = s.now
				step = true // the tunnel reports handshakes at once
			default:
				s.c.Life += 96
			}
		}
		s.inbox = rest
		if s.traffic(s.now) {
			s.send(s.replies)
			if s.watch {
				s.watch, step = false, true
			}
		}
		if step {
			s.step()
		}
	}
}

func (s *sim) step() {
	s.wakes++
	before := s.m.state
	a := s.m.Step(boot.Add(s.now), Sampled{s.c})
	if a.Initiate {
		s.forcedHandsh++
		s.initiate()
	}
	if a.Probe {
		s.send(s.answersEcho)
	}
	s.watch = a.Watch
	s.wake = a.Wake.Sub(boot)
	switch {
	case before != Up && a.State == Up:
		s.ups = append(s.ups, s.now)
	case before == Up && a.State != Up:
		s.downs = append(s.downs, s.now)
	}
}

func every(d time.Duration) func(time.Duration) bool {
	return func(now time.Duration) bool { return now%d == 0 }
}

func (s *sim) wantsNoDown() {
	s.t.Helper()
	if len(s.downs) > 0 || len(s.ups) != 1 {
		s.t.Errorf("up at %v, down at %v, want up once and never down", s.ups, s.downs)
	}
}

func TestSimIdlePeerDoesNotFlap(t *testing.T) {
	for _, echo := range []bool{true, false} {
		s := newSim(t, 1)
		s.answersEcho = echo
		s.run(24 * time.Hour)
		s.wantsNoDown()
		if perMinute := float64(s.wakes) / (24 * 60); echo && perMinute > 10 {
			t.Errorf("an idle box wakes %.1f times a minute, want at most 10", perMinute)
		}
	}
}

func TestSimOneWayTrafficDoesNotFlap(t *testing.T) {
	s := newSim(t, 2)
	s.answersEcho = false
	s.traffic = every(200 * time.Millisecond)
	s.run(6 * time.Hour)
	s.wantsNoDown()
}

func TestSimLossOf30PercentDoesNotFlap(t *testing.T) {
	for seed := range uint64(8) {
		s := newSim(t, seed)
		s.loss, s.replies = 0.3, true
		s.traffic = every(250 * time.Millisecond)
		s.run(3 * time.Hour)
		s.wantsNoDown()

		idle := newSim(t, seed)
		idle.loss = 0.3
		idle.run(3 * time.Hour)
		if len(idle.downs) > 3 { // a run of losses longer than the window may come
			t.Errorf("seed %d: idle with 30%% loss went down %d times in 3 h: %v", seed, len(idle.downs), idle.downs)
		}
	}
}

// Dead in at most 15 s under traffic, in at most 40 s idle, wherever the fault falls.
func TestSimDeadInTime(t *testing.T) {
	for i := range 200 {
		for _, c := range []struct {
			name    string
			traffic func(time.Duration) bool
			limit   time.Duration
		}{
			{"traffic", every(100 * time.Millisecond), 15 * time.Second},
			{"idle", func(time.Duration) bool { return false }, 40 * time.Second},
		} {
			s := newSim(t, uint64(i))
			fault := 3*time.Minute + time.Duration(i)*450*time.Millisecond
			s.broken = func(now time.Duration) bool { return now >= fault && now < fault+2*time.Minute }
			s.traffic, s.replies = c.traffic, true
			s.run(fault + 2*time.Minute + 6*time.Second)
			if len(s.downs) != 1 || s.downs[0]-fault > c.limit {
				t.Fatalf("%s, fault at %v: down at %v, want within %v", c.name, fault, s.downs, c.limit)
			}
			if len(s.ups) != 2 || s.ups[1]-fault-2*time.Minute > 5500*time.Millisecond {
				t.Fatalf("%s, fault at %v for 2m: up at %v, want again within 5.5s", c.name, fault, s.ups)
			}
		}
	}
}

func TestSimSilentPeerIsKnockedAtForAWeek(t *testing.T) {
	s := newSim(t, 3)
	s.broken = func(time.Duration) bool { return true }
	s.run(7 * 24 * time.Hour)
	if len(s.ups) != 0 || s.c.Initiations < 110000 {
		t.Errorf("up at %v after %d initiations, want never and 110000 or more", s.ups, s.c.Initiations)
	}
}
