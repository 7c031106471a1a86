// SPDX-License-Identifier: MIT

package pd

import (
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/wgkey"
)

// Why a message is dropped, besides what is wrong with it by itself.
const (
	dropSite server.Fault = server.Faults + iota
	dropConfirm
	dropRate
	faults // how many there are
)

// dropReasons are the faults in words.
func dropReasons() (text [faults]string) {
	for f := server.NotOfClient; f < server.Faults; f++ {
		text[f] = f.String()
	}
	text[dropSite] = "not from a site"
	text[dropConfirm] = "Confirm, where there are no addresses"
	text[dropRate] = "site changes its leases too often"
	return text
}

type counters struct {
	received, sent uint64
	dropped        [faults]uint64
}

// Stats are the counters of all sites together.
func (m *Machine) Stats() Stats {
	st := Stats{Received: m.counters.received, Sent: m.counters.sent, Dropped: map[string]uint64{},
		Live: m.states[live], Resting: m.states[resting], Remembered: m.states[remembered] + m.states[dormant]}
	for i, text := range dropReasons() {
		if m.counters.dropped[i] > 0 {
			st.Dropped[text] = m.counters.dropped[i]
		}
	}
	return st
}

// SiteStats are those of one site since it is in the content.
func (m *Machine) SiteStats(k wgkey.Public) SiteStats {
	if s := m.sites[k]; s != nil {
		return s.stats
	}
	return SiteStats{}
}

// query is a valid message of a site.
type query struct {
	dhcpv6.Message
	site *site
}

// receive checks a message and answers it.
func (m *Machine) receive(now time.Time, r Received) {
	s := m.sites[r.Site]
	if s == nil || !s.present || m.stopped {
		m.counters.dropped[dropSite]++
		return
	}
	q := query{site: s}
	var why server.Fault
	if q.Message, why = server.ReadQuery(r.Data, m.cfg.DUID); why == server.Valid {
		m.heard(&q)
		why = m.answer(now, &q)
	}
	if why != server.Valid {
		m.counters.dropped[why]++
		s.stats.Dropped++
		return
	}
	m.counters.received++
	s.stats.Received++
}
