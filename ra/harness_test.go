// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/internal/note"
)

// boot is where virtual time begins: the boot clock's epoch, so that nothing may take it for "unset".
var boot = time.Unix(0, 0).UTC()

var (
	ourLL   = netip.MustParseAddr("fe80::200:5eff:fe00:5301")
	hostA   = netip.MustParseAddr("fe80::a")
	hostB   = netip.MustParseAddr("fe80::b")
	ourMAC  = [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, 0x01}
	prefixA = netip.MustParsePrefix("2001:db8:a::/64")
	prefixB = netip.MustParsePrefix("2001:db8:b::/64")
	ulaP    = netip.MustParsePrefix("fd00:6:6::/64")
	dns1    = netip.MustParseAddr("2001:db8:a::1")
	dns2    = netip.MustParseAddr("2001:db8:53::53")
	linkUp  = LinkUp{MAC: ourMAC, HasMAC: true, LinkLocal: ourLL}
	rsBytes = []byte{133, 0, 0, 0, 0, 0, 0, 0}
)

// failer is what testing.TB and rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func rsFrom(src netip.Addr) Received { return Received{Src: src, HopLimit: 255, Data: rsBytes} }

// seeded is a source of randomness that repeats.
func seeded(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 6)).Float64 }

func half() float64 { return 0.5 }

// forever is a prefix without end, with A and L.
func forever(p netip.Prefix) Prefix {
	return Prefix{Prefix: p, OnLink: true, Autonomous: true, Preferred: lifetime.Forever, Valid: lifetime.Forever}
}

// lease is a prefix with lifetimes in seconds from d after boot.
func lease(p netip.Prefix, d time.Duration, preferred, valid uint32) Prefix {
	now := boot.Add(d)
	return Prefix{Prefix: p, OnLink: true, Autonomous: true,
		Preferred: lifetime.FromSeconds(now, preferred), Valid: lifetime.FromSeconds(now, valid)}
}

func content(prefixes ...Prefix) Content { return Content{DefaultRouter: true, Prefixes: prefixes} }

// sentRA is one RA that left the sender: all packets to one destination at one instant.
type sentRA struct {
	at   time.Duration
	to   netip.Addr
	ra   RouterAdvertisement // options of all packets, without the repeated link-layer address
	data [][]byte
}

func (r sentRA) multicast() bool { return r.to == AllNodes }

func (r sentRA) pio(t failer, p netip.Prefix) PrefixInformation {
	t.Helper()
	for _, o := range r.ra.Options {
		if pio, ok := o.(PrefixInformation); ok && pio.Prefix == p {
			return pio
		}
	}
	t.Fatalf("RA at %v has no prefix information for %v: %v", r.at, p, r.ra)
	return PrefixInformation{}
}

func (r sentRA) has(p netip.Prefix) bool {
	return slices.ContainsFunc(r.ra.Options, func(o Option) bool {
		pio, ok := o.(PrefixInformation)
		return ok && pio.Prefix == p
	})
}

// server is the lifetime of the DNS server in the RA; ok says whether it is there.
func (r sentRA) server(a netip.Addr) (lifetime uint32, ok bool) {
	for _, o := range r.ra.Options {
		if o, isRDNSS := o.(RDNSS); isRDNSS && slices.Contains(o.Servers, a) {
			return o.Lifetime, true
		}
	}
	return 0, false
}

func (r sentRA) domain(d string) (lifetime uint32, ok bool) {
	for _, o := range r.ra.Options {
		if o, isDNSSL := o.(DNSSL); isDNSSL && slices.Contains(o.Domains, d) {
			return o.Lifetime, true
		}
	}
	return 0, false
}

// world drives one Sender in virtual time and checks with the model, at every RA, what must hold
// always.
type world struct {
	t     failer
	s     *Sender
	now   time.Duration // since boot
	wake  time.Time
	sent  []sentRA
	notes []note.Note
	model model
}

func newWorld(t failer, cfg Config, rand func() float64) *world {
	t.Helper()
	return &world{t: t, s: NewSender(cfg, rand), model: newModel()}
}

// startWorld has the link up and the content set at once.
func startWorld(t failer, rand func() float64, c Content) *world {
	t.Helper()
	w := newWorld(t, Config{}, rand)
	w.step(linkUp)
	w.step(SetContent{Content: c})
	return w
}

func (w *world) step(ev Event) []sentRA {
	w.t.Helper()
	now := boot.Add(w.now)
	w.model.before(ev)
	a := w.s.Step(now, ev)
	w.wake = a.Wake
	w.notes = append(w.notes, a.Notes...)
	ras := w.group(a.Send)
	w.model.check(w.t, now, ev, ras)
	w.sent = append(w.sent, ras...)
	if !a.Wake.IsZero() && !a.Wake.After(now) {
		w.t.Fatalf("at %v after %T: wake %v is not in the future", w.now, ev, a.Wake.Sub(boot))
	}
	return ras
}

// group makes one sentRA of the packets to the same destination.
func (w *world) group(send []Datagram) []sentRA {
	w.t.Helper()
	var out []sentRA
	for _, d := range send {
		ra, problems, drop := ParseRA(ourLL, 255, d.Data)
		if drop != Accepted || len(problems) > 0 {
			w.t.Fatalf("at %v: own RA does not parse: %v %v: %x", w.now, drop, problems, d.Data)
		}
		if len(d.Data) > 1280-40 {
			w.t.Fatalf("at %v: RA of %d octets", w.now, len(d.Data))
		}
		if n := len(out); n > 0 && out[n-1].to == d.To {
			out[n-1].data = append(out[n-1].data, d.Data)
			rest := ra.Options
			if _, ok := ra.sourceLinkLayer(); ok {
				rest = rest[1:]
			}
			out[n-1].ra.Options = append(out[n-1].ra.Options, rest...)
			continue
		}
		out = append(out, sentRA{at: w.now, to: d.To, ra: ra, data: [][]byte{d.Data}})
	}
	return out
}

// until runs the timer up to and including d after boot and returns what was sent meanwhile.
func (w *world) until(d time.Duration) []sentRA {
	w.t.Helper()
	first := len(w.sent)
	for !w.wake.IsZero() && w.wake.Sub(boot) <= d {
		w.now = w.wake.Sub(boot)
		w.step(Tick{})
	}
	w.now = d
	return w.sent[first:]
}

// at runs the timer to d and then gives ev; it returns what ev caused at once.
func (w *world) at(d time.Duration, ev Event) []sentRA {
	w.t.Helper()
	w.until(d)
	return w.step(ev)
}

func (w *world) hasNote(text string) bool {
	return slices.ContainsFunc(w.notes, func(n note.Note) bool { return strings.Contains(n.Msg+" "+n.Detail(), text) })
}

// wantSent compares times and destinations, "3s ff02::1".
func wantSent(t failer, got []sentRA, want ...string) {
	t.Helper()
	var g []string
	for _, r := range got {
		g = append(g, fmt.Sprintf("%v %v", r.at, r.to))
	}
	if !slices.Equal(g, want) {
		t.Fatalf("sent %q, want %q", g, want)
	}
}

func multicasts(ras []sentRA) []sentRA {
	return slices.DeleteFunc(slices.Clone(ras), func(r sentRA) bool { return !r.multicast() })
}

// resolver is the option for the encrypted resolver; ok says whether it is there, once.
func (r sentRA) resolver(name string) (o EncryptedDNSOption, ok bool) {
	n := 0
	for _, x := range r.ra.Options {
		if e, is := x.(EncryptedDNSOption); is && e.Name == name {
			o, n = e, n+1
		}
	}
	return o, n == 1
}

// model is a slow and obvious account of what hosts were told, independent of the sender's table.
type model struct {
	content  Content
	up       bool
	stopped  bool
	last     time.Time
	hadLast  bool
	prefixes map[netip.Prefix]heldPrefix
	servers  map[netip.Addr]time.Time
	resolved map[string]heldResolver
	named    []netip.Addr // neighbors of the last SetContent, for as long as a round may be put off
	namedAt  time.Time
	sources  map[netip.Addr]bool
}

type heldResolver struct {
	until time.Time
	addrs []netip.Addr
}

type heldPrefix struct {
	until              time.Time
	onLink, autonomous bool
}

func newModel() model {
	return model{prefixes: map[netip.Prefix]heldPrefix{}, servers: map[netip.Addr]time.Time{},
		resolved: map[string]heldResolver{}, sources: map[netip.Addr]bool{}}
}

func (m *model) before(ev Event) {
	switch ev := ev.(type) {
	case SetContent:
		m.content = ev.Content
	case LinkUp:
		m.up = true
	case LinkDown:
		m.up = false
	case Received:
		m.sources[ev.Src] = true
	}
}

// active is the prefix of the content, if it is valid at now.
func (m *model) active(now time.Time, p netip.Prefix) (Prefix, bool) {
	for _, q := range m.content.Prefixes {
		if q.Prefix == p {
			return q, q.Valid.Seconds(now) > 0
		}
	}
	return Prefix{}, false
}

// limits are the longest Limit in seconds of all valid prefixes, and of those that are not ULA; 0 if one of them has none.
func (m *model) limits(now time.Time) (all, global uint32) {
	none := [2]bool{}
	for _, p := range m.content.Prefixes {
		if p.Valid.Seconds(now) == 0 {
			continue
		}
		isULA := ula.Contains(p.Prefix.Addr())
		none[0], none[1] = none[0] || p.Limit == 0, none[1] || p.Limit == 0 && !isULA
		l := max(12, uint32(p.Limit/time.Second))
		if all = max(all, l); !isULA {
			global = max(global, l)
		}
	}
	if none[0] {
		all = 0
	}
	if none[1] {
		global = 0
	}
	return all, global
}

func (m *model) dnsLifetimes(now time.Time) (least, most uint32) {
	if all, _ := m.limits(now); all > 0 {
		return min(all, 2700), min(all, 5400)
	}
	return 2700, 5400
}

func (m *model) check(t failer, now time.Time, ev Event, ras []sentRA) {
	t.Helper()
	stop, isStop := ev.(Stop)
	if c, ok := ev.(SetContent); ok {
		m.named, m.namedAt = c.Neighbors, now
	}
	if now.Sub(m.namedAt) > tellEvery {
		m.named = nil
	}
	if len(ras) > 0 && (!m.up || m.stopped) {
		t.Fatalf("at %v: %T: RA from a sender that is down or stopped", now.Sub(boot), ev)
	}
	for _, r := range ras {
		if r.multicast() {
			if m.hadLast && now.Sub(m.last) < MinDelayBetweenRAs && !(isStop && stop.Final) {
				t.Fatalf("at %v: %T: multicast RA %v after the last", now.Sub(boot), ev, now.Sub(m.last))
			}
			m.last, m.hadLast = now, true
		} else if !m.sources[r.to] && !slices.Contains(m.named, r.to) {
			t.Fatalf("at %v: RA to %v, which never solicited and is no neighbor", now.Sub(boot), r.to)
		}
		m.checkHeader(t, now, r, isStop)
		m.checkPrefixes(t, now, r)
		m.checkServers(t, now, r)
		m.checkResolvers(t, now, r)
	}
	if isStop {
		m.stopped = true
	}
}

func (m *model) checkHeader(t failer, now time.Time, r sentRA, final bool) {
	t.Helper()
	global := slices.ContainsFunc(r.ra.Options, func(o Option) bool {
		pio, ok := o.(PrefixInformation)
		return ok && pio.Valid > 0 && !ula.Contains(pio.Prefix.Addr())
	})
	want := uint16(0)
	if m.content.DefaultRouter && global && !final {
		want = 2700
		if _, most := m.limits(now); most > 0 {
			want = uint16(min(2700, most))
		}
	}
	if r.ra.RouterLifetime != want {
		t.Fatalf("at %v: router lifetime %d, want %d", now.Sub(boot), r.ra.RouterLifetime, want)
	}
	if bits := r.data[0][5] >> 3 & 3; want == 0 && bits != 0 {
		t.Fatalf("at %v: preference bits %02b with router lifetime 0", now.Sub(boot), bits)
	}
}

func (m *model) checkPrefixes(t failer, now time.Time, r sentRA) {
	t.Helper()
	seen := map[netip.Prefix]bool{}
	for _, o := range r.ra.Options {
		pio, ok := o.(PrefixInformation)
		if !ok {
			continue
		}
		if seen[pio.Prefix] {
			t.Fatalf("at %v: two options for %v", now.Sub(boot), pio.Prefix)
		}
		seen[pio.Prefix] = true
		c, active := m.active(now, pio.Prefix)
		held := m.prefixes[pio.Prefix]
		if active {
			held.onLink, held.autonomous = c.OnLink, c.Autonomous
			valid := min(c.Valid.Seconds(now), 5400)
			if c.Limit != 0 {
				valid = min(valid, max(12, uint32(c.Limit/time.Second)))
			}
			if pio.Valid != valid || pio.Preferred != min(c.Preferred.Seconds(now), 2700, valid) {
				t.Fatalf("at %v: %v has %d/%d", now.Sub(boot), pio.Prefix, pio.Valid, pio.Preferred)
			}
		} else if pio.Valid != 0 || pio.Preferred != 0 {
			t.Fatalf("at %v: %v is gone but has %d/%d", now.Sub(boot), pio.Prefix, pio.Valid, pio.Preferred)
		}
		if pio.OnLink != held.onLink || pio.Autonomous != held.autonomous {
			t.Fatalf("at %v: %v flags L=%v A=%v", now.Sub(boot), pio.Prefix, pio.OnLink, pio.Autonomous)
		}
		if end := now.Add(time.Duration(pio.Valid) * time.Second); end.After(held.until) {
			held.until = end
		}
		m.prefixes[pio.Prefix] = held
	}
	for p, held := range m.prefixes {
		if held.until.After(now) && !seen[p] && len(m.prefixes) <= maxStale {
			t.Fatalf("at %v: %v may be held until %v, but the RA to %v does not name it", now.Sub(boot), p, held.until.Sub(boot), r.to)
		}
	}
	for _, c := range m.content.Prefixes {
		if c.Valid.Seconds(now) > 0 && !seen[c.Prefix] {
			t.Fatalf("at %v: %v is missing in the RA to %v", now.Sub(boot), c.Prefix, r.to)
		}
	}
}

func (m *model) checkServers(t failer, now time.Time, r sentRA) {
	t.Helper()
	for a, until := range m.servers {
		if _, ok := r.server(a); until.After(now) && !ok && len(m.servers) <= maxStale {
			t.Fatalf("at %v: server %v may be held until %v, but is not named", now.Sub(boot), a, until.Sub(boot))
		}
	}
	for _, o := range r.ra.Options {
		o, ok := o.(RDNSS)
		if !ok {
			continue
		}
		if least, most := m.dnsLifetimes(now); o.Lifetime != 0 && (o.Lifetime < least || o.Lifetime > most) {
			t.Fatalf("at %v: RDNSS lifetime %d, want %d to %d", now.Sub(boot), o.Lifetime, least, most)
		}
		for _, a := range o.Servers {
			if want := slices.Contains(m.content.RDNSS, a); !want && o.Lifetime != 0 {
				t.Fatalf("at %v: server %v is gone but has lifetime %d", now.Sub(boot), a, o.Lifetime)
			}
			if end := now.Add(time.Duration(o.Lifetime) * time.Second); end.After(m.servers[a]) {
				m.servers[a] = end
			}
		}
	}
}

// checkResolvers: whom hosts may hold is named, once; lifetimes as for RDNSS; a withdrawal has the addresses that hosts
// were told last.
func (m *model) checkResolvers(t failer, now time.Time, r sentRA) {
	t.Helper()
	for name, held := range m.resolved {
		if _, ok := r.resolver(name); held.until.After(now) && !ok && len(m.resolved) <= maxStale {
			t.Fatalf("at %v: resolver %v may be held until %v, but is not named once", now.Sub(boot), name, held.until.Sub(boot))
		}
	}
	for _, x := range r.ra.Options {
		o, ok := x.(EncryptedDNSOption)
		if !ok {
			continue
		}
		least, most := m.dnsLifetimes(now)
		held := m.resolved[o.Name]
		want := slices.ContainsFunc(m.content.EncryptedDNS, func(d EncryptedDNS) bool { return strings.EqualFold(strings.TrimSuffix(d.Name, "."), o.Name) })
		switch {
		case !want && (o.Lifetime != 0 || !slices.Equal(o.Addrs, held.addrs)):
			t.Fatalf("at %v: resolver %v is gone but has lifetime %d, addresses %v, told %v", now.Sub(boot), o.Name, o.Lifetime, o.Addrs, held.addrs)
		case want && o.Lifetime != 0 && (o.Lifetime < least || o.Lifetime > most):
			t.Fatalf("at %v: resolver %v has lifetime %d", now.Sub(boot), o.Name, o.Lifetime)
		}
		if end := now.Add(time.Duration(o.Lifetime) * time.Second); end.After(held.until) {
			held.until = end
		}
		held.addrs = o.Addrs
		m.resolved[o.Name] = held
	}
}
