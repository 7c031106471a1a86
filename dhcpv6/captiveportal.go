// SPDX-License-Identifier: MIT

package dhcpv6

// MaxCaptivePortal bounds the URI of a captive portal's API: what is longer would not fit beside the other options
// of a Router Advertisement, where the same URI stands too.
const MaxCaptivePortal = 512

// captivePortal reads the DHCPv6 Captive-Portal option (RFC 8910 section 2.2): a URI that is not terminated by a
// zero octet. Whose API it names, and whether it is https, is for those to check who ask it.
func (p *parser) captivePortal(v []byte, at int) (uri string, ok bool) {
	if uri = string(v[:min(len(v), MaxCaptivePortal+1)]); !ValidCaptivePortal(uri) {
		p.problem(OptionCaptivePortal, at, "is not a URI of 1 to %d printable characters", MaxCaptivePortal)
		return "", false
	}
	return uri, true
}

// ValidCaptivePortal says whether s can be written: only characters of a URI (RFC 3986 section 2), none of which is
// a space or outside of ASCII.
func ValidCaptivePortal(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= MaxCaptivePortal
}
