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

// checker loads the configuration at path, with the word of --lan.
type checker func(path, lan string) verdict

// verdict is what there is to say of a configuration.
type verdict struct {
	path      string
	notices   []config.Notice
	err       error
	effective func(io.Writer) error
	command   string        // what the file is for
	would     func() string // what that would do, in lines
}

// checkCommand is the dry run.
func checkCommand(check checker) command {
	return command{
		name: "check", topic: topicBox,
		short: "check the configuration and print what would be done",
		long: `Reads the configuration, of a box or of a hub, changes nothing, and prints the
value that every key has in effect, as a configuration, then what run or hub
would do, as comments.
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
				return check(path, lan).write(e)
			}
		},
	}
}

// ofBox takes what config.Load says of a box's file. preview says in lines what the box would do with it.
func ofBox(path string, preview func(*config.Config) string) func(*config.Config, []config.Notice, error) verdict {
	return func(cfg *config.Config, notices []config.Notice, err error) verdict {
		return verdict{
			path: path, notices: notices, err: err, command: "run",
			effective: func(w io.Writer) error { return config.WriteEffective(w, cfg) },
			would:     func() string { return preview(cfg) },
		}
	}
}

// write prints notices and effective values, or gives errors their exit codes.
func (v verdict) write(e env) error {
	var wrong config.Errors
	if errors.As(v.err, &wrong) {
		return configError{err: inOrder(v.notices, wrong)}
	}
	if err := writeNotices(e.stderr, v.notices); err != nil {
		return err
	}
	if v.err != nil {
		return configFailure(v.err)
	}
	if _, err := fmt.Fprintf(e.stdout, "# What counts in %s:\n\n", v.path); err != nil {
		return err
	}
	if err := v.effective(e.stdout); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "\n# What oasis6 %s would do:\n%s", v.command, comment(v.would()))
	return err
}

func lanOption(o *options, p *string) {
	o.text(p, option{long: "lan", arg: "IFACE", usage: "serve this interface only, as if it had a [LAN] section"})
}

// configFailure tells what is wrong with a file's text, exit code 2, from what keeps us from
// reading it, exit code 1.
func configFailure(err error) error { return fileFailure(err, "make one with oasis6 import") }

// fileFailure is configFailure with how to come by a file.
func fileFailure(err error, make string) error {
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
		return fmt.Errorf("%w: %s, or name another with -c", err, make)
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

// comment puts "# " before each line.
func comment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("# " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
