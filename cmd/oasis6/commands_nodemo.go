// SPDX-License-Identifier: MIT

//go:build !small && (mips || mipsle)

package main

// demoCommands: with its web server this program is 18 MB on these boards, which nobody flashes, and no browser runs there.
func demoCommands() []command { return nil }

// leftOut are the commands that this build lacks.
func leftOut() []string { return []string{"demo"} }
