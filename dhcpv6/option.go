// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser collects one message and what is wrong with it.
type parser struct {
	m          *Message
	fromServer bool
	seen       [OptionSolMaxRT + 1]bool // top-level options that came already
	problems   []Problem
}

func (p *parser) problem(c OptionCode, at int, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{c, at, fmt.Sprintf(format, args...)})
	}
}

// walk calls f for each option in b, whose first octet is at offset base of the message. An option
// that claims more than there is ends the walk: what follows has no known start.
func (p *parser) walk(b []byte, base int, f func(c OptionCode, v []byte, at int)) {
	for at := 0; at < len(b); {
		rest := b[at:]
		if len(rest) < 4 {
			p.problem(0, base+at, "%d octets are left, an option has at least 4", len(rest))
			return
		}
		c := OptionCode(binary.BigEndian.Uint16(rest))
		n := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if n > len(rest) {
			p.problem(c, base+at, "length %d, only %d octets are left", n-4, len(rest)-4)
			return
		}
		f(c, rest[4:n], base+at)
		at += n
	}
}

// topLevel takes one option of the message itself. Unknown options are ignored "as if they were not
// present" (RFC 9915 section 16). "All options [...] appear only once" unless their definition says
// otherwise (section 21.1): the first one that can be read counts.
func (p *parser) topLevel(c OptionCode, v []byte, at int) {
	if c == OptionIAPD {
		if ia, ok := p.iapd(v, at); ok {
			p.m.IAs = append(p.m.IAs, ia)
		}
		return
	}
	if int(c) >= len(p.seen) {
		return
	}
	if p.seen[c] {
		p.problem(c, at, "appears more than once")
		return
	}
	p.seen[c] = p.single(c, v, at)
}

// single takes an option that appears once; ok says that it could be read.
func (p *parser) single(c OptionCode, v []byte, at int) (ok bool) {
	switch c {
	case OptionClientID:
		p.m.ClientID, ok = p.duid(c, v, at)
	case OptionServerID:
		p.m.ServerID, ok = p.duid(c, v, at)
	case OptionElapsedTime:
		if ok = !p.fromServer && p.length(c, v, at, 2); ok {
			p.m.ElapsedTime = binary.BigEndian.Uint16(v)
		}
	case OptionORO:
		for i := 0; i+2 <= len(v); i += 2 {
			p.m.ORO = append(p.m.ORO, OptionCode(binary.BigEndian.Uint16(v[i:])))
		}
		if ok = len(v)%2 == 0; !ok {
			p.problem(c, at, "length %d is odd", len(v))
		}
	case OptionPreference:
		if ok = p.length(c, v, at, 1); ok {
			p.m.Preference = v[0]
		}
	case OptionRapidCommit:
		p.m.RapidCommit = p.length(c, v, at, 0)
		ok = p.m.RapidCommit
	case OptionStatusCode:
		p.m.Status, ok = p.status(v, at)
	case OptionDNSServers:
		p.m.DNS, ok = p.dns(v, at)
	case OptionDomainList:
		p.m.Search, ok = p.domainList(v, at)
	case OptionSolMaxRT:
		p.m.SolMaxRT, ok = p.solMaxRT(v, at)
	}
	return ok
}

// length says whether the option has its fixed length.
func (p *parser) length(c OptionCode, v []byte, at, want int) bool {
	if len(v) != want {
		p.problem(c, at, "length %d, want %d", len(v), want)
	}
	return len(v) == want
}

func (p *parser) duid(c OptionCode, v []byte, at int) (DUID, bool) {
	d, err := ParseDUID(v)
	if err != nil {
		p.problem(c, at, "%v", err)
	}
	return d, err == nil
}

// iapd reads an IA_PD; not ok means "as though the server had not included the IA_PD option".
func (p *parser) iapd(v []byte, at int) (ia IA, ok bool) {
	if len(v) < 12 {
		p.problem(OptionIAPD, at, "length %d, want at least 12", len(v))
		return ia, false
	}
	ia = IA{IAID: IAID(binary.BigEndian.Uint32(v)), T1: binary.BigEndian.Uint32(v[4:]), T2: binary.BigEndian.Uint32(v[8:])}
	if p.fromServer && ia.T1 > ia.T2 && ia.T2 > 0 {
		p.problem(OptionIAPD, at, "T1 %d is greater than T2 %d", ia.T1, ia.T2)
		return ia, false
	}
	for _, other := range p.m.IAs {
		if other.IAID == ia.IAID {
			p.problem(OptionIAPD, at, "IAID %s appears more than once", ia.IAID)
			return ia, false
		}
	}
	status := false
	p.walk(v[12:], at+4+12, func(c OptionCode, v []byte, at int) {
		switch {
		case c == OptionIAPrefix:
			if x, ok := p.iaprefix(v, at, ia.Prefixes); ok {
				ia.Prefixes = append(ia.Prefixes, x)
			}
		case c == OptionStatusCode && !status:
			ia.Status, status = p.status(v, at)
		}
	})
	return ia, true
}

// maxIAPrefixes bounds the prefixes of one IA_PD, and with it the work of looking for duplicates.
// Nobody delegates so many; a message of 64 KB could carry 2000.
const maxIAPrefixes = 32

// iaprefix reads an IA Prefix; those before it in the same IA are given.
func (p *parser) iaprefix(v []byte, at int, before []IAPrefix) (x IAPrefix, ok bool) {
	if len(v) < 25 {
		p.problem(OptionIAPrefix, at, "length %d, want at least 25", len(v))
		return x, false
	}
	bits, addr := int(v[8]), netip.AddrFrom16([16]byte(v[9:25]))
	if bits < 1 || bits > 128 {
		p.problem(OptionIAPrefix, at, "prefix length %d, want 1 to 128", bits)
		return x, false
	}
	asSent := netip.PrefixFrom(addr, bits)
	x = IAPrefix{Preferred: binary.BigEndian.Uint32(v), Valid: binary.BigEndian.Uint32(v[4:]), Prefix: asSent.Masked()}
	switch {
	case len(before) >= maxIAPrefixes:
		p.problem(OptionIAPrefix, at, "more than %d prefixes in one IA_PD", maxIAPrefixes)
		return x, false
	case slices.ContainsFunc(before, func(y IAPrefix) bool { return y.Prefix == x.Prefix }):
		p.problem(OptionIAPrefix, at, "prefix %s appears more than once", x.Prefix)
		return x, false
	case p.fromServer && x.Preferred > x.Valid:
		p.problem(OptionIAPrefix, at, "preferred lifetime %d is greater than valid lifetime %d", x.Preferred, x.Valid)
		return x, false
	case p.fromServer && !Delegable(x.Prefix):
		p.problem(OptionIAPrefix, at, "%s cannot be delegated", x.Prefix)
		return x, false
	}
	if asSent != x.Prefix {
		p.problem(OptionIAPrefix, at, "host bits of %s are cleared", asSent)
	}
	status := false
	p.walk(v[25:], at+4+25, func(c OptionCode, v []byte, at int) {
		if c == OptionStatusCode && !status {
			x.Status, status = p.status(v, at)
		}
	})
	return x, true
}

// UsableServer says whether hosts on a LAN can ask a: it is neither of ::, ::1, ::ffff:0:0/96, fe80::/10
// nor ff00::/8.
func UsableServer(a netip.Addr) bool {
	return a.Is6() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() &&
		!a.IsLinkLocalUnicast() && !a.IsMulticast()
}

// Delegable says whether hosts can have addresses in the prefix: it has 1 to 128 bits, no host bits
// and is neither of ::, ::1, ::ffff:0:0/96, fe80::/10 nor ff00::/8.
func Delegable(p netip.Prefix) bool {
	a := p.Addr()
	return p.IsValid() && p.Bits() > 0 && a.Is6() && a.Zone() == "" && !a.Is4In6() && p == p.Masked() &&
		!a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

func (p *parser) status(v []byte, at int) (Status, bool) {
	if len(v) < 2 {
		p.problem(OptionStatusCode, at, "length %d, want at least 2", len(v))
		return Status{}, false
	}
	return Status{StatusCode(binary.BigEndian.Uint16(v)), cleanText(v[2:])}, true
}

// cleanText makes octets of the network fit for a log line. It never grows: what it replaces has at
// least one octet.
func cleanText(b []byte) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, string(b[:min(len(b), MaxStatusText)]))
}

// dns reads the DNS Recursive Name Server option (RFC 3646 section 3). Addresses that no host can
// ask are left out, those that none on the LAN can reach too: a link-local address is one of the link
// to the hub, and on the LAN it is somebody else.
func (p *parser) dns(v []byte, at int) (servers []netip.Addr, ok bool) {
	if len(v) == 0 || len(v)%16 != 0 {
		p.problem(OptionDNSServers, at, "length %d is not a multiple of 16", len(v))
		return nil, false
	}
	for ; len(v) > 0; v = v[16:] {
		a := netip.AddrFrom16([16]byte(v))
		if a.IsLinkLocalUnicast() && !a.Is4In6() {
			p.problem(OptionDNSServers, at, "%s is link-local: it cannot be reached from the LAN", a)
			continue
		}
		if !UsableServer(a) {
			p.problem(OptionDNSServers, at, "%s cannot be a name server", a)
			continue
		}
		servers = append(servers, a)
	}
	return servers, true
}

func (p *parser) solMaxRT(v []byte, at int) (uint32, bool) {
	if !p.length(OptionSolMaxRT, v, at, 4) {
		return 0, false
	}
	s := binary.BigEndian.Uint32(v)
	if s < MinMaxRT || s > MaxMaxRT {
		p.problem(OptionSolMaxRT, at, "%d is outside of %d to %d", s, MinMaxRT, MaxMaxRT)
		return 0, false
	}
	return s, true
}
