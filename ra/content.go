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
	maxRoutes    = 16 // the delegations and the ULA prefix; Linux keeps each as a route of its own
)

// minLifetime is the least nonzero lifetime of all but prefixes: Android and Linux with accept_ra_min_lft=180 ignore
// what is shorter, and a host that ignores an RA holds what it heard before. Prefixes are exempt: their lifetimes are
// the delegation's to the second (RFC 9096 L-15).
//
// The router lifetime and DNS say 180 where a Prefix.Limit would make them less: they are taken back by name in the
// instant they end, so 180 is no promise. A route of less is withdrawn, as of RFC 4191 it is something that "there is"
// for that long, and the default route mostly leads the same way.
const minLifetime = 180 * time.Second

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
	c.Preference = c.Preference.sendable()
	c.Prefixes = usablePrefixes(c.Prefixes, &r)
	c.RDNSS = usableServers(c.RDNSS, &r)
	c.DNSSL = usableDomains(c.DNSSL, &r)
	c.EncryptedDNS = usableResolvers(c.EncryptedDNS, &r)
	c.Routes = usableRoutes(c.Routes, c.Prefixes, &r)
	if c.PREF64 != (netip.Prefix{}) {
		if why := pref64Problem(c.PREF64); why != "" {
			r.add("NAT64 prefix not advertised: "+why, "prefix", c.PREF64.String())
			c.PREF64 = netip.Prefix{}
		}
		c.PREF64 = c.PREF64.Masked()
	}
	if c.CaptivePortal != "" {
		why := uriProblem(c.CaptivePortal)
		if len(c.CaptivePortal) > maxPortal {
			why = "longer than 255 octets"
		}
		if why != "" {
			r.add("captive portal not advertised: "+why, "uri", printable(c.CaptivePortal))
			c.CaptivePortal = ""
		}
	}
	return c, r
}

// usableRoutes leaves out, without a note, those that hosts have as a prefix: two routes to one prefix confuse them
// (RFC 7084 L-3, erratum 7699).
func usableRoutes(in []Route, prefixes []Prefix, r *refusal) []Route {
	out := make([]Route, 0, len(in))
	for _, x := range in {
		why := prefixProblem(x.Prefix)
		x.Prefix = x.Prefix.Masked()
		x.Preference = x.Preference.sendable()
		switch {
		case x.Prefix.IsValid() && x.Prefix.Bits() == 0:
			// Hosts of type C obey it instead of the router lifetime (RFC 4191 section 3.1), Linux 6.18 too.
			why = "it would overrule the router lifetime"
		case why != "":
		case slices.ContainsFunc(prefixes, func(p Prefix) bool { return p.Prefix == x.Prefix }):
			continue
		case slices.ContainsFunc(out, func(y Route) bool { return y.Prefix == x.Prefix }):
			why = "it is there already"
		case len(out) == maxRoutes:
			why = "too many"
		default:
			out = append(out, x)
			continue
		}
		r.add("route not advertised: "+why, "prefix", x.Prefix.String())
	}
	return out
}

// sendable: the reserved value MUST NOT be sent (RFC 4191 section 2.1).
func (p Preference) sendable() Preference {
	if p == High || p == Low {
		return p
	}
	return Medium
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

// lifetime is what hosts are told of the route: no more than there is (RFC 9096 L-15) or than most, and 0 where that
// would be less than minLifetime.
func (x Route) lifetime(now time.Time, most time.Duration) uint32 {
	left := x.Valid.Seconds(now)
	if least := seconds(minLifetime); left < least {
		return 0
	}
	return min(left, seconds(max(most, minLifetime)))
}
