// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"testing"
	"time"
)

const tenMinutes = 10 * time.Minute

// limited is a lease of a day of which nobody knows how old it is.
func limited(p netip.Prefix, limit time.Duration) Prefix {
	q := lease(p, 0, 43200, 86400)
	q.Limit = limit
	return q
}

// held is what a host holds that heard some RAs.
type held struct{ preferred, valid, router, dns time.Duration }

// hear takes the RA over and says whether anything had run out before.
func (h *held) hear(t failer, r sentRA) (ranOut bool) {
	ranOut = h.valid > 0 && min(h.preferred, h.valid, h.router, h.dns) <= r.at
	pio := r.pio(t, prefixA)
	l, _ := r.server(dns2)
	end := func(seconds uint32) time.Duration { return r.at + time.Duration(seconds)*time.Second }
	*h = held{end(pio.Preferred), end(pio.Valid), end(uint32(r.ra.RouterLifetime)), end(l)}
	return ranOut
}

// For three hours no host runs out, with the shortest, the longest and random intervals, also if two of three
// multicasts are lost; and none is told more than the limit.
func TestRFC9096_L16_LIMIT_HostsNeverRunOut(t *testing.T) {
	for _, cfg := range []Config{{}, {MaxInterval: 1800 * time.Second}, {MaxInterval: 4 * time.Second}, {MinInterval: 3 * time.Second}} {
		for _, limit := range []time.Duration{MinPrefixLimit, 100 * time.Second, tenMinutes, 45 * time.Minute} {
			for _, rand := range []func() float64{func() float64 { return 0 }, func() float64 { return 0.9999999 }, seeded(1), seeded(2)} {
				w := newWorld(t, cfg, rand)
				w.step(linkUp)
				c := content(limited(prefixA, limit))
				c.RDNSS = []netip.Addr{dns2}
				w.step(SetContent{Content: c})
				w.until(3 * time.Hour)
				checkHeld(t, w.sent, uint32(limit/time.Second))
			}
		}
	}
}

func checkHeld(t *testing.T, sent []sentRA, limit uint32) {
	t.Helper()
	var hosts [4]held // one hears all, the others every third
	for i, r := range sent {
		pio := r.pio(t, prefixA)
		dns, _ := r.server(dns2)
		if pio.Valid != limit || pio.Preferred != limit || uint32(r.ra.RouterLifetime) != max(limit, 180) || dns != max(limit, 180) {
			t.Fatalf("limit %d s, at %v: prefix %d/%d, router %d, DNS %d", limit, r.at, pio.Valid, pio.Preferred, r.ra.RouterLifetime, dns)
		}
		for j := range hosts {
			if (j == 3 || i%3 == j) && hosts[j].hear(t, r) {
				t.Fatalf("limit %d s: host %d ran out before the RA at %v", limit, j, r.at)
			}
		}
	}
	end := sent[len(sent)-1]
	if n := len(sent); n < 3*3600*3/int(limit) || end.at < 3*time.Hour-30*time.Minute {
		t.Fatalf("limit %d s: %d RAs, the last at %v", limit, n, end.at)
	}
}

// A third of the limit is MaxRtrAdvInterval, three quarters of that MinRtrAdvInterval; when it is longer than what is
// configured, it changes nothing.
func TestRFC9096_L16_LIMIT_Intervals(t *testing.T) {
	for _, c := range []struct {
		limit, least, most time.Duration
	}{
		{0, 450 * time.Second, 600 * time.Second},
		{1, 3 * time.Second, 4 * time.Second},
		{12 * time.Second, 3 * time.Second, 4 * time.Second},
		{tenMinutes, 150 * time.Second, 200 * time.Second},
		{1799 * time.Second, 449750 * time.Millisecond, 599666667 * time.Microsecond},
		{1800 * time.Second, 450 * time.Second, 600 * time.Second},
		{24 * time.Hour, 450 * time.Second, 600 * time.Second},
	} {
		for _, rand := range []float64{0, 0.9999999} {
			w := startWorld(t, func() float64 { return rand }, content(limited(prefixA, c.limit)))
			w.until(3000 * time.Second)
			n := len(w.sent)
			gap, want := w.sent[n-1].at-w.sent[n-2].at, c.least
			if rand > 0 {
				want = c.most
			}
			if (gap - want).Abs() > time.Millisecond {
				t.Errorf("limit %v, rand %v: gap %v, want %v", c.limit, rand, gap, want)
			}
		}
	}
}

// A router that plans anew every second makes no more multicasts by it.
func TestRFC9096_L16_LIMIT_SameContentIsNoNews(t *testing.T) {
	w := startWorld(t, half, content(limited(prefixA, tenMinutes)))
	for i := range 3600 {
		w.at(time.Duration(i)*time.Second, SetContent{Content: content(limited(prefixA, tenMinutes))})
	}
	if n := len(w.sent); n > 3+3600/150 {
		t.Errorf("%d multicasts in an hour", n)
	}
}

// The limit comes while hosts hold more: told at once. It comes while they hold about as much: what was drawn for the
// longer lifetime does not stand.
func TestRFC9096_L16_LIMIT_ComesLater(t *testing.T) {
	w := startWorld(t, half, content(limited(prefixA, 0)))
	got := w.at(100*time.Second, SetContent{Content: content(limited(prefixA, tenMinutes))})
	wantSent(t, got, "1m40s ff02::1")
	if pio := got[0].pio(t, prefixA); pio.Valid != 600 || pio.Preferred != 600 || got[0].ra.RouterLifetime != 600 {
		t.Errorf("%d/%d, router %d", pio.Valid, pio.Preferred, got[0].ra.RouterLifetime)
	}
	w = startWorld(t, func() float64 { return 0.9999999 }, content(lease(prefixA, 0, 1220, 1220)))
	w.until(620 * time.Second) // last at 32 s, next at 632 s
	w.at(632*time.Second, Tick{})
	n := len(w.sent)
	told := w.sent[n-1]
	if pio := told.pio(t, prefixA); told.at < 631*time.Second || pio.Valid < 580 || pio.Valid > 600 {
		t.Fatalf("the test expects about 590 s at 632 s: %d at %v", pio.Valid, told.at)
	}
	w.step(SetContent{Content: content(limited(prefixA, tenMinutes))})
	w.until(told.at + 205*time.Second)
	if got := w.sent[n:]; len(got) != 1 || got[0].at > told.at+201*time.Second {
		t.Errorf("sent %v, want one 200 s after %v", got, told.at)
	}
}

// The lease is confirmed: the longer lifetimes reach hosts at once, or at the floor.
func TestRFC9096_L16_LIMIT_GoesAway(t *testing.T) {
	for _, at := range []time.Duration{10 * time.Second, 17 * time.Second, 100 * time.Second, 206 * time.Second} {
		w := startWorld(t, half, content(limited(prefixA, tenMinutes)))
		w.until(at)
		last := w.sent[len(w.sent)-1].at
		w.step(SetContent{Content: content(limited(prefixA, 0))})
		w.until(at + 3*time.Second)
		got := w.sent[len(w.sent)-1]
		if pio := got.pio(t, prefixA); pio.Valid != 5400 || pio.Preferred != 2700 || got.ra.RouterLifetime != 2700 ||
			got.at != max(at, last+3*time.Second) {
			t.Errorf("confirmed at %v: at %v %d/%d, router %d", at, got.at, pio.Valid, pio.Preferred, got.ra.RouterLifetime)
		}
		w.until(2 * time.Hour)
		n := len(w.sent)
		if gap := w.sent[n-1].at - w.sent[n-2].at; gap < 450*time.Second {
			t.Errorf("confirmed at %v: later a multicast each %v", at, gap)
		}
	}
}

// The lease ends before the limit does: as ever, it counts down and is withdrawn in that instant.
func TestRFC9096_L15_LimitPromisesNothing(t *testing.T) {
	p := lease(prefixA, 0, 700, 1000)
	p.Limit = tenMinutes
	w := startWorld(t, seeded(5), content(p))
	for _, r := range w.until(1001 * time.Second) {
		left := func(end time.Duration) uint32 { return uint32(max(0, end-r.at) / time.Second) }
		pio := r.pio(t, prefixA)
		if want := min(600, left(1000*time.Second)); pio.Valid != want || pio.Preferred != min(600, left(700*time.Second)) {
			t.Errorf("at %v: %d/%d", r.at, pio.Valid, pio.Preferred)
		}
	}
	if r := w.sent[len(w.sent)-1]; r.at != 1000*time.Second || r.ra.RouterLifetime != 0 || r.pio(t, prefixA).Valid != 0 {
		t.Errorf("at the end: %v %+v", r.at, r.ra)
	}
}

// What leads elsewhere is not limited: a second prefix keeps its lifetimes, and the router's and DNS's with it. ULA
// keeps DNS only.
func TestRFC9096_L16_LIMIT_OthersKeepTheirs(t *testing.T) {
	for _, c := range []struct {
		other       Prefix
		router, dns uint32
	}{
		{forever(prefixB), 2700, 5400},
		{forever(ulaP), 600, 5400},
		{limited(prefixB, 20*time.Minute), 1200, 1200},
		{lease(prefixB, 0, 0, 0), 600, 600}, // over
	} {
		ct := content(limited(prefixA, tenMinutes), c.other)
		ct.RDNSS = []netip.Addr{dns2}
		w := startWorld(t, half, ct)
		for _, r := range w.until(time.Hour) {
			if dns, _ := r.server(dns2); uint32(r.ra.RouterLifetime) != c.router || dns != c.dns || r.pio(t, prefixA).Valid != 600 {
				t.Fatalf("beside %v: router %d, DNS %d, %v", c.other.Prefix, r.ra.RouterLifetime, dns, r.pio(t, prefixA))
			}
		}
	}
}

// Solicited answers are within the limit too.
func TestRFC9096_L16_LIMIT_UnicastToo(t *testing.T) {
	w := startWorld(t, half, content(limited(prefixA, tenMinutes)))
	w.at(100*time.Second, rsFrom(hostA))
	got := w.until(101 * time.Second)
	wantSent(t, got, "1m40.25s fe80::a")
	if pio := got[0].pio(t, prefixA); pio.Valid != 600 || pio.Preferred != 600 {
		t.Errorf("%d/%d", pio.Valid, pio.Preferred)
	}
	// It moves no multicast: others hold what they heard last.
	wantSent(t, w.until(208*time.Second), "3m27s ff02::1") // 32 s + 175 s
}
