// SPDX-License-Identifier: MIT

package page

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/lab/packet"
)

// sse is an open event stream.
type sse struct {
	*bufio.Reader
	io.Closer
	id string // of the last event
}

func open(t *testing.T, url, lastID string) *sse {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() }) // nothing is read any more
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("GET /api/events: %s %s", res.Status, res.Header.Get("Content-Type"))
	}
	return &sse{Reader: bufio.NewReader(res.Body), Closer: res.Body}
}

// next is the next event that is called want, decoded into v.
func (s *sse) next(t *testing.T, want string, v any) {
	t.Helper()
	event := ""
	for {
		line, err := s.ReadString('\n')
		if err != nil {
			t.Fatalf("event %s: %v", want, err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case field == "id":
			s.id = value
		case field == "event":
			event = value
		case field == "data" && event == want:
			if err := json.Unmarshal([]byte(value), v); err != nil {
				t.Fatalf("event %s: %v in %.200s", want, err, value)
			}
			return
		}
	}
}

func TestEventsTellWhatHappened(t *testing.T) {
	src := newFake()
	src.advance(3 * time.Second)
	url := "http://" + serve(t, src).addr
	s := open(t, url, "")
	var hello struct{ Run string }
	s.next(t, "hello", &hello)
	var past batch
	s.next(t, "packets", &past)
	if !past.Past || len(past.Packets) < 10 || past.Packets[0].ID != 1 || past.Packets[0].Kind != packet.RS {
		t.Fatalf("past %.300v, want all packets since the RS", past)
	}
	var log []Entry
	s.next(t, "log", &log)
	if len(log) != 4 || log[0].Node != "r1" {
		t.Errorf("log %v, want the four entries of the first three seconds", log)
	}
	var state State
	s.next(t, "state", &state)
	if len(state.Nodes["h1"].Addresses) != 3 || state.Nodes["h1"].Addresses[2].State != Preferred {
		t.Errorf("h1 %v, want a preferred address", state.Nodes["h1"])
	}
	var clock Clock
	s.next(t, "clock", &clock)
	if !clock.Now.Equal(when(3*time.Second)) || clock.Speed != 1 || !clock.CanPause {
		t.Errorf("clock %v, want 3 s at speed 1", clock)
	}

	src.advance(1300 * time.Millisecond) // an echo request goes out at 4 s
	var news batch
	kinds := []packet.Kind{}
	for !slices.Contains(kinds, packet.Echo) {
		news = batch{}
		s.next(t, "packets", &news)
		for _, p := range news.Packets {
			kinds = append(kinds, p.Kind)
		}
	}
	if i := slices.Index(kinds, packet.Echo); news.Past || kinds[i+1] != packet.Echo || kinds[i+2] != packet.Data {
		t.Errorf("news %v, want the echo request, in WireGuard after two hops", kinds)
	}
	last := s.id

	// Comes back: only what it missed, and the same run.
	src.advance(200 * time.Millisecond)
	again := open(t, url, last)
	var same struct{ Run string }
	again.next(t, "hello", &same)
	again.next(t, "packets", &past)
	if newest := news.Packets[len(news.Packets)-1].ID; past.Packets[0].ID != newest+1 || same != hello {
		t.Errorf("after %s the page is told from %d of run %v, want from %d of %v", last, past.Packets[0].ID, same, newest+1, hello)
	}

	// A mark of another run is worth nothing, nor is what is none.
	for _, mark := range []string{"ANOTHERRUN.900.900", hello.Run + ".900", hello.Run + ".900.x", hello.Run + ".-1.900", hello.Run + ".900.900.9"} {
		other := open(t, url, mark)
		other.next(t, "packets", &past)
		if past.Packets[0].ID != 1 {
			t.Errorf("with the mark %s the page is told from %d, want from 1", mark, past.Packets[0].ID)
		}
	}
}

func TestUnchangedStateIsNotSentAgain(t *testing.T) {
	src := newFake()
	src.advance(10 * time.Second)
	url := "http://" + serve(t, src).addr
	s := open(t, url, "")
	var state State
	s.next(t, "state", &state)
	var clock Clock
	s.next(t, "clock", &clock)
	if err := src.Time(TimeOp{Op: "speed", Speed: 5}); err != nil {
		t.Fatal(err)
	}
	// The next event of all is a clock: the state is as it was.
	for event := ""; event == ""; {
		line, err := s.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = strings.TrimSpace(name)
			if event != "clock" {
				t.Errorf("the next event is %q, want clock", event)
			}
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	w := serve(t, newFake())
	var last *sse
	for range maxStreams {
		last = open(t, "http://"+w.addr, "")
		last.next(t, "hello", &struct{}{})
	}
	if got := w.ask(t, http.MethodGet, "/api/events", ""); got.code != 503 || !strings.Contains(got.body, "close one") {
		t.Errorf("one stream too many: %v", got)
	}
	// A page that is closed leaves its place.
	_ = last.Close() // this is the test
	for end := time.Now().Add(30 * time.Second); w.ask(t, http.MethodHead, "/api/events", "").code != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the place of a closed page is not free")
		}
	}
}
