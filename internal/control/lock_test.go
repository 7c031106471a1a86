// SPDX-License-Identifier: MIT

package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The lock file stays; scripts that signal the pid in it must find none when nobody runs.
func TestClosedServerLeavesNoPID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "oasis6.sock")
	s, err := Listen(path, Methods{})
	if err != nil {
		t.Fatal(err)
	}
	lock := strings.TrimSuffix(path, ".sock") + ".lock"
	if pid, err := os.ReadFile(lock); err != nil || len(pid) == 0 {
		t.Errorf("lock file of a running server = %q, %v; want its pid", pid, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if pid, err := os.ReadFile(lock); err != nil || len(pid) != 0 {
		t.Errorf("lock file after Close = %q, %v; want it empty", pid, err)
	}
}
