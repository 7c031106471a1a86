// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// Bounds of what other routers on the LAN can make us remember and say.
const (
	maxRouters        = 16 // a LAN has one or two; with more, those not heard for longest make room
	maxRouterPrefixes = 8
	maxConflicts      = 16
	// Notes about routers: all at once on a LAN that has that many, later one a minute, since forged RAs cost nothing.
	routerNotes      = 16
	routerNoteRefill = time.Minute
)

// lifetimeSkew is how far lifetimes of the same prefix may be apart: both count down, and "such comparison SHOULD allow
// some time skew" (RFC 4861 section 6.2.7); some seconds are lost to truncation and to relays of the delegation.
const lifetimeSkew = 10 // seconds

// How long a node that uses our link-local address silences us: until it is over with what it said of itself as
// router, but no longer than the longest MaxRtrAdvInterval (RFC 4861 section 6.2.1), within which a living router is
// heard again; and a moment at least, also if it said lifetime 0.
//
// Anybody on the LAN can forge such an RA and keep us silent with one packet in half an hour. That is no more than he
// has anyway: the same packet with router lifetime 0 takes the default route from all hosts, for they know a router by
// its link-local address only. Against both there is RA Guard on the switch (RFC 6105); here it is said loudly.
const (
	clashLeast      = 30 * time.Second
	clashMost       = 1800 * time.Second
	clashNotes      = 3
	clashNoteRefill = 10 * time.Minute
	// oldMACGrace: an RA with the MAC we had until now may still be on its way back to us through a loop.
	oldMACGrace = 10 * time.Second
)

// clash is another node with our link-local address. Both cannot be routers: hosts would take the words of one for
// those of the other. It may be found only after our first RA, which does not wait: a start with an RA at once is worth
// more than an hour in a life in which the kernel's DAD found nothing.
type clash struct {
	mac    [6]byte
	hasMAC bool
	until  time.Time // zero: there is none
	said   bool      // there was a note
}

// otherRouter is another router of the LAN.
type otherRouter struct {
	Router
	prefixes  []routerPrefix
	conflicts []conflict
}

type routerPrefix struct {
	prefix netip.Prefix
	valid  lifetime.Until
}

// conflict is one thing in which a router contradicts us.
type conflict struct {
	prefix netip.Prefix // that it is about; zero: none
	what   string
	text   string // with both values
}

// receiveRA only looks: there should be one RA owner for each LAN, and nothing that is said here becomes ours.
func (s *Sender) receiveRA(now time.Time, src netip.Addr, ev Received, a *Actions) DropReason {
	m, _, drop := ParseRA(src, ev.HopLimit, ev.Data)
	if drop != Accepted {
		return drop
	}
	ll, haveLL := m.sourceLinkLayer()
	ours := src == s.linkLocal
	if ours && s.isOwn(now, ll, haveLL) {
		return OwnMessage
	}
	s.foreign++
	r, isNew := s.router(src)
	r.Heard, r.RouterLifetime, r.Preference = now, m.RouterLifetime, m.Preference
	r.LinkLayer, r.HasLinkLayer = ll, haveLL
	if ours {
		s.clashWith(now, r, a)
	} else if isNew {
		s.routerNote(now, note.New(note.Info, "another router advertises on this LAN", "from", src.String(),
			"router_lifetime", strconv.Itoa(int(m.RouterLifetime))), a)
	}
	r.hear(now, &m)
	s.compare(now, r, &m, a)
	return Accepted
}

// isOwn says whether an RA from our address is an echo: all of ours have our MAC, if there is one.
func (s *Sender) isOwn(now time.Time, ll SourceLinkLayer, haveLL bool) bool {
	if haveLL && ll == SourceLinkLayer(s.oldMAC) && now.Before(s.oldMACUntil) {
		return true
	}
	return haveLL == s.haveMAC && (!haveLL || ll == SourceLinkLayer(s.mac))
}

// router is the place for a router, an old one or new.
func (s *Sender) router(addr netip.Addr) (r *otherRouter, isNew bool) {
	oldest := 0
	for i := range s.routers {
		if s.routers[i].Addr == addr {
			return &s.routers[i], false
		}
		if s.routers[i].Heard.Before(s.routers[oldest].Heard) {
			oldest = i
		}
	}
	if len(s.routers) < maxRouters {
		s.routers = append(s.routers, otherRouter{})
		oldest = len(s.routers) - 1
	}
	s.routers[oldest] = otherRouter{Router: Router{Addr: addr}}
	return &s.routers[oldest], true
}

// hear takes over what hosts get from the router. One RA may come in several messages, so what is not in m stays.
func (r *otherRouter) hear(now time.Time, m *RouterAdvertisement) {
	for _, o := range m.Options {
		pio, ok := o.(PrefixInformation)
		if !ok {
			continue
		}
		i := slices.IndexFunc(r.prefixes, func(p routerPrefix) bool { return p.prefix == pio.Prefix })
		if i < 0 {
			i = slices.IndexFunc(r.prefixes, func(p routerPrefix) bool { return p.valid.Over(now) })
		}
		if i < 0 && pio.Valid > 0 && len(r.prefixes) < maxRouterPrefixes {
			i = len(r.prefixes)
			r.prefixes = append(r.prefixes, routerPrefix{})
		}
		if i >= 0 && (pio.Valid > 0 || r.prefixes[i].prefix == pio.Prefix) {
			r.prefixes[i] = routerPrefix{pio.Prefix, lifetime.FromSeconds(now, pio.Valid)}
		}
	}
}

// compare is RFC 4861 section 6.2.7, for the values that we send: ReachableTime and RetransTimer are unspecified in
// ours, and that contradicts nothing. Other prefixes are no conflict.
func (s *Sender) compare(now time.Time, r *otherRouter, m *RouterAdvertisement, a *Actions) {
	if !s.spoken || !s.given {
		return
	}
	r.conflicts = slices.DeleteFunc(r.conflicts, func(c conflict) bool {
		return c.prefix.IsValid() && !slices.ContainsFunc(s.content.Prefixes, func(p Prefix) bool { return p.Prefix == c.prefix && !p.Valid.Over(now) })
	})
	check := func(what string, prefix netip.Prefix, theirs, ours uint32, differs bool) {
		c := conflict{prefix, what, what + " " + decimal(theirs) + ", ours " + decimal(ours)}
		if differs && r.conflict(c) {
			s.routerNote(now, note.New(note.Warn, "another router contradicts us", "from", r.Addr.String(), "what", c.text), a)
		} else if !differs {
			r.agree(what)
		}
	}
	none := netip.Prefix{}
	check("hop limit", none, uint32(m.CurHopLimit), curHopLimit, m.CurHopLimit != 0 && m.CurHopLimit != curHopLimit)
	check("M flag", none, bit(m.Managed), bit(s.content.Managed), m.Managed != s.content.Managed)
	check("O flag", none, bit(m.OtherConfig), bit(s.content.OtherConfig), m.OtherConfig != s.content.OtherConfig)
	for _, o := range m.Options {
		switch o := o.(type) {
		case MTU:
			check("MTU", none, uint32(o), s.content.LinkMTU, s.content.LinkMTU != 0 && uint32(o) != s.content.LinkMTU)
		case PrefixInformation:
			for _, p := range s.content.Prefixes {
				preferred, valid := p.left(now)
				if p.Prefix != o.Prefix || valid == 0 {
					continue
				}
				if o.Valid > 0 {
					s.secondBox(now, r, p.Prefix, a)
				} else {
					r.agree(boxName(p.Prefix))
				}
				name := p.Prefix.String()
				check(name+" valid lifetime", p.Prefix, o.Valid, valid, apart(o.Valid, valid))
				check(name+" preferred lifetime", p.Prefix, o.Preferred, preferred, apart(o.Preferred, preferred))
			}
		}
	}
}

// secondBox: nobody but us should have our prefix.
func (s *Sender) secondBox(now time.Time, r *otherRouter, p netip.Prefix, a *Actions) {
	c := conflict{p, boxName(p), boxName(p) + ": a second box with the same key?"}
	if r.conflict(c) {
		s.routerNote(now, note.New(note.Warn, "another router advertises our prefix: a second box with the same key?",
			"prefix", p.String(), "from", r.Addr.String()), a)
	}
}

func boxName(p netip.Prefix) string { return "advertises our prefix " + p.String() }

// conflict takes c over and says whether it is new.
func (r *otherRouter) conflict(c conflict) (isNew bool) {
	for i := range r.conflicts {
		if r.conflicts[i].what == c.what {
			r.conflicts[i].text = c.text
			return false
		}
	}
	if len(r.conflicts) == maxConflicts {
		return false
	}
	r.conflicts = append(r.conflicts, c)
	return true
}

func (r *otherRouter) agree(what string) {
	r.conflicts = slices.DeleteFunc(r.conflicts, func(c conflict) bool { return c.what == what })
}

func apart(a, b uint32) bool { return max(a, b)-min(a, b) > lifetimeSkew }

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// routerNote says n unless routers have made us say too much.
func (s *Sender) routerNote(now time.Time, n note.Note, a *Actions) {
	if s.routerNotes.Take(now, 1) {
		a.Notes = append(a.Notes, n)
	}
}

// clashWith stops us from advertising beside another node with our link-local address.
func (s *Sender) clashWith(now time.Time, r *otherRouter, a *Actions) {
	was, said := s.clashing(), s.clash.said
	quiet := min(max(time.Duration(r.RouterLifetime)*time.Second, clashLeast), clashMost)
	s.clash = clash{mac: r.LinkLayer, hasMAC: r.HasLinkLayer, until: now.Add(quiet), said: said}
	if was {
		return
	}
	s.hush()
	if s.clash.said = s.clashNotes.Take(now, 1); s.clash.said {
		a.Notes = append(a.Notes, note.New(note.Error, "no router advertisements: "+clashText,
			"from", s.linkLocal.String(), "mac", s.clash.who()))
	}
}

const clashText = "another node uses our link-local address"

func (s *Sender) clashing() bool { return !s.clash.until.IsZero() }

// Clash says who uses our link-local address, for which reason nothing is advertised; empty if nobody does.
func (s *Sender) Clash() string {
	if !s.clashing() {
		return ""
	}
	return clashText + " " + s.linkLocal.String() + ": MAC " + s.clash.who()
}

// endClash goes on when the other was not heard any more: hosts hear at once what is true.
func (s *Sender) endClash(now time.Time, a *Actions) {
	if s.clash.said {
		a.Notes = append(a.Notes, note.New(note.Info, "router advertisements go on: nobody else uses our link-local address now"))
	}
	s.clash = clash{}
	s.review(now, a)
	if s.advertising() {
		s.announce(now)
	}
}

// who is the MAC as text.
func (c clash) who() string {
	if !c.hasMAC {
		return "unknown"
	}
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 17)
	for i, o := range c.mac {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[o>>4], digits[o&15])
	}
	return string(b)
}

// Routers are the other routers of the LAN. They are forgotten as a Receiver does it: 90 minutes after they were heard
// last, or when they are no default router any more if that is later.
func (s *Sender) Routers(now time.Time) []Router {
	var out []Router
	for i := range s.routers {
		x := &s.routers[i]
		if !later(x.Heard.Add(forgetAfter), x.Heard.Add(time.Duration(x.RouterLifetime)*time.Second)).After(now) {
			continue
		}
		r := x.Router
		for _, p := range x.prefixes {
			if !p.valid.Over(now) {
				r.Prefixes = append(r.Prefixes, p.prefix)
			}
		}
		for _, c := range x.conflicts {
			r.Conflicts = append(r.Conflicts, c.text)
		}
		if x.Addr == s.linkLocal && s.clashing() {
			r.Conflicts = append(r.Conflicts, s.Clash())
		}
		out = append(out, r)
	}
	return out
}
