// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/bucket"
)

// reason is why a message is dropped.
type reason uint8

const (
	valid reason = iota
	dropLink
	dropType
	dropSource
	dropNoClientID
	dropNoServerID
	dropServerID
	dropOtherServer
	dropIA
	dropConfirm
	dropRate
	reasons // how many there are
)

// dropReasons are the reasons in words.
func dropReasons() [reasons]string {
	return [...]string{
		dropLink:        "link without DHCPv6",
		dropType:        "not a message of a client",
		dropSource:      "source is not link-local",
		dropNoClientID:  "no Client Identifier",
		dropNoServerID:  "no Server Identifier",
		dropServerID:    "Server Identifier in a message to all servers",
		dropOtherServer: "for another server",
		dropIA:          "IA in an Information-request",
		dropConfirm:     "nothing to confirm, or no prefix to judge it by",
		dropRate:        "too many new clients",
	}
}

// counters are those of one link.
type counters struct {
	link           string
	received, sent uint64
	dropped        [reasons]uint64
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

// receive checks a message (RFC 9915 section 16) and answers it. Garbage is found out before anything is allocated.
func (s *Server) receive(now time.Time, r Received) {
	q := query{link: s.content.link(r.Link), src: r.Src}
	why := dropLink
	if q.link != nil {
		why = s.read(&q, r.Data)
	} else {
		r.Link = ""
	}
	if why == valid {
		s.touched = true
		s.heard(&q)
		why = s.answer(now, &q)
	}
	if c := s.count(r.Link); why == valid {
		c.received++
	} else {
		c.dropped[why]++
	}
}

// read makes the checks of RFC 9915 section 16. A client has a link-local source (section 13.1): our answers go there, and
// the routes of its prefixes.
func (s *Server) read(q *query, data []byte) reason {
	if len(data) < 4 || !fromClient(dhcpv6.MessageType(data[0])) {
		return dropType
	}
	if !linkLocal(q.src) {
		return dropSource
	}
	m, _, err := dhcpv6.ParseMessage(data)
	if err != nil {
		return dropType
	}
	q.Message = m
	return s.check(&m)
}

// fromClient says that a server answers messages of this type. It discards those of servers and relay agents, and
// unknown ones.
func fromClient(t dhcpv6.MessageType) bool {
	switch t {
	case dhcpv6.Solicit, dhcpv6.Request, dhcpv6.Confirm, dhcpv6.Renew, dhcpv6.Rebind, dhcpv6.Release, dhcpv6.Decline, dhcpv6.InformationRequest:
		return true
	}
	return false
}

// check is about the identifiers that a message of the type must or must not have (RFC 9915 sections 16.2 to 16.12).
func (s *Server) check(m *dhcpv6.Message) reason {
	inform := m.Type == dhcpv6.InformationRequest
	switch m.Type {
	case dhcpv6.Solicit, dhcpv6.Confirm, dhcpv6.Rebind:
		if m.ServerID != "" {
			return dropServerID
		}
	case dhcpv6.Request, dhcpv6.Renew, dhcpv6.Release, dhcpv6.Decline:
		if m.ServerID == "" {
			return dropNoServerID
		}
	}
	switch {
	case m.ServerID != "" && m.ServerID != s.cfg.DUID:
		return dropOtherServer
	case !inform && m.ClientID == "":
		return dropNoClientID
	case inform && len(m.IAs) > 0:
		return dropIA
	}
	return valid
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
