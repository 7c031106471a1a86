// SPDX-License-Identifier: MIT

package store

import (
	"path/filepath"
	"slices"
	"testing"
)

// What is committed is there when the file is opened again, and when it is only read.
func TestFileKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "hub.db")
	var want []string
	for n := range 3 {
		f, damage, err := OpenFile(t.Context(), path)
		if err != nil || damage != nil {
			t.Fatalf("OpenFile: %v, %v", damage, err)
		}
		key := "lease/" + string(rune('a'+n))
		if revision, err := f.Commit(t.Context(), []Change{{Key: key, Value: []byte(key)}}); err != nil || revision != Revision(n+1) {
			t.Fatalf("Commit = %d, %v, want %d", revision, err, n+1)
		}
		want = append(want, key)
		all, revision, err := f.Load(t.Context())
		if err != nil || !slices.Equal(keys(all), want) || revision != Revision(n+1) {
			t.Errorf("Load = %q, %d, %v, want %q, %d", keys(all), revision, err, want, n+1)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		all, revision, err = ReadFile(t.Context(), path)
		if err != nil || !slices.Equal(keys(all), want) || revision != Revision(n+1) {
			t.Errorf("ReadFile = %q, %d, %v, want %q, %d", keys(all), revision, err, want, n+1)
		}
	}
}

func keys(all []Record) []string {
	var ks []string
	for _, r := range all {
		ks = append(ks, r.Key)
	}
	return ks
}
