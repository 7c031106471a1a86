// SPDX-License-Identifier: MIT

package enroll

import (
	"strings"
	"testing"

	"oasis6/internal/invite"
)

func TestNoAnswerBeforeTheDisk(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	box := testKey(7)
	w.full = true
	if got := w.ask(temporary, box); got.Code != invite.Later || !strings.Contains(got.Text, "disk") {
		t.Errorf("answer with a full disk: %+v", got)
	}
	w.wants("invited library")
	if _, _, err := w.s.Invite(w.now, w.order("school")); err != nil {
		t.Fatal(err)
	}
	w.step(Saved{false}) // the loop could not write it
	w.wants("invited library")
	w.full = false
	if got := w.ask(temporary, box); got.Code != invite.Accepted {
		t.Errorf("answer with room again: %+v", got)
	}
	// What nobody waits for is written a minute later.
	w.full = true
	w.step(Seen{Key: box, Age: 0})
	w.wants("joined library", "invited library")
	w.full = false
	w.step(Seen{Key: box, Age: 0})
	w.wants("joined library", "invited library")
	w.pass(retryWrite)
	w.step(Seen{Key: box, Age: 0})
	w.wants("joined library")
}

// A write that failed may be on disk all the same. It is taken back there with the next one, at the latest after a minute.
func TestDoubtfulWrites(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	first, second := testKey(7), testKey(8)
	w.lies = true
	if got := w.ask(temporary, first); got.Code != invite.Later || w.disk[peerKey(first)] == nil {
		t.Fatalf("answer %+v, and on disk %q", got, w.disk[peerKey(first)])
	}
	w.lies = false
	if got := w.ask(temporary, second); got.Code != invite.Accepted {
		t.Fatalf("answer %+v", got)
	}
	if w.disk[peerKey(first)] != nil {
		t.Error("two boxes are on disk for one invitation")
	}
	w.start()
	w.wants("joined library", "invited library")

	w = newWorld(t)
	_, temporary = w.invite("library")
	w.lies = true
	w.ask(temporary, first)
	if want := w.now.Boot.Add(retryWrite); !w.wake.Equal(want) {
		t.Errorf("wake %v, want %v", w.wake, want)
	}
	w.pass(retryWrite) // fails again
	w.lies = false
	w.pass(retryWrite)
	if len(w.disk) != 1 || w.disk[invitationKey(temporary)] == nil {
		t.Errorf("%d records on disk, want the invitation", len(w.disk))
	}
	if got := w.ask(temporary, first); got.Code != invite.Accepted {
		t.Errorf("answer %+v", got)
	}
}
