// SPDX-License-Identifier: MIT

package client

import (
	"net/netip"
	"slices"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// Bounds of a lease, so that no server fills our memory or the RAs of the LAN.
const (
	MaxPrefixes     = 8  // of one IA
	MaxDNS          = 8  // resolvers ask three at most
	MaxSearch       = 16 // and search six domains
	MaxNTP          = 8
	MaxEncryptedDNS = 4
)

// MinPrefixLen is the shortest prefix that we take. Registries are given a /12 at most and a site a /32; to
// make a /3 unreachable but for our LANs would cut the box off its own native IPv6.
const MinPrefixLen = 16

// Lease is what the client holds. The zero value holds nothing. A Lease that was given out is never changed.
type Lease struct {
	Server      dhcpv6.DUID
	ServerAddr  netip.Addr // where the last Reply came from
	IAs         []IA       // those that hold something
	T1, T2      lifetime.Until
	Info        Info
	Reconfigure Reconfigure
}

// IA is what the server has bound to one identity association.
type IA struct {
	Type     dhcpv6.IAType
	IAID     dhcpv6.IAID
	Prefixes []Prefix // never empty; of an IA_NA: addresses as /128
}

// Prefix is one delegated prefix, or one address as a /128.
type Prefix struct {
	Prefix    netip.Prefix
	Exclude   netip.Prefix // the part that no LAN may have (RFC 6603); zero: none
	Preferred lifetime.Until
	Valid     lifetime.Until
	// Unconfirmed says that the prefix was kept over a reboot and that no server has confirmed it since: its
	// lifetimes are what was left when they were written, its age is not known. Hosts must be told of it
	// for UnconfirmedLifetime at a time only.
	Unconfirmed bool
}

// Info is the configuration that came with the last answer.
type Info struct {
	DNS          []netip.Addr
	Search       []string
	NTP          []dhcpv6.NTPServer
	EncryptedDNS []dhcpv6.EncryptedDNS
	Refresh      lifetime.Until // when a stateless client asks again
}

// Reconfigure is what the server's Reconfigure messages are checked with.
type Reconfigure struct {
	Key    dhcpv6.ReconfigureKey
	Replay uint64 // the last value that was accepted: it only ever grows
}

// Unconfirmed says whether any prefix or address of the lease is.
func (l Lease) Unconfirmed() bool {
	return slices.ContainsFunc(l.IAs, func(a IA) bool {
		return slices.ContainsFunc(a.Prefixes, func(p Prefix) bool { return p.Unconfirmed })
	})
}

// Prefixes are the delegated prefixes of all IAs, in their order.
func (l Lease) Prefixes() []Prefix { return l.of(dhcpv6.PD) }

// Addresses are the addresses of all IAs as /128.
func (l Lease) Addresses() []Prefix { return l.of(dhcpv6.NA) }

func (l Lease) of(t dhcpv6.IAType) (out []Prefix) {
	for _, a := range l.IAs {
		if a.Type == t {
			out = append(out, a.Prefixes...)
		}
	}
	return out
}

// bound is what one IA holds.
func (l Lease) bound(t dhcpv6.IAType, id dhcpv6.IAID) []Prefix {
	if i := l.find(t, id); i >= 0 {
		return l.IAs[i].Prefixes
	}
	return nil
}

// find is the index of an IA, -1 if it holds nothing.
func (l Lease) find(t dhcpv6.IAType, id dhcpv6.IAID) int {
	return slices.IndexFunc(l.IAs, func(a IA) bool { return a.Type == t && a.IAID == id })
}

// with is the lease with an IA replaced; one without prefixes is left out.
func (l Lease) with(t dhcpv6.IAType, id dhcpv6.IAID, prefixes []Prefix) Lease {
	i := l.find(t, id)
	l.IAs = slices.Clone(l.IAs)
	switch {
	case len(prefixes) == 0 && i < 0:
	case len(prefixes) == 0:
		l.IAs = slices.Delete(l.IAs, i, i+1)
	case i < 0:
		l.IAs = append(l.IAs, IA{t, id, prefixes})
	default:
		l.IAs[i].Prefixes = prefixes
	}
	return l
}

// sameForLAN says that nobody outside of the client sees a difference between the two.
func (l Lease) sameForLAN(m Lease) bool {
	return l.Info.Equal(m.Info) &&
		slices.EqualFunc(l.IAs, m.IAs, func(a, b IA) bool {
			return a.Type == b.Type && a.IAID == b.IAID && slices.Equal(a.Prefixes, b.Prefixes)
		})
}

// SameButTimes says that two leases differ in nothing but their lifetimes.
func (l Lease) SameButTimes(m Lease) bool {
	return l.Server == m.Server && l.Reconfigure == m.Reconfigure && l.Info.Equal(m.Info) &&
		slices.EqualFunc(l.IAs, m.IAs, func(a, b IA) bool {
			return a.Type == b.Type && a.IAID == b.IAID && slices.EqualFunc(a.Prefixes, b.Prefixes, func(p, q Prefix) bool {
				return p.Prefix == q.Prefix && p.Exclude == q.Exclude && p.Unconfirmed == q.Unconfirmed
			})
		})
}

// Equal compares all but the time of the next refresh.
func (i Info) Equal(j Info) bool {
	return slices.Equal(i.DNS, j.DNS) && slices.Equal(i.Search, j.Search) && slices.Equal(i.NTP, j.NTP) &&
		slices.EqualFunc(i.EncryptedDNS, j.EncryptedDNS, func(a, b dhcpv6.EncryptedDNS) bool {
			return a.Priority == b.Priority && a.Name == b.Name && a.Params == b.Params && slices.Equal(a.Addrs, b.Addrs)
		})
}

// findPrefix is the index of a prefix, -1 if it is not there.
func findPrefix(ps []Prefix, p netip.Prefix) int {
	return slices.IndexFunc(ps, func(x Prefix) bool { return x.Prefix == p })
}
