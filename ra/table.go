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
	numKinds
)

// key is the identity of something that hosts were told of: a prefix, a DNS server (as a /128), a search
// domain or the name of an encrypted resolver.
type key struct {
	kind   kind
	prefix netip.Prefix
	domain string
}

func serverKey(a netip.Addr) key { return key{kind: kindServer, prefix: netip.PrefixFrom(a, 128)} }

// entry is what hosts were told of one thing. It comes into being with the first RA that carries
// it; from then on the thing is in every RA, if it is no longer true with lifetime 0 (RFC 9096
// section 3.5), until no host can hold it.
type entry struct {
	key
	onLink, autonomous bool         // of a prefix: as last told, kept when it is withdrawn
	resolver           EncryptedDNS // as last told: systemd 257 does not read a withdrawal without addresses
	preferred, valid   time.Time    // the ends as the last RA gave them; zero when it withdrew
	hold               time.Time    // the latest end that any RA gave: a host may hold it until then
	live               bool         // the last RA that somebody got had a lifetime for it
}

// table is everything ever advertised that a host may still hold, in the order of first telling.
// For stable storage, the records are (kind, identity, flags, hold).
type table []entry

func (t table) find(k key) *entry {
	for i := range t {
		if t[i].key == k {
			return &t[i]
		}
	}
	return nil
}

// tell notes that hosts got lifetimes for k.
func (t *table) tell(now time.Time, k key, preferred, valid uint32, onLink, autonomous bool) {
	e := t.find(k)
	if e == nil {
		*t = append(*t, entry{key: k})
		e = &(*t)[len(*t)-1]
	}
	e.onLink, e.autonomous = onLink, autonomous
	e.preferred = now.Add(time.Duration(preferred) * time.Second)
	e.valid = now.Add(time.Duration(valid) * time.Second)
	if e.hold.Before(e.valid) {
		e.hold = e.valid
	}
	e.live = true
}

// withdraw notes that hosts got lifetime 0 for e.
func (e *entry) withdraw() {
	e.preferred, e.valid, e.live = time.Time{}, time.Time{}, false
}

// prune forgets what was withdrawn and no host can hold any more.
func (t *table) prune(now time.Time) {
	*t = slices.DeleteFunc(*t, func(e entry) bool { return !e.live && !e.hold.After(now) })
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
			what := (*t)[first].domain
			if k == kindPrefix || k == kindServer {
				what = (*t)[first].prefix.String()
			}
			notes = append(notes, note.New(note.Warn, "too many stale announcements: no longer withdrawn", "prefix", what))
			*t = slices.Delete(*t, first, first+1)
		}
	}
	return notes
}

// compose makes the RA of now out of what is true and what must be withdrawn. It changes nothing.
// A last RA has router lifetime 0, and our DNS, which is reachable only through us, with lifetime 0;
// prefixes stay as they are, since hosts may go on talking to each other.
func (s *Sender) compose(now time.Time, last bool) RouterAdvertisement {
	tr := s.truth(now)
	m := RouterAdvertisement{CurHopLimit: curHopLimit, Managed: tr.managed, OtherConfig: tr.other}
	mostRouter, mostDNS := s.limits(now)
	if tr.router && !last {
		m.RouterLifetime, m.Preference = uint16(seconds(mostRouter)), tr.preference
	}
	if s.haveMAC {
		m.Options = append(m.Options, SourceLinkLayer(s.mac))
	}
	if tr.mtu != 0 {
		m.Options = append(m.Options, MTU(tr.mtu))
	}
	var longest uint32
	for _, p := range s.content.Prefixes {
		o := PrefixInformation{Prefix: p.Prefix, OnLink: p.OnLink, Autonomous: p.Autonomous}
		if o.Preferred, o.Valid = p.left(now); o.Valid > 0 {
			longest = max(longest, o.Valid)
			m.Options = append(m.Options, o)
		}
	}
	var oldServers []netip.Addr
	var oldDomains []string
	var oldResolvers []EncryptedDNS
	for _, e := range s.told {
		switch {
		case tr.has(e.key):
		case e.kind == kindPrefix:
			m.Options = append(m.Options, PrefixInformation{Prefix: e.prefix, OnLink: e.onLink, Autonomous: e.autonomous})
		case e.kind == kindServer:
			oldServers = append(oldServers, e.prefix.Addr())
		case e.kind == kindResolver:
			oldResolvers = append(oldResolvers, e.resolver)
		default:
			oldDomains = append(oldDomains, e.domain)
		}
	}
	dns := s.dnsLifetime(now, longest, mostDNS)
	if last {
		dns = 0
	}
	m.Options = appendDNS(m.Options, dns, tr.rdnss, tr.dnssl)
	m.Options = appendDNS(m.Options, 0, oldServers, oldDomains)
	m.Options = appendResolvers(m.Options, dns, tr.resolvers)
	m.Options = appendResolvers(m.Options, 0, oldResolvers)
	return m
}

// limits are the most that hosts are told of the router and of DNS: no more than of the prefix, if all that lead there
// have a Limit. ULA leads to DNS only.
func (s *Sender) limits(now time.Time) (router, dns time.Duration) {
	for _, p := range s.content.Prefixes {
		if _, valid := p.left(now); valid == 0 {
			continue
		}
		dns = max(dns, p.most())
		if !ula.Contains(p.Prefix.Addr()) {
			router = max(router, p.most())
		}
	}
	if dns == 0 {
		dns = NDValidLimit
	}
	return min(router, NDPreferredLimit), dns
}

// dnsLifetime follows the longest valid prefix up to NDValidLimit (RFC 9096 section 3.4) but is never
// less than the router lifetime or three times MaxRtrAdvInterval (RFC 8106 section 5.1): hosts drop
// short ones, and what goes away is withdrawn by name anyway. Where all prefixes have a Limit it is no more
// than the longest of them.
func (s *Sender) dnsLifetime(now time.Time, longestValid uint32, most time.Duration) uint32 {
	_, interval := s.intervals(now)
	return max(longestValid, seconds(min(most, NDPreferredLimit)), seconds(3*interval))
}

// dnsslRoom is how long one DNSSL option may get: four of the longest names, and far from MaxOptions.
const dnsslRoom = 1024

func appendDNS(opts []Option, lifetime uint32, servers []netip.Addr, domains []string) []Option {
	if len(servers) > 0 {
		opts = append(opts, RDNSS{Lifetime: lifetime, Servers: servers})
	}
	for len(domains) > 0 {
		n := 1
		for n < len(domains) && (DNSSL{Domains: domains[:n+1]}).wireLen() <= dnsslRoom {
			n++
		}
		opts = append(opts, DNSSL{Lifetime: lifetime, Domains: domains[:n]})
		domains = domains[n:]
	}
	return opts
}

func appendResolvers(opts []Option, lifetime uint32, resolvers []EncryptedDNS) []Option {
	for _, d := range resolvers {
		opts = append(opts, EncryptedDNSOption{lifetime, d})
	}
	return opts
}

// record notes in the table what the RA m, sent now, has told.
func (s *Sender) record(now time.Time, m RouterAdvertisement) {
	tell := func(k key, preferred, valid uint32, onLink, autonomous bool) {
		if valid > 0 {
			s.told.tell(now, k, preferred, valid, onLink, autonomous)
		} else if e := s.told.find(k); e != nil {
			e.withdraw()
		}
	}
	for _, o := range m.Options {
		switch o := o.(type) {
		case PrefixInformation:
			tell(key{kind: kindPrefix, prefix: o.Prefix}, o.Preferred, o.Valid, o.OnLink, o.Autonomous)
		case RDNSS:
			for _, a := range o.Servers {
				tell(serverKey(a), 0, o.Lifetime, false, false)
			}
		case DNSSL:
			for _, d := range o.Domains {
				tell(key{kind: kindDomain, domain: d}, 0, o.Lifetime, false, false)
			}
		case EncryptedDNSOption:
			k := key{kind: kindResolver, domain: o.Name}
			tell(k, 0, o.Lifetime, false, false)
			if e := s.told.find(k); e != nil {
				e.resolver = o.EncryptedDNS
			}
		}
	}
	s.spoken = true
	s.toldLifetime, s.toldMTU = m.RouterLifetime, s.content.LinkMTU
}

// Announced is what hosts were last told, for the status page. Before the first RA it is empty.
func (s *Sender) Announced(now time.Time) Announced {
	a := Announced{RouterLifetime: s.toldLifetime, LinkMTU: s.toldMTU}
	left := func(t time.Time) time.Duration { return max(0, t.Sub(now)) }
	for _, e := range s.told {
		switch {
		case e.kind == kindPrefix:
			p := AnnouncedPrefix{Prefix: e.prefix, OnLink: e.onLink, Autonomous: e.autonomous, Stale: !e.live, Held: left(e.hold)}
			if e.live {
				p.Preferred, p.Valid = left(e.preferred), left(e.valid)
			}
			a.Prefixes = append(a.Prefixes, p)
		case !e.live:
		case e.kind == kindServer:
			a.RDNSS = append(a.RDNSS, e.prefix.Addr())
		case e.kind == kindResolver:
			a.EncryptedDNS = append(a.EncryptedDNS, e.domain)
		default:
			a.DNSSL = append(a.DNSSL, e.domain)
		}
	}
	return a
}
