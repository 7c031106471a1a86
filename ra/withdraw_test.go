// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// route is the lifetime of the route in the RA; ok says whether it is there.
func (r sentRA) route(p netip.Prefix) (o RouteInformation, ok bool) {
	for _, x := range r.ra.Options {
		if o, is := x.(RouteInformation); is && o.Prefix == p {
			return o, true
		}
	}
	return o, false
}

func (r sentRA) pref64(p netip.Prefix) (lifetime uint32, ok bool) {
	for _, x := range r.ra.Options {
		if o, is := x.(PREF64); is && o.Prefix == p {
			return o.Lifetime, true
		}
	}
	return 0, false
}

func (r sentRA) portal() (uris []string) {
	for _, x := range r.ra.Options {
		if o, is := x.(CaptivePortal); is {
			uris = append(uris, string(o))
		}
	}
	return uris
}

// firstRA is the first RA and the notes, one in each line, for content that the model would not understand.
func firstRA(t *testing.T, cfg Config, c Content) (r sentRA, notes string) {
	t.Helper()
	s := NewSender(cfg, half)
	s.Step(boot, linkUp)
	a := s.Step(boot, SetContent{Content: c})
	for _, n := range a.Notes {
		notes += n.Msg + " " + n.Detail() + "\n"
	}
	for _, d := range a.Send {
		m, problems, drop := ParseRA(ourLL, 255, d.Data)
		if drop != Accepted || len(problems) > 0 {
			t.Fatalf("%v %v", drop, problems)
		}
		r.ra.Options = append(r.ra.Options, m.Options...)
		r.data = append(r.data, d.Data)
	}
	return r, notes
}

var delegation = pfx("2001:db8:a::/48")

func TestRA_21_UplinkDown(t *testing.T) {
	c := full()
	c.Preference = High
	w := startWorld(t, half, c)
	c.DefaultRouter = false
	r := w.at(100*time.Second, SetContent{Content: c})
	if len(r) != 1 || r[0].ra.RouterLifetime != 0 || r[0].data[0][5]&0x18 != 0 || r[0].pio(t, prefixA).Valid != 5400 {
		t.Fatalf("sent %v", r)
	}
	w.until(199 * time.Second)
	n := len(w.sent)
	for i := range 100 { // ten times a second
		c.DefaultRouter = i%2 == 0
		w.at(200*time.Second+time.Duration(i)*100*time.Millisecond, SetContent{Content: c})
	}
	w.until(211 * time.Second)
	if got := w.sent[n:]; len(got) > 5 || slices.Min(gaps(got)) < MinDelayBetweenRAs {
		t.Errorf("%d RAs in 11 s of flapping", len(got))
	}
}

func TestRA_22_UplinkUpAgain(t *testing.T) {
	w := startWorld(t, half, Content{Prefixes: []Prefix{forever(prefixA)}})
	if r := w.at(100*time.Second, SetContent{Content: content(forever(prefixA))}); len(r) != 1 || r[0].ra.RouterLifetime != 2700 {
		t.Errorf("sent %v", r)
	}
}

func TestRA_23_OnlyULA(t *testing.T) {
	c := content(forever(ulaP))
	c.Routes = []Route{{pfx("fd00:6:6::/48"), Medium, fromSeconds(1 << 31)}}
	r := startWorld(t, half, c).sent[0]
	if o, ok := r.route(pfx("fd00:6:6::/48")); r.ra.RouterLifetime != 0 || r.pio(t, ulaP).Valid != 5400 || !ok || o.Lifetime != 5400 {
		t.Errorf("%+v", r.ra)
	}
}

// "This advertisement is independent of having or not having IPv6 connectivity on the WAN interface."
func TestRFC7084_L3_RoutesWithoutUplink(t *testing.T) {
	c := full()
	c.DefaultRouter = false
	r := startWorld(t, half, c).sent[0]
	if o, ok := r.route(delegation); !ok || o != (RouteInformation{delegation, Medium, 5400}) || r.ra.RouterLifetime != 0 {
		t.Errorf("%+v, router lifetime %d", o, r.ra.RouterLifetime)
	}
}

// Erratum 7699: a route that is a prefix too is none. It comes when the prefix goes.
func TestRFC7084_L3_NotBesideTheSamePrefix(t *testing.T) {
	c := content(forever(prefixA), forever(ulaP))
	c.Routes = []Route{{prefixA, Medium, fromSeconds(1 << 31)}, {pfx("fd00:6:6::/48"), Low, fromSeconds(1 << 31)}}
	w := startWorld(t, half, c)
	if _, ok := w.sent[0].route(prefixA); ok || len(w.notes) != 3 { // two prefixes and the role
		t.Errorf("%v, notes %v", w.sent[0].ra.Options, w.notes)
	}
	if o, _ := w.sent[0].route(pfx("fd00:6:6::/48")); o.Preference != Low {
		t.Errorf("preference of the other %v", o)
	}
	c.Prefixes = c.Prefixes[1:]
	if r := w.at(100*time.Second, SetContent{Content: c}); len(r) != 1 {
		t.Fatalf("sent %v", r)
	} else if o, ok := r[0].route(prefixA); !ok || o.Lifetime != 5400 {
		t.Errorf("%+v", o)
	}
}

// Never more than the delegation has, nothing between 1 and 179, and the end is told in its instant.
func TestRFC9096_L15_RouteLifetime(t *testing.T) {
	c := content(forever(prefixA))
	c.Routes = []Route{{delegation, Medium, fromSeconds(7000)}}
	w := startWorld(t, seeded(9), c)
	w.until(8000 * time.Second)
	withdrawn := time.Duration(0)
	for _, r := range w.sent {
		o, ok := r.route(delegation)
		left := max(0, int64((7000*time.Second-r.at)/time.Second))
		want := uint32(min(left, 5400))
		if want < 180 {
			want = 0
		}
		if ok && o.Lifetime != want {
			t.Fatalf("at %v: %d, %d left", r.at, o.Lifetime, left)
		}
		if ok && want == 0 && withdrawn == 0 {
			withdrawn = r.at
		}
	}
	// A nanosecond after 180 s are left, unless the floor was in the way.
	if want := 6820*time.Second + 1; withdrawn < want || withdrawn > want+MinDelayBetweenRAs {
		t.Errorf("withdrawn at %v, want %v", withdrawn, want)
	}
}

// All that is replaced or gone is in each RA with lifetime 0, beside what is new, until no host can hold it.
func TestRA_30_WithdrawnByName(t *testing.T) {
	a, b := full(), full()
	b.RDNSS, b.DNSSL = []netip.Addr{dns1}, []string{"example.net"}
	b.EncryptedDNS = []EncryptedDNS{{1, "doh.example", nil, ""}}
	b.Routes = []Route{{pfx("2001:db8:b::/48"), Medium, fromSeconds(1 << 31)}}
	b.PREF64, b.CaptivePortal = pfx("2001:db8:64::/96"), ""
	w := startWorld(t, half, a)
	w.until(100 * time.Second)
	end := w.sent[len(w.sent)-1].at + 1800*time.Second // of the NAT64 prefix, the shortest
	w.step(SetContent{Content: b})
	w.until(end - 1)
	for _, r := range w.sent[3:] {
		if got := r.leftover(); !reflect.DeepEqual(got, allLeft[1:]) {
			t.Fatalf("at %v: %q", r.at, got)
		}
		if n, ok := r.pref64(pfx("2001:db8:64::/96")); !ok || n != 1800 {
			t.Fatalf("at %v: new NAT64 prefix %d", r.at, n)
		}
		if o, ok := r.route(pfx("2001:db8:b::/48")); !ok || o.Lifetime != 5400 {
			t.Fatalf("at %v: new route %v", r.at, o)
		}
	}
	r := w.at(end+3*time.Second, PortUp{})
	if _, ok := r[0].pref64(pfx("64:ff9b::/96")); ok {
		t.Error("the NAT64 prefix is still named")
	}
	w.until(3 * time.Hour)
	if got := w.sent[len(w.sent)-1].leftover(); len(got) != 0 {
		t.Errorf("later still %q", got)
	}
}

// The portal option has no lifetime: another URI replaces, and "urn:ietf:params:capport:unrestricted" takes it back for
// 90 minutes.
func TestRFC8910_2_PortalComesAndGoes(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	steps := []struct{ uri, want string }{
		{"https://portal.example/a", "[https://portal.example/a]"},
		{"https://portal.example/b", "[https://portal.example/b]"},
		{"", "[" + Unrestricted + "]"},
		{"https://portal.example/a", "[https://portal.example/a]"},
		{Unrestricted, "[" + Unrestricted + "]"},
		{"", "[" + Unrestricted + "]"},
	}
	for i, step := range steps {
		c.CaptivePortal = step.uri
		r := w.at(time.Duration(i+1)*100*time.Second, SetContent{Content: c})
		if len(r) != 1 || fmt.Sprint(r[0].portal()) != step.want {
			t.Fatalf("%d: sent %v", i, r)
		}
	}
	w.until(500*time.Second + NDValidLimit - 1)
	if got := w.sent[len(w.sent)-1].portal(); len(got) != 1 {
		t.Errorf("before the end %q", got)
	}
	if r := w.at(500*time.Second+NDValidLimit+3*time.Second, PortUp{}); len(r) != 1 || r[0].portal() != nil {
		t.Errorf("after the end %v", r)
	}
}

// What is taken away of the new kinds is told at once to hosts that are known, what is given waits for the floor.
func TestTakenAwayOfTheNewKinds(t *testing.T) {
	for name, change := range map[string]func(*Content){
		"route":  func(c *Content) { c.Routes = nil },
		"pref64": func(c *Content) { c.PREF64 = pfx("2001:db8:64::/96") },
		"portal": func(c *Content) { c.CaptivePortal = "" },
	} {
		w := startWorld(t, half, full())
		w.at(5*time.Second, rsFrom(hostA))
		w.at(17*time.Second, Tick{})
		c := full()
		change(&c)
		got := w.step(SetContent{Content: c})
		wantSent(t, got, "17s fe80::a")
		if len(got[0].leftover()) != 1 {
			t.Errorf("%s: %q", name, got[0].leftover())
		}
		wantSent(t, w.until(19*time.Second), "19s ff02::1")
		if name != "pref64" { // there the change back takes away again
			wantSent(t, w.at(20*time.Second, SetContent{Content: full()}))
			wantSent(t, w.until(22*time.Second), "22s ff02::1")
		}
	}
}

func TestRA_31_NoShortLifetimes(t *testing.T) {
	for _, cfg := range []Config{{}, {MaxInterval: 4 * time.Second}, {MaxInterval: 1800 * time.Second}} {
		for _, p := range []Prefix{forever(prefixA), limited(prefixA, time.Second), limited(prefixA, 10*time.Minute), lease(prefixA, 0, 100, 170)} {
			c := full()
			c.Prefixes, c.Routes = []Prefix{p}, append(c.Routes, Route{pfx("2001:db8:b::/48"), Low, fromSeconds(300)})
			w := newWorld(t, cfg, half)
			w.step(linkUp)
			w.step(SetContent{Content: c})
			w.until(400 * time.Second)
			for _, r := range w.sent {
				lifetimes := []uint32{uint32(r.ra.RouterLifetime)}
				for _, o := range r.ra.Options {
					switch o := o.(type) {
					case RDNSS:
						lifetimes = append(lifetimes, o.Lifetime)
						if cfg.MaxInterval != 0 && p.Limit == 0 && (o.Lifetime < uint32(3*cfg.MaxInterval/time.Second) || o.Lifetime < uint32(r.ra.RouterLifetime)) {
							t.Fatalf("at %v: RDNSS %d", r.at, o.Lifetime)
						}
					case DNSSL:
						lifetimes = append(lifetimes, o.Lifetime)
					case EncryptedDNSOption:
						lifetimes = append(lifetimes, o.Lifetime)
					case RouteInformation:
						lifetimes = append(lifetimes, o.Lifetime)
					case PREF64:
						lifetimes = append(lifetimes, o.Lifetime)
					}
				}
				for _, l := range lifetimes {
					if l > 0 && l < 180 {
						t.Fatalf("at %v: %v", r.at, lifetimes)
					}
				}
			}
		}
	}
}

func TestRA_32_DomainsOnTheWire(t *testing.T) {
	c := content(forever(prefixA))
	c.DNSSL = []string{"lan", "a.example.", strings.Repeat("x", 64), strings.Repeat("abc.", 64), "a..b", "xn--bcher-kva.example", "bücher.example"}
	w := startWorld(t, half, c)
	var b []byte
	for _, o := range w.sent[0].ra.Options {
		if d, ok := o.(DNSSL); ok {
			b = wire(t, d)
		}
	}
	want := unhex(t, "1f06 0000 00001518 036c616e00 0161076578616d706c6500 0d786e2d2d62636865722d6b7661 076578616d706c6500")
	want = append(want, make([]byte, (8-len(want)%8)%8)...)
	if !slices.Equal(b, want) {
		t.Errorf("%x, want %x", b, want)
	}
	if n := strings.Count(fmt.Sprint(w.notes), "search domain not advertised"); n != 4 {
		t.Errorf("%d refused: %v", n, w.notes)
	}
}

func TestRA_33_PREF64Lifetime(t *testing.T) {
	for _, c := range []struct {
		most time.Duration
		want uint32
	}{{0, 1800}, {4 * time.Second, 184}, {67 * time.Second, 208}, {1800 * time.Second, 5400}} {
		r, _ := firstRA(t, Config{MaxInterval: c.most}, full())
		if got, ok := r.pref64(pfx("64:ff9b::/96")); !ok || got != c.want {
			t.Errorf("MaxRtrAdvInterval %v: %d, want %d", c.most, got, c.want)
		}
	}
}

// "the lesser of 3 x MaxRtrAdvInterval or 65528 seconds"; other lengths and a used u octet are refused.
func TestRFC8781_4_1_Refused(t *testing.T) {
	for _, p := range []string{"2001:db8::/33", "2001:db8::/128", "2001:db8:0:0:0100::/96", "fe80::/64", "192.0.2.0/32", "ff00::/32"} {
		c := content(forever(prefixA))
		c.PREF64 = pfx(p)
		r, notes := firstRA(t, Config{}, c)
		if len(r.ra.Options) != 2 || !strings.Contains(notes, "NAT64 prefix not advertised") {
			t.Errorf("%s: %v, %v", p, r.ra.Options, notes)
		}
	}
}

func TestRA_34_RoutesRefused(t *testing.T) {
	c := content(forever(prefixA))
	far := fromSeconds(1 << 31)
	c.Routes = []Route{{pfx("::/0"), Medium, far}, {pfx("fe80::/64"), Medium, far}, {pfx("192.0.2.0/24"), Medium, far}, {delegation, Preference(2), far},
		{pfx("2001:db8:a:1::/48"), High, far}, {prefixA, High, far}, {netip.Prefix{}, Medium, far}}
	for i := range 20 {
		c.Routes = append(c.Routes, Route{pfx(fmt.Sprintf("2001:db8:%x::/48", i+0x100)), Medium, far})
	}
	ra, notes := firstRA(t, Config{}, c)
	n := 0
	for _, o := range ra.ra.Options {
		if r, ok := o.(RouteInformation); ok {
			if n++; r.Prefix == delegation && r.Preference != Medium || r.Prefix == prefixA || r.Prefix.Bits() == 0 {
				t.Errorf("%+v", r)
			}
		}
	}
	if refused := strings.Count(notes, "route not advertised"); n != maxRoutes || refused != 5+5 {
		t.Errorf("%d routes, %d refused: %v", n, refused, notes)
	}
	if !strings.Contains(notes, "route not advertised: it would overrule the router lifetime prefix=::/0\n") {
		t.Errorf("%v", notes)
	}
}

func TestRA_35_PFlagLeavesOthers(t *testing.T) {
	for _, on := range []bool{false, true} {
		c := content(forever(prefixA))
		c.Prefixes[0].DHCPv6PD = on
		w := startWorld(t, half, c)
		ra := w.sent[0].ra
		want := PrefixInformation{Prefix: prefixA, OnLink: true, Autonomous: true, DHCPv6PD: on, Valid: 5400, Preferred: 2700}
		if pio := w.sent[0].pio(t, prefixA); pio != want || ra.Managed || ra.OtherConfig || w.s.Announced(boot).Prefixes[0].DHCPv6PD != on {
			t.Errorf("P %v: %+v, M %v, O %v", on, pio, ra.Managed, ra.OtherConfig)
		}
	}
}

// The P flag is set and taken away like any other news.
func TestRFC9762_PFlagIsTold(t *testing.T) {
	c := content(forever(prefixA))
	w := startWorld(t, half, c)
	c.Prefixes = []Prefix{forever(prefixA)}
	c.Prefixes[0].DHCPv6PD = true
	if r := w.at(100*time.Second, SetContent{Content: c}); len(r) != 1 || !r[0].pio(t, prefixA).DHCPv6PD || r[0].data[0][24+3]&0x10 == 0 {
		t.Errorf("sent %v", r)
	}
	if w.saves != 1 {
		t.Errorf("written %d times", w.saves)
	}
}

func TestRA_36_ManyOptions(t *testing.T) {
	c := full()
	c.LinkMTU = 1420
	for i := range 40 {
		c.Prefixes = append(c.Prefixes, forever(pfx(fmt.Sprintf("2001:db8:1:%x::/64", i))))
	}
	w := newWorld(t, Config{}, half)
	w.step(linkUp)
	a := w.s.Step(boot, SetContent{Content: c})
	prefixes, others := 0, 0
	for _, d := range a.Send {
		m, problems, drop := ParseRA(ourLL, 255, d.Data)
		if drop != Accepted || len(problems) > 0 || len(d.Data)+40 > 1280 || m.RouterLifetime != 2700 || m.Options[0] != Option(SourceLinkLayer(ourMAC)) {
			t.Fatalf("%v %v %d octets, %+v", drop, problems, len(d.Data), m)
		}
		for _, o := range m.Options[1:] {
			switch o.(type) {
			case PrefixInformation:
				if prefixes++; others > 0 {
					t.Error("a prefix after other options")
				}
			case MTU:
			default:
				others++
			}
		}
	}
	if len(a.Send) < 2 || prefixes != 41 || others != 6 {
		t.Errorf("%d packets, %d prefixes, %d other options", len(a.Send), prefixes, others)
	}
	// One that is too big alone cannot be content: it is refused there. As an option it is an error, and never cut.
	long := content(forever(prefixA))
	long.CaptivePortal = "https://" + strings.Repeat("x", 248)
	if r, notes := firstRA(t, Config{}, long); r.portal() != nil || !strings.Contains(notes, "captive portal not advertised: longer than 255 octets") {
		t.Errorf("%v %v", r.portal(), notes)
	}
	if _, err := (RouterAdvertisement{Options: []Option{CaptivePortal(strings.Repeat("x", MaxOptions))}}).Split(); err == nil {
		t.Error("an option of more than MaxOptions was sent")
	}
}

// Portals that cannot be URIs.
func TestRFC8910_2_Refused(t *testing.T) {
	for _, u := range []string{"https://a b", "https://ä.example", "x\n", "a\x00"} {
		c := content(forever(prefixA))
		c.CaptivePortal = u
		if r, notes := firstRA(t, Config{}, c); r.portal() != nil || !strings.Contains(notes, "captive portal not advertised") {
			t.Errorf("%q: %v", u, notes)
		}
	}
}

// What the status shows of the new kinds.
func TestAnnouncedNewKinds(t *testing.T) {
	c := full()
	c.Managed, c.OtherConfig = true, true
	w := startWorld(t, half, c)
	a := w.s.Announced(boot)
	if !slices.Equal(a.Routes, []netip.Prefix{delegation}) || a.PREF64 != c.PREF64 || a.CaptivePortal != c.CaptivePortal ||
		!a.Managed || !a.OtherConfig || !slices.Equal(a.EncryptedDNS, []string{"dns.example"}) {
		t.Errorf("%+v", a)
	}
	w.at(100*time.Second, SetContent{Content: content(forever(prefixA))})
	if a := w.s.Announced(boot.Add(w.now)); a.Routes != nil || a.PREF64.IsValid() || a.CaptivePortal != "" || a.Managed {
		t.Errorf("%+v", a)
	}
}
