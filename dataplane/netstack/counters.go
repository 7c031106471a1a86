// SPDX-License-Identifier: MIT

package netstack

import (
	"log/slog"
	"slices"
)

// Counters are the packets that went no further since Open, by reason in words. A reason without any is not there.
type Counters struct {
	Flows int // that the firewall knows now
	// Refused are those that the table or the firewall was against, whether their sender was told or not.
	Refused map[string]uint64
	// Lost are those that nobody was against: there was no room for them, or nobody to take them.
	Lost map[string]uint64
	// Silent are errors that were not sent, as there were too many (RFC 4443 section 2.4 f).
	Silent uint64
}

// loss is why a packet got lost beside the forwarder's reasons.
type loss uint8

const (
	lostMalformed loss = iota
	lostTunnel         // or nobody reads it
	lostForeign        // gVisor sent it
	lostGroup
	lostGone
	lostLink
	lostSocket
	lostStrange
	lostWaiting // too many for one neighbor, or one that has gone
	lostCrowded // too many for all neighbors
	losses      // how many there are
)

var lossText = [losses]string{
	lostMalformed: "no whole IPv6 packet",
	lostTunnel:    "no room in the tunnel's queue",
	lostForeign:   "from an address of the box that has just gone",
	lostGroup:     "for one node in a frame for many",
	lostGone:      "to a LAN that has just gone",
	lostLink:      "not taken by the LAN's link",
	lostSocket:    "ND and DHCPv6 messages faster than they are read",
	lostStrange:   "answers of the box to unknown neighbors, too many at once",
	lostWaiting:   "waited for a neighbor in vain",
	lostCrowded:   "no room to wait for neighbors",
}

// String is its text in Counters.
func (l loss) String() string { return lossText[l] }

// isTrouble says whether a loss is one that a person should hear of. The rest are what senders do wrong, or what a full
// line makes of any queue: TCP measures it so.
func isTrouble(why string) bool {
	return slices.Contains([]string{lossText[lostLink], lossText[lostSocket], lossText[lostCrowded]}, why)
}

// Counters may be called from any goroutine.
func (p *Plane) Counters() Counters {
	s := p.fwd.Stats()
	c := Counters{Flows: s.Flows, Refused: s.Refused, Lost: map[string]uint64{}, Silent: s.Silent}
	for why := range p.lost {
		if n := p.lost[why].Load(); n > 0 {
			c.Lost[lossText[why]] = n
		}
	}
	return c
}

// lossLog is what was logged of Counters.
type lossLog struct {
	last    Counters
	trouble map[string]bool // reasons of which a warning stands
}

// report logs what has become more since it was called last: all of it for who looks for a fault, and once, when it begins,
// what is trouble.
func (l *lossLog) report(log *slog.Logger, c Counters) {
	var all []any
	more := func(now, was map[string]uint64) {
		for _, why := range sortedNames(now) {
			if now[why] > was[why] {
				all = append(all, slog.Uint64(why, now[why]-was[why]))
			}
		}
	}
	more(c.Refused, l.last.Refused)
	more(c.Lost, l.last.Lost)
	if len(all) > 0 {
		log.Debug("packets that went no further in the last minute", all...)
	}
	trouble := map[string]bool{}
	for _, why := range sortedNames(c.Lost) {
		n := c.Lost[why] - min(c.Lost[why], l.last.Lost[why])
		if n == 0 || !isTrouble(why) {
			continue
		}
		trouble[why] = true
		if !l.trouble[why] {
			log.Warn("packets are lost", "why", why, "packets", n)
		}
	}
	l.last, l.trouble = c, trouble
}
