// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func isSpace(r rune) bool { return unicode.IsSpace(r) }

// quote shows a text of the file in a message: short, printable, and never one that may be a secret.
func quote(s string) string {
	notInKey := func(r rune) bool { return !isLDH(r) && r != '+' && r != '/' && r != '=' }
	if slices.ContainsFunc(strings.FieldsFunc(s, notInKey), looksLikeKey) {
		return "(what looks like a key)"
	}
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

// looksLikeKey takes 32 octets of base64 with some characters more or less: keys get cut and
// doubled on their way through clipboards. Chance leaves one in a million without all three kinds.
func looksLikeKey(word string) bool {
	const shortest = 32
	return len(word) >= shortest && strings.ContainsAny(word, "0123456789") &&
		strings.ToLower(word) != word && strings.ToUpper(word) != word
}

// parseNumber reads a decimal, or with 0x a hexadecimal number.
func parseNumber(s string, bits int) (uint64, error) {
	if rest, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strconv.ParseUint(rest, 16, bits)
	}
	return strconv.ParseUint(s, 10, bits)
}

// maxInterfaceName is IFNAMSIZ-1 of Linux.
const maxInterfaceName = 15

// checkInterfaceName applies the kernel's dev_valid_name, and refuses what it would read as a pattern, or as
// a scope in /proc/sys/net/ipv6/conf.
func checkInterfaceName(s string) error {
	if len(s) > maxInterfaceName {
		return fmt.Errorf("%d octets long, at most %d are possible", len(s), maxInterfaceName)
	}
	switch s {
	case ".", "..", "":
		return errors.New("not a possible interface name")
	case "all":
		return errors.New("the kernel's name for all interfaces together: settings of this one would go to every one")
	case "default":
		return errors.New("the kernel's name for interfaces to come: settings of this one would go to each new one")
	}
	if strings.ContainsAny(s, "/:%") || !printable(s) || strings.ContainsFunc(s, isSpace) {
		return errors.New("not a possible interface name: no spaces, /, : and % in it")
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// Limits on a domain name, RFC 1035 section 2.3.4. The 255 octets of the wire form are 253
// characters without the last dot.
const (
	maxLabel      = 63
	maxDomainName = 253
)

// parseDomainName checks a DNS name and takes a last dot away. The underscore is let in: names
// with it exist, though not as host names.
func parseDomainName(s string) (string, error) {
	name := strings.TrimSuffix(s, ".")
	if len(name) > maxDomainName {
		return "", fmt.Errorf("longer than %d characters", maxDomainName)
	}
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "", errors.New("has an empty label")
		case len(label) > maxLabel:
			return "", fmt.Errorf("has a label longer than %d characters", maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return "", errors.New("has a label that begins or ends with a hyphen")
		}
		for _, r := range label {
			if r >= utf8.RuneSelf {
				return "", errors.New(`is not ASCII: write its A-label form, xn--..., as "idn2 NAME" prints it`)
			}
			if !isLDH(r) {
				return "", fmt.Errorf("has the character %q: letters, digits and hyphens are possible", r)
			}
		}
	}
	return name, nil
}

func isLDH(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}

// looksLikeAddress is wg-quick's rule to tell addresses from names in DNS.
func looksLikeAddress(s string) bool {
	return strings.Contains(s, ":") || strings.Trim(s, "0123456789.") == ""
}

// parseEndpoint checks HOST:PORT or [ADDRESS]:PORT and returns it in one form.
func parseEndpoint(s string) (string, error) {
	const want = "want HOST:PORT or [IPv6 ADDRESS]:PORT"
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", errors.New("no port: " + want)
	}
	host, port := s[:i], s[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("the port is not a number from 1 to 65535: " + want)
	}
	port = strconv.FormatUint(n, 10)
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		if !ok || err != nil || !a.Is6() || a.Zone() != "" && checkInterfaceName(a.Zone()) != nil {
			return "", errors.New("no IPv6 address between the brackets: " + want)
		}
		return "[" + a.String() + "]:" + port, nil
	}
	if strings.Contains(host, ":") {
		return "", errors.New("an IPv6 address needs brackets: [ADDRESS]:PORT")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String() + ":" + port, nil
	}
	if strings.Trim(host, "0123456789.") == "" {
		return "", errors.New("not an IPv4 address: " + want)
	}
	name, err := parseDomainName(host)
	if err != nil {
		return "", fmt.Errorf("the host name %w", err)
	}
	return name + ":" + port, nil
}

// linkLocalServer says whether s is an address in fe80::/10.
func linkLocalServer(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && linkLocalUnicast().Contains(a)
}

// unusable says that a is no address of an interface or a server.
func unusable(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || a.Is4In6() || a.IsMulticast()
}

// Prefixes that are never a LAN's.
func linkLocalUnicast() netip.Prefix { return netip.MustParsePrefix("fe80::/10") }
func multicast() netip.Prefix        { return netip.MustParsePrefix("ff00::/8") }
func reserved() netip.Prefix         { return netip.MustParsePrefix("::/8") } // unspecified, loopback, IPv4-mapped

// parseAddrPrefix reads ADDRESS or ADDRESS/LENGTH and keeps the host bits.
func parseAddrPrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return netip.Prefix{}, errors.New("not ADDRESS/LENGTH")
		}
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("not an IP address")
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// checkDelegation says whether LANs can get their /64s from p.
func checkDelegation(p netip.Prefix) error {
	switch {
	case !p.Addr().Is6() || p.Addr().Is4In6():
		return errors.New("not IPv6")
	case p.Bits() > 64:
		return fmt.Errorf("longer than /64: hosts need a /64 to make their addresses; range /1 to /64")
	case p.Bits() < 1:
		return errors.New("length 0: range /1 to /64")
	case p.Overlaps(multicast()):
		return errors.New("holds multicast addresses (ff00::/8)")
	case p.Overlaps(linkLocalUnicast()):
		return errors.New("holds link-local addresses (fe80::/10)")
	case p.Overlaps(reserved()):
		return errors.New("holds reserved addresses (::/8)")
	case p != p.Masked():
		return fmt.Errorf("bits are set beyond /%d: write %s", p.Bits(), p.Masked())
	}
	return nil
}
