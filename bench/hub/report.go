// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"runtime"
)

// report gathers lines for the end.
type report struct {
	lines  []string
	missed int
}

// add makes a line of the table; without a target it only tells.
func (r *report) add(what, got, target string, ok bool) {
	verdict := ""
	switch {
	case target == "":
	case ok:
		verdict = "pass"
	default:
		verdict = "MISSED"
		r.missed++
	}
	r.lines = append(r.lines, fmt.Sprintf("%-56s  %12s  %10s  %s", what, got, target, verdict))
}

func (r *report) note(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *report) write(w io.Writer) {
	fmt.Fprintf(w, "%d processors, %s %s/%s, Linux %s; all on one machine: the sites' work is in every time\n\n",
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, machine())
	for _, line := range r.lines {
		fmt.Fprintln(w, line)
	}
	if r.missed > 0 {
		fmt.Fprintf(w, "\n%d missed. Another program on the machine, or a slow disk, costs seconds: run it again before you believe it.\n", r.missed)
	}
}
