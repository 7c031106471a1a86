// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// full has one of each kind.
func full() Content {
	c := content(forever(prefixA))
	c.RDNSS, c.DNSSL = []netip.Addr{dns2}, []string{"lan.example"}
	c.EncryptedDNS = []EncryptedDNS{{1, "dns.example", []netip.Addr{dns1}, dotParams}}
	c.Routes = []Route{{pfx("2001:db8:a::/48"), Medium, fromSeconds(1 << 31)}}
	c.PREF64, c.CaptivePortal = pfx("64:ff9b::/96"), "https://portal.example/api"
	return c
}

// leftover says what the RA withdraws, as text.
func (r sentRA) leftover() (out []string) {
	for _, o := range r.ra.Options {
		switch o := o.(type) {
		case PrefixInformation:
			if o.Valid == 0 {
				out = append(out, fmt.Sprintf("prefix %v L=%v A=%v", o.Prefix, o.OnLink, o.Autonomous))
			}
		case RDNSS:
			if o.Lifetime == 0 {
				out = append(out, fmt.Sprint("server ", o.Servers))
			}
		case DNSSL:
			if o.Lifetime == 0 {
				out = append(out, fmt.Sprint("domain ", o.Domains))
			}
		case EncryptedDNSOption:
			if o.Lifetime == 0 {
				out = append(out, "resolver "+o.Name)
			}
		case RouteInformation:
			if o.Lifetime == 0 {
				out = append(out, fmt.Sprint("route ", o.Prefix))
			}
		case PREF64:
			if o.Lifetime == 0 {
				out = append(out, fmt.Sprint("nat64 ", o.Prefix))
			}
		case CaptivePortal:
			if o == Unrestricted {
				out = append(out, "portal")
			}
		}
	}
	return out
}

var allLeft = []string{"prefix 2001:db8:a::/64 L=true A=true", "route 2001:db8:a::/48", "server [2001:db8:53::53]",
	"domain [lan.example]", "resolver dns.example", "nat64 64:ff9b::/96", "portal"}

// "the list of prefixes being advertised […] SHOULD be recorded on stable storage": the first RA after a crash withdraws
// all that the one before told, all options as well, and goes on for the 90 minutes that a host may hold it.
func TestRA_24_CrashAndOtherContent(t *testing.T) {
	w := startWorld(t, half, full())
	w.until(time.Hour)
	w.restart(Config{}, half)
	w.step(linkUp)
	wantSent(t, w.until(w.now+time.Minute)) // nothing before it is known what is so
	ras := w.step(SetContent{Content: content(forever(prefixB))})
	wantSent(t, ras, "1h1m0s ff02::1")
	if got := ras[0].leftover(); !reflect.DeepEqual(got, allLeft) {
		t.Errorf("withdrawn %q, want %q", got, allLeft)
	}
	if !w.hasNote("prefix of before withdrawn prefix=2001:db8:a::/64") {
		t.Errorf("notes %v", w.notes)
	}
	restored := time.Hour
	w.at(restored+NDValidLimit-time.Second, PortUp{})
	if got := w.sent[len(w.sent)-1].leftover(); len(got) != len(allLeft) {
		t.Errorf("a second before the end: %q", got)
	}
	w.until(w.now + time.Hour)
	if got := w.sent[len(w.sent)-1].leftover(); len(got) != 0 {
		t.Errorf("much later: %q", got)
	}
	if n := len(w.disk); n != 1 {
		t.Errorf("%d records on disk, want the new prefix: %v", n, w.disk)
	}
}

// The end of a prefix that had been withdrawn before the crash is not put off by it.
func TestRFC9096_L13_WithdrawnBeforeTheCrash(t *testing.T) {
	w := startWorld(t, half, content(forever(prefixA)))
	w.until(100 * time.Second)
	w.step(SetContent{Content: content(forever(prefixB))})
	end := 32*time.Second + NDValidLimit
	for range 3 {
		w.at(w.now+20*time.Minute, Tick{})
		w.restart(Config{}, half)
		w.step(linkUp)
		w.step(SetContent{Content: content(forever(prefixB))})
	}
	w.at(end-time.Second, PortUp{})
	if r := w.sent[len(w.sent)-1]; !r.has(prefixA) {
		t.Errorf("at %v not named any more", r.at)
	}
	if r := w.at(end+3*time.Second, PortUp{}); len(r) != 1 || r[0].has(prefixA) {
		t.Errorf("still named: %v", r)
	}
}

// A and L of the withdrawal are as they were, also over the crash, and only once for each prefix.
func TestRFC9096_L13_FlagsSurviveTheCrash(t *testing.T) {
	p := forever(prefixA)
	p.OnLink = false
	q := forever(prefixB)
	q.Autonomous = false
	w := startWorld(t, half, content(p, q))
	w.restart(Config{}, half)
	w.step(linkUp)
	r := w.step(SetContent{Content: Content{}})[0]
	if a, b := r.pio(t, prefixA), r.pio(t, prefixB); a != (PrefixInformation{Prefix: prefixA, Autonomous: true}) ||
		b != (PrefixInformation{Prefix: prefixB, OnLink: true}) || r.ra.RouterLifetime != 0 {
		t.Errorf("%+v, %+v, router %d", a, b, r.ra.RouterLifetime)
	}
}

// The boot clock begins anew with each boot, and no other clock is asked: what a record says of its Hold is an instant
// of this boot, and nothing is held for more than 90 minutes from now.
func TestRA_25_NoClockIsTrusted(t *testing.T) {
	s := NewSender(Config{}, half)
	now := boot.Add(5 * time.Second) // of the new boot
	s.Step(now, Restored{[]Record{
		{Kind: "prefix", Name: "2001:db8:a::/64", Live: true},
		{Kind: "prefix", Name: "2001:db8:b::/64", Hold: boot.Add(10 * 365 * 24 * time.Hour)},
		{Kind: "prefix", Name: "2001:db8:c::/64", Hold: boot.Add(-10 * 365 * 24 * time.Hour)},
		{Kind: "rdnss", Name: "2001:db8::53", Hold: boot.Add(65 * time.Second)},
	}})
	held := map[string]time.Duration{}
	for _, p := range s.Announced(now).Prefixes {
		held[p.Prefix.String()] = p.Held
	}
	if want := (map[string]time.Duration{"2001:db8:a::/64": NDValidLimit, "2001:db8:b::/64": NDValidLimit}); !reflect.DeepEqual(held, want) {
		t.Errorf("held %v, want %v", held, want)
	}
}

// What cannot be used is left out, said once, and disturbs nothing.
func TestRA_26_DamagedRecords(t *testing.T) {
	s := NewSender(Config{}, half)
	hold := boot.Add(time.Hour)
	a := s.Step(boot, Restored{[]Record{
		{Kind: "prefix", Name: "2001:db8:a::1/64", OnLink: true, Live: true}, // masked
		{Kind: "prefix", Name: "2001:db8:a::/64", Live: true},                // twice
		{Kind: "prefix", Name: "fe80::/64", Live: true},
		{Kind: "prefix", Name: "::/0", Live: true},
		{Kind: "route", Name: "::/0", Live: true},
		{Kind: "prefix", Name: "192.0.2.0/24", Live: true},
		{Kind: "prefix", Name: "2001:db8:a::", Live: true},
		{Kind: "rdnss", Name: "192.0.2.1", Live: true},
		{Kind: "rdnss", Name: "ff02::1", Live: true},
		{Kind: "rdnss", Name: "fe80::1%eth0", Live: true},
		{Kind: "dnssl", Name: "a..b", Hold: hold},
		{Kind: "encrypted dns", Name: "", Hold: hold},
		{Kind: "pref64", Name: "2001:db8::/33", Hold: hold},
		{Kind: "captive portal", Name: "https://a b", Live: true},
		{Kind: "captive portal", Name: Unrestricted, Live: true},
		{Kind: "nonsense", Name: "2001:db8::/64", Live: true},
		{},
	}})
	if len(a.Notes) != 1 || a.Notes[0].Detail() != "records=15" || len(a.Send) != 0 || a.Persist {
		t.Errorf("%+v", a)
	}
	want := []Record{{Kind: "prefix", Name: "2001:db8:a::/64", OnLink: true, Live: true}}
	if got := s.Records(boot); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	var many []Record
	for i := range 1000 {
		many = append(many, Record{Kind: "prefix", Name: fmt.Sprintf("2001:db8:0:%x::/64", i), Live: true})
	}
	s = NewSender(Config{}, half)
	if a := s.Step(boot, Restored{many}); len(s.told) != maxRestored || len(a.Notes) != 1 {
		t.Errorf("%d taken, notes %v", len(s.told), a.Notes)
	}
	s.Step(boot, linkUp)
	s.Step(boot, SetContent{})
	if len(s.told) != maxStale {
		t.Errorf("%d withdrawn, want %d", len(s.told), maxStale)
	}
	for _, empty := range [][]Record{nil, {}} { // no file: as new
		w := newWorld(t, Config{}, half)
		w.step(Restored{empty})
		w.step(linkUp)
		wantSent(t, w.step(SetContent{Content: Content{}}))
	}
}

// A day with a lease that is renewed each 20 minutes: written once, when it is told first.
func TestRA_27_RenewalsAreNotWritten(t *testing.T) {
	w := newWorld(t, Config{}, seeded(27))
	w.step(linkUp)
	for i := range 72 {
		at := time.Duration(i) * 20 * time.Minute
		c := full()
		c.Prefixes = []Prefix{lease(prefixA, at, 2700, 5400)}
		w.at(at, SetContent{Content: c})
		w.step(rsFrom(hostA))
	}
	w.until(24 * time.Hour)
	if w.saves != 1 || len(w.sent) < 100 {
		t.Errorf("written %d times in a day with %d RAs", w.saves, len(w.sent))
	}
	// A change costs one when it is told, one when nobody can hold the old any more.
	c := full()
	c.Prefixes = []Prefix{forever(prefixB)}
	w.step(SetContent{Content: c})
	w.until(30 * time.Hour)
	if w.saves != 3 {
		t.Errorf("written %d times, want 3", w.saves)
	}
}

// On disk before on the wire: the Step that sends something new for the first time says Persist.
func TestRFC9096_L13_WrittenBeforeItIsTold(t *testing.T) {
	s := NewSender(Config{}, half)
	s.Step(boot, linkUp)
	a := s.Step(boot, SetContent{Content: full()})
	if !a.Persist || len(a.Send) == 0 || len(s.Records(boot)) != 7 {
		t.Errorf("Persist %v, %d sent, %v", a.Persist, len(a.Send), s.Records(boot))
	}
	for _, r := range s.Records(boot) {
		if !r.Live || !r.Hold.IsZero() {
			t.Errorf("%+v: a live record has no end", r)
		}
	}
	now := boot.Add(100 * time.Second)
	a = s.Step(now, SetContent{Content: Content{}})
	if !a.Persist || len(a.Send) == 0 {
		t.Errorf("withdrawal: Persist %v, %d sent", a.Persist, len(a.Send))
	}
	for _, r := range s.Records(now) {
		if r.Live || !r.Hold.After(now) {
			t.Errorf("%+v after the withdrawal", r)
		}
	}
}

// The box comes back and gets the same prefix: not for one RA do hosts hear of its end, and the LAN keeps its subnet
// meanwhile.
func TestRA_28_SamePrefixAfterTheRestart(t *testing.T) {
	w := startWorld(t, half, full())
	w.until(time.Hour)
	w.restart(Config{}, half)
	for _, p := range w.s.Announced(boot.Add(w.now)).Prefixes {
		if p.Stale || p.Held != NDValidLimit || p.Prefix != prefixA {
			t.Errorf("before the first content: %+v", p)
		}
	}
	w.step(linkUp)
	saves := w.saves
	w.at(w.now+5*time.Second, SetContent{Content: full()})
	for _, r := range w.until(w.now + 3*time.Hour) {
		if left := r.leftover(); len(left) != 0 {
			t.Fatalf("at %v withdrawn: %q", r.at, left)
		}
	}
	if w.saves != saves {
		t.Errorf("written %d times for nothing", w.saves-saves)
	}
	if w.hasNote("withdrawn") {
		t.Errorf("notes %v", w.notes)
	}
}

// Live on disk, and the box has nothing to speak of: hosts are told all the same that it is over.
func TestRFC9096_L13_RestoredIsToldWithoutAPrefix(t *testing.T) {
	w := startWorld(t, half, full())
	w.restart(Config{}, half)
	w.step(SetContent{Content: Content{}}) // the link is down
	if p := w.s.Announced(boot).Prefixes; len(p) != 1 || p[0].Stale {
		t.Errorf("nobody was told yet: %+v", p)
	}
	ras := w.at(10*time.Second, linkUp)
	if len(ras) != 1 || ras[0].ra.RouterLifetime != 0 || !reflect.DeepEqual(ras[0].leftover(), allLeft) {
		t.Errorf("%v", ras)
	}
}

// The box goes for good before it knew what is so: what led through it is withdrawn, prefixes are not its to end.
func TestRFC9096_L13_FinalBeforeTheContent(t *testing.T) {
	w := startWorld(t, half, full())
	w.restart(Config{}, half)
	w.step(linkUp)
	ras := w.step(Stop{Final: true})
	if len(ras) != 1 || ras[0].ra.RouterLifetime != 0 || !reflect.DeepEqual(ras[0].leftover(), allLeft[1:]) {
		t.Errorf("%q", ras[0].leftover())
	}
}

// The stop for good is on disk too: what it withdrew is not live at the next boot.
func TestRFC9096_L13_FinalIsWritten(t *testing.T) {
	w := startWorld(t, half, full())
	w.step(Stop{Final: true})
	live := 0
	for _, r := range w.disk {
		if r.Live {
			live++
		}
	}
	if live != 1 || len(w.disk) != 7 {
		t.Errorf("%d live of %v, want the prefix only", live, w.disk)
	}
}

func FuzzRestored(f *testing.F) {
	f.Add("prefix", "2001:db8:a::/64", true, int64(0))
	f.Add("captive portal", "https://a.example", false, int64(time.Hour))
	f.Add("encrypted dns", "dns.example", false, int64(1<<62))
	f.Add("rdnss", "fe80::1", true, int64(-1))
	f.Fuzz(func(t *testing.T, kind, name string, live bool, hold int64) {
		s := NewSender(Config{}, half)
		rec := Record{Kind: kind, Name: name, Live: live, Hold: boot.Add(time.Duration(hold))}
		a := s.Step(boot, Restored{[]Record{rec, rec}})
		s.Step(boot, linkUp)
		a2 := s.Step(boot, SetContent{Content: content(forever(prefixA))})
		for _, d := range append(a.Send, a2.Send...) {
			if _, problems, drop := ParseRA(ourLL, 255, d.Data); drop != Accepted || len(problems) > 0 {
				t.Fatalf("%+v: %v %v: %x", rec, drop, problems, d.Data)
			}
		}
		if len(a2.Send) == 0 || len(s.told) > 2 {
			t.Fatalf("%+v: %d sent, %v", rec, len(a2.Send), s.told)
		}
		again := NewSender(Config{}, half)
		records := s.Records(boot)
		again.Step(boot, Restored{records})
		if len(again.told) != len(records) {
			t.Fatalf("%v taken back as %v", records, again.told)
		}
	})
}
