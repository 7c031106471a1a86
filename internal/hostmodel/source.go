// SPDX-License-Identifier: MIT

package hostmodel

import (
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Source chooses the source address of a new connection to dst (RFC 6724 section 5). ok is false where the host has
// no route there, or no address at all.
func (h *Host) Source(now time.Time, dst netip.Addr) (src netip.Addr, ok bool) {
	hop, ok := h.NextHop(now, dst)
	if !ok {
		return netip.Addr{}, false
	}
	var best *Address
	consider := func(a *Address) {
		if a.usable(now) && (best == nil || h.better(now, a, best, dst, hop)) {
			best = a
		}
	}
	if h.linkLocal != nil {
		consider(h.linkLocal)
	}
	for _, a := range h.addrs {
		consider(a)
	}
	if best == nil {
		return netip.Addr{}, false
	}
	return best.Addr, true
}

// better applies the rules one by one. Rule 4 (home addresses) and rule 5 (outgoing interface) cannot differ between
// two addresses of the one interface.
func (h *Host) better(now time.Time, a, b *Address, dst netip.Addr, hop Hop) bool {
	if x, y := a.Addr == dst, b.Addr == dst; x != y { // rule 1
		return x
	}
	if x, y, d := scope(a.Addr), scope(b.Addr), scope(dst); x != y { // rule 2
		if x < y {
			return x >= d
		}
		return y < d
	}
	if x, y := a.Deprecated(now), b.Deprecated(now); x != y { // rule 3
		return !x
	}
	if h.cfg.Rule55 && hop.Router.IsValid() {
		if x, y := slices.Contains(a.From, hop.Router), slices.Contains(b.From, hop.Router); x != y {
			return x
		}
	}
	if x, y, d := label(a.Addr), label(b.Addr), label(dst); (x == d) != (y == d) { // rule 6
		return x == d
	}
	if a.Temporary != b.Temporary { // rule 7
		return a.Temporary
	}
	if x, y := common(a, dst), common(b, dst); x != y { // rule 8
		return x > y
	}
	return a.made > b.made // "the tiebreaker is implementation-specific": Linux has the newest first
}

// Scopes of RFC 4291 section 2.7; ULA is global here (RFC 6724 section 3.1).
const (
	scopeLink   = 0x2
	scopeGlobal = 0xe
)

func scope(a netip.Addr) int {
	switch {
	case a.IsMulticast():
		return int(a.As16()[1] & 0xf)
	case a.IsLinkLocalUnicast(), a.IsLoopback():
		return scopeLink
	}
	return scopeGlobal
}

// label is that of the default policy table (RFC 6724 section 2.1), without the rows of ranges that are no longer in use.
func label(a netip.Addr) int {
	switch b := a.As16(); {
	case a.IsLoopback():
		return 0
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // Teredo
		return 5
	case b[0] == 0x20 && b[1] == 0x02: // 6to4
		return 2
	case b[0]&0xfe == 0xfc: // unique local
		return 13
	}
	return 1 // ::/0
}

// common is CommonPrefixLen: no longer than the prefix of the source (RFC 6724 section 2.2).
func common(a *Address, dst netip.Addr) int {
	x, y := a.Addr.As16(), dst.As16()
	n := 0
	for i := range x {
		if d := x[i] ^ y[i]; d != 0 {
			n += bits.LeadingZeros8(d)
			break
		}
		n += 8
	}
	return min(n, a.Prefix.Bits())
}
