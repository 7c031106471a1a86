// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// answer makes the reply to a valid message (RFC 9915 section 18.3). A fault says why there is none.
func (s *Server) answer(now time.Time, q *query) Fault {
	r := dhcpv6.Message{Type: dhcpv6.Reply, XID: q.XID, ClientID: q.ClientID, ServerID: s.cfg.DUID}
	why := Valid
	switch q.Type {
	case dhcpv6.Solicit:
		if r.RapidCommit = q.RapidCommit; !q.RapidCommit {
			r.Type = dhcpv6.Advertise
		}
		why = s.assign(now, q, &r)
	case dhcpv6.Request:
		why = s.assign(now, q, &r)
	case dhcpv6.Renew, dhcpv6.Rebind:
		why = s.extend(now, q, &r)
	case dhcpv6.Confirm:
		why = q.confirm(&r)
	case dhcpv6.Release, dhcpv6.Decline:
		why = s.giveBack(now, q, &r)
	case dhcpv6.InformationRequest:
		q.link.Info.Answer(&q.Message, &r)
	}
	if why != Valid {
		return why
	}
	SetTimes(r.IAs)
	s.send(q.link.Name, q.src, r.Append(nil))
	return Valid
}

func (s *Server) send(link string, to netip.Addr, data []byte) {
	s.count(link).sent++
	s.act.Send = append(s.act.Send, Datagram{Link: link, To: to, Data: data})
}

// assign answers Solicit and Request (RFC 9915 sections 18.3.1, 18.3.2 and 18.3.9).
func (s *Server) assign(now time.Time, q *query, r *dhcpv6.Message) Fault {
	commit := r.Type == dhcpv6.Reply
	limit := &s.limits(q.link.Name).offers
	if commit {
		limit = &s.limits(q.link.Name).grants
	}
	if !limit.Take(now, s.many(q, q.fresh)) {
		return dropRate
	}
	var planned []netip.Prefix
	for i := range q.IAs {
		ia := &q.IAs[i]
		if q.Type == dhcpv6.Request && ia.Type == dhcpv6.NA && !q.link.onLink(ia.Prefixes) {
			r.IAs = append(r.IAs, Refused(ia, dhcpv6.NotOnLink))
			continue
		}
		a := s.serve(now, q, ia, commit, planned)
		for _, p := range a.Prefixes {
			planned = append(planned, p.Prefix)
		}
		r.IAs = append(r.IAs, a)
	}
	q.link.Info.Answer(&q.Message, r)
	s.accept(now, q, r)
	return Valid
}

// many is for how many IAs of the message it is so for the binding, or its want.
func (s *Server) many(q *query, so func(*Binding) bool) (n int) {
	for i := range q.IAs {
		if so(s.find(q.ClientID, q.IAs[i].Type, q.IAs[i].IAID)) {
			n++
		}
	}
	return n
}

// known: the client has something.
func (q *query) known(b *Binding) bool { return b != nil && b.live() }

// moved: it has it on another link, or at another address.
func (q *query) moved(b *Binding) bool {
	return q.known(b) && (b.Link != q.link.Name || b.Peer != q.src)
}

// fresh: it has nothing on this link and at this address.
func (q *query) fresh(b *Binding) bool { return !q.known(b) || q.moved(b) }

// serve makes the IA of an Advertise or Reply, and with commit the binding.
func (s *Server) serve(now time.Time, q *query, ia *dhcpv6.IA, commit bool, planned []netip.Prefix) dhcpv6.IA {
	b := s.find(q.ClientID, ia.Type, ia.IAID)
	known := b != nil
	if !known {
		b = &Binding{Link: q.link.Name, Client: q.ClientID, Type: ia.Type, IAID: ia.IAID}
		if !s.room(q, ia.Type, commit) {
			return Refused(ia, NoneLeft(ia.Type))
		}
	}
	p := s.plan(now, q, b, ia, planned)
	a := dhcpv6.IA{Type: ia.Type, IAID: ia.IAID, Prefixes: p.told}
	if commit {
		s.commit(now, q, b, p.leases)
		for _, x := range p.gone {
			a.Prefixes = append(a.Prefixes, dhcpv6.IAPrefix{Prefix: x})
		}
	}
	if len(a.Prefixes) == 0 {
		return Refused(ia, NoneLeft(ia.Type))
	}
	return a
}

// extend answers Renew and Rebind (RFC 9915 sections 18.3.4 and 18.3.5). An IA that we do not know gets NoBinding, which
// makes the client request it. What the client names and does not have, it is told to give up by lifetimes of 0.
func (s *Server) extend(now time.Time, q *query, r *dhcpv6.Message) Fault {
	if !s.limits(q.link.Name).grants.Take(now, s.many(q, q.moved)) {
		return dropRate // other addresses, or another next hop, which is work for the kernel
	}
	for i := range q.IAs {
		ia := &q.IAs[i]
		if b := s.find(q.ClientID, ia.Type, ia.IAID); !q.known(b) {
			r.IAs = append(r.IAs, Refused(ia, dhcpv6.NoBinding))
			continue
		}
		a := s.serve(now, q, ia, true, nil)
		for _, p := range ia.Prefixes {
			p := dhcpv6.IAPrefix{Prefix: p.Prefix}
			if dhcpv6.Delegable(p.Prefix) && !slices.ContainsFunc(a.Prefixes, func(x dhcpv6.IAPrefix) bool { return x.Prefix == p.Prefix }) {
				a.Prefixes = append(a.Prefixes, p)
				a.Status = dhcpv6.Status{}
			}
		}
		r.IAs = append(r.IAs, a)
	}
	q.link.Info.Answer(&q.Message, r)
	s.accept(now, q, r)
	return Valid
}

// onLink says whether all the addresses are ones of the link.
func (l *Link) onLink(addrs []dhcpv6.IAPrefix) bool {
	for _, a := range addrs {
		if !slices.ContainsFunc(l.OnLink, func(o OnLink) bool { return o.Prefix.Contains(a.Prefix.Addr()) }) {
			return false
		}
	}
	return true
}

// confirm answers a Confirm (RFC 9915 section 18.3.3). It is about addresses alone; a client with prefixes sends Rebind.
// "If the server is unable to perform this test [...] or if there were no addresses in any of the IAs sent by the client,
// the server MUST NOT send a Reply".
func (q *query) confirm(r *dhcpv6.Message) Fault {
	some, all := false, true
	for _, ia := range q.IAs {
		if ia.Type == dhcpv6.NA {
			some = some || len(ia.Prefixes) > 0
			all = all && q.link.onLink(ia.Prefixes)
		}
	}
	if !some || len(q.link.OnLink) == 0 {
		return dropConfirm
	}
	r.Status = dhcpv6.Status{Code: dhcpv6.Success, Text: "all addresses are on this link"}
	if !all {
		r.Status = dhcpv6.Status{Code: dhcpv6.NotOnLink}
	}
	return Valid
}

// declineTime is how long an address that somebody else has is given to nobody: the other one may have been configured
// by hand, but may also be gone tomorrow.
const declineTime = 24 * time.Hour

// maxDeclined bounds the list of such addresses; the oldest goes first. A client that declines everything gets another
// address of 2^64 each time.
const maxDeclined = 64

// declined is an address that is out of use.
type declined struct {
	addr  netip.Addr
	until time.Time
}

// giveBack answers Release and Decline (RFC 9915 sections 18.3.7 and 18.3.8): Success at the top, and NoBinding for each
// IA that we do not know. Prefixes cannot be declined.
func (s *Server) giveBack(now time.Time, q *query, r *dhcpv6.Message) Fault {
	decline := q.Type == dhcpv6.Decline
	if !s.limits(q.link.Name).grants.Take(now, s.many(q, q.known)) {
		return dropRate // it is a write
	}
	r.Status = dhcpv6.Status{Code: dhcpv6.Success, Text: "taken back"}
	for i := range q.IAs {
		ia := &q.IAs[i]
		b := s.find(q.ClientID, ia.Type, ia.IAID)
		if !q.known(b) {
			r.IAs = append(r.IAs, Refused(ia, dhcpv6.NoBinding))
			continue
		}
		for _, p := range ia.Prefixes {
			l := b.find(p.Prefix)
			switch {
			case l == nil || !l.live() || decline && b.Type != dhcpv6.NA:
			case decline:
				s.declined = append(s.declined[max(0, len(s.declined)+1-maxDeclined):], declined{p.Prefix.Addr(), now.Add(declineTime)})
				s.end(b, l, "address is in use by somebody else")
				l.Stale = true // so that it is not remembered
			default:
				s.end(b, l, "lease was released")
			}
		}
	}
	s.sweep()
	return Valid
}

// isDeclined says that somebody else was seen to use the address.
func (s *Server) isDeclined(now time.Time, a netip.Addr) bool {
	return slices.ContainsFunc(s.declined, func(d declined) bool { return d.addr == a && now.Before(d.until) })
}

// lifetimes are those to tell of what comes from the source: capped (RFC 9096 L-16), never above what is left of it
// (L-15) or its Limit, and no preferred one above the valid one.
func (x *source) lifetimes(now time.Time) (preferred, valid uint32) {
	left := func(u lifetime.Until, most time.Duration) uint32 {
		return min(u.Seconds(now), uint32(most/time.Second))
	}
	most := MaxValid
	if x.limit > 0 {
		most = min(x.limit, most)
	}
	valid = left(x.valid, most)
	return min(left(x.preferred, MaxPreferred), valid), valid
}
