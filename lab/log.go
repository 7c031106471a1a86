// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"log/slog"
	"strings"
)

// logger makes the log lines of a node lines of the timeline, from level Info on.
func (w *World) logger(node string) *slog.Logger { return slog.New(&sink{w: w, node: node}) }

type sink struct {
	w     *World
	node  string
	attrs []slog.Attr
}

// Enabled is slog.Handler's.
func (s *sink) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle is slog.Handler's.
func (s *sink) Handle(_ context.Context, r slog.Record) error {
	parts := []string{}
	add := func(a slog.Attr) bool {
		if v := a.Value.Resolve().String(); v != "" {
			parts = append(parts, a.Key+" "+v)
		}
		return true
	}
	for _, a := range s.attrs {
		add(a)
	}
	r.Attrs(add)
	text := r.Message
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	s.w.say(r.Level, s.node, text, "")
	return nil
}

// WithAttrs is slog.Handler's.
func (s *sink) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *s
	c.attrs = append(append([]slog.Attr(nil), s.attrs...), attrs...)
	return &c
}

// WithGroup is slog.Handler's; groups are not told apart.
func (s *sink) WithGroup(string) slog.Handler { return s }
