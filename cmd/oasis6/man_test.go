// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The manual page is written by hand; this holds it against the tree in both directions.
func TestManualPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/oasis6.8")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	synopsis, description, ok := strings.Cut(page, ".Sh DESCRIPTION")
	if !ok {
		t.Fatal("no DESCRIPTION")
	}
	known := map[string]bool{"help": true}
	for _, c := range commands() {
		known[c.name] = true
		usage, ok := section(synopsis, ".Cm "+c.name+"\n", ".Nm")
		if !ok {
			t.Errorf("%s is not in the synopsis", c.name)
		}
		if !strings.Contains(description, ".It Cm "+c.name+"\n") {
			t.Errorf("%s is not described", c.name)
		}
		o := newOptions(c.name)
		c.setup(o)
		for _, opt := range o.list {
			known["--"+opt.long] = true
			in := "Fl -" + opt.long
			if opt.short != "" {
				in = "Fl " + opt.short
			}
			if !regexp.MustCompile(regexp.QuoteMeta(in) + `\b`).MatchString(usage) {
				t.Errorf("%s --%s is not in the synopsis", c.name, opt.long)
			}
			entry := regexp.MustCompile(`(?m)^\.It .*\bFl -` + regexp.QuoteMeta(opt.long) + `(|[^-\w].*)$`).FindStringSubmatch(description)
			if entry == nil {
				t.Errorf("--%s is not described", opt.long)
			} else if opt.arg != "" && strings.TrimSpace(entry[1]) != "Ar "+opt.arg {
				t.Errorf("--%s: the page says %q, the program %s", opt.long, entry[1], opt.arg)
			}
			if opt.def != "" && !strings.Contains(description, opt.def) {
				t.Errorf("--%s: its default %s is not in the page", opt.long, opt.def)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.Cm ([a-z]+)$`).FindAllStringSubmatch(synopsis, -1) {
		if !known[m[1]] {
			t.Errorf("the synopsis has %s, the program has not", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`Fl -([a-z-]+)`).FindAllStringSubmatch(page, -1) {
		if !known["--"+m[1]] {
			t.Errorf("the page has --%s, the program has not", m[1])
		}
	}
}

// section is what stands between the line begin and the next line end.
func section(text, begin, end string) (string, bool) {
	_, rest, ok := strings.Cut(text, begin)
	rest, _, _ = strings.Cut(rest, "\n"+end+"\n")
	return rest, ok
}
