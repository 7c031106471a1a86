// SPDX-License-Identifier: MIT

package offload

// Complete fills in the checksum of a packet where that was left to be done.
func Complete(pkt []byte, off Info) {
	at := int(off.Start) + int(off.Field)
	if !off.Partial || int(off.Start) >= len(pkt) || at+2 > len(pkt) {
		return
	}
	// The field holds the pseudo-header's sum, so the sum over all of it is what is missing.
	s := ^sum(0, pkt[off.Start:])
	if s == 0 {
		s = 0xffff // UDP's zero means none; for others both are the same
	}
	pkt[at], pkt[at+1] = byte(s>>8), byte(s)
}

// Segments are what is left of a packet that is cut.
type Segments struct {
	pkt []byte
	off Info
}

// Cut begins to cut a packet, which must stay as it is until the last segment is made. One that is no super-packet is its
// only segment.
func Cut(pkt []byte, off Info) Segments { return Segments{pkt, off} }

// Next writes the next segment into b and says how long it is, 0 if b is too short, and whether there are more.
func (s *Segments) Next(b []byte) (n int, more bool) {
	if len(b) < len(s.pkt) {
		return 0, false
	}
	n = copy(b, s.pkt)
	Complete(b[:n], s.off)
	return n, false
}
