// SPDX-License-Identifier: MIT

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/lifetime"
)

// stateVersion is the format of the file. Another one is refused, never guessed at.
const stateVersion = 1

// maxSaved bounds the bindings of a file, whatever Config says: 65536 /64 fit into a /48.
const maxSaved = 1 << 16

type savedState struct {
	Version   int            `json:"version"`
	BootID    string         `json:"boot_id"`
	SavedAt   int64          `json:"saved_at_boot_ns"`
	SavedWall time.Time      `json:"saved_at_wall"` // for people; never computed with
	Replay    uint64         `json:"reconfigure_replay"`
	Bindings  []savedBinding `json:"bindings"`
}

type savedBinding struct {
	Link        string       `json:"link"`
	Client      string       `json:"client"`
	Type        string       `json:"type"`
	IAID        uint32       `json:"iaid"`
	Peer        netip.Addr   `json:"peer"`
	Reconfigure bool         `json:"reconfigure,omitempty"`
	Leases      []savedLease `json:"leases"`
}

type savedLease struct {
	Prefix    netip.Prefix   `json:"prefix"`
	Preferred lifetime.Saved `json:"preferred"`
	Valid     lifetime.Saved `json:"valid"`
	Stale     bool           `json:"stale,omitempty"`
}

// EncodeState is the state as it goes to disk. now is the boot clock, wall the time of day, bootID names the boot.
func EncodeState(s State, now, wall time.Time, bootID string) ([]byte, error) {
	f := savedState{Version: stateVersion, BootID: bootID, SavedAt: now.UnixNano(), SavedWall: wall.UTC().Round(0), Replay: s.Replay}
	for _, b := range s.Bindings {
		x := savedBinding{Link: b.Link, Client: b.Client.String(), Type: b.Type.String(), IAID: uint32(b.IAID), Peer: b.Peer, Reconfigure: b.Reconfigure}
		for _, l := range b.Leases {
			x.Leases = append(x.Leases, savedLease{l.Prefix, lifetime.Save(l.Preferred, now), lifetime.Save(l.Valid, now), l.Stale})
		}
		f.Bindings = append(f.Bindings, x)
	}
	data, err := json.Marshal(f) // without indents: a thousand bindings are 300 kB of flash as it is
	if err != nil {
		return nil, fmt.Errorf("DHCPv6 bindings: %w", err) // a wall time outside of the years 0 to 9999
	}
	return append(data, '\n'), nil
}

// DecodeState reads what EncodeState wrote; an error means a damaged file. In another boot nobody knows how much time has
// passed: lifetimes are then what was left when they were written, so that nobody else gets what a client may have.
func DecodeState(data []byte, now time.Time, bootID string) (State, error) {
	var f savedState
	err := json.Unmarshal(data, &f)
	switch {
	case err != nil:
	case f.Version != stateVersion:
		err = fmt.Errorf("version %d, want %d", f.Version, stateVersion)
	case len(f.Bindings) > maxSaved:
		err = errors.New("more bindings than a server has")
	}
	if err != nil {
		return State{}, damaged(err)
	}
	r := lifetime.NewReviver(now, bootID, f.BootID, f.SavedAt)
	s := State{Replay: f.Replay}
	seen := map[string]bool{}
	for i := range f.Bindings {
		b, err := f.Bindings[i].revive(r, now)
		if err != nil {
			return State{}, damaged(err)
		}
		key := b.Type.String() + b.IAID.String() + string(b.Client)
		if seen[key] {
			return State{}, damaged(fmt.Errorf("%s %s of %s is there twice", b.Type, b.IAID, b.Client))
		}
		seen[key] = true
		s.Bindings = append(s.Bindings, b)
	}
	return s, nil
}

func damaged(err error) error { return fmt.Errorf("DHCPv6 bindings are damaged: %w", err) }

func (x *savedBinding) revive(r lifetime.Reviver, now time.Time) (b Binding, err error) {
	b = Binding{Link: x.Link, Type: dhcpv6.PD, IAID: dhcpv6.IAID(x.IAID), Peer: x.Peer, Reconfigure: x.Reconfigure}
	if b.Client, err = dhcpv6.ParseDUIDText(x.Client); err != nil {
		return b, err
	}
	if x.Type == dhcpv6.NA.String() {
		b.Type = dhcpv6.NA
	} else if x.Type != b.Type.String() {
		return b, fmt.Errorf("no IA is of type %q", x.Type)
	}
	if !linkLocal(b.Peer) || len(x.Leases) == 0 || len(x.Leases) > maxLeases {
		return b, fmt.Errorf("%s %s has a peer that is not link-local, no lease or too many", x.Type, b.IAID)
	}
	for _, l := range x.Leases {
		if !dhcpv6.Delegable(l.Prefix) || b.Type == dhcpv6.NA && l.Prefix.Bits() != 128 || b.find(l.Prefix) != nil {
			return b, fmt.Errorf("%s cannot be a lease", l.Prefix)
		}
		preferred, valid, err := r.Both(l.Preferred, l.Valid)
		if err != nil {
			return b, fmt.Errorf("%s: %w", l.Prefix, err)
		}
		b.Leases = append(b.Leases, Lease{l.Prefix, preferred.Clear(now), valid.Clear(now), l.Stale})
	}
	return b, nil
}

// linkLocal says that answers and routes can go to a.
func linkLocal(a netip.Addr) bool {
	return a.Is6() && a.IsLinkLocalUnicast() && !a.Is4In6() && a.Zone() == ""
}
