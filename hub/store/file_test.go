// SPDX-License-Identifier: MIT

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/netlab"
)

// What is committed is there when the file is opened again, and when it is only read.
func TestFileKeeps(t *testing.T) {
	path := newPath(t)
	want := ""
	for n := range 3 {
		f := mustOpen(t, path)
		key := "lease/" + string(rune('a'+n))
		mustCommit(t, f, key, "x", "gone", "x")
		mustCommit(t, f, "gone", "")
		want += fmt.Sprintf(" %s=x@%d", key, 2*n+1)
		whole := fmt.Sprintf("%d:%s", 2*n+2, want)
		if got := holds(t, f); got != whole {
			t.Errorf("Load: %s, want %s", got, whole)
		}
		mustClose(t, f)
		all, revision, err := ReadFile(t.Context(), path)
		if got := describe(all, revision); err != nil || got != whole {
			t.Errorf("ReadFile: %s, %v, want %s", got, err, whole)
		}
	}
}

func TestFileIsForItsOwnerAlone(t *testing.T) {
	path := newPath(t)
	mustClose(t, mustOpen(t, path))
	wantMode := func(path string, want fs.FileMode) {
		t.Helper()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	wantMode(path, 0o600)
	wantMode(filepath.Dir(path), 0o700)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, path))
	wantMode(path, 0o600)
}

func TestOneHubAtATime(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := mustOpen(t, path)
	mustCommit(t, f, "a", "1")
	if _, _, err := OpenFile(t.Context(), path); !errors.Is(err, ErrInUse) || !strings.HasSuffix(err.Error(), "/hub.db: another oasis6 hub has it: stop it first") {
		t.Errorf("OpenFile of a file in use = %v", err)
	}
	if _, _, err := ReadFile(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("ReadFile of a file in use = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := OpenFile(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenFile with a context that is done = %v", err)
	}
	// Who comes while the other one goes gets it.
	next := make(chan *File)
	go func() {
		f, _, err := OpenFile(t.Context(), path)
		if err != nil {
			t.Errorf("OpenFile while the other one goes = %v", err)
		}
		next <- f
	}()
	time.Sleep(lockRetry / 2)
	mustClose(t, f)
	if f = <-next; f == nil {
		return
	}
	if got := holds(t, f); got != "1: a=1@1" {
		t.Errorf("Load: %s", got)
	}
	mustClose(t, f)
	if _, _, err := ReadFile(t.Context(), path+"none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadFile of no file = %v", err)
	}
}

// Who waits for the lock while another file is put in the place of the one that it waits for must not take that one.
func TestLockOfAFileThatIsReplaced(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	mustClose(t, mustOpen(t, path))
	old, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		f, _, err := OpenFile(t.Context(), path)
		if err == nil {
			err = f.Close()
		}
		opened <- err
	}()
	time.Sleep(2 * lockRetry)
	f, _, err := replace(path, old, content{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := <-opened; !errors.Is(err, ErrInUse) {
		t.Errorf("OpenFile = %v, want %v", err, ErrInUse)
	}
}

// Commits that come while another one is written share a transaction, and one that conflicts does not harm the others.
func TestCommitsShareATransaction(t *testing.T) {
	path := newPath(t)
	f := mustOpen(t, path)
	mustCommit(t, f, "a", "1")
	before := transactions(t, path)
	busy, err := f.db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	const n = 64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := f.Commit(t.Context(), []Change{{Key: fmt.Sprint(i), Value: []byte("x")}, {Key: "a", Value: []byte("2"), If: Any}}); err != nil {
				t.Errorf("Commit = %v", err)
			}
		})
		wg.Go(func() {
			if _, err := f.Commit(t.Context(), []Change{{Key: "b", Value: []byte("x")}, {Key: "c", Value: []byte("2"), If: 7}}); !errors.Is(err, ErrConflict) {
				t.Errorf("Commit = %v, want a conflict", err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // until they wait
	if err := busy.Rollback(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, revision, err := f.Load(t.Context()); err != nil || revision != n+1 {
		t.Errorf("Load: revision %d, %v, want %d", revision, err, n+1)
	}
	if got := transactions(t, path) - before; got > n/4 {
		t.Errorf("%d commits took %d transactions", n, got)
	}
	mustClose(t, f)
}

// transactions is how many the file has had.
func transactions(t *testing.T, path string) uint64 {
	t.Helper()
	b := image(t, path)
	states, err := findMetas(bytesAt(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return states[0].txid
}

// What is lazy is written after a while.
func TestLazyIsWrittenByItself(t *testing.T) {
	path := newPath(t)
	synctest.Test(t, func(t *testing.T) {
		f, _, err := OpenFile(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, f)
		for range 2 {
			if err := f.CommitLazy(puts("endpoint/a", "1")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lazyDelay / 2)
		}
		synctest.Wait()
		before := holds(t, f)
		time.Sleep(time.Second)
		synctest.Wait()
		if after := holds(t, f); before != "0:" && after != "1: endpoint/a=1@1" {
			t.Errorf("Load: %s, a second after the delay %s", before, after)
		}
		mustCommit(t, f, "a", "2")
		time.Sleep(10 * lazyDelay)
		if got := holds(t, f); got != "2: a=2@2 endpoint/a=1@1" {
			t.Errorf("Load: %s: what was written is written again", got)
		}
	})
}

// When the disk is full a Commit fails, nothing else happens, and when there is room the next one succeeds.
func TestDiskFull(t *testing.T) {
	netlab.Need(t)
	dir := t.TempDir()
	mount := func(flags uintptr, size string) {
		t.Helper()
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "size="+size); err != nil {
			t.Fatalf("mount a tmpfs: %v", err)
		}
	}
	mount(0, "512k")
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "hub.db")
	f := mustOpen(t, path)
	watch, err := f.Watch(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	n, full := 0, error(nil)
	for ; full == nil && n < 1000; n++ {
		_, full = f.Commit(t.Context(), puts(fmt.Sprintf("lease/%03d", n), strings.Repeat("x", 1000)))
		if full == nil {
			<-watch
		}
	}
	if !errors.Is(full, unix.ENOSPC) || n < 50 {
		t.Fatalf("commit %d of 1 kB on a disk of 512 kB: %v", n, full)
	}
	t.Logf("after %d commits: %v", n, full)
	if want := path + ": nothing is written: no space left on device"; full.Error() != want {
		t.Errorf("Commit = %q, want %q", full, want)
	}
	before := holds(t, f)
	for range 3 {
		if err := f.CommitLazy(puts("endpoint/a", strings.Repeat("y", 5000))); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Commit(t.Context(), puts("lease/new", strings.Repeat("y", 50000))); err == nil {
			t.Error("a Commit on the full disk succeeds")
		}
	}
	if got := holds(t, f); got != before {
		t.Errorf("Load after commits that failed: %s\nwant %s", got, before)
	}
	select {
	case got := <-watch:
		t.Errorf("watch: %v, which was not committed", got)
	default:
	}
	mustBeWhole(t, path, before)

	mount(unix.MS_REMOUNT, "4m")
	if got := mustCommit(t, f, "lease/new", "z"); got != Revision(n) {
		t.Errorf("the first Commit with room has revision %d, want %d", got, n)
	}
	after := holds(t, f)
	if !strings.Contains(after, "endpoint/a=yyyy") || !strings.Contains(after, "lease/new=z@") || strings.Count(after, "lease/") != n {
		t.Errorf("Load after a Commit with room: %s", after)
	}
	mustClose(t, f)
	f = mustOpen(t, path)
	if got := holds(t, f); got != after {
		t.Errorf("Load after a restart: %s\nwant %s", got, after)
	}
}

// On a disk without room for a new file the hub is told so, and the next start finds no damage.
func TestDiskFullAtTheFirstStart(t *testing.T) {
	netlab.Need(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8k"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	path := filepath.Join(dir, "hub.db")
	if f, damage, err := OpenFile(t.Context(), path); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("OpenFile = %v, %v, %v, want %v", f, damage, err, unix.ENOSPC)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, mustOpen(t, path), "a", "1")
}

// A file that has held much and holds little is made small at the next start.
func TestCompaction(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := mustOpen(t, path)
	var many, few []string
	for n := range 5000 {
		many = append(many, fmt.Sprintf("lease/%04d", n), strings.Repeat("x", 400))
		if n >= 100 {
			few = append(few, fmt.Sprintf("lease/%04d", n), "")
		}
	}
	mustCommit(t, f, many...)
	mustCommit(t, f, few...)
	want := holds(t, f)
	mustClose(t, f)
	large := len(image(t, path))
	if states, err := findMetas(bytesAt(image(t, path)), int64(large)); err != nil || int64(large) > int64(states[0].pages+1)*states[0].pageSize+allocSize {
		t.Errorf("a file of %d octets for %d pages, %v: it grows in steps of %d", large, states[0].pages, err, allocSize)
	}
	f = mustOpen(t, path)
	if got := holds(t, f); got != want {
		t.Errorf("Load after compaction: %s\nwant %s", got, want)
	}
	if got := mustCommit(t, f, "a", "1"); got != 3 {
		t.Errorf("Commit after compaction = %d, want 3", got)
	}
	want = holds(t, f)
	mustClose(t, f)
	small := len(image(t, path))
	t.Logf("%d octets, then %d", large, small)
	if large < compactFrom || small > large/8 {
		t.Errorf("a file of %d octets is %d octets after compaction", large, small)
	}
	mustBeWhole(t, path, want)
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A hub that runs for years with the same number of leases has a file that stays as it is.
func TestFileStaysBounded(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	f := mustOpen(t, path)
	f.db.NoSync = true // 6,000 commits; the pages are written all the same
	const keys, rounds = 1000, 6
	var size [2]int64
	for round := range rounds {
		for n := range keys {
			// Neighbors, and not all of one size: the pages that are free are not those that fit best.
			k := (n*7919 + round*31) % keys
			mustCommit(t, f, fmt.Sprintf("lease/%04d", k), strings.Repeat("x", 200+(round*k)%200))
		}
		if round == rounds/3 || round == rounds-1 {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			size[min(round/(rounds-1), 1)] = info.Size()
		}
	}
	t.Logf("%d octets after %d commits, %d after %d", size[0], (rounds/3+1)*keys, size[1], rounds*keys)
	if size[1] > size[0]+allocSize || size[1] > 2<<20 {
		t.Errorf("the file grows from %d to %d octets", size[0], size[1])
	}
	want := holds(t, f)
	mustClose(t, f)
	mustBeWhole(t, path, want)
}

// mustBeWhole reads the file without bbolt.
func mustBeWhole(t testing.TB, path, want string) {
	t.Helper()
	b := image(t, path)
	c := readTree(bytesAt(b), int64(len(b)))
	if got := describe(c.all, c.revision); c.damage != nil || got != want {
		t.Errorf("the file holds %s, %v\nwant %s", got, c.damage, want)
	}
}
