// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"strings"
)

// Limits of RFC 1035 section 2.3.4; a name of 253 characters is 255 octets on the wire.
const (
	maxLabel  = 63
	maxDomain = 253
)

// CheckDomain says whether a search domain can be sent, and gives it in the form that is compared
// and sent: lower case, no trailing dot. Names in other scripts come as A-labels (xn--).
func CheckDomain(s string) (string, error) {
	d := strings.ToLower(strings.TrimSuffix(s, "."))
	if len(d) > maxDomain {
		return "", fmt.Errorf("domain of %d characters: at most %d are allowed", len(d), maxDomain)
	}
	label := 0
	for i := 0; i <= len(d); i++ {
		if i < len(d) && d[i] != '.' {
			if !isNameChar(d[i]) {
				return "", fmt.Errorf("domain %q: character %q is not allowed", s, d[i])
			}
			label++
			continue
		}
		if label == 0 {
			return "", fmt.Errorf("domain %q: empty label", s)
		}
		if label > maxLabel {
			return "", fmt.Errorf("domain %q: label of %d characters: at most %d are allowed", s, label, maxLabel)
		}
		label = 0
	}
	return d, nil
}

// isNameChar allows what host names have, and the underscore that search domains of some sites have.
func isNameChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// domainWireLen is the length of the name in RFC 1035 encoding: each dot becomes a length octet,
// one more stands in front, and the root label ends it.
func domainWireLen(d string) int { return len(strings.TrimSuffix(d, ".")) + 2 }

// appendDomain adds the name in RFC 1035 encoding, uncompressed (RFC 8106 section 5.2).
func appendDomain(b []byte, d string) []byte {
	for label := range strings.SplitSeq(strings.TrimSuffix(d, "."), ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}

// parseDomains reads names up to the zero padding at the end.
func parseDomains(b []byte) (domains []string, reason string) {
	for len(b) > 0 && b[0] != 0 {
		var name string
		if name, b, reason = parseDomain(b); reason != "" {
			return nil, reason
		}
		domains = append(domains, name)
	}
	for _, c := range b {
		if c != 0 {
			return nil, "padding is not zero"
		}
	}
	if len(domains) == 0 {
		return nil, "no domain"
	}
	return domains, ""
}

// parseDomain reads one name; the root alone is "".
func parseDomain(b []byte) (domain string, rest []byte, reason string) {
	var name []byte
	for {
		if len(b) == 0 {
			return "", nil, "domain without end"
		}
		n := int(b[0])
		b = b[1:]
		switch {
		case n == 0:
			return string(name), b, ""
		case n > maxLabel:
			return "", nil, "compressed domain or label too long"
		case n > len(b):
			return "", nil, "label past the end"
		}
		for _, c := range b[:n] {
			if !isNameChar(c) {
				return "", nil, "character in domain that is not allowed"
			}
		}
		if len(name) > 0 {
			name = append(name, '.')
		}
		name = append(name, b[:n]...)
		b = b[n:]
		if len(name) > maxDomain {
			return "", nil, "domain too long"
		}
	}
}
