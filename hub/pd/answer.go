// SPDX-License-Identifier: MIT

package pd

import (
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/server"
	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// ShortT1 is how often sites ask at least that cannot be told by Reconfigure: it is how long a renumbering takes to reach
// them. RFC 9915 section 21.21 leaves T1 to the server.
const ShortT1 = 5 * time.Minute

// answer makes the reply to a valid message (RFC 9915 section 18.3). A fault says why there is none.
func (m *Machine) answer(now time.Time, q *query) server.Fault {
	r := dhcpv6.Message{Type: dhcpv6.Reply, XID: q.XID, ClientID: q.ClientID, ServerID: m.cfg.DUID}
	why := server.Valid
	switch q.Type {
	case dhcpv6.Solicit:
		if r.RapidCommit = q.RapidCommit; !q.RapidCommit {
			r.Type = dhcpv6.Advertise
		}
		why = m.assign(now, q, &r)
	case dhcpv6.Request:
		why = m.assign(now, q, &r)
	case dhcpv6.Renew, dhcpv6.Rebind:
		m.extend(now, q, &r)
	case dhcpv6.Release, dhcpv6.Decline:
		why = m.giveBack(now, q, &r)
	case dhcpv6.InformationRequest:
		m.content.Info.Answer(&q.Message, &r)
	default: // "if there were no addresses in any of the IAs [...] the server MUST NOT send a Reply" (section 18.3.3)
		why = dropConfirm
	}
	if why != server.Valid {
		return why
	}
	server.SetTimes(r.IAs)
	m.shorten(q, &r)
	m.send(q.site, r.Append(nil))
	return server.Valid
}

func (m *Machine) send(s *site, data []byte) {
	m.counters.sent++
	m.act.Send = append(m.act.Send, Datagram{Site: s.key, Data: data})
}

// shorten brings T1 forward where a site must ask by itself: because no Reconfigure will reach it, or because all that it
// has is stale, and something else may be free any time.
func (m *Machine) shorten(q *query, r *dhcpv6.Message) {
	most, waits := uint32(ShortT1/time.Second), false
	for i := range r.IAs {
		b := q.site.binding(r.IAs[i].IAID)
		waits = waits || r.IAs[i].Type == dhcpv6.PD && b != nil && !b.reconfigure
		waits = waits || r.IAs[i].Type == dhcpv6.PD && b != nil && slices.ContainsFunc(b.leases, func(l *lease) bool { return l.state == live && l.held })
	}
	if waits || !r.ReconfigureAccept {
		for i := range r.IAs {
			r.IAs[i].T1 = min(r.IAs[i].T1, most)
		}
	}
}

// assign answers Solicit and Request (RFC 9915 sections 18.3.1, 18.3.2 and 18.3.9).
func (m *Machine) assign(now time.Time, q *query, r *dhcpv6.Message) server.Fault {
	commit := r.Type == dhcpv6.Reply
	if commit && !q.site.writes.Take(now, m.fresh(q)) {
		return dropRate
	}
	var offers []*claim
	added := 0 // bindings that there would be with what is offered
	for i := range q.IAs {
		ia := &q.IAs[i]
		if ia.Type != dhcpv6.PD {
			r.IAs = append(r.IAs, server.Refused(ia, server.NoneLeft(ia.Type)))
			continue
		}
		b := q.site.binding(ia.IAID)
		if b == nil {
			b = &binding{site: q.site, iaid: ia.IAID, out: true}
		}
		isNew := !b.live()
		if isNew && q.site.countLive()+added >= m.cfg.MaxPerSite {
			r.IAs = append(r.IAs, server.Refused(ia, dhcpv6.NoPrefixAvail))
			continue
		}
		p := m.plan(now, q, b, ia)
		if commit {
			m.commit(now, q, b, &p)
		} else {
			offers = append(offers, m.claims(p.add, offered, q.site)...)
			if isNew && len(p.add) > 0 {
				added++
			}
		}
		r.IAs = append(r.IAs, p.told(now, m, ia))
	}
	for _, c := range offers {
		m.trie.remove(c)
	}
	m.content.Info.Answer(&q.Message, r)
	m.accept(now, q, r)
	return server.Valid
}

// fresh is how many IAs of the message get something that they do not have: each is a write.
func (m *Machine) fresh(q *query) (n int) {
	for i := range q.IAs {
		if q.IAs[i].Type == dhcpv6.PD && !q.site.binding(q.IAs[i].IAID).known() {
			n++
		}
	}
	return min(n, m.cfg.MaxPerSite)
}

// extend answers Renew and Rebind (RFC 9915 sections 18.3.4 and 18.3.5). An IA that we do not know gets NoBinding, which
// makes the client request it. What the site names and does not have, it is told to give up by lifetimes of 0.
func (m *Machine) extend(now time.Time, q *query, r *dhcpv6.Message) {
	for i := range q.IAs {
		ia := &q.IAs[i]
		b := q.site.binding(ia.IAID)
		if ia.Type == dhcpv6.PD && !b.known() {
			b = m.adopt(now, q, ia)
		}
		if ia.Type != dhcpv6.PD || !b.known() {
			r.IAs = append(r.IAs, server.Refused(ia, dhcpv6.NoBinding))
			continue
		}
		p := m.plan(now, q, b, ia)
		m.commit(now, q, b, &p)
		a := p.told(now, m, ia)
		for _, p := range ia.Prefixes {
			p := dhcpv6.IAPrefix{Prefix: p.Prefix}
			if dhcpv6.Delegable(p.Prefix) && !slices.ContainsFunc(a.Prefixes, func(x dhcpv6.IAPrefix) bool { return x.Prefix == p.Prefix }) {
				a.Prefixes = append(a.Prefixes, p)
				a.Status = dhcpv6.Status{}
			}
		}
		r.IAs = append(r.IAs, a)
	}
	m.content.Info.Answer(&q.Message, r)
	m.accept(now, q, r)
}

// giveBack answers Release and Decline (RFC 9915 sections 18.3.7 and 18.3.8): Success at the top, and NoBinding for each IA
// that we do not know. What is released stays routed until its valid lifetime is out: the Reply may be lost, and hosts
// behind the site may have it longer than the site wants. Prefixes cannot be declined.
func (m *Machine) giveBack(now time.Time, q *query, r *dhcpv6.Message) server.Fault {
	known := 0
	for i := range q.IAs {
		if q.IAs[i].Type == dhcpv6.PD && q.site.binding(q.IAs[i].IAID).known() {
			known++
		}
	}
	if q.Type == dhcpv6.Release && !q.site.writes.Take(now, known) {
		return dropRate
	}
	r.Status = dhcpv6.Status{Code: dhcpv6.Success, Text: "taken back"}
	for i := range q.IAs {
		ia := &q.IAs[i]
		b := q.site.binding(ia.IAID)
		if ia.Type != dhcpv6.PD || !b.known() {
			r.IAs = append(r.IAs, server.Refused(ia, dhcpv6.NoBinding))
			continue
		}
		for _, p := range ia.Prefixes {
			if l := b.find(p.Prefix); q.Type == dhcpv6.Release && l != nil && l.state == live && !l.released {
				m.change(b)
				l.released, l.preferred = true, lifetime.Until{}
				m.note(note.Info, "lease was released", l)
			}
		}
	}
	return server.Valid
}
