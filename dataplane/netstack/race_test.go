// SPDX-License-Identifier: MIT

//go:build race

package netstack

// underRace says that the race detector watches: sync.Pool forgets at random then.
const underRace = true
