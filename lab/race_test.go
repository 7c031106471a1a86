// SPDX-License-Identifier: MIT

//go:build race

package lab

// underRace says that the race detector watches: each step is ten times as slow then.
const underRace = true
