// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// ICMPv6 types (RFC 4861 sections 4.1 and 4.2).
const (
	TypeRouterSolicitation  = 133
	TypeRouterAdvertisement = 134
)

const (
	hopLimit    = 255 // of every ND message; a router on the way would have made it less
	rsHeaderLen = 8
	raHeaderLen = 16

	flagManaged     = 0x80
	flagOtherConfig = 0x40
	preferenceShift = 3 // RFC 4191 section 2.2
)

// MaxOptions is the octets of options that one RA may carry: an ND message must not be fragmented
// (RFC 6980 section 5), and 1280 octets go over every IPv6 link without it.
const MaxOptions = 1280 - 40 - raHeaderLen

// DropReason says why a message was not acted upon. The zero value is "it was".
type DropReason uint8

// The first group are the validity checks of RFC 4861 sections 6.1.1 and 6.1.2.
const (
	Accepted DropReason = iota
	TooShort
	WrongType
	WrongHopLimit
	WrongCode
	WrongSource
	OptionLengthZero
	OptionTruncated
	LinkLayerFromUnspecified // a source link-layer address option in a message from ::

	OwnMessage     // our own RA or RS looped back
	NotAdvertising // the link is down, or there was never anything to say
	RateLimited    // the same source asked too often
	TooManyRouters // a Receiver knows as many as it may
	numDropReasons
)

var dropNames = [numDropReasons]string{"accepted", "too short", "wrong type", "hop limit not 255", "code not 0",
	"wrong source address", "option of length zero", "option past the end",
	"link-layer address from the unspecified address", "own message", "not advertising", "rate limited",
	"too many routers"}

// String is the key of Stats.Dropped.
func (d DropReason) String() string {
	if d < numDropReasons {
		return dropNames[d]
	}
	return fmt.Sprintf("DropReason(%d)", uint8(d))
}

// RouterAdvertisement is one RA (RFC 4861 section 4.2). Lifetimes are seconds, as on the wire.
type RouterAdvertisement struct {
	CurHopLimit    uint8
	Managed        bool
	OtherConfig    bool
	Preference     Preference
	RouterLifetime uint16
	ReachableTime  uint32 // milliseconds
	RetransTimer   uint32 // milliseconds
	Options        []Option
}

func (m RouterAdvertisement) sourceLinkLayer() (SourceLinkLayer, bool) {
	for _, o := range m.Options {
		if ll, ok := o.(SourceLinkLayer); ok {
			return ll, true
		}
	}
	return SourceLinkLayer{}, false
}

// Append adds the message to b, with a zero checksum. It does not look at the total length; Split does.
func (m RouterAdvertisement) Append(b []byte) ([]byte, error) {
	var flags byte
	if m.Managed {
		flags |= flagManaged
	}
	if m.OtherConfig {
		flags |= flagOtherConfig
	}
	// RFC 4191 section 2.2: "If the Router Lifetime is zero, the preference value MUST be set to (00)
	// by the sender"; (10) is reserved and must not be sent.
	if m.RouterLifetime != 0 && (m.Preference == High || m.Preference == Low) {
		flags |= byte(m.Preference) << preferenceShift
	}
	b = append(b, TypeRouterAdvertisement, 0, 0, 0, m.CurHopLimit, flags)
	b = binary.BigEndian.AppendUint16(b, m.RouterLifetime)
	b = binary.BigEndian.AppendUint32(b, m.ReachableTime)
	b = binary.BigEndian.AppendUint32(b, m.RetransTimer)
	return appendOptions(b, m.Options)
}

// Split marshals the advertisement as one or more messages of at most MaxOptions octets of options
// (RFC 4861 section 6.2.3: "If including all options causes the size of an advertisement to exceed the
// link MTU, multiple advertisements can be sent, each containing a subset of the options"). Each has
// the header and the source link-layer address, if that is the first option; no option is cut. One
// that is too big alone is an error.
func (m RouterAdvertisement) Split() ([][]byte, error) {
	rest := m.Options
	part := m
	var common []Option
	room := MaxOptions
	if len(rest) > 0 {
		if _, ok := rest[0].(SourceLinkLayer); ok {
			common, rest = rest[:1], rest[1:]
			room -= common[0].wireLen()
		}
	}
	var out [][]byte
	for {
		n, size := 0, 0
		for n < len(rest) && size+rest[n].wireLen() <= room {
			size += rest[n].wireLen()
			n++
		}
		if n == 0 && len(rest) > 0 {
			return nil, fmt.Errorf("option %d of %d octets: more than the %d that fit beside the header",
				rest[0].optionType(), rest[0].wireLen(), room)
		}
		part.Options = append(common[:len(common):len(common)], rest[:n]...)
		data, err := part.Append(make([]byte, 0, raHeaderLen+MaxOptions-room+size))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
		rest = rest[n:]
		if len(rest) == 0 {
			return out, nil
		}
	}
}

// RouterSolicitation is one RS (RFC 4861 section 4.1).
type RouterSolicitation struct {
	Options []Option
}

// Append adds the message to b, with a zero checksum.
func (m RouterSolicitation) Append(b []byte) ([]byte, error) {
	b = append(b, TypeRouterSolicitation, 0, 0, 0, 0, 0, 0, 0)
	return appendOptions(b, m.Options)
}

// Problem is an option that was skipped; the other options of the message stand.
type Problem struct {
	Option uint8 // option type
	Offset int   // of the option in the message
	Reason string
}

func (p Problem) String() string {
	return fmt.Sprintf("option %d at offset %d: %s", p.Option, p.Offset, p.Reason)
}

// ParseRA checks an RA by RFC 4861 section 6.1.2 (but for the checksum) and takes it apart. The
// message is refused as a whole only for what the RFC says; options that cannot be read are
// listed and left out, as hosts do. Nothing in the result points into b.
func ParseRA(src netip.Addr, hops int, b []byte) (RouterAdvertisement, []Problem, DropReason) {
	if d := checkHeader(hops, b, TypeRouterAdvertisement, raHeaderLen); d != Accepted {
		return RouterAdvertisement{}, nil, d
	}
	if !isLinkLocal(src) {
		return RouterAdvertisement{}, nil, WrongSource
	}
	if d := checkOptions(b[raHeaderLen:]); d != Accepted {
		return RouterAdvertisement{}, nil, d
	}
	m := RouterAdvertisement{
		CurHopLimit:    b[4],
		Managed:        b[5]&flagManaged != 0,
		OtherConfig:    b[5]&flagOtherConfig != 0,
		RouterLifetime: binary.BigEndian.Uint16(b[6:]),
		ReachableTime:  binary.BigEndian.Uint32(b[8:]),
		RetransTimer:   binary.BigEndian.Uint32(b[12:]),
	}
	// RFC 4191 section 2.2: the reserved value counts as medium, and with router lifetime 0 the
	// preference is ignored.
	if p := Preference(b[5] >> preferenceShift & 0b11); m.RouterLifetime != 0 && (p == High || p == Low) {
		m.Preference = p
	}
	var problems []Problem
	m.Options, problems = parseOptions(b, raHeaderLen)
	return m, problems, Accepted
}

// Plausible says whether the fixed part of an RS or RA can be one (RFC 4861 sections 6.1.1 and 6.1.2): for an edge that has
// to choose in a flood.
func Plausible(hops int, b []byte) bool {
	return checkHeader(hops, b, TypeRouterSolicitation, rsHeaderLen) == Accepted || checkHeader(hops, b, TypeRouterAdvertisement, raHeaderLen) == Accepted
}

// ParseRS is ParseRA for solicitations (RFC 4861 section 6.1.1).
func ParseRS(src netip.Addr, hops int, b []byte) (RouterSolicitation, []Problem, DropReason) {
	if d := checkRS(src, hops, b); d != Accepted {
		return RouterSolicitation{}, nil, d
	}
	var m RouterSolicitation
	var problems []Problem
	m.Options, problems = parseOptions(b, rsHeaderLen)
	return m, problems, Accepted
}

// checkRS is the validity part of ParseRS, all that a router needs to answer; it does not allocate.
func checkRS(src netip.Addr, hops int, b []byte) DropReason {
	if d := checkHeader(hops, b, TypeRouterSolicitation, rsHeaderLen); d != Accepted {
		return d
	}
	if !src.Is6() || src.Is4In6() || src.IsMulticast() || src.IsLoopback() {
		return WrongSource
	}
	opts := b[rsHeaderLen:]
	if d := checkOptions(opts); d != Accepted {
		return d
	}
	if src.IsUnspecified() {
		for ; len(opts) > 0; opts = opts[int(opts[1])*8:] {
			if opts[0] == optSourceLinkLayer {
				return LinkLayerFromUnspecified
			}
		}
	}
	return Accepted
}

func checkHeader(hops int, b []byte, typ byte, minLen int) DropReason {
	switch {
	case len(b) < minLen:
		return TooShort
	case b[0] != typ:
		return WrongType
	case hops != hopLimit:
		return WrongHopLimit
	case b[1] != 0:
		return WrongCode
	}
	return Accepted
}

// checkOptions walks over the lengths: after it, every option lies inside b.
func checkOptions(b []byte) DropReason {
	for len(b) > 0 {
		if len(b) < 2 {
			return OptionTruncated
		}
		n := int(b[1]) * 8
		if n == 0 {
			return OptionLengthZero
		}
		if n > len(b) {
			return OptionTruncated
		}
		b = b[n:]
	}
	return Accepted
}

func isLinkLocal(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.IsLinkLocalUnicast() }
