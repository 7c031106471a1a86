// SPDX-License-Identifier: MIT

package page

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"oasis6/internal/httpd"
)

// maxBody is ample for a command; the largest the page sends has some 100 octets.
const maxBody = 4 << 10

// fail answers with what went wrong, as the page shows it.
func fail(w *httpd.Writer, code int, format string, args ...any) error {
	return answer(w, code, map[string]string{"error": fmt.Sprintf(format, args...)})
}

func answer(w *httpd.Writer, code int, v any) error {
	b, err := json.Marshal(v)
	if err != nil { // a Speed or a place on the map that is no number
		code, b = 500, []byte(`{"error":"the world cannot be written as JSON"}`)
	}
	w.Set("Content-Type", "application/json")
	return w.Send(code, b)
}

// done answers a command. What the world refuses is a conflict with how it stands.
func done(w *httpd.Writer, err error) error {
	if err != nil {
		return fail(w, 409, "%v", err)
	}
	return answer(w, 200, map[string]bool{"ok": true})
}

// command reads a command's body into v; an error comes with the status it is answered with. It wants JSON by name: a
// form of another site cannot say so.
func command(r *httpd.Request, v any) (code int, err error) {
	full := r.Header.Get("Content-Type")
	if kind, _, _ := strings.Cut(full, ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return 415, fmt.Errorf("content type %q: a command is application/json", full)
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return 400, fmt.Errorf("command: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return 400, errors.New("command: more than one JSON value")
	}
	return 0, nil
}

func (s *site) world(_ context.Context, w *httpd.Writer, _ *httpd.Request) error {
	return answer(w, 200, s.src.World())
}

func (s *site) packet(_ context.Context, w *httpd.Writer, r *httpd.Request) error {
	id, err := strconv.ParseUint(r.Word, 10, 64)
	if err != nil {
		return fail(w, 400, "packet %q: not a number", r.Word)
	}
	walk, ok := s.src.Walk(id)
	if !ok {
		return fail(w, 404, "packet %d is no longer known: only the last ones are kept", id)
	}
	return answer(w, 200, walk)
}

// lessonView is a Lesson with how far it is.
type lessonView struct {
	Lesson
	State LessonState `json:"state"`
}

func (s *site) lessons(_ context.Context, w *httpd.Writer, _ *httpd.Request) error {
	views := []lessonView{}
	states := s.src.State().Lessons
	for _, l := range s.src.World().Lessons {
		v := lessonView{l, LessonState{ID: l.ID}}
		if i := slices.IndexFunc(states, func(st LessonState) bool { return st.ID == l.ID }); i >= 0 {
			v.State = states[i]
		}
		views = append(views, v)
	}
	return answer(w, 200, views)
}

func (s *site) startLesson(_ context.Context, w *httpd.Writer, r *httpd.Request) error {
	id := r.Word
	if !slices.ContainsFunc(s.src.World().Lessons, func(l Lesson) bool { return l.ID == id }) {
		return fail(w, 404, "lesson %q: there is none of this name", id)
	}
	return done(w, s.src.StartLesson(id))
}

func (s *site) do(ctx context.Context, w *httpd.Writer, r *httpd.Request) error {
	var a Action
	if code, err := command(r, &a); err != nil {
		return fail(w, code, "%v", err)
	}
	buttons := s.src.World().Actions
	i := slices.IndexFunc(buttons, func(b Button) bool { return b.ID == a.Action })
	if i < 0 {
		return fail(w, 404, "action %q: there is none of this name", a.Action)
	}
	for _, c := range []struct {
		what, value string
		choices     []Choice
	}{{"target", a.Target, buttons[i].Targets}, {"argument", a.Arg, buttons[i].Args}} {
		if c.value != "" && !slices.ContainsFunc(c.choices, func(x Choice) bool { return x.ID == c.value }) {
			return fail(w, 400, "action %q: no %s %q", a.Action, c.what, c.value)
		}
	}
	text, err := s.src.Do(ctx, a)
	if err != nil {
		return done(w, err)
	}
	return answer(w, 200, struct {
		OK   bool   `json:"ok"`
		Done string `json:"done,omitempty"`
	}{true, text})
}

func (s *site) time(_ context.Context, w *httpd.Writer, r *httpd.Request) error {
	var op TimeOp
	if code, err := command(r, &op); err != nil {
		return fail(w, code, "%v", err)
	}
	switch {
	case op.Op == "speed" && !(op.Speed >= MinSpeed && op.Speed <= MaxSpeed): // not a number is outside, too
		return fail(w, 400, "speed %v: %v to %v", op.Speed, MinSpeed, MaxSpeed)
	case !slices.Contains([]string{"pause", "play", "step", "speed"}, op.Op):
		return fail(w, 400, "time op %q: pause, play, step or speed", op.Op)
	}
	return done(w, s.src.Time(op))
}

func (s *site) pcap(_ context.Context, w *httpd.Writer, r *httpd.Request) error {
	wire := r.Query.Get("wire")
	if !slices.ContainsFunc(s.src.World().Wires, func(x Wire) bool { return x.ID == wire }) {
		return fail(w, 404, "wire %q: there is none of this name", wire)
	}
	keys := r.Query.Get("keys") == "1"
	name := "oasis6-" + wire
	if keys {
		name += "-keys" // who has both files knows them apart, and which not to give away
	}
	out := &download{w: w, name: name + ".pcapng"}
	err := s.src.Pcap(out, wire, keys)
	if err != nil && !out.begun {
		return fail(w, 500, "capture of %s: %v", wire, err)
	}
	return err
}

// download sends headers with the first octet, so that an error before it can still be told.
type download struct {
	w     *httpd.Writer
	name  string
	begun bool
}

func (d *download) Write(b []byte) (int, error) {
	if !d.begun {
		d.begun = true
		safe := strings.Map(func(r rune) rune {
			if r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '_'
		}, d.name)
		d.w.Set("Content-Type", "application/x-pcapng")
		d.w.Set("Content-Disposition", `attachment; filename="`+safe+`"`)
	}
	return d.w.Write(b)
}
