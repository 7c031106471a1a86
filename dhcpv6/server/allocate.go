// SPDX-License-Identifier: MIT

package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/note"
)

// Lengths of delegated prefixes (RFC 9818 section 5.1): a /64 is what a router needs for one LAN. Shorter ones are for
// routers that ask for them, so that the first one does not get all.
const (
	defaultLength = 64
	shortestStep  = 4
)

// lengths bounds the length of a prefix that one client may have.
func (p *Pool) lengths() (shortest, longest int) {
	bits := p.Prefix.Bits()
	shortest = p.Shortest
	if shortest <= 0 {
		shortest = min(bits+shortestStep, defaultLength)
	}
	shortest = min(max(shortest, bits), 128)
	return shortest, max(shortest, defaultLength)
}

// prefix finds a prefix for an IA_PD in a pool: the one that the client had, if it wishes no other length; the one
// that it wishes; else the first free one of the wished length, or of the nearest longer one (RFC 8168 section 3.2). What
// others had is taken only if it must be.
func (s *Server) prefix(x *source, b *Binding, ia *dhcpv6.IA, taken []netip.Prefix) netip.Prefix {
	hint := x.hint(ia)
	bits := min(max(hint.Bits(), x.shortest), x.longest)
	if !hint.IsValid() {
		bits = min(max(defaultLength, x.shortest), x.longest)
	}
	own := slices.Concat(x.taken, taken)
	// Addresses count: a subnet that was on a link until now still has hosts with them.
	used := append(s.leased(func(_ *Binding, l *Lease) bool { return l.live() }), own...)
	free := func(p netip.Prefix) bool { return x.has(p) && !overlapsAny(used, p) }
	for _, l := range b.Leases {
		if !l.live() && free(l.Prefix) && (l.Prefix.Bits() == bits || !hint.IsValid() && l.Prefix.Bits() >= x.shortest) {
			return l.Prefix
		}
	}
	if hint.IsValid() && x.prefix.Contains(hint.Addr()) {
		if p := netip.PrefixFrom(hint.Addr(), bits).Masked(); free(p) {
			return p
		}
	}
	remembered := append(s.leased(func(o *Binding, l *Lease) bool { return o.Type == dhcpv6.PD && o != b || l.live() }), own...)
	for ; bits <= x.longest; bits++ {
		p := fit(x.prefix, bits, remembered)
		if !p.IsValid() {
			p = fit(x.prefix, bits, used)
		}
		if p.IsValid() {
			return p
		}
	}
	return netip.Prefix{}
}

// hint is what the client wishes of this pool: a prefix in it, else a length. The zero value wishes nothing.
func (x *source) hint(ia *dhcpv6.IA) (hint netip.Prefix) {
	for _, p := range ia.Prefixes {
		if x.prefix.Contains(p.Prefix.Addr()) {
			return p.Prefix
		}
		if !hint.IsValid() || p.Prefix.Addr().IsUnspecified() {
			hint = p.Prefix
		}
	}
	return hint
}

// fit is the highest free prefix of the length in the block. Always taking the highest keeps what is free in one piece at
// the lower end, where our own LANs have their subnets: the next LAN, or a router that needs more, finds room there.
func fit(block netip.Prefix, bits int, used []netip.Prefix) netip.Prefix {
	var inside []netip.Prefix
	for _, u := range used {
		switch {
		case u.Bits() > block.Bits() && block.Contains(u.Addr()):
			inside = append(inside, u)
		case u.Bits() <= block.Bits() && u.Contains(block.Addr()):
			return netip.Prefix{}
		}
	}
	switch {
	case bits < block.Bits():
		return netip.Prefix{}
	case len(inside) == 0:
		return netip.PrefixFrom(withOnes(block.Addr(), block.Bits(), bits), bits)
	case bits == block.Bits():
		return netip.Prefix{}
	}
	half := block.Bits() + 1
	if p := fit(netip.PrefixFrom(withOnes(block.Addr(), half-1, half), half), bits, inside); p.IsValid() {
		return p
	}
	return fit(netip.PrefixFrom(block.Addr(), half), bits, inside)
}

// overlapsAny says that a part of p is in the list. It stays out of line for its size.
//
//go:noinline
func overlapsAny(list []netip.Prefix, p netip.Prefix) bool {
	for _, u := range list {
		if u.Overlaps(p) {
			return true
		}
	}
	return false
}

// withOnes is the address with bits from..to-1 set.
func withOnes(a netip.Addr, from, to int) netip.Addr {
	b := a.As16()
	for i := from; i < to; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// ranOut notes once that a pool has nothing left (RFC 9818 section 5.1 wants it logged), until it has.
func (s *Server) ranOut(pool netip.Prefix, out bool) {
	i := slices.Index(s.out, pool)
	switch {
	case out && i < 0:
		s.out = append(s.out, pool)
		s.act.Notes = append(s.act.Notes, note.New(note.Warn, "no prefix is left to delegate", "prefix", pool.String()))
	case !out && i >= 0:
		s.out = slices.Delete(s.out, i, i+1)
	}
}

// addressTries is how many addresses are looked at before there is none: each hit is a collision of random numbers, or
// an address that was declined.
const addressTries = 16

// maxOnLink is the longest prefix that addresses are given from: with less than 16 bits random numbers collide.
const maxOnLink = 112

// address finds an address for an IA_NA: the one that the client had, else one made of a hash, so that it is the same
// again even if everything was forgotten, and nobody can guess it (RFC 7943).
func (s *Server) address(now time.Time, x *source, b *Binding, taken []netip.Prefix) netip.Prefix {
	if x.prefix.Bits() > maxOnLink {
		return netip.Prefix{}
	}
	used := append(s.leased(func(o *Binding, l *Lease) bool { return o.Type == dhcpv6.NA && l.live() }), taken...)
	free := func(p netip.Prefix) bool { return !slices.Contains(used, p) && !s.isDeclined(now, p.Addr()) }
	for _, l := range b.Leases {
		if !l.live() && x.has(l.Prefix) && free(l.Prefix) {
			return l.Prefix
		}
	}
	for try := range byte(addressTries) {
		p := netip.PrefixFrom(s.hashed(x.prefix, b, try), 128)
		if !reservedID(p.Addr()) && free(p) {
			return p
		}
	}
	return netip.Prefix{}
}

// hashed is the address number try of a binding in a prefix. The interface identifier has no bits with a meaning (RFC
// 7136); in a prefix longer than /64 it is what is left of it.
func (s *Server) hashed(p netip.Prefix, b *Binding, try byte) netip.Addr {
	h := hmac.New(sha256.New, s.cfg.Secret[:])
	prefix := p.Masked().Addr().As16()
	h.Write([]byte("oasis6 interface identifier"))
	h.Write(prefix[:])
	h.Write(binary.BigEndian.AppendUint32([]byte{byte(p.Bits()), try}, uint32(b.IAID)))
	h.Write([]byte(b.Client))
	id := h.Sum(nil)
	for i := max(p.Bits(), 64); i < 128; i++ {
		prefix[i/8] |= id[i/8] & (0x80 >> (i % 8))
	}
	return netip.AddrFrom16(prefix)
}

// reservedID says that the interface identifier is one that no host may have (RFC 5453: the subnet-router anycast address,
// the block of IANA's Ethernet addresses, the subnet anycast addresses), or so small that people write it by hand.
func reservedID(a netip.Addr) bool {
	b := a.As16()
	id := binary.BigEndian.Uint64(b[8:])
	return id < 1<<16 || id>>24 == 0x02005efffe || id >= 0xfdffffffffffff80 && id <= 0xfdffffffffffffff
}
