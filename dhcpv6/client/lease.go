// SPDX-License-Identifier: MIT

package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// Certainty says how far the lifetimes of a decoded lease can be trusted.
type Certainty uint8

const (
	// AgeUnknown: the lease was written in another boot. Nobody knows how long ago: the wall clock of a
	// board without a battery says anything. Its lifetimes are cut to UnconfirmedLifetime.
	AgeUnknown Certainty = iota
	// AgeExact: it was written in this boot, so the boot clock has counted every second since.
	AgeExact
)

// String is for logs.
func (c Certainty) String() string {
	if c == AgeExact {
		return "exact"
	}
	return "unknown"
}

// UnconfirmedLifetime is how long a lease of unknown age may be used before a server confirms it. A
// reachable server answers the Rebind after LinkUp within seconds; if none does, hosts keep their
// addresses for a tunnel that is late, and no prefix that may be somebody else's by now is advertised
// for longer. It is never more than what was left when the lease was written.
const UnconfirmedLifetime = 10 * time.Minute

// leaseVersion is the format of the file. Another one is refused, never guessed at.
const leaseVersion = 1

// savedLease is the text form of a lease.
type savedLease struct {
	Version    int           `json:"version"`
	DUID       string        `json:"duid"`
	IAID       uint32        `json:"iaid"`
	BootID     string        `json:"boot_id"`
	SavedAt    int64         `json:"saved_at_boot_ns"`
	SavedWall  time.Time     `json:"saved_at_wall"` // for people; never computed with
	Server     string        `json:"server,omitempty"`
	ServerAddr string        `json:"server_addr,omitempty"`
	Prefixes   []savedPrefix `json:"prefixes"`
	T1         savedUntil    `json:"t1"`
	T2         savedUntil    `json:"t2"`
	DNS        []netip.Addr  `json:"dns"`
	Search     []string      `json:"search"`
}

type savedPrefix struct {
	Prefix    netip.Prefix `json:"prefix"`
	Preferred savedUntil   `json:"preferred"`
	Valid     savedUntil   `json:"valid"`
}

// savedUntil is an instant of the boot clock and what was left when it was written; the instant of a
// lifetime that is over or has no end is 0.
type savedUntil struct {
	Left   uint32 `json:"left_s"` // 4294967295: no end
	BootNS int64  `json:"until_boot_ns,omitempty"`
}

// EncodeLease is the lease as STATE/lease.json keeps it. Without a prefix it still keeps DUID and IAID,
// which must never change. now is the boot clock, wall the time of day, bootID names the boot.
func EncodeLease(l Lease, duid dhcpv6.DUID, iaid dhcpv6.IAID, now, wall time.Time, bootID string) ([]byte, error) {
	s := savedLease{
		Version: leaseVersion, DUID: duid.String(), IAID: uint32(iaid),
		BootID: bootID, SavedAt: now.UnixNano(), SavedWall: wall.UTC().Round(0),
		Server: l.Server.String(), T1: saveUntil(l.T1, now), T2: saveUntil(l.T2, now),
		DNS: l.DNS, Search: l.Search,
	}
	if l.ServerAddr.IsValid() {
		s.ServerAddr = l.ServerAddr.String()
	}
	for _, p := range l.Prefixes {
		s.Prefixes = append(s.Prefixes, savedPrefix{p.Prefix, saveUntil(p.Preferred, now), saveUntil(p.Valid, now)})
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err) // a wall time outside of the years 0 to 9999
	}
	return append(b, '\n'), nil
}

func saveUntil(u lifetime.Until, now time.Time) savedUntil {
	s := savedUntil{Left: u.Seconds(now)}
	if at, ends := u.Time(); ends && !u.Over(now) {
		s.BootNS = at.UnixNano()
	}
	return s
}

// DecodeLease reads what EncodeLease wrote, with lifetimes that count from now. DUID and IAID are good
// whatever the certainty. An error means a damaged file: set it aside.
//
// The time of day plays no part: it can neither lengthen a lifetime nor shorten one, so a clock that
// is years off does no harm.
func DecodeLease(data []byte, now, _ time.Time, bootID string) (Lease, dhcpv6.DUID, dhcpv6.IAID, Certainty, error) {
	var s savedLease
	if err := json.Unmarshal(data, &s); err != nil {
		return damaged(err)
	}
	if s.Version != leaseVersion {
		return damaged(fmt.Errorf("version %d, want %d", s.Version, leaseVersion))
	}
	duid, err := dhcpv6.ParseDUIDText(s.DUID)
	if err != nil {
		return damaged(err)
	}
	r := reviver{now: now, savedAt: time.Unix(0, s.SavedAt).UTC()}
	if bootID != "" && bootID == s.BootID && !now.Before(r.savedAt) {
		r.certainty = AgeExact
	}
	l, err := r.lease(s)
	if err != nil {
		return damaged(err)
	}
	return l, duid, dhcpv6.IAID(s.IAID), r.certainty, nil
}

func damaged(err error) (Lease, dhcpv6.DUID, dhcpv6.IAID, Certainty, error) {
	return Lease{}, "", 0, AgeUnknown, fmt.Errorf("lease is damaged: %w", err)
}

// reviver turns saved lifetimes into living ones.
type reviver struct {
	now, savedAt time.Time
	certainty    Certainty
}

// lease is the lease without the prefixes that are over; without any prefix it is the zero Lease.
func (r reviver) lease(s savedLease) (l Lease, err error) {
	if len(s.Prefixes) > MaxPrefixes || len(s.DNS) > MaxDNS || len(s.Search) > MaxSearch {
		return l, errors.New("more prefixes, name servers or search domains than a lease has")
	}
	for _, p := range s.Prefixes {
		if !dhcpv6.Delegable(p.Prefix) || l.find(p.Prefix) >= 0 {
			return l, fmt.Errorf("prefix %s cannot be delegated", p.Prefix)
		}
		preferred, err := r.until(p.Preferred)
		valid, err2 := r.until(p.Valid)
		if err = errors.Join(err, err2); err != nil {
			return l, err
		}
		if valid.Before(preferred) {
			return l, fmt.Errorf("prefix %s is preferred for longer than it is valid", p.Prefix)
		}
		if r.certainty == AgeUnknown {
			limit := lifetime.At(r.now.Add(UnconfirmedLifetime))
			preferred, valid = lifetime.Min(preferred, limit), lifetime.Min(valid, limit)
		}
		if !valid.Over(r.now) {
			l.Prefixes = append(l.Prefixes, Prefix{p.Prefix, preferred, valid})
		}
	}
	if len(l.Prefixes) == 0 {
		return Lease{}, nil
	}
	err = r.rest(&l, s)
	return l, err
}

// rest fills in what a lease has beside its prefixes.
func (r reviver) rest(l *Lease, s savedLease) (err error) {
	if l.Server, err = dhcpv6.ParseDUIDText(s.Server); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if s.ServerAddr != "" {
		if l.ServerAddr, err = netip.ParseAddr(s.ServerAddr); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	for _, a := range s.DNS {
		if !a.Is6() || a.Zone() != "" {
			return fmt.Errorf("name server %s is no IPv6 address", a)
		}
	}
	s.DNS = slices.DeleteFunc(s.DNS, func(a netip.Addr) bool { return !dhcpv6.UsableServer(a) })
	for _, n := range s.Search {
		if !dhcpv6.ValidName(n) {
			return fmt.Errorf("search domain %q is not valid", n)
		}
	}
	l.DNS, l.Search = s.DNS, s.Search
	t1, err := r.until(s.T1)
	t2, err2 := r.until(s.T2)
	if r.certainty == AgeExact {
		l.T1, l.T2 = t1, t2 // of unknown age they are over: go on asking until somebody confirms
	}
	return errors.Join(err, err2)
}

// until is a lifetime that counts from now: the instant itself in the same boot, otherwise what was
// left, as if no time had passed.
func (r reviver) until(s savedUntil) (lifetime.Until, error) {
	if s.Left == lifetime.Infinity {
		return lifetime.Forever, nil
	}
	if s.BootNS == 0 {
		if s.Left != 0 {
			return lifetime.Until{}, errors.New("a lifetime has no instant")
		}
		return lifetime.Until{}, nil
	}
	at := time.Unix(0, s.BootNS).UTC()
	if d := at.Sub(r.savedAt) - time.Duration(s.Left)*time.Second; d < 0 || d > time.Second {
		return lifetime.Until{}, errors.New("a lifetime's instant does not fit to what was left")
	}
	if r.certainty == AgeExact {
		return lifetime.At(at), nil
	}
	return lifetime.At(r.now.Add(at.Sub(r.savedAt))), nil
}
