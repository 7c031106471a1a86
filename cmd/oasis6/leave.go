// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"oasis6/internal/control"
)

func leaveCommand() command {
	return command{
		name: "leave", topic: topicBox,
		short: "give the prefix back to the hub, and stop the box for good",
		long: `Asks the running box to leave: hosts are told to give the prefix up, the lease
goes back to the DHCPv6 server by a Release, which is repeated for up to 17 s if
nobody answers, and the box stops as by SIGTERM. The next start asks anew and may
get another prefix. To stop and keep the prefix send SIGTERM instead.

Exit code 1 means that nothing was given back: no box runs, or the server did not
answer; it then keeps the prefix for this box until the valid lifetime is over.
Interrupting this command does not keep the box from leaving.`,
		setup: func(o *options) action {
			var run string
			runOption(o, &run)
			return func(ctx context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
				return leave(ctx, e.stdout, socketPath(run))
			}
		},
	}
}

// leave asks the box to leave and waits until it is gone.
func leave(ctx context.Context, w io.Writer, socket string) error {
	begun := false
	var done leaveDone
	err := control.Stream(ctx, socket, "leave", nil, func(line json.RawMessage) error {
		var l struct {
			leaveBegun
			leaveDone
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		done = l.leaveDone
		if done.Done {
			return nil
		}
		begun = true
		_, err := fmt.Fprintln(w, l.What)
		return err
	})
	switch {
	case done.Done:
		return done.report(w)
	case ctx.Err() != nil && begun:
		return errors.New("interrupted: the box goes on leaving and then stops: oasis6 status shows whether it is still there")
	case ctx.Err() != nil:
		return errors.New("interrupted before the box answered: oasis6 status shows whether it is still there")
	case errors.Is(err, control.ErrNotRunning):
		return fmt.Errorf("%w: only a running box can give its lease back: start it with oasis6 run, or name its folder with --run", err)
	case err != nil:
		return atHub(err)
	}
	return errors.New("the box ended without saying how: its log says more")
}

// report prints how the box has left; that nothing was given back is a failure.
func (d leaveDone) report(w io.Writer) error {
	also := ""
	if d.Problem != "" {
		also = ": " + d.Problem
	}
	if !d.Released {
		return fmt.Errorf("the box has stopped, but the lease was not given back: %s: the hub keeps the prefix for this box until its valid lifetime is over%s", d.How, also)
	}
	if _, err := fmt.Fprintln(w, "left: "+d.How); err != nil {
		return err
	}
	if also != "" {
		return errors.New("the box has stopped, not without trouble" + also)
	}
	return nil
}
