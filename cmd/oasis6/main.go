// SPDX-License-Identifier: MIT

// Command oasis6 puts a LAN stuck behind IPv4 NAT on the IPv6 Internet.
//
// This package is the command line: one declared tree of commands (commands.go), one file per
// command, exit codes and wiring. It must not know protocols. Start at commands.
//
// Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 failed,
// a line on standard error says what and what to do; 2 wrong usage, or a configuration that does
// not parse.
package main

import (
	"context"
	"io"
	"os"
)

func main() {
	e := env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, euid: os.Geteuid()}
	os.Exit(execute(context.Background(), e, commands(), os.Args[1:]))
}

// env is what a command sees of the process.
type env struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	euid   int
}
