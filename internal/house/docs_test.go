// SPDX-License-Identifier: MIT

package house

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLinksInTextsLeadSomewhere(t *testing.T) {
	tr := readTree(t)
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	for _, name := range tr.files {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(tr.read(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to := path.Join(path.Dir(name), m[1])
			if !slices.ContainsFunc(tr.files, func(f string) bool { return f == to || strings.HasPrefix(f, to+"/") }) {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
			}
		}
	}
}

func TestDocumentsAreInTheIndex(t *testing.T) {
	tr := readTree(t)
	index := tr.read(t, "docs/README.md")
	for _, name := range tr.files {
		rest, ok := strings.CutPrefix(name, "docs/")
		if !ok || rest == "README.md" || strings.Contains(rest, "/") {
			continue
		}
		if !strings.Contains(index, "("+rest+")") {
			t.Errorf("%s is not in docs/README.md", name)
		}
	}
}

// Commands shown must exist: `make x` in any text, and what CI calls.
func TestMakeTargetsInTextsExist(t *testing.T) {
	tr := readTree(t)
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(tr.read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	call := regexp.MustCompile("(?m)(?:`|^|&& )make ([a-z0-9-]+)")
	called := 0
	for _, name := range tr.files {
		if path.Ext(name) != ".md" && name != ".ci/run" {
			continue
		}
		for _, m := range call.FindAllStringSubmatch(tr.read(t, name), -1) {
			called++
			if !targets[m[1]] {
				t.Errorf("%s: make %s: no such target", name, m[1])
			}
		}
	}
	if called < 5 {
		t.Errorf("only %d calls of make found: does the test still see them?", called)
	}
}

// "The README starts with these two commands".
func TestReadmeStartsWithLabAndTest(t *testing.T) {
	readme := readTree(t).read(t, "README.md")
	lab, test := strings.Index(readme, "\nmake lab "), strings.Index(readme, "\nmake test ")
	if first := strings.Index(readme, "```"); lab < first || test < lab || strings.Count(readme[:test], "```") != 1 {
		t.Errorf("make lab at %d and make test at %d are not the first commands shown (%d)", lab, test, first)
	}
}

// The image holds one file and exposes nothing; make image-check builds it.
func TestDockerfile(t *testing.T) {
	tr := readTree(t)
	var lines []string
	for line := range strings.Lines(tr.read(t, "Dockerfile")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	want := []string{
		"FROM scratch",
		"ARG TARGETARCH",
		"COPY dist/oasis6-linux-${TARGETARCH} /oasis6",
		"VOLUME /var/lib/oasis6",
		`ENTRYPOINT ["/oasis6"]`,
		`CMD ["run"]`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("Dockerfile: %q, want %q", lines, want)
	}
	if !slices.Contains(strings.Split(tr.read(t, ".dockerignore"), "\n"), "*") {
		t.Error(".dockerignore lets the whole tree through")
	}
}
