// SPDX-License-Identifier: MIT

package server

import (
	"net/netip"
	"strings"
	"testing"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

func TestCE_2_2_01_BasicMessageExchange(t *testing.T) {
	w := newWorld(t)
	m := w.want("information-request oro=23,24,32", "reply")
	if len(m.DNS) != 1 || m.DNS[0] != netip.MustParseAddr("2001:db8:1::53") || len(m.Search) != 1 || m.RefreshTime != RefreshTime {
		t.Errorf("%+v", m)
	}
	w.did(false, false)
	if len(w.s.bindings) != 0 {
		t.Error("it made a binding")
	}
}

func TestCE_2_2_02_TransactionID(t *testing.T) {
	w := newWorld(t)
	for _, xid := range []uint32{0, 0xffffff} {
		w.xid = xid - 1
		w.want("information-request oro=23", "reply")
	}
}

func TestCE_2_2_03_Constants(t *testing.T) {
	if RefreshTime < dhcpv6.MinRefreshTime || dhcpv6.InformationRequest != 11 {
		t.Error("constants")
	}
}

func TestCE_2_2_04_OptionFormat(t *testing.T) {
	w := newWorld(t)
	ev, _ := w.query("information-request oro=24,32")
	want := "\x07\x00\x00\x01" + "\x00\x01\x00\x06\x00\x03\x00\x01c1" + "\x00\x02\x00\x12" + string(ourDUID) +
		"\x00\x18\x00\x0d\x03lan\x07example\x00" + "\x00\x20\x00\x04\x00\x00\x0a\x8c"
	if got := string(w.step(t0, ev).Send[0].Data); got != want {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// What was asked for, and of that what there is.
func TestCE_2_2_05_Options(t *testing.T) {
	w := newWorld(t)
	_, m := w.ask("information-request oro=23,24,56,103,144,32")
	if len(m.DNS) != 1 || len(m.Search) != 1 || len(m.NTP) != 1 || m.CaptivePortal != "https://example.com/api" || len(m.EncryptedDNS) != 1 || m.RefreshTime == 0 {
		t.Errorf("%+v", m)
	}
	_, m = w.ask("information-request")
	if m.DNS != nil || m.Search != nil || m.NTP != nil || m.CaptivePortal != "" || m.EncryptedDNS != nil || m.RefreshTime != 0 {
		t.Errorf("nothing asked for: %+v", m)
	}
	if _, m = w.ask("information-request oro=23,103 link=guest"); m.DNS != nil || m.CaptivePortal != "" {
		t.Errorf("a link without configuration: %+v", m)
	}
}

// A client identifier comes back; without one the answer has none.
func TestCE_2_2_06_ServerDUID(t *testing.T) {
	w := newWorld(t)
	if m := w.want("information-request client=none oro=23", "reply"); m.ClientID != "" || len(m.DNS) != 1 {
		t.Errorf("%+v", m)
	}
	if m := w.want("information-request client=abc oro=23", "reply"); m.ClientID != dhcpv6test.DUID("abc") {
		t.Errorf("%+v", m)
	}
}

// "The server [...] MUST NOT" put leases into it: a Reply has configuration and nothing else.
func TestCE_2_2_07_Reply(t *testing.T) {
	w := newWorld(t)
	w.want("request pd1 na1 accept", "reply accept auth pd1 2001:db8:1:ff::/64=2700/5400 na1 "+addr1(w)+"=2700/5400")
	w.want("information-request oro=23 server=us", "reply")
}

// "includes an IA option", or another server's identifier.
func TestCE_2_2_08_InvalidInformationRequest(t *testing.T) {
	w := newWorld(t)
	w.wantDropped("information-request oro=23 na1", "IA in an Information-request")
	w.wantDropped("information-request oro=23 pd1", "IA in an Information-request")
	w.wantDropped("information-request oro=23 server=other", "for another server")
	w.wantDropped("information-request oro=23 src=2001:db8:1::7", "source is not link-local")
}

func TestCE_2_2_09_ServerMessageValidation(t *testing.T) { testTypes(t) }

// Every fault has words of its own.
func TestDropReasonsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for i, text := range dropReasons() {
		if (text == "") != (Fault(i) == Valid) || seen[text] || strings.HasSuffix(text, ".") {
			t.Errorf("fault %d is %q", i, text)
		}
		seen[text] = true
	}
}
