// SPDX-License-Identifier: MIT

//go:build !race

package lab

const underRace = false
