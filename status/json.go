// SPDX-License-Identifier: MIT

package status

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"oasis6/internal/lifetime"
)

// Never is the number of seconds that stands for "never" or "for ever".
const Never = -1

// Seconds is d as the snapshot carries it: tenths of a second, so that output does not flicker in
// digits that nobody reads.
func Seconds(d time.Duration) float64 {
	return math.Round(d.Seconds()*10) / 10
}

// Remaining is what is left of a lifetime at now, Never for one without end.
func Remaining(u lifetime.Until, now time.Time) float64 {
	if u.IsForever() {
		return Never
	}
	return Seconds(u.Left(now))
}

// MarshalJSON writes empty lists where the snapshot has nil ones. The snapshot is not changed: it
// may be shared.
func (s Snapshot) MarshalJSON() ([]byte, error) {
	type plain Snapshot // without this method
	return json.Marshal(plain(s.filled()))
}

// filled is a copy without nil slices and maps.
func (s Snapshot) filled() Snapshot {
	s.Tunnel.Peers = list(s.Tunnel.Peers)
	s.Prefixes = list(s.Prefixes)
	if s.DHCPv6 != nil {
		d := *s.DHCPv6
		d.IAs = slices.Clone(list(d.IAs))
		for i := range d.IAs {
			d.IAs[i].Prefixes = list(d.IAs[i].Prefixes)
		}
		d.DNS, d.Search, d.NTP, d.EncryptedDNS = list(d.DNS), list(d.Search), list(d.NTP), list(d.EncryptedDNS)
		s.DHCPv6 = &d
	}
	s.LANs = slices.Clone(list(s.LANs))
	for i := range s.LANs {
		s.LANs[i].fill()
	}
	s.Sites = filledSites(s.Sites)
	if s.Hub != nil {
		s.Hub = s.Hub.filled()
	}
	s.Problems = list(s.Problems)
	s.Events = list(s.Events)
	return s
}

// fill replaces nil slices and maps, in copies of what it changes.
func (l *LAN) fill() {
	l.Prefixes = list(l.Prefixes)
	l.Routes = list(l.Routes)
	l.RDNSS = list(l.RDNSS)
	l.DNSSL = list(l.DNSSL)
	l.Dropped = filledMap(l.Dropped)
	if l.DHCPv6 != nil {
		d := *l.DHCPv6
		d.Bindings = slices.Clone(list(d.Bindings))
		for i := range d.Bindings {
			d.Bindings[i].Prefixes = list(d.Bindings[i].Prefixes)
		}
		l.DHCPv6 = &d
	}
	l.Routers = slices.Clone(list(l.Routers))
	for i := range l.Routers {
		l.Routers[i].Prefixes, l.Routers[i].Conflicts = list(l.Routers[i].Prefixes), list(l.Routers[i].Conflicts)
	}
	l.Hosts = slices.Clone(list(l.Hosts))
	for i := range l.Hosts {
		l.Hosts[i].Addresses = list(l.Hosts[i].Addresses)
	}
}

// filledMap is a copy that is not nil.
func filledMap(m map[string]uint64) map[string]uint64 {
	if m == nil {
		return map[string]uint64{}
	}
	return maps.Clone(m)
}

func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
