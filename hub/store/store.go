// SPDX-License-Identifier: MIT

// Package store keeps a hub's records: leases, joined peers, invitations, where sites were last.
//
// It has a contract that etcd could keep as well (Store), a file of bbolt's that keeps it (File), and a form in memory
// for tests and for the demo (Memory); package storetest says whether a form keeps the contract. Keys are like paths
// (lease/…, peer/…); what they and their values mean, it must not know. It knows no clock, and of the file system one
// folder. Start at Store and OpenFile.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Revision numbers what was committed: each commit that changes something has the next one, and all of its records have
// it. It never goes back, over restarts neither; 0 is that of an empty store, and of a record that is not there. It is
// etcd's revision, and a record's is its mod_revision.
type Revision uint64

// Any as a Change's If asks for nothing. No commit ever has this revision.
const Any = ^Revision(0)

// Record is one key with its value. Both belong to who receives the Record, but what Watch sends goes to several: nobody
// may change it.
type Record struct {
	Key      string
	Value    []byte // never nil, but in what Watch sends: nil there means deleted
	Revision Revision
}

// Change is what a commit does to one key.
type Change struct {
	Key   string // 1 to MaxKey octets
	Value []byte // at most MaxValue octets; nil deletes: what is not there as well
	// If is the revision that the record must have now: 0, it must not be there; Any, whatever it is.
	If Revision
}

// Limits of a key and of a value. etcd takes requests of 1.5 MiB.
const (
	MaxKey   = 512
	MaxValue = 1 << 20
)

var (
	// ErrConflict is why nothing of a commit was done: a record has not the revision that a Change's If wants. In
	// etcd: a Txn the compares of which did not hold.
	ErrConflict = errors.New("somebody else has changed the record")
	// ErrForgotten is why a Watch cannot begin where it is asked to. In etcd: ErrCompacted. Load, and watch from there.
	ErrForgotten = errors.New("what was committed then is not remembered any more")
)

// Store is the contract. All methods may be called by several goroutines at once. After Close they return fs.ErrClosed.
type Store interface {
	// Load is everything, sorted by key, and the revision at which it stood so: one Range over all keys in etcd, and
	// the revision in the header of its answer.
	Load(ctx context.Context) ([]Record, Revision, error)

	// Commit does all of the changes or none. They are on stable storage, and outlast a power cut, when it returns with
	// no error; the revision is then theirs, or the store's if they changed nothing. What several goroutines commit at
	// once is written together; of several changes of one key, each in a commit of its own, the later sees the earlier.
	//
	// One key must not be in a commit twice. ctx ends the wait for the turn: what has begun is waited for. ErrConflict
	// and ctx's error mean that nothing was done; another error says so itself, if the opposite may be true. The caller
	// keeps the changes, and must not touch them before Commit returns.
	//
	// It is a Txn in etcd: If(ModRevision(key) = If, …), Then(Put or Delete, …). More than 128 changes in one need an
	// etcd with a larger --max-txn-ops; if etcd does not answer in time nobody knows whether it was done, and changes
	// with an If, other than Any, can be tried again without harm.
	Commit(ctx context.Context, changes []Change) (Revision, error)

	// CommitLazy is for what may be lost in a crash, such as where a site was last: no write of its own, no wait. It is
	// written with the next Commit or some time later, at the latest by Close, unless a Commit changes the key before
	// that; until then Load may show it or not. Each If must be Any, and a key that is committed so should be compared
	// with no revision elsewhere. It fails if the store is closed or a change is not valid; a failure to write is tried
	// again and not reported. With etcd it is a Commit that nobody waits for.
	CommitLazy(changes []Change) error

	// Watch sends what is committed after that revision, by anybody, this Store included: one slice for each revision,
	// in order, without gaps. A key that is gone has a nil Value. after is what Load or Commit returned, and so
	// nothing is missed or comes twice.
	//
	// The channel is closed when ctx is done, when the Store is, or when the receiver is so slow that what it has not
	// received is forgotten: if ctx is not done, Load and watch again. It is etcd's Watch of all keys with
	// WithRev(after + 1), the events of each revision together (WithFragment off).
	Watch(ctx context.Context, after Revision) (<-chan []Record, error)

	// Close writes what was lazy, ends all watches and waits for what goes on.
	io.Closer
}

// valid says what is wrong with changes as such.
func valid(changes []Change) error {
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		switch {
		case c.Key == "" || len(c.Key) > MaxKey:
			return fmt.Errorf("store: a key of %d octets, want 1 to %d: %.40q", len(c.Key), MaxKey, c.Key)
		case len(c.Value) > MaxValue:
			return fmt.Errorf("store: %s: a value of %d octets, want at most %d", c.Key, len(c.Value), MaxValue)
		case seen[c.Key]:
			return fmt.Errorf("store: %s is in one commit twice", c.Key)
		}
		seen[c.Key] = true
	}
	return nil
}

// validLazy is valid for CommitLazy.
func validLazy(changes []Change) error {
	for _, c := range changes {
		if c.If != Any {
			return fmt.Errorf("store: %s: what is lazy cannot depend on a revision", c.Key)
		}
	}
	return valid(changes)
}

// conflict is ErrConflict with the first record that is not as a change wants it.
func conflict(changes []Change, revision func(key string) (Revision, error)) error {
	for _, c := range changes {
		if c.If == Any {
			continue
		}
		got, err := revision(c.Key)
		if err != nil {
			return err
		}
		if got != c.If {
			return fmt.Errorf("%s has revision %d, not %d: %w", c.Key, got, c.If, ErrConflict)
		}
	}
	return nil
}
