// SPDX-License-Identifier: MIT

package ra

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// written is the set of records that is on disk: what renewals must not change. What nobody can hold any more does
// not count at now.
func written(records []Record, now time.Time) map[Record]bool {
	set := make(map[Record]bool, len(records))
	for _, r := range records {
		if r.Live || r.Hold.After(now) {
			r.Hold = time.Time{}
			set[r] = true
		}
	}
	return set
}

// persist is the disk: what is on it is always what hosts may hold, and it is written only when it changes.
func (w *world) persist(now time.Time, a Actions) {
	w.t.Helper()
	records := w.s.Records(now)
	if a.Persist {
		never := boot.Add(-time.Hour)
		if maps.Equal(written(records, now), written(w.disk, never)) {
			w.t.Fatalf("at %v: Persist without a change: %v", w.now, records)
		}
		w.disk = records
		w.saves++
	}
	if !maps.Equal(written(records, now), written(w.disk, now)) {
		w.t.Fatalf("at %v: on disk are %v, hosts may hold %v", w.now, w.disk, records)
	}
	if n := len(records); n > 0 && len(written(records, now)) != n {
		w.t.Fatalf("at %v: something is there twice: %v", w.now, records)
	}
}

// restart is a crash: the next process has what is on disk, and the link is down.
func (w *world) restart(cfg Config, rand func() float64) {
	w.t.Helper()
	w.s, w.wake = NewSender(cfg, rand), time.Time{}
	m := &w.model
	m.content, m.given, m.up, m.stopped, m.hadLast, m.named = Content{}, false, false, false, false, nil
	m.sources = map[netip.Addr]bool{}
	for name, held := range m.resolved { // addresses of resolvers are not on disk
		held.addrs = nil
		m.resolved[name] = held
	}
	w.step(Restored{w.disk})
}

// reach notes how long hosts hold what an option said.
func reach[K comparable](held map[K]time.Time, k K, now time.Time, lifetime uint32) {
	if end := now.Add(time.Duration(lifetime) * time.Second); end.After(held[k]) {
		held[k] = end
	}
}

// checkRoutes: each route that is valid is there once unless it is a prefix too, with no more than it has and nothing
// below 180 s; each that may be held is named.
func (m *model) checkRoutes(t failer, now time.Time, r sentRA, final bool) {
	t.Helper()
	seen := map[netip.Prefix]uint32{}
	for _, o := range r.ra.Options {
		if o, ok := o.(RouteInformation); ok {
			if _, twice := seen[o.Prefix]; twice {
				t.Fatalf("at %v: two options for route %v", now.Sub(boot), o.Prefix)
			}
			seen[o.Prefix] = o.Lifetime
			reach(m.routes, o.Prefix, now, o.Lifetime)
		}
	}
	_, dns := m.dnsLifetimes(now)
	for _, x := range m.content.Routes {
		left := min(x.Valid.Seconds(now), dns)
		if left < 180 || final || slices.ContainsFunc(m.content.Prefixes, func(p Prefix) bool { return p.Prefix == x.Prefix }) {
			left = 0
		}
		if seen[x.Prefix] != left {
			t.Fatalf("at %v: route %v has %d, want %d", now.Sub(boot), x.Prefix, seen[x.Prefix], left)
		}
	}
	for p, lifetime := range seen {
		if lifetime > 0 && !slices.ContainsFunc(m.content.Routes, func(x Route) bool { return x.Prefix == p }) {
			t.Fatalf("at %v: route %v is gone but has %d", now.Sub(boot), p, lifetime)
		}
	}
	for p, until := range m.routes {
		if _, ok := seen[p]; !ok && until.After(now) {
			t.Fatalf("at %v: route %v may be held until %v, but is not named", now.Sub(boot), p, until.Sub(boot))
		}
	}
}

func (m *model) checkPREF64(t failer, now time.Time, r sentRA, final bool) {
	t.Helper()
	seen := map[netip.Prefix]bool{}
	for _, o := range r.ra.Options {
		o, ok := o.(PREF64)
		if !ok {
			continue
		}
		if seen[o.Prefix] {
			t.Fatalf("at %v: two options for NAT64 %v", now.Sub(boot), o.Prefix)
		}
		seen[o.Prefix] = true
		if want := o.Prefix == m.content.PREF64 && !final; want && (o.Lifetime < 180 || o.Lifetime > 5400) || !want && o.Lifetime != 0 {
			t.Fatalf("at %v: NAT64 %v has %d", now.Sub(boot), o.Prefix, o.Lifetime)
		}
		reach(m.pref64s, o.Prefix, now, o.Lifetime)
	}
	if p := m.content.PREF64; p.IsValid() && !seen[p] {
		t.Fatalf("at %v: no NAT64 prefix", now.Sub(boot))
	}
	for p, until := range m.pref64s {
		if !seen[p] && until.After(now) {
			t.Fatalf("at %v: NAT64 %v may be held until %v, but is not named", now.Sub(boot), p, until.Sub(boot))
		}
	}
}

func (m *model) checkPortal(t failer, now time.Time, r sentRA, final bool) {
	t.Helper()
	var got []string
	for _, o := range r.ra.Options {
		if o, ok := o.(CaptivePortal); ok {
			got = append(got, string(o))
		}
	}
	var want []string
	switch {
	case m.content.CaptivePortal != "" && !final:
		want = []string{m.content.CaptivePortal}
		if want[0] != Unrestricted {
			m.portal = now.Add(NDValidLimit)
		}
	case m.content.CaptivePortal != "" || m.portal.After(now):
		want = []string{Unrestricted}
	}
	if len(want) == 0 && slices.Equal(got, []string{Unrestricted}) {
		return // withdrawn for longer than needed
	}
	if !slices.Equal(got, want) {
		t.Fatalf("at %v: portal %q, want %q", now.Sub(boot), got, want)
	}
}
