// SPDX-License-Identifier: MIT

package server

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
)

var compareState = cmp.Options{cmp.AllowUnexported(lifetime.Until{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}

func testState() State {
	return State{Replay: 1 << 60, Bindings: []Binding{
		{Link: "lan", Client: dhcpv6test.DUID("c1"), Type: dhcpv6.PD, IAID: 1, Peer: address("c1"), Reconfigure: true, Leases: []Lease{
			{Prefix: netip.MustParsePrefix("2001:db8:1:ff::/64"), Preferred: at(2700 * time.Second), Valid: at(5400 * time.Second)},
			{Prefix: netip.MustParsePrefix("2001:db8:9::/60"), Valid: at(100 * time.Second), Stale: true},
			{Prefix: netip.MustParsePrefix("fd00:1::/64")}}},
		{Link: "lan", Client: dhcpv6test.DUID("c1"), Type: dhcpv6.NA, IAID: 1, Peer: address("c1"), Leases: []Lease{
			{Prefix: netip.MustParsePrefix("2001:db8:1::17/128"), Preferred: lifetime.Forever, Valid: lifetime.Forever}}},
	}}
}

func encoded(t tester) []byte {
	data, err := EncodeState(testState(), t0, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// In the same boot every second has been counted; in another one, lifetimes are what was left.
func TestStateIsReadBack(t *testing.T) {
	got, err := DecodeState(encoded(t), t0, "boot-a")
	if d := cmp.Diff(testState(), got, compareState); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	got, err = DecodeState(encoded(t), t0.Add(1000*time.Second), "boot-a")
	if err != nil || got.Bindings[0].Leases[0].Valid != at(5400*time.Second) || got.Bindings[0].Leases[1].live() {
		t.Errorf("%+v %v", got, err)
	}
	for _, boot := range []string{"boot-b", ""} {
		now := time.Unix(20, 0).UTC()
		got, err = DecodeState(encoded(t), now, boot)
		l := got.Bindings[0].Leases
		if err != nil || l[0].Valid != lifetime.At(now.Add(5400*time.Second)) || l[0].Preferred != lifetime.At(now.Add(2700*time.Second)) || !l[1].live() ||
			!got.Bindings[1].Leases[0].Valid.IsForever() || got.Replay != 1<<60 {
			t.Errorf("%+v %v", got, err)
		}
	}
	// A boot clock that is behind the file cannot be of the same boot.
	if got, err = DecodeState(encoded(t), t0.Add(-time.Second), "boot-a"); err != nil || got.Bindings[0].Leases[0].Valid != at(5399*time.Second) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	data := encoded(t)
	for _, change := range [][2]string{
		{`"version":1`, `"version":2`}, {`"client":"0003`, `"client":"x003`}, {`"client":"00030001` + "6331", `"client":"`}, {`"IA_PD"`, `"IA_TA"`},
		{`"IA_PD"`, `"IA_NA"`}, {`"IA_NA"`, `"IA_PD"`}, {"fe80:", "2001:db8:"}, {"2001:db8:1:ff::/64", "2001:db8:1:ff::1/64"}, {"2001:db8:1:ff::/64", "fe80::/64"},
		{"2001:db8:1:ff::/64", "fd00:1::/64"}, {`"left_s":5400`, `"left_s":5300`}, {`"left_s":5400`, `"left_s":-1`}, {`"left_s":2700`, `"left_s":4294967295`},
		{`"reconfigure_replay":`, `"reconfigure_replay":-`}, {"{", ""}, {"}\n", ""},
	} {
		bad := strings.Replace(string(data), change[0], change[1], 1)
		if bad == string(data) {
			t.Fatalf("%q is not in\n%s", change[0], data)
		}
		for _, boot := range []string{"boot-a", "boot-b"} {
			if s, err := DecodeState([]byte(bad), t0, boot); err == nil || len(s.Bindings) > 0 || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("%q for %q: %+v %v", change[1], change[0], s, err)
			}
		}
	}
	for i := range data[:len(data)-2] {
		if _, err := DecodeState(data[:i], t0, "boot-a"); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
}

// FuzzDecodeState: no panic, nothing that could not have been, and what was read is written and read as the same.
func FuzzDecodeState(f *testing.F) {
	f.Add(encoded(f), int64(0), true)
	f.Add([]byte(`{"version":1,"bindings":[]}`), int64(math.MaxInt64), false)
	f.Fuzz(func(t *testing.T, data []byte, later int64, same bool) {
		boot := "boot-b"
		if same {
			boot = "boot-a"
		}
		now := t0.Add(time.Duration(max(0, later)))
		st, err := DecodeState(data, now, boot)
		if err != nil {
			return
		}
		for _, b := range st.Bindings {
			for _, l := range b.Leases {
				if l.Valid.Before(l.Preferred) || !dhcpv6.Delegable(l.Prefix) || !linkLocal(b.Peer) || l.live() && l.Valid.Over(now) {
					t.Fatalf("%+v", b)
				}
			}
		}
		again, err := EncodeState(st, now, now, boot)
		if err != nil {
			return // a year that JSON cannot write
		}
		st2, err := DecodeState(again, now, boot)
		if d := cmp.Diff(st, st2, compareState); err != nil || d != "" {
			t.Fatalf("%v (-first +again):\n%s", err, d)
		}
		w := &world{t: t, s: New(testConfig, func() float64 { return 0.5 }), now: now}
		w.step(now, Restored{st})
		w.set(testContent())
		w.step(now.Add(time.Hour), Tick{})
	})
}

// A crash before the write: nothing was said, so nothing is lost. A crash after it: the client has what it was told.
func TestCrashBeforeAndAfterSaved(t *testing.T) {
	w := newWorld(t)
	w.diskFull = true
	w.want("request pd1", "")
	w.did(true, true)
	w.diskFull = false
	w.restart()
	w.wantBound("")
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.wait(1350 * time.Second)
	w.restart()
	w.want("renew pd1 2001:db8:1:ff::/64", "reply pd1 2001:db8:1:ff::/64=2700/5400")
}

// What could not be saved is in the next Persist: with the copy of the request, and by itself after a while.
func TestSavedNotIsSavedAgain(t *testing.T) {
	w := newWorld(t)
	w.diskFull = true
	w.want("request pd1", "")
	w.want("request pd1", "") // a copy: it is not answered either
	w.did(true, false)
	w.diskFull = false
	w.want("request pd1", "reply pd1 2001:db8:1:ff::/64=2700/5400")
	w.did(true, false)
	w.diskFull = true
	w.want("release pd1 2001:db8:1:ff::/64", "")
	w.wait(59 * time.Second)
	w.did(false, false)
	w.diskFull = false
	w.wait(2 * time.Second)
	if w.did(true, false); w.disk.Bindings[0].live() {
		t.Errorf("on disk: %+v", w.disk)
	}
}

// Renewals alone are written once in SaveInterval at most, and at no instant does the disk say that a lease ends before
// the client thinks so.
func TestRenewalsSpareTheFlash(t *testing.T) {
	w := newWorld(t)
	for i := range 20 {
		w.ask("request pd1 na1 client=" + number(i))
	}
	w.writes = 0
	w.oracle = false
	for range 24 * 12 {
		w.wait(5 * time.Minute)
		for i := range 20 {
			w.ask("renew pd1 na1 client=" + number(i)) // far more often than T1
		}
		for i, b := range w.s.bindings {
			for j, l := range b.Leases {
				if on := w.disk.Bindings[i].Leases[j]; on.Prefix != l.Prefix || on.Valid.Before(l.Valid) {
					t.Fatalf("%v: on disk %+v, told %+v", w.now.Sub(t0), on, l)
				}
			}
		}
	}
	if w.writes > 24 || w.writes == 0 {
		t.Errorf("%d writes in 24 hours", w.writes)
	}
}

// A file in which two clients have the same is not believed for the second one.
func TestRestoredLeasesDoNotOverlap(t *testing.T) {
	st := testState()
	other := st.Bindings[0]
	other.Client, other.Peer = dhcpv6test.DUID("c2"), address("c2")
	other.Leases = []Lease{{Prefix: netip.MustParsePrefix("2001:db8:1:f0::/60"), Preferred: at(2700 * time.Second), Valid: at(5400 * time.Second)}}
	st.Bindings = append(st.Bindings, other, st.Bindings[0])
	w := &world{t: t, s: New(testConfig, func() float64 { return 0.5 }), now: t0}
	w.step(t0, Restored{st})
	if w.did(false, true); len(w.s.bindings) != 2 || len(w.s.Bindings(t0)) != 2 {
		t.Errorf("%+v", w.s.Bindings(t0))
	}
}

// Nor is one in which a client has the same twice.
func TestRestoredLeasesOfOneClientDoNotOverlap(t *testing.T) {
	st := testState()
	st.Bindings = st.Bindings[:1]
	lease := st.Bindings[0].Leases[0]
	st.Bindings[0].Leases = []Lease{lease, lease}
	st.Bindings[0].Leases[1].Prefix = netip.MustParsePrefix("2001:db8:1:f0::/60")
	w := &world{t: t, s: New(testConfig, func() float64 { return 0.5 }), now: t0}
	w.step(t0, Restored{st})
	if got := w.s.Bindings(t0); len(got) != 1 || len(got[0].Leases) != 1 || got[0].Leases[0] != lease {
		t.Errorf("%+v", got)
	}
}

// A replay value that could not be saved is not used for a Reconfigure without another attempt to save it.
func TestReplayValueThatWasNotSaved(t *testing.T) {
	w := newWorld(t)
	w.diskFull = true
	w.want("request pd1 accept", "")
	w.diskFull = false
	c := testContent()
	c.Links[0].Info.Search = nil
	w.set(c)
	if w.disk == nil || w.reconfigured(w.act.Send, "c1") != 1 {
		t.Fatalf("on disk %+v, %d messages", w.disk, len(w.act.Send))
	}
}
