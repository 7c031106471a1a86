// SPDX-License-Identifier: MIT

package pd

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/dhcpv6test"
	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
)

// What must be on disk is in Commit; a renewal is not, for an hour.
func TestWhatIsWritten(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		wait    time.Duration
		words   string
		written int
	}{
		{0, "solicit pd1", 0},
		{0, "request pd1", 1},
		{0, "request pd1", 0},
		{time.Minute, "renew pd1", 0},
		{time.Second, "rebind pd1 duid=other", 0},
		{0, "information-request", 0},
		{SaveInterval - 61*time.Second, "renew pd1", 0},
		{time.Second, "renew pd1", 1},
		{SaveInterval, "renew pd1", 0},
		{0, "request pd1 accept", 1},
		{0, "renew pd1", 1}, // it no longer accepts
		{0, "release pd1 2001:db8:1:1::/64", 1},
		{0, "release pd1 2001:db8:1:1::/64", 0},
		{0, "request pd1", 1},
		{0, "request pd1 pd2 pd3", 2},
	} {
		w.wait(tc.wait)
		w.ask(tc.words)
		if len(w.act.Commit) != tc.written {
			t.Errorf("%s: %d written, want %d: %+v", tc.words, len(w.act.Commit), tc.written, w.act.Commit)
		}
	}
	w.wait(5400 * time.Second)
	if len(w.act.Commit) != 3 {
		t.Errorf("%d ends are written", len(w.act.Commit))
	}
}

// On disk a lease lasts longer than any Reply until the next write tells; a crash takes nothing away from a site.
func TestCrashBetweenWrites(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.wait(SaveInterval)
	w.ask("renew pd1")
	w.did(false, false)
	w.restart()
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400")
	w.wait(5399 * time.Second)
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.want("request site=b pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:2::/64=2700/5400")
}

// What cannot be written does not happen: nothing leaves, nothing is routed, nobody loses what is free.
func TestRFC9915_18_3_9_NotSaved(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1 accept")
	w.wait(time.Second)
	before := w.dump()
	w.diskFull = true
	for _, words := range []string{"request site=b pd1 pd2", "release pd1 2001:db8:1:1::/64", "request pd1 pd2 accept", "solicit rapid site=c pd1"} {
		if got, _ := w.ask(words); got != "" || w.dump() != before {
			t.Errorf("%s: %s, and then\n%s\nnot\n%s", words, got, w.dump(), before)
		}
	}
	w.want("solicit site=b pd1", "advertise pd1 2001:db8:1:2::/64=2700/5400")
	w.diskFull = false
	w.want("request site=b pd1", "reply pd1 2001:db8:1:2::/64=2700/5400")
	if len(w.act.Commit) != 5 { // all that failed is written anew
		t.Errorf("%+v", w.act.Commit)
	}
	w.ask("release site=b pd1 2001:db8:1:2::/64")
	if len(w.act.Commit) != 1 {
		t.Errorf("%+v", w.act.Commit)
	}
}

// A site whose lease is safely on disk renews while the disk is full, until a write is due.
func TestRenewalsGoOnWithAFullDisk(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.diskFull = true
	w.wait(1350 * time.Second)
	w.want("renew pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.wait(SaveInterval)
	w.want("renew pd1", "") // it keeps what it has
	w.wantRouted("a", "2001:db8:1:1::/64")
	w.diskFull = false
	w.want("renew pd1", "reply pd1 2001:db8:1:1::/64=2700/5400")
}

// An end that cannot be written is no end: the route stays, and another attempt comes each minute.
func TestEndThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.diskFull = true
	w.writes = 0
	w.wait(5400*time.Second + 10*time.Minute)
	w.wantRouted("a", "2001:db8:1:1::/64")
	if w.writes != 11 {
		t.Errorf("%d attempts in ten minutes", w.writes)
	}
	w.diskFull = false
	w.wait(time.Minute)
	w.wantRouted("a", "")
	w.wantAll("a pd1 2001:db8:1:1::/64=rests/5400")
}

// Messages that fail in the meantime put that attempt not off, and nothing piles up.
func TestFailuresDoNotPileUp(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.diskFull = true
	for range 600 {
		w.wait(10 * time.Second)
		w.ask("request site=b pd1")
	}
	if len(w.m.again) > 3 || len(w.m.unsure) > 2 || w.m.retryAt.After(w.now.Add(retryAfter)) {
		t.Errorf("%d and %d wait, until %v", len(w.m.again), len(w.m.unsure), w.m.retryAt.Sub(w.now))
	}
	w.diskFull = false
	w.wait(retryAfter)
	w.wantRouted("a", "")
}

// So is taking back: it comes later, and in the meantime by each message.
func TestTakingBackThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	w.ask("request site=b pd1")
	w.diskFull = true
	w.change(func(c *Content) { c.Pools = prefixes("2001:db8:2::/56") })
	w.wantAll("a pd1 2001:db8:1:1::/64=2700/5400| b pd1 2001:db8:1:2::/64=2700/5400")
	w.want("renew pd1", "")
	w.diskFull = false
	w.want("renew pd1", "reply pd1 2001:db8:2::/64=2700/5400 2001:db8:1:1::/64=0/5400")
	w.wait(2 * time.Minute)
	w.wantAll("a pd1 2001:db8:1:1::/64=0/5280/stale 2001:db8:2::/64=2580/5280| b pd1 2001:db8:1:2::/64=2580/5280/stale")
}

// Steps put together are one write: all of it stands, or none.
func TestStepsPutTogether(t *testing.T) {
	for _, full := range []bool{false, true} {
		w := newWorld(t)
		w.ask("request site=c pd1")
		before := w.dump()
		w.batch = true
		for _, words := range []string{"request pd1", "request site=b pd1 2001:db8:1:1::/64", "release pd1 2001:db8:1:2::/64", "release site=c pd1 2001:db8:1:1::/64", "request site=b pd2"} {
			ev, _ := w.query(words)
			w.step(w.now, ev)
		}
		after := w.dump()
		w.diskFull = full
		act := w.save()
		if want := map[bool]string{false: after, true: before}[full]; w.dump() != want || len(act.Send) != map[bool]int{false: 5}[full] {
			t.Errorf("disk full %v: %d sent, %s\nwant %s", full, len(act.Send), w.dump(), want)
		}
	}
}

// A damaged store: what two have is the first one's by key, and that is said.
func TestRestoreOfWhatOverlaps(t *testing.T) {
	lease := func(p string, ended uint64, until time.Duration) Lease {
		l := Lease{Prefix: netip.MustParsePrefix(p), Ended: ended}
		if ended > 0 {
			l.Rests = at(until)
		} else {
			l.Valid = at(until)
		}
		return l
	}
	b := func(site string, iaid dhcpv6.IAID, leases ...Lease) Binding {
		return Binding{Site: keyOfSite(site), IAID: iaid, DUID: dhcpv6test.DUID(site), Leases: leases}
	}
	m := New(testConfig)
	act := m.Step(t0, Restored{Bindings: []Binding{
		b("b", 1, lease("2001:db8:1:10::/60", 0, time.Hour), lease("2001:db8:1:30::/64", 7, time.Hour)),
		b("c", 1, lease("2001:db8:1:30::/64", 0, time.Hour), lease("fe80::/64", 0, time.Hour)),
		b("a", 2, lease("2001:db8:1:11::/64", 0, time.Hour), lease("2001:db8:1:12::/64", 0, -time.Hour)),
		b("a", 2, lease("2001:db8:1:40::/64", 0, time.Hour), lease("2001:db8:1:11::/64", 0, time.Hour)),
		b("c", 9),
	}})
	warned := 0
	for _, n := range act.Notes {
		warned += strings.Count(n.Msg, "lease is dropped")
	}
	if warned != 2 || len(act.Changed) > 0 || !act.Wake.IsZero() {
		t.Errorf("%+v", act)
	}
	m.Step(t0, SetContent{testContent()})
	w := &world{t: t, m: m, now: t0}
	w.wantAll("a pd2 2001:db8:1:11::/64=0/3600 2001:db8:1:12::/64=rests/5400 2001:db8:1:40::/64=0/3600| c pd1 2001:db8:1:30::/64=0/3600")
	if m.ended != 1 {
		t.Errorf("%d ends", m.ended) // the dropped one does not count
	}
}

// In another boot nobody knows how much time has passed: lifetimes are what was left.
func TestRestoreInAnotherBoot(t *testing.T) {
	w := newWorld(t)
	w.ask("request pd1")
	now := time.Unix(20, 0).UTC()
	b, err := Decode(w.disk[BindingKey{keyOfSite("a"), 1}], now, "another")
	if err != nil {
		t.Fatal(err)
	}
	m := New(testConfig)
	m.Step(now, Restored{Bindings: []Binding{b}})
	act := m.Step(now, SetContent{testContent()})
	if want := now.Add(5400*time.Second + SaveInterval); len(m.Routed(keyOfSite("a"))) != 1 || !act.Wake.Equal(want) {
		t.Errorf("%v, wake %v, want %v", m.Routed(keyOfSite("a")), act.Wake, want)
	}
}

// After a loss what sites name is theirs, if nobody else has it, and those that name nothing are kept away from it.
func TestLost(t *testing.T) {
	w := newWorld(t)
	w.ask("request site=b pd1 2001:db8:1:2::/64")
	w.lost = true
	w.restart()
	if !w.m.Lost(w.now) {
		t.Fatal("it is not known")
	}
	w.want("request site=c pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.want("renew pd1 2001:db8:1:1::/64", "reply pd1 2001:db8:1:1::/64=2700/5400")
	w.did(true, true)
	if w.noted("lease was lost, and is the site's by its word") != 1 {
		t.Errorf("%+v", w.act.Notes)
	}
	for words, want := range map[string]string{
		"rebind pd2 2001:db8:1:2::/64":          "reply pd2 NoBinding", // it is b's
		"rebind pd2 2001:db8:1::/64":            "reply pd2 NoBinding", // the hub's
		"rebind pd2 2001:db8:9::/64":            "reply pd2 NoBinding", // in no pool
		"rebind pd2 2001:db8:1:40::/59":         "reply pd2 NoBinding", // too large
		"rebind pd2 2001:db8:1:1::/80":          "reply pd2 NoBinding",
		"rebind pd2":                            "reply pd2 NoBinding",
		"rebind na2 2001:db8:1:77::":            "reply na2 NoBinding",
		"renew site=b pd1 2001:db8:1:3::/64":    "reply pd1 2001:db8:1:2::/64=2700/5400 2001:db8:1:3::/64=0/0",
		"request site=b pd2 2001:db8:1:60::/64": "reply pd2 2001:db8:1:60::/64=2700/5400",
	} {
		w.want(words, want)
	}
	w.wait(5400 * time.Second)
	if w.m.Lost(w.now) {
		t.Error("it is lost for ever")
	}
	w.want("rebind pd2 2001:db8:1:5::/64", "reply pd2 NoBinding")
}

var compareBinding = cmp.Options{cmp.AllowUnexported(lifetime.Until{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

func testBinding() Binding {
	return Binding{Site: keyOfSite("a"), IAID: 0xfffffffe, DUID: dhcpv6test.DUID("a"), Reconfigure: true, Leases: []Lease{
		{Prefix: netip.MustParsePrefix("2001:db8:1:ff::/64"), Preferred: at(2700 * time.Second), Valid: at(5400 * time.Second)},
		{Prefix: netip.MustParsePrefix("2001:db8:9::/60"), Valid: at(100 * time.Second), Stale: true, Released: true},
		{Prefix: netip.MustParsePrefix("2001:db8:8::/60"), Ended: 1 << 60, Rests: at(100 * time.Second)},
		{Prefix: netip.MustParsePrefix("2001:db8:7::/60"), Ended: 3}}}
}

func encoded(t tester) []byte {
	data, err := Encode(testBinding(), t0, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRecordIsReadBack(t *testing.T) {
	for _, boot := range []string{"boot-a", "boot-b", ""} {
		got, err := Decode(encoded(t), t0, boot)
		if d := cmp.Diff(testBinding(), got, compareBinding); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	}
	got, err := Decode(encoded(t), t0.Add(1000*time.Second), "boot-a")
	if err != nil || got.Leases[0].Valid != at(5400*time.Second) || got.Leases[1].Valid != (lifetime.Until{}) || got.Leases[2].Rests != (lifetime.Until{}) || got.Leases[2].Ended != 1<<60 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestDamagedRecordIsRefused(t *testing.T) {
	data := encoded(t)
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`}, {`"duid":"0003`, `"duid":"x003`}, {`"duid":"0003000161`, `"duid":"`}, {`"site":"YQ`, `"site":"Y`},
		{"2001:db8:1:ff::/64", "2001:db8:1:ff::1/64"}, {"2001:db8:1:ff::/64", "fe80::/64"}, {"2001:db8:1:ff::/64", "192.0.2.0/24"}, {"2001:db8:1:ff::/64", "2001:db8:9::/60"},
		{`"left_s":5400`, `"left_s":5300`}, {`"left_s":5400`, `"left_s":-1`}, {`"left_s":2700`, `"left_s":4294967295`}, {`"iaid":4`, `"iaid":94`},
		{`"ended":3`, `"ended":-3`}, {`,"ended":1152921504606846976`, ""}, {`"stale":true`, `"stale":true,"ended":4`}, {"{", ""}, {`"leases":[{`, `"leases":[],"x":[{`},
	} {
		bad := strings.Replace(string(data), change[0], change[1], 1)
		if bad == string(data) {
			t.Fatalf("%q is not in\n%s", change[0], data)
		}
		if b, err := Decode([]byte(bad), t0, "boot-a"); err == nil || len(b.Leases) > 0 || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q for %q: %+v %v", change[1], change[0], b, err)
		}
	}
	for i := range data {
		if _, err := Decode(data[:i], t0, "boot-a"); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
	if _, err := Encode(testBinding(), t0, time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), ""); err == nil {
		t.Error("a year that JSON cannot write")
	}
}

// FuzzDecode: no panic, nothing that could not have been, and what was read is written and read as the same.
func FuzzDecode(f *testing.F) {
	f.Add(encoded(f), int64(0), true)
	f.Add([]byte(`{"version":1,"leases":[]}`), int64(math.MaxInt64), false)
	f.Fuzz(func(t *testing.T, data []byte, later int64, same bool) {
		boot := "boot-b"
		if same {
			boot = "boot-a"
		}
		now := t0.Add(time.Duration(max(0, later)))
		b, err := Decode(data, now, boot)
		if err != nil {
			return
		}
		for _, l := range b.Leases {
			if l.Valid.Before(l.Preferred) || !dhcpv6.Delegable(l.Prefix) || l.Ended > 0 && l.Valid != (lifetime.Until{}) {
				t.Fatalf("%+v", l)
			}
		}
		again, err := Encode(b, now, now, boot)
		if err != nil {
			return // a year that JSON cannot write
		}
		b2, err := Decode(again, now, boot)
		if d := cmp.Diff(b, b2, compareBinding); err != nil || d != "" {
			t.Fatalf("%v (-first +again):\n%s", err, d)
		}
		m := New(testConfig)
		m.Step(now, Restored{Bindings: []Binding{b, b2}})
		m.Step(now, SetContent{Content{Pools: prefixes("2001:db8::/32"), Sites: map[wgkey.Public]Site{b.Site: {}}}})
		m.Step(now, Saved{true})
	})
}
