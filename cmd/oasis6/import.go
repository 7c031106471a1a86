// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"oasis6/config"
	"oasis6/internal/wholefile"
)

// standardInput is the name of the file "-" in messages.
const standardInput = "standard input"

func importCommand() command {
	return command{
		name: "import", args: "FILE|-", topic: topicConfig,
		short: "turn a wg-quick file into the configuration",
		long: `Reads a wg-quick file, as a broker gives it, or standard input for "-", and
writes the configuration, mode 0600. What does nothing here becomes a comment
with the reason; nothing from the file is ever executed. With -c - it goes to
standard output, keys and all.`,
		setup: func(o *options) action {
			var (
				path  string
				force bool
			)
			configOption(o, &path)
			o.toggle(&force, option{long: "force", usage: "overwrite an existing configuration"})
			return func(_ context.Context, e env, args []string) error {
				if len(args) != 1 {
					return usageError{"it takes one FILE, or - for standard input"}
				}
				return importFile(e, args[0], path, force)
			}
		},
	}
}

func importFile(e env, from, to string, force bool) error {
	name, in := from, e.stdin
	if from == "-" {
		name = standardInput
	} else {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	text, notices, err := config.Import(name, in)
	var wrong config.Errors
	switch {
	case errors.As(err, &wrong):
		return configError{inOrder(notices, wrong), "nothing was written"}
	case err != nil:
		return err
	}
	if err := writeNotices(e.stderr, notices); err != nil {
		return err
	}
	if to == "-" {
		_, err := io.WriteString(e.stdout, text)
		return err
	}
	if err := writeConfig(to, text, force); err != nil {
		return err
	}
	check := "oasis6 check"
	if to != defaultConfig {
		check += " -c " + to
	}
	_, err = fmt.Fprintf(e.stdout, "wrote %s: look at it, then: %s\n", to, check)
	return err
}

// writeConfig makes the file with the whole text in it or not at all.
func writeConfig(path, text string, force bool) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil && !force:
		return fmt.Errorf("%s exists: move it away, or overwrite it with --force", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return wholefile.Write(path, []byte(text))
}
