// SPDX-License-Identifier: MIT

package client

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

var compareLeases = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b lifetime.Until) bool { return a == b }),
}

var wallTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// savedTestLease is a lease with every field set, at t0.
func savedTestLease(t *testing.T) (Lease, []byte) {
	t.Helper()
	l := restored()
	l.ServerAddr = serverAddr
	l.Info.Search = []string{"lan.example"}
	l.Info.NTP = []dhcpv6.NTPServer{{Addr: netip.MustParseAddr("2001:db8::123")}, {Name: "ntp.example"}}
	l.Info.EncryptedDNS = []dhcpv6.EncryptedDNS{{Priority: 1, Name: "dot.example", Addrs: l.Info.DNS, Params: "\x00\x01\x00\x04\x03dot\xff"}}
	l.Info.Refresh = lifetime.At(t0.Add(600 * time.Second))
	l.Reconfigure = Reconfigure{dhcpv6.ReconfigureKey{1, 2, 255}, 1 << 60}
	l.IAs = append(l.IAs, IA{dhcpv6.PD, 2, []Prefix{{netip.MustParsePrefix("2001:db8:2::/56"), netip.MustParsePrefix("2001:db8:2:ff::/64"), lifetime.Until{}, lifetime.Forever, true}}},
		IA{dhcpv6.NA, 1, []Prefix{{netip.MustParsePrefix("2001:db8::7/128"), netip.Prefix{}, lifetime.Forever, lifetime.Forever, false}}})
	data, err := EncodeLease(l, ourDUID, 7, t0, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	return l, data
}

// Killed and started again in the same boot: every lifetime goes on to the nanosecond, whatever the
// wall clock says.
func TestLeaseOfTheSameBootIsExact(t *testing.T) {
	l, data := savedTestLease(t)
	for _, wall := range []time.Time{wallTime, {}, wallTime.AddDate(56, 0, 0), wallTime.AddDate(0, 0, -1), time.Unix(0, 0)} {
		got, duid, iaid, certainty, err := DecodeLease(data, t0.Add(90*time.Second), wall, "boot-a")
		if err != nil || duid != ourDUID || iaid != 7 || certainty != AgeExact {
			t.Fatalf("DecodeLease at %v: %s %s %s %v", wall, duid, iaid, certainty, err)
		}
		if d := cmp.Diff(l, got, compareLeases); d != "" {
			t.Errorf("at %v (-saved +got):\n%s", wall, d)
		}
	}
	// What ended in between is not there.
	got, _, _, _, err := DecodeLease(data, t0.Add(4000*time.Second), wallTime, "boot-a")
	if err != nil || len(got.Prefixes()) != 1 || got.Prefixes()[0].Prefix.Bits() != 56 {
		t.Errorf("after the end of the /64: %+v %v", got, err)
	}
}

// After another boot nobody knows how old the lease is: it has what was left and is unconfirmed, T1 and
// T2 are over, DUID and IAID are kept. The wall clock changes nothing: it may say 1970 or 2082.
func TestLeaseOfAnotherBootIsShort(t *testing.T) {
	_, data := savedTestLease(t)
	now := time.Unix(20, 0).UTC() // the boot clock starts again
	for _, boot := range []string{"boot-b", ""} {
		for _, wall := range []time.Time{wallTime, {}, wallTime.AddDate(56, 0, 0), time.Unix(0, 0)} {
			got, duid, iaid, certainty, err := DecodeLease(data, now, wall, boot)
			if err != nil || duid != ourDUID || iaid != 7 || certainty != AgeUnknown {
				t.Fatalf("DecodeLease: %s %s %s %v", duid, iaid, certainty, err)
			}
			want := []Prefix{
				{netip.MustParsePrefix("2001:db8:1::/64"), netip.Prefix{}, lifetime.At(now.Add(2000 * time.Second)), lifetime.At(now.Add(4000 * time.Second)), true},
				{netip.MustParsePrefix("2001:db8:2::/56"), netip.MustParsePrefix("2001:db8:2:ff::/64"), lifetime.Until{}, lifetime.Forever, true}}
			if d := cmp.Diff(want, got.Prefixes(), compareLeases); d != "" || !got.T1.Over(now) || !got.T2.Over(now) || !got.Unconfirmed() {
				t.Errorf("T1 %v T2 %v (-want +got):\n%s", got.T1, got.T2, d)
			}
		}
	}
	// Shorter ones are not made longer.
	l := restored()
	l.IAs[0].Prefixes[0].Preferred, l.IAs[0].Prefixes[0].Valid = lifetime.At(t0.Add(20*time.Second)), lifetime.At(t0.Add(30*time.Second))
	data, _ = EncodeLease(l, ourDUID, 1, t0, wallTime, "boot-a")
	got, _, _, _, err := DecodeLease(data, now, wallTime, "boot-b")
	if p := got.Prefixes()[0]; err != nil || p.Preferred.Left(now) != 20*time.Second || p.Valid.Left(now) != 30*time.Second {
		t.Errorf("short lease: %+v %v", p, err)
	}
	// A boot clock that is behind the file cannot be of the same boot.
	if _, _, _, c, err := DecodeLease(data, t0.Add(-time.Second), wallTime, "boot-a"); c != AgeUnknown || err != nil {
		t.Errorf("boot clock before the file: %s %v", c, err)
	}
}

// The file of a box that has no lease still keeps who it is.
func TestLeaseFileKeepsTheIdentity(t *testing.T) {
	data, err := EncodeLease(Lease{}, ourDUID, 7, t0, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	l, duid, iaid, _, err := DecodeLease(data, t0, wallTime, "boot-b")
	if err != nil || duid != ourDUID || iaid != 7 || len(l.IAs) != 0 || l.Server != "" {
		t.Errorf("DecodeLease = %+v %s %s %v", l, duid, iaid, err)
	}
}

// A damaged file is an error and never a wrong lease.
func TestDamagedLeaseIsRefused(t *testing.T) {
	_, data := savedTestLease(t)
	text := string(data)
	for _, change := range [][2]string{
		{`"version": 2`, `"version": 3`}, {`"duid": "0004`, `"duid": "x004`}, {ourDUID.String(), "00"},
		{"2001:db8:1::/64", "2001:db8:1::1/64"}, {"2001:db8:1::/64", "fe80::/64"}, {"2001:db8:1::/64", "192.0.2.0/24"}, {"2001:db8:2::/56", "2001:db8:1::/64"},
		{`"left_s": 4000`, `"left_s": 5000`}, {`"left_s": 4000`, `"left_s": -1`}, {`"left_s": 2000`, `"left_s": 4294967295`},
		{`"until_boot_ns": 9000000000000`, `"until_boot_ns": 9223372036854775807`}, {`"until_boot_ns": 9000000000000`, `"until_boot_ns": -1`},
		{server("s1").String(), ""}, {"fe80::1", "fe80::x"}, {"2001:db8::53", "192.0.2.53"}, {"lan.example", `lan\nexample`},
		{"{", ""}, {"}\n", ""},
	} {
		bad := strings.Replace(text, change[0], change[1], 1)
		if bad == text {
			t.Fatalf("%q is not in\n%s", change[0], text)
		}
		for _, boot := range []string{"boot-a", "boot-b"} {
			if l, duid, _, _, err := DecodeLease([]byte(bad), t0, wallTime, boot); err == nil || duid != "" || l.Server != "" {
				t.Errorf("%q for %q: %+v %v", change[1], change[0], l, err)
			}
		}
	}
	for i := range data[:len(data)-2] {
		if _, _, _, _, err := DecodeLease(data[:i], t0, wallTime, "boot-a"); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
}

// An earlier version took link-local servers: the file is good, they are not.
func TestRFC3646_3_LeaseDropsServersThatNoHostCanAsk(t *testing.T) {
	_, data := savedTestLease(t)
	for _, bad := range []string{"fe80::53", "ff02::fb", "::", "::1"} {
		text := strings.Replace(string(data), `"2001:db8::53"`, `"`+bad+`", "2001:db8::53"`, 1)
		l, _, _, _, err := DecodeLease([]byte(text), t0, wallTime, "boot-a")
		if err != nil || len(l.Info.DNS) != 1 || l.Info.DNS[0] != netip.MustParseAddr("2001:db8::53") {
			t.Errorf("%s: DNS %v, %v, want only 2001:db8::53", bad, l.Info.DNS, err)
		}
	}
}

// What a step asks to persist is what a successor gets; mere ticks and refused messages write nothing.
func TestKillAndRestore(t *testing.T) {
	b := script(t, testConfig, boundAt0)
	data, err := EncodeLease(*b.act.Persist, ourDUID, 1, t0, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		b.step(t0.Add(time.Duration(i)*time.Second), Tick{})
		if b.act.Persist != nil {
			t.Fatalf("a tick at %d s writes the lease", i)
		}
	}
	now := t0.Add(500 * time.Second)
	l, duid, iaid, _, err := DecodeLease(data, now, wallTime, "boot-a")
	if err != nil {
		t.Fatal(err)
	}
	next := newBox(t, Config{DUID: duid, IAs: []Wanted{{Type: dhcpv6.PD, IAID: iaid}}, PointToPoint: true}, randHalf)
	next.step(now, Restored{l})
	next.wantLease("2001:db8:1::/64=1500/3500")
	next.run(`
	501s LinkUp -> send:Rebind,2001:db8:1::/64 wake 8m22s rebinding
	501s Reply t1=1000 t2=1600 2001:db8:1::/64=2000/4000 dns=2001:db8::53 search=lan.example -> persist changed wake 25m1s bound`)
	if next.last.ClientID != ourDUID {
		t.Errorf("client identifier %s", next.last.ClientID)
	}
}

// FuzzDecodeLease: no panic, no lease that could not have been, and encode-decode is stable.
func FuzzDecodeLease(f *testing.F) {
	data, _ := EncodeLease(restored(), ourDUID, 1, t0, wallTime, "boot-a")
	f.Add(data, int64(0), true)
	f.Add([]byte(`{"version":1,"duid":"000401","prefixes":[]}`), int64(math.MaxInt64), false)
	f.Fuzz(func(t *testing.T, data []byte, later int64, same bool) {
		boot := "boot-b"
		if same {
			boot = "boot-a"
		}
		now := t0.Add(time.Duration(max(0, later)))
		l, duid, iaid, _, err := DecodeLease(data, now, wallTime, boot)
		if err != nil {
			return
		}
		for _, p := range l.Prefixes() {
			if p.Valid.Over(now) || p.Valid.Before(p.Preferred) || !dhcpv6.Delegable(p.Prefix) {
				t.Fatalf("prefix %+v", p)
			}
		}
		again, err := EncodeLease(l, duid, iaid, now, wallTime, boot)
		if err != nil {
			t.Fatal(err)
		}
		l2, duid2, iaid2, c, err := DecodeLease(again, now, wallTime, boot)
		if err != nil || duid2 != duid || iaid2 != iaid || c != AgeExact || !l.sameForLAN(l2) {
			t.Fatalf("%+v\nis read again as %+v %v", l, l2, err)
		}
	})
}

// A file as the version before wrote it: the lease is taken over whole.
func TestLeaseFileOfVersion1(t *testing.T) {
	const file = `{"version": 1, "duid": "000463636363636363636363636363636363", "iaid": 1, "boot_id": "boot-a",
		"saved_at_boot_ns": 5000000000000, "saved_at_wall": "2026-11-23T12:00:00Z", "server": "000300017331", "server_addr": "fe80::1",
		"prefixes": [{"prefix": "2001:db8:1::/64", "preferred": {"left_s": 2000, "until_boot_ns": 7000000000000},
			"valid": {"left_s": 4000, "until_boot_ns": 9000000000000}}],
		"t1": {"left_s": 1000, "until_boot_ns": 6000000000000}, "t2": {"left_s": 1600, "until_boot_ns": 6600000000000},
		"dns": ["2001:db8::53"], "search": null}`
	l, duid, iaid, c, err := DecodeLease([]byte(file), t0, wallTime, "boot-a")
	if err != nil || duid != ourDUID || iaid != 1 || c != AgeExact {
		t.Fatalf("DecodeLease: %s %s %s %v", duid, iaid, c, err)
	}
	b := newBox(t, testConfig, randHalf)
	b.step(t0, Restored{l})
	b.wantLease("2001:db8:1::/64=2000/4000")
	b.run(`0s LinkUp -> send:Rebind,2001:db8:1::/64 wake 1s rebinding`)
}
