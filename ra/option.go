// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Option types (RFC 4861 section 4.6, RFC 8106 sections 5.1 and 5.2).
const (
	optSourceLinkLayer   = 1
	optPrefixInformation = 3
	optMTU               = 5
	optRDNSS             = 25
	optDNSSL             = 31
)

// Flags of the Prefix Information option (RFC 4861 section 4.6.2, RFC 9762).
const (
	pioOnLink     = 0x80
	pioAutonomous = 0x40
	pioDHCPv6PD   = 0x10
)

// maxOptionLen: the length field is one octet, in units of eight.
const maxOptionLen = 255 * 8

// Option is one ND option: SourceLinkLayer, PrefixInformation, MTU, RouteInformation, RDNSS, DNSSL, PREF64,
// CaptivePortal, EncryptedDNSOption or RawOption, as which the RA Flags Extension (RFC 5175) is kept.
type Option interface {
	optionType() uint8
	wireLen() int // octets on the wire, a multiple of 8
	appendTo(b []byte) ([]byte, error)
}

// SourceLinkLayer is the MAC of the sender. Hosts that have it need no resolution, and Linux uses
// an optimistic address at once only if the RA carries it.
type SourceLinkLayer [6]byte

// PrefixInformation tells hosts of a prefix. Bits after the prefix length are sent as zero.
type PrefixInformation struct {
	Prefix     netip.Prefix
	OnLink     bool
	Autonomous bool
	DHCPv6PD   bool   // P flag, RFC 9762
	Valid      uint32 // seconds; lifetime.Infinity has no end
	Preferred  uint32 // seconds; never more than Valid
}

// MTU is the recommended MTU of the link.
type MTU uint32

// RDNSS lists recursive DNS servers. Lifetime 0 withdraws them.
type RDNSS struct {
	Lifetime uint32
	Servers  []netip.Addr
}

// DNSSL lists search domains, without a trailing dot. Lifetime 0 withdraws them.
type DNSSL struct {
	Lifetime uint32
	Domains  []string
}

// RawOption is an option this package does not know. Data is all after the length octet: six octets
// and a multiple of eight.
type RawOption struct {
	Type uint8
	Data []byte
}

func (SourceLinkLayer) optionType() uint8   { return optSourceLinkLayer }
func (PrefixInformation) optionType() uint8 { return optPrefixInformation }
func (MTU) optionType() uint8               { return optMTU }
func (RDNSS) optionType() uint8             { return optRDNSS }
func (DNSSL) optionType() uint8             { return optDNSSL }
func (o RawOption) optionType() uint8       { return o.Type }

func (SourceLinkLayer) wireLen() int   { return 8 }
func (PrefixInformation) wireLen() int { return 32 }
func (MTU) wireLen() int               { return 8 }
func (o RDNSS) wireLen() int           { return 8 + 16*len(o.Servers) }
func (o RawOption) wireLen() int       { return 2 + len(o.Data) }

func (o DNSSL) wireLen() int {
	n := 8
	for _, d := range o.Domains {
		n += domainWireLen(d)
	}
	return (n + 7) &^ 7
}

func appendOptions(b []byte, opts []Option) ([]byte, error) {
	for _, o := range opts {
		n := o.wireLen()
		if n > maxOptionLen || n%8 != 0 {
			return nil, fmt.Errorf("option %d: %d octets: not a multiple of 8 up to %d", o.optionType(), n, maxOptionLen)
		}
		var err error
		if b, err = o.appendTo(append(b, o.optionType(), byte(n/8))); err != nil {
			return nil, fmt.Errorf("option %d: %w", o.optionType(), err)
		}
	}
	return b, nil
}

func (o SourceLinkLayer) appendTo(b []byte) ([]byte, error) { return append(b, o[:]...), nil }

func (o PrefixInformation) appendTo(b []byte) ([]byte, error) {
	if !o.Prefix.IsValid() || !o.Prefix.Addr().Is6() {
		return nil, errors.New("not an IPv6 prefix")
	}
	if o.Preferred > o.Valid {
		return nil, fmt.Errorf("%s: preferred lifetime %d greater than valid lifetime %d", o.Prefix, o.Preferred, o.Valid)
	}
	var flags byte
	if o.OnLink {
		flags |= pioOnLink
	}
	if o.Autonomous {
		flags |= pioAutonomous
	}
	if o.DHCPv6PD {
		flags |= pioDHCPv6PD
	}
	b = append(b, byte(o.Prefix.Bits()), flags)
	b = binary.BigEndian.AppendUint32(b, o.Valid)
	b = binary.BigEndian.AppendUint32(b, o.Preferred)
	b = append(b, 0, 0, 0, 0)
	a := o.Prefix.Masked().Addr().As16()
	return append(b, a[:]...), nil
}

func (o MTU) appendTo(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint32(append(b, 0, 0), uint32(o)), nil
}

func (o RDNSS) appendTo(b []byte) ([]byte, error) {
	if len(o.Servers) == 0 {
		return nil, errors.New("no server")
	}
	b = binary.BigEndian.AppendUint32(append(b, 0, 0), o.Lifetime)
	for _, s := range o.Servers {
		if !s.Is6() {
			return nil, fmt.Errorf("server %s: not an IPv6 address", s)
		}
		a := s.As16()
		b = append(b, a[:]...)
	}
	return b, nil
}

func (o DNSSL) appendTo(b []byte) ([]byte, error) {
	if len(o.Domains) == 0 {
		return nil, errors.New("no domain")
	}
	start := len(b) - 2
	b = binary.BigEndian.AppendUint32(append(b, 0, 0), o.Lifetime)
	for _, d := range o.Domains {
		if _, err := CheckDomain(d); err != nil {
			return nil, err
		}
		b = appendDomain(b, d)
	}
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b, nil
}

func (o RawOption) appendTo(b []byte) ([]byte, error) { return append(b, o.Data...), nil }

// parseOptions reads the options of m from offset on; checkOptions has accepted the lengths.
func parseOptions(m []byte, offset int) ([]Option, []Problem) {
	var opts []Option
	var problems []Problem
	for offset < len(m) {
		raw := m[offset : offset+int(m[offset+1])*8]
		if o, reason := parseOption(raw); reason != "" {
			problems = append(problems, Problem{Option: raw[0], Offset: offset, Reason: reason})
		} else {
			opts = append(opts, o)
		}
		offset += len(raw)
	}
	return opts, problems
}

func parseOption(b []byte) (o Option, reason string) {
	switch b[0] {
	case optSourceLinkLayer:
		if len(b) == 8 { // longer ones are legal on other media
			return SourceLinkLayer(b[2:8]), ""
		}
	case optPrefixInformation:
		return parsePrefixInformation(b)
	case optMTU:
		if len(b) != 8 {
			return nil, "length is not 8 octets"
		}
		return MTU(binary.BigEndian.Uint32(b[4:])), ""
	case optRouteInformation:
		return parseRouteInformation(b)
	case optPREF64:
		return parsePREF64(b)
	case optCaptivePortal:
		return parseCaptivePortal(b)
	case optRDNSS:
		return parseRDNSS(b)
	case optDNSSL:
		return parseDNSSL(b)
	case optEncryptedDNS:
		return parseEncryptedDNS(b)
	}
	return RawOption{Type: b[0], Data: append([]byte(nil), b[2:]...)}, ""
}

func parsePrefixInformation(b []byte) (Option, string) {
	if len(b) != 32 {
		return nil, "length is not 32 octets"
	}
	if b[2] > 128 {
		return nil, "prefix length greater than 128"
	}
	o := PrefixInformation{
		Prefix:     netip.PrefixFrom(netip.AddrFrom16([16]byte(b[16:32])), int(b[2])).Masked(),
		OnLink:     b[3]&pioOnLink != 0,
		Autonomous: b[3]&pioAutonomous != 0,
		DHCPv6PD:   b[3]&pioDHCPv6PD != 0,
		Valid:      binary.BigEndian.Uint32(b[4:]),
		Preferred:  binary.BigEndian.Uint32(b[8:]),
	}
	if o.Preferred > o.Valid {
		return nil, "preferred lifetime greater than valid lifetime"
	}
	return o, ""
}

func parseRDNSS(b []byte) (Option, string) {
	if len(b) < 24 || len(b)%16 != 8 {
		return nil, "length is not 8 octets and 16 for each server"
	}
	o := RDNSS{Lifetime: binary.BigEndian.Uint32(b[4:]), Servers: make([]netip.Addr, 0, len(b)/16)}
	for b = b[8:]; len(b) > 0; b = b[16:] {
		o.Servers = append(o.Servers, netip.AddrFrom16([16]byte(b[:16])))
	}
	return o, ""
}

func parseDNSSL(b []byte) (Option, string) {
	if len(b) < 16 {
		return nil, "length is less than 16 octets"
	}
	domains, reason := parseDomains(b[8:])
	if reason != "" {
		return nil, reason
	}
	return DNSSL{Lifetime: binary.BigEndian.Uint32(b[4:]), Domains: domains}, ""
}
