// SPDX-License-Identifier: MIT

package page

import (
	"cmp"
	"slices"
	"time"
)

// What a page is told, and how often at most. An eye sees no more than 20 pictures of a map in a
// second, and a list with 500 new lines in a second is not read.
const (
	statePeriod   = 100 * time.Millisecond // after a change
	idlePeriod    = 250 * time.Millisecond // how often the clock is looked at
	packetsPeriod = 50 * time.Millisecond
	maxBatch      = 25 // per packetsPeriod, that is 500 per second
	maxPending    = 2000
	maxPast       = 300 // packets told to a page that comes
	beatPeriod    = 15 * time.Second
)

// outbox holds what one page has yet to be told and says when. It is pure: now is an argument.
type outbox struct {
	mark    Mark
	packets []Packet
	hidden  uint64 // packets that will not be told
	log     []Entry
	changed bool

	packetsAt, stateAt, beatAt time.Time // when each may go next
}

func (o *outbox) add(u Update) {
	for _, p := range u.Packets {
		if p.ID > o.mark.Packet { // the others are from Past already
			o.mark.Packet = p.ID
			o.packets = append(o.packets, p)
		}
	}
	for _, e := range u.Log {
		if e.ID > o.mark.Log {
			o.mark.Log = e.ID
			o.log = append(o.log, e)
		}
	}
	o.hidden += u.Missed
	o.changed = o.changed || u.Changed
	if len(o.packets) > maxPending { // between two batches: a flood in one instant
		o.thin(maxPending / 2)
	}
}

// takePackets are the packets to tell now, nil if there are none or it is too early.
func (o *outbox) takePackets(now time.Time) *batch {
	if len(o.packets) == 0 && o.hidden == 0 || now.Before(o.packetsAt) {
		return nil
	}
	o.packetsAt = now.Add(packetsPeriod)
	o.thin(maxBatch)
	b := &batch{Packets: o.packets, Hidden: o.hidden}
	o.packets, o.hidden = nil, 0
	return b
}

// takeState says whether to look at the state now.
func (o *outbox) takeState(now time.Time) bool {
	if now.Before(o.stateAt) {
		return false
	}
	if !o.changed && now.Before(o.stateAt.Add(idlePeriod-statePeriod)) {
		return false
	}
	o.changed = false
	o.stateAt = now.Add(statePeriod)
	return true
}

func (o *outbox) takeLog() []Entry {
	l := o.log
	o.log = nil
	return l
}

// takeBeat says whether the connection has to be shown alive.
func (o *outbox) takeBeat(now time.Time) bool {
	if now.Before(o.beatAt) {
		return false
	}
	o.beatAt = now.Add(beatPeriod)
	return true
}

// wake is when to look again if nothing is added before.
func (o *outbox) wake() time.Time {
	at := o.stateAt
	if !o.changed {
		at = at.Add(idlePeriod - statePeriod)
	}
	if (len(o.packets) > 0 || o.hidden > 0) && o.packetsAt.Before(at) {
		at = o.packetsAt
	}
	return at
}

// thin leaves at most n packets, and counts the others as hidden. Each kind has the same right to
// the places, so that a flood of one hides no other: a single RA is seen in ten thousand pings. Of
// a kind that gets fewer places than it wants, packets at even distances stay.
func (o *outbox) thin(n int) {
	if len(o.packets) <= n {
		return
	}
	byKind := map[string][]int{}
	for i, p := range o.packets {
		k := string(p.Kind)
		if p.Dropped {
			k += " dropped"
		}
		byKind[k] = append(byKind[k], i)
	}
	kinds := make([][]int, 0, len(byKind))
	for _, places := range byKind {
		kinds = append(kinds, places)
	}
	// The smallest first: what it leaves of its share goes to the larger ones.
	slices.SortFunc(kinds, func(a, b []int) int { return cmp.Or(len(a)-len(b), a[0]-b[0]) })
	var keep []int
	for i, places := range kinds {
		share := min(len(places), (n-len(keep))/(len(kinds)-i))
		for j := range share {
			keep = append(keep, places[j*len(places)/share])
		}
	}
	slices.Sort(keep)
	kept := make([]Packet, 0, len(keep))
	for _, i := range keep {
		kept = append(kept, o.packets[i])
	}
	o.hidden += uint64(len(o.packets) - len(kept))
	o.packets = kept
}

// batch is the event "packets".
type batch struct {
	Packets []Packet `json:"packets"`
	Hidden  uint64   `json:"hidden"`         // left out since the last batch
	Past    bool     `json:"past,omitempty"` // from before the page came: not to be moved on the map
}
