// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"oasis6/internal/note"
)

// How much content one LAN may have. More is a mistake or an attack from the server that gave it;
// hosts keep at most 16 addresses (Linux max_addresses) and three servers (glibc).
const (
	maxPrefixes  = 64
	maxServers   = 32
	maxDomains   = 32
	maxResolvers = 8
)

// minMTU is the smallest link MTU of IPv6 (RFC 8200 section 5).
const minMTU = 1280

var ula = netip.MustParsePrefix("fc00::/7") // RFC 4193 section 3.1

// refusal collects the notes on what is left out. Boards are small: add is not copied into its many callers.
type refusal []note.Note

//go:noinline
func (r *refusal) add(msg, key, value string) {
	*r = append(*r, note.New(note.Warn, msg, key, value))
}

// usable is the content without what may not be sent, in the form that is compared: prefixes
// masked, domains lower case, nothing twice. Each thing left out gets a note.
func usable(c Content) (Content, []note.Note) {
	var r refusal
	if c.LinkMTU != 0 && c.LinkMTU < minMTU {
		r.add("MTU not advertised: less than 1280", "mtu", strconv.FormatUint(uint64(c.LinkMTU), 10))
		c.LinkMTU = 0
	}
	if c.Preference != High && c.Preference != Low {
		c.Preference = Medium // RFC 4191 section 2.1: the reserved value MUST NOT be sent
	}
	c.Prefixes = usablePrefixes(c.Prefixes, &r)
	c.RDNSS = usableServers(c.RDNSS, &r)
	c.DNSSL = usableDomains(c.DNSSL, &r)
	c.EncryptedDNS = usableResolvers(c.EncryptedDNS, &r)
	return c, r
}

func usablePrefixes(in []Prefix, r *refusal) []Prefix {
	out := make([]Prefix, 0, len(in))
	for _, p := range in {
		why := prefixProblem(p.Prefix)
		masked := p.Prefix.Masked()
		same := func(q Prefix) bool { return q.Prefix == masked }
		switch {
		case why != "":
		case slices.ContainsFunc(out, same):
			why = "it is there already"
		case len(out) == maxPrefixes:
			why = "too many"
		default:
			p.Prefix = masked
			if p.Limit != 0 {
				p.Limit = max(p.Limit, MinPrefixLimit).Truncate(time.Second)
			}
			out = append(out, p)
			continue
		}
		r.add("prefix not advertised: "+why, "prefix", p.Prefix.String())
	}
	return out
}

func usableServers(in []netip.Addr, r *refusal) []netip.Addr {
	out := make([]netip.Addr, 0, len(in))
	for _, a := range in {
		a = a.WithZone("")
		switch {
		case slices.Contains(out, a):
		case !unicast6(a):
			r.add("DNS server not advertised: not a unicast IPv6 address", "server", a.String())
		case len(out) == maxServers:
			r.add("DNS server not advertised: too many", "server", a.String())
		default:
			out = append(out, a)
		}
	}
	return out
}

// unicast6 says whether a host can send to a as to one other node.
//
//go:noinline
func unicast6(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback()
}

func usableDomains(in []string, r *refusal) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		d, err := CheckDomain(s)
		switch {
		case err != nil:
			r.add("search domain not advertised", "err", err.Error())
		case slices.Contains(out, d):
		case len(out) == maxDomains:
			r.add("search domain not advertised: too many", "domain", d)
		default:
			out = append(out, d)
		}
	}
	return out
}

// prefixProblem says why hosts may not be told of p; empty if they may.
func prefixProblem(p netip.Prefix) string {
	switch a := p.Addr(); {
	case !p.IsValid() || !a.Is6() || a.Is4In6():
		return "not an IPv6 prefix"
	case p.Bits() < 3: // would make most of the Internet on-link
		return "too short"
	case a.IsMulticast():
		return "multicast"
	case a.IsUnspecified():
		return "unspecified"
	case a.IsLinkLocalUnicast(): // RFC 4861 section 4.6.2: SHOULD NOT
		return "link-local"
	}
	return ""
}

// left are the lifetimes of the prefix as an RA of now has them: capped (RFC 9096 section 3.4),
// never more than the delegation has left (L-15) or its Limit, preferred never more than valid.
func (p Prefix) left(now time.Time) (preferred, valid uint32) {
	valid = min(p.Valid.Seconds(now), seconds(p.most()))
	return min(p.Preferred.Seconds(now), seconds(NDPreferredLimit), valid), valid
}

// most is what the valid lifetime is capped to.
func (p Prefix) most() time.Duration {
	if p.Limit == 0 {
		return NDValidLimit
	}
	return min(p.Limit, NDValidLimit)
}

// seconds is d as a lifetime on the wire; the durations here are constants or intervals, all small.
func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

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
}

type truePrefix struct {
	prefix                        netip.Prefix
	onLink, autonomous, preferred bool
}

// truth is what is so at now. A prefix whose valid lifetime is over is not in it.
func (s *Sender) truth(now time.Time) truth {
	c := &s.content
	t := truth{managed: c.Managed, other: c.OtherConfig, mtu: c.LinkMTU, rdnss: c.RDNSS, dnssl: c.DNSSL,
		resolvers: c.EncryptedDNS}
	for _, p := range c.Prefixes {
		preferred, valid := p.left(now)
		if valid == 0 {
			continue
		}
		t.router = t.router || c.DefaultRouter && !ula.Contains(p.Prefix.Addr())
		t.prefixes = append(t.prefixes, truePrefix{p.Prefix, p.OnLink, p.Autonomous, preferred > 0})
	}
	if t.router {
		t.preference = c.Preference
	}
	return t
}

func (t truth) equal(u truth) bool {
	return t.router == u.router && t.preference == u.preference && t.managed == u.managed && t.other == u.other &&
		t.mtu == u.mtu && slices.Equal(t.prefixes, u.prefixes) && slices.Equal(t.rdnss, u.rdnss) &&
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
