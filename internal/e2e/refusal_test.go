// SPDX-License-Identifier: MIT

package e2e

import "testing"

// A server with the highest preference that refuses each Request must not keep a good one from being asked.
func TestGreedyServerBesideAGoodOne(t *testing.T) {
	b := newBadBox(t, "two,preference-255,request:pd=NoPrefixAvail")
	b.start()
	b.waitOnline(b.H1)
}
