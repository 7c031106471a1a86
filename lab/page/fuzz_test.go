// SPDX-License-Identifier: MIT

package page

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"oasis6/lab/packet"
)

// A body of any kind is answered in JSON unless it is too long, and only what is a command reaches the world.
func FuzzCommand(f *testing.F) {
	for _, body := range []string{`{"action":"renumber"}`, `{"action":"unplug","target":"wan"}`, `{"op":"speed","speed":10}`, `{"op":"speed","speed":1e999}`, `[`, ``, `null`, `{"action":"cut"} x`} {
		f.Add("/api/do", body)
		f.Add("/api/time", body)
	}
	src := newFake()
	h := serve(f, src)
	f.Fuzz(func(t *testing.T, path, body string) {
		if path != "/api/do" {
			path = "/api/time"
		}
		got := h.ask(t, http.MethodPost, path, body)
		if !json.Valid([]byte(got.body)) && got.code != 413 || got.code >= 500 {
			t.Errorf("POST %s %q: %v", path, body, got)
		}
		if src.speed < MinSpeed || src.speed > MaxSpeed {
			t.Errorf("POST %s %q: the world runs at %v", path, body, src.speed)
		}
		for _, a := range src.did {
			if a.Action == "" || a.Target != "" && a.Target == a.Arg {
				t.Errorf("POST %s %q: the world was told %v", path, body, a)
			}
		}
		src.did = nil
	})
}

// Whatever comes when: each packet is told once, in order, or counted as hidden, and no batch is too large or too early.
func FuzzOutbox(f *testing.F) {
	f.Add([]byte{1, 200, 2, 0, 3, 255, 255, 255})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var o outbox
		kinds := packet.Kinds()
		now, last := time.Unix(0, 0), time.Time{}
		var added, told, newest uint64
		take := func() {
			b := o.takePackets(now)
			if b == nil {
				return
			}
			if len(b.Packets) > maxBatch || !last.IsZero() && now.Sub(last) < packetsPeriod {
				t.Fatalf("batch of %d at %v after %v", len(b.Packets), now, last)
			}
			last = now
			told += uint64(len(b.Packets)) + b.Hidden
			for _, p := range b.Packets {
				if p.ID <= newest {
					t.Fatalf("packet %d after %d", p.ID, newest)
				}
				newest = p.ID
			}
		}
		for _, op := range ops {
			if op%2 == 0 {
				now = now.Add(time.Duration(op) * time.Millisecond)
				take()
				continue
			}
			o.add(Update{Packets: packets(added+1, int(op)*4, kinds[int(op)%len(kinds)])})
			added += uint64(op) * 4
			if len(o.packets) > maxPending {
				t.Fatalf("%d packets wait", len(o.packets))
			}
			if w := o.wake(); w.After(now.Add(idlePeriod)) {
				t.Fatalf("wakes at %v, now it is %v", w, now)
			}
		}
		now = now.Add(time.Second)
		take()
		if told != added {
			t.Errorf("%d told or counted, %d added", told, added)
		}
	})
}
