// SPDX-License-Identifier: MIT

package client

import (
	"encoding/hex"
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
	// board without a battery says anything. Its prefixes are Unconfirmed, their lifetimes what was left.
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

// UnconfirmedLifetime is how far ahead hosts are told of a lease of unknown age: time and again for so long, until
// a server confirms it or what was left when it was written is over. A reachable server answers the Rebind
// after LinkUp within seconds; while the tunnel is late, hosts keep their addresses; and once the truth is
// out no host holds a wrong prefix for longer.
const UnconfirmedLifetime = 10 * time.Minute

// leaseVersion is the format of the file. Version 1 had the prefixes of one IA_PD and nothing else; it is read too,
// so that an update costs nobody the prefix. Another one is refused, never guessed at.
const leaseVersion = 2

// savedLease is the text form of a lease.
type savedLease struct {
	Version      int             `json:"version"`
	DUID         string          `json:"duid"`
	IAID         uint32          `json:"iaid"`
	BootID       string          `json:"boot_id"`
	SavedAt      int64           `json:"saved_at_boot_ns"`
	SavedWall    time.Time       `json:"saved_at_wall"` // for people; never computed with
	Server       string          `json:"server,omitempty"`
	ServerAddr   string          `json:"server_addr,omitempty"`
	IAs          []savedIA       `json:"ias"`
	Prefixes     []savedPrefix   `json:"prefixes,omitempty"` // version 1: those of the one IA_PD
	T1           lifetime.Saved  `json:"t1"`
	T2           lifetime.Saved  `json:"t2"`
	DNS          []netip.Addr    `json:"dns"`
	Search       []string        `json:"search"`
	NTP          []savedNTP      `json:"ntp,omitempty"`
	EncryptedDNS []savedResolver `json:"encrypted_dns,omitempty"`
	Refresh      *lifetime.Saved `json:"refresh,omitempty"` // of a stateless client
	Key          string          `json:"reconfigure_key,omitempty"`
	Replay       uint64          `json:"reconfigure_replay,omitempty"`
}

type savedNTP struct {
	Addr netip.Addr `json:"addr,omitzero"`
	Name string     `json:"name,omitempty"`
}

type savedResolver struct {
	Priority uint16       `json:"priority"`
	Name     string       `json:"name"`
	Addrs    []netip.Addr `json:"addrs,omitempty"`
	Params   []byte       `json:"params,omitempty"` // not text
}

type savedIA struct {
	Type     string        `json:"type"`
	IAID     uint32        `json:"iaid"`
	Prefixes []savedPrefix `json:"prefixes"`
}

type savedPrefix struct {
	Prefix    netip.Prefix   `json:"prefix"`
	Exclude   netip.Prefix   `json:"exclude,omitzero"`
	Preferred lifetime.Saved `json:"preferred"`
	Valid     lifetime.Saved `json:"valid"`
	// Unconfirmed since a reboot before the one in which the file was written.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// EncodeLease is the lease as STATE/lease.json keeps it. Without a prefix it still keeps DUID and the first
// IAID, which must never change. now is the boot clock, wall the time of day, bootID names the boot.
func EncodeLease(l Lease, duid dhcpv6.DUID, iaid dhcpv6.IAID, now, wall time.Time, bootID string) ([]byte, error) {
	s := savedLease{
		Version: leaseVersion, DUID: duid.String(), IAID: uint32(iaid),
		BootID: bootID, SavedAt: now.UnixNano(), SavedWall: wall.UTC().Round(0),
		Server: l.Server.String(), T1: lifetime.Save(l.T1, now), T2: lifetime.Save(l.T2, now),
		DNS: l.Info.DNS, Search: l.Info.Search, Replay: l.Reconfigure.Replay,
	}
	if l.ServerAddr.IsValid() {
		s.ServerAddr = l.ServerAddr.String()
	}
	if l.Info.Refresh != (lifetime.Until{}) {
		u := lifetime.Save(l.Info.Refresh, now)
		s.Refresh = &u
	}
	if l.Reconfigure.Key != (dhcpv6.ReconfigureKey{}) {
		s.Key = hex.EncodeToString(l.Reconfigure.Key[:])
	}
	for _, n := range l.Info.NTP {
		s.NTP = append(s.NTP, savedNTP(n))
	}
	for _, e := range l.Info.EncryptedDNS {
		s.EncryptedDNS = append(s.EncryptedDNS, savedResolver{e.Priority, e.Name, e.Addrs, []byte(e.Params)})
	}
	for _, a := range l.IAs {
		x := savedIA{Type: a.Type.String(), IAID: uint32(a.IAID)}
		for _, p := range a.Prefixes {
			x.Prefixes = append(x.Prefixes, savedPrefix{p.Prefix, p.Exclude, lifetime.Save(p.Preferred, now), lifetime.Save(p.Valid, now), p.Unconfirmed})
		}
		s.IAs = append(s.IAs, x)
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err) // a wall time outside of the years 0 to 9999
	}
	return append(b, '\n'), nil
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
	switch s.Version {
	case leaseVersion:
	case 1:
		s.IAs = []savedIA{{Type: dhcpv6.PD.String(), IAID: s.IAID, Prefixes: s.Prefixes}}
	default:
		return damaged(fmt.Errorf("version %d, want %d", s.Version, leaseVersion))
	}
	duid, err := dhcpv6.ParseDUIDText(s.DUID)
	if err != nil {
		return damaged(err)
	}
	r := reviver{lifetime.NewReviver(now, bootID, s.BootID, s.SavedAt), now}
	l, err := r.lease(s)
	if err != nil {
		return damaged(err)
	}
	return l, duid, dhcpv6.IAID(s.IAID), r.certainty(), nil
}

func damaged(err error) (Lease, dhcpv6.DUID, dhcpv6.IAID, Certainty, error) {
	return Lease{}, "", 0, AgeUnknown, fmt.Errorf("lease is damaged: %w", err)
}

// reviver turns saved lifetimes into living ones.
type reviver struct {
	lifetime.Reviver
	now time.Time
}

func (r reviver) certainty() Certainty {
	if r.SameBoot() {
		return AgeExact
	}
	return AgeUnknown
}

// lease is the lease without the prefixes that are over; the zero Lease if none is left.
func (r reviver) lease(s savedLease) (l Lease, err error) {
	if len(s.IAs) > MaxIAs || len(s.DNS) > MaxDNS || len(s.Search) > MaxSearch || len(s.NTP) > MaxNTP || len(s.EncryptedDNS) > MaxEncryptedDNS {
		return l, errors.New("more IAs, servers or search domains than a lease has")
	}
	for _, a := range s.IAs {
		t := dhcpv6.PD
		if a.Type == dhcpv6.NA.String() {
			t = dhcpv6.NA
		} else if a.Type != t.String() {
			return l, fmt.Errorf("no IA is of type %q", a.Type)
		}
		if l.find(t, dhcpv6.IAID(a.IAID)) >= 0 || len(a.Prefixes) > MaxPrefixes {
			return l, fmt.Errorf("%s %d is there twice, or with too many prefixes", a.Type, a.IAID)
		}
		ps, err := r.prefixes(t, a.Prefixes)
		if err != nil {
			return l, err
		}
		l = l.with(t, dhcpv6.IAID(a.IAID), ps)
	}
	if len(l.IAs) == 0 && (len(s.IAs) > 0 || s.Server == "") {
		return Lease{}, nil
	}
	err = r.rest(&l, s)
	return l, err
}

// prefixes are those of one IA that are not over.
func (r reviver) prefixes(t dhcpv6.IAType, saved []savedPrefix) (ps []Prefix, err error) {
	for _, p := range saved {
		if !dhcpv6.Delegable(p.Prefix) || p.Prefix.Bits() < MinPrefixLen || t == dhcpv6.NA && p.Prefix.Bits() != 128 || findPrefix(ps, p.Prefix) >= 0 {
			return nil, fmt.Errorf("prefix %s cannot be delegated", p.Prefix)
		}
		if x := p.Exclude; x != (netip.Prefix{}) && (x != x.Masked() || x.Bits() <= p.Prefix.Bits() || !p.Prefix.Contains(x.Addr())) {
			return nil, fmt.Errorf("prefix %s cannot be excluded from %s", x, p.Prefix)
		}
		preferred, valid, err := r.Both(p.Preferred, p.Valid)
		if err != nil {
			return nil, fmt.Errorf("prefix %s: %w", p.Prefix, err)
		}
		if !valid.Over(r.now) {
			ps = append(ps, Prefix{p.Prefix, p.Exclude, preferred, valid, p.Unconfirmed || !r.SameBoot()})
		}
	}
	return ps, nil
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
	if err := r.info(&l.Info, s); err != nil {
		return err
	}
	if s.Key != "" {
		key, err := hex.DecodeString(s.Key)
		if err != nil || len(key) != len(l.Reconfigure.Key) {
			return errors.New("reconfigure key is not 16 octets of hex") // its text must not reach the log
		}
		l.Reconfigure = Reconfigure{dhcpv6.ReconfigureKey(key), s.Replay}
	}
	t1, err := r.Until(s.T1)
	t2, err2 := r.Until(s.T2)
	if r.SameBoot() {
		l.T1, l.T2 = t1, t2 // of unknown age they are over: go on asking until somebody confirms
	}
	return errors.Join(err, err2)
}

// info reads the configuration that came along.
func (r reviver) info(i *Info, s savedLease) (err error) {
	for _, a := range s.DNS {
		if !a.Is6() || a.Zone() != "" {
			return fmt.Errorf("name server %s is no IPv6 address", a)
		}
	}
	i.DNS = slices.DeleteFunc(s.DNS, func(a netip.Addr) bool { return !dhcpv6.UsableServer(a) })
	for _, n := range s.Search {
		if !dhcpv6.ValidName(n) {
			return fmt.Errorf("search domain %q is not valid", n)
		}
	}
	for _, n := range s.NTP {
		if named := n.Name != ""; named == n.Addr.IsValid() || named && !dhcpv6.ValidName(n.Name) || !named && (!n.Addr.Is6() || n.Addr.Zone() != "") {
			return fmt.Errorf("NTP server %q %s is not valid", n.Name, n.Addr)
		}
		i.NTP = append(i.NTP, dhcpv6.NTPServer(n))
	}
	for _, e := range s.EncryptedDNS {
		if !dhcpv6.ValidName(e.Name) || slices.ContainsFunc(e.Addrs, func(a netip.Addr) bool { return !a.Is6() || a.Zone() != "" }) {
			return fmt.Errorf("encrypted DNS resolver %q is not valid", e.Name)
		}
		i.EncryptedDNS = append(i.EncryptedDNS, dhcpv6.EncryptedDNS{Priority: e.Priority, Name: e.Name, Addrs: e.Addrs, Params: string(e.Params)})
	}
	i.Search = s.Search
	if s.Refresh != nil {
		i.Refresh, err = r.Until(*s.Refresh)
	}
	return err
}
