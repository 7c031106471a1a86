// SPDX-License-Identifier: MIT

//go:build !race

package router

const underRace = false
