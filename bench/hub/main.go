// SPDX-License-Identifier: MIT

// Command hub measures a hub with ten thousand sites, in namespaces that it makes itself: how long it takes until all have
// prefixes when they ask at once, until it serves again after kill -9, how much memory it has, and how many renewals a
// second it answers beside Kea.
//
//	go run ./bench/hub
//
// It prints a table, and exits with 1 if a target of the design is missed.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"oasis6/internal/netlab"
)

// selfPackage is this command, which also runs as other processes of the bench.
const selfPackage = "oasis6/bench/hub"

// Roles of processes that the bench starts.
const (
	roleDevice = "device" // the bare device
	roleRelay  = "relay"  // a hub behind a UDP socket
	roleAlone  = "alone"  // a hub that is asked from inside
)

// options are what the command line says.
type options struct {
	count, alive       int
	settle             time.Duration
	dir, binary, only  string
	verbose            bool
	rounds             int
	trial              time.Duration
	firstRate, topRate float64
}

// roles are for the processes that the bench starts.
type roles struct{ role, key, peers, link string }

func main() {
	o, r := parse()
	switch r.role {
	case roleDevice:
		exit(bareDevice(r.key, r.peers))
	case roleRelay:
		exit(runRelay(o.count, o.dir, r.link))
	case roleAlone:
		exit(renewAlone(o.count, o.dir, o.trial))
	}
	err := netlab.Prefetch(netlab.BoxPackage, selfPackage)
	if err == nil {
		err = netlab.Reexec()
	}
	if err != nil {
		exit(err)
	}
	c := netlab.NewConsole(os.Stderr)
	b := newBench(c, o)
	b.measure()
	c.Close()
	b.write(os.Stdout)
	if b.missed > 0 {
		os.Exit(1)
	}
}

func parse() (o options, r roles) {
	flag.IntVar(&o.count, "sites", 10_000, "`number` of sites")
	flag.IntVar(&o.alive, "live", 1000, "`number` of sites that have a session when memory is read")
	flag.DurationVar(&o.settle, "settle", 90*time.Second, "`time` before memory is read")
	flag.IntVar(&o.rounds, "rounds", 3, "`number` of searches for the highest rate of renewals")
	flag.DurationVar(&o.trial, "trial", 3*time.Second, "`time` that each rate is tried")
	flag.Float64Var(&o.firstRate, "from", 500, "first `rate` of renewals, a second")
	flag.Float64Var(&o.topRate, "to", 64_000, "highest `rate` of renewals, a second")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "`FOLDER` on the disk to measure on")
	flag.StringVar(&o.binary, "box", "", "`FILE` to run as the hub (default: built from this checkout)")
	flag.StringVar(&o.only, "only", "", "measure one `PART`: sites or renewals")
	flag.BoolVar(&o.verbose, "v", false, "print each trial")
	quick := flag.Bool("quick", false, "500 sites, 50 of them live, and short trials")
	flag.StringVar(&r.role, "role", "", "for the bench itself, as are -key, -peers and -link")
	flag.StringVar(&r.key, "key", "", "")
	flag.StringVar(&r.peers, "peers", "", "")
	flag.StringVar(&r.link, "link", "", "")
	flag.Parse()
	if *quick {
		o.count, o.alive, o.settle, o.rounds, o.trial = 500, 50, 5*time.Second, 1, time.Second
	}
	if flag.NArg() > 0 || o.count < 1 || o.count > 50_000 || o.alive < 1 || r.role == "" && o.alive > o.count {
		flag.Usage()
		os.Exit(2)
	}
	return o, r
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
