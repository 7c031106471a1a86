// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseMessage: no panic, what was read is written and read back as the same without problems,
// and nothing of the input is kept.
func FuzzParseMessage(f *testing.F) {
	for _, b := range goldens(f) {
		f.Add(b)
	}
	f.Add(replyWith(iapdOption(1, 10, 16, prefixOption(20, 40, 64, "2001:db8:1::", 0, 13, 0, 2, 0, 6)), option(OptionDomainList, 3, 'l', 'a', 'n', 0),
		option(OptionSolMaxRT, 0, 0, 0, 60), option(OptionStatusCode, 0, 1, 'x')))
	f.Fuzz(func(t *testing.T, input []byte) {
		b := bytes.Clone(input)
		m, problems, err := ParseMessage(b)
		if err != nil {
			return
		}
		if len(problems) > maxProblems {
			t.Errorf("%d problems", len(problems))
		}
		for i := range b {
			b[i] ^= 0xff
		}
		wire := m.Append(nil)
		again, problems, err := ParseMessage(wire)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%x\nwritten as %x\nis read with %v %v", input, wire, problems, err)
		}
		if d := cmp.Diff(m, again, comparePrefixes); d != "" {
			t.Fatalf("%x: (-first +again):\n%s", input, d)
		}
	})
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
			m, _, err := ParseMessage(append([]byte{byte(mt), 0, 0, 0}, option(c, v...)...))
			if err != nil {
				t.Fatal(err)
			}
			again, problems, err := ParseMessage(m.Append(nil))
			if err != nil || len(problems) > 0 {
				t.Fatalf("%s %x: %v %v", c, v, problems, err)
			}
			if d := cmp.Diff(m, again, comparePrefixes); d != "" {
				t.Fatalf("%s %x: (-first +again):\n%s", c, v, d)
			}
		}
	})
}

func FuzzIAPD(f *testing.F) {
	fuzzOption(f, OptionIAPD, iapdOption(1, 1, 2, prefixOption(1, 2, 64, "2001:db8::"), option(OptionStatusCode, 0, 6, 'n', 'o'))[4:])
}

func FuzzDomainList(f *testing.F) {
	fuzzOption(f, OptionDomainList, []byte("\x03lan\x07example\x00\x07EXAMPLE\x03net\x00"), []byte("\x01a\xc0\x00"))
}

func FuzzStatusCode(f *testing.F) { fuzzOption(f, OptionStatusCode, []byte("\x00\x06none left")) }

func FuzzDNSServers(f *testing.F) { fuzzOption(f, OptionDNSServers, make([]byte, 32)) }
