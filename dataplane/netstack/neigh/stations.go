// SPDX-License-Identifier: MIT

package neigh

import (
	"net/netip"
	"time"

	"oasis6/internal/bucket"
)

// What of Neighbor Discovery is heard of one station that has answered. Nobody else's is counted as its own, but for who
// forges its MAC.
const (
	stationBurst = 500
	stationEvery = time.Second / 100
)

// station is a MAC with entries that have answered. There are no more than of these.
type station struct {
	entries int
	talk    bucket.Bucket
}

// Admits says whether one more message of Neighbor Discovery is to be heard from a station; known: the Table can tell, as the
// station has answered before. To us alone, and from the address with which it has answered, a station may say all: that makes
// no entries, and without it the station would lose its router to whoever forges its MAC.
func (t *Table[P]) Admits(now time.Time, pkt []byte, mac MAC) (ok, known bool) {
	s := t.stations[mac]
	if s == nil {
		return false, false
	}
	if pkt[offDst] != 0xff {
		e := t.entries[netip.AddrFrom16([16]byte(pkt[offSrc:offDst]))]
		if e != nil && e.rank == rankKnown && e.mac == mac {
			return true, true
		}
	}
	return s.talk.Take(now, 1), true
}

// enter counts an entry that has answered for its station.
func (t *Table[P]) enter(mac MAC) {
	s := t.stations[mac]
	if s == nil {
		s = &station{talk: bucket.Bucket{Burst: stationBurst, Every: stationEvery}}
		t.stations[mac] = s
	}
	s.entries++
}

// leave takes it back.
func (t *Table[P]) leave(mac MAC) {
	if s := t.stations[mac]; s.entries > 1 {
		s.entries--
		return
	}
	delete(t.stations, mac)
}

// setMAC gives an entry another MAC.
func (t *Table[P]) setMAC(e *entry[P], mac MAC) {
	if e.rank == rankKnown {
		t.leave(e.mac)
		t.enter(mac)
	}
	e.mac = mac
}
