// SPDX-License-Identifier: MIT

package device

import (
	"bytes"
	"testing"
	"time"
)

// Whatever comes: no panic, the datagram is not changed, only who proves itself moves the endpoint, and a session that
// there was still works.
func FuzzReceived(f *testing.F) {
	w, box, hub := pair(f)
	w.drop = func(_, _ *node, b []byte) bool {
		f.Add(bytes.Clone(b), false)
		f.Add(bytes.Clone(b), true)
		return false
	}
	w.out(box)
	w.run("1s")
	w.do(hub, SetLoad{true})
	w.do(box, SetEndpoint{hub.key, hub.at, true})
	w.out(box)
	w.run("2s")
	f.Add([]byte{4, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, data []byte, load bool) {
		w, box, hub := established(t)
		w.quiet = true
		w.do(hub, SetLoad{load})
		was, _ := hub.dev.Peer(box.key)
		mine := bytes.Clone(data)
		a := w.do(hub, Received{from("203.0.113.66:6"), data})
		if !bytes.Equal(data, mine) {
			t.Error("the datagram was changed")
		}
		if a.Verdict == None {
			t.Error("no verdict")
		}
		is, _ := hub.dev.Peer(box.key)
		if is.Endpoint != was.Endpoint && is.Counters.RxBytes == was.Counters.RxBytes {
			t.Errorf("%v moves the endpoint to %v", a.Verdict, is.Endpoint)
		}
		w.do(hub, SetLoad{})
		w.run("1m0s")
		hub.in = nil
		w.out(box)
		w.runTo(w.now.Add(30 * time.Second))
		if len(hub.in) != 1 {
			t.Errorf("after %v %d packets arrive, want 1", a.Verdict, len(hub.in))
		}
	})
}

func FuzzParse(f *testing.F) {
	w, box, hub := pair(f)
	w.drop = func(_, _ *node, b []byte) bool { f.Add(bytes.Clone(b)); return false }
	w.do(hub, SetLoad{true})
	w.out(box)
	w.run("6s")
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if (m == nil) == (err == nil) {
			t.Errorf("message %v and error %v", m, err)
		}
		inner, ok := Inner(data)
		if tr, is := m.(Transport); ok && (!is || len(inner) > len(tr.Content)) {
			t.Errorf("%d octets inside of %T", len(inner), m)
		}
	})
}

func TestParseReadsWhatIsSent(t *testing.T) {
	w, box, hub := pair(t)
	var got []Message
	w.drop = func(_, _ *node, b []byte) bool {
		m, err := Parse(b)
		if err != nil {
			t.Error(err)
		}
		got = append(got, m)
		return false
	}
	box.still()
	w.do(hub, SetLoad{true})
	w.out(box)
	w.run("6s")
	i, _ := got[0].(Initiation)
	c, _ := got[1].(Cookie)
	again, _ := got[2].(Initiation)
	r, _ := got[3].(Response)
	d, _ := got[4].(Transport)
	if i.Static != box.key || !i.Time.Time().Equal(begin) || i.MAC2 != [16]byte{} || c.Receiver != i.Sender {
		t.Errorf("initiation %+v, cookie %+v", i, c)
	}
	if again.MAC2 == [16]byte{} || r.Receiver != again.Sender || d.Receiver != r.Sender || d.Counter != 0 {
		t.Errorf("initiation %+v, response %+v, data to %d", again, r, d.Receiver)
	}
	if len(d.Content) != 112 {
		t.Errorf("content of %d octets, want 100 padded to 112", len(d.Content))
	}
	if _, err := Parse(make([]byte, 148)); err != ErrMessage {
		t.Errorf("zeroes: %v, want ErrMessage", err)
	}
}
