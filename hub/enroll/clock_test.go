// SPDX-License-Identifier: MIT

package enroll

import (
	"testing"
	"time"

	"oasis6/internal/invite"
)

func TestInvitationExpires(t *testing.T) {
	w := newWorld(t)
	_, a := w.invite("a")
	_, b := w.invite("b")
	box := testKey(7)
	w.pass(24*time.Hour - time.Second)
	if got := w.ask(a, box); got.Code != invite.Accepted {
		t.Errorf("a second before the end: %+v", got)
	}
	w.pass(time.Second)
	if got := w.ask(b, testKey(8)); got.Code != invite.Expired {
		t.Errorf("at the end: %+v", got)
	}
	if got := w.ask(a, box); got.Code != invite.Accepted {
		t.Errorf("the box that was in time: %+v", got)
	}
	if got := w.ask(a, testKey(9)); got.Code != invite.Used {
		t.Errorf("another: %+v", got)
	}
	if want := w.now.Boot.Add(ExpiredKept); !w.wake.Equal(want) {
		t.Errorf("wake %v, want %v", w.wake, want)
	}
	w.pass(ExpiredKept - 1)
	w.wants("joined a", "invited b", "invited a")
	w.pass(1)
	w.wants("joined a")
	if !w.wake.IsZero() {
		t.Errorf("wake %v with nothing to wait for", w.wake)
	}
}

// The clocks of a board without a battery.
func TestExpiryWithWrongClocks(t *testing.T) {
	boots := time.Unix(60, 0).UTC() // 1970
	for _, c := range []struct {
		what string
		do   func(w *world)
		want invite.Code
	}{
		{"the wall clock jumps ahead by years in the same boot", func(w *world) { w.now.Wall = w.now.Wall.AddDate(9, 0, 0) }, invite.Accepted},
		{"and the process starts again", func(w *world) { w.now.Wall = w.now.Wall.AddDate(9, 0, 0); w.start() }, invite.Accepted},
		{"it goes back to 1970 and a day passes", func(w *world) { w.now.Wall = boots; w.pass(24 * time.Hour) }, invite.Expired},
		{"and the process starts again in between", func(w *world) { w.now.Wall = boots; w.start(); w.pass(24 * time.Hour) }, invite.Expired},
		{"a reboot with the right time", func(w *world) { w.reboot(w.now.Wall.Add(time.Hour)) }, invite.Accepted},
		{"a reboot with the right time, after a day off", func(w *world) { w.reboot(w.now.Wall.Add(24 * time.Hour)) }, invite.Expired},
		{"a reboot into 1970", func(w *world) { w.reboot(boots) }, invite.Accepted},
		{"a reboot into 1970, and a day", func(w *world) { w.reboot(boots); w.pass(24 * time.Hour) }, invite.Expired},
		{"a reboot into 1970, a day, and another process", func(w *world) { w.reboot(boots); w.pass(24 * time.Hour); w.start() }, invite.Accepted},
		{"a reboot into the future", func(w *world) { w.reboot(w.now.Wall.Add(25 * time.Hour)) }, invite.Expired},
		{"a reboot into the future that is put right", func(w *world) {
			right := w.now.Wall
			w.reboot(right.Add(25 * time.Hour))
			w.pass(time.Minute)
			w.now.Wall = right
		}, invite.Accepted},
	} {
		w := newWorld(t)
		_, temporary := w.invite("library")
		c.do(w)
		if got := w.ask(temporary, testKey(7)); got.Code != c.want {
			t.Errorf("%s: %v, want %v", c.what, got.Code, c.want)
		}
	}
	w := newWorld(t)
	w.invite("library")
	w.reboot(boots)
	w.pass(time.Minute)
	w.now.Wall = time.Unix(1795608000, 0).Add(24*time.Hour + ExpiredKept)
	w.pass(lookAtWall) // nothing but the wake after an hour
	w.wants()
}

func TestUsedInvitationOutlivesReboots(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	w.ask(temporary, testKey(7))
	w.reboot(w.now.Wall.Add(25 * time.Hour))
	if got := w.ask(temporary, testKey(7)); got.Code != invite.Accepted {
		t.Errorf("the box, a day late: %+v", got)
	}
	w.pass(ExpiredKept)
	w.wants("joined library")
}

// A box whose clock went back could not make a handshake with a hub that remembers a later one.
func TestOldSessionsOfInvitationsAreForgotten(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	for _, age := range []time.Duration{-1, 0, SessionOver - 1} {
		if w.step(Seen{temporary, age}); w.anew != 0 {
			t.Errorf("anew after %v", age)
		}
	}
	a := w.s.Step(w.now, Seen{temporary, SessionOver})
	if w.do(a); w.anew != 1 || !a.Peers {
		t.Errorf("anew %d times, want once, and the device to be told", w.anew)
	}
	w.ask(temporary, testKey(7))
	if w.step(Seen{testKey(7), SessionOver}); w.anew != 1 {
		t.Error("a joined site's session is ended")
	}
}

// Sites that are seen all the time do not put off what the book is to do: an invitation of an earlier boot expires by the
// wall clock.
func TestSeenSitesPutNothingOff(t *testing.T) {
	w := newWorld(t)
	w.invite("library")
	w.boot = "another"
	w.start()
	wake := w.s.Step(w.now, Tick{}).Wake
	if wake.IsZero() {
		t.Fatal("nothing is to be done")
	}
	for range 10 {
		w.now.Boot = w.now.Boot.Add(time.Minute)
		if a := w.s.Step(w.now, Seen{Key: testKey(9), Age: time.Second}); !a.Wake.Equal(wake) {
			t.Fatalf("wake is %v, was %v", a.Wake, wake)
		}
	}
}
