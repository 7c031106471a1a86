// SPDX-License-Identifier: MIT

package store_test

import (
	"path/filepath"
	"testing"

	"oasis6/hub/store"
	"oasis6/hub/store/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, storetest.Form{New: func(*testing.T) func() store.Store {
		return func() store.Store { return store.NewMemory() }
	}})
}

func TestFileKeepsTheContract(t *testing.T) {
	storetest.Run(t, storetest.Form{Lasts: true, New: func(t *testing.T) func() store.Store {
		path := filepath.Join(t.TempDir(), "hub.db")
		return func() store.Store {
			f, damage, err := store.OpenFile(t.Context(), path)
			if err != nil || damage != nil {
				t.Fatalf("OpenFile: %v, %v", damage, err)
			}
			return f
		}
	}})
}
