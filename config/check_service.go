// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ulaLen is the length of a site's unique local prefix: 8 bits, L among them, and 40 of a random Global ID
// (RFC 4193 section 3.1).
const ulaLen = 48

func (c *checker) ula(raw *rawPrefix) {
	v := raw.ula
	if !given(v) {
		return
	}
	out := &c.cfg.Prefix
	switch strings.ToLower(v.text) {
	case "off":
	case "auto":
		out.ULA = ULAAuto
	default:
		p, err := parseULA(v.text)
		switch {
		case err != nil:
			c.bad("ULA", *v, err)
		case out.Static.IsValid() && out.Static.Overlaps(p):
			c.bad("ULA", *v, fmt.Sprintf("the addresses of Prefix on line %d are among these: keep one of them", raw.prefix.line))
		case c.beyond(p):
			c.bad("ULA", *v, "Address, DNS or AllowedIPs has some of these addresses at the other end of the tunnel: hosts could not reach them there")
		}
		out.ULA, out.ULAPrefix = ULAStatic, p
	}
}

// beyond says whether the file names addresses of the prefix for the tunnel or what is behind it.
func (c *checker) beyond(p netip.Prefix) bool {
	i := c.cfg.Interface
	in := func(q netip.Prefix) bool { return q.Bits() >= 7 && p.Overlaps(q) } // a shorter one is a default
	return slices.ContainsFunc(i.Addresses, in) || slices.ContainsFunc(i.DNS, p.Contains) ||
		slices.ContainsFunc(c.cfg.Peers, func(peer Peer) bool { return slices.ContainsFunc(peer.AllowedIPs, in) })
}

func parseULA(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch a := p.Addr(); {
	case err != nil:
		return p, errors.New("want off, auto (one of the box's own, made once and kept), or a /48 in fd00::/8")
	case a.Is6() && a.As16()[0] == 0xfc:
		return p, errors.New("fc00::/8 is not for use: its addresses have no L bit, and how they are given out was never defined " +
			"(RFC 4193 section 3.2): write auto, or a /48 in fd00::/8")
	case !a.Is6() || a.As16()[0] != 0xfd:
		return p, errors.New("not a unique local prefix: write auto, or a /48 in fd00::/8")
	case p.Bits() != ulaLen:
		return p, errors.New("a site's unique local prefix is a /48 (RFC 4193 section 3.1), each LAN gets a /64 of it")
	case p != p.Masked():
		return p, fmt.Errorf("bits are set beyond /48: write %s", p.Masked())
	}
	return p, nil
}

// service reads what hosts get beside addresses of their own making.
func (c *checker) service(raw *rawLAN, l *LAN) {
	if v := raw.dhcpv6; given(v) {
		switch strings.ToLower(v.text) {
		case "stateless":
		case "stateful":
			l.DHCPv6 = DHCPv6Stateful
		case "off":
			l.DHCPv6, l.Delegate = DHCPv6Off, false
		default:
			c.bad("DHCPv6", *v, "want stateless, stateful or off")
		}
	}
	if v := raw.delegate; given(v) {
		if c.yesNo("Delegate", v, &l.Delegate); l.Delegate && l.DHCPv6 == DHCPv6Off {
			c.errorf(v.line, "Delegate = yes beside DHCPv6 = off on line %d: routers ask for prefixes by DHCPv6: write DHCPv6 = stateless, or Delegate = no", raw.dhcpv6.line)
		}
	}
	c.yesNo("OnLink", raw.onLink, &l.OnLink)
	c.yesNo("Autonomous", raw.autonomous, &l.Autonomous)
	if v := raw.pref64; given(v) {
		p, err := parsePREF64(v.text)
		if err != nil {
			c.bad("PREF64", *v, err)
		}
		l.PREF64 = p
	}
	if v := raw.captivePortal; given(v) {
		uri, literal, err := parseCaptivePortal(v.text)
		switch {
		case err != nil:
			c.bad("CaptivePortal", *v, err)
		case literal:
			// RFC 8910 section 2: "the URI SHOULD NOT contain an IP address literal".
			c.noticef(v.line, "CaptivePortal: the URI should not contain an IP address (RFC 8910 section 2): hosts check the certificate of a name")
		}
		l.CaptivePortal = uri
	}
}

// yesNo reads a switch; out keeps its default where the file says nothing.
func (c *checker) yesNo(key string, v *value, out *bool) {
	switch {
	case !given(v):
	case strings.EqualFold(v.text, "yes"):
		*out = true
	case strings.EqualFold(v.text, "no"):
		*out = false
	default:
		c.bad(key, *v, "want yes or no")
	}
}

// nat64Special holds the NAT64 prefixes that stand in reserved space: 64:ff9b::/96 (RFC 6052 section 2.1) and
// 64:ff9b:1::/48 (RFC 8215).
func nat64Special() netip.Prefix { return netip.MustParsePrefix("64:ff9b::/32") }

// parsePREF64 reads a prefix that IPv4 addresses can be embedded in, RFC 6052 section 2.2.
func parsePREF64(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("want PREFIX/LENGTH, as in 64:ff9b::/96")
	}
	if !p.Addr().Is6() || p.Addr().Is4In6() {
		return p, errors.New("not IPv6")
	}
	switch p.Bits() {
	case 96, 64, 56, 48, 40, 32:
	default:
		return p, errors.New("a NAT64 prefix has the length /96, /64, /56, /48, /40 or /32 (RFC 6052 section 2.2)")
	}
	octets := p.Masked().Addr().As16()
	switch {
	case p.Overlaps(multicast()):
		return p, errors.New("holds multicast addresses (ff00::/8)")
	case p.Overlaps(linkLocalUnicast()):
		return p, errors.New("holds link-local addresses (fe80::/10)")
	case p.Overlaps(reserved()) && !p.Overlaps(nat64Special()):
		return p, errors.New("holds reserved addresses (::/8)")
	case octets[8] != 0: // only a /96 reaches that far
		octets[8] = 0
		return p, fmt.Errorf("bits 64 to 71 must be zero (RFC 6052 section 2.2): %s would be right", netip.PrefixFrom(netip.AddrFrom16(octets), p.Bits()))
	case p != p.Masked():
		return p, fmt.Errorf("bits are set beyond /%d: write %s", p.Bits(), p.Masked())
	}
	return p, nil
}

// maxCaptivePortal is the most that IPv4 DHCP can carry, which RFC 8910 section 2 makes the limit of the others too.
const maxCaptivePortal = 255

const (
	notInURI  = "a URI has no spaces, none of \" < > \\ ^ ` { | } and nothing beyond ASCII: write %XX for such an octet"
	notEscape = "% stands before two hexadecimal digits only: write %25 for itself"
)

// parseCaptivePortal checks the URI of a captive portal's API: https, as RFC 8908 section 4 wants, or the one that says
// that there is no portal. The second result says whether its host is an address.
func parseCaptivePortal(s string) (string, bool, error) {
	if strings.EqualFold(s, CaptivePortalNone) {
		return CaptivePortalNone, false, nil
	}
	const scheme = "https://"
	if len(s) > maxCaptivePortal {
		return "", false, fmt.Errorf("%d octets long, at most %d are possible (RFC 8910 section 2)", len(s), maxCaptivePortal)
	}
	if len(s) < len(scheme) || !strings.EqualFold(s[:len(scheme)], scheme) {
		return "", false, errors.New("want the URI of the portal's API, https://HOST/PATH, or " + CaptivePortalNone + " to say that there is none")
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 { // RFC 3986 section 2
			return "", false, errors.New(notInURI)
		}
		if s[i] != '%' {
			continue
		}
		if _, err := strconv.ParseUint(s[i+1:min(i+3, len(s))], 16, 8); err != nil || i+3 > len(s) {
			return "", false, errors.New(notEscape)
		}
	}
	authority := s[len(scheme):]
	if i := strings.IndexAny(authority, "/?"); i >= 0 {
		authority = authority[:i]
	}
	switch {
	case authority == "" || authority[0] == ':':
		return "", false, errors.New("no host between https:// and the path")
	case strings.ContainsAny(authority, "@%"):
		return "", false, errors.New("want nothing but HOST or HOST:PORT between https:// and the path")
	}
	if strings.LastIndexByte(authority, ':') <= strings.LastIndexByte(authority, ']') {
		authority += ":443"
	}
	host, err := parseEndpoint(authority)
	if err != nil {
		return "", false, err
	}
	_, err = netip.ParseAddrPort(host)
	return s, err == nil, nil
}
