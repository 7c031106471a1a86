// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// optRouteInformation: RFC 4191 section 2.3.
const optRouteInformation = 24

// RouteInformation tells hosts that a prefix is reached through the sender, also if it is not their default router.
// Lifetime 0 withdraws it. Bits after the prefix length are sent as zero.
type RouteInformation struct {
	Prefix     netip.Prefix
	Preference Preference
	Lifetime   uint32 // seconds; lifetime.Infinity has no end
}

func (RouteInformation) optionType() uint8 { return optRouteInformation }

// wireLen: one unit for ::/0, two up to /64, three beyond.
func (o RouteInformation) wireLen() int { return 8 + (o.Prefix.Bits()+63)/64*8 }

func (o RouteInformation) appendTo(b []byte) ([]byte, error) {
	if !o.Prefix.IsValid() || !o.Prefix.Addr().Is6() {
		return nil, errors.New("not an IPv6 prefix")
	}
	b = append(b, byte(o.Prefix.Bits()), byte(o.Preference&0b11)<<preferenceShift)
	b = binary.BigEndian.AppendUint32(b, o.Lifetime)
	a := o.Prefix.Masked().Addr().As16()
	return append(b, a[:o.wireLen()-8]...), nil
}

// parseRouteInformation reads the prefix field of 0, 8 or 16 octets to the last bit; it may be longer than the
// prefix length needs.
func parseRouteInformation(b []byte) (Option, string) {
	o := RouteInformation{Preference: Preference(b[3] >> preferenceShift & 0b11), Lifetime: binary.BigEndian.Uint32(b[4:])}
	switch {
	case b[2] > 128:
		return nil, "prefix length greater than 128"
	case len(b) > 24 || len(b) < 8+(int(b[2])+63)/64*8:
		return nil, "length does not fit the prefix length"
	case o.Preference == 0b10: // "If the Reserved (10) value is received, the Route Information Option MUST be ignored"
		return nil, "reserved preference"
	}
	var a [16]byte
	copy(a[:], b[8:])
	o.Prefix = netip.PrefixFrom(netip.AddrFrom16(a), int(b[2])).Masked()
	return o, ""
}
