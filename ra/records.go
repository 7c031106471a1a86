// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/internal/note"
)

// maxRestored bounds what is taken back from disk, for each kind: as much as one content may have. What of it is not
// in the first content comes under maxStale.
const maxRestored = maxPrefixes

// Records are what hosts of the LAN may hold, for stable storage (RFC 9096 section 3.5). The set changes when
// something is told for the first time, withdrawn or forgotten, not when it is told again: then Actions.Persist is
// true. So a live record has no Hold, which would be another one with each RA.
func (s *Sender) Records(now time.Time) []Record {
	out := make([]Record, 0, len(s.told))
	for i := range s.told {
		e := &s.told[i]
		r := Record{Kind: kindNames[e.kind], Name: e.name(), OnLink: e.onLink, Autonomous: e.autonomous, Live: e.live}
		if !e.live {
			if !e.hold.After(now) {
				continue
			}
			r.Hold = e.hold
		}
		out = append(out, r)
	}
	return out
}

// restore takes over what an earlier process told. It counts as told: what is not in the first content is withdrawn by
// name. A live record may have been told again a moment before the end, so hosts may hold it for as long as there is;
// how long ago that was nobody knows.
func (s *Sender) restore(now time.Time, records []Record, a *Actions) {
	most, bad := now.Add(NDValidLimit), 0
	var count [numKinds]int
	for _, r := range records {
		e, ok := restored(r)
		if !ok || count[e.kind] == maxRestored {
			bad++
			continue
		}
		if r.Live {
			e.live, e.hold, e.valid, e.preferred = true, most, most, now.Add(NDPreferredLimit)
		} else if e.hold = r.Hold; e.hold.After(most) { // the clock of a damaged file
			e.hold = most
		}
		if !r.Live && !e.hold.After(now) || s.told.find(e.key) != nil {
			continue
		}
		count[e.kind]++
		s.told = append(s.told, e)
		s.cfg.Resumed = true
	}
	if bad > 0 {
		a.Notes = append(a.Notes, note.New(note.Warn, "some records of earlier announcements cannot be used: not withdrawn",
			"records", strconv.Itoa(bad)))
	}
}

// restored reads one record without its times.
func restored(r Record) (e entry, ok bool) {
	i := slices.Index(kindNames[:], r.Kind)
	if i < 0 {
		return e, false
	}
	e.kind = kind(i)
	switch e.kind {
	case kindServer:
		addr, err := netip.ParseAddr(r.Name)
		e.key = serverKey(addr)
		return e, err == nil && addr.Zone() == "" && unicast6(addr)
	case kindPrefix, kindRoute, kindPREF64:
		p, err := netip.ParsePrefix(r.Name)
		if err != nil {
			return e, false
		}
		e.prefix = p.Masked()
		why := prefixProblem(e.prefix)
		if e.kind == kindPREF64 {
			why = pref64Problem(e.prefix)
		}
		if e.kind == kindPrefix {
			e.onLink, e.autonomous = r.OnLink, r.Autonomous
		}
		return e, why == ""
	case kindPortal:
		e.domain = r.Name
		return e, uriProblem(r.Name) == "" && len(r.Name) <= maxPortal && r.Name != Unrestricted
	}
	domain, err := CheckDomain(r.Name)
	e.domain = domain
	// The addresses of a resolver are not on disk: it is withdrawn in ADN-only mode (RFC 9463 section 3.1.6).
	e.resolver = EncryptedDNS{Priority: 1, Name: domain}
	return e, err == nil
}
