// SPDX-License-Identifier: MIT

package hostmodel

import (
	"strconv"
	"time"
)

// RFC 7217 section 7: another identifier is tried so often, after that delay.
const (
	idGenRetries = 3
	idGenDelay   = time.Second
)

// probe begins duplicate address detection of a new address, after a random delay of up to MAX_RTR_SOLICITATION_DELAY
// (RFC 4862 section 5.4.2).
func (h *Host) probe(now time.Time, a *Address) {
	a.Probe = now.Add(time.Duration(h.rand() * float64(maxRtrSolicitationDelay)))
	if !h.cfg.RealDAD {
		a.Usable = h.dad(a.Probe)
	}
}

// dad is when an address that is probed now has passed: one probe, RetransTimer (RFC 4862 section 5.4).
func (h *Host) dad(now time.Time) time.Time { return now.Add(retransTimer) }

// detected takes a result. After a duplicate the next of the stable identifiers is tried (RFC 7217 section 6); after the
// last one there is no address in this prefix.
func (h *Host) detected(now time.Time, ev DAD) {
	for _, a := range h.all() {
		switch {
		case a.Addr != ev.Addr || a.Duplicate:
		case ev.Duplicate && a.tries == idGenRetries:
			a.Duplicate, a.Usable = true, time.Time{}
		case ev.Duplicate:
			a.tries++
			a.Addr = h.identify(a.Prefix, a.purpose+"#"+strconv.Itoa(a.tries))
			a.Probe, a.Usable = now.Add(idGenDelay), time.Time{}
			if !h.cfg.RealDAD {
				a.Usable = h.dad(a.Probe)
			}
		case a.Usable.IsZero() || a.Usable.After(now):
			a.Usable = now
			if a == h.linkLocal && h.solicit == (solicit{}) {
				h.solicit.at = now // see linkUp
			}
		}
	}
}
