// SPDX-License-Identifier: MIT

package pd

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
)

// Whatever a site says, what another one has stays as it is: its prefix, its DUID and its IAID are no keys to it.
func TestOneSiteAgainstAnother(t *testing.T) {
	for _, tc := range []struct{ words, want string }{
		{"solicit pd1 2001:db8:1:1::/64", "advertise pd1 2001:db8:1:6::/64=2700/5400"},
		{"request pd1 2001:db8:1:1::/64 duid=a", "reply pd1 2001:db8:1:6::/64=2700/5400"},
		{"solicit rapid pd1 2001:db8:1::/60 duid=a", "reply rapid pd1 2001:db8:1:10::/60=2700/5400"},
		{"renew pd1 2001:db8:1:1::/64 duid=a", "reply pd1 NoBinding"},
		{"rebind pd1 2001:db8:1:1::/64 duid=a", "reply pd1 NoBinding"},
		{"release pd1 2001:db8:1:1::/64 duid=a", "reply Success pd1 NoBinding"},
		{"decline pd1 2001:db8:1:1::/64 duid=a", "reply Success pd1 NoBinding"},
		{"renew pd7 2001:db8:1:1::/64 duid=a", "reply pd7 2001:db8:1:7::/64=2700/5400 2001:db8:1:1::/64=0/0"},
		{"release pd7 2001:db8:1:1::/64", "reply Success"},
		{"request pd1 2001:db8:9::/64", "reply pd1 2001:db8:1:6::/64=2700/5400"}, // reserved for a
	} {
		w := newWorld(t)
		w.change(func(c *Content) { c.Sites = sites("a b c"); c.Pools = prefixes("2001:db8:1::/56 2001:db8:9::/64") })
		w.ask("request pd1 accept")
		w.ask("request site=b pd7 2001:db8:1:7::/64")
		w.change(func(c *Content) { c.Sites = sites("a=2001:db8:9::/64 b c") })
		w.wait(time.Second)
		before, _, _ := strings.Cut(w.dump(), "\n")
		told := len(w.m.sites[keyOfSite("a")].pending)
		w.want(tc.words+" site=b", tc.want)
		after, _, _ := strings.Cut(w.dump(), "\n")
		if after != before || !strings.HasPrefix(after, "a pd1") || len(w.m.sites[keyOfSite("a")].pending) != told || told != 1 {
			t.Errorf("%s: a has %s, had %s, %d", tc.words, after, before, told)
		}
		w.wantRouted("a", "2001:db8:1:1::/64")
	}
}

// A pool that is exhausted is so for those that come late; whoever has something keeps it.
func TestExhaustedPool(t *testing.T) {
	w := newWorld(t)
	w.big = true
	w.change(func(c *Content) { c.Sites = manySites(300) })
	given, none := 0, 0
	for i := range 300 {
		switch got, _ := w.ask(fmt.Sprintf("solicit rapid pd1 site=s%d", i)); got {
		case "reply rapid pd1 NoPrefixAvail":
			none++
		default:
			given++
		}
	}
	if given != 255 || none != 45 {
		t.Errorf("%d given, %d none", given, none)
	}
	w.big = false
	w.want("renew pd1 site=s7", "reply pd1 2001:db8:1:8::/64=2700/5400")
}

// A site that asks and gives back all day is slowed down, alone.
func TestWritesOfOneSiteAreBounded(t *testing.T) {
	w := newWorld(t)
	w.writes = 0
	for range 3600 {
		w.wait(500 * time.Millisecond)
		w.ask("request pd1")
		w.wait(500 * time.Millisecond)
		w.ask("release pd1 2001:db8:1:1::/64")
	}
	if most := writeBurst + int(time.Hour/writeEvery) + 1; w.writes > most || w.writes < most-2 {
		t.Errorf("%d writes in an hour, want %d", w.writes, most)
	}
	if w.m.Stats().Dropped["site changes its leases too often"] == 0 {
		t.Errorf("%+v", w.m.Stats())
	}
	w.want("request site=b pd1", "reply pd1 2001:db8:1:2::/64=2700/5400")

	w = newWorld(t)
	w.writes = 0
	for range 1000 {
		w.ask("request pd1 accept")
		w.ask("request pd1") // says so, and says not
	}
	if w.writes > writeBurst+2 {
		t.Errorf("%d writes", w.writes)
	}
}

// A hundred thousand messages that are broken in any way, from a site with leases: they cost time, but no memory.
func TestFloodOfBrokenMessages(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.ask("request site=b pd1")
	rnd := rand.New(rand.NewPCG(3, 4))
	var seeds [][]byte
	for _, words := range []string{"solicit rapid pd1 ::/60 pd2 na1 accept oro=23,24", "request pd3 2001:db8:1:2::/64", "renew pd1 2001:db8:1:1::/64", "rebind pd9 2001:db8::/1", "release pd4 2001:db8:1:2::/64", "confirm na1 2001:db8::1"} {
		ev, _ := w.query(words)
		seeds = append(seeds, ev.Data)
	}
	broken := func() []byte {
		b := append([]byte(nil), seeds[rnd.IntN(len(seeds))]...)
		for range 1 + rnd.IntN(4) {
			switch rnd.IntN(3) {
			case 0:
				b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
			case 1:
				b = b[:1+rnd.IntN(len(b))]
			default:
				b = append(b, b[rnd.IntN(len(b)):]...)
			}
		}
		return b
	}
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range n {
		act := w.m.Step(w.now.Add(time.Duration(i)*time.Millisecond), Received{Site: keyOfSite("a"), Data: broken()})
		if act.MustSave() {
			w.m.Step(w.now.Add(time.Duration(i)*time.Millisecond), Saved{true})
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d octets more", grown)
	}
	if got := w.m.Routed(keyOfSite("b")); len(got) != 1 || got[0] != prefixes("2001:db8:1:2::/64")[0] {
		t.Errorf("b has %v", got)
	}
	if got := w.m.Bindings(keyOfSite("a"), w.now); len(got) > DefaultMaxPerSite {
		t.Errorf("a has %d bindings", len(got))
	}
}

// busy is a machine with two bound sites, one with a stale lease and one with a reservation.
func busy(t tester) *world {
	w := newWorld(t)
	w.ask("request pd1 pd2 ::/62 accept")
	w.ask("request site=b pd1 accept")
	w.ask("request site=c pd1 pd2")
	w.ask("release site=c pd1 2001:db8:1:3::/64")
	w.change(func(c *Content) {
		c.Taken = prefixes("2001:db8:1::/64 2001:db8:1:2::/64")
		c.Sites = sites("a b c=2001:db8:1:5::/64")
	})
	return w
}

// FuzzStep sends anything as a site: no panic, one answer at most, which is valid for us and for the library; nothing of
// another site changes, but that memories may go; and what follows is a life without surprises.
func FuzzStep(f *testing.F) {
	w := busy(f)
	for _, q := range []string{"solicit rapid pd1 na1 oro=23,24,56,103,144,32 accept", "request pd1 ::/60 pd2 pd3 2001:db8:1:40::/64", "renew pd1 2001:db8:1:1::/64 2001:db8:1:2::/64",
		"rebind pd7 2001:db8:1:2::/64", "release pd1 2001:db8:1:3::/64", "decline pd1 2001:db8:1:1::/64", "confirm na1 2001:db8:1::1", "information-request oro=32"} {
		ev, _ := w.query(q)
		f.Add(ev.Data, byte('a'))
		f.Add(ev.Data, byte('c'))
	}
	f.Add([]byte("\x03\x00\x00\x01\x00\x01\x00\x03abc\x00\x02\x00\x12\x00\x04ssssssssssssssss\x00\x19\x00\x29\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1a\x00\x19\x00\x00\x00\x00\x00\x00\x00\x00\xc8\x20\x01\x0d\xb8\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), byte('b'))
	f.Fuzz(func(t *testing.T, data []byte, from byte) {
		w := busy(t)
		name := string(rune('a' + from%3))
		others := strings.Split(w.dump(), "\n")
		m, _, err := dhcpv6.ParseMessage(data)
		w.odd = m.ClientID != dhcpv6test.DUID("a") // the library refuses DUIDs for what is in them
		act := w.step(w.now, Received{Site: keyOfSite(name), Data: data})
		if len(act.Send) > 1 || err != nil && (len(act.Send) > 0 || act.MustSave()) || len(act.Send) == 1 && act.Send[0].Site != keyOfSite(name) {
			t.Fatalf("%x: %+v", data, act)
		}
		for _, b := range others {
			if !strings.HasPrefix(b, name) && !strings.Contains(w.dump(), strings.TrimSpace(b)) {
				t.Fatalf("%x of %s changes %s to\n%s", data, name, b, w.dump())
			}
		}
		w.restart()
		w.wait(4 * time.Hour)
	})
}
