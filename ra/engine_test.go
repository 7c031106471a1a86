// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"testing"
	"time"

	"oasis6/internal/lifetime"
)

// The engine's own list, RA_01 to RA_40; some of it is shown again, more closely, by the tests that carry an RFC's id.

func fromSeconds(s uint32) lifetime.Until { return lifetime.FromSeconds(boot, s) }

// gaps are the times between multicasts.
func gaps(ras []sentRA) (out []time.Duration) {
	m := multicasts(ras)
	for i := 1; i < len(m); i++ {
		out = append(out, m[i].at-m[i-1].at)
	}
	return out
}

func TestRA_01_FirstThreeAreQuick(t *testing.T) {
	for seed := range uint64(50) {
		w := startWorld(t, seeded(seed), content(forever(prefixA)))
		w.until(time.Hour)
		g := gaps(w.sent)
		if w.sent[0].at > 500*time.Millisecond || g[0] > 16*time.Second || g[1] > 16*time.Second || g[2] < 450*time.Second || g[2] > 600*time.Second {
			t.Fatalf("seed %d: first at %v, gaps %v", seed, w.sent[0].at, g[:3])
		}
	}
}

func TestRA_02_GapsAreUniform(t *testing.T) {
	s := NewSender(Config{}, seeded(2))
	s.Step(boot, linkUp)
	a := s.Step(boot, SetContent{Content: content(forever(prefixA))})
	var sum time.Duration
	for i := range 10003 {
		now := a.Wake
		a = s.Step(now, Tick{})
		gap := a.Wake.Sub(now)
		if i < 3 {
			continue
		}
		if sum += gap; gap < 450*time.Second || gap > 600*time.Second {
			t.Fatalf("gap %v", gap)
		}
	}
	if mean := sum / 10000; (mean - 525*time.Second).Abs() > 10500*time.Millisecond {
		t.Errorf("mean %v, want 525 s within 2 %%", mean)
	}
}

func TestRA_03_ShortestInterval(t *testing.T) {
	w := newWorld(t, Config{MaxInterval: 4 * time.Second}, seeded(3))
	w.step(linkUp)
	w.step(SetContent{Content: content(forever(prefixA))})
	w.until(10 * time.Minute)
	for _, g := range gaps(w.sent) {
		if g < 3*time.Second || g > 4*time.Second {
			t.Fatalf("gap %v", g)
		}
	}
}

func TestRA_04_UnicastAnswer(t *testing.T) {
	for seed := range uint64(50) {
		w := startWorld(t, seeded(seed), content(forever(prefixA)))
		w.until(100 * time.Second)
		next := w.s.next
		w.step(rsFrom(hostA))
		got := w.until(101 * time.Second)
		if len(got) != 1 || got[0].to != hostA || got[0].at > 100500*time.Millisecond || w.s.next != next || w.s.initial != 0 {
			t.Fatalf("seed %d: %v, next %v, was %v", seed, got, w.s.next, next)
		}
	}
}

func TestRA_05_UnspecifiedSource(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	next := w.s.next
	w.at(100*time.Second, rsFrom(netip.IPv6Unspecified()))
	wantSent(t, w.until(101*time.Second), "1m40.25s ff02::1")
	if !w.s.next.After(next) {
		t.Error("the timer was not drawn anew")
	}
}

func TestRA_06_UnspecifiedSourceWithinTheFloor(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, PortUp{})
	w.at(101*time.Second, rsFrom(netip.IPv6Unspecified()))
	w.step(rsFrom(netip.IPv6Unspecified()))
	wantSent(t, w.until(110*time.Second), "1m43.25s ff02::1")
}

func TestRA_07_StormOfUnspecifiedSources(t *testing.T) {
	w := startWorld(t, seeded(7), content(forever(prefixA)))
	w.until(100 * time.Second)
	n := len(w.sent)
	for i := range 1000 {
		w.at(100*time.Second+time.Duration(i)*10*time.Millisecond, rsFrom(netip.IPv6Unspecified()))
	}
	w.until(110 * time.Second)
	if got := w.sent[n:]; len(got) < 3 || len(got) > 4 || len(multicasts(got)) != len(got) {
		t.Errorf("sent %v", got)
	}
	for _, g := range gaps(w.sent[n:]) {
		if g < MinDelayBetweenRAs {
			t.Errorf("gap %v", g)
		}
	}
}

func TestRA_08_DueMulticastIsTheAnswer(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(500 * time.Second)
	next := w.wake.Sub(boot)
	w.at(next-100*time.Millisecond, rsFrom(hostA))
	w.step(rsFrom(netip.IPv6Unspecified()))
	if got := w.until(next + 3*time.Second); len(got) != 1 || !got[0].multicast() || got[0].at != next {
		t.Errorf("sent %v, want the one at %v", got, next)
	}
}

func TestRA_11_InvalidSolicitations(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(100 * time.Second)
	bad := []Received{{hostA, 254, rsBytes}, {hostA, 255, []byte{133, 1, 0, 0, 0, 0, 0, 0}}, {hostA, 255, rsBytes[:7]},
		{hostA, 255, append(rsBytes[:8:8], 1, 0, 0, 0, 0, 0, 0, 0)}, {hostA, 255, append(rsBytes[:8:8], 14, 2, 0, 0, 0, 0, 0, 0)},
		{netip.IPv6Unspecified(), 255, append(rsBytes[:8:8], 1, 1, 0, 0, 0x5e, 0, 0x53, 9)}}
	for _, ev := range bad {
		w.step(ev)
	}
	wantSent(t, w.until(110*time.Second))
	st := w.s.Stats()
	if len(st.Dropped) != len(bad) {
		t.Errorf("dropped %v, want one for each of %d reasons", st.Dropped, len(bad))
	}
}

func TestRA_12_UnknownOptions(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, Received{hostA, 255, append(rsBytes[:8:8], 200, 1, 1, 2, 3, 4, 5, 6, 14, 1, 1, 2, 3, 4, 5, 6,
		1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)})
	wantSent(t, w.until(101*time.Second), "1m40.25s fe80::a")
}

func TestRA_13_PausedAndBack(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.at(100*time.Second, LinkDown{})
	w.at(101*time.Second, rsFrom(hostA))
	wantSent(t, w.until(199*time.Second))
	wantSent(t, w.at(200*time.Second, linkUp), "3m20s ff02::1")
	wantSent(t, w.until(233*time.Second), "3m36s ff02::1", "3m52s ff02::1")
}

func TestRA_14_NewPrefix(t *testing.T) {
	for _, at := range []time.Duration{33 * time.Second, 100 * time.Second} { // last multicast at 32 s
		w := startWorld(t, half, content(forever(prefixA)))
		w.at(at, SetContent{Content: content(forever(prefixA), forever(prefixB))})
		w.until(at + 60*time.Second)
		first := max(at, 35*time.Second)
		got := w.sent[len(w.sent)-3:]
		if got[0].at != first || got[1].at != first+16*time.Second || got[2].at != first+32*time.Second || !got[0].has(prefixB) {
			t.Errorf("change at %v: %v", at, got)
		}
	}
}

func TestRA_16_Renumbering(t *testing.T) {
	a := forever(prefixA)
	a.OnLink = false
	w := startWorld(t, seeded(16), content(a))
	w.until(1000 * time.Second)
	w.step(rsFrom(hostA))
	w.until(1001 * time.Second)
	held := w.sent[len(w.sent)-1].at + NDValidLimit // hosts hold A from the last RA that had it
	w.step(SetContent{Content: content(forever(prefixB))})
	for i := range 12 { // unicast too
		w.at(1010*time.Second+time.Duration(i)*500*time.Second, rsFrom(hostA))
	}
	w.until(2 * time.Hour)
	for _, r := range w.sent {
		switch {
		case r.at < 1001*time.Second:
		case r.at < held:
			if old := r.pio(t, prefixA); old != (PrefixInformation{Prefix: prefixA, Autonomous: true}) {
				t.Fatalf("at %v: %+v", r.at, old)
			}
			if pio := r.pio(t, prefixB); pio.Valid != 5400 || pio.Preferred != 2700 {
				t.Fatalf("at %v: %+v", r.at, pio)
			}
		case r.has(prefixA):
			t.Fatalf("at %v the old prefix is still there, held until %v", r.at, held)
		}
	}
}

// Sequences of two prefixes, a ULA and crashes: whatever is in the content is there once, with lifetimes; the model and
// the account of the disk check each RA.
func TestRA_17_ActiveIsNeverStale(t *testing.T) {
	n := uint64(100000)
	if testing.Short() {
		n = 3000
	}
	contents := []Content{content(forever(prefixA)), content(forever(prefixB)), content(forever(prefixB), forever(prefixA)), {}}
	waits := []time.Duration{time.Second, 4 * time.Second, time.Hour, 2 * time.Hour}
	for seed := range n {
		x := seed * 0x9e3779b97f4a7c15
		pick := func(n uint64) int { x = x*6364136223846793005 + 1442695040888963407; return int(x >> 33 % n) }
		s := NewSender(Config{}, half)
		now := boot
		s.Step(now, linkUp)
		var disk []Record
		for range 6 {
			now = now.Add(waits[pick(4)])
			if pick(4) == 0 {
				s = NewSender(Config{}, half)
				s.Step(now, Restored{disk})
				s.Step(now, linkUp)
			}
			c := contents[pick(4)]
			a := s.Step(now, SetContent{Content: c})
			now = now.Add(3 * time.Second)
			a2 := s.Step(now, Tick{})
			if a.Persist || a2.Persist {
				disk = s.Records(now)
			}
			for _, d := range append(a.Send, a2.Send...) {
				onceAndActive(t, seed, c, d.Data)
			}
		}
	}
}

func onceAndActive(t *testing.T, seed uint64, c Content, data []byte) {
	m, _, _ := ParseRA(ourLL, 255, data)
	count := map[netip.Prefix]int{}
	for _, o := range m.Options {
		if pio, ok := o.(PrefixInformation); ok {
			count[pio.Prefix]++
			active := false
			for _, p := range c.Prefixes {
				active = active || p.Prefix == pio.Prefix
			}
			if active != (pio.Valid == 5400 && pio.Preferred == 2700) || count[pio.Prefix] > 1 {
				t.Fatalf("seed %d: %+v, active %v, %d times", seed, pio, active, count[pio.Prefix])
			}
		}
	}
	for _, p := range c.Prefixes {
		if count[p.Prefix] != 1 {
			t.Fatalf("seed %d: %v is there %d times", seed, p.Prefix, count[p.Prefix])
		}
	}
}

func TestRA_18_LifetimesFallWithTheLease(t *testing.T) {
	w := startWorld(t, seeded(18), content(lease(prefixA, 0, 14400, 86400)))
	w.until(25 * time.Hour)
	last := PrefixInformation{Valid: 5400, Preferred: 2700}
	for _, r := range w.sent {
		if !r.has(prefixA) {
			continue
		}
		pio := r.pio(t, prefixA)
		left := max(0, 86400*time.Second-r.at)
		if pio.Valid != min(5400, uint32(left/time.Second)) || pio.Valid > last.Valid || pio.Preferred > last.Preferred {
			t.Fatalf("at %v: %d/%d", r.at, pio.Valid, pio.Preferred)
		}
		last = pio
	}
	if last.Valid != 0 || last.Preferred != 0 {
		t.Errorf("ends with %d/%d", last.Valid, last.Preferred)
	}
}

// A prefix that is deprecated but valid keeps the router lifetime: RFC 4862 section 5.5.4 lets its connections go on,
// and without a default route they would not.
func TestRA_19_Invariants(t *testing.T) {
	for seed := range uint64(300) {
		c := seededChoices{seeded(seed)}
		w := newWorld(t, Config{}, seeded(seed))
		w.step(linkUp)
		for range 20 {
			w.at(w.now+pauses[c.pick(len(pauses))], SetContent{Content: randomContent(c, boot.Add(w.now))})
		}
		for _, r := range w.sent {
			global := false
			for _, o := range r.ra.Options {
				if pio, ok := o.(PrefixInformation); ok {
					global = global || pio.Valid > 0 && !ula.Contains(pio.Prefix.Addr())
					if pio.Preferred > pio.Valid {
						t.Fatalf("seed %d at %v: %+v", seed, r.at, pio)
					}
				}
			}
			if r.ra.RouterLifetime > 0 && !global {
				t.Fatalf("seed %d at %v: default router without a prefix: %+v", seed, r.at, r.ra)
			}
		}
	}
}

func TestRA_20_InfiniteLease(t *testing.T) {
	w := startWorld(t, seeded(20), content(forever(prefixA)))
	w.until(100 * time.Hour)
	for _, r := range w.sent {
		if pio := r.pio(t, prefixA); pio.Valid != 5400 || pio.Preferred != 2700 {
			t.Fatalf("at %v: %d/%d", r.at, pio.Valid, pio.Preferred)
		}
	}
}
