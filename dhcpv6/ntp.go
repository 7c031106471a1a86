// SPDX-License-Identifier: MIT

package dhcpv6

import "net/netip"

// Suboptions of the NTP Server option (RFC 5908 sections 4.1 to 4.3).
const (
	ntpServerAddr    OptionCode = 1
	ntpMulticastAddr OptionCode = 2
	ntpServerName    OptionCode = 3
)

// maxNTPServers bounds the time servers of one message; ten is the most that NTP software asks.
const maxNTPServers = 16

// ntpServer reads an NTP Server option (RFC 5908 section 4). It "MUST include one, and only one, time source
// suboption" and appears once for each server; servers that put all of theirs into one are understood too.
// A suboption that cannot be used costs itself. Those we do not know are ignored: "More time source
// suboptions may be defined in the future."
func (p *parser) ntpServer(v []byte, at int) {
	if len(v) == 0 {
		p.problem(OptionNTPServer, at, "is empty")
	}
	for len(v) > 0 {
		sub, body, rest, reason := nextOption(v)
		if reason != "" {
			p.problem(OptionNTPServer, at, "suboption %d: %s", sub, reason)
			return
		}
		v = rest
		if sub != ntpServerAddr && sub != ntpMulticastAddr && sub != ntpServerName {
			continue
		}
		s, reason := ntpSource(sub, body)
		switch {
		case reason != "":
			p.problem(OptionNTPServer, at, "suboption %d: %s", sub, reason)
		case len(p.m.NTP) >= maxNTPServers:
			p.problem(OptionNTPServer, at, "more than %d servers", maxNTPServers)
			return
		default:
			p.m.NTP = append(p.m.NTP, s)
		}
	}
}

// ntpSource reads the body of a suboption.
func ntpSource(sub OptionCode, v []byte) (s NTPServer, reason string) {
	if sub == ntpServerName {
		s.Name, reason = oneName(v)
		return s, reason
	}
	if len(v) != 16 {
		return s, "an address has 16 octets"
	}
	s.Addr = netip.AddrFrom16([16]byte(v))
	if sub == ntpServerAddr && !UsableServer(s.Addr) {
		return s, s.Addr.String() + " cannot be a server"
	}
	if sub == ntpMulticastAddr && !s.Addr.IsMulticast() {
		return s, s.Addr.String() + " is not multicast"
	}
	return s, ""
}

// append writes one option for the server, or nothing where there is no address and no valid name.
func (s NTPServer) append(b []byte) []byte {
	switch {
	case s.Addr.Is6():
		sub, a := ntpServerAddr, s.Addr.As16()
		if s.Addr.IsMulticast() {
			sub = ntpMulticastAddr
		}
		return appendOption(b, OptionNTPServer, appendOption(nil, sub, a[:]))
	case ValidName(s.Name):
		return appendOption(b, OptionNTPServer, appendOption(nil, ntpServerName, appendName(nil, s.Name)))
	}
	return b
}
