// SPDX-License-Identifier: MIT

package trial

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// String is the step for people: a line, notes, and what to do as a numbered list.
func (s Step) String() string {
	var b strings.Builder
	state := string(s.State)
	if s.State == Failed {
		state = "FAILED"
	}
	took := time.Duration(s.TookS * float64(time.Second)).Round(time.Millisecond)
	line := func(format string, args ...any) {
		b.WriteString(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ") + "\n")
	}
	line("%d. %-9s  %-9s %8s  %s", s.N, s.Name, state, took, s.Text)
	for _, n := range s.Notes {
		line("      note: %s", n)
	}
	for i, a := range s.Advice {
		if i == 0 {
			line("      what to do:")
		}
		line("      %d) %s", i+1, a)
	}
	return strings.Map(printable, b.String())
}

// printable keeps what servers say from playing with the terminal.
func printable(c rune) rune {
	if c != '\n' && !unicode.IsPrint(c) {
		return '?'
	}
	return c
}

// Bad are the names of the steps that failed, or could not be tried because others did.
func (r Report) Bad() (names []string) {
	for _, s := range r.Steps {
		if s.State == Failed || s.State == NotTried {
			names = append(names, s.Name)
		}
	}
	return names
}
