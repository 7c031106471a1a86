// SPDX-License-Identifier: MIT

package ra

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"oasis6/internal/lifetime"

	"pgregory.net/rapid"
)

// choices is where a random history comes from: a generator, rapid, or the fuzzer's input.
type choices interface{ pick(n int) int }

// randomEvent is one of all events, with few prefixes and hosts so that things meet.
func randomEvent(c choices, now time.Time) Event {
	hosts := []netip.Addr{hostA, hostB, netip.IPv6Unspecified(), dns1, ourLL}
	switch c.pick(9) {
	case 7:
		pio := PrefixInformation{Prefix: prefixA, Valid: uint32(c.pick(2) * 5400)}
		return foreign([]netip.Addr{hostA, hostB, ourLL}[c.pick(3)], func(m *RouterAdvertisement) {
			m.RouterLifetime, m.Managed = uint16(c.pick(3)*900), c.pick(2) > 0
		}, pio, MTU(1500))
	case 0, 1, 2:
		return SetContent{Content: randomContent(c, now)}
	case 3:
		up := linkUp
		up.MAC[5] = byte(c.pick(2))
		return up
	case 4:
		return LinkDown{}
	case 5:
		return PortUp{}
	case 6:
		return Received{Src: hosts[c.pick(len(hosts))], HopLimit: 254 + c.pick(2), Data: rsBytes}
	default:
		return Tick{}
	}
}

func randomContent(c choices, now time.Time) Content {
	ct := Content{DefaultRouter: c.pick(3) > 0, OtherConfig: c.pick(2) > 0, Preference: Preference(c.pick(4)), LinkMTU: uint32(1400 + c.pick(2))}
	ends := []uint32{0, 1, 100, 2000, 5400, 86400, lifetime.Infinity}
	for i, p := range []netip.Prefix{prefixA, prefixB, ulaP} {
		if what := c.pick(8); what > 0 {
			limits := []time.Duration{0, 0, 0, 0, 0, 0, 10 * time.Minute, 2 * time.Hour}
			ct.Prefixes = append(ct.Prefixes, Prefix{Prefix: p, OnLink: i != 1, Autonomous: c.pick(5) > 0, Limit: limits[c.pick(8)],
				DHCPv6PD:  c.pick(3) == 0,
				Preferred: lifetime.FromSeconds(now, ends[c.pick(len(ends))]), Valid: lifetime.FromSeconds(now, ends[what-1])})
		}
	}
	for _, p := range []netip.Prefix{pfx("2001:db8:a::/48"), pfx("fd00:6:6::/48"), prefixB} {
		if what := c.pick(2 * len(ends)); what < len(ends) {
			ct.Routes = append(ct.Routes, Route{Prefix: p, Preference: Preference(c.pick(4)), Valid: lifetime.FromSeconds(now, ends[what])})
		}
	}
	ct.PREF64 = []netip.Prefix{{}, pfx("64:ff9b::/96"), pfx("2001:db8:64::/96")}[c.pick(3)]
	ct.CaptivePortal = []string{"", "https://portal.example/a", "https://portal.example/b"}[c.pick(3)]
	for _, a := range []netip.Addr{dns1, dns2} {
		if c.pick(2) > 0 {
			ct.RDNSS = append(ct.RDNSS, a)
		}
	}
	for _, d := range []string{"lan.example", "example.net"} {
		if c.pick(2) > 0 {
			ct.DNSSL = append(ct.DNSSL, d)
		}
	}
	for _, d := range []string{"dns.example", "doh.example"} {
		if n := c.pick(4); n > 0 {
			ct.EncryptedDNS = append(ct.EncryptedDNS, EncryptedDNS{1, d, []netip.Addr{dns1, dns2}[:n/2], dotParams[:len(dotParams)*min(1, n/2)]})
		}
	}
	return ct
}

var pauses = []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 900 * time.Millisecond, 2 * time.Second,
	3 * time.Second, 20 * time.Second, 10 * time.Minute, 2 * time.Hour}

// play runs one random history; what must hold at every RA is checked by the model. At the end, with
// the link up and nothing new, hosts must have heard what is true.
func play(t failer, c choices, seed uint64, steps int) {
	w := newWorld(t, Config{Resumed: seed%2 == 1}, seeded(seed))
	given := false
	for range steps {
		if c.pick(10) == 0 {
			w.until(w.now + pauses[c.pick(len(pauses))])
			w.restart(w.s.cfg, seeded(seed+1))
			given = false
			continue
		}
		ev := randomEvent(c, boot.Add(w.now))
		_, isContent := ev.(SetContent)
		given = given || isContent
		w.at(w.now+pauses[c.pick(len(pauses))], ev)
		if n := len(w.routers()); n > 3 {
			t.Fatalf("%d routers", n)
		}
	}
	w.step(linkUp)
	if w.s.Clash() != "" {
		w.until(w.s.clash.until.Sub(boot))
	}
	w.until(w.now + 10*time.Second)
	resumed := seed%2 == 1 || len(w.disk) > 0
	if resumed && given != w.s.spoken {
		t.Fatalf("resumed: content given is %v, spoken is %v", given, w.s.spoken)
	}
	if w.s.spoken {
		want, said := w.s.truth(boot.Add(w.now)), w.s.said
		if !want.equal(said) {
			t.Fatalf("hosts were told %+v, true is %+v", said, want)
		}
		if w.wake.IsZero() || w.wake.Sub(boot) > w.now+600*time.Second {
			t.Fatalf("no next RA: wake %v", w.wake)
		}
	}
	checkAnnounced(t, w)
	spoken, last := w.s.spoken, w.step(Stop{Final: true})
	if want := spoken || w.s.cfg.Resumed; (len(last) > 0) != want || want && last[0].ra.RouterLifetime != 0 {
		t.Fatalf("at the end, spoken %v, resumed %v: sent %v", spoken, w.s.cfg.Resumed, last)
	}
}

// checkAnnounced compares the status with the model's account.
func checkAnnounced(t failer, w *world) {
	now := boot.Add(w.now)
	for _, p := range w.s.Announced(now).Prefixes {
		held := w.model.prefixes[p.Prefix]
		// After a restart a prefix counts as held for as long as there is.
		if left := max(0, held.until.Sub(now)); p.Held < left || p.Held > NDValidLimit || p.OnLink != held.onLink || p.Autonomous != held.autonomous {
			t.Fatalf("Announced %+v, hosts hold it for %v, L=%v A=%v", p, left, held.onLink, held.autonomous)
		}
		if _, active := w.model.active(now, p.Prefix); w.s.given && active == p.Stale || !w.s.given && p.Stale == w.isLive(p.Prefix) {
			t.Fatalf("Announced %+v, active %v", p, active)
		}
	}
}

// isLive says whether the prefix is live on disk.
func (w *world) isLive(p netip.Prefix) bool {
	return slices.ContainsFunc(w.disk, func(r Record) bool { return r.Kind == "prefix" && r.Name == p.String() && r.Live })
}

type rapidChoices struct{ t *rapid.T }

func (c rapidChoices) pick(n int) int { return rapid.IntRange(0, n-1).Draw(c.t, "pick") }

type seededChoices struct{ next func() float64 }

func (c seededChoices) pick(n int) int { return int(c.next() * float64(n)) }

type byteChoices struct{ b *[]byte }

func (c byteChoices) pick(n int) int {
	if len(*c.b) == 0 {
		return 0
	}
	v := int((*c.b)[0]) % n
	*c.b = (*c.b)[1:]
	return v
}

// Random histories: many with a plain generator, some with one that shrinks what it finds.
func TestRandomHistories(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 300
	}
	for seed := range uint64(n) {
		play(t, seededChoices{seeded(seed)}, seed, 40)
	}
	rapid.Check(t, func(rt *rapid.T) {
		play(rt, rapidChoices{rt}, rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(1, 20).Draw(rt, "steps"))
	})
}

// A to B and back in every order and at every distance from the floor: the model finds two options
// for one prefix, a stale one with lifetime, or one that is not named.
func TestRFC9096_L13_BackAndForth(t *testing.T) {
	contents := []Content{content(forever(prefixA)), content(forever(prefixB)), content(forever(prefixA), forever(prefixB)), content()}
	for seed := range uint64(1000) {
		r := seeded(seed)
		w := newWorld(t, Config{}, seeded(seed+1))
		w.step(linkUp)
		for range 50 {
			w.at(w.now+pauses[int(r()*float64(len(pauses)))], SetContent{Content: contents[int(r()*4)]})
		}
	}
}

func FuzzSenderStep(f *testing.F) {
	f.Add(uint64(1), []byte{0, 3, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(uint64(2), bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6, 7}, 20))
	f.Fuzz(func(t *testing.T, seed uint64, b []byte) {
		b = b[:min(len(b), 600)]
		play(t, byteChoices{&b}, seed, len(b)/8)
	})
}

// stable checks that what was parsed can be built and reads the same again.
func stable(t *testing.T, opts []Option, build func([]Option) ([]byte, error), parse func([]byte) ([]Option, []Problem)) {
	b, err := build(opts)
	if err != nil {
		t.Fatalf("parsed %+v, which cannot be built: %v", opts, err)
	}
	again, problems := parse(b)
	if len(problems) > 0 || !reflect.DeepEqual(again, opts) {
		t.Fatalf("read %+v, built %x, read %+v, %v", opts, b, again, problems)
	}
	b2, err := build(again)
	if err != nil || !bytes.Equal(b, b2) {
		t.Fatalf("built %x, then %x, %v", b, b2, err)
	}
}

func FuzzParseRA(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Add(unhex(f, radvdHex))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		ra, problems, drop := ParseRA(hostB, 255, b)
		if !bytes.Equal(in, b) {
			t.Fatal("the input was changed")
		}
		if drop != Accepted {
			return
		}
		if len(ra.Options)+len(problems) > len(b)/8 {
			t.Fatalf("%d options and %d problems in %d octets", len(ra.Options), len(problems), len(b))
		}
		head := ra
		stable(t, ra.Options, func(o []Option) ([]byte, error) {
			head.Options = o
			return head.Append(nil)
		}, func(b []byte) ([]Option, []Problem) {
			m, problems, _ := ParseRA(hostB, 255, b)
			m2 := m
			m2.Options = ra.Options
			if !reflect.DeepEqual(m2, ra) {
				t.Fatalf("header %+v, then %+v", ra, m)
			}
			return m.Options, problems
		})
	})
}

func FuzzParseRS(f *testing.F) {
	f.Add(rsBytes, true)
	f.Add(append(bytes.Clone(rsBytes), 1, 1, 0, 0, 0x5e, 0, 0x53, 9, 14, 1, 1, 2, 3, 4, 5, 6), false)
	f.Fuzz(func(t *testing.T, b []byte, unspecified bool) {
		src := hostA
		if unspecified {
			src = netip.IPv6Unspecified()
		}
		rs, _, drop := ParseRS(src, 255, b)
		if drop != Accepted {
			return
		}
		stable(t, rs.Options, func(o []Option) ([]byte, error) { return RouterSolicitation{o}.Append(nil) },
			func(b []byte) ([]Option, []Problem) {
				m, problems, _ := ParseRS(src, 255, b)
				return m.Options, problems
			})
	})
}

// What was built reads the same, octet for octet: any message that can be built is canonical.
func TestRA_38_BuildParseBuild(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := RouterAdvertisement{CurHopLimit: rapid.Uint8().Draw(rt, "hops"), Managed: rapid.Bool().Draw(rt, "M"),
			OtherConfig: rapid.Bool().Draw(rt, "O"), RouterLifetime: rapid.Uint16().Draw(rt, "lifetime"),
			ReachableTime: rapid.Uint32().Draw(rt, "reachable"), RetransTimer: rapid.Uint32().Draw(rt, "retrans")}
		if m.RouterLifetime != 0 {
			m.Preference = rapid.SampledFrom([]Preference{Low, Medium, High}).Draw(rt, "preference")
		}
		for range rapid.IntRange(0, 6).Draw(rt, "options") {
			m.Options = append(m.Options, randomOption(rt))
		}
		b, err := m.Append(nil)
		if err != nil {
			rt.Fatalf("%+v: %v", m, err)
		}
		got, problems, drop := ParseRA(hostB, 255, b)
		if drop != Accepted || len(problems) > 0 || !reflect.DeepEqual(got, m) {
			rt.Fatalf("built %+v\nread  %+v, %v, %v", m, got, problems, drop)
		}
		if b2, err := got.Append(nil); err != nil || !bytes.Equal(b, b2) {
			rt.Fatalf("%x\n%x %v", b, b2, err)
		}
	})
}

func randomOption(rt *rapid.T) Option {
	addr := func() netip.Addr {
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "address")))
	}
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 7:
		return RouteInformation{Prefix: netip.PrefixFrom(addr(), rapid.IntRange(0, 128).Draw(rt, "bits")).Masked(),
			Preference: rapid.SampledFrom([]Preference{Low, Medium, High}).Draw(rt, "preference"), Lifetime: rapid.Uint32().Draw(rt, "lifetime")}
	case 8:
		bits := int(rapid.SampledFrom(pref64Lengths[:]).Draw(rt, "bits"))
		return PREF64{Prefix: netip.PrefixFrom(addr(), bits).Masked(), Lifetime: 8 * rapid.Uint32Range(0, 8191).Draw(rt, "lifetime")}
	case 9:
		return CaptivePortal(rapid.StringMatching(`https://[a-z0-9.]{1,200}/[!-~]{0,40}`).Draw(rt, "uri"))
	case 0:
		return SourceLinkLayer(rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(rt, "mac"))
	case 1:
		return MTU(rapid.Uint32().Draw(rt, "mtu"))
	case 2:
		valid := rapid.Uint32().Draw(rt, "valid")
		return PrefixInformation{Prefix: netip.PrefixFrom(addr(), rapid.IntRange(0, 128).Draw(rt, "bits")).Masked(),
			OnLink: rapid.Bool().Draw(rt, "L"), Autonomous: rapid.Bool().Draw(rt, "A"), DHCPv6PD: rapid.Bool().Draw(rt, "P"),
			Valid: valid, Preferred: rapid.Uint32Range(0, valid).Draw(rt, "preferred")}
	case 3:
		o := RDNSS{Lifetime: rapid.Uint32().Draw(rt, "lifetime")}
		for range rapid.IntRange(1, 20).Draw(rt, "servers") {
			o.Servers = append(o.Servers, addr())
		}
		return o
	case 4:
		o := DNSSL{Lifetime: rapid.Uint32().Draw(rt, "lifetime")}
		for range rapid.IntRange(1, 8).Draw(rt, "domains") {
			o.Domains = append(o.Domains, rapid.StringMatching(`[a-z0-9_-]{1,20}(\.[A-Za-z0-9]{1,10}){0,3}`).Draw(rt, "domain"))
		}
		return o
	case 5:
		o := EncryptedDNSOption{Lifetime: rapid.Uint32().Draw(rt, "lifetime")}
		o.Name = rapid.StringMatching(`[a-z0-9_-]{1,20}(\.[A-Za-z0-9]{1,10}){0,3}`).Draw(rt, "name")
		o.Priority, o.Params = rapid.Uint16().Draw(rt, "priority"), string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "params"))
		for range rapid.IntRange(0, 5).Draw(rt, "addresses") {
			o.Addrs = append(o.Addrs, addr())
		}
		return o
	default:
		return RawOption{Type: 200, Data: rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(rt, "data")}
	}
}

func BenchmarkStep(b *testing.B) {
	c := content(forever(prefixA), forever(ulaP))
	c.RDNSS, c.DNSSL = []netip.Addr{dns2}, []string{"lan.example"}
	s := NewSender(Config{}, half)
	s.Step(boot, linkUp)
	s.Step(boot, SetContent{Content: c})
	now := boot.Add(100 * time.Second)
	for _, bc := range []struct {
		name string
		ev   Event
		gap  time.Duration
	}{{"tick-early", Tick{}, 0}, {"rs-limited", rsFrom(hostA), 0}, {"same-content", SetContent{Content: c}, 0}, {"multicast", Tick{}, 600 * time.Second}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(bc.gap)
				s.Step(now, bc.ev)
			}
		})
	}
	_ = fmt.Sprint(s.Stats())
}
