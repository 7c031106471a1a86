// SPDX-License-Identifier: MIT

//go:build !small

package main

// demoCommands is the demo.
func demoCommands() []command { return []command{demoCommand()} }

// leftOut are the commands that this build lacks: none.
func leftOut() []string { return nil }
