// SPDX-License-Identifier: MIT

//go:build race

package main

// underRace says that the race detector watches: this machine has much else to do then.
const underRace = true
