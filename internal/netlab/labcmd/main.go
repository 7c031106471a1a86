// SPDX-License-Identifier: MIT

// Command labcmd is `make lab`: it builds the world of two NATs out of network namespaces, runs
// the box and the hub in it, and prints what happens as it happens. It exits with 1 and names the step that
// failed. Nothing of it is left behind, whatever ends it.
//
// Start at main; the world itself is package netlab.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"oasis6/internal/netlab"
)

type options struct {
	box      string // binary of box and hub; empty: built from this checkout
	handMade bool
	kea      bool
	keep     bool
	verbose  bool
	shell    string
	timeout  time.Duration
}

const usage = `labcmd builds a small Internet with two NATs out of network namespaces, runs a hub and a box in it, and shows
that a host behind the box gets IPv6. Nothing of it is left behind.

usage: go run ./internal/netlab/labcmd [options]

`

func main() {
	var o options
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.StringVar(&o.box, "box", "", "`FILE` to run as the box and the hub (default: built from this checkout)")
	flag.BoolVar(&o.handMade, "handmade", false, "no box: R1 is made of wireguard-go, dhcp6c and radvd")
	flag.BoolVar(&o.kea, "kea", false, "no hub: R2 is made of wireguard-go and kea-dhcp6")
	flag.BoolVar(&o.keep, "keep", false, "stay afterwards and take commands for the nodes")
	flag.StringVar(&o.shell, "shell", "", "open a shell in `NODE` afterwards ("+nodes+")")
	flag.BoolVar(&o.verbose, "v", false, "print the logs of the box and the hub too")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Second, "for each step")
	flag.Parse()
	if err := o.check(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(2)
	}
	pkgs := []string{netlab.WireGuardPackage}
	if o.box == "" && (!o.handMade || !o.kea) {
		pkgs = append(pkgs, netlab.BoxPackage)
	}
	err := netlab.CheckTun()
	if err == nil {
		err = netlab.Prefetch(pkgs...)
	}
	if err == nil {
		err = netlab.Reexec()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	c := netlab.NewConsole(os.Stderr)
	l := &lab{Console: c, options: o}
	l.story()
	l.stay()
	c.Close()
}

// nodes are those of netlab.World.
const nodes = "h1 h2 r1 nat1 nat2 inet r2 www"

// check finds what is wrong with the command line before anything is built.
func (o *options) check(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	o.shell = strings.ToLower(o.shell)
	if o.shell != "" && !slices.Contains(strings.Fields(nodes), o.shell) {
		return noNode(o.shell)
	}
	if o.box == "" {
		return nil
	}
	file, err := os.Stat(o.box)
	if err == nil && (file.IsDir() || file.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is not a program", o.box)
	}
	if err == nil {
		o.box, err = filepath.Abs(o.box)
	}
	if err != nil {
		return fmt.Errorf("-box: %w", err)
	}
	return nil
}

func noNode(name string) error {
	return fmt.Errorf("there is no node %q; there are %s", name, nodes)
}

type lab struct {
	*netlab.Console
	options
	w      *netlab.World
	binary string       // oasis6
	r1     *netlab.Proc // the box, or the hand-made one
	start  time.Time    // of r1
	chain  []event      // of then
}

type event struct {
	at         time.Time
	step, text string
}

const picture = `
    h1 ─┐
        ├─ br-lan R1 ─── NAT1 ─── NAT2 ─── IPv4 Internet ─── R2 ─── IPv6 Internet
    h2 ─┘                                        └────────── www ──────────┘
`

// story is what the README promises, in its order.
func (l *lab) story() {
	fmt.Print(picture, "\n")
	l.w = netlab.NewWorld(l, netlab.WorldConfig{DefaultPlaces: true})
	w := l.w
	l.check("IPv4 path", w.CheckIPv4(w.H1))
	fmt.Printf("            h1 reaches http://%s/ over IPv4 through both NATs, and nothing over IPv6\n", netlab.WWWv4)
	before := w.R1.Snapshot4()
	if !l.handMade || !l.kea {
		l.binary = l.box
		if l.binary == "" {
			l.binary = netlab.Build(l, netlab.BoxPackage)
		}
		l.check("start", w.NameBox(l.binary))
	}
	l.startR2()
	w.Settle()
	ras := w.H1.WatchRA("eth0")
	l.startR1()
	echo := make(chan time.Time, 1)
	go func() {
		if at, err := w.H1.FirstEcho(netlab.WWWv6, 6*l.timeout); err == nil {
			echo <- at
		}
	}()

	l.wait("handshake", "with R2, from behind NAT2 ("+netlab.NAT2v4+")", func() bool { return w.LastHandshake() != 0 })
	var lease netip.Prefix
	l.wait("prefix", "", func() bool { lease = l.delegated(); return lease.IsValid() })
	l.then(time.Now(), "prefix", "%v delegated by R2", lease)
	ra, err := ras.First(l.timeout, func(r netlab.RA) bool { return r.Prefix(lease) != nil })
	l.check("RA", err)
	pi := ra.Prefix(lease)
	l.then(ra.At, "RA", "from %v: prefix %v/%d, router lifetime %v", ra.Src, pi.Prefix, pi.PrefixLength, ra.Msg.RouterLifetime)
	l.flush()
	l.wait("host address", "", func() bool { return w.HostHasGUA(w.H1, lease) })
	l.then(time.Now(), "host address", "h1 has %v", w.H1.GUAs("eth0")[0])
	select {
	case at := <-echo:
		l.then(at, "ping", "h1 has the first echo reply from %s", netlab.WWWv6)
		l.flush()
	case <-time.After(l.timeout):
		l.check("ping", fmt.Errorf("no echo reply from %s within %v", netlab.WWWv6, l.timeout))
	}
	body, err := w.H1.Fetch(netlab.WWWv6)
	l.check("fetch", err)
	l.say(time.Now(), "fetch", "http://[%s]/ says %q", netlab.WWWv6, strings.TrimSpace(body))
	l.check("IPv4 path", w.CheckIPv4(w.H1))
	if after := w.R1.Snapshot4(); after != before {
		l.check("IPv4 path", errors.New("the box changed IPv4 state of R1:\n"+netlab.Diff(before, after)))
	}
	l.say(time.Now(), "IPv4 path", "as before: through both NATs, and R1's IPv4 state is the same to the byte")
	tunnel := netlab.BoxTunnel
	if l.handMade {
		tunnel = netlab.HandMadeTunnel
	}
	fmt.Printf("\nr1# wg show %s\n", tunnel)
	out, err := w.R1.Try("wg", "show", tunnel)
	l.check("wg show", err)
	fmt.Println(out)
	if !l.kea {
		fmt.Println("r2# oasis6 hub leases")
		out, err := w.R2.Try(w.HubArgs(l.binary, "hub", "leases")...)
		l.check("hub leases", err)
		fmt.Println(out)
	}
}

// startR2 starts the far router: our hub, or what others make.
func (l *lab) startR2() {
	w := l.w
	if l.kea {
		w.StartR2()
		fmt.Printf("            R2 is up: wireguard-go, and kea-dhcp6 delegating out of %v\n\n", w.Config.Pool)
		return
	}
	if l.verbose {
		w.OnHubLine = func(line string) { fmt.Printf("            | R2: %s\n", line) }
	}
	hub := w.StartHub(l.binary)
	up := netlab.Poll(l.timeout, func() bool {
		_, err := w.R2.Try("wg", "show", netlab.BoxTunnel)
		return err == nil || !hub.Running()
	})
	if !up || !hub.Running() {
		l.check("hub", errors.New("R2 does not come up"))
	}
	fmt.Printf("            R2 is up: oasis6 hub, delegating out of %v\n\n", w.Config.Pool)
}

// delegated is what R2 has given; not valid while that is nothing.
func (l *lab) delegated() netip.Prefix {
	if l.kea {
		return l.w.Delegated()
	}
	return l.w.HubDelegated(l.binary)
}

func (l *lab) startR1() {
	w := l.w
	if l.handMade {
		l.r1 = w.StartHandMade().Proc
	} else {
		if l.verbose {
			w.OnBoxLine = func(line string) { fmt.Printf("            | %s\n", line) }
		}
		l.r1 = w.StartBox(l.binary)
	}
	l.start = l.r1.Started
	l.say(l.start, "start", "of R1")
}

// say prints one line of the story.
func (l *lab) say(at time.Time, step, format string, args ...any) {
	fmt.Printf("%9.3f s  %-12s  %s\n", at.Sub(l.start).Seconds(), step, fmt.Sprintf(format, args...))
}

// then keeps a line of the story for flush. Each line kept is a consequence of the one before.
func (l *lab) then(at time.Time, step, format string, args ...any) {
	l.chain = append(l.chain, event{at, step, fmt.Sprintf(format, args...)})
}

// flush prints what then kept. Steps that are polled for are seen up to some hundredths of a
// second late; none was later than its consequence.
func (l *lab) flush() {
	for i := len(l.chain) - 2; i >= 0; i-- {
		if next := l.chain[i+1].at; next.Before(l.chain[i].at) {
			l.chain[i].at = next
		}
	}
	for _, e := range l.chain {
		l.say(e.at, e.step, "%s", e.text)
	}
	l.chain = nil
}

// wait ends the program if the step does not come to pass. With a text it is kept for flush.
func (l *lab) wait(step, text string, cond func() bool) {
	running := true
	ok := netlab.Poll(l.timeout, func() bool {
		running = l.r1.Running()
		return cond() || !running
	})
	switch {
	case !running:
		if err := l.r1.Wait(); err != nil {
			l.check(step, fmt.Errorf("R1 has ended: %w", err))
		}
		l.check(step, errors.New("R1 has ended, with exit code 0"))
	case !ok:
		l.check(step, fmt.Errorf("nothing within %v", l.timeout))
	case text != "":
		l.then(time.Now(), step, "%s", text)
	}
}

// check ends the program, and names the step, if there is an error.
func (l *lab) check(step string, err error) {
	if err != nil {
		l.flush()
		l.Fatalf("\nlab: step %q failed: %v", step, err)
	}
}

// greet says what a visitor of the nodes must know.
func (l *lab) greet() {
	if !l.handMade {
		fmt.Printf("In r1, oasis6 is the box's command, as in: oasis6 status. Its configuration is %s\n", l.w.BoxFile())
	}
	if !l.kea {
		fmt.Printf("In r2, oasis6 is the hub's, as in: oasis6 status, oasis6 hub leases, oasis6 invite library. Its configuration is %s\n", l.w.HubFile())
	}
	if err := l.w.R1.Shares(); err != nil {
		fmt.Printf("Each node has its own /run only: what you write elsewhere, in /etc too, CHANGES THIS MACHINE (%v)\n", err)
	} else {
		fmt.Println("Each node has its own /run, /etc and /var/lib, gone after the lab; other directories are this machine's.")
	}
}

// stay is for classes.
func (l *lab) stay() {
	if l.shell != "" {
		l.greet()
		fmt.Printf("This is a shell in %s; exit ends it.\n", l.shell)
		l.check("shell", l.w.ByName(l.shell).Shell())
	}
	if !l.keep {
		return
	}
	l.greet()
	fmt.Print("The lab stays.\n", promptHelp)
	in := bufio.NewScanner(os.Stdin)
	for fmt.Print("lab> "); in.Scan(); fmt.Print("lab> ") {
		line := strings.TrimSpace(in.Text())
		if line == "exit" || line == "quit" {
			return
		}
		if err := l.command(line); err != nil {
			fmt.Println("lab:", err)
		}
	}
	fmt.Println()
}

const promptHelp = `  NODE COMMAND   runs it there, as in: h1 ping -c3 ` + netlab.WWWv6 + `
  NODE           opens a shell in it; the nodes are ` + nodes + `
  help           prints this
  exit           ends the lab
`

// command does what one line at the prompt says.
func (l *lab) command(line string) error {
	name, args, _ := strings.Cut(line, " ")
	name = strings.ToLower(name)
	n := l.w.ByName(name)
	switch {
	case name == "":
		return nil
	case name == "help" || name == "?":
		fmt.Print(promptHelp)
		return nil
	case n == nil:
		return fmt.Errorf("%w; help says more", noNode(name))
	case strings.TrimSpace(args) == "":
		return n.Shell()
	default:
		return n.Interact("sh", "-c", args)
	}
}
