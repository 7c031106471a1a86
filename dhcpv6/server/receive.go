// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/bucket"
)

// Why a message is dropped, besides what is wrong with it by itself.
const (
	dropLink Fault = Faults + iota
	dropSource
	dropConfirm
	dropRate
	faults // how many there are
)

// dropReasons are the faults in words.
func dropReasons() (text [faults]string) {
	for f := NotOfClient; f < Faults; f++ {
		text[f] = f.String()
	}
	text[dropLink] = "link without DHCPv6"
	text[dropSource] = "source is not link-local"
	text[dropConfirm] = "nothing to confirm, or no prefix to judge it by"
	text[dropRate] = "too many new clients"
	return text
}

// counters are those of one link.
type counters struct {
	link           string
	received, sent uint64
	dropped        [faults]uint64
}

func (s *Server) count(link string) *counters {
	for i := range s.counters {
		if s.counters[i].link == link {
			return &s.counters[i]
		}
	}
	s.counters = append(s.counters, counters{link: link}) // as many as there have been links in Content
	return &s.counters[len(s.counters)-1]
}

// Stats are the counters of one link; those of messages from links that were not in Content have no name.
func (s *Server) Stats(link string) Stats {
	for _, c := range s.counters {
		if c.link == link {
			st := Stats{Received: c.received, Sent: c.sent, Dropped: map[string]uint64{}}
			for i, text := range dropReasons() {
				if c.dropped[i] > 0 {
					st.Dropped[text] = c.dropped[i]
				}
			}
			return st
		}
	}
	return Stats{}
}

// query is a valid message of a client.
type query struct {
	dhcpv6.Message
	link *Link
	src  netip.Addr
}

// receive checks a message (RFC 9915 section 16) and answers it.
func (s *Server) receive(now time.Time, r Received) {
	q := query{link: s.content.link(r.Link), src: r.Src}
	why := dropLink
	if q.link != nil {
		why = s.read(&q, r.Data)
	} else {
		r.Link = ""
	}
	if why == Valid {
		s.touched = true
		s.heard(&q)
		why = s.answer(now, &q)
	}
	if c := s.count(r.Link); why == Valid {
		c.received++
	} else {
		c.dropped[why]++
	}
}

// read makes the checks of RFC 9915 section 16. A client has a link-local source (section 13.1): our answers go there, and
// the routes of its prefixes.
func (s *Server) read(q *query, data []byte) (why Fault) {
	if dhcpv6.FromClient(data) && !linkLocal(q.src) {
		return dropSource
	}
	q.Message, why = ReadQuery(data, s.cfg.DUID)
	return why
}

// Limits of what clients without a binding can make us do: anybody can make up DUIDs. A house that has power again is
// served at once; and for the flash, a write comes with each grant. A message costs a token for each IA that it gets, and for each
// that it moves to another link or address.
const (
	grantBurst = 64
	grantEvery = 250 * time.Millisecond
	offerBurst = 128
	offerEvery = 25 * time.Millisecond
)

// limits are those of one link: who floods a guest LAN locks nobody out on another.
type limits struct {
	link           string
	grants, offers bucket.Bucket
}

// limits finds those of a link. Links come and go by a reload only, so that the list stays short.
func (s *Server) limits(link string) *limits {
	for _, l := range s.limited {
		if l.link == link {
			return l
		}
	}
	l := &limits{link, bucket.Bucket{Burst: grantBurst, Every: grantEvery}, bucket.Bucket{Burst: offerBurst, Every: offerEvery}}
	s.limited = append(s.limited[max(0, len(s.limited)+1-maxLimited):], l)
	return l
}

// maxLimited bounds the links that have limits, more than a box has LANs.
const maxLimited = 64
