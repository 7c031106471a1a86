// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"time"
)

// compose makes the RA of now out of what is true and what must be withdrawn. It changes nothing.
// A last RA has router lifetime 0, and what is reachable only through us with lifetime 0: our DNS, routes, NAT64 and
// captive portal; prefixes stay as they are, since hosts may go on talking to each other. Prefixes come first, for
// the packets of one RA may get lost one by one.
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
		o := PrefixInformation{Prefix: p.Prefix, OnLink: p.OnLink, Autonomous: p.Autonomous, DHCPv6PD: p.DHCPv6PD}
		if o.Preferred, o.Valid = p.left(now); o.Valid > 0 {
			longest = max(longest, o.Valid)
			m.Options = append(m.Options, o)
		}
	}
	dns, pref64 := s.dnsLifetime(now, longest, mostDNS), s.pref64Lifetime(now)
	if last {
		dns, pref64, mostDNS = 0, 0, 0
		if tr.portal != "" {
			tr.portal = Unrestricted
		}
	}
	old := s.withdrawn(&tr)
	m.Options = append(m.Options, old.prefixes...)
	for _, x := range s.content.Routes {
		if n := x.lifetime(now, mostDNS); n > 0 {
			o := RouteInformation{Prefix: x.Prefix, Preference: x.Preference, Lifetime: n}
			if last {
				o.Lifetime = 0
			}
			m.Options = append(m.Options, o)
		}
	}
	m.Options = append(m.Options, old.routes...)
	m.Options = appendDNS(m.Options, dns, tr.rdnss, tr.dnssl)
	m.Options = appendDNS(m.Options, 0, old.servers, old.domains)
	m.Options = appendResolvers(m.Options, dns, tr.resolvers)
	m.Options = appendResolvers(m.Options, 0, old.resolvers)
	if tr.pref64.IsValid() {
		m.Options = append(m.Options, PREF64{Lifetime: pref64, Prefix: tr.pref64})
	}
	m.Options = append(m.Options, old.pref64s...)
	if tr.portal != "" {
		m.Options = append(m.Options, CaptivePortal(tr.portal))
	}
	return m
}

// leftovers are the things that hosts were told of and that are no longer true.
type leftovers struct {
	prefixes, routes, pref64s []Option
	servers                   []netip.Addr
	domains                   []string
	resolvers                 []EncryptedDNS
}

// withdrawn are the leftovers. A portal among them becomes tr's Unrestricted. Before the first content, which is in a
// last RA only, prefixes of a predecessor are not named: nobody has said that they are gone.
func (s *Sender) withdrawn(tr *truth) leftovers {
	var l leftovers
	portal := false
	for _, e := range s.told {
		switch {
		case tr.has(e.key):
		case e.kind == kindPrefix:
			if s.given {
				l.prefixes = append(l.prefixes, PrefixInformation{Prefix: e.prefix, OnLink: e.onLink, Autonomous: e.autonomous, DHCPv6PD: e.dhcpv6PD})
			}
		case e.kind == kindRoute:
			l.routes = append(l.routes, RouteInformation{Prefix: e.prefix})
		case e.kind == kindPREF64:
			l.pref64s = append(l.pref64s, PREF64{Prefix: e.prefix})
		case e.kind == kindServer:
			l.servers = append(l.servers, e.prefix.Addr())
		case e.kind == kindResolver:
			l.resolvers = append(l.resolvers, e.resolver)
		case e.kind == kindPortal:
			portal = true
		default:
			l.domains = append(l.domains, e.domain)
		}
	}
	if portal {
		tr.portal = Unrestricted
	}
	return l
}

// limits are the most that hosts are told of the router and of DNS: no more than of the prefix, if all that lead there
// have a Limit, but see minLifetime. ULA leads to DNS only. Routes go with DNS.
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
	return max(minLifetime, min(router, NDPreferredLimit)), max(minLifetime, dns)
}

// dnsLifetime follows the longest valid prefix up to NDValidLimit (RFC 9096 section 3.4) but is never
// less than the router lifetime or three times MaxRtrAdvInterval (RFC 8106 section 5.1): hosts drop
// short ones, and what goes away is withdrawn by name anyway. Where all prefixes have a Limit it is no more
// than the longest of them.
func (s *Sender) dnsLifetime(now time.Time, longestValid uint32, most time.Duration) uint32 {
	_, interval := s.intervals(now)
	return max(longestValid, seconds(min(most, NDPreferredLimit)), seconds(3*interval))
}

// pref64Lifetime is "the lesser of 3 x MaxRtrAdvInterval or 65528 seconds" (RFC 8781 section 4.1), rounded up as it
// will be on the wire.
func (s *Sender) pref64Lifetime(now time.Time) uint32 {
	_, interval := s.intervals(now)
	return (seconds(max(3*interval, minLifetime)) + pref64Unit - 1) / pref64Unit * pref64Unit
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
