// SPDX-License-Identifier: MIT

package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"oasis6/internal/netlab"
)

func TestMain(m *testing.M) {
	if os.Getenv(childTask) != "" {
		os.Exit(m.Run()) // a process that a test kills
	}
	netlab.Main(onTmpfs{m})
}

// onTmpfs runs the tests with temporary files in memory, where that is allowed: they sync them ten thousand times.
type onTmpfs struct{ m *testing.M }

func (o onTmpfs) Run() int {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.Remove(dir) }()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err == nil {
		defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
		defer os.Setenv("TMPDIR", os.Getenv("TMPDIR"))
		if err := os.Setenv("TMPDIR", dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return o.m.Run()
}

// newPath names a file in a new folder.
func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "state", "hub.db") }

// mustOpen opens a file that is not damaged; it is closed with the test.
func mustOpen(t testing.TB, path string) *File {
	t.Helper()
	f, damage, err := OpenFile(t.Context(), path)
	if err != nil || damage != nil {
		t.Fatalf("OpenFile: %v, %v", damage, err)
	}
	t.Cleanup(func() { _ = f.Close() }) // most tests have closed it
	return f
}

func mustClose(t testing.TB, s Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// mustCommit puts key, value, key, value and so on; an empty value deletes.
func mustCommit(t testing.TB, s Store, keyValue ...string) Revision {
	t.Helper()
	revision, err := s.Commit(t.Context(), puts(keyValue...))
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return revision
}

func puts(keyValue ...string) []Change {
	var changes []Change
	for i := 0; i < len(keyValue); i += 2 {
		c := Change{Key: keyValue[i], If: Any}
		if keyValue[i+1] != "" {
			c.Value = []byte(keyValue[i+1])
		}
		changes = append(changes, c)
	}
	return changes
}

// holds is what a store has: the revision and key=value@revision for each record.
func holds(t testing.TB, s Store) string {
	t.Helper()
	all, revision, err := s.Load(t.Context())
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return describe(all, revision)
}

func describe(all []Record, revision Revision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", revision)
	for _, r := range all {
		fmt.Fprintf(&b, " %s=%.20s@%d", r.Key, r.Value, r.Revision)
		if len(r.Value) > 20 {
			fmt.Fprintf(&b, " and %d more", len(r.Value)-20)
		}
	}
	return b.String()
}

// image is the file's content.
func image(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeImage(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
