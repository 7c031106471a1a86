// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"oasis6/internal/wgkey"
)

// sites reads every [Peer]. A hub without any is right: sites may come by invitation. Nothing here may look at all sites
// for each: a file has ten thousand.
func (c *hubChecker) sites() {
	var (
		reserved []placed
		names    = map[string]int{} // → line
		keys     = map[wgkey.Public]int{}
		locals   = map[netip.Addr]int{}
	)
	for _, raw := range c.raw.sites {
		s := Site{
			Name: c.peerName(raw.name), PublicKey: c.publicKey(raw.line, raw.publicKey), PresharedKey: c.presharedKey(raw.presharedKey),
			LinkLocal: c.linkLocal(raw.linkLocal), Keepalive: c.keepalive(raw.persistentKeepalive, 0), Line: raw.line,
		}
		if s.Name != "" {
			id := strings.ToLower(s.Name)
			if first := names[id]; first != 0 {
				c.bad("Name", *raw.name, fmt.Sprintf("has a [Peer] already, on line %d", first))
			}
			names[id] = raw.line
		}
		for _, p := range c.sitePrefixes("Prefix", raw.prefix) {
			reserved = append(reserved, p)
			s.Prefixes = append(s.Prefixes, p.prefix)
		}
		c.out.Sites = append(c.out.Sites, s)
		c.linkLocals = append(c.linkLocals, c.siteLinkLocal(raw, &s, keys, locals))
	}
	c.overlaps("Prefix", reserved)
	c.reservations(reserved)
}

// siteLinkLocal is the address that the site has on the tunnel, which with its key no other site may have. It is zero
// where the key is no key.
func (c *hubChecker) siteLinkLocal(raw *rawSite, s *Site, keys map[wgkey.Public]int, locals map[netip.Addr]int) netip.Addr {
	if s.PublicKey.IsZero() {
		return netip.Addr{}
	}
	if first := keys[s.PublicKey]; first != 0 {
		c.errorf(raw.publicKey.line, "PublicKey: has a [Peer] already, on line %d", first)
		return netip.Addr{}
	}
	keys[s.PublicKey] = raw.line
	local := s.LinkLocal
	if !local.IsValid() {
		local = s.PublicKey.LinkLocal()
	}
	switch first := locals[local]; {
	case first == 0:
	case raw.linkLocal == nil:
		c.errorf(raw.line, "[Peer]: its link-local address, %s from its key, is the LinkLocal of the [Peer] on line %d", local, first)
	default:
		c.bad("LinkLocal", *raw.linkLocal, fmt.Sprintf("has a [Peer] already, on line %d", first))
	}
	locals[local] = raw.line
	return local
}

// overlaps reports prefixes that share addresses with another of the list, on the later line. Prefixes either hold each
// other or are apart, so that sorted by address each one need be compared with the last that was in none before it.
func (c *hubChecker) overlaps(key string, list []placed) {
	list = slices.Clone(list)
	sortPlaced(list)
	for i, outer := 1, 0; i < len(list); i++ {
		first, second := list[outer], list[i]
		if !first.prefix.Overlaps(second.prefix) {
			outer = i
			continue
		}
		if first.line > second.line {
			first, second = second, first
		}
		if first.prefix == second.prefix {
			c.errorf(second.line, "%s %s: stands on line %d already", key, second.prefix, first.line)
			continue
		}
		c.errorf(second.line, "%s %s: overlaps %s on line %d", key, second.prefix, first.prefix, first.line)
	}
}

// sortPlaced sorts by address, of equal ones the shorter prefix first, of equal ones by line.
func sortPlaced(list []placed) {
	slices.SortFunc(list, func(a, b placed) int {
		if n := a.prefix.Addr().Compare(b.prefix.Addr()); n != 0 {
			return n
		}
		if n := a.prefix.Bits() - b.prefix.Bits(); n != 0 {
			return n
		}
		return a.line - b.line
	})
}

// reservations must leave the other sites something, and the hub its own addresses.
func (c *hubChecker) reservations(list []placed) {
	list = slices.Clone(list)
	sortPlaced(list)
	for _, pool := range c.out.Hub.Pools {
		if r, ok := overlapping(list, pool); ok && r.prefix.Bits() <= pool.Bits() {
			c.errorf(r.line, "Prefix %s: all of Pool %s is in it, nothing is left for other sites", r.prefix, pool)
		}
	}
	for _, a := range c.cfg.Interface.Addresses {
		if r, ok := overlapping(list, a.Masked()); ok {
			c.errorf(r.line, "Prefix %s: shares addresses with Address %s of [Interface], which is for the tunnel", r.prefix, a)
		}
	}
}

// overlapping finds one of a sorted list that overlaps p. If the list overlaps itself it may miss one, which is an error
// already.
func overlapping(list []placed, p netip.Prefix) (placed, bool) {
	i := sort.Search(len(list), func(i int) bool { return p.Addr().Less(list[i].prefix.Addr()) })
	for _, r := range list[max(0, i-1):min(len(list), i+1)] {
		if r.prefix.Overlaps(p) {
			return r, true
		}
	}
	return placed{}, false
}

// notOwn refuses sites that would be the hub itself. It runs when the hub's key is known, if ever.
func (c *hubChecker) notOwn() {
	own := c.cfg.Interface
	var public wgkey.Public
	if !own.PrivateKey.IsZero() {
		public = own.PrivateKey.Public()
	}
	local := own.LinkLocal
	if !local.IsValid() && !public.IsZero() {
		local = public.LinkLocal()
	}
	for i, s := range c.out.Sites {
		raw := c.raw.sites[i]
		if s.PublicKey.IsZero() {
			continue
		}
		if err := c.checkNotOwn(s.PublicKey, own.PrivateKey, public); err != nil {
			c.errorf(raw.publicKey.line, "PublicKey: %v", err)
			continue
		}
		if !local.IsValid() || c.linkLocals[i] != local {
			continue
		}
		switch {
		case raw.linkLocal == nil:
			c.errorf(raw.line, "[Peer]: its link-local address, %s from its key, is the hub's own: change that Address", local)
		case !own.LinkLocal.IsValid(): // else it is said already
			c.bad("LinkLocal", *raw.linkLocal, "the hub makes the same one of its key")
		}
	}
}
