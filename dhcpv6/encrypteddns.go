// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"net/netip"
)

// Bounds of what one message can say about encrypted resolvers. A host asks one of them; the Router
// Advertisement option that they are handed on in has room for 2 KB.
const (
	maxEncryptedDNS      = 8
	maxEncryptedDNSAddrs = 16
	maxServiceParams     = 1024
)

// Keys of Service Parameters (RFC 9460 section 14.3.2).
const (
	paramALPN     = 1
	paramIPv4Hint = 4
	paramIPv6Hint = 6
)

// encryptedDNS reads an OPTION_V6_DNR, one resolver: "each option is to be treated as a separate encrypted DNS
// resolver" (RFC 9463 section 4.2). They are kept in the order of arrival; a smaller priority is preferred.
func (p *parser) encryptedDNS(v []byte, at int) {
	if len(p.m.EncryptedDNS) >= maxEncryptedDNS {
		p.problem(OptionEncryptedDNS, at, "more than %d resolvers", maxEncryptedDNS)
		return
	}
	e, reason := p.resolver(v, at)
	if reason != "" {
		p.problem(OptionEncryptedDNS, at, "%s", reason)
		return
	}
	p.m.EncryptedDNS = append(p.m.EncryptedDNS, e)
}

// resolver makes the checks of RFC 9463 section 3.1.8: the name is there and encoded by RFC 9915 section 10;
// if there is more, it holds a valid address and Service Parameters with "alpn" and without address
// hints. "If any of the checks fail, the receiver discards" the option, which the reason says.
func (p *parser) resolver(v []byte, at int) (e EncryptedDNS, reason string) {
	if len(v) < 2 {
		return e, "is too short for a priority"
	}
	e.Priority = binary.BigEndian.Uint16(v)
	if e.Priority == 0 {
		// AliasMode: what it names is not where the service is (RFC 9460 section 2.4.2).
		return e, "priority 0 is no resolver but an alias"
	}
	name, v, ok := counted(v[2:])
	if !ok {
		return e, "name goes past the end"
	}
	if e.Name, reason = oneName(name); reason != "" || len(v) == 0 {
		return e, reason
	}
	addrs, v, ok := counted(v)
	if !ok {
		return e, "addresses go past the end"
	}
	if len(addrs)%16 != 0 || len(addrs) > maxEncryptedDNSAddrs*16 {
		return e, "length of the addresses is not a multiple of 16 or too much"
	}
	e.Addrs = p.resolverAddrs(addrs, at)
	if len(e.Addrs) == 0 {
		return e, "no address that can be used"
	}
	e.Params = string(v)
	return e, checkServiceParams(v)
}

// resolverAddrs leaves out what no host on the LAN can ask, as in the DNS Recursive Name Server option. Multicast
// and loopback addresses a client "MUST silently discard" (RFC 9463 section 4.2): a problem is silent enough.
func (p *parser) resolverAddrs(v []byte, at int) (addrs []netip.Addr) {
	for ; len(v) > 0; v = v[16:] {
		a := netip.AddrFrom16([16]byte(v))
		if !UsableServer(a) {
			p.problem(OptionEncryptedDNS, at, "%s cannot be a name server", a)
			continue
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// checkServiceParams says what is wrong with Service Parameters in wire form (RFC 9460 section 2.2). What they
// mean is the business of the hosts that get them.
func checkServiceParams(v []byte) (reason string) {
	if len(v) > maxServiceParams {
		return "too many service parameters"
	}
	alpn := false
	for last := -1; len(v) > 0; {
		c, value, rest, reason := nextOption(v)
		key := int(c)
		switch {
		case reason != "":
			return "service parameters: " + reason
		case key <= last: // "SHALL appear in increasing numeric order", each key once
			return "service parameters are not in ascending order"
		case key == paramIPv4Hint || key == paramIPv6Hint:
			return "service parameters hold an address hint"
		case key == paramALPN:
			alpn = len(value) > 0
		}
		last, v = key, rest
	}
	if !alpn {
		return "service parameters without alpn"
	}
	return ""
}

// counted takes a field off v that has its length in two octets before it.
func counted(v []byte) (field, rest []byte, ok bool) {
	if len(v) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(v))
	if n > len(v) {
		return nil, nil, false
	}
	return v[2:n], v[n:], true
}

func appendCounted(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(field))), field...)
}

// append writes the option, or nothing where the name is not valid.
func (e EncryptedDNS) append(b []byte) []byte {
	if !ValidName(e.Name) {
		return b
	}
	v := appendCounted(binary.BigEndian.AppendUint16(nil, e.Priority), appendName(nil, e.Name))
	if len(e.Addrs) > 0 {
		v = append(appendCounted(v, addrOctets(e.Addrs)), e.Params...)
	}
	return appendOption(b, OptionEncryptedDNS, v)
}
