// SPDX-License-Identifier: MIT

package trial

import (
	"fmt"
	"strings"
	"time"
)

// String is the step for people: a line, notes, and what to do as a numbered list.
func (s Step) String() string {
	var b strings.Builder
	state := string(s.State)
	if s.State == Failed {
		state = "FAILED"
	}
	took := time.Duration(s.TookS * float64(time.Second)).Round(time.Millisecond)
	fmt.Fprintf(&b, "%d. %-9s  %-9s %8s  %s\n", s.N, s.Name, state, took, s.Text)
	for _, n := range s.Notes {
		fmt.Fprintf(&b, "      note: %s\n", n)
	}
	for i, a := range s.Advice {
		if i == 0 {
			b.WriteString("      what to do:\n")
		}
		fmt.Fprintf(&b, "      %d) %s\n", i+1, a)
	}
	return b.String()
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
