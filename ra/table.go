// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/note"
)

// maxStale bounds what is withdrawn by name, for each kind. Linux hosts keep 16 addresses for each
// interface, so a 17th stale prefix could not be held anyway.
const maxStale = 16

type kind uint8

const (
	kindPrefix kind = iota
	kindServer
	kindDomain
	kindResolver
	kindRoute
	kindPREF64
	kindPortal
	numKinds
)

// kindNames are those of Record.Kind.
var kindNames = [numKinds]string{"prefix", "rdnss", "dnssl", "encrypted dns", "route", "pref64", "captive portal"}

// key is the identity of something that hosts were told of: a prefix, a DNS server (as a /128), a search
// domain, the name of an encrypted resolver, a URI.
type key struct {
	kind   kind
	prefix netip.Prefix
	domain string
}

func serverKey(a netip.Addr) key { return key{kind: kindServer, prefix: netip.PrefixFrom(a, 128)} }

// name is the identity as text.
func (k key) name() string {
	switch k.kind {
	case kindServer:
		return k.prefix.Addr().String()
	case kindPrefix, kindRoute, kindPREF64:
		return k.prefix.String()
	}
	return k.domain
}

// entry is what hosts were told of one thing. It comes into being with the first RA that carries
// it; from then on the thing is in every RA, if it is no longer true with lifetime 0 (RFC 9096
// section 3.5), until no host can hold it.
type entry struct {
	key
	onLink, autonomous, dhcpv6PD bool         // of a prefix: as last told, kept when it is withdrawn
	resolver                     EncryptedDNS // as last told: systemd 257 does not read a withdrawal without addresses
	preferred, valid             time.Time    // the ends as the last RA gave them; zero when it withdrew
	hold                         time.Time    // the latest end that any RA gave: a host may hold it until then
	live                         bool         // the last RA that somebody got had a lifetime for it
}

// table is everything ever advertised that a host may still hold, in the order of first telling.
type table []entry

func (t table) find(k key) *entry {
	for i := range t {
		if t[i].key == k {
			return &t[i]
		}
	}
	return nil
}

// tell notes that hosts got lifetimes for what e says. news: a record on disk would be another.
func (t *table) tell(now time.Time, told entry, preferred, valid uint32) (news bool) {
	e := t.find(told.key)
	if e == nil {
		*t = append(*t, entry{key: told.key})
		e = &(*t)[len(*t)-1]
	}
	news = !e.live || e.onLink != told.onLink || e.autonomous != told.autonomous
	e.onLink, e.autonomous, e.dhcpv6PD, e.resolver = told.onLink, told.autonomous, told.dhcpv6PD, told.resolver
	e.preferred = now.Add(time.Duration(preferred) * time.Second)
	e.valid = now.Add(time.Duration(valid) * time.Second)
	e.hold = later(e.hold, e.valid)
	e.live = true
	return news
}

// withdraw notes that hosts got lifetime 0 for e. A captive portal has no lifetime: it counts as held for as long as
// anything else could be.
func (e *entry) withdraw(now time.Time) (news bool) {
	if e.live && e.kind == kindPortal {
		e.hold = now.Add(NDValidLimit)
	}
	news = e.live
	e.preferred, e.valid, e.live = time.Time{}, time.Time{}, false
	return news
}

// prune forgets what was withdrawn and no host can hold any more.
func (t *table) prune(now time.Time) (news bool) {
	n := len(*t)
	*t = slices.DeleteFunc(*t, func(e entry) bool { return !e.live && !e.hold.After(now) })
	return len(*t) < n
}

// limit keeps at most maxStale entries of each kind that are not in tr; those that hosts forget
// first go.
func (t *table) limit(tr truth) []note.Note {
	var notes []note.Note
	for k := range numKinds {
		for {
			stale, first := 0, -1
			for i, e := range *t {
				if e.kind != k || tr.has(e.key) {
					continue
				}
				if stale++; first < 0 || e.hold.Before((*t)[first].hold) {
					first = i
				}
			}
			if stale <= maxStale {
				break
			}
			what := (*t)[first].name()
			notes = append(notes, note.New(note.Warn, "too many stale announcements: no longer withdrawn", "prefix", what))
			*t = slices.Delete(*t, first, first+1)
		}
	}
	return notes
}

// lost are the notes on prefixes of before that are no longer true: the first content takes them back.
func (t table) lost(tr truth) []note.Note {
	var notes []note.Note
	for i := range t {
		if e := &t[i]; e.kind == kindPrefix && e.live && !tr.has(e.key) {
			notes = append(notes, note.New(note.Info, "prefix of before withdrawn", "prefix", e.name()))
		}
	}
	return notes
}

// record notes in the table what the RA m, sent now, has told.
func (s *Sender) record(now time.Time, m RouterAdvertisement) {
	tell := func(told entry, preferred, valid uint32) {
		if valid > 0 {
			s.news = s.told.tell(now, told, preferred, valid) || s.news
		} else if e := s.told.find(told.key); e != nil {
			s.news = e.withdraw(now) || s.news
			e.resolver = told.resolver
		}
	}
	for _, o := range m.Options {
		switch o := o.(type) {
		case PrefixInformation:
			tell(entry{key: key{kind: kindPrefix, prefix: o.Prefix}, onLink: o.OnLink, autonomous: o.Autonomous,
				dhcpv6PD: o.DHCPv6PD}, o.Preferred, o.Valid)
		case RouteInformation:
			tell(entry{key: key{kind: kindRoute, prefix: o.Prefix}}, 0, o.Lifetime)
		case PREF64:
			tell(entry{key: key{kind: kindPREF64, prefix: o.Prefix}}, 0, o.Lifetime)
		case RDNSS:
			for _, a := range o.Servers {
				tell(entry{key: serverKey(a)}, 0, o.Lifetime)
			}
		case DNSSL:
			for _, d := range o.Domains {
				tell(entry{key: key{kind: kindDomain, domain: d}}, 0, o.Lifetime)
			}
		case EncryptedDNSOption:
			tell(entry{key: key{kind: kindResolver, domain: o.Name}, resolver: o.EncryptedDNS}, 0, o.Lifetime)
		case CaptivePortal:
			s.recordPortal(now, string(o))
		}
	}
	s.told.prune(now) // what ends in this instant and was withdrawn by this RA is in no record any more
	s.spoken = true
	s.toldLifetime, s.toldMTU = m.RouterLifetime, s.content.LinkMTU
}

// recordPortal: a portal replaces the one before; Unrestricted takes it back, and leaves nothing to be taken back.
func (s *Sender) recordPortal(now time.Time, uri string) {
	if uri == Unrestricted {
		for i := range s.told {
			if e := &s.told[i]; e.kind == kindPortal {
				s.news = e.withdraw(now) || s.news
			}
		}
		return
	}
	s.told = slices.DeleteFunc(s.told, func(e entry) bool { return e.kind == kindPortal && e.domain != uri })
	s.news = s.told.tell(now, entry{key: key{kind: kindPortal, domain: uri}}, 0, 0) || s.news
}

// Announced is what hosts were last told, for the status page. Before the first RA it is what Restored brought.
func (s *Sender) Announced(now time.Time) Announced {
	a := Announced{RouterLifetime: s.toldLifetime, LinkMTU: s.toldMTU, Managed: s.said.managed, OtherConfig: s.said.other}
	left := func(t time.Time) time.Duration { return max(0, t.Sub(now)) }
	for _, e := range s.told {
		switch {
		case e.kind == kindPrefix:
			p := AnnouncedPrefix{Prefix: e.prefix, OnLink: e.onLink, Autonomous: e.autonomous, DHCPv6PD: e.dhcpv6PD,
				Stale: !e.live, Held: left(e.hold)}
			if e.live {
				p.Preferred, p.Valid = left(e.preferred), left(e.valid)
			}
			a.Prefixes = append(a.Prefixes, p)
		case !e.live:
		case e.kind == kindServer:
			a.RDNSS = append(a.RDNSS, e.prefix.Addr())
		case e.kind == kindResolver:
			a.EncryptedDNS = append(a.EncryptedDNS, e.domain)
		case e.kind == kindRoute:
			a.Routes = append(a.Routes, e.prefix)
		case e.kind == kindPREF64:
			a.PREF64 = e.prefix
		case e.kind == kindPortal:
			a.CaptivePortal = e.domain
		default:
			a.DNSSL = append(a.DNSSL, e.domain)
		}
	}
	return a
}
