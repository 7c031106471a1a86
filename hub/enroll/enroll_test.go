// SPDX-License-Identifier: MIT

package enroll

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/lifetime"
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

func TestNamesAreUnique(t *testing.T) {
	w := newWorld(t)
	w.content.File = []FilePeer{{Name: "school", Key: testKey(20)}, {Key: testKey(21)}}
	w.step(SetContent{w.content})
	_, temporary := w.invite("library")
	refused := func(name, want string) {
		t.Helper()
		if _, _, err := w.s.Invite(w.now, w.order(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Invite(%s) = %v, want %q", name, err, want)
		}
	}
	refused("Library", "an open invitation has it")
	refused("School", "a [Peer] of the hub's file has it")
	refused("", "want 1 to")
	w.ask(temporary, testKey(7))
	refused("LIBRARY", "a site that joined has it")
	// An invitation that has expired is replaced.
	_, old := w.invite("office")
	w.pass(24 * time.Hour)
	w.invite("office")
	if _, ok := w.device[old]; ok {
		t.Error("the expired invitation of the same name is still there")
	}
	w.invite("park")
	w.pass(24 * time.Hour)
	before := len(w.s.invitations)
	if _, _, err := w.s.Invite(w.now, w.order("park")); err != nil {
		t.Fatal(err)
	}
	w.step(Saved{false})
	if len(w.s.invitations) != before || w.s.openOf["park"] == (wgkey.Public{}) {
		t.Error("the replaced invitation did not come back")
	}
}

func TestInviteRefuses(t *testing.T) {
	w := newWorld(t)
	for want, change := range map[string]func(*Order){
		"valid for 59.9":    func(o *Order) { o.Valid = MinValid - 1 },
		"valid for 720h0m1": func(o *Order) { o.Valid = MaxValid + time.Second },
		"without a secret":  func(o *Order) { o.Secret = invite.Secret{} },
		"endpoint \"hub\"":  func(o *Order) { o.Endpoint = "hub" },
	} {
		o := w.order("library")
		change(&o)
		if _, _, err := w.s.Invite(w.now, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Invite(%+v) = %v, want %q", o, err, want)
		}
	}
	w.content.Endpoint = ""
	w.step(SetContent{w.content})
	if _, _, err := w.s.Invite(w.now, w.order("library")); err == nil || !strings.Contains(err.Error(), "set Endpoint in [Hub], or give --endpoint") {
		t.Errorf("without endpoint: %v", err)
	}
	o := w.order("library")
	o.Endpoint = "192.0.2.1:51820"
	ticket, _, err := w.s.Invite(w.now, o)
	if i, perr := invite.Parse(ticket.Text); err != nil || perr != nil || i.Endpoint != o.Endpoint || !i.Expires.Equal(ticket.Expires) {
		t.Errorf("Invite() = %+v, %v; Parse() = %v", ticket, err, perr)
	}
	o.Name = "school"
	if _, _, err := w.s.Invite(w.now, o); err == nil || !strings.Contains(err.Error(), "taken") {
		t.Errorf("the same secret twice: %v", err)
	}
}

func TestInvitationsAreBounded(t *testing.T) {
	w := newWorld(t)
	for n := range uint64(MaxInvitations) {
		k := testKey(n + 100)
		w.s.putInvitation(k, &invitation{name: fmt.Sprint("site ", n), key: k, link: k.LinkLocal(), until: lifetime.At(w.now.Boot.Add(24 * time.Hour))})
		w.now.Boot = w.now.Boot.Add(time.Second)
	}
	if _, _, err := w.s.Invite(w.now, w.order("one more")); err == nil || !strings.Contains(err.Error(), "1000 invitations are open") {
		t.Errorf("one more: %v", err)
	}
	w.now.Boot = w.now.Boot.Add(24*time.Hour - 999*time.Second) // the first one has expired
	w.invite("one more")
	if len(w.device) != MaxInvitations {
		t.Errorf("%d peers, want %d", len(w.device), MaxInvitations)
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

// "a [Peer] of the file with the same key or name wins"
func TestTheFileWins(t *testing.T) {
	w := newWorld(t)
	_, temporary := w.invite("library")
	box := testKey(7)
	w.ask(temporary, box)
	w.step(Seen{Key: box})
	_, open := w.invite("office")
	for what, p := range map[string]FilePeer{
		"key": {Name: "books", Key: box}, "name": {Name: "library", Key: testKey(20)},
		"address": {Name: "x", Key: testKey(21), LinkLocal: box.LinkLocal()},
	} {
		w.content.File = []FilePeer{p}
		w.notes = nil
		w.step(SetContent{w.content})
		w.wants("invited office")
		if warned := len(w.notes) > 0; warned != (what != "key") {
			t.Errorf("%s: notes %q", what, w.notes)
		}
		w.content.File = nil
		w.step(SetContent{w.content})
		w.wants("joined library", "invited office")
	}
	w.content.File = []FilePeer{{Name: "books", Key: box}, {Name: "office", Key: testKey(22)}}
	w.step(SetContent{w.content})
	if got := w.ask(box, box); got.Code != invite.Accepted || got.Name != "books" {
		t.Errorf("a site of the file asks: %+v", got)
	}
	if got := w.ask(open, testKey(8)); got.Code != invite.Bad || !strings.Contains(got.Text, "has this name now") {
		t.Errorf("an invitation for a name of the file: %+v", got)
	}
	w.start()
	w.wants("invited office")
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.content.File = []FilePeer{{Name: "school", Key: testKey(20)}}
	w.step(SetContent{w.content})
	_, temporary := w.invite("library")
	box := testKey(7)
	w.ask(temporary, box)
	_, open := w.invite("office")
	for _, c := range []struct {
		name string
		key  wgkey.Public
	}{{"library", box}, {"office", open}} {
		key, a, err := w.s.Remove(w.now, c.name)
		if err != nil || key != c.key {
			t.Errorf("Remove(%s) = %s, %v", c.name, key, err)
		}
		w.do(a)
	}
	w.wants()
	if len(w.disk) != 0 {
		t.Errorf("%d records are left", len(w.disk))
	}
	if got := w.ask(temporary, box); got.Code != 0 {
		t.Errorf("the box comes again by its invitation: %+v", got)
	}
	for name, want := range map[string]string{"school": "stands in the hub's file", "library": "no site that joined"} {
		if _, a, err := w.s.Remove(w.now, name); err == nil || !strings.Contains(err.Error(), want) || len(a.Commit) > 0 {
			t.Errorf("Remove(%s) = %v, want %q", name, err, want)
		}
	}
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

func TestInvitationsForPeople(t *testing.T) {
	w := newWorld(t)
	w.invite("b")
	_, a := w.invite("a")
	w.ask(a, testKey(7))
	got := w.s.Invitations(w.now)
	if len(got) != 2 || got[0].Name != "a" || !got[0].Used || got[1].Used || got[1].Expired || !got[1].Expires.Equal(w.now.Wall.Add(24*time.Hour)) {
		t.Errorf("Invitations() = %+v", got)
	}
	w.pass(24 * time.Hour)
	if got := w.s.Invitations(w.now); !got[1].Expired {
		t.Errorf("Invitations() = %+v, want b to have expired", got)
	}
}

// The same content does nothing.
func TestSameContent(t *testing.T) {
	w := newWorld(t)
	w.content.File = []FilePeer{{Name: "school", Key: testKey(20), LinkLocal: netip.MustParseAddr("fe80::2")}}
	if a := w.s.Step(w.now, SetContent{w.content}); !a.Peers {
		t.Error("new content changes nothing")
	}
	if a := w.s.Step(w.now, SetContent{w.content}); a.Peers || len(a.Commit) > 0 {
		t.Errorf("the same content: %+v", a)
	}
}

// What a join costs a hub with many sites: the list of peers is made anew.
func BenchmarkPeers(b *testing.B) {
	w := newWorld(nil)
	for n := range uint64(10000) {
		k := testKey(n + 100)
		w.s.putJoined(k, &site{name: fmt.Sprint(n), key: k, link: k.LinkLocal()})
	}
	for b.Loop() {
		if len(w.s.Peers()) != 10000 {
			b.Fatal("peers are missing")
		}
	}
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

// What a poll costs a hub with many sites and open invitations: most sites are nobody's that waits.
func BenchmarkSeen(b *testing.B) {
	w := newWorld(nil)
	for n := range uint64(MaxInvitations) {
		k := testKey(n + 100)
		w.s.putInvitation(k, &invitation{name: fmt.Sprint(n), key: k, link: k.LinkLocal(), until: lifetime.At(w.now.Boot.Add(time.Hour)), expires: w.now.Wall.Add(time.Hour)})
	}
	for b.Loop() {
		w.s.Step(w.now, Seen{Key: testKey(7), Age: time.Second})
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
