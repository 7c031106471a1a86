// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"oasis6/config"
)

// Exit codes of the contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a wrong use of the command line: exit code 2, and where to read on.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// configError holds the errors of a configuration file: exit code 2, printed as they are, one
// FILE:LINE: message per line.
type configError struct {
	err    error
	result string // what that means, may be empty
}

func (e configError) Error() string { return e.err.Error() }
func (e configError) Unwrap() error { return e.err }

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, e env, tree []command, args []string) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "":
		_ = overview(e.stderr, tree) // nowhere to report it
		return exitUsage
	case "-version", "--version":
		name = "version"
	}
	if isHelp(name) {
		return report(e, "help", help(e, tree, args))
	}
	c, ok := find(tree, name)
	if !ok {
		return report(e, "", unknown(tree, name))
	}
	o := newOptions(name)
	act := c.setup(o)
	words, err := o.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return report(e, name, commandHelp(e.stdout, c))
	case err != nil:
		return report(e, name, usageError{err.Error()})
	}
	return report(e, name, act(ctx, e, words))
}

// report prints an error and turns it into the exit code.
func report(e env, name string, err error) int {
	prefix := "oasis6: "
	if name != "" {
		prefix = "oasis6 " + name + ": "
	}
	if isHelp(name) {
		name = "" // its help is the overview
	}
	var (
		usage usageError
		file  configError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintf(e.stderr, "%s%s\n", prefix, usage.text)
		fmt.Fprintf(e.stderr, "see: %s\n", strings.TrimSpace("oasis6 help "+name))
		return exitUsage
	case errors.As(err, &file):
		fmt.Fprintln(e.stderr, strings.TrimRight(file.Error(), "\n"))
		if file.result != "" {
			fmt.Fprintf(e.stderr, "%s%s\n", prefix, file.result)
		}
		return exitUsage
	}
	advice := ""
	// EACCES or EPERM; who knows more of what is needed says so in the error.
	if errors.Is(err, fs.ErrPermission) && e.euid != 0 && !strings.Contains(err.Error(), "as root") {
		advice = ": run it as root"
	}
	fmt.Fprintf(e.stderr, "%s%v%s\n", prefix, err, advice)
	return exitFailed
}

func unknown(tree []command, name string) error {
	if slices.Contains(leftOut(), name) {
		return usageError{name + ": not in this build, which is made small for boards"}
	}
	if slices.Contains(laterCommands(), name) {
		return usageError{name + ": not available in this version"}
	}
	var names []string
	for _, c := range tree {
		names = append(names, c.name)
	}
	names = append(names, "help")
	if near := config.Nearest(name, names); near != "" {
		return usageError{fmt.Sprintf("no command %q: did you mean %s?", name, near)}
	}
	return usageError{fmt.Sprintf("no command %q: there are %s", name, strings.Join(names, ", "))}
}

func isHelp(name string) bool {
	return slices.Contains([]string{"help", "-h", "-help", "--help"}, name)
}

func help(e env, tree []command, args []string) error {
	switch {
	case len(args) == 0, len(args) == 1 && isHelp(args[0]):
		return overview(e.stdout, tree)
	case len(args) == 1:
		c, ok := find(tree, args[0])
		if !ok {
			return unknown(tree, args[0])
		}
		return commandHelp(e.stdout, c)
	case len(args) == 2 && isPart(args):
		return help(e, tree, args[:1])
	}
	return usageError{"help takes one command"}
}

func overview(w io.Writer, tree []command) error {
	var b strings.Builder
	b.WriteString("oasis6 puts a LAN stuck behind IPv4 NAT on the IPv6 Internet.\n\nusage: oasis6 COMMAND [OPTIONS] ...\n")
	for _, t := range []topic{topicBox, topicHub, topicConfig, topicOther} {
		if !slices.ContainsFunc(tree, func(c command) bool { return c.topic == t }) {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", t)
		for _, c := range tree {
			if c.topic == t {
				fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.short)
			}
		}
		if t == topicOther {
			fmt.Fprintf(&b, "  %-9s %s\n", "help", "this text, or the help of a command")
		}
	}
	b.WriteString("\nExit codes: 0 done, 1 failed, 2 wrong usage or a configuration that does not parse.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func commandHelp(w io.Writer, c command) error {
	o := newOptions(c.name)
	c.setup(o)
	var b strings.Builder
	line := []string{"usage: oasis6", c.name}
	if len(o.list) > 0 {
		line = append(line, "[OPTIONS]")
	}
	if c.args != "" {
		line = append(line, c.args)
	}
	fmt.Fprintf(&b, "%s\n\n%s: %s\n", strings.Join(line, " "), c.name, c.short)
	if c.long != "" {
		fmt.Fprintf(&b, "\n%s\n", c.long)
	}
	if len(o.list) > 0 {
		b.WriteString("\nOptions\n")
	}
	for _, opt := range o.list {
		left := "    --" + opt.long
		if opt.short != "" {
			left = "-" + opt.short + ", --" + opt.long
		}
		if opt.arg != "" {
			left += " " + opt.arg
		}
		def := ""
		if opt.def != "" {
			def = " (default " + opt.def + ")"
		}
		fmt.Fprintf(&b, "  %-24s %s%s\n", left, opt.usage, def)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// noWords refuses words after a command that takes none.
func noWords(args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Sprintf("%q is too much: it takes no words", args[0])}
	}
	return nil
}
