// SPDX-License-Identifier: MIT

package enroll

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"oasis6/internal/invite"
	"oasis6/internal/wgkey"
)

// The files of hubs in use look like this.
func TestRecordsOnDisk(t *testing.T) {
	w := newWorld(t)
	i, temporary := w.invite("library")
	box := testKey(7)
	w.ask(temporary, box)
	for key, want := range map[string]string{
		"invitation/" + temporary.Hex(): `{"version":1,"name":"library","preshared_key":"` + i.Keys().Preshared.Reveal() + `","created":"2026-11-25T12:00:00Z",` +
			`"expires":"2026-11-26T12:00:00Z","left":{"left_s":86400,"until_boot_ns":87400000000000},"boot_id":"boot 1","boot_ns":1000000000000,"used_by":"` + box.String() + `"}`,
		"peer/" + box.Hex(): `{"version":1,"name":"library","joined":"2026-11-25T12:00:00Z","host":"box"}`,
	} {
		if got := string(w.disk[key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
		if got := string(w.s.value(w.now, key)); got != want {
			t.Errorf("value(%s) = %s, want %s", key, got, want)
		}
	}
	for _, key := range []string{"", "lease/x", "peer/x", "invitation/", invitationKey(box), peerKey(temporary)} {
		if got := w.s.value(w.now, key); got != nil {
			t.Errorf("value(%s) = %s", key, got)
		}
	}
	for _, v := range w.disk {
		if bytes.Contains(v, []byte(i.Keys().Private.Reveal())) {
			t.Error("the temporary private key is on disk")
		}
	}
}

// What cannot be read stays on disk and is reported; the rest counts.
func TestDamagedRecords(t *testing.T) {
	w := newWorld(t)
	w.invite("library")
	good := ""
	for k := range w.disk {
		good = k
	}
	text := string(w.disk[good])
	other := "invitation/" + testKey(40).Hex()
	peer := "peer/" + testKey(41).Hex()
	for what, r := range map[string]Change{
		"no key":            {"invitation/xyz", []byte(text)},
		"zero key":          {"peer/" + wgkey.Public{}.Hex(), []byte(`{"version":1,"name":"x","joined":"2026-11-25T12:00:00Z"}`)},
		"not json":          {other, []byte("x")},
		"later version":     {other, []byte(`{"version":2,"something":1}`)},
		"no version":        {other, []byte(strings.Replace(text, `"version":1`, `"version":0`, 1))},
		"unknown field":     {other, []byte(strings.Replace(text, `"name"`, `"nane"`, 1))},
		"bad name":          {other, []byte(strings.Replace(text, "library", "", 1))},
		"bad preshared key": {other, []byte(strings.Replace(text, `"preshared_key":"`, `"preshared_key":"x`, 1))},
		"bad user":          {other, []byte(strings.Replace(text, `"boot_ns"`, `"used_by":"x","boot_ns"`, 1))},
		"no end":            {other, []byte(strings.Replace(text, `"left_s":86400`, `"left_s":4294967295`, 1))},
		"wrong lifetime":    {other, []byte(strings.Replace(text, `"left_s":86400`, `"left_s":1`, 1))},
		"peer's name":       {peer, []byte(`{"version":1,"name":"","joined":"2026-11-25T12:00:00Z"}`)},
		"peer not json":     {peer, nil},
	} {
		w.disk = map[string][]byte{good: []byte(text), r.Key: r.Value, "lease/x": []byte("not ours")}
		w.notes = nil
		w.start()
		w.wants("invited library")
		if len(w.notes) != 1 || w.notes[0] != "record left out" {
			t.Errorf("%s: notes %q", what, w.notes)
		}
		if len(w.disk) != 3 {
			t.Errorf("%s: %d records on disk", what, len(w.disk))
		}
	}
}

func FuzzRestore(f *testing.F) {
	w := newWorld(nil)
	ticket, a, err := w.s.Invite(w.now, w.order("library"))
	if err != nil || ticket.Text == "" {
		f.Fatal(err)
	}
	f.Add(a.Commit[0].Key, a.Commit[0].Value, false)
	f.Add(peerKey(testKey(7)), (&site{name: "x"}).encode(), true)
	f.Fuzz(func(t *testing.T, key string, value []byte, otherBoot bool) {
		w := newWorld(t)
		if otherBoot {
			w.boot = "boot 2"
		}
		w.disk[key] = value
		w.start()
		for _, p := range w.s.Peers() {
			if err := invite.CheckName(p.Name); err != nil || p.Key.IsZero() {
				t.Errorf("peer %+v, %v", p, err)
			}
		}
		for k, i := range w.s.invitations {
			again := newWorld(t)
			again.boot = w.boot
			again.disk[invitationKey(k)] = i.encode(w.now.Boot, w.content.BootID)
			again.start()
			if j := again.s.invitations[k]; j == nil && !i.goes(w.now) || j != nil && (j.name != i.name || j.usedBy != i.usedBy || j.until.Left(w.now.Boot) != i.until.Left(w.now.Boot)) {
				t.Errorf("read again: %+v, want %+v", j, i)
			}
		}
	})
}

// FuzzStep feeds random events: no panic, the indexes hold, and a failed write leaves no trace.
func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 2, 2, 7, 7})
	f.Fuzz(func(t *testing.T, steps []byte) {
		w := newWorld(t)
		names := []string{"a", "b", "c"}
		var temporary []wgkey.Public
		for n, b := range steps[:min(len(steps), 200)] {
			pick := uint64(b >> 4)
			from := testKey(100 + pick%4)
			if len(temporary) > 0 && b&8 != 0 {
				from = temporary[int(pick)%len(temporary)]
			}
			var a Actions
			switch b & 7 {
			case 0, 1:
				ticket, made, err := w.s.Invite(w.now, w.order(names[pick%3]))
				if err != nil {
					continue
				}
				i, err := invite.Parse(ticket.Text)
				if err != nil {
					t.Fatal(err)
				}
				temporary, a = append(temporary, i.Keys().Private.Public()), made
			case 2, 3:
				a = w.s.Step(w.now, Received{from, invite.Request{Key: testKey(100 + pick%4)}.Marshal()})
			case 4:
				a = w.s.Step(w.now, Seen{from, time.Duration(pick-1) * time.Minute})
			case 5:
				_, a, _ = w.s.Remove(w.now, names[pick%3])
			case 6:
				w.pass(time.Duration(pick) * 4 * time.Hour)
				continue
			case 7:
				w.content.File = w.content.File[:0:0]
				if pick%2 == 0 {
					w.content.File = append(w.content.File, FilePeer{Name: names[pick%3], Key: testKey(100 + pick%4)})
				}
				a = w.s.Step(w.now, SetContent{w.content})
			}
			w.full = n%5 == 4
			before := len(w.disk)
			if !w.do(a) && len(w.disk) != before {
				t.Fatal("a failed write changed the disk")
			}
			w.full = false
			checkIndexes(t, w.s)
			checkDisk(t, w)
		}
	})
}

func checkIndexes(t *testing.T, s *State) {
	t.Helper()
	for k, i := range s.invitations {
		if s.links[k.LinkLocal()] != k || i.usedBy.IsZero() && s.openOf[i.name] != k || !i.usedBy.IsZero() && s.usedFor[i.usedBy] != k {
			t.Fatalf("invitation %s is not in the indexes", i.name)
		}
	}
	for k, j := range s.joined {
		if s.links[k.LinkLocal()] != k || s.joinedOf[j.name] != k {
			t.Fatalf("site %s is not in the indexes", j.name)
		}
	}
	if len(s.links) != len(s.invitations)+len(s.joined) || len(s.openOf)+len(s.usedFor) != len(s.invitations) || len(s.joinedOf) != len(s.joined) {
		t.Fatal("an index has more than there is")
	}
}

// checkDisk: what the book says is what is on disk.
func checkDisk(t *testing.T, w *world) {
	t.Helper()
	want := len(w.s.invitations) + len(w.s.joined)
	for k := range w.s.invitations {
		if w.disk[invitationKey(k)] == nil {
			t.Fatal("an invitation is not on disk")
		}
	}
	for k := range w.s.joined {
		if w.disk[peerKey(k)] == nil {
			t.Fatal("a site is not on disk")
		}
	}
	if len(w.disk) != want {
		t.Fatalf("%d records on disk, want %d", len(w.disk), want)
	}
}
