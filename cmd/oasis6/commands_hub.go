// SPDX-License-Identifier: MIT

//go:build !small

package main

import "errors"

// hubCommands are those of the hub.
func hubCommands() []command { return []command{hubCommand(), inviteCommand()} }

// joinCommands are those of a box that comes to a hub of ours.
func joinCommands() []command { return []command{joinCommand()} }

// orHub stands behind how to start a box, where it may be a hub that is missing.
const orHub = ", or a hub with oasis6 hub"

// wrongRole says in place of what a program that knows no such method answers what it is, and what to do instead.
func wrongRole(err error, method, instead string) error {
	if err != nil && err.Error() == `no method "`+method+`"` {
		return errors.New("the oasis6 that runs here is " + instead)
	}
	return err
}

// atHub is wrongRole for leave.
func atHub(err error) error {
	return wrongRole(err, "leave", "a hub: leave is for a box; a hub that is stopped, by SIGTERM, keeps all leases for its next start")
}

// isPart says whether two words are a command and a part of it that has no help of its own.
func isPart(words []string) bool {
	return words[0] == "hub" && (words[1] == "leases" || words[1] == "remove")
}

// tryCommands is the trial.
func tryCommands() []command { return []command{tryCommand()} }
