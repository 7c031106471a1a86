// SPDX-License-Identifier: MIT

//go:build !race

package main

const underRace = false
