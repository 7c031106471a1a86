// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"bytes"
	"testing"
)

// "The variant is 1 0 x" and version 4 of a random UUID; type 4 of a DUID-UUID.
func TestRFC6355_2_ShapeOfDUIDUUID(t *testing.T) {
	ones := [16]byte(bytes.Repeat([]byte{0xff}, 16))
	if got, want := NewDUIDUUID(ones).String(), "0004ffffffffffff4fffbfffffffffffffff"; got != want {
		t.Errorf("NewDUIDUUID(ff...) = %s, want %s", got, want)
	}
	if got, want := NewDUIDUUID([16]byte{}).String(), "000400000000000040008000000000000000"; got != want {
		t.Errorf("NewDUIDUUID(00...) = %s, want %s", got, want)
	}
	a, b := DUIDFromPublicKey([32]byte{1}), DUIDFromPublicKey([32]byte{2})
	if a == b || len(a) != 18 || a[8]>>4 != 8 || a[10]>>6 != 2 {
		t.Errorf("DUIDFromPublicKey = %s, %s", a, b)
	}
	// The lease hangs on it: it may never change.
	if want := "0004843c97a194338302a1f542a4e8d38372"; a.String() != want {
		t.Errorf("DUIDFromPublicKey(1, 0...) = %s, want %s", a, want)
	}
}

// "The length of the DUID (not including the type code) is at least 1 octet and at most 128 octets."
func TestRFC9915_11_1_DUIDLength(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 2: false, 3: true, 130: true, 131: false} {
		if _, err := ParseDUID(make([]byte, n)); (err == nil) != ok {
			t.Errorf("ParseDUID of %d octets: %v", n, err)
		}
	}
	d := NewDUIDUUID([16]byte{1, 2, 3})
	if got, err := ParseDUIDText(d.String()); got != d || err != nil {
		t.Errorf("ParseDUIDText(%s) = %s, %v", d, got, err)
	}
	for _, s := range []string{"", "00", "0004", "xyz", "0004f"} {
		if _, err := ParseDUIDText(s); err == nil {
			t.Errorf("ParseDUIDText(%q): no error", s)
		}
	}
}

func TestNamesOfCodes(t *testing.T) {
	for got, want := range map[string]string{
		Rebind.String(): "Rebind", MessageType(0).String(): "message 0", MessageType(200).String(): "message 200",
		OptionIAPD.String(): "IA_PD", OptionCode(64).String(): "option 64", OptionCode(999).String(): "option 999",
		OptionIANA.String(): "IA_NA", OptionIAAddr.String(): "IA Address", OptionAuth.String(): "Authentication",
		OptionReconfigureMessage.String(): "Reconfigure Message", OptionReconfigureAccept.String(): "Reconfigure Accept",
		OptionRefreshTime.String(): "Information Refresh Time", OptionNTPServer.String(): "NTP Server",
		OptionPDExclude.String(): "Prefix Exclude", OptionInfMaxRT.String(): "INF_MAX_RT", OptionEncryptedDNS.String(): "Encrypted DNS",
		PD.String(): "IA_PD", NA.String(): "IA_NA",
		NoBinding.String(): "NoBinding", StatusCode(7).String(): "status 7", IAID(255).String(): "0xff",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
