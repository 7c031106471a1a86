// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"slices"
)

// topic groups the commands in the help.
type topic string

const (
	topicBox    topic = "The box"
	topicHub    topic = "The hub"
	topicConfig topic = "Configuration and keys"
	topicOther  topic = "This program"
)

// command is one entry of the tree. Its value declares all there is: help, manual page test and
// parser read the same fields.
type command struct {
	name  string
	args  string // what follows name and options in the usage line
	topic topic
	short string // one line, in the overview
	long  string // the rest, in the command's own help; lines of at most 80 columns
	// setup declares the options and returns what to do once they are parsed. args are the
	// remaining words.
	setup func(o *options) action
}

// action does the work. The error decides the exit code, see exitCode.
type action func(ctx context.Context, e env, args []string) error

// commands is the tree, in the order of the help.
func commands() []command {
	all := append([]command{runCommand(), checkCommand(checkFile)}, tryCommands()...)
	all = append(all, statusCommand(), leaveCommand())
	all = append(append(all, hubCommands()...), joinCommands()...)
	all = append(all, importCommand(), genkeyCommand(), pubkeyCommand())
	return append(append(all, demoCommands()...), versionCommand())
}

// laterCommands belong to the command line's contract, but not to this version. They are not in
// the help; whoever types one learns that it is not his spelling.
func laterCommands() []string {
	return []string{"capture", "doctor"}
}

func find(tree []command, name string) (command, bool) {
	i := slices.IndexFunc(tree, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return tree[i], true
}
