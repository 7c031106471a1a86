// SPDX-License-Identifier: MIT

package lab

import (
	"cmp"
	"iter"
	"slices"
	"sync"
	"time"

	"oasis6/lab/nat"
	"oasis6/lab/packet"
	"oasis6/lab/wire"
)

// Of the recorder.
const (
	// maxRecords are kept of each wire, for walks and captures, so that a busy wire does not cost a quiet one its past. A
	// frame is at most 1.5 kB.
	maxRecords = 2048
	// maxShakes are WireGuard's handshake messages that are kept of each wire after that: without its handshake nobody can
	// open what a session carries.
	maxShakes = 256
	// walkGap is how long a packet may be inside a node and still be the same one: WireGuard keeps it while there is no
	// session, a router while it looks for a neighbor.
	walkGap = 6 * time.Second
	// maxOpenWalks bounds what is remembered of packets that may still go on.
	maxOpenWalks = 8192
)

// record is one frame on one wire.
type record struct {
	id   uint64
	walk uint64
	wire.Passage
	inner []byte // what a transport message carries; nil: nothing, or not one

	decision, rfc string    // what the node at the end said it did
	verdict       []verdict // what its forwarding decided, if it is the product's
}

// recorder keeps what was seen on the wires, and which of it was the same packet. Its methods may be called from any
// goroutine, add from the engine's alone.
type recorder struct {
	open packet.Opener

	mu      sync.Mutex
	rings   map[string]*ring // by wire
	byID    map[uint64]*record
	last    uint64            // id of the newest; the first is 1
	frames  map[*byte]*record // by their first octet: a frame is the same one at both ends of a wire
	walks   uint64
	going   map[identity][]*strand
	order   []identity // of going, oldest first
	listens []func(*record)
}

// ring are the last records of a wire.
type ring struct {
	records []*record
	next    int       // place of the next one, once all are taken
	shakes  []*record // handshake messages before them, oldest first
}

func (w *ring) all() iter.Seq[*record] {
	return func(yield func(*record) bool) {
		for _, part := range [...][]*record{w.shakes, w.records} {
			for _, rec := range part {
				if !yield(rec) {
					return
				}
			}
		}
	}
}

// strand is where a packet was last.
type strand struct {
	walk   uint64
	to     string
	at     time.Time // when it arrived there
	record uint64
}

func newRecorder(open packet.Opener) *recorder {
	return &recorder{
		open: open, rings: map[string]*ring{}, byID: map[uint64]*record{}, going: map[identity][]*strand{}, frames: map[*byte]*record{},
	}
}

// listen calls f for each record, on the engine's goroutine.
func (r *recorder) listen(f func(*record)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listens = append(r.listens, f)
}

// add is a wire's tap.
func (r *recorder) add(p *wire.Passage) {
	rec := &record{Passage: *p}
	id, inner := identify(p.Frame, r.open)
	rec.inner = inner
	r.mu.Lock()
	r.last++
	rec.id, rec.walk = r.last, r.continues(id, p)
	r.keep(rec)
	listens := r.listens
	r.mu.Unlock()
	for _, f := range listens {
		f(rec)
	}
}

// keep puts a record into its wire's ring, in the place of the oldest.
func (r *recorder) keep(rec *record) {
	w := r.rings[rec.Wire]
	if w == nil {
		w = &ring{}
		r.rings[rec.Wire] = w
	}
	if len(w.records) < maxRecords {
		w.records = append(w.records, rec)
	} else {
		old := w.records[w.next]
		if packet.KindOf(old.Frame) == packet.Handshake {
			w.shakes = append(w.shakes, old)
			old = nil
			if len(w.shakes) > maxShakes {
				old, w.shakes = w.shakes[0], w.shakes[1:]
			}
		}
		if old != nil {
			r.forget(old)
		}
		w.records[w.next] = rec
		w.next = (w.next + 1) % maxRecords
	}
	r.byID[rec.id], r.frames[&rec.Frame[0]] = rec, rec
}

func (r *recorder) forget(old *record) {
	if first := &old.Frame[0]; r.frames[first] == old {
		delete(r.frames, first)
	}
	delete(r.byID, old.id)
}

// continues finds the walk that comes to where p begins, or begins one.
func (r *recorder) continues(id identity, p *wire.Passage) uint64 {
	strands := slices.DeleteFunc(r.going[id], func(s *strand) bool { return p.At.Sub(s.at) > walkGap })
	walk := uint64(0)
	for i := len(strands) - 1; i >= 0 && walk == 0; i-- {
		if s := strands[i]; s.to == p.From && !p.At.Before(s.at) {
			walk = s.walk
		}
	}
	if walk == 0 {
		r.walks++
		walk = r.walks
	}
	if _, known := r.going[id]; !known {
		r.order = append(r.order, id)
		for len(r.order) > maxOpenWalks {
			delete(r.going, r.order[0])
			r.order = r.order[1:]
		}
	}
	r.going[id] = append(strands, &strand{walk, p.To, p.At.Add(p.Flight), r.last})
	return walk
}

// get is the record with this id, nil if it is not kept any more.
func (r *recorder) get(id uint64) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// all are the records from after id on, oldest first, for which keep says so.
func (r *recorder) all(after uint64, keep func(*record) bool) []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*record
	for _, w := range r.rings {
		for rec := range w.all() {
			if rec.id > after && keep(rec) {
				out = append(out, rec)
			}
		}
	}
	slices.SortFunc(out, func(a, b *record) int { return cmp.Compare(a.id, b.id) })
	return out
}

// latest are the last n records after id, oldest first; of a wire that is busier than that, fewer.
func (r *recorder) latest(after uint64, n int) []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*record
	for id := max(after, r.last-min(r.last, uint64(n))) + 1; id <= r.last; id++ {
		if rec := r.byID[id]; rec != nil {
			out = append(out, rec)
		}
	}
	return out
}

// newest is the id of the last record; 0: there is none.
func (r *recorder) newest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// explain is a node's account of what it did with a frame.
func (r *recorder) explain(d nat.Decision) {
	if len(d.Frame) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.frames[&d.Frame[0]]; rec != nil {
		rec.decision, rec.rfc = d.Text, d.RFC
	}
}

// said is what the node at the end of a record said of it.
func (r *recorder) said(rec *record) (text, rfc string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return rec.decision, rec.rfc
}
