// SPDX-License-Identifier: MIT

// Command conformance writes docs/conformance.md: one table per area, from the requirement rows in
// docs/conformance/*.tsv and the tests that carry their ids in their names.
//
// A row is one line, tab separated: id, level, what, status, how. The id is the token in the test's
// name: TestRFC9096_L13_StalePrefixWithdrawn proves the row RFC9096_L13; the id ends before the
// first part with a lower-case letter. Lines that begin with # are remarks. An area's file may
// begin with remarks that introduce it; they are printed above its table.
//
// Its own test fails when the page is out of date, when an id in a test's name has no row, and
// when a row that is done has no test.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"oasis6/internal/house"
)

const page = "docs/conformance.md"

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func write() error {
	root, err := house.Root()
	if err != nil {
		return err
	}
	areas, tests, err := read(root)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, page), []byte(render(areas, tests)), 0o644)
}
