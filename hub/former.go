// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
	"slices"

	"oasis6/status"
)

// formerPools counts leases that are out of no pool of the present configuration and not reserved.
type formerPools struct {
	pools, retired []netip.Prefix
	reserved       map[string][]netip.Prefix // by public key
	found          map[netip.Prefix]*status.FormerPool
	unknown        netip.Prefix // the shortest that holds what is of no known pool: a hub that was started since has forgotten it
	rest           status.FormerPool
}

func (h *Hub) former() *formerPools {
	f := &formerPools{pools: h.cfg.Hub.Pools, retired: h.retired, reserved: map[string][]netip.Prefix{}, found: map[netip.Prefix]*status.FormerPool{}}
	for _, s := range h.cfg.Sites {
		if len(s.Prefixes) > 0 {
			f.reserved[s.PublicKey.String()] = s.Prefixes
		}
	}
	return f
}

// count takes the leases of one site.
func (f *formerPools) count(s *site, leases []status.SiteLease) {
	for _, l := range leases {
		p, err := netip.ParsePrefix(l.Prefix)
		if err != nil {
			continue // never: it is what we have written
		}
		holds := func(q netip.Prefix) bool { return covers(q, p) }
		if slices.ContainsFunc(f.pools, holds) || len(f.reserved) > 0 && slices.ContainsFunc(f.reserved[s.Public.String()], holds) {
			continue
		}
		x := &f.rest
		if i := slices.IndexFunc(f.retired, holds); i >= 0 {
			if x = f.found[f.retired[i]]; x == nil {
				x = &status.FormerPool{Prefix: f.retired[i].String()}
				f.found[f.retired[i]] = x
			}
		} else {
			f.unknown = enclosing(f.unknown, p)
		}
		x.Leases++
		if x.ValidS >= 0 && (l.ValidS < 0 || l.ValidS > x.ValidS) {
			x.ValidS = l.ValidS
		}
	}
}

// list is what was found, the pool that was retired first before others.
func (f *formerPools) list() (all []status.FormerPool) {
	for _, p := range f.retired {
		if x := f.found[p]; x != nil {
			all = append(all, *x)
		}
	}
	if f.unknown.IsValid() {
		f.rest.Prefix = f.unknown.String()
		all = append(all, f.rest)
	}
	return all
}

// enclosing is the shortest prefix with all of both; a may be not valid.
func enclosing(a, b netip.Prefix) netip.Prefix {
	if !a.IsValid() {
		return b
	}
	for bits := min(a.Bits(), b.Bits()); ; bits-- {
		if p := netip.PrefixFrom(b.Addr(), bits).Masked(); p.Contains(a.Addr()) {
			return p
		}
	}
}
