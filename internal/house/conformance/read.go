// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"oasis6/internal/house"
)

// area is one file of rows.
type area struct {
	name  string
	intro []string
	rows  []row
}

// row is one requirement.
type row struct {
	id, level, what, status, how string
	line                         int
}

// test is one test function.
type test struct {
	name, dir string
}

var (
	levels   = []string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "-"}
	statuses = []string{"done", "partial", "planned", "n/a", "deviates"}
	rowID    = regexp.MustCompile(`^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$`)
	// requirement is a test's name that claims a requirement: an RFC's, or one of a list whose ids
	// begin with capitals and a number (CE_1_1_07).
	requirement = regexp.MustCompile(`^Test(RFC[0-9]+|[A-Z]+_[0-9])`)
)

// id is the part of a test's name that names a row, empty if it claims none.
func id(name string) string {
	if !requirement.MatchString(name) {
		return ""
	}
	var out []string
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "Test"), "_") {
		if strings.ToUpper(part) != part {
			break
		}
		out = append(out, part)
	}
	return strings.Join(out, "_")
}

// read collects rows and tests of the whole tree. Tests are keyed by id.
func read(root string) ([]area, map[string][]test, error) {
	files, err := house.Files(root)
	if err != nil {
		return nil, nil, err
	}
	var (
		areas []area
		errs  []error
		tests = map[string][]test{}
	)
	for _, name := range files {
		full := filepath.Join(root, name)
		switch {
		case path.Dir(name) == "docs/conformance" && path.Ext(name) == ".tsv":
			b, err := os.ReadFile(full)
			if err != nil {
				return nil, nil, err
			}
			a, err := parseArea(name, string(b))
			areas, errs = append(areas, a), append(errs, err)
		case strings.HasSuffix(name, "_test.go") && !strings.Contains("/"+name, "/testdata/"):
			names, err := testNames(full)
			if err != nil {
				return nil, nil, err
			}
			for _, n := range names {
				if i := id(n); i != "" {
					tests[i] = append(tests[i], test{n, path.Dir(name)})
				}
			}
		}
	}
	return areas, tests, errors.Join(errs...)
}

func parseArea(name, text string) (area, error) {
	a := area{name: strings.TrimSuffix(path.Base(name), ".tsv")}
	var errs []error
	for i, line := range strings.Split(text, "\n") {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s:%d: %s", name, i+1, fmt.Sprintf(format, args...)))
		}
		if remark, ok := strings.CutPrefix(line, "#"); ok {
			if len(a.rows) == 0 {
				a.intro = append(a.intro, strings.TrimSpace(remark))
			}
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			bad("%d fields, want 5: id, level, what, status, how", len(f))
			continue
		}
		r := row{f[0], f[1], f[2], f[3], f[4], i + 1}
		switch {
		case !rowID.MatchString(r.id):
			bad("id %q: want capitals and digits joined by _", r.id)
		case !slices.Contains(levels, r.level):
			bad("level %q: want one of %q", r.level, levels)
		case !slices.Contains(statuses, r.status):
			bad("status %q: want one of %q", r.status, statuses)
		case r.what == "":
			bad("%s says nothing", r.id)
		case r.how == "" && r.status != "done" && r.status != "planned":
			bad("%s is %s: how?", r.id, r.status)
		default:
			a.rows = append(a.rows, r)
		}
	}
	return a, errors.Join(errs...)
}

func testNames(file string) ([]string, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
			out = append(out, fn.Name.Name)
		}
	}
	return out, nil
}

// check returns what the rows and the tests have against each other.
func check(areas []area, tests map[string][]test) []error {
	var errs []error
	where := map[string]string{}
	for _, a := range areas {
		for _, r := range a.rows {
			here := fmt.Sprintf("docs/conformance/%s.tsv:%d", a.name, r.line)
			if other := where[r.id]; other != "" {
				errs = append(errs, fmt.Errorf("%s: %s is also at %s", here, r.id, other))
			}
			where[r.id] = here
			if r.status == "done" && len(tests[r.id]) == 0 {
				errs = append(errs, fmt.Errorf("%s: %s is done, but no test Test%s_... exists", here, r.id, r.id))
			}
		}
	}
	for i, ts := range tests {
		if where[i] != "" {
			continue
		}
		for _, t := range ts {
			errs = append(errs, fmt.Errorf("%s: %s: no row %s in docs/conformance/*.tsv", t.dir, t.name, i))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}
