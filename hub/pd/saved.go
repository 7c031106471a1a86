// SPDX-License-Identifier: MIT

package pd

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
	"oasis6/internal/wgkey"
)

// recordVersion is the format of a record. Another one is refused, never guessed at.
const recordVersion = 1

// maxSaved bounds the leases of a record: more than a binding can have, with all memories of its site.
const maxSaved = 1024

type savedBinding struct {
	Version     int          `json:"version"`
	BootID      string       `json:"boot_id"`
	SavedAt     int64        `json:"saved_at_boot_ns"`
	SavedWall   time.Time    `json:"saved_at_wall"` // for people; never computed with
	Site        string       `json:"site"`
	IAID        uint32       `json:"iaid"`
	DUID        string       `json:"duid"`
	Reconfigure bool         `json:"reconfigure,omitempty"`
	Leases      []savedLease `json:"leases"`
}

type savedLease struct {
	Prefix    netip.Prefix   `json:"prefix"`
	Preferred lifetime.Saved `json:"preferred"`
	Valid     lifetime.Saved `json:"valid"`
	Released  bool           `json:"released,omitempty"`
	Stale     bool           `json:"stale,omitempty"`
	Ended     uint64         `json:"ended,omitempty"`
	Rests     lifetime.Saved `json:"rests,omitzero"`
}

// Encode is a binding as it goes to the store. now is the boot clock, wall the time of day, bootID names the boot.
func Encode(b Binding, now, wall time.Time, bootID string) ([]byte, error) {
	f := savedBinding{Version: recordVersion, BootID: bootID, SavedAt: now.UnixNano(), SavedWall: wall.UTC().Round(0),
		Site: b.Site.String(), IAID: uint32(b.IAID), DUID: b.DUID.String(), Reconfigure: b.Reconfigure, Leases: []savedLease{}}
	for _, l := range b.Leases {
		f.Leases = append(f.Leases, savedLease{l.Prefix, lifetime.Save(l.Preferred, now), lifetime.Save(l.Valid, now), l.Released, l.Stale, l.Ended, lifetime.Save(l.Rests, now)})
	}
	data, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("lease record: %w", err) // a wall time outside of the years 0 to 9999
	}
	return data, nil
}

// Decode reads what Encode wrote; an error means a damaged record. In another boot nobody knows how much time has passed:
// lifetimes are then what was left when they were written, so that nobody else gets what a site may have.
func Decode(data []byte, now time.Time, bootID string) (Binding, error) {
	b, err := decode(data, now, bootID)
	if err != nil {
		return Binding{}, fmt.Errorf("lease record is damaged: %w", err)
	}
	return b, nil
}

func decode(data []byte, now time.Time, bootID string) (b Binding, err error) {
	var f savedBinding
	if err = json.Unmarshal(data, &f); err != nil {
		return b, err
	}
	if f.Version != recordVersion {
		return b, fmt.Errorf("version %d, want %d", f.Version, recordVersion)
	}
	b = Binding{IAID: dhcpv6.IAID(f.IAID), Reconfigure: f.Reconfigure}
	if b.Site, err = wgkey.ParsePublic(f.Site); err != nil {
		return b, err
	}
	if b.DUID, err = dhcpv6.ParseDUIDText(f.DUID); err != nil {
		return b, err
	}
	if len(f.Leases) == 0 || len(f.Leases) > maxSaved {
		return b, errors.New("no lease or too many")
	}
	r := lifetime.NewReviver(now, bootID, f.BootID, f.SavedAt)
	seen := map[netip.Prefix]bool{}
	for _, x := range f.Leases {
		l, err := x.revive(r, now)
		if err == nil && seen[l.Prefix] {
			err = errors.New("it is there twice")
		}
		if err != nil {
			return b, fmt.Errorf("%s: %w", x.Prefix, err)
		}
		seen[l.Prefix] = true
		b.Leases = append(b.Leases, l)
	}
	return b, nil
}

func (x *savedLease) revive(r lifetime.Reviver, now time.Time) (l Lease, err error) {
	if !dhcpv6.Delegable(x.Prefix) {
		return l, errors.New("it cannot be delegated")
	}
	l = Lease{Prefix: x.Prefix, Released: x.Released, Stale: x.Stale, Ended: x.Ended}
	if l.Preferred, l.Valid, err = r.Both(x.Preferred, x.Valid); err != nil {
		return l, err
	}
	if l.Rests, err = r.Until(x.Rests); err != nil {
		return l, err
	}
	l.Preferred, l.Valid, l.Rests = l.Preferred.Clear(now), l.Valid.Clear(now), l.Rests.Clear(now)
	if over := l.Valid == (lifetime.Until{}); x.Ended > 0 && !over || x.Ended == 0 && l.Rests != (lifetime.Until{}) {
		return l, errors.New("it is over and it is not")
	}
	return l, nil
}
