// SPDX-License-Identifier: MIT

package forward

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// u128 is an IPv6 address as a number: compared and hashed on every packet.
type u128 struct{ hi, lo uint64 }

// load reads an address. b has at least 16 octets.
func load(b []byte) u128 {
	return u128{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func number(a netip.Addr) u128 {
	b := a.As16()
	return load(b[:])
}

func (a u128) addr() netip.Addr {
	b := a.octets()
	return netip.AddrFrom16(b)
}

func (a u128) octets() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return b
}

func (a u128) less(b u128) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a u128) compare(b u128) int {
	switch {
	case a.less(b):
		return -1
	case b.less(a):
		return 1
	}
	return 0
}

// next is the address after a; false after the last one.
func (a u128) next() (u128, bool) {
	lo, carry := bits.Add64(a.lo, 1, 0)
	hi, carry := bits.Add64(a.hi, 0, carry)
	return u128{hi, lo}, carry == 0
}

// common is how many bits are the same from the left.
func (a u128) common(b u128) int {
	if x := a.hi ^ b.hi; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return 64 + bits.LeadingZeros64(a.lo^b.lo)
}

func (a u128) unspecified() bool { return a == u128{} }
func (a u128) loopback() bool    { return a == u128{lo: 1} }
func (a u128) multicast() bool   { return a.hi>>56 == 0xff }
func (a u128) linkLocal() bool   { return a.hi>>54 == 0xfe80>>6 }
func (a u128) mapped() bool      { return a.hi == 0 && a.lo>>32 == 0xffff } // RFC 4291 section 2.5.5.2
func (a u128) ula() bool         { return a.hi>>57 == 0xfc>>1 }             // RFC 4193
func (a u128) scope() uint8      { return uint8(a.hi>>48) & 0xf }           // of a multicast address

// span is a range of addresses, both ends in it.
type span struct{ first, last u128 }

func (s span) has(a u128) bool { return !a.less(s.first) && !s.last.less(a) }

func spanOf(p netip.Prefix) span {
	a := number(p.Masked().Addr())
	hi, lo := uint64(math.MaxUint64), uint64(math.MaxUint64)
	if n := p.Bits(); n <= 64 {
		hi >>= n // 0 for 64
	} else {
		hi, lo = 0, lo>>(n-64)
	}
	return span{a, u128{a.hi | hi, a.lo | lo}}
}

// usable says whether a prefix of a configuration is one of IPv6.
func usable(p netip.Prefix) bool { return p.IsValid() && p.Addr().Is6() && !p.Addr().Is4In6() }

// spans are a set of addresses: sorted, apart from each other.
type spans []span

func setOf(lists ...[]netip.Prefix) spans {
	var all spans
	for _, p := range slices.Concat(lists...) {
		if usable(p) {
			all = append(all, spanOf(p))
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.first.compare(b.first) })
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 {
			if after, ok := out[n-1].last.next(); !ok || !after.less(s.first) { // overlaps or touches
				if out[n-1].last.less(s.last) {
					out[n-1].last = s.last
				}
				continue
			}
		}
		out = append(out, s)
	}
	return slices.Clip(out)
}

func (s spans) has(a u128) bool {
	low, high := 0, len(s)
	for low < high {
		switch mid := int(uint(low+high) / 2); {
		case a.less(s[mid].first):
			high = mid
		case s[mid].last.less(a):
			low = mid + 1
		default:
			return true
		}
	}
	return false
}
