// SPDX-License-Identifier: MIT

package ra

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strconv"
)

// optEncryptedDNS: RFC 9463 section 6.1.
const optEncryptedDNS = 144

// How much one resolver may have: with it the option stays far from MaxOptions. An alpn list, a port and a dohpath
// take 50 octets.
const (
	maxResolverAddrs  = 8
	maxResolverParams = 256
)

// SvcParamKeys that have no place beside addresses of their own: "the service parameters MUST NOT include ipv4hint
// or ipv6hint" (RFC 9463 section 6.1; numbers of RFC 9460 section 14.3.2).
const (
	svcIPv4Hint = 4
	svcIPv6Hint = 6
)

// EncryptedDNS is one encrypted resolver. Hosts know it by its Name, which is what the lifetime of the option is about
// (RFC 9463 section 6.1): other addresses or parameters under the same name replace what they had. Without addresses
// it is in ADN-only mode (section 3.1.6), and Params is empty.
type EncryptedDNS struct {
	Priority uint16 // lower is better; 0 is AliasMode (RFC 9460 section 2.4.1), which is not advertised
	Name     string // authentication domain name
	Addrs    []netip.Addr
	Params   string // Service Parameters (RFC 9460 section 2.2) as on the wire
}

func (d EncryptedDNS) equal(e EncryptedDNS) bool {
	return d.Priority == e.Priority && d.Name == e.Name && d.Params == e.Params && slices.Equal(d.Addrs, e.Addrs)
}

// EncryptedDNSOption tells hosts of one resolver. Lifetime 0 withdraws it.
type EncryptedDNSOption struct {
	Lifetime uint32
	EncryptedDNS
}

func (EncryptedDNSOption) optionType() uint8 { return optEncryptedDNS }

func (o EncryptedDNSOption) wireLen() int {
	n := 10 + domainWireLen(o.Name)
	if len(o.Addrs) > 0 || o.Params != "" {
		n += 4 + 16*len(o.Addrs) + len(o.Params)
	}
	return (n + 7) &^ 7
}

func (o EncryptedDNSOption) appendTo(b []byte) ([]byte, error) {
	if _, err := CheckDomain(o.Name); err != nil {
		return nil, err
	}
	start := len(b) - 2
	b = binary.BigEndian.AppendUint16(b, o.Priority)
	b = binary.BigEndian.AppendUint32(b, o.Lifetime)
	b = binary.BigEndian.AppendUint16(b, uint16(domainWireLen(o.Name)))
	b = appendDomain(b, o.Name)
	if len(o.Addrs) > 0 || o.Params != "" {
		b = binary.BigEndian.AppendUint16(b, uint16(16*len(o.Addrs)))
		for _, s := range o.Addrs {
			if !s.Is6() {
				return nil, errors.New("address is not IPv6")
			}
			a := s.As16()
			b = append(b, a[:]...)
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(o.Params)))
		b = append(b, o.Params...)
	}
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b, nil
}

// parseEncryptedDNS reads the option. In ADN-only mode the fields after the name are missing, and what follows it is
// padding; a length of zero reads the same.
func parseEncryptedDNS(b []byte) (Option, string) {
	if len(b) < 16 {
		return nil, "length is less than 16 octets"
	}
	o := EncryptedDNSOption{Lifetime: binary.BigEndian.Uint32(b[4:])}
	o.Priority = binary.BigEndian.Uint16(b[2:])
	adn, b, ok := cutField(b[8:])
	if !ok {
		return nil, "name past the end"
	}
	name, rest, reason := parseDomain(adn)
	switch {
	case reason != "":
		return nil, reason
	case name == "":
		return nil, "no domain"
	case len(rest) > 0:
		return nil, "octets after the domain"
	}
	o.Name = name
	if len(b) >= 2 {
		var addrs, params []byte
		if addrs, b, ok = cutField(b); !ok || len(addrs)%16 != 0 {
			return nil, "addresses past the end or not 16 octets each"
		}
		for ; len(addrs) > 0; addrs = addrs[16:] {
			o.Addrs = append(o.Addrs, netip.AddrFrom16([16]byte(addrs[:16])))
		}
		if len(b) >= 2 {
			if params, b, ok = cutField(b); !ok {
				return nil, "service parameters past the end"
			}
			o.Params = string(params)
		} else if len(o.Addrs) > 0 {
			return nil, "no service parameters field"
		}
	}
	if len(b) >= 8 || slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
		return nil, "padding is not zero or too long"
	}
	return o, ""
}

// cutField takes a field with its length in two octets off b.
func cutField(b []byte) (field, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// paramsProblem says why the Service Parameters may not be sent; empty if they may.
func paramsProblem(p string) string {
	b := []byte(p)
	if len(b) > maxResolverParams {
		return "service parameters too long"
	}
	for last := -1; len(b) > 0; {
		if len(b) < 4 {
			return "service parameters are truncated"
		}
		key := int(binary.BigEndian.Uint16(b))
		switch {
		case key <= last: // RFC 9460 section 2.2: "strictly increasing numeric order"
			return "service parameters are not in order"
		case key == svcIPv4Hint || key == svcIPv6Hint:
			return "service parameters have an address hint"
		}
		var ok bool
		if _, b, ok = cutField(b[2:]); !ok {
			return "service parameters are truncated"
		}
		last = key
	}
	return ""
}

// named is the resolver of that name, nil if there is none.
func named(in []EncryptedDNS, name string) *EncryptedDNS {
	for i := range in {
		if in[i].Name == name {
			return &in[i]
		}
	}
	return nil
}

func usableResolvers(in []EncryptedDNS, r *refusal) []EncryptedDNS {
	out := make([]EncryptedDNS, 0, len(in))
	for _, d := range in {
		why := d.normalize()
		switch {
		case why != "":
		case named(out, d.Name) != nil:
			why = "its name is there already"
		case len(out) == maxResolvers:
			why = "too many"
		default:
			out = append(out, d)
			continue
		}
		r.add("encrypted DNS resolver not advertised: "+why, "server", printable(d.Name))
	}
	return out
}

// normalize brings d to the form that is compared and sent, without the addresses that hosts "MUST silently discard"
// (RFC 9463 section 6.2) or cannot use. It says why d may not be sent; empty if it may.
func (d *EncryptedDNS) normalize() string {
	name, err := CheckDomain(d.Name)
	if err != nil {
		return err.Error()
	}
	d.Name = name
	if d.Priority == 0 {
		return "priority 0 is an alias" // systemd 257 refuses it
	}
	var addrs []netip.Addr
	for _, a := range d.Addrs {
		if a = a.WithZone(""); unicast6(a) && !slices.Contains(addrs, a) && len(addrs) < maxResolverAddrs {
			addrs = append(addrs, a)
		}
	}
	switch {
	case len(addrs) == 0 && len(d.Addrs) > 0:
		return "no unicast IPv6 address"
	case len(addrs) == 0 && d.Params != "":
		return "service parameters without an address"
	}
	d.Addrs = addrs
	return paramsProblem(d.Params)
}

// printable is a name from the network for the log.
func printable(s string) string {
	if len(s) > maxDomain {
		s = s[:maxDomain]
	}
	return strconv.QuoteToASCII(s)
}
