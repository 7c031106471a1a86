// SPDX-License-Identifier: MIT

package e2e

import (
	"testing"

	"oasis6/internal/netlab"
)

func TestUserspaceSmoke(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{Userspace: true})
	b.up()
	t.Log(b.text())
}
