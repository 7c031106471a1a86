// SPDX-License-Identifier: MIT

package enroll

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
)

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
