// SPDX-License-Identifier: MIT

//go:build small

package main

// hubCommands: this build is for boards, and has no hub.
func hubCommands() []command { return nil }

// joinCommands: it has no room for it (docs/onboarding.md says what to do instead).
func joinCommands() []command { return nil }

// tryCommands: a TCP/IP stack of its own is too large for it.
func tryCommands() []command { return nil }

// demoCommands: nor for a world.
func demoCommands() []command { return nil }

// orHub: there is none.
const orHub = ""

func atHub(err error) error { return err }

func isPart([]string) bool { return false }

// leftOut are the commands that this build lacks.
func leftOut() []string { return []string{"hub", "invite", "join", "try", "demo"} }
