// SPDX-License-Identifier: MIT

package status

import (
	"slices"
	"time"

	"oasis6/internal/note"
)

const (
	// maxEvents bounds the memory of a list that runs for years: 200 entries of about 100 octets
	// are some days of a bad line and 20 kB.
	maxEvents = 200
	// mergeWindow is how far back a repeated event is looked for. Flapping alternates between two
	// or three events ("link down", "link up"); further back a repetition is news of its own.
	mergeWindow = 4
)

// EventLog keeps the last events. A repeated one is counted instead of listed again, so that a
// flapping link does not push out what came before. The zero value is an empty log.
// It belongs to one goroutine; what Events returns may be handed to others.
type EventLog struct {
	events []Event // oldest first
}

// Add records that something happened at the wall-clock time at.
func (l *EventLog) Add(at time.Time, level note.Level, what, detail string) {
	e := Event{At: at.UTC().Truncate(time.Millisecond), Level: levelName(level), What: what, Detail: detail, Count: 1}
	for i := len(l.events) - 1; i >= 0 && i >= len(l.events)-mergeWindow; i-- {
		old := l.events[i]
		if old.Level == e.Level && old.What == e.What && old.Detail == e.Detail {
			e.Count += old.Count
			l.events = slices.Delete(l.events, i, i+1)
			break
		}
	}
	if len(l.events) == maxEvents {
		l.events = slices.Delete(l.events, 0, 1)
	}
	l.events = append(l.events, e)
}

// AddNote records a machine's note from level Info upward; lower ones are for the log only.
func (l *EventLog) AddNote(at time.Time, n note.Note) {
	if n.Level >= note.Info {
		l.Add(at, n.Level, n.Msg, n.Detail())
	}
}

// Events is a copy, oldest first.
func (l *EventLog) Events() []Event { return append([]Event{}, l.events...) }

func levelName(l note.Level) string {
	switch {
	case l >= note.Error:
		return "error"
	case l >= note.Warn:
		return "warn"
	case l >= note.Info:
		return "info"
	}
	return "debug"
}
