// SPDX-License-Identifier: MIT

package invite

import (
	"bytes"
	"testing"
	"time"

	"oasis6/internal/wgkey"
)

func at(d time.Duration) time.Time { return time.Unix(100, 0).UTC().Add(d) }

// asking runs an Asker, alone but for what answers gives, until it is done.
func asking(t *testing.T, answers map[time.Duration][]byte) (sent []time.Duration, end time.Duration, out Actions) {
	t.Helper()
	a := NewAsker(Request{Key: key(), Host: "box"})
	now := time.Duration(0)
	for range 100 {
		ev := Event(Tick{})
		if data, ok := answers[now]; ok {
			ev = Received{data}
		}
		out = a.Step(at(now), ev)
		if out.Done {
			return sent, now, out
		}
		if out.Send != nil {
			sent = append(sent, now)
			if r, err := ParseRequest(out.Send); err != nil || r.Key != key() {
				t.Errorf("sent %x", out.Send)
			}
		}
		next := out.Wake.Sub(at(0))
		for d := range answers {
			if d > now && d < next {
				next = d
			}
		}
		if next <= now {
			t.Fatalf("wake %v at %v", next, now)
		}
		now = next
	}
	t.Fatal("never done")
	return
}

func TestAskerRetransmits(t *testing.T) {
	sent, end, out := asking(t, nil)
	want := []time.Duration{0, 1, 3, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57}
	if len(sent) != len(want) {
		t.Fatalf("sent at %v, want seconds %v", sent, want)
	}
	for n := range want {
		if sent[n] != want[n]*time.Second {
			t.Errorf("transmission %d at %v, want %d s", n, sent[n], want[n])
		}
	}
	if end != MaxAsking || out.Answer != nil || out.Send != nil {
		t.Errorf("done at %v with %+v", end, out)
	}
}

func TestAskerTakesTheFirstFinalAnswer(t *testing.T) {
	later := Answer{Code: Later, Key: key(), Text: "disk full"}.Marshal()
	other := Answer{Code: Used, Key: wgkey.Public{1}}.Marshal()
	yes := Answer{Code: Accepted, Key: key(), Name: "library"}.Marshal()
	s := time.Second
	sent, end, out := asking(t, map[time.Duration][]byte{s / 2: later, s: other, 2 * s: []byte("junk"), 5 * s: yes})
	if len(sent) != 3 || end != 5*s || out.Answer == nil || out.Answer.Name != "library" || out.Ignored != 2 {
		t.Errorf("sent at %v, done at %v with %+v", sent, end, out)
	}
	_, end, out = asking(t, map[time.Duration][]byte{s / 2: later})
	if end != MaxAsking || out.Answer == nil || out.Answer.Text != "disk full" {
		t.Errorf("done at %v with %+v, want the reason of the last answer", end, out)
	}
}

func FuzzAskerStep(f *testing.F) {
	f.Add([]byte{1, 0, 2}, Answer{Code: Later, Key: key()}.Marshal())
	f.Fuzz(func(t *testing.T, steps, data []byte) {
		a := NewAsker(Request{Key: key()})
		kept := bytes.Clone(data)
		now, began, done := time.Duration(0), time.Duration(-1), false
		for _, s := range steps {
			ev := Event(Tick{})
			if s&1 == 1 {
				ev = Received{data}
			}
			now += time.Duration(s>>1) * 100 * time.Millisecond
			out := a.Step(at(now), ev)
			if began < 0 {
				began = now
			}
			switch {
			case done && !out.Done:
				t.Fatal("it asks again after the end")
			case !out.Done && !out.Wake.After(at(now)):
				t.Fatalf("wake %v at %v", out.Wake.Sub(at(0)), now)
			case !out.Done && now-began >= MaxAsking:
				t.Fatal("no end")
			case out.Done && out.Send != nil:
				t.Fatal("it sends at the end")
			}
			done = out.Done
		}
		if !bytes.Equal(data, kept) {
			t.Error("the datagram was changed")
		}
	})
}
