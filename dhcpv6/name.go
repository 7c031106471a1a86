// SPDX-License-Identifier: MIT

package dhcpv6

import "strings"

// Bounds of RFC 1035 section 2.3.4.
const (
	maxLabelLen = 63
	maxNameLen  = 255 // on the wire, with length octets and the root label
)

// domainList reads the Domain Search List option (RFC 3646 section 4): names "encoded as described
// in Section 10 of RFC 9915", which forbids compression. A name with a character that does not
// belong into a host name is left out; a name whose labels do not add up ends the list.
func (p *parser) domainList(v []byte, at int) (names []string, ok bool) {
	if len(v) == 0 {
		p.problem(OptionDomainList, at, "is empty")
		return nil, false
	}
	for len(v) > 0 {
		name, rest, reason := nextName(v)
		switch {
		case rest == nil:
			p.problem(OptionDomainList, at, "%s", reason)
			return names, len(names) > 0
		case reason != "":
			p.problem(OptionDomainList, at, "%s", reason)
		default:
			names = append(names, name)
		}
		v = rest
	}
	return names, true
}

// oneName reads a field that holds one name and nothing else.
func oneName(v []byte) (name, reason string) {
	name, rest, reason := nextName(v)
	if reason == "" && len(rest) > 0 {
		reason = "octets follow the name"
	}
	return name, reason
}

// nextName reads one name. Without rest nothing after it can be read; with a reason it is no name
// for a search list or a host.
func nextName(v []byte) (name string, rest []byte, reason string) {
	var labels []string
	for i := 0; i < len(v) && i < maxNameLen; {
		n := int(v[i])
		i++
		if n == 0 {
			rest = v[i:]
			if len(labels) == 0 {
				return "", rest, "the root is no name to use"
			}
			return strings.Join(labels, "."), rest, reason
		}
		if n > maxLabelLen {
			return "", nil, "a label has a length above 63: compression is not allowed"
		}
		if n > len(v)-i {
			return "", nil, "a label goes past the end"
		}
		label := lower(v[i : i+n])
		if !validLabel(label) {
			reason = "a label has a character that is no letter, digit, hyphen or underscore"
		}
		labels = append(labels, label)
		i += n
	}
	return "", nil, "a name has no end"
}

// lower folds A to Z and nothing else: unicode would turn a Kelvin sign into a k.
func lower(b []byte) string {
	l := []byte(string(b))
	for i, c := range l {
		if 'A' <= c && c <= 'Z' {
			l[i] = c + 'a' - 'A'
		}
	}
	return string(l)
}

// validLabel keeps everything out of a name that a resolver or a file could trip over.
func validLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxLabelLen
}

// ValidName says whether a search domain or a host's name can be written: labels of 1 to 63 letters, digits,
// hyphens and underscores in lower case, in all at most 255 octets on the wire, no final dot.
func ValidName(s string) bool {
	if len(s)+2 > maxNameLen {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

// appendName writes a name without compression; one that is not valid is left out.
func appendName(b []byte, name string) []byte {
	if !ValidName(name) {
		return b
	}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}
