// SPDX-License-Identifier: MIT

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lazyDelay is how long what is lazy waits for a Commit to go with.
const lazyDelay = 20 * time.Second

// maxTurn bounds the changes that are written at once, as long as single commits are not larger.
const maxTurn = 8192

// File is a Store in one file of bbolt's, that belongs to this process as long as it is open.
//
// One goroutine writes: what came while it wrote is its next transaction, so that commits of many goroutines share the
// two fsyncs that one costs. A commit that fails, as on a full disk, has changed nothing, and the next may succeed. If
// the file or its disk fails in a way that leaves no certainty, all that follow fail: the next process finds out what is
// there.
type File struct {
	path string
	db   *bbolt.DB
	file *os.File // db's

	commits chan *commit
	lazy    chan []Change
	stop    chan struct{}
	closing atomic.Bool
	done    chan struct{} // the writer has ended
	broken  atomic.Pointer[error]
	history *history

	// Of the writer alone.
	revision  Revision
	sum       uint64 // of all records' weights
	postponed map[string]Change
	flush     *time.Timer
	closed    error // what closing has said
}

// commit is one Commit on its way through the writer, who owns it until done is closed.
type commit struct {
	changes  []Change
	done     chan struct{}
	revision Revision
	err      error
}

func newFile(path string, db *bbolt.DB, file *os.File, revision Revision, sum uint64) *File {
	f := &File{
		path: path, db: db, file: file, revision: revision, sum: sum, history: newHistory(revision),
		commits: make(chan *commit), lazy: make(chan []Change), stop: make(chan struct{}), done: make(chan struct{}),
		postponed: map[string]Change{}, flush: time.NewTimer(lazyDelay),
	}
	f.flush.Stop()
	go f.write()
	return f
}

// Load implements Store.
func (f *File) Load(ctx context.Context) (all []Record, revision Revision, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	err = f.guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(recordBucket))
			revision = Revision(b.Sequence())
			return b.ForEach(func(key, data []byte) error {
				r, err := decodeRecord(key, data)
				if err != nil {
					return fmt.Errorf("%q: %w", key, err)
				}
				r.Value = bytes.Clone(r.Value)
				all = append(all, r)
				return nil
			})
		})
	})
	if err != nil {
		return nil, 0, err
	}
	return all, revision, nil
}

// Commit implements Store.
func (f *File) Commit(ctx context.Context, changes []Change) (Revision, error) {
	if err := valid(changes); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	c := &commit{changes: changes, done: make(chan struct{})}
	select {
	case f.commits <- c:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-f.stop:
		return 0, f.named(fs.ErrClosed)
	}
	<-c.done
	return c.revision, c.err
}

// CommitLazy implements Store.
func (f *File) CommitLazy(changes []Change) error {
	if err := validLazy(changes); err != nil {
		return err
	}
	own := make([]Change, len(changes))
	for i, c := range changes {
		own[i] = Change{Key: c.Key, Value: bytes.Clone(c.Value), If: Any}
	}
	select {
	case f.lazy <- own:
		return nil
	case <-f.stop:
		return f.named(fs.ErrClosed)
	}
}

// Watch implements Store.
func (f *File) Watch(ctx context.Context, after Revision) (<-chan []Record, error) {
	return f.history.watch(ctx, after)
}

// Close implements Store.
func (f *File) Close() error {
	if f.closing.Swap(true) {
		return f.named(fs.ErrClosed)
	}
	close(f.stop)
	<-f.done
	f.history.close()
	return f.closed
}

func (f *File) named(err error) error { return fmt.Errorf("%s: %w", f.path, err) }

// guard runs what reads or writes the file. bbolt panics on pages that are not as it wrote them, and the kernel faults
// what it cannot read of a mapped file; what is behind either of these nobody knows, so nothing more is tried.
func (f *File) guard(do func() error) (err error) {
	if b := f.broken.Load(); b != nil {
		return *b
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = f.giveUp(fmt.Errorf("the file or its disk is damaged: %v", p))
		}
	}()
	err = do()
	switch {
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return f.named(fs.ErrClosed)
	case errors.Is(err, errDamagedRecord):
		return f.giveUp(err)
	}
	return err
}

// giveUp is the end of this Store, but for Close.
func (f *File) giveUp(cause error) error {
	err := f.named(fmt.Errorf("%w: nothing more is read or written; start oasis6 hub anew to see what can be saved", cause))
	f.broken.CompareAndSwap(nil, &err)
	return *f.broken.Load()
}
