// SPDX-License-Identifier: MIT

package server

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

// captures are the messages of other servers' and our own tests, as octets.
func captures(f *testing.F) (all [][]byte) {
	files, err := filepath.Glob("../testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatalf("no captures: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		text := ""
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			text += strings.Join(strings.Fields(line), "")
		}
		b, err := hex.DecodeString(text)
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		all = append(all, b)
	}
	return all
}

// busy is a server with two bound clients and a stale lease.
func busy(t tester) *world {
	w := newWorld(t)
	w.oracle = false
	w.ask("request na1 pd1 accept")
	w.ask("request pd1 client=c2 link=guest")
	c := testContent()
	c.Pools[0].Taken = append(c.Pools[0].Taken, netip.MustParsePrefix("2001:db8:1:fe::/64"))
	w.set(c)
	w.oracle = true
	return w
}

// FuzzServerStep sends anything: no panic, whatever is sent is valid for us and for the library, no binding of
// somebody else changes, and a message without our client's DUID changes none of its.
func FuzzServerStep(f *testing.F) {
	w := busy(f)
	for _, q := range []string{"solicit rapid pd1 na1 oro=23,24,56,103,144,32 accept", "request pd1 ::/60 pd2 na1 2001:db8:9::1", "renew pd1 2001:db8:1:ff::/64 2001:db8:1:1::/64",
		"rebind na1 2001:db8:1::1", "release pd1 2001:db8:1:ff::/64", "decline na1 2001:db8:1::1", "confirm na1 2001:db8:1::1", "information-request oro=32"} {
		ev, _ := w.query(q)
		f.Add(ev.Data)
		ev.Data[0] = 1
		f.Add(ev.Data)
	}
	for _, b := range captures(f) {
		f.Add(b)
		for _, t := range []byte{1, 3, 5, 6} {
			f.Add(append([]byte{t}, b[1:]...))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := busy(t)
		before := w.s.Bindings(w.now)
		m, _, err := dhcpv6.ParseMessage(data)
		w.oracle = m.ClientID == dhcpv6test.DUID("c1") // the library refuses DUIDs for what is in them, and a client's comes back as it is
		act := w.step(w.now, Received{Link: "lan", Src: address("c9"), Data: data})
		if len(act.Send) > 1 || err != nil && (len(act.Send) > 0 || act.Persist != nil || act.Changed) {
			t.Fatalf("%x: %+v", data, act)
		}
		for _, d := range act.Send {
			if d.To != address("c9") || d.Link != "lan" {
				t.Fatalf("answered to %s on %s", d.To, d.Link)
			}
		}
		for _, b := range before {
			if now := w.s.find(b.Client, b.Type, b.IAID); b.Client != m.ClientID && (now == nil || now.Peer != b.Peer || len(now.Leases) != len(b.Leases) || now.Leases[0] != b.Leases[0]) {
				t.Fatalf("%x of %s changes %+v to %+v", data, m.ClientID, b, now)
			}
		}
		w.restart()
		w.wait(2 * time.Hour)
	})
}

// fuzzOption feeds the body of one option in a message of each kind.
func fuzzOption(f *testing.F, c dhcpv6.OptionCode, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		if len(v) > 0xffff {
			return
		}
		w := busy(t)
		for _, q := range []string{"solicit", "request", "renew", "rebind", "release", "decline", "confirm"} {
			ev, _ := w.query(q)
			ev.Data = append(ev.Data, byte(c>>8), byte(c), byte(len(v)>>8), byte(len(v)))
			ev.Data = append(ev.Data, v...)
			if act := w.step(w.now, ev); len(act.Send) == 0 && q != "confirm" && c != dhcpv6.OptionServerID {
				t.Fatalf("%s with %x: no answer", q, v)
			}
		}
		w.wait(time.Minute)
	})
}

func FuzzServerIAPD(f *testing.F) {
	fuzzOption(f, dhcpv6.OptionIAPD, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1a\x00\x19\x00\x00\x00\x00\x00\x00\x00\x00\x3c\x20\x01\x0d\xb8\x00\x01\x00\xf0\x00\x00\x00\x00\x00\x00\x00\x00")
}

func FuzzServerIANA(f *testing.F) {
	fuzzOption(f, dhcpv6.OptionIANA, "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x18\x20\x01\x0d\xb8\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
}

func FuzzServerORO(f *testing.F) {
	fuzzOption(f, dhcpv6.OptionORO, "\x00\x17\x00\x18\x00\x67\x00\x90", "\x00")
}
