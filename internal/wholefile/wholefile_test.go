// SPDX-License-Identifier: MIT

package wholefile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWriteReplaces(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "state.json"), filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other", path); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a longer text", "short", ""} {
		if err := Write(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("after Write(%q) the file holds %q, %v", want, got, err)
		}
		if fi, err := os.Lstat(path); err != nil || fi.Mode() != 0o600 {
			t.Errorf("after Write(%q) the file is %v, %v; want a plain one of mode 0600", want, fi.Mode(), err)
		}
	}
	if got, err := os.ReadFile(other); err != nil || string(got) != "other" {
		t.Errorf("where the link led is %q now, %v", got, err)
	}
	wantFiles(t, dir, 2)
}

// The same fault gives the same text, and nothing is left over.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "by a folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		taken:                              "rename " + taken + ": file exists",
		filepath.Join(dir, "none", "file"): "open " + dir + "/none/file: no such file or directory",
	} {
		if err := Write(path, []byte("text")); err == nil || err.Error() != want {
			t.Errorf("Write(%q) = %v, want %q", path, err, want)
		}
	}
	wantFiles(t, dir, 1)
}

func wantFiles(t *testing.T, dir string, n int) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != n {
		t.Errorf("the folder holds %v, %v; want %d names", entries, err, n)
	}
}
