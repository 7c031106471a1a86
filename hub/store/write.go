// SPDX-License-Identifier: MIT

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"go.etcd.io/bbolt"
)

// write is the writer. It ends when it is told to stop and all that was taken is on disk.
func (f *File) write() {
	defer close(f.done)
	for {
		select {
		case c := <-f.commits:
			f.turn(f.gather(c))
		case changes := <-f.lazy:
			f.postpone(changes)
		case <-f.flush.C:
			f.turn(nil)
		case <-f.stop:
			f.turn(nil)
			f.closed = f.shut()
			return
		}
	}
}

// gather takes those who wait beside the first.
func (f *File) gather(first *commit) []*commit {
	all, n := []*commit{first}, len(first.changes)
	for n < maxTurn {
		select {
		case c := <-f.commits:
			all, n = append(all, c), n+len(c.changes)
		default:
			return all
		}
	}
	return all
}

func (f *File) postpone(changes []Change) {
	if len(f.postponed) == 0 {
		f.flush.Reset(lazyDelay)
	}
	for _, c := range changes {
		f.postponed[c.Key] = c
	}
}

// turn writes commits and what was postponed in one transaction, and answers.
func (f *File) turn(commits []*commit) {
	t := turn{revision: f.revision, sum: f.sum, changed: map[string]bool{}}
	err := f.guard(func() error { return f.transact(&t, commits) })
	switch {
	case err == nil:
		f.revision, f.sum = t.revision, t.sum
		clear(f.postponed)
		f.history.add(t.done)
	case errors.Is(err, errNothing):
		clear(f.postponed)
		err = nil
	case len(f.postponed) > 0:
		f.flush.Reset(lazyDelay)
	}
	for _, c := range commits {
		if c.err == nil {
			c.err = err
		}
		if c.err != nil {
			c.revision = 0
		}
		close(c.done)
	}
}

// errNothing ends a transaction that has changed nothing.
var errNothing = errors.New("nothing to write")

// transact is one transaction of bbolt's: on disk if it returns nil, else without trace.
func (f *File) transact(t *turn, commits []*commit) error {
	err := f.db.Update(func(tx *bbolt.Tx) error {
		t.bucket = tx.Bucket([]byte(recordBucket))
		for _, c := range commits {
			if err := t.do(c); err != nil {
				return err
			}
		}
		if err := t.doLazy(f.postponed); err != nil {
			return err
		}
		if t.revision == f.revision {
			return errNothing
		}
		return errors.Join(t.bucket.SetSequence(uint64(t.revision)), tx.Bucket([]byte(sumBucket)).SetSequence(t.sum))
	})
	if err == nil || errors.Is(err, errNothing) || errors.Is(err, errDamagedRecord) {
		return err
	}
	// The last write of a transaction is what makes it true. If that was made, and syncing it failed, nobody knows what
	// is on the disk, and trying again would not tell.
	var now Revision
	if err2 := f.db.View(func(tx *bbolt.Tx) error {
		now = Revision(tx.Bucket([]byte(recordBucket)).Sequence())
		return nil
	}); err2 != nil || now != f.revision {
		return f.giveUp(errors.Join(err, err2))
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err // its path is ours
	}
	return f.named(fmt.Errorf("nothing is written: %w", err))
}

// shut closes the file. bbolt's own way out is blocked after a panic: then only the lock is given back.
func (f *File) shut() error {
	f.flush.Stop()
	if b := f.broken.Load(); b != nil {
		// The mapping stays, and would keep the lock.
		return errors.Join(*b, syscall.Flock(int(f.file.Fd()), syscall.LOCK_UN), f.file.Close())
	}
	return f.db.Close()
}

// turn is what one transaction does.
type turn struct {
	bucket   *bbolt.Bucket
	revision Revision
	sum      uint64
	changed  map[string]bool
	done     [][]Record
}

// do does one commit, unless it conflicts: that is its own affair.
func (t *turn) do(c *commit) error {
	switch err := conflict(c.changes, t.revisionOf); {
	case errors.Is(err, ErrConflict):
		c.err = err
		return nil
	case err != nil:
		return err
	}
	err := t.change(c.changes)
	c.revision = t.revision
	return err
}

// doLazy is do for what was postponed, where nothing newer is there.
func (t *turn) doLazy(postponed map[string]Change) error {
	var left []Change
	for _, c := range postponed {
		if !t.changed[c.Key] {
			left = append(left, c)
		}
	}
	return t.change(left)
}

func (t *turn) change(changes []Change) error {
	var done []Record
	for _, c := range changes {
		key := []byte(c.Key)
		old := t.bucket.Get(key)
		if c.Value == nil && old == nil {
			continue
		}
		t.sum -= weight(old)
		r := Record{Key: c.Key, Revision: t.revision + 1}
		var err error
		if c.Value == nil {
			err = t.bucket.Delete(key)
		} else {
			data := encodeRecord(Record{Key: c.Key, Value: c.Value, Revision: r.Revision})
			r.Value = data[recordHeader:len(data):len(data)]
			t.sum += weight(data)
			err = t.bucket.Put(key, data)
		}
		if err != nil {
			return err
		}
		t.changed[c.Key] = true
		done = append(done, r)
	}
	if len(done) > 0 {
		t.revision++
		t.done = append(t.done, done)
	}
	return nil
}

// revisionOf is what the record has now, this turn's commits included.
func (t *turn) revisionOf(key string) (Revision, error) {
	data := t.bucket.Get([]byte(key))
	if data == nil {
		return 0, nil
	}
	r, err := decodeRecord([]byte(key), data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return r.Revision, nil
}
