// SPDX-License-Identifier: MIT

//go:build !race

package netstack

const underRace = false
