// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// optPREF64: RFC 8781 section 4.
const optPREF64 = 38

// The scaled lifetime is 13 bits in units of eight seconds.
const (
	pref64Unit        = 8
	maxPREF64Lifetime = (1<<13 - 1) * pref64Unit
)

// pref64Lengths are the prefix lengths of RFC 6052 section 2.2, by Prefix Length Code.
var pref64Lengths = [...]uint8{96, 64, 56, 48, 40, 32}

// PREF64 tells hosts of the prefix of a NAT64. Lifetime is in seconds: sent rounded up to a multiple of eight, for a
// short one must not become a withdrawal, and at most 65528; 0 withdraws.
type PREF64 struct {
	Lifetime uint32
	Prefix   netip.Prefix // of one of the lengths 32, 40, 48, 56, 64 and 96
}

func (PREF64) optionType() uint8 { return optPREF64 }
func (PREF64) wireLen() int      { return 16 }

// pref64Code is the Prefix Length Code of a prefix length; ok is false if there is none.
func pref64Code(bits int) (code uint16, ok bool) {
	for i, n := range pref64Lengths {
		if int(n) == bits {
			return uint16(i), true
		}
	}
	return 0, false
}

func (o PREF64) appendTo(b []byte) ([]byte, error) {
	code, ok := pref64Code(o.Prefix.Bits())
	if !ok || !o.Prefix.Addr().Is6() {
		return nil, errors.New("not an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits")
	}
	scaled := (min(o.Lifetime, maxPREF64Lifetime) + pref64Unit - 1) / pref64Unit
	b = binary.BigEndian.AppendUint16(b, uint16(scaled)<<3|code)
	a := o.Prefix.Masked().Addr().As16()
	return append(b, a[:12]...), nil
}

func parsePREF64(b []byte) (Option, string) {
	if len(b) != 16 {
		return nil, "length is not 16 octets"
	}
	field := binary.BigEndian.Uint16(b[2:])
	code := int(field & 0b111)
	if code >= len(pref64Lengths) {
		return nil, "reserved prefix length code"
	}
	var a [16]byte
	copy(a[:], b[4:])
	return PREF64{Lifetime: uint32(field>>3) * pref64Unit,
		Prefix: netip.PrefixFrom(netip.AddrFrom16(a), int(pref64Lengths[code])).Masked()}, ""
}

// pref64Problem says why hosts may not be told of p as NAT64 prefix; empty if they may.
func pref64Problem(p netip.Prefix) string {
	if _, ok := pref64Code(p.Bits()); !ok {
		return "not of 32, 40, 48, 56, 64 or 96 bits"
	}
	if p.Addr().Is6() && p.Addr().As16()[8] != 0 {
		return "bits 64 to 71 are not zero" // RFC 6052 section 2.2: MUST
	}
	return prefixProblem(p)
}
