// SPDX-License-Identifier: MIT

package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxBody is ample for a command; the largest the page sends has some 100 octets.
const maxBody = 4 << 10

// fail answers with what went wrong, as the page shows it.
func fail(w http.ResponseWriter, code int, format string, args ...any) {
	answer(w, code, map[string]string{"error": fmt.Sprintf(format, args...)})
}

func answer(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // a Speed or a place on the map that is no number
		code, b = http.StatusInternalServerError, []byte(`{"error":"the world cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(b) // who has gone needs no answer
}

// done answers a command. What the world refuses is a conflict with how it stands.
func done(w http.ResponseWriter, err error) {
	if err != nil {
		fail(w, http.StatusConflict, "%v", err)
		return
	}
	answer(w, http.StatusOK, map[string]bool{"ok": true})
}

// command reads a command's body into v. It wants JSON by name: a form of another site cannot say so.
func command(w http.ResponseWriter, r *http.Request, v any) bool {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "content type %q: a command is application/json", r.Header.Get("Content-Type"))
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		fail(w, http.StatusBadRequest, "command: %v", err)
		return false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "command: more than one JSON value")
		return false
	}
	return true
}

func (s *Handler) world(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.src.World())
}

func (s *Handler) packet(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, "packet %q: not a number", r.PathValue("id"))
		return
	}
	walk, ok := s.src.Walk(id)
	if !ok {
		fail(w, http.StatusNotFound, "packet %d is no longer known: only the last ones are kept", id)
		return
	}
	answer(w, http.StatusOK, walk)
}

// lessonView is a Lesson with how far it is.
type lessonView struct {
	Lesson
	State LessonState `json:"state"`
}

func (s *Handler) lessons(w http.ResponseWriter, _ *http.Request) {
	views := []lessonView{}
	states := s.src.State().Lessons
	for _, l := range s.src.World().Lessons {
		v := lessonView{l, LessonState{ID: l.ID}}
		if i := slices.IndexFunc(states, func(st LessonState) bool { return st.ID == l.ID }); i >= 0 {
			v.State = states[i]
		}
		views = append(views, v)
	}
	answer(w, http.StatusOK, views)
}

func (s *Handler) startLesson(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !slices.ContainsFunc(s.src.World().Lessons, func(l Lesson) bool { return l.ID == id }) {
		fail(w, http.StatusNotFound, "lesson %q: there is none of this name", id)
		return
	}
	done(w, s.src.StartLesson(id))
}

func (s *Handler) do(w http.ResponseWriter, r *http.Request) {
	var a Action
	if !command(w, r, &a) {
		return
	}
	buttons := s.src.World().Actions
	i := slices.IndexFunc(buttons, func(b Button) bool { return b.ID == a.Action })
	if i < 0 {
		fail(w, http.StatusNotFound, "action %q: there is none of this name", a.Action)
		return
	}
	for _, c := range []struct {
		what, value string
		choices     []Choice
	}{{"target", a.Target, buttons[i].Targets}, {"argument", a.Arg, buttons[i].Args}} {
		if c.value != "" && !slices.ContainsFunc(c.choices, func(x Choice) bool { return x.ID == c.value }) {
			fail(w, http.StatusBadRequest, "action %q: no %s %q", a.Action, c.what, c.value)
			return
		}
	}
	done(w, s.src.Do(r.Context(), a))
}

func (s *Handler) time(w http.ResponseWriter, r *http.Request) {
	var op TimeOp
	if !command(w, r, &op) {
		return
	}
	switch {
	case op.Op == "speed" && !(op.Speed >= MinSpeed && op.Speed <= MaxSpeed): // not a number is outside, too
		fail(w, http.StatusBadRequest, "speed %v: %v to %v", op.Speed, MinSpeed, MaxSpeed)
	case !slices.Contains([]string{"pause", "play", "step", "speed"}, op.Op):
		fail(w, http.StatusBadRequest, "time op %q: pause, play, step or speed", op.Op)
	default:
		done(w, s.src.Time(op))
	}
}

func (s *Handler) pcap(w http.ResponseWriter, r *http.Request) {
	wire := r.FormValue("wire")
	if !slices.ContainsFunc(s.src.World().Wires, func(x Wire) bool { return x.ID == wire }) {
		fail(w, http.StatusNotFound, "wire %q: there is none of this name", wire)
		return
	}
	out := &download{w: w, name: "oasis6-" + wire + ".pcapng"}
	err := s.src.Pcap(out, wire, r.FormValue("keys") == "1")
	switch {
	case err != nil && !out.begun:
		fail(w, http.StatusInternalServerError, "capture of %s: %v", wire, err)
	case err != nil:
		panic(http.ErrAbortHandler) // net/http's way to say that the file ends too early
	}
}

// download sends headers with the first octet, so that an error before it can still be told.
type download struct {
	w     http.ResponseWriter
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
		d.w.Header().Set("Content-Type", "application/x-pcapng")
		d.w.Header().Set("Content-Disposition", `attachment; filename="`+safe+`"`)
	}
	return d.w.Write(b)
}
