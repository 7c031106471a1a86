// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Bounds of what one message can hold, and with them of the work of looking for duplicates. Nobody
// delegates so much; a message of 64 KB could carry 4000 IAs or 2000 prefixes.
const (
	maxIAs        = 32
	maxIAPrefixes = 32 // in one IA
)

// Octets before the options of an IA Address and of an IA Prefix (RFC 9915 sections 21.6 and 21.22).
const (
	iaAddrLen   = 24
	iaPrefixLen = 25
)

// codes are the option of an IA and that of its leases.
func (t IAType) codes() (ia, lease OptionCode) {
	if t == NA {
		return OptionIANA, OptionIAAddr
	}
	return OptionIAPD, OptionIAPrefix
}

// ia reads an IA_NA or IA_PD; not ok means "as though the server had not included" the option (RFC 9915
// sections 21.4 and 21.21).
func (p *parser) ia(c OptionCode, v []byte, at int) (ia IA, ok bool) {
	if len(v) < 12 {
		p.problem(c, at, "length %d, want at least 12", len(v))
		return ia, false
	}
	ia = IA{IAID: IAID(binary.BigEndian.Uint32(v)), T1: binary.BigEndian.Uint32(v[4:]), T2: binary.BigEndian.Uint32(v[8:])}
	if c == OptionIANA {
		ia.Type = NA
	}
	switch {
	case p.fromServer && ia.T1 > ia.T2 && ia.T2 > 0:
		p.problem(c, at, "T1 %d is greater than T2 %d", ia.T1, ia.T2)
		return ia, false
	case len(p.m.IAs) >= maxIAs:
		p.problem(c, at, "more than %d IAs", maxIAs)
		return ia, false
	case slices.ContainsFunc(p.m.IAs, func(x IA) bool { return x.Type == ia.Type && x.IAID == ia.IAID }):
		p.problem(c, at, "IAID %s appears more than once", ia.IAID)
		return ia, false
	}
	_, lease := ia.Type.codes()
	status := false
	p.walk(v[12:], at+4+12, func(c OptionCode, v []byte, at int) {
		switch {
		case c == lease:
			if x, ok := p.lease(c, v, at, ia.Prefixes); ok {
				ia.Prefixes = append(ia.Prefixes, x)
			}
		case c == OptionStatusCode && !status:
			ia.Status, status = p.status(v, at)
		}
	})
	return ia, true
}

// lease reads an IA Prefix or an IA Address; those before it in the same IA are given.
func (p *parser) lease(c OptionCode, v []byte, at int, before []IAPrefix) (x IAPrefix, ok bool) {
	x, asSent, options, ok := p.leaseFields(c, v, at)
	if !ok {
		return x, false
	}
	switch {
	case c == OptionIAAddr && !p.fromServer && asSent.Addr().IsUnspecified():
		// "The client SHOULD NOT send the IA Address option with an unspecified address" (RFC 9915 section
		// 21.6). One that does wishes nothing.
		return x, false
	case len(before) >= maxIAPrefixes:
		p.problem(c, at, "more than %d in one IA", maxIAPrefixes)
		return x, false
	case slices.ContainsFunc(before, func(y IAPrefix) bool { return y.Prefix == x.Prefix }):
		p.problem(c, at, "%s appears more than once", x.Prefix)
		return x, false
	case p.fromServer && x.Preferred > x.Valid:
		p.problem(c, at, "preferred lifetime %d is greater than valid lifetime %d", x.Preferred, x.Valid)
		return x, false
	case p.fromServer && !Delegable(x.Prefix):
		p.problem(c, at, "%s cannot be delegated", x.Prefix)
		return x, false
	}
	if asSent != x.Prefix {
		p.problem(c, at, "host bits of %s are cleared", asSent)
	}
	status := false
	p.walk(options, at+4+len(v)-len(options), func(inner OptionCode, v []byte, at int) {
		switch {
		case inner == OptionStatusCode && !status:
			x.Status, status = p.status(v, at)
		case inner == OptionPDExclude && c == OptionIAPrefix && !x.Exclude.IsValid():
			x.Exclude = p.exclude(v, at, x.Prefix)
		}
	})
	return x, true
}

// leaseFields takes a lease apart: its fields, the prefix with the host bits that were sent, its options.
func (p *parser) leaseFields(c OptionCode, v []byte, at int) (x IAPrefix, asSent netip.Prefix, options []byte, ok bool) {
	fixed := iaAddrLen
	if c == OptionIAPrefix {
		fixed = iaPrefixLen
	}
	if len(v) < fixed {
		p.problem(c, at, "length %d, want at least %d", len(v), fixed)
		return x, asSent, nil, false
	}
	addr, lifetimes, bits := v, v[16:], 128
	if c == OptionIAPrefix {
		addr, lifetimes, bits = v[9:], v, int(v[8])
	}
	if bits < 1 || bits > 128 {
		p.problem(c, at, "prefix length %d, want 1 to 128", bits)
		return x, asSent, nil, false
	}
	asSent = netip.PrefixFrom(netip.AddrFrom16([16]byte(addr)), bits)
	x.Prefix = asSent.Masked()
	x.Preferred, x.Valid = binary.BigEndian.Uint32(lifetimes), binary.BigEndian.Uint32(lifetimes[4:])
	return x, asSent, v[fixed:], true
}

// Delegable says whether hosts can have addresses in the prefix: it has 1 to 128 bits, no host bits
// and is neither of ::, ::1, ::ffff:0:0/96, fe80::/10 nor ff00::/8.
func Delegable(p netip.Prefix) bool {
	return p.IsValid() && p.Bits() > 0 && p == p.Masked() && UsableServer(p.Addr())
}

// subnetIDLen is the length of the subnet ID that takes a prefix from one length to a longer one, in octets
// (RFC 6603 section 4.2).
func subnetIDLen(from, to int) int { return (to-from-1)/8 + 1 }

// exclude reads the Prefix Exclude option of a delegated prefix (RFC 6603 section 4.2): a length, and the
// bits of the excluded prefix from the delegated length on, shifted to begin with an octet. One that is
// malformed excludes nothing: what it meant cannot be known.
func (p *parser) exclude(v []byte, at int, delegated netip.Prefix) netip.Prefix {
	if len(v) < 2 {
		p.problem(OptionPDExclude, at, "length %d, want at least 2", len(v))
		return netip.Prefix{}
	}
	from, to, id := delegated.Bits(), int(v[0]), v[1:]
	if to <= from || to > 128 {
		p.problem(OptionPDExclude, at, "prefix length %d is not within %s", to, delegated)
		return netip.Prefix{}
	}
	if want := subnetIDLen(from, to); len(id) != want {
		p.problem(OptionPDExclude, at, "subnet ID of %d octets, want %d", len(id), want)
		return netip.Prefix{}
	}
	a := delegated.Addr().As16()
	copyBits(a[:], from, id, 0, to-from)
	if padding := len(id)*8 - (to - from); id[len(id)-1]&(1<<padding-1) != 0 {
		p.problem(OptionPDExclude, at, "bits after the subnet ID are ignored")
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), to)
}

// copyBits sets those of n bits of dst from bit d on that are set in src from bit s on.
func copyBits(dst []byte, d int, src []byte, s, n int) {
	for i := range n {
		if src[(s+i)/8]&(0x80>>((s+i)%8)) != 0 {
			dst[(d+i)/8] |= 0x80 >> ((d + i) % 8)
		}
	}
}

func (ia IA) append(b []byte) []byte {
	c, lease := ia.Type.codes()
	v := binary.BigEndian.AppendUint32(nil, uint32(ia.IAID))
	v = binary.BigEndian.AppendUint32(v, ia.T1)
	v = binary.BigEndian.AppendUint32(v, ia.T2)
	for _, p := range ia.Prefixes {
		v = appendOption(v, lease, p.body(lease))
	}
	return appendOption(b, c, ia.Status.append(v))
}

func (p IAPrefix) body(c OptionCode) []byte {
	a := p.Prefix.Addr().As16()
	if c == OptionIAAddr {
		v := binary.BigEndian.AppendUint32(a[:], p.Preferred)
		return p.Status.append(binary.BigEndian.AppendUint32(v, p.Valid))
	}
	v := binary.BigEndian.AppendUint32(nil, p.Preferred)
	v = binary.BigEndian.AppendUint32(v, p.Valid)
	v = append(v, byte(p.Prefix.Bits()))
	return p.Status.append(p.appendExclude(append(v, a[:]...)))
}

// appendExclude writes the option, or nothing where Exclude is no part of the prefix.
func (p IAPrefix) appendExclude(b []byte) []byte {
	from, to := p.Prefix.Bits(), p.Exclude.Bits()
	if !p.Exclude.IsValid() || to <= from || !p.Prefix.Contains(p.Exclude.Addr()) {
		return b
	}
	a := p.Exclude.Addr().As16()
	v := make([]byte, 1+subnetIDLen(from, to))
	v[0] = byte(to)
	copyBits(v[1:], 0, a[:], from, to-from)
	return appendOption(b, OptionPDExclude, v)
}
