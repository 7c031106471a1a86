// SPDX-License-Identifier: MIT

package page

import (
	"context"
	"io"
	"time"

	"oasis6/lab/packet"
)

// Source is the world behind the page. All methods may be called concurrently, and what they
// return belongs to the caller.
type Source interface {
	Views
	Stream
	Controls
}

// Views are what the page asks for.
type Views interface {
	// World does not change during a run.
	World() World
	// State is how things stand now. It is asked for several times a second.
	State() State
	// Walk follows the packet with the given id; false: there is none, or it is too old.
	Walk(id uint64) (Walk, bool)
	// Pcap writes what was seen on a wire as pcapng; keys: with the tunnel's keys in it.
	Pcap(w io.Writer, wire string, keys bool) error
}

// Stream is what the page is told without asking.
type Stream interface {
	// Subscribe gives what happens from now on. The channel is closed after ctx ends. The source
	// never waits for its reader: what finds no place in the channel is left out, packets are
	// counted in Update.Missed, and a left-out log entry may be had from Past.
	Subscribe(ctx context.Context) <-chan Update
	// Past gives what is still known from after the mark, oldest first.
	Past(after Mark) Update
}

// Controls command the world. An error is shown to the user as it is.
type Controls interface {
	// Do says what has been done, where the button's name does not: "the tunnel is mended".
	Do(ctx context.Context, a Action) (string, error)
	Time(op TimeOp) error
	StartLesson(id string) error
}

// Update is a part of what happened. IDs of packets and of entries rise, each in their own row,
// and never come twice.
type Update struct {
	Changed bool // State is another one
	Packets []Packet
	Log     []Entry
	Missed  uint64 // packets that found no place in the channel
}

// Mark is how far a page has read. The zero value is before everything.
type Mark struct{ Log, Packet uint64 }

// Action is a command: a Button's id, one of its targets and one of its arguments.
type Action struct {
	Action string `json:"action"`
	Target string `json:"target,omitempty"`
	Arg    string `json:"arg,omitempty"`
}

// TimeOp changes how virtual time runs. The server has checked Op, and for "speed" that Speed is
// within MinSpeed and MaxSpeed.
type TimeOp struct {
	Op    string  `json:"op"` // pause, play, step, speed
	Speed float64 `json:"speed,omitempty"`
}

// The range of TimeOp.Speed.
const (
	MinSpeed = 0.1
	MaxSpeed = 1000
)

// Packet is one frame on one wire.
type Packet struct {
	ID uint64 `json:"id"`
	// Walk is common to all frames that carry one packet from hop to hop; the map shows them one
	// after the other. 0: not known. Any id of the walk may be given to Views.Walk.
	Walk    uint64        `json:"walk,omitempty"`
	At      time.Time     `json:"at"`
	Wire    string        `json:"wire"`
	From    string        `json:"from"` // node
	To      string        `json:"to"`   // node
	Kind    packet.Kind   `json:"kind"`
	Summary string        `json:"summary"`
	Length  int           `json:"length"`
	Flight  time.Duration `json:"flight_ns"` // on the wire, in virtual time
	Dropped bool          `json:"dropped,omitempty"`
}

// Entry is a line of the timeline.
type Entry struct {
	ID    uint64    `json:"id"`
	At    time.Time `json:"at"`
	Level string    `json:"level"` // info, warn, error; user: what somebody did with a button
	Node  string    `json:"node,omitempty"`
	Text  string    `json:"text"`
	RFC   string    `json:"rfc,omitempty"`
}
