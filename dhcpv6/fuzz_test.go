// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"bytes"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkMessage reads b: no panic, what was read is written and read back as the same without problems, and
// nothing of b is kept.
func checkMessage(t *testing.T, b []byte) {
	t.Helper()
	want, problems, err := ParseMessage(b)
	if err != nil {
		return
	}
	if len(problems) > maxProblems {
		t.Errorf("%d problems", len(problems))
	}
	overwritten := bytes.Clone(b)
	m, _, _ := ParseMessage(overwritten)
	for i := range overwritten {
		overwritten[i] ^= 0xff
	}
	if !reflect.DeepEqual(m, want) {
		t.Fatalf("%x: octets of the message are kept (-read +after they were overwritten):\n%s", b, cmp.Diff(want, m, comparePrefixes))
	}
	wire := m.Append(nil)
	again, problems, err := ParseMessage(wire)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%x\nwritten as %x\nis read with %v %v", b, wire, problems, err)
	}
	if !reflect.DeepEqual(again, want) {
		t.Fatalf("%x: (-first +again):\n%s", b, cmp.Diff(want, again, comparePrefixes))
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, b := range goldens(f) {
		f.Add(b)
	}
	f.Add(replyWith(iapdOption(1, 10, 16, prefixOption(20, 40, 64, "2001:db8:1::", 0, 13, 0, 2, 0, 6)), option(OptionDomainList, 3, 'l', 'a', 'n', 0),
		option(OptionSolMaxRT, 0, 0, 0, 60), option(OptionStatusCode, 0, 1, 'x')))
	for mt := Solicit; mt <= InformationRequest; mt++ {
		f.Add(everything(mt).Append(nil))
	}
	f.Add(signed(testKey))
	f.Fuzz(checkMessage)
}

// fuzzOption feeds the body of one option to its reader, in a client's and in a server's message.
func fuzzOption(f *testing.F, c OptionCode, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) > 0xffff {
			return
		}
		for _, mt := range []MessageType{Solicit, Reply} {
			checkMessage(t, append([]byte{byte(mt), 0, 0, 0}, option(c, v...)...))
		}
	})
}

func FuzzIAPD(f *testing.F) {
	fuzzOption(f, OptionIAPD, iapdOption(1, 1, 2, prefixOption(1, 2, 64, "2001:db8::"), option(OptionStatusCode, 0, 6, 'n', 'o'))[4:],
		iapdOption(1, 1, 2, prefixOption(1, 2, 59, "2001:db8:dead:bee0::", option(OptionPDExclude, 64, 0x78)...))[4:])
}

func FuzzIANA(f *testing.F) {
	fuzzOption(f, OptionIANA, ianaOption(1, 1, 2, addrOption(1, 2, "2001:db8::1", option(OptionStatusCode, 0, 4)...),
		addrOption(0, 0, "::"), option(OptionStatusCode, 0, 2, 'n', 'o'))[4:])
}

func FuzzDomainList(f *testing.F) {
	fuzzOption(f, OptionDomainList, []byte("\x03lan\x07example\x00\x07EXAMPLE\x03net\x00"), []byte("\x01a\xc0\x00"))
}

func FuzzStatusCode(f *testing.F) { fuzzOption(f, OptionStatusCode, []byte("\x00\x06none left")) }

func FuzzDNSServers(f *testing.F) { fuzzOption(f, OptionDNSServers, make([]byte, 32)) }

func FuzzNTPServer(f *testing.F) {
	fuzzOption(f, OptionNTPServer, slices.Concat(suboption(ntpServerName, []byte("\x03ntp\x07example\x00")),
		addrSuboption(ntpServerAddr, "2001:db8::1"), addrSuboption(ntpMulticastAddr, "ff05::101"), suboption(4, nil)))
}

func FuzzEncryptedDNS(f *testing.F) {
	fuzzOption(f, OptionEncryptedDNS, dnr(1, adn),
		dnr(1, adn, addrsField("2001:db8::53", "ff02::1"), param(0, "\x00\x01"), param(1, "\x03dot\x02h2"), param(3, "\x03\x55"), param(7, "/dns-query{?dns}")))
}

func FuzzAuth(f *testing.F) {
	fuzzOption(f, OptionAuth, append([]byte{3, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, rkapKey}, testKey[:]...), make([]byte, authHeaderLen))
}

func FuzzReconfigureMessage(f *testing.F) { fuzzOption(f, OptionReconfigureMessage, []byte{5}) }

func FuzzReconfigureAccept(f *testing.F) { fuzzOption(f, OptionReconfigureAccept, nil, []byte{0}) }

func FuzzRefreshTime(f *testing.F) {
	fuzzOption(f, OptionRefreshTime, []byte{0, 0, 2, 0x57}, []byte{0xff, 0xff, 0xff, 0xff})
}

func FuzzSolMaxRT(f *testing.F) { fuzzOption(f, OptionSolMaxRT, []byte{0, 0, 0, 60}) }

func FuzzInfMaxRT(f *testing.F) { fuzzOption(f, OptionInfMaxRT, []byte{0, 1, 0x51, 0x80}) }

// FuzzPDExclude: what is excluded lies in the delegated prefix and is what whole numbers say.
func FuzzPDExclude(f *testing.F) {
	f.Add(59, []byte{64, 0x78})
	f.Add(1, append([]byte{128}, make([]byte, 16)...))
	f.Fuzz(func(t *testing.T, from int, v []byte) {
		if from < 1 || from > 128 {
			return
		}
		delegated, _ := netip.MustParseAddr("2001:db8:dead:beef:5555:aaaa:5555:aaaa").Prefix(from)
		p := parser{}
		x := p.exclude(v, 0, delegated)
		if !x.IsValid() {
			if len(p.problems) != 1 {
				t.Fatalf("%x in %s: nothing is excluded, problems %v", v, delegated, p.problems)
			}
			return
		}
		to := int(v[0])
		id := new(big.Int).SetBytes(v[1:])
		id.Rsh(id, uint((len(v)-1)*8-(to-from)))
		id.Lsh(id, uint(128-to))
		id.Add(id, new(big.Int).SetBytes(delegated.Addr().AsSlice()))
		want := netip.PrefixFrom(netip.AddrFrom16([16]byte(id.FillBytes(make([]byte, 16)))), to)
		if x != want || x != x.Masked() || !delegated.Contains(x.Addr()) {
			t.Fatalf("%x in %s excludes %s, want %s", v, delegated, x, want)
		}
	})
}

// FuzzVerifyReconfigure: a message with one Authentication option is believed when the digest is good, and
// after no change of a bit; other octets are not believed.
func FuzzVerifyReconfigure(f *testing.F) {
	f.Add(option(OptionClientID, []byte(clientDUID)...), option(OptionReconfigureMessage, 5), testKey[:], uint16(17))
	f.Add(signed(testKey)[headerLen:], []byte{0, 11}, testKey[:], uint16(0))
	f.Add([]byte{}, option(OptionAuth), make([]byte, 16), uint16(0))
	f.Fuzz(func(t *testing.T, before, after, keyOctets []byte, flip uint16) {
		var key ReconfigureKey
		copy(key[:], keyOctets)
		b := slices.Concat([]byte{byte(Reconfigure), 0, 0, 0}, before)
		if m, _, err := ParseMessage(b); err != nil || VerifyReconfigure(b, m, key) == nil && key != testKey {
			t.Fatalf("%x: %v, or believed with a key that did not sign it", b, err)
		}
		auth := append([]byte{3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, rkapDigest}, make([]byte, 16)...)
		at := len(b) + 4 + 12
		b = slices.Concat(b, option(OptionAuth, auth...), after)
		copy(b[at:], rfc2104(key, b))
		was := bytes.Clone(b)
		m, _, err := ParseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		err = VerifyReconfigure(b, m, key)
		if !bytes.Equal(b, was) {
			t.Fatalf("%x was changed to %x", was, b)
		}
		if want := key != (ReconfigureKey{}) && wellFormed(before) && wellFormed(after); (err == nil) != want {
			t.Fatalf("%x: %v, want it believed: %t", b, err, want)
		}
		b[int(flip)/8%len(b)] ^= 1 << (flip % 8)
		if m, _, err := ParseMessage(b); err == nil && VerifyReconfigure(b, m, key) == nil {
			t.Fatalf("%x: believed with one bit changed", b)
		}
	})
}

// wellFormed says that b is whole options without an Authentication option among them.
func wellFormed(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 || len(b) < 4+int(b[2])<<8+int(b[3]) || b[0] == 0 && b[1] == byte(OptionAuth) {
			return false
		}
		b = b[4+int(b[2])<<8+int(b[3]):]
	}
	return true
}
