// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// render is the whole page. It depends on nothing but its arguments.
func render(areas []area, tests map[string][]test) string {
	areas = slices.Clone(areas)
	slices.SortFunc(areas, func(a, b area) int { return cmp.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("# Conformance\n\n")
	b.WriteString("One row per requirement. Generated from `docs/conformance/*.tsv` and the names of the tests by\n")
	b.WriteString("`make conformance`; a test fails when this page is out of date. CE numbers are those of\n")
	b.WriteString("IPv6 Ready CE Router Conformance, revision 1.0.5.\n\n")
	writeCounts(&b, areas)
	for _, a := range areas {
		fmt.Fprintf(&b, "\n## %s\n\n", a.name)
		if len(a.intro) > 0 {
			b.WriteString(strings.Join(a.intro, "\n") + "\n\n")
		}
		b.WriteString("| id | level | what | status | how | tests |\n|---|---|---|---|---|---|\n")
		for _, r := range a.rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n",
				r.id, r.level, cell(r.what), r.status, cell(r.how), testCell(r.id, tests[r.id]))
		}
	}
	return b.String()
}

func writeCounts(b *strings.Builder, areas []area) {
	b.WriteString("| area | " + strings.Join(statuses, " | ") + " |\n|---|" + strings.Repeat("---|", len(statuses)) + "\n")
	total := map[string]int{}
	line := func(name string, n map[string]int) {
		b.WriteString("| " + name)
		for _, s := range statuses {
			fmt.Fprintf(b, " | %d", n[s])
		}
		b.WriteString(" |\n")
	}
	for _, a := range areas {
		n := map[string]int{}
		for _, r := range a.rows {
			n[r.status]++
			total[r.status]++
		}
		line(a.name, n)
	}
	line("**all**", total)
}

// cell keeps a text inside its column.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// testCell names the tests by what follows the id, with the folder they are in.
func testCell(id string, ts []test) string {
	ts = slices.Clone(ts)
	slices.SortFunc(ts, func(a, b test) int {
		return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name))
	})
	var out []string
	for i, t := range ts {
		name := strings.TrimPrefix(strings.TrimPrefix(t.name, "Test"+id), "_")
		if name == "" {
			name = t.name
		}
		if i == 0 || ts[i-1].dir != t.dir {
			name = t.dir + ": " + name
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}
