// SPDX-License-Identifier: MIT

package router

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"oasis6/dhcpv6"
	"oasis6/dhcpv6/client"
	"oasis6/internal/lifetime"
)

// crashFolder names the state folder for the process that is killed.
const crashFolder = "OASIS6_TEST_CRASH_FOLDER"

// crashLease is the n-th lease of the test.
func crashLease(n int) client.Lease {
	end := lifetime.At(t0.Add(time.Hour))
	return client.Lease{Server: "\x00\x03\x00\x01s1", T1: end, T2: end, IAs: []client.IA{{Type: dhcpv6.PD, IAID: 1, Prefixes: []client.Prefix{
		{Prefix: prefix(fmt.Sprintf("2001:db8:%x::/64", n)), Preferred: end, Valid: end}}}}}
}

func crashStore(dir string) *store {
	s := newStore(folder(dir), func() time.Time { return t0 }, "boot")
	s.duid = "\x00\x04cccccccccccccccc"
	return s
}

// TestStoreCrashChild is the process that TestCrashAtEveryWrite kills; it says which lease is on disk.
func TestStoreCrashChild(t *testing.T) {
	dir := os.Getenv(crashFolder)
	if dir == "" {
		return // not a child
	}
	runtime.LockOSThread() // strace counts the calls of each thread
	s := crashStore(dir)
	for n := 1; n <= 2; n++ {
		s.lease = crashLease(n)
		if err := s.save(t0); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved", n)
	}
}

// Killed before the first write, the second, and so on, and so before each other system call that makes the state file:
// the next start always
// finds a whole lease, the newest that was said to be saved or the one after it, and no leftovers.
func TestCrashAtEveryWrite(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("OASIS6_REQUIRE_NETNS") == "1" {
			t.Fatal("needs strace (scripts/deps.sh installs it)")
		}
		t.Skip("needs strace (scripts/deps.sh installs it)")
	}
	found := map[string]int{}
	for _, call := range []string{"mkdirat", "openat", "write", "fsync", "close", "renameat"} {
		kills := 0
		for n := 1; ; n++ {
			if n > 200 {
				t.Fatalf("%s: the child never comes to its end", call)
			}
			dir := filepath.Join(t.TempDir(), "state") // which is made too
			cmd := exec.Command(strace, "-f", "-o", os.DevNull, "-e", "trace="+call, "-e", "inject="+call+":signal=KILL:when="+strconv.Itoa(n),
				os.Args[0], "-test.run=^TestStoreCrashChild$")
			cmd.Env = append(os.Environ(), crashFolder+"="+dir, "GOMAXPROCS=1")
			out, err := cmd.Output()
			killed := errors.As(err, new(*exec.ExitError)) && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			if err != nil && !killed {
				t.Fatalf("killed before %s %d: %v\n%s", call, n, err, out)
			}
			found[checkCrash(t, call, n, dir, string(out))]++
			if !killed {
				break
			}
			kills++
		}
		if kills == 0 {
			t.Errorf("nothing was killed before %s: the test does not cover it", call)
		}
		t.Logf("%s: killed %d times", call, kills)
	}
	t.Logf("leases found after a crash: %v", found)
	for _, want := range []string{"none", "2001:db8:1::/64", "2001:db8:2::/64"} {
		if found[want] == 0 {
			t.Errorf("no crash left %s behind: the test does not cover the writing", want)
		}
	}
}

// checkCrash starts on what a killed process left and names the lease.
func checkCrash(t *testing.T, call string, n int, dir, said string) string {
	t.Helper()
	s := crashStore(dir)
	k, err := s.load(t0)
	if err != nil {
		t.Errorf("killed before %s %d: %v", call, n, err)
	}
	got := "none"
	if ps := k.lease.Prefixes(); len(ps) > 0 {
		got = ps[0].Prefix.String()
	}
	least := strings.Count(said, "saved ")
	ok := map[string]bool{"none": least == 0, "2001:db8:1::/64": least <= 1, "2001:db8:2::/64": least >= 1}
	if !ok[got] {
		t.Errorf("killed before %s %d: lease %s, although %d were saved", call, n, got, least)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*lease*"))
	hidden, err2 := filepath.Glob(filepath.Join(dir, ".*lease*"))
	if len(left) > 1 || len(hidden) > 0 || err != nil || err2 != nil {
		t.Errorf("killed before %s %d: left %v %v", call, n, left, hidden)
	}
	s.lease = crashLease(3)
	if err := s.save(t0); err != nil {
		t.Errorf("killed before %s %d: the next start cannot save: %v", call, n, err)
	}
	return got
}

// Power is lost while the file is written, on a file system that does not keep its promises: whatever part of the file
// is there, the box starts, with the lease or without one, and the damaged file is set aside.
func TestTornStateFile(t *testing.T) {
	dir := t.TempDir()
	s := crashStore(dir)
	s.lease = crashLease(1)
	if err := s.save(t0); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "lease.json"))
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(whole); cut += 1 + len(whole)/60 {
		for _, tail := range []string{"", strings.Repeat("\x00", len(whole)-cut)} {
			if err := os.WriteFile(filepath.Join(dir, "lease.json"), append(whole[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			k, err := crashStore(dir).load(t0)
			if good := cut >= len(whole)-1 && tail == ""; (err == nil) != good || (k.duid != "") != good {
				t.Errorf("cut at %d of %d, then %d NULs: %+v %v", cut, len(whole), len(tail), k, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "lease.json")); err == nil && cut < len(whole)-1 {
				t.Errorf("cut at %d: the damaged file is still in its place", cut)
			}
		}
	}
}
