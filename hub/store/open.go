// SPDX-License-Identifier: MIT

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// KeyLost is the key of a record that this package itself makes: in a file that takes the place of a damaged one it says
// what happened, in words. Nobody else has a reason to write it; who has made good what was lost deletes it.
const KeyLost = "store/lost"

// A predecessor that was told to stop needs a moment to let go.
const (
	lockTimeout = time.Second
	lockRetry   = 50 * time.Millisecond
)

// allocSize is the step by which a larger file grows, while bbolt's 16 MiB would fill a small flash. Up to this size
// it doubles.
const allocSize = 256 << 10

// ErrInUse is why a file cannot be opened: another process has it.
var ErrInUse = errors.New("another oasis6 hub has it: stop it first")

// Damage is what was found wrong with a file, and what was done about it. It is an error that does not stop the hub.
type Damage struct {
	Path  string // of the file
	Bad   string // what the damaged file is called now; empty: it was only read
	Kept  int    // records that are whole, as of the last commit or the one before
	Cause error  //
}

func (d *Damage) Error() string {
	text := d.Path + " is damaged"
	if d.Bad != "" {
		text += " and now called " + d.Bad
	}
	return fmt.Sprintf("%s: %v: %d records are whole", text, d.Cause, d.Kept)
}

func (d *Damage) Unwrap() error { return d.Cause }

// OpenFile opens the file, or makes it and its folder. Nobody else can open it until Close or the end of the process,
// and only its owner can read it: it holds secrets.
//
// A file that is damaged in whatever way is set aside (path.bad, path.bad.1 and so on; never over an older one) and does
// not stop the hub: a new one is made of the records that are proven whole, and Damage says so, once; the record KeyLost
// says it until it is deleted. What is missing is not known then: leases among it are still held by sites, and their
// prefixes look free. A safe rule for a hub until then: KeyLost stays for the longest valid lifetime that was told, and as
// long as it is there (1) a prefix that a site names in a Renew or a Rebind and that nobody else has is its own, (2) a
// site that names none gets one from the end of the pool where the allocator would come last, so that it meets those that
// are held late. Of two sites with one prefix only one is ever routed, by allowed-ips; the other is told to take another.
func OpenFile(ctx context.Context, path string) (*File, *Damage, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	file, err := lock(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	f, damage, err := open(path, file)
	if err != nil {
		_ = file.Close() // bbolt may have closed it; the error that counts is there already
		return nil, nil, err
	}
	return f, damage, nil
}

// ReadFile is what Load would say of a file that no hub has open. A *Damage as error comes with the records that are
// whole.
func ReadFile(ctx context.Context, path string) ([]Record, Revision, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	if err := flock(ctx, file, syscall.LOCK_SH); err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return nil, 0, err
	}
	c := readTree(file, info.Size())
	if c.damage != nil {
		return c.all, c.revision, &Damage{Path: path, Kept: len(c.all), Cause: c.damage}
	}
	return c.all, c.revision, nil
}

// lock opens the file, or makes an empty one, and locks it. It is still the one of that name then: who has it locked may
// put another in its place.
func lock(ctx context.Context, path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(flock(ctx, file, syscall.LOCK_EX), file.Chmod(0o600)); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		ours, err := file.Stat()
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(ours, named) {
			return file, nil
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
}

func flock(ctx context.Context, file *os.File, how int) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	retry := time.NewTicker(lockRetry)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return &fs.PathError{Op: "lock", Path: file.Name(), Err: err}
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return fmt.Errorf("%s: %w", file.Name(), ErrInUse)
		}
	}
}

// open makes a File of one that is locked, whatever is in it.
func open(path string, file *os.File) (*File, *Damage, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	// Only who has the file locked makes such a one, so what is there was left by a process that was killed.
	if err := os.Remove(unfinished(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if info.Size() == 0 {
		return replace(path, file, content{}, nil)
	}
	c := readTree(file, info.Size())
	if c.damage != nil {
		return setAside(path, file, c)
	}
	if c.wasteful(info.Size()) {
		// A file that is too large is better than none.
		if f, _, err := replace(path, file, c, nil); err == nil {
			return f, nil, nil
		}
	}
	db, err := openBolt(file)
	if err != nil {
		return nil, nil, err
	}
	return newFile(path, db, file, c.revision, c.sum), nil, nil
}

// setAside gives the damaged file another name and puts one with what is whole in its place.
func setAside(path string, file *os.File, c content) (*File, *Damage, error) {
	d := &Damage{Path: path, Kept: len(c.all), Cause: c.damage}
	for n := 0; ; n++ {
		d.Bad = path + ".bad"
		if n > 0 {
			d.Bad += "." + strconv.Itoa(n)
		}
		if _, err := os.Lstat(d.Bad); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return nil, nil, errors.Join(d, err)
		}
	}
	c.revision++
	c.put(Record{Key: KeyLost, Value: []byte(d.Error()), Revision: c.revision})
	return replace(path, file, c, d)
}

// replace puts a new file with that content in the place of the locked one. Killed at any moment, the old one or the new
// one is there. With damage the old one also stays, by the name that damage gives it.
func replace(path string, old *os.File, c content, damage *Damage) (*File, *Damage, error) {
	name := unfinished(path)
	fd, err := syscall.Open(name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	file := os.NewFile(uintptr(fd), path) // the name that it is going to have, for errors
	db, err := fill(file, &c)
	if err == nil && damage != nil {
		err = keep(path, damage.Bad)
	}
	if err == nil {
		err = os.Rename(name, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		if db != nil {
			_ = db.Close() // and the file with it; the error that counts is there already
		}
		_ = file.Close()
		_ = os.Remove(name)
		return nil, nil, err
	}
	_ = old.Close() // nothing was written through it
	return newFile(path, db, file, c.revision, c.sum), damage, nil
}

// unfinished is what a file is called until it is whole.
func unfinished(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

// keep gives a file a second name, so that the first never leads nowhere; on a file system without such names it moves.
func keep(path, second string) error {
	if err := os.Link(path, second); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(path, second)
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fill makes a database in an empty file. The content's sum is then that of what was written.
func fill(file *os.File, c *content) (*bbolt.DB, error) {
	db, err := openBolt(file)
	if err != nil {
		return nil, err
	}
	return db, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(recordBucket))
		if err != nil {
			return err
		}
		c.sum = 0
		for _, r := range c.all {
			data := encodeRecord(r)
			c.sum += weight(data)
			if err := b.Put([]byte(r.Key), data); err != nil {
				return err
			}
		}
		sums, err := tx.CreateBucket([]byte(sumBucket))
		if err != nil {
			return err
		}
		return errors.Join(b.SetSequence(uint64(c.revision)), sums.SetSequence(c.sum))
	})
}

// openBolt makes a database of a file that is open already. bbolt locks it once more, which does nothing for the process
// that has the lock, and would close it after an error.
func openBolt(file *os.File) (*bbolt.DB, error) {
	db, err := bbolt.Open(file.Name(), 0o600, &bbolt.Options{
		Timeout: lockTimeout, FreelistType: bbolt.FreelistArrayType, NoStatistics: true,
		OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return file, nil },
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = allocSize
	return db, nil
}
