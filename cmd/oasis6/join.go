// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"oasis6/config"
	"oasis6/internal/control"
	"oasis6/internal/invite"
	"oasis6/tun/join"
)

func joinCommand() command {
	return command{
		name: "join", args: "INVITATION|-", topic: topicConfig,
		short: "make this box a site of a hub, by an invitation",
		long: `Takes the line that oasis6 invite printed at the hub, or reads it from standard
input for "-": other users of this machine see what stands on a command line.
Makes this box's private key, which never leaves it, lets the hub have the
public one, and writes the configuration, mode 0600, with the key beside it.

It may be interrupted at any time: the same command again goes on where it was,
or says that the box has joined. Exit code 1 means that the box has not joined,
and says why.`,
		setup: func(o *options) action {
			var (
				opt join.Options
				run string
			)
			configOption(o, &opt.Config)
			o.text(&opt.LAN, option{long: "lan", arg: "IFACE", usage: "interface whose hosts get IPv6", def: "br-lan"})
			o.toggle(&opt.Replace, option{long: "replace", usage: "set an existing configuration aside as FILE.bak"})
			runOption(o, &run)
			return func(ctx context.Context, e env, args []string) error {
				inv, err := readInvitation(e.stdin, args)
				if err != nil {
					return err
				}
				if opt.LAN == "" {
					return usageError{"--lan: want the name of an interface"}
				}
				ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
				opt.Host, _ = os.Hostname() // only a help for people
				opt.Log = slog.New(slog.DiscardHandler)
				opt.Say = func(line string) { fmt.Fprintln(e.stderr, line) }
				return joinHub(ctx, e, inv, opt, run)
			}
		},
	}
}

// maxInvitation is more than any has.
const maxInvitation = 4096

// readInvitation takes the words of the command line together: a mail program may have broken the line.
func readInvitation(stdin io.Reader, args []string) (invite.Invitation, error) {
	text := strings.Join(args, "")
	switch {
	case len(args) == 0:
		return invite.Invitation{}, usageError{"want the invitation, in quotes if it has several lines, or - for standard input"}
	case text == "-":
		b, err := io.ReadAll(io.LimitReader(stdin, maxInvitation))
		if err != nil {
			return invite.Invitation{}, err
		}
		text = string(b)
	}
	inv, err := invite.Parse(text)
	if err != nil {
		return inv, usageError{err.Error()}
	}
	return inv, nil
}

func joinHub(ctx context.Context, e env, inv invite.Invitation, opt join.Options, run string) error {
	opt.Running = control.Call(ctx, socketPath(run), "status", nil, new(json.RawMessage)) == nil
	res, err := join.Run(ctx, inv, opt)
	var wrong config.Errors
	switch {
	case errors.As(err, &wrong):
		return usageError{err.Error()}
	case err != nil:
		return err
	}
	if res.Warning != "" {
		fmt.Fprintln(e.stderr, "Warning: "+res.Warning)
	}
	_, err = fmt.Fprintln(e.stdout, strings.Join(outcome(res, opt), "\n"))
	return err
}

// outcome is what to tell at the end, and what to do next.
func outcome(res join.Result, opt join.Options) []string {
	file := ""
	if opt.Config != defaultConfig {
		file = " -c " + opt.Config
	}
	if res.Already {
		lines := []string{"this box has joined this hub already, and the hub knows it: " + opt.Config}
		if !res.Asked {
			lines[0] = "this box has joined this hub already: " + opt.Config + ": oasis6 status says whether the hub answers it"
		}
		if !opt.Replace {
			lines = append(lines, "to join anew by another invitation: --replace")
		}
		return lines
	}
	lines := []string{"joined: the hub calls this box " + res.Name, "wrote " + opt.Config + " and beside it " + res.KeyFile}
	if res.Backup != "" {
		lines = append(lines, "the old configuration is "+res.Backup+": look there for sections to take over")
	}
	if opt.Running {
		return append(lines, "next: restart the running box, it has the old key: systemctl restart oasis6, or stop it and oasis6 run"+file)
	}
	return append(lines, "next: oasis6 check"+file+", then oasis6 run"+file+" or its service")
}
