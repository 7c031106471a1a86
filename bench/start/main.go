// SPDX-License-Identifier: MIT

// Command start measures how long the box takes from process start to the first Router
// Advertisement with the prefix on the LAN and to the first echo reply of a LAN host, and how much
// memory it holds when idle, beside a hand-made R1 (wireguard-go, dhcp6c and radvd) in the same
// run. Both begin from nothing each time: no lease, no handshake, R2 up, the LAN up for a while.
//
//	go run ./bench/start -n 10
//
// It prints a table and judges nothing: what is fast enough depends on the machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"oasis6/internal/netlab"
)

// timeout is for one run from start to echo reply.
const timeout = 60 * time.Second

// subject is what is measured.
type subject struct {
	name  string
	start func(*netlab.World) *netlab.Proc

	ra   []time.Duration // with either setting of the host
	echo [2][]time.Duration
	rss  []int64
}

// settings are the hosts that are measured: the value of router_solicitation_delay.
var settings = [2]struct{ title, delay string }{{"default sysctls", ""}, {"router_solicitation_delay=0", "0"}}

func main() {
	runs := flag.Int("n", 10, "`runs` per subject and host setting")
	settle := flag.Duration("settle", 10*time.Second, "time from echo reply to reading the memory (last run only)")
	box := flag.String("box", "", "`FILE` to run as the box (default: built from this checkout)")
	only := flag.String("only", "", "measure only `SUBJECT`: oasis6 or hand-made")
	rapid := flag.Bool("rapid", false, "let dhcp6c ask for Rapid Commit (its examples do not)")
	verbose := flag.Bool("v", false, "print each run")
	flag.Parse()
	if *runs < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	err := netlab.Prefetch(netlab.WireGuardPackage, netlab.BoxPackage)
	if err == nil {
		err = netlab.Reexec()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	var subjects []*subject
	for _, s := range []*subject{oasis6(*box), handMade()} {
		if *only == "" || *only == s.name {
			subjects = append(subjects, s)
		}
	}
	b := bench{config: netlab.WorldConfig{HandMadeRapid: *rapid}, settle: *settle, verbose: *verbose}
	for i := range *runs {
		for setting := range settings {
			for _, s := range subjects {
				b.run(s, setting, i == *runs-1)
			}
		}
		fmt.Fprintf(os.Stderr, "run %d of %d done\n", i+1, *runs)
	}
	print(subjects)
}

func oasis6(box string) *subject {
	return &subject{name: "oasis6", start: func(w *netlab.World) *netlab.Proc {
		file := box
		if file == "" {
			file = netlab.Build(w.T, netlab.BoxPackage, "-trimpath", "-ldflags=-s -w")
		}
		return w.StartBox(file)
	}}
}

func handMade() *subject {
	return &subject{name: "hand-made", start: func(w *netlab.World) *netlab.Proc { return w.StartHandMade().Proc }}
}

type bench struct {
	config  netlab.WorldConfig
	settle  time.Duration
	verbose bool
}

// run measures one start in a world of its own.
func (b *bench) run(s *subject, setting int, memory bool) {
	c := netlab.NewConsole(os.Stderr)
	defer c.Close()
	w := netlab.NewWorld(c, b.config)
	if delay := settings[setting].delay; delay != "" {
		w.H1.Sysctl("net/ipv6/conf/eth0/router_solicitation_delay", delay)
	}
	w.StartR2()
	w.Settle()
	ras := w.H1.WatchRA("eth0")
	p := s.start(w)
	at, err := w.H1.FirstEcho(netlab.WWWv6, timeout)
	if err != nil {
		c.Fatalf("bench: %s: %v", s.name, err)
	}
	ra, err := ras.First(time.Second, func(r netlab.RA) bool { return r.Prefix(w.Config.Pool) != nil })
	if err != nil {
		c.Fatalf("bench: %s: RA with the prefix: %v", s.name, err)
	}
	s.ra = append(s.ra, ra.At.Sub(p.Started))
	s.echo[setting] = append(s.echo[setting], at.Sub(p.Started))
	if b.verbose {
		fmt.Fprintf(os.Stderr, "%-10s RA %.3f s, echo %.3f s (%s)\n", s.name, ra.At.Sub(p.Started).Seconds(), at.Sub(p.Started).Seconds(), settings[setting].title)
	}
	if memory {
		time.Sleep(b.settle)
		s.rss = append(s.rss, p.RSS())
	}
}

func print(subjects []*subject) {
	fmt.Printf("%-44s", "seconds from start: median (min - max)")
	for _, s := range subjects {
		fmt.Printf("  %-24s", s.name)
	}
	if len(subjects) == 2 {
		fmt.Printf("  ratio of medians")
	}
	fmt.Println()
	row(subjects, "first RA with the prefix", func(s *subject) []float64 { return seconds(s.ra) })
	for i, st := range settings {
		row(subjects, "first echo reply, "+st.title, func(s *subject) []float64 { return seconds(s.echo[i]) })
	}
	row(subjects, "idle resident memory, MiB", func(s *subject) []float64 {
		var out []float64
		for _, octets := range s.rss {
			out = append(out, float64(octets)/(1<<20))
		}
		return out
	})
}

func seconds(ds []time.Duration) (out []float64) {
	for _, d := range ds {
		out = append(out, d.Seconds())
	}
	return out
}

func row(subjects []*subject, title string, values func(*subject) []float64) {
	fmt.Printf("%-44s", title)
	var medians []float64
	for _, s := range subjects {
		v := values(s)
		slices.Sort(v)
		m := median(v)
		medians = append(medians, m)
		fmt.Printf("  %-24s", fmt.Sprintf("%7.3f (%.3f - %.3f)", m, v[0], v[len(v)-1]))
	}
	if len(medians) == 2 {
		fmt.Printf("  %.2f", medians[0]/medians[1])
	}
	fmt.Println()
}

// median of sorted values.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
