// SPDX-License-Identifier: MIT

package hub

import (
	"time"

	"oasis6/hub/enroll"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// How often the device is asked how its peers are. With many sites that takes some tens of milliseconds. Two boxes with one
// key take the session from each other every 5 s, the time after which a box begins a handshake because it hears nothing: a
// poll as seldom as that could see the same one each time.
const (
	pollFirst   = time.Second
	pollEvery   = 2 * time.Second
	pollPerSite = 2 * time.Millisecond // more for each: 22 s in all for 10,000 sites
	pollSoon    = 200 * time.Millisecond
)

// pollSooner asks soon: a site that was not there speaks.
func (h *Hub) pollSooner(now time.Time) {
	at := now.Add(pollSoon + time.Duration(len(h.sites))*pollPerSite/4)
	if !h.pollAt.IsZero() && at.Before(h.pollAt) {
		h.pollAt = at
	}
}

// poll is the answer of one question to the device.
type poll struct {
	sites map[wgkey.Public]tun.Reading
	err   error
}

// startPoll asks the device on a goroutine of its own.
func (h *Hub) startPoll(now time.Time) {
	h.pollAt = time.Time{}
	if h.polling {
		return
	}
	h.polling = true
	go func() {
		sites, err := h.opt.Tunnel.Sites()
		h.polled <- poll{sites, err}
	}()
}

// waitForPoll ends with the goroutine.
func (h *Hub) waitForPoll() {
	if h.polling {
		<-h.polled
	}
}

func (h *Hub) onPoll(now time.Time, p poll) {
	h.polling = false
	h.pollAt = now.Add(pollEvery + time.Duration(len(h.sites))*pollPerSite)
	h.refreshOwn(now)
	h.foundAgain(now)
	if p.err != nil {
		h.journal.Warn("device does not say how its sites are", "err", p.err.Error())
		return
	}
	drifted := false
	for _, s := range h.sites {
		if r, ok := p.sites[s.Public]; ok {
			h.observe(now, s, r)
		}
	}
	for _, r := range p.sites {
		drifted = drifted || r.Drifted
	}
	if drifted {
		h.journal.Warn("somebody changed sites with wg, put right")
		if err := h.giveSites(h.deviceSites()); err != nil {
			h.journal.Warn("sites not put right", "err", err.Error())
		}
	}
}

// observe takes what the device says of one site.
func (h *Hub) observe(now time.Time, s *site, r tun.Reading) {
	was, last := s.alive(now), s.place
	s.reading = r
	if !was && s.alive(now) {
		h.journal.Info("site is there", "peer", s.label(), "from", r.Endpoint.String())
		if s.origin != invited {
			h.appear(now, s)
		}
	}
	if r.HandshakeAge >= 0 {
		h.stepBook(now, enroll.Seen{Key: s.Public, Age: r.HandshakeAge})
	}
	if r.Endpoint.IsValid() {
		s.endpoint = r.Endpoint
	}
	s.away = s.gone(now, h.started)
	if s.place != last && s.endpoint.IsValid() {
		h.endpointMoved(now, s)
	}
	if s.flap.see(now, r.Returns) {
		h.journal.Error("two boxes seem to share one key: give each its own", "peer", s.label(), "from", last.endpoint.String(), "to", r.Endpoint.String())
	}
}

// awayAfter is how long a site is given after its last handshake. One without keepalive may be silent for longer, but it
// needs no call by the next hub either: packets for it call it.
const awayAfter = 10 * time.Minute

// gone says that the site is not there, since the hub began or longer than awayAfter.
func (s *site) gone(now, started time.Time) bool {
	last := s.reading.HandshakeAt
	if last.IsZero() {
		if now.Sub(started) < awayAfter {
			return s.away // as the last hub has seen it
		}
		last = started
	}
	return now.Sub(last) >= awayAfter
}

// Handshakes that the hub begins after its start, towards each site that was there before: so paced that the answers do not
// come all at once, and a machine of two cores can compute them.
const (
	initiateEvery = 20 * time.Millisecond
	initiateEach  = 10 // in each: 500 a second
)

// initiateSome begins the next handshakes.
func (h *Hub) initiateSome(now time.Time) {
	n := min(initiateEach, len(h.initiate))
	for _, k := range h.initiate[:n] {
		if s := h.byKey[k]; s != nil && !s.alive(now) {
			h.opt.Tunnel.Initiate(k)
		}
	}
	h.initiate = h.initiate[n:]
	h.initiateAt = now.Add(initiateEvery)
	if len(h.initiate) == 0 {
		h.initiate, h.initiateAt = nil, time.Time{}
	}
}
