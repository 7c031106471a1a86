// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"rsc.io/qr"

	"oasis6/hub/enroll"
	"oasis6/internal/control"
	"oasis6/internal/invite"
)

func inviteCommand() command {
	return command{
		name: "invite", args: "NAME", topic: topicHub,
		short: "let one more box become a site",
		long: `Asks the running hub for an invitation of the site NAME, and prints it as one
line, on a terminal also as a QR code. At the box: oasis6 join LINE.
It is good for one box. Whoever has the line first can use it: send it as you
would send a password. It cannot be shown again; oasis6 hub remove NAME takes it
back.`,
		setup: func(o *options) action {
			var (
				p            inviteParams
				valid        = duration(24 * time.Hour)
				run          string
				asJSON, asQR bool
			)
			o.text(&p.Endpoint, option{long: "endpoint", arg: "HOST:PORT", usage: "where the box finds the hub, if not at [Hub] Endpoint"})
			o.value(&valid, option{long: "valid", arg: "TIME", usage: "how long it can be used, such as 90m or 7d", def: "24h"})
			o.toggle(&asQR, option{long: "qr", usage: "print the QR code also where standard output is no terminal"})
			o.toggle(&asJSON, option{long: "json", usage: "print one JSON object"})
			runOption(o, &run)
			return func(ctx context.Context, e env, args []string) error {
				switch {
				case len(args) != 1:
					return usageError{"want one NAME; in quotes if it has several words"}
				case asJSON && asQR:
					return usageError{"--json and --qr exclude each other"}
				}
				if err := checkOrder(args[0], p.Endpoint, time.Duration(valid)); err != nil {
					return usageError{err.Error()}
				}
				p.Name, p.ValidS = args[0], time.Duration(valid).Seconds()
				raw, err := askForInvitation(ctx, run, p)
				switch {
				case err != nil:
					return err
				case asJSON:
					return writeIndented(e.stdout, raw)
				}
				return writeInvitation(e, raw, asQR || isTerminal(e.stdout))
			}
		},
	}
}

func askForInvitation(ctx context.Context, run string, p inviteParams) (json.RawMessage, error) {
	var raw json.RawMessage
	err := control.Call(ctx, socketPath(run), "invite", p, &raw)
	return raw, hubNotRunning(wrongRole(err, "invite", "a box: invitations are made at the hub"))
}

// checkOrder finds what is wrong with the command line itself, before the hub is asked.
func checkOrder(name, endpoint string, valid time.Duration) error {
	err := errors.Join(invite.CheckName(name), enroll.CheckValid(valid))
	if endpoint != "" {
		err = errors.Join(err, invite.CheckEndpoint(endpoint))
	}
	return err
}

// writeInvitation prints the line alone to standard output, so that it can be passed on, and the QR code behind it.
func writeInvitation(e env, raw json.RawMessage, withQR bool) error {
	var a inviteAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return err
	}
	out := a.Invitation + "\n"
	if withQR {
		code, err := qrText(strings.ToUpper(a.Invitation))
		if err != nil {
			return err
		}
		out += code
	}
	if _, err := io.WriteString(e.stdout, out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stderr, "for one box, until %s. At the box: oasis6 join, then this line, or oasis6 join - to paste it there\n",
		a.ExpiresAt.Local().Format("2006-01-02 15:04 MST"))
	return err
}

// Colours of the QR code: black on white out of the fixed part of the 256, since readers want dark modules on a light
// ground and terminals have either.
const (
	qrColours = "\x1b[38;5;16;48;5;231m"
	qrReset   = "\x1b[0m"
	qrQuiet   = 4 // modules of light around (ISO/IEC 18004)
)

// qrText draws a QR code with two modules in each character, one above the other.
func qrText(text string) (string, error) {
	code, err := qr.Encode(text, qr.L) // a screen has no scratches
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for y := -qrQuiet; y < code.Size+qrQuiet; y += 2 {
		b.WriteString(qrColours)
		for x := -qrQuiet; x < code.Size+qrQuiet; x++ {
			switch top, bottom := code.Black(x, y), code.Black(x, y+1); {
			case top && bottom:
				b.WriteRune('█')
			case top:
				b.WriteRune('▀')
			case bottom:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(qrReset + "\n")
	}
	return b.String(), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// duration is an option's value.
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 8)
		v = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || v <= 0 {
		return errors.New("want a time such as 90m, 24h or 7d")
	}
	*d = duration(v)
	return nil
}
