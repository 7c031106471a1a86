// SPDX-License-Identifier: MIT

package router

import (
	"io"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/wgkey"
)

// store is lease.json: identity and lease of the DHCPv6 client.
//
// Flash wears out, so a Reply that only renews lifetimes is written at most once per saveInterval;
// anything else, and the end of the process, is written at once.
type store struct {
	files  Files
	wall   func() time.Time
	bootID string

	duid dhcpv6.DUID
	iaid dhcpv6.IAID

	lease  client.Lease
	onDisk client.Lease  // as of the last save
	saved  time.Time     // zero: never
	wake   time.Time     // of a save put off; zero: none
	every  time.Duration // between saves of mere renewals
	failed string        // the last failure to write, for reportSave
	wear   wear
}

func newStore(files Files, wall func() time.Time, bootID string) *store {
	return &store{
		files: files, wall: wall, bootID: bootID, iaid: dhcpv6.DefaultIAID,
		wear: newWear(saveBurst, saveRefill),
	}
}

// saveInterval bounds the age of the lifetimes on disk. With the lifetimes of RFC 9096 (90 min valid)
// it leaves half an hour of valid lifetime even after a kill -9 at the worst moment. Shorter lifetimes are saved
// more often, nine tenths of them apart, but not within saveRefill.
const (
	saveInterval = time.Hour
	retrySave    = 5 * time.Minute // after a failure: somebody may have made room
)

// A server whose leases come and go by the second must not wear the flash out: so many changes are
// written at once, and then one for each refill.
const (
	saveBurst  = 10
	saveRefill = 5 * time.Minute
)

// kept is what an earlier process left.
type kept struct {
	lease client.Lease
	duid  dhcpv6.DUID
	iaid  dhcpv6.IAID
}

func (s *store) file() stateFile { return stateFile{s.files, "lease.json"} }

// load reads the file. A missing one is no error; a damaged one is set aside as lease.json.bad.
func (s *store) load(now time.Time) (kept, error) {
	data, err := s.file().read()
	if data == nil {
		return kept{}, err
	}
	lease, duid, iaid, _, err := client.DecodeLease(data, now, s.wall(), s.bootID)
	if err != nil {
		return kept{}, s.file().setAside(err)
	}
	s.lease, s.onDisk, s.saved, s.every = lease, lease, now, saveEvery(lease, now)
	return kept{lease: lease, duid: duid, iaid: iaid}, nil
}

// changed takes a new lease over and decides when it goes to disk.
func (s *store) changed(now time.Time, l client.Lease) {
	s.lease = l
	at := s.saved.Add(s.every)
	switch {
	case at.Before(now):
		at = now
	case s.saved.IsZero() || !l.SameButTimes(s.onDisk):
		at = s.wear.atOnce(now)
	}
	if s.wake.IsZero() || at.Before(s.wake) {
		s.wake = at
	}
}

func (s *store) due(now time.Time) bool { return !s.wake.IsZero() && !s.wake.After(now) }

// saveEvery is how far apart renewals of a lease are written.
func saveEvery(l client.Lease, now time.Time) time.Duration {
	every := saveInterval
	for _, p := range append(l.Prefixes(), l.Addresses()...) {
		every = min(every, p.Valid.Left(now)/10*9)
	}
	return max(every, saveRefill)
}

// save writes the file atomically. After a failure the next attempt is retrySave away, or comes
// with the next change.
func (s *store) save(now time.Time) error {
	s.wake, s.every = time.Time{}, saveEvery(s.lease, now)
	if s.duid == "" {
		return nil // static prefix: there is nothing to keep
	}
	data, err := client.EncodeLease(s.lease, s.duid, s.iaid, now, s.wall(), s.bootID)
	if err != nil {
		return err
	}
	if err := s.file().write(data); err != nil {
		s.wake = now.Add(retrySave)
		return err
	}
	s.onDisk, s.saved = s.lease, now
	return nil
}

// newDUID makes the identity of a box that has none: random, so that cloned cards differ; from the
// public key if there is no randomness worth the name, so that it is at least the same every time.
func newDUID(key wgkey.Public, entropy io.Reader) dhcpv6.DUID {
	var b [16]byte
	if _, err := io.ReadFull(entropy, b[:]); err != nil {
		return dhcpv6.DUIDFromPublicKey(key)
	}
	return dhcpv6.NewDUIDUUID(b)
}
