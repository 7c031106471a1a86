// SPDX-License-Identifier: MIT

package status

import (
	"context"
	"log/slog"
	"time"

	"oasis6/internal/note"
)

// Journal turns what machines and loops have to say into log records and, from level Info upward, events of the status.
// It belongs to one goroutine.
type Journal struct {
	Log    *slog.Logger
	Wall   func() time.Time // for the events
	events EventLog
}

// Info is for one change that a user can notice; kv are keys and values in turn.
func (j *Journal) Info(msg string, kv ...string) {
	j.Notes([]note.Note{note.New(note.Info, msg, kv...)})
}

// Warn is for what is degraded and will be tried again.
func (j *Journal) Warn(msg string, kv ...string) {
	j.Notes([]note.Note{note.New(note.Warn, msg, kv...)})
}

// Error is for what a person must act upon.
func (j *Journal) Error(msg string, kv ...string) {
	j.Notes([]note.Note{note.New(note.Error, msg, kv...)})
}

// Notes takes a machine's notes; extra attributes are added to each.
func (j *Journal) Notes(ns []note.Note, extra ...note.Attr) {
	for _, n := range ns {
		n.Attrs = append(n.Attrs[:len(n.Attrs):len(n.Attrs)], extra...)
		attrs := make([]slog.Attr, 0, len(n.Attrs))
		for _, a := range n.Attrs {
			attrs = append(attrs, slog.String(a.Key, a.Value))
		}
		j.Log.LogAttrs(context.Background(), slog.Level(n.Level), n.Msg, attrs...)
		j.events.AddNote(j.Wall(), n)
	}
}

// Events is a copy of the last events, oldest first.
func (j *Journal) Events() []Event { return j.events.Events() }
