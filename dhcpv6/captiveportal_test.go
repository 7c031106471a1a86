// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"strings"
	"testing"
)

// "URI: [...] This field MUST contain" the URI itself: no terminating zero, and no octet that a URI cannot have.
func TestRFC8910_2_2_CaptivePortal(t *testing.T) {
	long := "https://example.com/" + strings.Repeat("a", MaxCaptivePortal-20)
	for _, uri := range []string{"https://example.com/capport", "urn:ietf:params:capport:unrestricted", long} {
		m, problems := mustParse(t, replyWith(option(OptionCaptivePortal, []byte(uri)...)))
		if m.CaptivePortal != uri || problems != nil {
			t.Errorf("%q is read as %q, problems %v", uri, m.CaptivePortal, problems)
		}
	}
	for _, bad := range []string{"", "https://example.com/\x00", "https://example.com/ x", "https://b\u00fccher.example/", long + "a", "\n"} {
		m, problems := mustParse(t, replyWith(option(OptionCaptivePortal, []byte(bad)...)))
		if m.CaptivePortal != "" {
			t.Errorf("%q is read as %q", bad, m.CaptivePortal)
		}
		wantOne(t, problems, "Captive Portal option at offset 4: is not a URI")
		if b := (Message{Type: Reply, CaptivePortal: bad}).Append(nil); len(b) != headerLen {
			t.Errorf("%q is written: %x", bad, b)
		}
	}
}

func FuzzCaptivePortal(f *testing.F) {
	fuzzOption(f, OptionCaptivePortal, []byte("https://example.com/capport"), []byte("urn:ietf:params:capport:unrestricted"), []byte{0})
}
