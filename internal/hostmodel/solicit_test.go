// SPDX-License-Identifier: MIT

package hostmodel

import (
	"slices"
	"testing"
	"time"
)

// The first solicitation waits for the link-local address, the next two are 4 s apart, then the interval doubles up
// to an hour and goes on for ever.
func TestRFC7559_2_HOST_Backoff(t *testing.T) {
	h := start(t, Config{})
	h.at(1499 * time.Millisecond)
	if len(h.sent) != 0 {
		t.Fatalf("solicited at %v from a tentative address", h.sent)
	}
	h.at(60 * time.Second)
	want := []time.Duration{1500 * time.Millisecond, 5500 * time.Millisecond, 9500 * time.Millisecond,
		17500 * time.Millisecond, 33500 * time.Millisecond}
	if !slices.Equal(h.sent, want) {
		t.Errorf("solicited at %v, want %v", h.sent, want)
	}
	h.at(24 * time.Hour)
	n := len(h.sent)
	if gap := h.sent[n-1] - h.sent[n-2]; gap != time.Hour {
		t.Errorf("the last interval is %v", gap)
	}
	h.hear(routerA, 1800)
	h.at(48 * time.Hour)
	if len(h.sent) != n {
		t.Errorf("%d solicitations after an RA", len(h.sent)-n)
	}
}

// Router lifetime 0 does not end it (RFC 7559 section 2.1), except on Linux.
func TestRFC7559_2_1_HOST_RouterLifetimeZero(t *testing.T) {
	for _, linux := range []bool{true, false} {
		h := start(t, Config{AnyRAEndsSoliciting: linux})
		h.hear(routerA, 0)
		h.at(time.Minute)
		if got := len(h.sent) == 0; got != linux {
			t.Errorf("Linux %v: solicited at %v", linux, h.sent)
		}
	}
}

// Link down and up: whoever forgets solicits again; who does not keeps address and router and says nothing.
func TestLinkDownAndUp(t *testing.T) {
	for _, keep := range []bool{true, false} {
		h := start(t, Config{KeepOnLinkDown: keep})
		h.hear(routerA, 1800, pio(first, "LA", 5400, 2700))
		h.at(10 * time.Second)
		h.sent = nil
		h.step(LinkDown{})
		h.wantSource("")
		h.hear(routerA, 0) // nobody hears it
		h.at(20 * time.Second)
		h.step(LinkUp{})
		if keep {
			h.wantSource(first)
		} else {
			h.wantSource("")
		}
		h.at(30 * time.Second)
		if (len(h.sent) == 0) != keep {
			t.Errorf("keeps %v: solicited at %v", keep, h.sent)
		}
	}
}

// Eight hours of sleep: lifetimes run on, or stand still.
func TestSleep(t *testing.T) {
	for _, still := range []bool{true, false} {
		h := start(t, Config{StandsStill: still})
		h.hear(routerA, 1800, slla(), pio(first, "LA", 5400, 2700), rdnss(1800, "2001:db8::53"))
		h.at(10 * time.Second)
		h.now = h.now.Add(8 * time.Hour)
		h.step(Resumed{Slept: 8 * time.Hour})
		if still {
			h.wantSource(first)
			h.at(8*time.Hour + 1800*time.Second)
		}
		h.wantSource("")
		if n := len(h.Addresses(h.now)); n == 1 != still {
			t.Errorf("stands still %v: %d addresses", still, n)
		}
	}
}
