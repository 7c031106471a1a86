// SPDX-License-Identifier: MIT

// Package note is what a protocol machine has to say to a human: log records as plain data.
//
// Machines import no logger; their runner turns each Note into a log/slog record and, from level
// Info upward, an entry of the event list that `oasis6 status` shows. Start at Note.
package note

// Level has the numeric values of log/slog levels, so a conversion is enough at the edge.
type Level int8

const (
	Debug Level = -4 // packets, decisions, a renewal that changed nothing
	Info  Level = 0  // one line per change a user can notice
	Warn  Level = 4  // degraded, retried by itself
	Error Level = 8  // a person must act
)

// Note is one log record. Msg is a constant phrase; everything variable is in Attrs.
type Note struct {
	Level Level
	Msg   string
	Attrs []Attr
}

// Attr is one key and its value, already as text. Keys are the fixed ones of the house:
// iface peer prefix iaid xid server state from to in err.
type Attr struct{ Key, Value string }

// New makes a Note from alternating keys and values. An odd trailing key gets an empty value.
func New(l Level, msg string, kv ...string) Note {
	n := Note{Level: l, Msg: msg}
	for i := 0; i < len(kv); i += 2 {
		a := Attr{Key: kv[i]}
		if i+1 < len(kv) {
			a.Value = kv[i+1]
		}
		n.Attrs = append(n.Attrs, a)
	}
	return n
}

// Detail is the attributes as one line of text, "key=value key=value".
func (n Note) Detail() string {
	s := ""
	for i, a := range n.Attrs {
		if i > 0 {
			s += " "
		}
		s += a.Key + "=" + a.Value
	}
	return s
}
