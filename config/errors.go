// SPDX-License-Identifier: MIT

package config

import (
	"fmt"
	"sort"
	"strings"
)

// Notice is something to say about one line of a file: in Errors why the file is refused,
// by itself what was accepted and does nothing here, or is not wise.
type Notice struct {
	File    string
	Line    int // 0: the file as a whole
	Message string
}

// String is FILE:LINE: message, the form that editors jump to.
func (n Notice) String() string {
	if n.Line == 0 {
		return n.File + ": " + n.Message
	}
	return fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Message)
}

// Errors is everything that is wrong with a file, sorted by line, never empty as an error.
type Errors []Notice

// Error has one line per member.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, n := range e {
		lines[i] = n.String()
	}
	return strings.Join(lines, "\n")
}

// maxReports bounds errors and notices of one file: the limits on the file still allow half a
// million wrong lines, and nobody reads past the first page.
const maxReports = 100

// report collects what is to be said about a file.
type report struct {
	file    string
	errors  Errors
	notices []Notice
}

func (r *report) errorf(line int, format string, args ...any) {
	if len(r.errors) < maxReports {
		r.errors = append(r.errors, Notice{r.file, line, fmt.Sprintf(format, args...)})
	}
}

func (r *report) noticef(line int, format string, args ...any) {
	if len(r.notices) < maxReports {
		r.notices = append(r.notices, Notice{r.file, line, fmt.Sprintf(format, args...)})
	}
}

// byLine sorts by sort.SliceStable: each use of a generic sort is 12 kB more in the binary of a small board.
func byLine(ns []Notice) {
	sort.SliceStable(ns, func(i, j int) bool { return ns[i].Line < ns[j].Line })
}

// done returns what was collected, in the order of the lines, errors as nil if there are none.
func (r *report) done() ([]Notice, error) {
	byLine(r.notices)
	if len(r.errors) == 0 {
		return r.notices, nil
	}
	byLine(r.errors)
	if len(r.errors) == maxReports {
		last := r.errors[maxReports-1]
		r.errors = append(r.errors, Notice{r.file, last.Line, "too many errors: the rest is not shown"})
	}
	return r.notices, r.errors
}
