// SPDX-License-Identifier: MIT

//go:build !race

// Package underrace tells tests whether the race detector watches. It is for tests that measure, or that run in real time, and
// for how often the long ones repeat; what is right and wrong never depends on it.
//
// Start at Is; there is nothing else.
package underrace

// Is is false without it.
const Is = false
