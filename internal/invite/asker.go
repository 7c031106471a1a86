// SPDX-License-Identifier: MIT

package invite

import (
	"time"

	"oasis6/internal/wgkey"
)

// Timers of the box that asks.
const (
	FirstRetransmission = 1 * time.Second // doubled for each further one
	MaxRetransmission   = 5 * time.Second // WireGuard begins a handshake anew no more often
	MaxAsking           = 60 * time.Second
)

// Asker is the box's side of the two messages: it repeats the request until there is a final answer or MaxAsking is over.
//
//	asking --answer to our key, not "later"--> done
//	asking --MaxAsking--> done, with the last "later" or without an answer
type Asker struct {
	key     wgkey.Public
	request []byte
	began   time.Time
	next    time.Time // of the next request
	wait    time.Duration
	last    *Answer
	ignored int
	done    bool
}

// NewAsker makes one for the request. Its first Step begins.
func NewAsker(r Request) *Asker { return &Asker{key: r.Key, request: r.Marshal()} }

// Event is Tick or Received.
type Event interface{ inviteEvent() }

type (
	// Tick says that time has passed: the start, or Wake.
	Tick struct{}
	// Received is the payload of a datagram from the hub's Port. Only the call has it.
	Received struct{ Data []byte }
)

func (Tick) inviteEvent()     {}
func (Received) inviteEvent() {}

// Actions are what a step wants done, in the order of the fields.
type Actions struct {
	Send []byte // to the hub's Port; nil: nothing. Not to be changed
	Wake time.Time
	// Done ends the asking. Answer is nil if none came; Ignored counts messages that were none of ours.
	Done    bool
	Answer  *Answer
	Ignored int
}

// Step carries the asking on.
func (a *Asker) Step(now time.Time, ev Event) Actions {
	if a.began.IsZero() {
		a.began, a.next, a.wait = now, now, FirstRetransmission
	}
	if r, ok := ev.(Received); ok && !a.done {
		a.receive(r.Data)
	}
	if !a.done && now.Sub(a.began) >= MaxAsking {
		a.done = true
	}
	if a.done {
		return Actions{Done: true, Answer: a.last, Ignored: a.ignored}
	}
	var out Actions
	if !now.Before(a.next) {
		out.Send = a.request
		a.next = now.Add(a.wait)
		a.wait = min(2*a.wait, MaxRetransmission)
	}
	out.Wake = a.next
	if end := a.began.Add(MaxAsking); end.Before(out.Wake) {
		out.Wake = end
	}
	return out
}

func (a *Asker) receive(data []byte) {
	ans, err := ParseAnswer(data)
	if err != nil || ans.Key != a.key {
		a.ignored++
		return
	}
	a.last = &ans
	a.done = ans.Code != Later
}
