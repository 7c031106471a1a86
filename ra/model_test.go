// SPDX-License-Identifier: MIT

package ra

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

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
	given    bool
	routes   map[netip.Prefix]time.Time
	pref64s  map[netip.Prefix]time.Time
	portal   time.Time // while one may be held
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
		resolved: map[string]heldResolver{}, sources: map[netip.Addr]bool{},
		routes: map[netip.Prefix]time.Time{}, pref64s: map[netip.Prefix]time.Time{}}
}

func (m *model) before(ev Event) {
	switch ev := ev.(type) {
	case SetContent:
		m.content, m.given = ev.Content, true
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
		return min(max(180, all), 2700), min(max(180, all), 5400)
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
		m.checkRoutes(t, now, r, isStop)
		m.checkPREF64(t, now, r, isStop)
		m.checkPortal(t, now, r, isStop)
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
			want = uint16(min(2700, max(180, most)))
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
		if active && pio.DHCPv6PD != c.DHCPv6PD {
			t.Fatalf("at %v: %v flag P=%v", now.Sub(boot), pio.Prefix, pio.DHCPv6PD)
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
		if m.given && held.until.After(now) && !seen[p] && len(m.prefixes) <= maxStale {
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
