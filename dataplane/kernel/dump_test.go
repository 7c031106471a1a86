// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/vishvananda/netlink/nl"
)

func TestInterruptedDumpIsReadAgain(t *testing.T) {
	interrupted := fmt.Errorf("x: %w", nl.ErrDumpInterrupted)
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		reads []error // what each read ends with
		want  []int   // the number of the read that each object is of
		err   error
	}{
		{"at once", []error{nil}, []int{1, 1}, nil},
		{"the second time", []error{interrupted, nil}, []int{2, 2}, nil},
		{"always", slices.Repeat([]error{interrupted}, 9), []int{5, 5}, nil},
		{"not for other errors", []error{broken, nil}, nil, broken},
		{"also afterwards", []error{interrupted, broken}, nil, broken},
	} {
		n := 0
		got, err := collect(func(m []byte) (int, bool) { return int(m[0]), m[1] == 0 }, func(f func([]byte) bool) error {
			n++
			m := []byte{byte(n), 0}
			f(m)
			f([]byte{byte(n), 1}) // not wanted
			f(m)
			return c.reads[n-1]
		})
		if !errors.Is(err, c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: collect = %v, %v, want %v, %v", c.name, got, err, c.want, c.err)
		}
	}
}
