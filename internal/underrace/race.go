// SPDX-License-Identifier: MIT

//go:build race

package underrace

// Is says that the race detector watches: each step takes ten times as long then, and sync.Pool forgets at random.
const Is = true
