// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// The ND options that are read by hand here: mdlayher/ndp v1.1.0 has no P flag, and truncates the prefix of a route
// whose length is not 0, 64 or 128.
const (
	OptPrefixInformation = 3
	OptMTU               = 5
	OptRouteInformation  = 24
	OptRDNSS             = 25
	OptDNSSL             = 31
	OptCaptivePortal     = 37
	OptPREF64            = 38
)

// NDOption is one ND option, whatever it is.
type NDOption struct {
	Type  byte
	Value []byte // after the octets of type and length
}

// parseNDOptions stops at the first option that does not fit.
func parseNDOptions(b []byte) (out []NDOption) {
	for len(b) >= 8 {
		n := 8 * int(b[1])
		if n == 0 || n > len(b) {
			return out
		}
		out = append(out, NDOption{b[0], b[2:n]})
		b = b[n:]
	}
	return out
}

// Options are the options of that type, in order.
func (r RA) Options(typ byte) (out []NDOption) {
	const header = 16
	if len(r.Data) < header {
		return nil
	}
	for _, o := range parseNDOptions(r.Data[header:]) {
		if o.Type == typ {
			out = append(out, o)
		}
	}
	return out
}

// PIO is a Prefix Information option with the P flag of RFC 9762.
type PIO struct {
	Prefix                       netip.Prefix
	OnLink, Autonomous, DHCPv6PD bool
	Preferred, Valid             time.Duration
}

// PIOs are the prefix options of the RA.
func (r RA) PIOs() (out []PIO) {
	for _, o := range r.Options(OptPrefixInformation) {
		if len(o.Value) != 30 {
			continue
		}
		a, _ := netip.AddrFromSlice(o.Value[14:30]) // 16 octets: cannot fail
		out = append(out, PIO{
			Prefix: netip.PrefixFrom(a, int(o.Value[0])),
			OnLink: o.Value[1]&0x80 != 0, Autonomous: o.Value[1]&0x40 != 0, DHCPv6PD: o.Value[1]&0x10 != 0,
			Valid: seconds(o.Value[2:]), Preferred: seconds(o.Value[6:]),
		})
	}
	return out
}

// PIO is the first prefix option within p.
func (r RA) PIO(p netip.Prefix) (PIO, bool) {
	for _, o := range r.PIOs() {
		if p.Contains(o.Prefix.Addr()) {
			return o, true
		}
	}
	return PIO{}, false
}

// RIO is a Route Information option (RFC 4191 section 2.3).
type RIO struct {
	Prefix     netip.Prefix
	Preference byte // as on the wire: 0 medium, 1 high, 3 low
	Lifetime   time.Duration
}

// RIOs are the route options of the RA.
func (r RA) RIOs() (out []RIO) {
	for _, o := range r.Options(OptRouteInformation) {
		var a [16]byte
		if len(o.Value) > 6+16 {
			continue
		}
		copy(a[:], o.Value[6:])
		out = append(out, RIO{netip.PrefixFrom(netip.AddrFrom16(a), int(o.Value[0])), o.Value[1] >> 3 & 3, seconds(o.Value[2:])})
	}
	return out
}

func seconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}

// PREF64 decodes such an option (RFC 8781 section 4): 13 bits of lifetime in units of 8 s, 3 bits that stand for the
// length, 96 bits of prefix.
func (o NDOption) PREF64() (p netip.Prefix, lifetime time.Duration) {
	if o.Type != OptPREF64 || len(o.Value) != 14 {
		return p, 0
	}
	scaled := binary.BigEndian.Uint16(o.Value)
	lengths := [...]int{96, 64, 56, 48, 40, 32, -1, -1}
	var a [16]byte
	copy(a[:], o.Value[2:])
	return netip.PrefixFrom(netip.AddrFrom16(a), lengths[scaled&7]), time.Duration(scaled>>3) * 8 * time.Second
}

// Text is the contents of a Captive-Portal option (RFC 8910 section 2.3), without the NULs that fill it up.
func (o NDOption) Text() string { return strings.TrimRight(string(o.Value), "\x00") }
