// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"oasis6/internal/house"
)

func TestPageIsUpToDate(t *testing.T) {
	root, err := house.Root()
	if err != nil {
		t.Fatal(err)
	}
	areas, tests, err := read(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range check(areas, tests) {
		t.Error(err)
	}
	got, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatalf("%v: run make conformance", err)
	}
	if d := cmp.Diff(render(areas, tests), string(got)); d != "" {
		t.Errorf("%s is out of date, run make conformance (-want +got):\n%s", page, d)
	}
}

func TestID(t *testing.T) {
	for name, want := range map[string]string{
		"TestRFC9915_18_2_1_SolicitHasElapsedTime": "RFC9915_18_2_1",
		"TestRFC9096_L13_StalePrefixWithdrawn":     "RFC9096_L13",
		"TestCE_1_1_07_Something":                  "CE_1_1_07",
		"TestRFC4861":                              "RFC4861",
		"TestRFC4861_6_2_6":                        "RFC4861_6_2_6",
		"TestRFC4861RouterLifetime":                "",
		"TestParse":                                "",
		"TestDNS_SearchList":                       "",
		"TestMTU":                                  "",
	} {
		if got := id(name); got != want {
			t.Errorf("id(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestParseAreaRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"RFC1_1\tMUST\twhat\tdone":               "4 fields, want 5",
		"RFC1 1\tMUST\twhat\tdone\t":             `id "RFC1 1"`,
		"RFC1_a\tMUST\twhat\tdone\t":             `id "RFC1_a"`,
		"RFC1_1\tmust\twhat\tdone\t":             `level "must"`,
		"RFC1_1\tMUST\twhat\tfinished\t":         `status "finished"`,
		"RFC1_1\tMUST\t\tdone\t":                 "says nothing",
		"RFC1_1\tMUST\twhat\tdeviates\t":         "is deviates: how?",
		"# remark\n\nRFC1_1\tMUST\tx\tdone\t\tx": "x.tsv:3: 6 fields",
	} {
		_, err := parseArea("docs/conformance/x.tsv", line)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

func sample(t *testing.T) ([]area, map[string][]test) {
	t.Helper()
	b, err := parseArea("docs/conformance/beta.tsv", "# About beta.\nRFC2_1\tMUST\tsay a|b\tdone\tin step\nRFC2_2\tMAY\tsing\tplanned\t\n")
	if err != nil {
		t.Fatal(err)
	}
	a, err := parseArea("docs/conformance/alpha.tsv", "RFC1_1\t-\tbe\tn/a\tit is a box\n")
	if err != nil {
		t.Fatal(err)
	}
	return []area{b, a}, map[string][]test{
		"RFC2_1": {{"TestRFC2_1_Two", "ra"}, {"TestRFC2_1_One", "ra"}, {"TestRFC2_1_Zero", "dhcpv6"}, {"TestRFC2_1", "tun"}},
	}
}

func TestRender(t *testing.T) {
	got := render(sample(t))
	for _, want := range []string{
		"| alpha | 0 | 0 | 0 | 1 | 0 |\n| beta | 1 | 0 | 1 | 0 | 0 |\n| **all** | 1 | 0 | 1 | 1 | 0 |\n",
		"\n## beta\n\nAbout beta.\n\n| id | level | what | status | how | tests |\n",
		"| RFC2_1 | MUST | say a\\|b | done | in step | dhcpv6: Zero, ra: One, Two, tun: TestRFC2_1 |\n",
		"| RFC2_2 | MAY | sing | planned |  |  |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestCheck(t *testing.T) {
	areas, tests := sample(t)
	if errs := check(areas, tests); len(errs) > 0 {
		t.Errorf("the sample is faulty: %v", errs)
	}
	if errs := check(nil, nil); len(errs) > 0 {
		t.Errorf("nothing is faulty: %v", errs)
	}
	tests["RFC3_1"] = []test{{"TestRFC3_1_X", "ra"}}
	delete(tests, "RFC2_1")
	areas = append(areas, areas[1])
	var got []string
	for _, err := range check(areas, tests) {
		got = append(got, err.Error())
	}
	want := []string{
		"docs/conformance/alpha.tsv:1: RFC1_1 is also at docs/conformance/alpha.tsv:1",
		"docs/conformance/beta.tsv:2: RFC2_1 is done, but no test TestRFC2_1_... exists",
		"ra: TestRFC3_1_X: no row RFC3_1 in docs/conformance/*.tsv",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("check() (-want +got):\n%s", d)
	}
}
