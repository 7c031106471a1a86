// SPDX-License-Identifier: MIT

package house

import (
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestNoTraceOfAMachine keeps out what the machine on which somebody works would leave behind:
// paths of the checkout and of homes, its name, and the hosts from which it takes modules and
// packages.
func TestNoTraceOfAMachine(t *testing.T) {
	tr := readTree(t)
	traces := machineTraces(tr.root)
	home := regexp.MustCompile(`(?:^|[^A-Za-z0-9_./])/(?:home|Users)/[a-z][a-z0-9._-]*|/tmp/[A-Za-z0-9_]+\.[A-Za-z0-9]{6,}`)
	for _, name := range tr.files {
		if name == "internal/house/leaks_test.go" {
			continue
		}
		for i, line := range strings.Split(tr.read(t, name), "\n") {
			for text, what := range traces {
				if strings.Contains(line, text) {
					t.Errorf("%s:%d: %q is %s", name, i+1, text, what)
				}
			}
			if m := home.FindString(line); m != "" {
				t.Errorf("%s:%d: %q is a path of one machine", name, i+1, m)
			}
		}
	}
}

func machineTraces(root string) map[string]string {
	traces := map[string]string{}
	add := func(text, what string) {
		if len(text) >= 6 { // shorter ones are words
			traces[text] = what
		}
	}
	if strings.Count(root, "/") > 1 { // a checkout at /oasis6 has the name of many folders
		add(root, "the path of this checkout")
	}
	if home, err := os.UserHomeDir(); err == nil && home != "/root" {
		add(home, "the home of this user")
	}
	add("/root"+"/", "the home of root")
	// A name without a digit is a word ("router"); one without a dash or dot may be ours ("oasis6").
	if name, err := os.Hostname(); err == nil && strings.ContainsAny(name, "0123456789") && strings.ContainsAny(name, "-.") {
		add(name, "the name of this machine")
	}
	for _, key := range []string{"GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE"} {
		out, err := exec.Command("go", "env", key).Output()
		if err != nil {
			continue
		}
		for word := range strings.FieldsFuncSeq(strings.TrimSpace(string(out)), func(r rune) bool { return r == ',' || r == '|' || r == ' ' }) {
			host := word
			if u, err := url.Parse(word); err == nil && u.Host != "" {
				host = u.Hostname()
			}
			switch host {
			case "direct", "off", "proxy.golang.org", "sum.golang.org":
			default:
				add(host, "the "+key+" of this machine")
			}
		}
	}
	return traces
}
