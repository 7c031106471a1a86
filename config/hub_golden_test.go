// SPDX-License-Identifier: MIT

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func effectiveHubText(t *testing.T, c *HubConfig) string {
	t.Helper()
	var b strings.Builder
	if err := WriteEffectiveHub(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestHubFiles shows for each file what a hub makes of it.
func TestHubFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/hub/*.conf")
	if err != nil || len(files) != 2 {
		t.Fatalf("Glob = %v, %v, want two files", files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cfg, notices, err := ParseHub(filepath.Base(path), strings.NewReader(string(b)))
			got := lines(notices)
			if err != nil {
				got += "--\n" + err.Error() + "\n"
			} else {
				got += "--\n" + effectiveHubText(t, cfg)
			}
			golden := strings.TrimSuffix(path, ".conf") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s: -want +got:\n%s", golden, d)
			}
		})
	}
}
