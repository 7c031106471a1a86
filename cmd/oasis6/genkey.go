// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"

	"oasis6/internal/wgkey"
)

func genkeyCommand() command {
	return command{
		name: "genkey", topic: topicConfig,
		short: "make a private key, as wg genkey does",
		long:  "Prints a new private key. Keep it where only root can read:\n\n  (umask 077; oasis6 genkey > /etc/oasis6/private.key)",
		setup: func(*options) action {
			return func(_ context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				_, err := fmt.Fprintln(e.stdout, wgkey.GeneratePrivate().Reveal())
				return err
			}
		},
	}
}
