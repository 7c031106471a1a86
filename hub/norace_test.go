// SPDX-License-Identifier: MIT

//go:build !race

package hub

const underRace = false
