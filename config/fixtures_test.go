// SPDX-License-Identifier: MIT

package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBrokerFiles shows for each file what the box makes of it as it is, and what import makes of it.
func TestBrokerFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) != 6 {
		t.Fatalf("Glob = %v, %v, want six files", files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got := transcript(t, path)
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

func transcript(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(path)
	var out strings.Builder
	out.WriteString("== parsed as it is\n")
	cfg, notices, err := Parse(name, strings.NewReader(string(b)))
	out.WriteString(lines(notices))
	if err != nil {
		out.WriteString(err.Error() + "\n")
	} else {
		out.WriteString("--\n" + effectiveText(t, cfg))
	}
	out.WriteString("== imported\n")
	text, notices, err := Import(name, strings.NewReader(string(b)))
	if err != nil {
		t.Fatalf("Import(%s) = %v, want a file that parses", path, err)
	}
	out.WriteString(lines(notices) + "--\n" + text)
	cfg, notices, err = Parse(name, strings.NewReader(text))
	if err != nil || len(notices) != 0 {
		t.Fatalf("Parse(Import(%s)) = %v, %v, want neither", path, notices, err)
	}
	out.WriteString("== the imported file parsed\n" + effectiveText(t, cfg))
	return out.String()
}
