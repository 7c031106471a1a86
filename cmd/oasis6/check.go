// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strings"

	"oasis6/config"
)

// checkCommand is the dry run. preview says in lines what the box would do with a configuration;
// nil where the program is built without a box.
func checkCommand(preview func(*config.Config) string) command {
	return command{
		name: "check", topic: topicBox,
		short: "check the configuration and print what would be done",
		long: `Reads the configuration, changes nothing, and prints the value that every key
has in effect, as a configuration, then what run would do, as comments.
Remarks go to standard error. Exit code 2 means that the file does not parse;
all errors are listed as FILE:LINE: message, remarks
as FILE:LINE: notice: message.`,
		setup: func(o *options) action {
			var path, lan string
			configOption(o, &path)
			lanOption(o, &lan)
			return func(_ context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				cfg, err := loadConfig(e, path, config.OnlyLAN(lan))
				if err != nil {
					return err
				}
				return writeCheck(e.stdout, path, cfg, preview)
			}
		},
	}
}

func lanOption(o *options, p *string) {
	o.text(p, option{long: "lan", arg: "IFACE", usage: "serve this interface only, as if it had a [LAN] section"})
}

// loadConfig reads the configuration for a command, prints the notices and gives errors their
// exit codes.
func loadConfig(e env, path string, opts ...config.Option) (*config.Config, error) {
	cfg, notices, err := config.Load(path, opts...)
	var wrong config.Errors
	if errors.As(err, &wrong) {
		return nil, configError{err: inOrder(notices, wrong)}
	}
	if nerr := writeNotices(e.stderr, notices); nerr != nil {
		return nil, nerr
	}
	return cfg, configFailure(err)
}

// configFailure tells what is wrong with a file's text, exit code 2, from what keeps us from
// reading it, exit code 1.
func configFailure(err error) error {
	var (
		text config.Errors
		path *fs.PathError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &text):
		return configError{err: err}
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make one with oasis6 import, or name another with -c", err)
	case errors.As(err, &path):
		return err
	}
	return usageError{err.Error()} // --lan
}

// inOrder is what is to be said about a file by line: notices as FILE:LINE: notice: message, so that nobody
// takes them for errors.
func inOrder(notices []config.Notice, wrong config.Errors) config.Errors {
	all := make(config.Errors, 0, len(notices)+len(wrong))
	for _, n := range notices {
		n.Message = "notice: " + n.Message
		all = append(all, n)
	}
	all = append(all, wrong...)
	sort.SliceStable(all, func(i, j int) bool { return all[i].Line < all[j].Line })
	return all
}

func writeNotices(w io.Writer, notices []config.Notice) error {
	if len(notices) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, inOrder(notices, nil).Error())
	return err
}

func writeCheck(w io.Writer, path string, cfg *config.Config, preview func(*config.Config) string) error {
	if _, err := fmt.Fprintf(w, "# What counts in %s:\n\n", path); err != nil {
		return err
	}
	if err := config.WriteEffective(w, cfg); err != nil {
		return err
	}
	if preview == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n# What oasis6 run would do:\n%s", comment(preview(cfg)))
	return err
}

// comment puts "# " before each line.
func comment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
