// SPDX-License-Identifier: MIT

package ra

import (
	"errors"
	"strings"
)

// optCaptivePortal: RFC 8910 section 2.3.
const optCaptivePortal = 37

// Unrestricted says that the network has no captive portal (RFC 8910 section 2). The option has no lifetime: with this
// one a portal is taken back.
const Unrestricted = "urn:ietf:params:capport:unrestricted"

// maxPortal: "The maximum length of the URI that can be carried in IPv4 DHCP is 255 bytes" (RFC 8910 section 2), and all
// ways should give the same.
const maxPortal = 255

// CaptivePortal is the URI of the captive portal API, or Unrestricted.
type CaptivePortal string

func (CaptivePortal) optionType() uint8 { return optCaptivePortal }

func (o CaptivePortal) wireLen() int { return (2 + len(o) + 7) &^ 7 }

func (o CaptivePortal) appendTo(b []byte) ([]byte, error) {
	if why := uriProblem(string(o)); why != "" {
		return nil, errors.New(why)
	}
	b = append(b, o...)
	for range o.wireLen() - 2 - len(o) {
		b = append(b, 0) // "MUST be padded with NUL (0x00)"
	}
	return b, nil
}

func parseCaptivePortal(b []byte) (Option, string) {
	uri := strings.TrimRight(string(b[2:]), "\x00")
	if why := uriProblem(uri); why != "" {
		return nil, why
	}
	return CaptivePortal(uri), ""
}

// uriProblem says why s cannot be a URI: RFC 3986 section 2 has printable ASCII only. Empty if it may be one.
func uriProblem(s string) string {
	if s == "" {
		return "no URI"
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return "character in URI that is not allowed"
		}
	}
	return ""
}
