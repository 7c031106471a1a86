// SPDX-License-Identifier: MIT

package netlab

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// Parallel tests ask for the same program at the same time: one of them builds it.
func TestOnceMakesAFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bin", "x")
	if err := once(path, func() error { return errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("once = %v, want what went wrong", err)
	}
	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := once(path, func() error {
				made.Add(1)
				return os.WriteFile(path, nil, 0o600)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times, want once", n)
	}
}
