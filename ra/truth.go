// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"time"

	"oasis6/internal/note"
)

// truth is what an RA says apart from lifetimes: when it changes, hosts are to hear of it soon.
type truth struct {
	router         bool
	preference     Preference
	managed, other bool
	mtu            uint32
	prefixes       []truePrefix
	rdnss          []netip.Addr
	dnssl          []string
	resolvers      []EncryptedDNS
	routes         []trueRoute
	pref64         netip.Prefix
	portal         string
}

type truePrefix struct {
	prefix                                  netip.Prefix
	onLink, autonomous, dhcpv6PD, preferred bool
}

type trueRoute struct {
	prefix     netip.Prefix
	preference Preference
}

// truth is what is so at now. A prefix whose valid lifetime is over is not in it.
func (s *Sender) truth(now time.Time) truth {
	c := &s.content
	t := truth{managed: c.Managed, other: c.OtherConfig, mtu: c.LinkMTU, rdnss: c.RDNSS, dnssl: c.DNSSL,
		resolvers: c.EncryptedDNS, pref64: c.PREF64, portal: c.CaptivePortal}
	for _, p := range c.Prefixes {
		preferred, valid := p.left(now)
		if valid == 0 {
			continue
		}
		t.router = t.router || c.DefaultRouter && !ula.Contains(p.Prefix.Addr())
		t.prefixes = append(t.prefixes, truePrefix{p.Prefix, p.OnLink, p.Autonomous, p.DHCPv6PD, preferred > 0})
	}
	for _, x := range c.Routes {
		if x.lifetime(now, NDValidLimit) > 0 {
			t.routes = append(t.routes, trueRoute{x.Prefix, x.Preference})
		}
	}
	if t.router {
		t.preference = c.Preference
	}
	return t
}

func (t truth) equal(u truth) bool {
	return t.router == u.router && t.preference == u.preference && t.managed == u.managed && t.other == u.other &&
		t.mtu == u.mtu && slices.Equal(t.prefixes, u.prefixes) && slices.Equal(t.rdnss, u.rdnss) &&
		slices.Equal(t.routes, u.routes) && t.pref64 == u.pref64 && t.portal == u.portal &&
		slices.Equal(t.dnssl, u.dnssl) && slices.EqualFunc(t.resolvers, u.resolvers, EncryptedDNS.equal)
}

func (t truth) has(k key) bool {
	switch k.kind {
	case kindPrefix:
		return slices.ContainsFunc(t.prefixes, func(p truePrefix) bool { return p.prefix == k.prefix })
	case kindServer:
		return slices.Contains(t.rdnss, k.prefix.Addr())
	case kindResolver:
		return named(t.resolvers, k.domain) != nil
	case kindRoute:
		return slices.ContainsFunc(t.routes, func(x trueRoute) bool { return x.prefix == k.prefix })
	case kindPREF64:
		return t.pref64 == k.prefix
	case kindPortal:
		return t.portal != "" // another one replaces it
	default:
		return slices.Contains(t.dnssl, k.domain)
	}
}

func (t truth) prefers(p netip.Prefix) bool {
	return slices.ContainsFunc(t.prefixes, func(q truePrefix) bool { return q.prefix == p && q.preferred })
}

// drops says whether hosts that were told e would lose something of it: the prefix' preference, or an address
// of the resolver.
func (t *truth) drops(now time.Time, e *entry) bool {
	switch e.kind {
	case kindPrefix:
		return e.preferred.After(now) && !t.prefers(e.prefix)
	case kindResolver:
		if d := named(t.resolvers, e.domain); d != nil {
			return slices.ContainsFunc(e.resolver.Addrs, func(a netip.Addr) bool { return !slices.Contains(d.Addrs, a) })
		}
	}
	return false
}

// changes are the notes for a human when hosts that were told old are now told t.
func (t truth) changes(old truth) []note.Note {
	var notes []note.Note
	hasPrefix := func(in []truePrefix, p truePrefix) bool {
		return slices.ContainsFunc(in, func(q truePrefix) bool { return q.prefix == p.prefix })
	}
	for _, p := range t.prefixes {
		if !hasPrefix(old.prefixes, p) {
			notes = append(notes, note.New(note.Info, "prefix advertised", "prefix", p.prefix.String()))
		}
	}
	for _, p := range old.prefixes {
		if !hasPrefix(t.prefixes, p) {
			notes = append(notes, note.New(note.Info, "prefix withdrawn", "prefix", p.prefix.String()))
		}
	}
	if t.router != old.router {
		state := "no default router"
		if t.router {
			state = "default router"
		}
		notes = append(notes, note.New(note.Info, "router role advertised", "state", state))
	}
	return notes
}
