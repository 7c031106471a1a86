// SPDX-License-Identifier: MIT

//go:build !small

package main

// hubCommands are those of the hub.
func hubCommands() []command { return []command{hubCommand()} }

// leftOut are the commands that this build lacks: none.
func leftOut() []string { return nil }
