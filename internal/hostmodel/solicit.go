// SPDX-License-Identifier: MIT

package hostmodel

import "time"

// solicit is the state of soliciting: at zero there is none.
type solicit struct {
	at   time.Time     // of the next solicitation
	last time.Duration // RT of the last one; zero: none was sent
	sent int
}

// RFC 7559 section 2: the first three 4 s apart, as RFC 4861 section 6.3.7 has them and Linux begins; then the interval
// grows by RFC 8415's formula up to MRT, for ever.
const maxSolicitInterval = time.Hour

// solicitDue sends what is due.
func (h *Host) solicitDue(now time.Time, a *Actions) {
	s := &h.solicit
	if s.at.IsZero() || s.at.After(now) {
		return
	}
	mac := h.cfg.MAC
	a.Send = append(a.Send, Solicitation{Src: h.linkLocal.Addr,
		Data: append([]byte{typeRS, 0, 0, 0, 0, 0, 0, 0, optSourceLinkLayer, 1}, mac[:]...)})
	s.sent++
	spread := func(d time.Duration) time.Duration { return d + time.Duration((h.rand()-0.5)/5*float64(d)) }
	switch {
	case s.sent < maxRtrSolicitations:
		s.last = rtrSolicitationInterval
	case 2*s.last > maxSolicitInterval:
		s.last = spread(maxSolicitInterval)
	default:
		s.last += spread(s.last)
	}
	s.at = now.Add(s.last)
}
