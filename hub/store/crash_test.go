// SPDX-License-Identifier: MIT

package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a process that a test starts shall do, and with which file.
const (
	childTask = "OASIS6_TEST_STORE_CHILD"
	childFile = "OASIS6_TEST_STORE_FILE"
)

// step is the n-th commit of a sequence that is random, and the same each time.
func step(n int) []Change {
	rnd := rand.New(rand.NewSource(int64(n)))
	changes := []Change{{Key: "n", Value: []byte(strconv.Itoa(n)), If: Any}}
	for _, k := range rnd.Perm(40)[:rnd.Intn(8)] {
		c := Change{Key: fmt.Sprintf("lease/%02d", k), If: Any}
		if rnd.Intn(3) > 0 {
			c.Value = bytes.Repeat([]byte{byte('a' + n%26)}, rnd.Intn(600))
		}
		changes = append(changes, c)
	}
	return changes
}

// TestChild is not a test but the process that others start. It says what it has done.
func TestChild(t *testing.T) {
	task, path := os.Getenv(childTask), os.Getenv(childFile)
	if task == "" {
		return
	}
	if task == "twice" || task == "fault" {
		runtime.LockOSThread() // strace counts the calls of each thread
	}
	f, damage, err := OpenFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("open", damage != nil)
	for n := last(t, f) + 1; task == "on" || n <= 2; n++ {
		c := &commit{changes: step(n), done: make(chan struct{})}
		if task == "fault" {
			f.turn([]*commit{c}) // in this thread; the writer has nothing to do
		} else {
			_, c.err = f.Commit(t.Context(), c.changes)
		}
		if c.err != nil {
			fmt.Println("failed", c.err)
			continue
		}
		fmt.Println("done", n)
	}
	fmt.Println("close", f.Close())
}

// last is the number of the last step.
func last(t *testing.T, f *File) int {
	t.Helper()
	all, _, err := f.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Key == "n" {
			n, err := strconv.Atoi(string(r.Value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func child(task, path string, before ...string) *exec.Cmd {
	args := append(before, os.Args[0], "-test.run=^TestChild$")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childTask+"="+task, childFile+"="+path)
	return cmd
}

// Killed at any moment, 200 times: after that the last commit that was said to be done is there, or the one after it, as
// a whole, and the next process goes on from there.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	const kills, lanes = 200, 4
	for lane := range lanes {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			path := newPath(t)
			rnd := rand.New(rand.NewSource(int64(lane)))
			steps, early := 0, 0
			model := NewMemory()
			defer mustClose(t, model)
			for range kills / lanes {
				said := killOnce(t, path, rnd)
				f := mustOpen(t, path)
				n := last(t, f)
				done := max(said, steps)
				if n != done && n != done+1 {
					t.Fatalf("step %d is there, the last that was said to be done is %d", n, done)
				}
				for ; steps < n; steps++ {
					mustCommitAll(t, model, step(steps+1))
				}
				if got, want := holds(t, f), holds(t, model); got != want {
					t.Fatalf("after step %d: %s\nwant %s", n, got, want)
				}
				mustClose(t, f)
				if n > done {
					early++
				}
			}
			t.Logf("%d steps, %d kills, %d of them between the commit and its answer", steps, kills/lanes, early)
			if steps < kills/lanes {
				t.Errorf("%d steps in %d lives: nothing was tested", steps, kills/lanes)
			}
		})
	}
}

// killOnce lets a process make steps until it is killed, and says which was the last.
func killOnce(t *testing.T, path string, rnd *rand.Rand) (said int) {
	t.Helper()
	cmd := child("on", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func() bool {
		more := lines.Scan()
		if n, ok := strings.CutPrefix(lines.Text(), "done "); ok && more {
			if said, err = strconv.Atoi(n); err != nil {
				t.Fatal(err)
			}
		}
		return more
	}
	for n := rnd.Intn(12); n > 0 && next(); n-- { // 0: while it starts
	}
	time.Sleep(time.Duration(rnd.Intn(2000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for next() { // what it said before it died
	}
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended by itself: %v", err)
	}
	return said
}

func needStrace(t *testing.T) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs strace (scripts/deps.sh installs it)")
		}
		t.Skip("needs strace (scripts/deps.sh installs it)")
	}
	return strace
}

// Killed before each system call that touches files, while a file is made, set aside or compacted: nothing is lost, and
// the next start needs no help.
func TestKilledAtEachCall(t *testing.T) {
	strace := needStrace(t)
	large := largeImage(t)
	for what, old := range map[string][]byte{"a new file": nil, "a damaged file": []byte("damaged"), "a file that is too large": large} {
		for _, call := range []string{"openat", "pwrite64", "fdatasync", "ftruncate", "fsync", "linkat", "renameat", "unlinkat"} {
			t.Run(what+", "+call, func(t *testing.T) {
				t.Parallel()
				kills, pattern := 0, "/^"+call+"(64)?$" // on 32-bit machines it is ftruncate64
				for n := 1; ; n++ {
					path := newPath(t)
					if old != nil {
						writeImage(t, path, old)
					}
					cmd := child("twice", path, strace, "-f", "-o", os.DevNull, "-P", path, "-P", unfinished(path), "-P", path+".bad", "-P", filepath.Dir(path),
						"-e", "trace="+pattern, "-e", "inject="+pattern+":signal=KILL:when="+strconv.Itoa(n))
					out, err := cmd.Output()
					killed := errors.As(err, new(*exec.ExitError)) && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
					if err != nil && !killed {
						t.Fatalf("killed before %s %d: %v\n%s", call, n, err, out)
					}
					checkKilled(t, fmt.Sprint(call, " ", n), path, string(out), old)
					if !killed {
						break
					}
					if kills++; kills > 100 {
						t.Fatal("the process never comes to its end")
					}
				}
				t.Logf("%d kills", kills)
				if kills == 0 && (call != "linkat" || what == "a damaged file") {
					t.Error("nothing was killed: the test does not cover it")
				}
			})
		}
	}
}

// largeImage is a file that is worth compacting, with nothing in it.
func largeImage(t *testing.T) []byte {
	t.Helper()
	path := newPath(t)
	f := mustOpen(t, path)
	mustCommit(t, f, "large", strings.Repeat("x", MaxValue), "large/too", strings.Repeat("x", MaxValue))
	mustCommit(t, f, "large", "", "large/too", "")
	mustClose(t, f)
	b := image(t, path)
	if c := readTree(bytesAt(b), int64(len(b))); !c.wasteful(int64(len(b))) {
		t.Fatalf("%d octets, of which %d are used, are not worth compacting", len(b), c.used)
	}
	return b
}

func checkKilled(t *testing.T, when, path, said string, old []byte) {
	t.Helper()
	f, damage, err := OpenFile(t.Context(), path)
	if err != nil {
		t.Errorf("killed before %s: the next start: %v", when, err)
		return
	}
	all, revision, err := f.Load(t.Context())
	mustClose(t, f)
	if err != nil {
		t.Errorf("killed before %s: Load = %v", when, err)
		return
	}
	isLost := func(r Record) bool { return r.Key == KeyLost }
	damaged := len(old) > 0 && len(old) < compactFrom
	if lost := slices.ContainsFunc(all, isLost); lost != damaged || damage != nil && !damaged {
		t.Errorf("killed before %s: damage %v, remembered: %t", when, damage, lost)
	}
	if bad, err := os.ReadFile(path + ".bad"); damaged && (err != nil || !bytes.Equal(bad, old)) || !damaged && err == nil {
		t.Errorf("killed before %s: the file set aside is %.20q, %v", when, bad, err)
	}
	wants := map[int]string{}
	for n := range 3 {
		m := NewMemory()
		for i := range n {
			mustCommitAll(t, m, step(i+1))
		}
		wants[n] = withoutRevisions(mustLoad(t, m))
		mustClose(t, m)
	}
	least := strings.Count(said, "done ")
	got := withoutRevisions(slices.DeleteFunc(all, isLost))
	if got != wants[least] && got != wants[min(least+1, 2)] {
		t.Errorf("killed before %s: after %d steps revision %d: %v\nwant one of %v", when, least, revision, got, slices.Collect(maps.Values(wants)))
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*.new")); err != nil || len(left) > 0 {
		t.Errorf("killed before %s: left: %v, %v", when, left, err)
	}
}

func mustCommitAll(t *testing.T, s Store, changes []Change) {
	t.Helper()
	if _, err := s.Commit(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t *testing.T, s Store) []Record {
	t.Helper()
	all, _, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func withoutRevisions(all []Record) string {
	all = slices.Clone(all)
	for i := range all {
		all[i].Revision = 0
	}
	return describe(all, 0)
}

// A disk that fails while data is synced has changed nothing, and the next Commit may succeed. One that fails while the
// last page is synced may have the commit or not: then nothing more is tried, and the next process sees what there is.
func TestDiskFails(t *testing.T) {
	strace := needStrace(t)
	path := newPath(t)
	mustClose(t, mustOpen(t, path))
	run := func(fault string) string {
		t.Helper()
		cmd := child("fault", path, strace, "-f", "-o", os.DevNull, "-e", "trace=fdatasync,pwrite64", "-e", "inject="+fault)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // what it says counts
		lines, _ := io.ReadAll(&out)
		return strings.ReplaceAll(string(lines), path, "hub.db")
	}
	for _, c := range []struct{ fault, want string }{
		{"fdatasync:error=EIO:when=1", "open false\nfailed hub.db: nothing is written: input/output error\ndone 2\nclose <nil>\n"},
		{"pwrite64:error=ENOSPC:when=1", "open false\nfailed hub.db: nothing is written: no space left on device\ndone 2\nclose <nil>\n"},
		{"fdatasync:error=EIO:when=2", "open false\nfailed hub.db: input/output error: nothing more is read or written; start oasis6 hub anew to see what can be saved\n" +
			"failed hub.db: input/output error: nothing more"},
	} {
		f := mustOpen(t, path)
		mustCommit(t, f, "n", "")
		mustClose(t, f)
		if got := run(c.fault); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s:\n%swant:\n%s", c.fault, got, c.want)
		}
		f = mustOpen(t, path)
		mustCommit(t, f, "a", "1")
		mustClose(t, f)
	}
}
