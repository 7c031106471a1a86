// SPDX-License-Identifier: MIT

package neigh

import (
	"cmp"
	"container/heap"
	"container/list"
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/ip6pkt"
)

// Table is the cache of one link. Packets that wait are of type P. It belongs to one goroutine at a time.
type Table[P any] struct {
	rand func() float64
	size func(P) int // in octets, of what waits

	as       Solicitor
	entries  map[netip.Addr]*entry[P]
	stations map[MAC]*station
	ranks    [numRanks]list.List // least recently used last
	timers   timers[P]
	octets   int // of all that waits
	stats    Stats
}

// Stats are counters and sizes for a status page.
type Stats struct {
	Entries int
	Failed  uint64 // resolutions that nobody answered
}

// rank is the class in which an entry competes for room.
type rank uint8

const (
	rankKnown rank = iota
	rankHeard
	rankAsked
	numRanks
)

// room of each class.
func (r rank) room() int { return [numRanks]int{MaxKnown, maxHeard, maxAsked}[r] }

type entry[P any] struct {
	addr    netip.Addr
	mac     MAC
	state   state
	rank    rank
	place   *list.Element
	until   time.Time // reachable: when it is no more
	seen    time.Time
	due     time.Time // of its timer
	timer   int       // in timers, -1: none
	asked   int       // solicitations so far
	waiting []P
}

// New makes an empty one. rand is uniform in [0,1), size says how many octets a packet that waits has.
func New[P any](rand func() float64, size func(P) int) *Table[P] {
	return &Table[P]{rand: rand, size: size, entries: map[netip.Addr]*entry[P]{}, stations: map[MAC]*station{}}
}

// SetSolicitor says who asks from now on.
func (t *Table[P]) SetSolicitor(s Solicitor) { t.as = s }

// Lookup gives the MAC of a neighbor for a packet that leaves now. It allocates nothing. What it does not find is to be
// given to Resolve.
func (t *Table[P]) Lookup(now time.Time, a netip.Addr) (MAC, bool) {
	e := t.entries[a]
	if e == nil || e.state == incomplete {
		return MAC{}, false
	}
	t.used(now, e)
	return e.mac, true
}

// used moves the machine on for a packet that is sent (RFC 4861 section 7.3.3).
func (t *Table[P]) used(now time.Time, e *entry[P]) {
	if e.state == reachable && now.After(e.until) {
		e.state = stale
	}
	if e.state == stale {
		e.state = delay
		t.arm(e, now.Add(DelayFirstProbeTime))
	}
	t.ranks[e.rank].MoveToFront(e.place)
}

// Resolve keeps a packet until it is known where to send it, and asks. The packet belongs to the table until it comes
// back in Actions.
func (t *Table[P]) Resolve(now time.Time, a netip.Addr, p P) (act Actions[P]) {
	e := t.entries[a]
	switch {
	case e == nil:
		if !t.as.From.IsValid() {
			act.Lost++
			return act
		}
		e = t.add(now, a, rankAsked, &act)
		t.ask(now, e, &act)
	case e.state != incomplete: // answered meanwhile
		t.used(now, e)
		act.Send = append(act.Send, Out[P]{e.mac, p})
		return act
	}
	n := t.size(p)
	if t.octets+n > maxOctets {
		act.Crowded++
		return act
	}
	if len(e.waiting) >= maxWaiting { // the newest are kept (RFC 4861 section 7.2.2)
		act.Lost++
		t.octets -= t.size(e.waiting[0])
		e.waiting = slices.Delete(e.waiting, 0, 1)
	}
	e.waiting = append(e.waiting, p)
	t.octets += n
	return act
}

// add makes an entry in a class, and room for it. What made room is told.
func (t *Table[P]) add(now time.Time, a netip.Addr, r rank, act *Actions[P]) *entry[P] {
	for t.ranks[r].Len() >= r.room() {
		t.drop(t.ranks[r].Back().Value.(*entry[P]), act, &act.Crowded)
	}
	e := &entry[P]{addr: a, rank: r, timer: -1, seen: now}
	e.place = t.ranks[r].PushFront(e)
	t.entries[a] = e
	return e
}

// promote puts an entry into another class.
func (t *Table[P]) promote(e *entry[P], r rank, act *Actions[P]) {
	if e.rank == r {
		t.ranks[r].MoveToFront(e.place)
		return
	}
	t.ranks[e.rank].Remove(e.place)
	for t.ranks[r].Len() >= r.room() {
		t.drop(t.ranks[r].Back().Value.(*entry[P]), act, &act.Crowded)
	}
	e.rank = r
	e.place = t.ranks[r].PushFront(e)
	if r == rankKnown {
		t.enter(e.mac)
	}
}

// drop forgets an entry; what waits for it is counted in lost, which is one of act.
func (t *Table[P]) drop(e *entry[P], act *Actions[P], lost *uint64) {
	t.disarm(e)
	t.ranks[e.rank].Remove(e.place)
	delete(t.entries, e.addr)
	if e.rank == rankKnown {
		t.leave(e.mac)
	}
	for _, p := range e.waiting {
		t.octets -= t.size(p)
		*lost++
	}
	e.waiting = nil
	if e.state != incomplete {
		act.News = append(act.News, News{Addr: e.addr, MAC: e.mac, Gone: true})
	}
}

// Tick is called when Wake has come.
func (t *Table[P]) Tick(now time.Time) (act Actions[P]) {
	for len(t.timers) > 0 && !t.timers[0].due.After(now) {
		e := t.timers[0]
		t.disarm(e)
		t.expired(now, e, &act)
	}
	return act
}

func (t *Table[P]) expired(now time.Time, e *entry[P], act *Actions[P]) {
	most := MaxUnicastSolicit
	switch e.state {
	case delay:
		e.state, e.asked = probe, 0
	case incomplete:
		most = MaxMulticastSolicit
	}
	if e.asked < most && t.as.From.IsValid() {
		t.ask(now, e, act)
		return
	}
	t.stats.Failed++
	for _, p := range e.waiting {
		t.octets -= t.size(p)
	}
	act.Unreachable = append(act.Unreachable, e.waiting...)
	e.waiting = nil
	t.drop(e, act, &act.Lost)
}

// ask sends the next solicitation: to the group of the address, or to where the neighbor was last.
func (t *Table[P]) ask(now time.Time, e *entry[P], act *Actions[P]) {
	e.asked++
	dst, to := ip6pkt.SolicitedNode(e.addr), MAC{}
	if e.state == probe {
		dst, to = e.addr, e.mac
	} else {
		to = multicastMAC(dst)
	}
	act.Ask = append(act.Ask, Ask{to, solicitation(t.as, dst, e.addr)})
	t.arm(e, now.Add(RetransTimer))
}

// Wake is when Tick is wanted; zero: never.
func (t *Table[P]) Wake() time.Time {
	if len(t.timers) == 0 {
		return time.Time{}
	}
	return t.timers[0].due
}

// Flush forgets all: the link was down, or leads elsewhere.
func (t *Table[P]) Flush() (act Actions[P]) {
	var all []*entry[P]
	for _, e := range t.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry[P]) int { return a.addr.Compare(b.addr) })
	for _, e := range all {
		t.drop(e, &act, &act.Lost)
	}
	return act
}

// Known lists those that have been heard, who was heard last first, at most so many.
func (t *Table[P]) Known(most int) []Known {
	var out []Known
	for _, e := range t.entries {
		if e.state != incomplete {
			out = append(out, Known{e.addr, e.mac, e.seen, e.rank == rankKnown})
		}
	}
	slices.SortFunc(out, func(a, b Known) int {
		return cmp.Or(b.Seen.Compare(a.Seen), a.Addr.Compare(b.Addr))
	})
	return out[:min(len(out), most)]
}

// Stats are those of this moment.
func (t *Table[P]) Stats() Stats {
	s := t.stats
	s.Entries = len(t.entries)
	return s
}

func (t *Table[P]) arm(e *entry[P], due time.Time) {
	e.due = due
	if e.timer >= 0 {
		heap.Fix(&t.timers, e.timer)
		return
	}
	heap.Push(&t.timers, e)
}

func (t *Table[P]) disarm(e *entry[P]) {
	if e.timer >= 0 {
		heap.Remove(&t.timers, e.timer)
	}
}

// timers is a heap. Equal deadlines go by address, so that the same events give the same order.
type timers[P any] []*entry[P]

// Len is heap.Interface's, as is what follows.
func (q timers[P]) Len() int { return len(q) }

// Less puts the next deadline first.
func (q timers[P]) Less(i, j int) bool {
	return cmp.Or(q[i].due.Compare(q[j].due), q[i].addr.Compare(q[j].addr)) < 0
}

// Swap keeps the places.
func (q timers[P]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].timer, q[j].timer = i, j
}

// Push appends.
func (q *timers[P]) Push(x any) {
	e := x.(*entry[P])
	e.timer = len(*q)
	*q = append(*q, e)
}

// Pop takes the last.
func (q *timers[P]) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.timer = -1
	return e
}
