// SPDX-License-Identifier: MIT

package noise

import (
	"encoding/binary"

	"oasis6/lab/pcapng"
)

// Bounds of what a Reader remembers. Sessions last three minutes at most, and their successors come every two: these are
// the handshakes of an hour with a hundred peers.
const (
	maxHandshakes = 4096
	maxSessions   = 4096
)

// Reader opens what devices send, with the keys of those that begin handshakes. It is told of each handshake message once
// it has left, in order; the older of too many are forgotten. Not safe for concurrent use.
type Reader struct {
	begun    ring[*Handshake]
	sessions ring[*Session]
}

// NewReader makes one that knows nothing.
func NewReader() *Reader {
	return &Reader{begun: newRing[*Handshake](maxHandshakes), sessions: newRing[*Session](maxSessions)}
}

// Begun tells of an initiation and its keys; not ok if these are not its.
func (r *Reader) Begun(k pcapng.Secrets, initiation []byte) bool {
	h, ok := Follow(k, initiation)
	if ok {
		r.begun.put(h.Index, h)
	}
	return ok
}

// Answered tells of a response; not ok if it answers nothing that has begun.
func (r *Reader) Answered(response []byte) bool {
	if len(response) != ResponseLen || typeOf(response) != TypeResponse {
		return false
	}
	for _, h := range r.begun.get(binary.LittleEndian.Uint32(response[8:])) {
		if s, ok := h.Finish(response); ok {
			r.sessions.put(s.Initiator, s)
			r.sessions.put(s.Responder, s)
			return true
		}
	}
	return false
}

// Open is what a transport message carries, with its padding; empty for a keepalive. It is a packet.Opener.
func (r *Reader) Open(datagram []byte) (content []byte, ok bool) {
	if len(datagram) < HeaderLen+TagLen || typeOf(datagram) != TypeTransport {
		return nil, false
	}
	for _, s := range r.sessions.get(binary.LittleEndian.Uint32(datagram[4:])) {
		if content, ok := s.Open(datagram); ok {
			return content, true
		}
	}
	return nil, false
}

// ring remembers the newest values by index. Two devices may choose the same index, so there may be several.
type ring[T comparable] struct {
	max   int
	order []uint32 // oldest first
	by    map[uint32][]T
}

func newRing[T comparable](n int) ring[T] { return ring[T]{max: n, by: map[uint32][]T{}} }

func (r *ring[T]) get(index uint32) []T { return r.by[index] }

func (r *ring[T]) put(index uint32, v T) {
	if len(r.order) == r.max {
		old := r.order[0]
		r.order = append(r.order[:0], r.order[1:]...)
		if r.by[old] = r.by[old][1:]; len(r.by[old]) == 0 {
			delete(r.by, old)
		}
	}
	r.order = append(r.order, index)
	r.by[index] = append(r.by[index], v)
}
