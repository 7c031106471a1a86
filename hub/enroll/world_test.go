// SPDX-License-Identifier: MIT

package enroll

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/wgkey"
)

// world is a hub with its disk and its device.
type world struct {
	t        *testing.T
	s        *State
	now      Instant
	boot     string
	content  Content
	disk     map[string][]byte
	full     bool // the disk takes nothing
	lies     bool // it takes all and says that it does not
	device   map[wgkey.Public]Peer
	anew     int
	answers  []Datagram
	notes    []string
	wake     time.Time
	secretNo uint64
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, boot: "boot 1", disk: map[string][]byte{}}
	w.content = Content{Hub: testKey(1), Endpoint: "hub.example.net:51820"}
	w.now = Instant{Boot: time.Unix(1000, 0).UTC(), Wall: time.Unix(1795608000, 0).UTC()}
	w.start()
	return w
}

// testKey is a public key of no one else: the book does not compute with keys.
func testKey(n uint64) wgkey.Public {
	var k wgkey.Public
	binary.BigEndian.PutUint64(k[8:], n)
	k[31] = 0x40
	return k
}

// start is the start of the process: all but the disk is new.
func (w *world) start() {
	w.s, w.device = New(), nil
	w.content.BootID = w.boot
	w.step(SetContent{w.content})
	w.step(Restored{w.records()})
}

func (w *world) records() []Change {
	var all []Change
	for k, v := range w.disk {
		all = append(all, Change{k, v})
	}
	return all
}

func (w *world) step(ev Event) { w.do(w.s.Step(w.now, ev)) }

// do carries out what a step wants, as the hub's loop does.
func (w *world) do(a Actions) bool {
	for _, n := range a.Notes {
		w.notes = append(w.notes, n.Msg)
	}
	w.wake = a.Wake
	ok := !w.full && !w.lies || len(a.Commit) == 0
	if !w.full {
		for _, c := range a.Commit {
			if w.disk[c.Key] = c.Value; c.Value == nil {
				delete(w.disk, c.Key)
			}
		}
	}
	if len(a.Commit) > 0 {
		b := w.s.Step(w.now, Saved{ok})
		if !ok {
			w.do(b)
			return false
		}
		if len(b.Commit) > 0 || b.Peers || len(b.Send) > 0 {
			w.t.Errorf("Saved{true} wants %+v", b)
		}
	}
	if a.Peers {
		w.device = map[wgkey.Public]Peer{}
		for _, p := range w.s.Peers() {
			w.device[p.Key] = p
		}
	}
	w.anew += len(a.Anew)
	w.answers = append(w.answers, a.Send...)
	return true
}

func (w *world) pass(d time.Duration) {
	w.now.Boot, w.now.Wall = w.now.Boot.Add(d), w.now.Wall.Add(d)
	w.step(Tick{})
}

// reboot is another boot, in which the boot clock begins anew and the wall clock shows what it may.
func (w *world) reboot(wall time.Time) {
	w.boot += "'"
	w.now = Instant{Boot: time.Unix(10, 0).UTC(), Wall: wall}
	w.start()
}

func (w *world) order(name string) Order {
	w.secretNo++
	o := Order{Name: name, Valid: 24 * time.Hour}
	binary.BigEndian.PutUint64(o.Secret[:], w.secretNo)
	return o
}

// invite makes an invitation and gives what a box reads in it.
func (w *world) invite(name string) (invite.Invitation, wgkey.Public) {
	w.t.Helper()
	ticket, a, err := w.s.Invite(w.now, w.order(name))
	if err != nil {
		w.t.Fatal(err)
	}
	if !w.do(a) {
		w.t.Fatal("the invitation is not on disk")
	}
	i, err := invite.Parse(ticket.Text)
	if err != nil {
		w.t.Fatal(err)
	}
	temporary := i.Keys().Private.Public()
	if p := w.device[temporary]; p.Origin != Invited || p.Preshared != i.Keys().Preshared || p.LinkLocal != temporary.LinkLocal() {
		w.t.Fatalf("the device has %+v for the invitation", p)
	}
	return i, temporary
}

// ask sends the box's request and gives the answer, code 0 if none came.
func (w *world) ask(from, key wgkey.Public) invite.Answer {
	w.t.Helper()
	w.answers = nil
	w.step(Received{From: from, Data: invite.Request{Key: key, Host: "box"}.Marshal()})
	return w.answer(from, key)
}

func (w *world) answer(from, key wgkey.Public) invite.Answer {
	w.t.Helper()
	if len(w.answers) == 0 {
		return invite.Answer{}
	}
	if len(w.answers) > 1 || w.answers[0].To != from {
		w.t.Fatalf("answers %+v, want one to %s", w.answers, from)
	}
	ans, err := invite.ParseAnswer(w.answers[0].Data)
	if err != nil || ans.Key != key {
		w.t.Fatalf("answer %+v, %v", ans, err)
	}
	return ans
}

// wants compares what the device has, by origin and name.
func (w *world) wants(peers ...string) {
	w.t.Helper()
	var got []string
	for _, p := range w.s.Peers() {
		got = append(got, fmt.Sprintf("%s %s", [...]string{"invited", "joined"}[p.Origin], p.Name))
		if _, ok := w.device[p.Key]; !ok {
			w.t.Errorf("%s is not in the device", p.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(peers)
	if strings.Join(got, ", ") != strings.Join(peers, ", ") || len(got) != len(w.device) {
		w.t.Errorf("peers %q, %d in the device, want %q", got, len(w.device), peers)
	}
}
