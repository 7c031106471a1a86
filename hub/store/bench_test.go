// SPDX-License-Identifier: MIT

package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// benchFile is a file with 10,000 leases, in the folder that OASIS6_BENCH_DIR names: fsync is what a commit costs.
func benchFile(b *testing.B) *File {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("OASIS6_BENCH_DIR"), "store")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := mustOpen(b, filepath.Join(dir, "hub.db"))
	var kv []string
	for n := range 10000 {
		kv = append(kv, benchKey(n), strings.Repeat("x", 300))
	}
	mustCommit(b, f, kv...)
	return f
}

func benchKey(n int) string { return fmt.Sprintf("lease/%043d/00000001", n*7919%10000) }

// One goroutine commits so many changes at once: one lease, or what a loop has gathered.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := benchFile(b)
			for i := 0; b.Loop(); i++ {
				var kv []string
				for k := range n {
					kv = append(kv, benchKey((i*n+k)%10000), strings.Repeat("y", 300))
				}
				mustCommit(b, f, kv...)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

// So many goroutines commit one change each.
func BenchmarkCommitTogether(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := benchFile(b)
			var wg sync.WaitGroup
			each := b.N/n + 1
			b.ResetTimer()
			for g := range n {
				wg.Go(func() {
					for i := range each {
						if _, err := f.Commit(b.Context(), puts(benchKey((g*each+i)%10000), strings.Repeat("y", 300))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(n*each)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

// The start of a hub with 10,000 leases: the file is checked, opened and loaded.
func BenchmarkOpenAndLoad(b *testing.B) {
	f := benchFile(b)
	path := f.path
	mustClose(b, f)
	for b.Loop() {
		f := mustOpen(b, path)
		if all, _, err := f.Load(b.Context()); err != nil || len(all) != 10000 {
			b.Fatalf("Load: %d records, %v", len(all), err)
		}
		mustClose(b, f)
	}
}
