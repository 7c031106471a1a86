// SPDX-License-Identifier: MIT

package join

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/config"
	"oasis6/hub/enroll"
)

// killed is the panic that stands for kill -9: what was on disk stays, nothing else is done. That Run's deferred calls
// run all the same only removes the draft, which is worth nothing.
type killed struct{}

// runUntil runs the box, and kills it when it speaks, sends or opens a tunnel for the n-th time.
func runUntil(t *testing.T, m *machine, b *book, n int, lose func() bool, run func(Options) error) (done bool) {
	t.Helper()
	points := 0
	point := func() {
		if points++; points == n {
			panic(killed{})
		}
	}
	m.through(b, func(f *fake) {
		point()
		f.lose = func() bool { point(); return lose() }
	})
	opt := m.Options
	opt.Say = func(string) { point() }
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			done = false
		}
	}()
	if err := run(opt); err != nil {
		t.Logf("it gave up: %v", err)
		return false
	}
	return true
}

// "Interrupted at any step, either the invitation still works or the box is joined": killed once at each point, the hub
// restarted in between, and then without trouble.
func TestKilledAtEveryPoint(t *testing.T) {
	for n := 1; ; n++ {
		finished := false
		synctest.Test(t, func(t *testing.T) {
			b := newBook("hub.example.net:51820")
			inv := b.invite(t, "library")
			m := newMachine(t)
			never := func() bool { return false }
			run := func(opt Options) error { _, err := Run(t.Context(), inv, opt); return err }
			finished = runUntil(t, m, b, n, never, run)
			cfg, _, err := config.Load(m.Config)
			if err == nil && !b.knows(cfg.Interface.PrivateKey.Public()) {
				t.Errorf("killed at %d: the box has a configuration that the hub knows nothing of", n)
			}
			b.start()
			if !runUntil(t, m, b, 0, never, run) {
				t.Errorf("killed at %d: the next try fails", n)
			}
			if key := m.load(t).Interface.PrivateKey.Public(); !b.knows(key) {
				t.Errorf("killed at %d: not joined by the next try", n)
			}
		})
		if finished {
			if n < 8 {
				t.Errorf("only %d points", n)
			}
			return
		}
	}
}

// The same with everything at once, many times: lost datagrams, a hub that restarts or cannot write, boxes that are killed,
// and an invitation that the hub drops when the new key is used.
func TestJoinsThroughAllTrouble(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := newBook("hub.example.net:51820")
			inv := b.invite(t, "library")
			m := newMachine(t)
			run := func(opt Options) error { _, err := Run(t.Context(), inv, opt); return err }
			lossy := func() bool {
				b.mu.Lock()
				b.full = r.IntN(4) == 0
				b.mu.Unlock()
				if r.IntN(10) == 0 {
					b.start()
				}
				return r.IntN(2) == 0
			}
			for range r.IntN(6) {
				runUntil(t, m, b, 1+r.IntN(30), lossy, run)
				if cfg, _, err := config.Load(m.Config); err == nil {
					key := cfg.Interface.PrivateKey.Public()
					if !b.knows(key) {
						t.Fatalf("seed %d: a configuration that the hub knows nothing of", seed)
					}
					if r.IntN(2) == 0 { // the box runs, and the invitation goes
						b.mu.Lock()
						b.do(b.state.Step(b.now(), enroll.Seen{Key: key}))
						b.mu.Unlock()
					}
				}
				time.Sleep(time.Duration(r.IntN(300)) * time.Second)
			}
			b.full = false
			if !runUntil(t, m, b, 0, func() bool { return false }, run) || !b.knows(m.load(t).Interface.PrivateKey.Public()) {
				t.Errorf("seed %d: not joined in the end", seed)
			}
		})
	}
}

// The hub took the box, the answer was lost, and meanwhile the invitation is over and gone.
func TestAnswerLostAndInvitationGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook("hub.example.net:51820")
		inv := b.invite(t, "library")
		m := newMachine(t)
		sent := 0
		m.through(b, func(f *fake) {
			f.lose = func() bool { sent++; return sent%2 == 0 } // every answer
		})
		if _, err := Run(t.Context(), inv, m.Options); err == nil {
			t.Fatal("no answer came, and it joined")
		}
		b.mu.Lock()
		over := b.now()
		over.Boot = over.Boot.Add(enroll.MaxValid)
		b.do(b.state.Step(over, enroll.Tick{}))
		b.mu.Unlock()
		if got := b.peers(); got["[library]"] || !got["library"] {
			t.Fatalf("peers %v", got)
		}
		m.through(b, nothing)
		if res, err := Run(t.Context(), inv, m.Options); err != nil || res.Name != "library" {
			t.Errorf("Run() = %+v, %v", res, err)
		}
		m.load(t)
	})
}
