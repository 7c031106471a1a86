// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"oasis6/internal/control"
	"oasis6/status"
)

func statusCommand() command {
	return command{
		name: "status", topic: topicBox,
		short: "say whether IPv6 works, and what is wrong if not",
		long: `Asks the running box or hub. The first line begins with "up: ", "starting: ",
"degraded: " or "down: ", then the cause. Exit code 1 means that nothing runs.`,
		setup: func(o *options) action {
			var (
				run         string
				asJSON, see bool
			)
			o.toggle(&asJSON, option{long: "json", usage: "print one JSON object (docs/status.schema.json)"})
			o.toggle(&see, option{long: "watch", usage: "redraw every second until interrupted"})
			runOption(o, &run)
			return func(ctx context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				switch {
				case asJSON && see:
					return usageError{"--json and --watch exclude each other"}
				case asJSON:
					return printJSON(ctx, e.stdout, socketPath(run))
				case see:
					return watchForPeople(ctx, e, socketPath(run))
				}
				text, err := statusText(ctx, socketPath(run))
				if err != nil {
					return notRunning(err)
				}
				_, err = io.WriteString(e.stdout, text)
				return err
			}
		},
	}
}

// notRunning adds what to do.
func notRunning(err error) error {
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w: start it with oasis6 run"+orHub+", or name its folder with --run", err)
	}
	return err
}

func printJSON(ctx context.Context, w io.Writer, socket string) error {
	var raw json.RawMessage
	if err := control.Call(ctx, socket, "status", nil, &raw); err != nil {
		return notRunning(err)
	}
	return writeIndented(w, raw)
}

func writeIndented(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

func statusText(ctx context.Context, socket string) (string, error) {
	var s status.Snapshot
	if err := control.Call(ctx, socket, "status", nil, &s); err != nil {
		return "", err
	}
	return status.Text(s), nil
}

func watchForPeople(ctx context.Context, e env, socket string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	return watch(ctx, e.stdout, socket, tick.C)
}

// clearScreen moves the cursor to the corner and erases what follows (ECMA-48 CUP, ED).
const clearScreen = "\x1b[H\x1b[J"

// watch redraws with every tick until ctx ends. A box that is gone is shown as such: it may come
// back.
func watch(ctx context.Context, w io.Writer, socket string, tick <-chan time.Time) error {
	for {
		text, err := statusText(ctx, socket)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			text = notRunning(err).Error() + "\n"
		}
		if _, err := io.WriteString(w, clearScreen+text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
	}
}
