// SPDX-License-Identifier: MIT

//go:build !small

package main

// hubCommands are those of the hub.
func hubCommands() []command { return []command{hubCommand(), inviteCommand()} }

// joinCommands are those of a box that comes to a hub of ours.
func joinCommands() []command { return []command{joinCommand()} }

// tryCommands is the trial.
func tryCommands() []command { return []command{tryCommand()} }
