// SPDX-License-Identifier: MIT

//go:build !small

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"oasis6/config"
	"oasis6/dhcpv6/client"
	"oasis6/internal/bootclock"
	"oasis6/internal/control"
	"oasis6/internal/dnsprobe"
	"oasis6/status"
	"oasis6/trial"
	"oasis6/tun/gauge"
)

func tryCommand() command {
	return command{
		name: "try", args: "FILE|-", topic: topicBox,
		short: "bring the tunnel of a file up for a moment, and say what works",
		long: `Takes a configuration or a broker's wg-quick file, or standard input for "-",
and tries it in this process: needs no root, makes no interface, changes
nothing. Prints each step as it ends, and what to do where one fails:
  1 endpoint   the name of the hub, and a way to it
  2 handshake  WireGuard; silence is told from refusal and from a wrong key
  3 prefix     by DHCPv6, given back at the end; or the file's
  4 mtu        the largest packet that passes through the tunnel
  5 rtt        of the path by handshakes, 5 s apart, and through the tunnel
  6 dns        one query; the server is the file's or the hub's, or --dns
  7 fetch      one page by HTTP over IPv6, where --url names one
Exit code 0: no step failed. One that has nothing to try is skipped, and says so.

The hub sends what is for this key to who used it last: a box elsewhere with the
same key is cut off until its next handshake, some 15 s after the end. While a
box with this key runs here, it is left in peace: see --force. The prefix is asked
for as another client than the box, so that it may be another one.`,
		setup: func(o *options) action {
			t := attempt{timeout: trial.DefaultTimeout}
			o.value(targetValue{&t.target}, option{long: "url", arg: "URL", usage: "page to fetch: http://HOST/PATH"})
			o.value(serverValue{&t.dns}, option{long: "dns", arg: "ADDRESS", usage: "DNS server to ask, IPv6: ADDRESS or [ADDRESS]:PORT"})
			o.toggle(&t.quick, option{long: "quick", usage: "one handshake, not three"})
			o.value(durationValue{&t.timeout}, option{long: "timeout", arg: "TIME", usage: "how long a step may wait for answers", def: "15s"})
			o.toggle(&t.asJSON, option{long: "json", usage: "print one JSON object at the end"})
			o.toggle(&t.force, option{long: "force", usage: "also while a box runs here with this key"})
			o.text(&t.state, option{long: "state", arg: "DIR", usage: "folder of the lease of a box", def: defaultState})
			runOption(o, &t.run)
			return func(ctx context.Context, e env, args []string) error {
				if len(args) != 1 {
					return usageError{"it takes one FILE, or - for standard input"}
				}
				t.file = args[0]
				ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
				context.AfterFunc(ctx, stop) // a second signal ends it at once
				return t.do(ctx, e)
			}
		},
	}
}

// attempt is what `oasis6 try` was asked for.
type attempt struct {
	file, run, state     string
	target               trial.Target
	dns                  netip.AddrPort
	timeout              time.Duration
	quick, asJSON, force bool
}

func (t *attempt) do(ctx context.Context, e env) error {
	cfg, notices, err := loadForeign(t.file, e.stdin)
	if err != nil {
		return err
	}
	if err := writeNotices(e.stderr, notices); err != nil {
		return err
	}
	if t.file == "-" {
		t.file = standardInput
	}
	held, err := t.boxHere(ctx, cfg)
	if err != nil {
		return err
	}
	opt := trial.Options{
		Config: cfg, Target: t.target, DNS: t.dns, Quick: t.quick, Timeout: t.timeout, Held: append(held, t.kept()...),
		Outside: trial.Machine{Path: gauge.Path{Mark: cfg.Interface.FwMark}},
		Open:    trial.OpenWith(slog.New(slog.DiscardHandler)), Connect: trial.NewHost, Rand: rand.Float64,
	}
	if !t.asJSON {
		opt.Say = func(s trial.Step) { _, _ = io.WriteString(e.stdout, s.String()) } // the end reports a broken pipe
		if err := t.begin(e.stdout, cfg); err != nil {
			return err
		}
	}
	report, err := trial.Run(ctx, opt)
	if err != nil {
		return err
	}
	return t.end(e, report)
}

// begin says what is about to be done, with the keys for comparison.
func (t *attempt) begin(w io.Writer, cfg *config.Config) error {
	if cfg.Interface.PrivateKey.IsZero() || len(cfg.Peers) == 0 {
		return nil // Run says so
	}
	_, err := fmt.Fprintf(w, "trying %s: this end's public key is %s, the hub's %s\n", t.file, cfg.Interface.PrivateKey.Public(), cfg.Peers[0].PublicKey)
	return err
}

// end prints the result, and makes a failure of it where there is one.
func (t *attempt) end(e env, r trial.Report) error {
	var err error
	if t.asJSON {
		var text []byte
		if text, err = json.Marshal(struct {
			File string `json:"file"`
			trial.Report
		}{t.file, r}); err == nil {
			err = writeIndented(e.stdout, text)
		}
	} else {
		err = summary(e.stdout, r)
	}
	if bad := r.Bad(); len(bad) > 0 {
		return errors.Join(err, fmt.Errorf("%d of %d steps did not pass: %s", len(bad), len(r.Steps), strings.Join(bad, ", ")))
	}
	return err
}

func summary(w io.Writer, r trial.Report) error {
	if r.Released != nil {
		if _, err := fmt.Fprintf(w, "the prefix is given back: %s\n", yesOrWhy(*r.Released, r.Release)); err != nil {
			return err
		}
	}
	if !r.Passed {
		return nil // the error says it
	}
	skipped := 0
	for _, s := range r.Steps {
		if s.State == trial.Skipped {
			skipped++
		}
	}
	text := "everything passed"
	if skipped > 0 {
		text = fmt.Sprintf("everything passed that was tried, %d of %d steps", len(r.Steps)-skipped, len(r.Steps))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func yesOrWhy(yes bool, why string) string {
	if yes {
		return "yes"
	}
	return "no: " + why
}

// loadForeign reads a box's configuration, or what import would make of a wg-quick file; nothing of it is executed.
func loadForeign(path string, stdin io.Reader) (*config.Config, []config.Notice, error) {
	read := func() (*config.File, error) { return config.Read(path) }
	if path == "-" {
		read = func() (*config.File, error) { return config.ReadFrom(standardInput, stdin) }
	}
	f, err := read()
	if err != nil {
		return nil, nil, unread(path, err)
	}
	cfg, notices, err := f.LoadTry()
	var wrong config.Errors
	if errors.As(err, &wrong) {
		err = configError{err: inOrder(notices, wrong)}
	}
	return cfg, notices, err
}

// unread says what to do about a file that cannot be read. try has no -c, and needs no root but for this.
func unread(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: name a broker's wg-quick file or a configuration, such as %s", err, defaultConfig)
	case !errors.Is(err, fs.ErrPermission):
		return err
	}
	whose := "this user may not enter its folder"
	if info, serr := os.Stat(path); serr == nil {
		whose = fmt.Sprintf("its mode is %04o", info.Mode().Perm())
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			whose += fmt.Sprintf(", its owner UID %d", st.Uid)
		}
	}
	return fmt.Errorf("%w: %s: run try as its owner, or as root", err, whose)
}

// boxHere refuses to take the session away from a box that runs here, and gives the prefixes of one that may go on.
func (t *attempt) boxHere(ctx context.Context, cfg *config.Config) ([]netip.Prefix, error) {
	var s status.Snapshot
	err := control.Call(ctx, socketPath(t.run), "status", nil, &s)
	const harm = "its LAN would be without IPv6 until some 15 s after the trial: stop it first, or insist with --force"
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return nil, nil
	case err != nil && !t.force:
		return nil, fmt.Errorf("oasis6 runs here, and its key cannot be learned (%w); if it is the key of this file, %s", err, harm)
	case err != nil:
		return nil, nil
	}
	if s.Tunnel.PublicKey == cfg.Interface.PrivateKey.Public().String() && !t.force {
		return nil, fmt.Errorf("the box that runs here has the key of this file: %s; oasis6 status says how it does", harm)
	}
	var held []netip.Prefix
	for _, p := range s.Prefixes {
		if prefix, err := netip.ParsePrefix(p.Prefix); err == nil {
			held = append(held, prefix)
		}
	}
	return held, nil
}

// kept are the prefixes of a box that does not run, as far as this user may read them.
func (t *attempt) kept() (held []netip.Prefix) {
	data, err := os.ReadFile(filepath.Join(t.state, "lease.json"))
	if err != nil {
		return nil
	}
	lease, _, _, _, err := client.DecodeLease(data, bootclock.Now(), time.Now(), bootclock.BootID())
	if err != nil {
		return nil // the box will say so
	}
	for _, p := range lease.Prefixes() {
		held = append(held, p.Prefix)
	}
	return held
}

// targetValue is an http URL.
type targetValue struct{ target *trial.Target }

func (v targetValue) String() string { return "" }

func (v targetValue) Set(s string) (err error) {
	*v.target, err = trial.ParseTarget(s)
	return err
}

// serverValue is an IPv6 address, with a port in the usual form.
type serverValue struct{ server *netip.AddrPort }

func (v serverValue) String() string { return "" }

func (v serverValue) Set(s string) error {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		a, aerr := netip.ParseAddr(s)
		ap, err = netip.AddrPortFrom(a, dnsprobe.Port), aerr
	}
	if err != nil || !ap.Addr().Is6() || ap.Addr().Is4In6() || ap.Addr().Zone() != "" || ap.Port() == 0 {
		return errors.New("want an IPv6 address, or [ADDRESS]:PORT")
	}
	*v.server = ap
	return nil
}

// Bounds of --timeout: less than a handshake's retry says nothing, more only hides that nobody answers.
const (
	minTryTimeout = time.Second
	maxTryTimeout = 5 * time.Minute
)

type durationValue struct{ d *time.Duration }

func (v durationValue) String() string { return "" }

func (v durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < minTryTimeout || d > maxTryTimeout {
		return fmt.Errorf("want a time from %v to %v, as 15s", minTryTimeout, maxTryTimeout)
	}
	*v.d = d
	return nil
}
