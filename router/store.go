// SPDX-License-Identifier: MIT

package router

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/wgkey"
)

// store is lease.json: identity and lease of the DHCPv6 client.
//
// Flash wears out, so a Reply that only renews lifetimes is written at most once per saveInterval;
// anything else, and the end of the process, is written at once.
type store struct {
	dir    string
	wall   func() time.Time
	bootID string

	duid dhcpv6.DUID
	iaid dhcpv6.IAID

	lease    client.Lease
	onDisk   client.Lease  // as of the last save
	saved    time.Time     // zero: never
	wake     time.Time     // of a save put off; zero: none
	every    time.Duration // between saves of mere renewals
	reported string        // last failure, so that it is logged once
	budget   int           // saves at once that are left
	refilled time.Time
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

func (s *store) path() string { return filepath.Join(s.dir, "lease.json") }

// sweep removes what a process that was killed while it wrote has left.
func (s *store) sweep() {
	left, err := filepath.Glob(filepath.Join(s.dir, ".lease.json[0-9]*"))
	if err != nil {
		return // a bad pattern: a folder with brackets in its name keeps its leftovers
	}
	for _, f := range left {
		_ = os.Remove(f) // it is only in the way
	}
}

// load reads the file. A missing one is no error; a damaged one is set aside as lease.json.bad.
func (s *store) load(now time.Time) (kept, error) {
	s.sweep()
	data, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, err
	}
	lease, duid, iaid, _, err := client.DecodeLease(data, now, s.wall(), s.bootID)
	if err != nil {
		bad := s.path() + ".bad"
		if rerr := os.Rename(s.path(), bad); rerr != nil {
			return kept{}, errors.Join(err, rerr)
		}
		return kept{}, fmt.Errorf("%s is damaged and now called %s: %w", s.path(), bad, err)
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
		at = s.atOnce(now)
	}
	if s.wake.IsZero() || at.Before(s.wake) {
		s.wake = at
	}
}

// atOnce is now as long as the budget lasts, else when there will be some again.
func (s *store) atOnce(now time.Time) time.Time {
	if n := now.Sub(s.refilled) / saveRefill; s.refilled.IsZero() || n >= saveBurst {
		s.budget, s.refilled = saveBurst, now
	} else if n > 0 {
		s.budget, s.refilled = min(saveBurst, s.budget+int(n)), s.refilled.Add(n*saveRefill)
	}
	if s.budget == 0 {
		return s.refilled.Add(saveRefill)
	}
	s.budget--
	return now
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
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(s.path(), data, 0o600, renameio.WithTempDir(s.dir)); err != nil {
		s.wake = now.Add(retrySave)
		return err
	}
	s.onDisk, s.saved = s.lease, now
	err = syncFolder(s.dir)
	if err != nil {
		s.wake = now.Add(retrySave)
	}
	return err
}

// syncFolder makes a rename outlast a power cut: a Reconfigure that was acted upon must not be taken again.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// newDUID makes the identity of a box that has none: random, so that cloned cards differ; from the
// public key if there is no randomness worth the name, so that it is at least the same every time.
func newDUID(key wgkey.Public) dhcpv6.DUID {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return dhcpv6.DUIDFromPublicKey(key)
	}
	return dhcpv6.NewDUIDUUID(b)
}
