// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser collects one message and what is wrong with it.
type parser struct {
	m          *Message
	fromServer bool
	seen       [OptionCaptivePortal + 1]bool // top-level options that came already, of those that may come once
	problems   []Problem
}

// problem is called from dozens of places, and so is appendOption: out of line the two save 20 kB of a
// small board's flash.
//
//go:noinline
func (p *parser) problem(c OptionCode, at int, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{c, at, fmt.Sprintf(format, args...)})
	}
}

// nextOption takes the first option off b: a code, a length and as many octets. Where b holds less than
// that, the reason says so. NTP suboptions (RFC 5908 section 4) and Service Parameters (RFC 9460 section
// 2.2) have the same shape.
func nextOption(b []byte) (c OptionCode, v, rest []byte, reason string) {
	if len(b) < 4 {
		return 0, nil, nil, strconv.Itoa(len(b)) + " octets are left, an option has at least 4"
	}
	c = OptionCode(binary.BigEndian.Uint16(b))
	n := 4 + int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b) {
		return c, nil, nil, "length " + strconv.Itoa(n-4) + ", only " + strconv.Itoa(len(b)-4) + " octets are left"
	}
	return c, b[4:n], b[n:], ""
}

// walk calls f for each option in b, whose first octet is at offset at of the message. An option that
// claims more than there is ends the walk: what follows has no known start.
func (p *parser) walk(b []byte, at int, f func(c OptionCode, v []byte, at int)) {
	for len(b) > 0 {
		c, v, rest, reason := nextOption(b)
		if reason != "" {
			p.problem(c, at, "%s", reason)
			return
		}
		f(c, v, at)
		at += len(b) - len(rest)
		b = rest
	}
}

// topLevel takes one option of the message itself. Unknown options are ignored "as if they were not
// present" (RFC 9915 section 16). Where an option's definition does not say that it may appear more than
// once (section 21), the first one that can be read counts.
func (p *parser) topLevel(c OptionCode, v []byte, at int) {
	switch c {
	case OptionIANA, OptionIAPD:
		if ia, ok := p.ia(c, v, at); ok {
			p.m.IAs = append(p.m.IAs, ia)
		}
		return
	case OptionNTPServer:
		p.ntpServer(v, at)
		return
	case OptionEncryptedDNS:
		p.encryptedDNS(v, at)
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
	m := p.m
	switch c {
	case OptionClientID:
		m.ClientID, ok = p.duid(c, v, at)
	case OptionServerID:
		m.ServerID, ok = p.duid(c, v, at)
	case OptionORO:
		m.ORO, ok = p.optionRequest(v, at)
	case OptionPreference:
		if ok = p.length(c, v, at, 1); ok {
			m.Preference = v[0]
		}
	case OptionElapsedTime:
		if ok = !p.fromServer && p.length(c, v, at, 2); ok {
			m.ElapsedTime = binary.BigEndian.Uint16(v)
		}
	case OptionAuth:
		m.Auth, ok = p.auth(v, at)
	case OptionStatusCode:
		m.Status, ok = p.status(v, at)
	case OptionRapidCommit:
		ok = p.length(c, v, at, 0)
		m.RapidCommit = ok
	case OptionReconfigureMessage:
		m.ReconfigureMessage, ok = p.reconfigureMessage(v, at)
	case OptionReconfigureAccept:
		ok = p.length(c, v, at, 0)
		m.ReconfigureAccept = ok
	case OptionDNSServers:
		m.DNS, ok = p.dns(v, at)
	case OptionDomainList:
		m.Search, ok = p.domainList(v, at)
	case OptionRefreshTime:
		// "A client MUST use the refresh time IRT_MINIMUM if it receives the option with a value less than
		// IRT_MINIMUM" (RFC 9915 section 21.23): that is nothing to complain of.
		if ok = p.length(c, v, at, 4); ok {
			m.RefreshTime = max(binary.BigEndian.Uint32(v), MinRefreshTime)
		}
	case OptionSolMaxRT:
		m.SolMaxRT, ok = p.maxRT(c, v, at)
	case OptionInfMaxRT:
		m.InfMaxRT, ok = p.maxRT(c, v, at)
	case OptionCaptivePortal:
		m.CaptivePortal, ok = p.captivePortal(v, at)
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

// optionRequest keeps the codes that are whole.
func (p *parser) optionRequest(v []byte, at int) (codes []OptionCode, ok bool) {
	for i := 0; i+2 <= len(v); i += 2 {
		codes = append(codes, OptionCode(binary.BigEndian.Uint16(v[i:])))
	}
	if len(v)%2 != 0 {
		p.problem(OptionORO, at, "length %d is odd", len(v))
	}
	return codes, len(v)%2 == 0
}

// UsableServer says whether hosts on a LAN can ask a: it is neither of ::, ::1, ::ffff:0:0/96, fe80::/10
// nor ff00::/8.
func UsableServer(a netip.Addr) bool {
	return a.Is6() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() &&
		!a.IsLinkLocalUnicast() && !a.IsMulticast()
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

// maxRT reads the SOL_MAX_RT and INF_MAX_RT options (RFC 9915 sections 21.24 and 21.25).
func (p *parser) maxRT(c OptionCode, v []byte, at int) (uint32, bool) {
	if !p.length(c, v, at, 4) {
		return 0, false
	}
	s := binary.BigEndian.Uint32(v)
	if s < MinMaxRT || s > MaxMaxRT {
		p.problem(c, at, "%d is outside of %d to %d", s, MinMaxRT, MaxMaxRT)
		return 0, false
	}
	return s, true
}
