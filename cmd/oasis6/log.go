// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"io"
	"log/slog"
)

// logOptions say how a long-running command logs.
type logOptions struct {
	level  slog.Level
	format string // text | json
}

func (l *logOptions) declare(o *options) {
	o.value(levelValue{&l.level}, option{long: "log-level", arg: "LEVEL", usage: "debug, info, warn or error", def: "info"})
	l.format = "text"
	o.value(choice{&l.format, []string{"text", "json"}}, option{long: "log-format", arg: "FORMAT", usage: "text or json", def: "text"})
}

// logger writes to w, which is standard error.
func (l *logOptions) logger(w io.Writer) *slog.Logger {
	ho := &slog.HandlerOptions{Level: l.level}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, ho))
	}
	return slog.New(slog.NewTextHandler(w, ho))
}

type levelValue struct{ level *slog.Level }

func (v levelValue) String() string {
	if v.level == nil { // package flag asks the zero value
		return ""
	}
	return v.level.String()
}

func (v levelValue) Set(s string) error {
	if v.level.UnmarshalText([]byte(s)) != nil {
		return errors.New("want debug, info, warn or error")
	}
	return nil
}
