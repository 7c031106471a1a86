// SPDX-License-Identifier: MIT

// Package dhcpv6test writes messages in the words of a script, for tests of what answers them: "request rapid pd1
// 2001:db8::/56" is one, and so is "reply pd1 2001:db8::/56=100/200".
//
// Start at Query and Text.
package dhcpv6test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"oasis6/dhcpv6"
)

// DUID is that of somebody with a name.
func DUID(name string) dhcpv6.DUID { return dhcpv6.DUID("\x00\x03\x00\x01" + name) }

// Query makes the message that words describe: a type, then options. pd1 or na1 begins an IA, and what looks like a prefix or
// an address goes into it. server= is "us" or "other"; us is also whom those messages are for that are for one server. A word
// that own takes is the caller's.
func Query(words string, us dhcpv6.DUID, own func(key, val string) bool) (m dhcpv6.Message, err error) {
	f := strings.Fields(words)
	for m.Type = dhcpv6.Solicit; strings.ToLower(m.Type.String()) != f[0]; m.Type++ {
		if m.Type > dhcpv6.RelayReply {
			return m, fmt.Errorf("no message %q", f[0])
		}
	}
	switch m.Type {
	case dhcpv6.Request, dhcpv6.Renew, dhcpv6.Release, dhcpv6.Decline:
		m.ServerID = us
	}
	for _, x := range f[1:] {
		key, val, _ := strings.Cut(x, "=")
		switch {
		case own(key, val):
		case key == "server":
			m.ServerID = map[string]dhcpv6.DUID{"us": us, "other": us + "x"}[val]
		case key == "rapid":
			m.RapidCommit = true
		case key == "accept":
			m.ReconfigureAccept = true
		case key == "oro":
			for c := range strings.SplitSeq(val, ",") {
				n, err := strconv.Atoi(c)
				if err != nil {
					return m, fmt.Errorf("bad word %q", x)
				}
				m.ORO = append(m.ORO, dhcpv6.OptionCode(n))
			}
		default:
			if err := lease(&m, x); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

// lease takes the words of IAs.
func lease(m *dhcpv6.Message, x string) error {
	if strings.Contains(x, ":") && len(m.IAs) > 0 {
		if !strings.Contains(x, "/") {
			x += "/128"
		}
		p, err := netip.ParsePrefix(x)
		ia := &m.IAs[len(m.IAs)-1]
		ia.Prefixes = append(ia.Prefixes, dhcpv6.IAPrefix{Prefix: p})
		return err
	}
	t, ok := map[string]dhcpv6.IAType{"pd": dhcpv6.PD, "na": dhcpv6.NA}[x[:min(2, len(x))]]
	n, err := strconv.Atoi(strings.TrimLeft(x, "pdna"))
	if !ok || err != nil {
		return fmt.Errorf("bad word %q", x)
	}
	m.IAs = append(m.IAs, dhcpv6.IA{Type: t, IAID: dhcpv6.IAID(n)})
	return nil
}

// Text is a message in words: its type, flags, and for each IA its leases with their lifetimes in seconds, and its status.
func Text(m dhcpv6.Message) string {
	f := []string{strings.ToLower(m.Type.String())}
	if m.RapidCommit {
		f = append(f, "rapid")
	}
	if m.ReconfigureAccept {
		f = append(f, "accept")
	}
	if m.Auth != nil {
		f = append(f, "auth")
	}
	if m.Status.Code != dhcpv6.Success || m.Status.Text != "" {
		f = append(f, m.Status.Code.String())
	}
	for _, ia := range m.IAs {
		f = append(f, strings.ToLower(ia.Type.String()[3:])+strconv.Itoa(int(ia.IAID)))
		for _, p := range ia.Prefixes {
			f = append(f, fmt.Sprintf("%s=%d/%d", strings.TrimSuffix(p.Prefix.String(), "/128"), p.Preferred, p.Valid))
		}
		if ia.Status.Code != dhcpv6.Success {
			f = append(f, ia.Status.Code.String())
		}
	}
	return strings.Join(f, " ")
}
