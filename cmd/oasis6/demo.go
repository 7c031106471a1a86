// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"oasis6/lab"
	"oasis6/lab/page"
)

// The page is at the first of these ports that is free, unless --listen names another.
const (
	demoPort  = 8066
	demoPorts = 16
)

func demoCommand() command {
	return command{
		name: "demo", topic: topicOther,
		short: "show the whole world in one process, in a browser; needs no root",
		long: `Starts two hosts, a box behind two NATs, a hub and both Internets in this process,
and a page on this machine that shows them: packets on their way, what each node
knows, buttons that make trouble, lessons. Box and hub run the code of oasis6 run
and oasis6 hub. Nothing outside of the process is touched but the page's port.

With --once there is no page: the scenario is played, each step printed with its
time, and the exit code is 0 only if all passed.

Tunnels are simulated (sim: WireGuard's messages, sizes and timers without
cryptography, in virtual time, which can be paused), or wireguard-go itself (wg:
in real time).`,
		setup: func(o *options) action {
			d := demo{seed: 1}
			o.toggle(&d.once, option{long: "once", usage: "play the scenario without a page"})
			o.toggle(&d.list, option{long: "list", usage: "list the scenarios"})
			o.text(&d.listen, option{long: "listen", arg: "ADDRESS", usage: "HOST:PORT of the page, on this machine (default 127.0.0.1:" + strconv.Itoa(demoPort) + ")"})
			o.value(seedValue{&d}, option{long: "seed", arg: "N", usage: "chance, with sim: the same seed gives the same world", def: "1"})
			o.text(&d.scenario, option{long: "scenario", arg: "NAME", usage: "what happens", def: lab.Scenarios()[0].Name})
			o.value(choice{&d.link, []string{string(lab.Sim), string(lab.WG)}}, option{long: "link", arg: "KIND", usage: "sim or wg (default wg with --once and no --seed, else sim)"})
			return func(ctx context.Context, e env, args []string) error {
				if err := noWords(args); err != nil {
					return err
				}
				ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
				context.AfterFunc(ctx, stop) // a second signal ends it at once
				return d.do(ctx, e)
			}
		},
	}
}

// demo is what `oasis6 demo` was asked for.
type demo struct {
	once, list             bool
	listen, scenario, link string
	seed                   uint64
	seeded                 bool // --seed was given
}

func (d *demo) do(ctx context.Context, e env) error {
	if d.list {
		return listScenarios(e.stdout)
	}
	if d.once && d.listen != "" {
		return usageError{"--once has no page to listen for"}
	}
	if d.seeded && d.link == string(lab.WG) {
		return usageError{"--seed gives the same world again only with --link sim: wireguard-go takes its clock and its keys from the system"}
	}
	if d.link == "" {
		d.link = string(lab.Sim)
		if d.once && !d.seeded {
			d.link = string(lab.WG)
		}
	}
	about, err := scenarioAbout(d.scenario)
	if err != nil {
		return err
	}
	w, err := lab.New(lab.Options{Seed: d.seed, Link: lab.LinkKind(d.link), Scenario: d.scenario})
	if err != nil {
		return err
	}
	defer w.Close()
	if d.once {
		return d.play(ctx, e, w, about)
	}
	return d.show(ctx, e, w)
}

// scenarioAbout is the scenario's line, or why it cannot be had.
func scenarioAbout(name string) (string, error) {
	var names []string
	for _, s := range lab.Scenarios() {
		switch {
		case s.Name == name && s.Missing != "":
			return "", usageError{fmt.Sprintf("scenario %s is not available: %s", name, s.Missing)}
		case s.Name == name:
			return s.About, nil
		case s.Missing == "":
			names = append(names, s.Name)
		}
	}
	return "", usageError{fmt.Sprintf("no scenario %q: there are %s", name, strings.Join(names, ", "))}
}

func listScenarios(w io.Writer) error {
	var b strings.Builder
	for _, s := range lab.Scenarios() {
		text := s.About
		if s.Missing != "" {
			text += " (not available: " + s.Missing + ")"
		}
		fmt.Fprintf(&b, "%-18s %s\n", s.Name, text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// chance is what decides where the world leaves a choice.
func (d *demo) chance() string {
	if d.link == string(lab.Sim) {
		return fmt.Sprintf("seed %d", d.seed)
	}
	return "in real time"
}

// play is --once.
func (d *demo) play(ctx context.Context, e env, w *lab.World, about string) error {
	begun := time.Now()
	if _, err := fmt.Fprintf(e.stdout, "%s: %s (link %s, %s)\n", d.scenario, about, d.link, d.chance()); err != nil {
		return err
	}
	n := len(w.Outcomes())
	done, failed := 0, ""
	passed, err := w.Finish(ctx, func(s lab.Outcome) {
		done++
		if s.State != page.Passed {
			failed = s.Name
		}
		_, _ = io.WriteString(e.stdout, stepLine(done, n, s)) // the end reports a broken pipe
	})
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted after %d of %d steps", done, n)
	case err != nil:
		return err
	case !passed:
		tellTimeline(e.stderr, w.Timeline())
		return fmt.Errorf("step %d of %d did not pass: %s; the lines above say what the nodes did last", done, n, failed)
	}
	_, err = fmt.Fprintf(e.stdout, "all %d steps passed, in %.1f s\n", n, time.Since(begun).Seconds())
	return err
}

// stepLine is a step as a reader of a terminal wants it: what, how long, and what was found.
func stepLine(i, n int, s lab.Outcome) string {
	line := fmt.Sprintf("%2d/%d %-6s %7.3f s  %s", i, n, s.State, s.Took.Seconds(), s.Name)
	if s.RFC != "" {
		line += " (" + s.RFC + ")"
	}
	line += "\n"
	if s.Text != "" {
		line += strings.Repeat(" ", 24) + s.Text + "\n"
	}
	return line
}

// lastLines of the timeline are enough to see how a step failed.
const lastLines = 20

func tellTimeline(w io.Writer, all []page.Entry) {
	for _, x := range all[max(0, len(all)-lastLines):] {
		fmt.Fprintf(w, "%s %s %s: %s\n", x.At.Format("15:04:05.000"), x.Level, x.Node, x.Text)
	}
}

// open is the page's port.
func (d *demo) open() (net.Listener, error) {
	if d.listen != "" {
		l, err := page.Listen(d.listen)
		if _, tried := errors.AsType[*net.OpError](err); err != nil && !tried {
			return nil, usageError{err.Error()} // no port to listen on, whatever the system would say
		}
		return l, err
	}
	for port := demoPort; ; port++ {
		l, err := page.Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || port == demoPort+demoPorts-1 {
			return l, err
		}
	}
}

type seedValue struct{ d *demo }

func (v seedValue) String() string { return "" }

func (v seedValue) Set(s string) (err error) {
	if v.d.seed, err = strconv.ParseUint(s, 0, 64); err != nil {
		return errors.New("want a number from 0 to 18446744073709551615")
	}
	v.d.seeded = true
	return nil
}
