// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"os"

	"oasis6/internal/wgkey"
)

func genkeyCommand() command {
	return command{
		name: "genkey", topic: topicConfig,
		short: "make a private key, as wg genkey does",
		long: `Prints a new private key. Keep it where only root can read, and do not lose it:
to the hub, another key is another box.

  test -e /etc/oasis6/private.key || (umask 077; oasis6 genkey > /etc/oasis6/private.key)`,
		setup: func(*options) action {
			return func(_ context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				warnOfReaders(e)
				_, err := fmt.Fprintln(e.stdout, wgkey.GeneratePrivate().Reveal())
				return err
			}
		},
	}
}

// warnOfReaders says, as wg does, that the file which standard output goes to is no place for a key: run would
// refuse it.
func warnOfReaders(e env) {
	f, ok := e.stdout.(*os.File)
	if !ok {
		return
	}
	const others = 0o066
	if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() && fi.Mode()&others != 0 {
		fmt.Fprintln(e.stderr, "Warning: writing to a file that group or others may access.\nConsider setting the umask to 077 and trying again.")
	}
}
