// SPDX-License-Identifier: MIT

package enroll

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/wgkey"
)

func TestJoin(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	w.wants("invited library")
	box := testKey(7)
	ans := w.ask(temporary, box)
	if ans.Code != invite.Accepted || ans.Name != "library" || !ans.Time.Equal(w.now.Wall) {
		t.Errorf("answer %+v", ans)
	}
	w.wants("joined library", "invited library")
	if p := w.device[box]; p.LinkLocal != box.LinkLocal() || !p.Preshared.IsZero() {
		t.Errorf("joined peer %+v", p)
	}
	// "the ack may be lost"
	if again := w.ask(temporary, box); again != ans {
		t.Errorf("asked again: %+v, want %+v", again, ans)
	}
	if other := w.ask(temporary, testKey(8)); other.Code != invite.Used {
		t.Errorf("another box: %+v", other)
	}
	w.start()
	w.wants("joined library", "invited library")
	w.step(Seen{Key: box, Age: -1})
	w.wants("joined library", "invited library")
	w.step(Seen{Key: box, Age: time.Second})
	w.wants("joined library")
	if got := w.ask(temporary, box); got.Code != 0 || w.s.Dropped() != 1 {
		t.Errorf("by an invitation that is gone: %+v", got)
	}
	// The box asks by its own tunnel.
	if got := w.ask(box, box); got.Code != invite.Accepted || got.Name != "library" {
		t.Errorf("joined box: %+v", got)
	}
	if got := w.ask(box, testKey(9)); got.Code != invite.Bad {
		t.Errorf("joined box for another: %+v", got)
	}
	w.start()
	w.wants("joined library")
}

// To ask by the new tunnel is the handshake.
func TestAskingByTheOwnTunnelEndsTheInvitation(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	box := testKey(7)
	w.ask(temporary, box)
	if got := w.ask(box, box); got.Code != invite.Accepted {
		t.Errorf("answer %+v", got)
	}
	w.wants("joined library")
	if len(w.disk) != 1 {
		t.Errorf("%d records on disk, want the site's", len(w.disk))
	}
}

func TestKeysThatAreTaken(t *testing.T) {
	w := newWorld(t)
	w.content.LinkLocal = testKey(31).LinkLocal()
	w.content.File = []FilePeer{{Name: "school", Key: testKey(20)}, {Name: "x", Key: testKey(21), LinkLocal: testKey(30).LinkLocal()}}
	w.step(SetContent{w.content})
	_, first := w.invite("library")
	w.ask(first, testKey(7))
	_, second := w.invite("office")
	for what, key := range map[string]wgkey.Public{
		"of a site in the file": testKey(20), "of a joined site": testKey(7), "the hub's": w.content.Hub, "of an invitation": first,
		"with the address of a site in the file": testKey(30), "with the address of the hub": testKey(31),
	} {
		if got := w.ask(second, key); got.Code != invite.Bad || !strings.Contains(got.Text, "taken") {
			t.Errorf("a key %s: %+v", what, got)
		}
		w.pass(time.Second)
	}
	if got := w.ask(second, testKey(8)); got.Code != invite.Accepted {
		t.Errorf("a new key: %+v", got)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	box := testKey(7)
	got := 0
	for range 1000 {
		if w.ask(temporary, box).Code == invite.Accepted {
			got++
		}
	}
	if got != answersAtOnce || w.s.Dropped() != uint64(1000-answersAtOnce) {
		t.Errorf("%d answers, %d dropped", got, w.s.Dropped())
	}
	w.notes = nil
	w.pass(answersEvery * answersAtOnce)
	for range answersAtOnce {
		w.ask(temporary, testKey(8))
	}
	if len(w.notes) != 1 {
		t.Errorf("notes %q, want one", w.notes)
	}
	for n := range uint64(3 * maxTalks) {
		w.s.mayAnswer(w.now, testKey(n))
	}
	if len(w.s.talks) > maxTalks {
		t.Errorf("%d peers are remembered, want at most %d", len(w.s.talks), maxTalks)
	}
}

func TestOtherDatagrams(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	for what, ev := range map[string]Received{
		"junk": {temporary, []byte("junk")}, "nothing": {temporary, nil}, "of nobody": {testKey(99), invite.Request{Key: testKey(7)}.Marshal()},
	} {
		w.answers = nil
		if w.step(ev); len(w.answers) > 0 {
			t.Errorf("%s is answered", what)
		}
	}
	b := invite.Request{Key: testKey(7)}.Marshal()
	b[4] = 2
	w.step(Received{temporary, b})
	if got := w.answer(temporary, testKey(7)); got.Code != invite.TooNew || got.Version != invite.Version {
		t.Errorf("a later version: %+v", got)
	}
	w.wants("invited library")
}

func TestFull(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	for n := range uint64(MaxJoined) {
		var k wgkey.Public
		binary.BigEndian.PutUint64(k[:], n+1)
		w.s.joined[k] = &site{}
	}
	if got := w.ask(temporary, testKey(7)); got.Code != invite.Full {
		t.Errorf("answer %+v", got)
	}
}
