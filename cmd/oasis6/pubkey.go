// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"oasis6/internal/wgkey"
)

func pubkeyCommand() command {
	return command{
		name: "pubkey", args: "[PUBLIC-KEY]", topic: topicConfig,
		short: "turn a private key into its public key, as wg pubkey does",
		long: `Reads a private key from standard input and prints its public key.

With --link-local it prints the link-local address that both ends of a tunnel
compute from the public key. A public key on the command line, a hub's for
example, is then used instead of standard input.`,
		setup: func(o *options) action {
			var linkLocal bool
			o.toggle(&linkLocal, option{long: "link-local", usage: "print the address on the tunnel instead"})
			return func(_ context.Context, e env, args []string) error {
				public, err := publicKey(e, args, linkLocal)
				if err != nil {
					return err
				}
				if linkLocal {
					_, err = fmt.Fprintln(e.stdout, public.LinkLocal())
				} else {
					_, err = fmt.Fprintln(e.stdout, public)
				}
				return err
			}
		},
	}
}

func publicKey(e env, args []string, linkLocal bool) (wgkey.Public, error) {
	switch {
	case len(args) > 1, len(args) == 1 && !linkLocal:
		return wgkey.Public{}, usageError{"the private key is read from standard input; one public key may follow --link-local"}
	case len(args) == 1:
		public, err := wgkey.ParsePublic(args[0])
		if err != nil {
			return wgkey.Public{}, usageError{fmt.Sprintf("%q: %v", args[0], err)}
		}
		return public, nil
	}
	b, err := io.ReadAll(io.LimitReader(e.stdin, 1024))
	if err != nil {
		return wgkey.Public{}, fmt.Errorf("standard input: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return wgkey.Public{}, errors.New("nothing on standard input: give it a private key, as in oasis6 pubkey < /etc/oasis6/private.key")
	}
	private, err := wgkey.ParsePrivate(text)
	if err != nil {
		return wgkey.Public{}, fmt.Errorf("standard input: %w", err) // never quotes it: it may be a secret
	}
	return private.Public(), nil
}
