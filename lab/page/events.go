// SPDX-License-Identifier: MIT

package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/httpd"
)

// events is the stream of server-sent events: "hello" (which run this is), "state" (State), "clock"
// (Clock), "packets" (batch) and "log" ([]Entry). Each event's id is the run and the mark up to which
// the page has read; a page that comes back with it is told only what it missed.
func (s *site) events(ctx context.Context, w *httpd.Writer, r *httpd.Request) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return fail(w, 503, "%d pages look on already: close one", maxStreams)
	}
	w.Set("Content-Type", "text/event-stream")
	st := &stream{w: w, src: s.src, run: s.run}
	if mark, ours := strings.CutPrefix(r.Header.Get("Last-Event-ID"), s.run+"."); ours {
		st.box.mark = parseMark(mark)
	}
	_ = st.follow(ctx) // the page has gone, or the world
	return nil
}

// parseMark reads what sendNew wrote, without the run. What is no mark of ours is before everything.
func parseMark(s string) Mark {
	log, packet, _ := strings.Cut(s, ".")
	l, errLog := strconv.ParseUint(log, 10, 64)
	p, errPacket := strconv.ParseUint(packet, 10, 64)
	if errLog != nil || errPacket != nil {
		return Mark{}
	}
	return Mark{Log: l, Packet: p}
}

type stream struct {
	w     *httpd.Writer
	src   Source
	run   string
	box   outbox
	state []byte // as told last
	clock []byte
}

func (st *stream) follow(ctx context.Context) error {
	// First subscribe, then ask for the past: what comes in between is known twice and told once.
	updates := st.src.Subscribe(ctx)
	if err := st.send("hello", map[string]string{"run": st.run}); err != nil {
		return err
	}
	if err := st.tellPast(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u, ok := <-updates:
			if !ok {
				return context.Canceled // the world has ended
			}
			st.box.add(u)
		case <-timer.C:
		}
		if err := st.tell(time.Now()); err != nil {
			return err
		}
		timer.Reset(time.Until(st.box.wake()))
	}
}

func (st *stream) tellPast() error {
	past := st.src.Past(st.box.mark)
	st.box.add(past)
	b := batch{Packets: st.box.packets, Past: true}
	if len(b.Packets) > maxPast {
		b.Packets = b.Packets[len(b.Packets)-maxPast:]
	}
	st.box.packets, st.box.hidden = nil, 0
	if len(b.Packets) == 0 {
		return nil
	}
	return st.send("packets", b)
}

// tell sends what may go now.
func (st *stream) tell(now time.Time) error {
	if log := st.box.takeLog(); len(log) > 0 {
		if err := st.send("log", log); err != nil {
			return err
		}
	}
	if b := st.box.takePackets(now); b != nil {
		if err := st.send("packets", b); err != nil {
			return err
		}
	}
	if st.box.takeState(now) {
		state := st.src.State()
		if err := st.sendNew("state", &st.state, state); err != nil {
			return err
		}
		if err := st.sendNew("clock", &st.clock, state.Clock); err != nil {
			return err
		}
	}
	if st.box.takeBeat(now) {
		return st.write(":\n\n")
	}
	return nil
}

func (st *stream) send(event string, v any) error {
	var last []byte
	return st.sendNew(event, &last, v)
}

// sendNew sends v unless it reads as what was sent last.
func (st *stream) sendNew(event string, last *[]byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if bytes.Equal(b, *last) {
		return nil
	}
	*last = b
	return st.write(fmt.Sprintf("id: %s.%d.%d\nevent: %s\ndata: %s\n\n", st.run, st.box.mark.Log, st.box.mark.Packet, event, b))
}

func (st *stream) write(text string) error {
	if _, err := st.w.Write([]byte(text)); err != nil {
		return err
	}
	return st.w.Flush()
}
