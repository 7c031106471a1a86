// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

func versionCommand() command {
	return command{
		name: "version", topic: topicOther,
		short: "print what this program was built from",
		setup: func(*options) action {
			return func(_ context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				bi, _ := debug.ReadBuildInfo()
				_, err := fmt.Fprintln(e.stdout, "oasis6 "+describe(bi))
				return err
			}
		},
	}
}

// buildVersion is the short form, for the status: a release, a commit, or devel.
func buildVersion() string {
	bi, _ := debug.ReadBuildInfo()
	v, _, _ := strings.Cut(describe(bi), " (")
	return v
}

// describe is the version, then the toolchain, the target and the build tags in brackets. bi is
// nil in a binary without build information.
func describe(bi *debug.BuildInfo) string {
	version, commit, when, modified, tags := "devel", "", "", "", ""
	if bi != nil {
		if v := bi.Main.Version; v != "" && v != "(devel)" {
			version = v
		}
		for _, s := range bi.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value[:min(len(s.Value), 12)]
			case "vcs.time":
				when = s.Value
			case "vcs.modified":
				if s.Value == "true" {
					modified = "modified"
				}
			case "-tags":
				tags = s.Value
			}
		}
	}
	words := []string{version}
	// Go makes a pseudo-version from the commit; to print the commit again would only be longer.
	if commit != "" && !strings.Contains(version, commit) {
		words = append(words, commit)
	}
	for _, w := range []string{when, modified} {
		if w != "" {
			words = append(words, w)
		}
	}
	built := fmt.Sprintf("%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if tags != "" {
		built += " " + tags
	}
	return strings.Join(words, " ") + " (" + built + ")"
}
