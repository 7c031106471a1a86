// SPDX-License-Identifier: MIT

// Command dataplane measures one TCP stream through the box, up and down, with the kernel and with userspace as its data
// plane: the same world twice, their runs in turn, so that what else the machine does falls on both alike. The hub is
// ours, with the kernel's data plane; all of it runs on this machine and competes for its processors.
//
//	go run ./bench/dataplane -n 5
//
// It prints a table and judges nothing: what is fast enough depends on the machine.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"oasis6/internal/netlab"
)

const (
	port     = "5001"
	patience = 30 * time.Second // until a host has IPv6
	chunk    = 256 << 10
)

// way is the direction of a stream, as the first octet says it to the server.
type way byte

const (
	up   way = 'u' // from the LAN
	down way = 'd'
)

// subject is one data plane in a world of its own.
type subject struct {
	name string
	w    *netlab.World
	box  *netlab.Proc
	rate map[way][]float64 // Mbit/s
	cpu  map[way][]float64 // of the box, seconds for each gigabyte
	rss  int64
}

func main() {
	runs := flag.Int("n", 5, "`pairs` of runs for each direction")
	length := flag.Duration("t", 4*time.Second, "length of a run")
	flag.Parse()
	if *runs < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	err := netlab.Prefetch(netlab.BoxPackage)
	if err == nil {
		err = netlab.Reexec()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	c := netlab.NewConsole(os.Stderr)
	defer c.Close()
	subjects := []*subject{start(c, "kernel"), start(c, "userspace")}
	for i := range *runs {
		for _, w := range []way{up, down} {
			for _, s := range subjects {
				if err := s.run(w, *length); err != nil {
					c.Fatalf("bench: %s: %v", s.name, err)
				}
			}
		}
		fmt.Fprintf(os.Stderr, "pair %d of %d done\n", i+1, *runs)
	}
	report(subjects)
}

// start brings a world up.
func start(c *netlab.Console, plane string) *subject {
	w := netlab.NewWorld(c, netlab.WorldConfig{Userspace: plane == "userspace"})
	s := &subject{name: plane, w: w, rate: map[way][]float64{}, cpu: map[way][]float64{}}
	binary := netlab.Build(c, netlab.BoxPackage, "-trimpath", "-ldflags=-s -w")
	w.StartHub(binary)
	w.Settle()
	s.box = w.StartBox(binary)
	if _, err := w.H1.FirstEcho(netlab.WWWv6, patience); err != nil {
		c.Fatalf("bench: %s: %v", plane, err)
	}
	var is struct{ Dataplane string }
	if err := json.Unmarshal([]byte(w.R1.Run(w.BoxArgs(binary, "status", "--json")...)), &is); err != nil || is.Dataplane != plane {
		c.Fatalf("bench: the box forwards by %q, want %s: %v", is.Dataplane, plane, err)
	}
	ln, err := w.WWW.Listen("tcp", ":"+port)
	if err != nil {
		c.Fatalf("bench: %v", err)
	}
	c.Cleanup(func() { _ = ln.Close() })
	go serve(ln)
	return s
}

// serve takes what comes, or sends until nobody takes it.
func serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var first [1]byte
			if _, err := io.ReadFull(conn, first[:]); err != nil {
				return
			}
			buf := make([]byte, chunk)
			for err == nil {
				if way(first[0]) == up {
					_, err = conn.Read(buf)
				} else {
					_, err = conn.Write(buf)
				}
			}
		}()
	}
}

// run measures one stream.
func (s *subject) run(w way, length time.Duration) error {
	var conn net.Conn
	err := s.w.H1.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", net.JoinHostPort(netlab.WWWv6, port), patience)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{byte(w)}); err != nil {
		return err
	}
	var octets atomic.Int64
	ended := make(chan error, 1)
	go func() {
		buf := make([]byte, chunk)
		for {
			var n int
			var err error
			if w == up {
				n, err = conn.Write(buf)
			} else {
				n, err = conn.Read(buf)
			}
			octets.Add(int64(n))
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(length / 4) // until the windows are open
	before, cpu, at := octets.Load(), s.box.CPU(), time.Now()
	select {
	case err := <-ended:
		return err
	case <-time.After(length):
	}
	n, took := float64(octets.Load()-before), time.Since(at).Seconds()
	s.rate[w] = append(s.rate[w], n*8/1e6/took)
	s.cpu[w] = append(s.cpu[w], (s.box.CPU()-cpu).Seconds()/(n/1e9))
	s.rss = max(s.rss, s.box.RSS())
	return nil
}

func report(subjects []*subject) {
	fmt.Printf("%-34s", "one TCP stream: median (min - max)")
	for _, s := range subjects {
		fmt.Printf("  %-24s", s.name)
	}
	fmt.Println("  ratio of medians")
	row(subjects, "up, Mbit/s", func(s *subject) []float64 { return s.rate[up] })
	row(subjects, "down, Mbit/s", func(s *subject) []float64 { return s.rate[down] })
	row(subjects, "up, box CPU s/GB", func(s *subject) []float64 { return s.cpu[up] })
	row(subjects, "down, box CPU s/GB", func(s *subject) []float64 { return s.cpu[down] })
	row(subjects, "resident memory at the end, MiB", func(s *subject) []float64 { return []float64{float64(s.rss) / (1 << 20)} })
}

func row(subjects []*subject, title string, values func(*subject) []float64) {
	fmt.Printf("%-34s", title)
	var medians []float64
	for _, s := range subjects {
		v := slices.Sorted(slices.Values(values(s)))
		m := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
		medians = append(medians, m)
		fmt.Printf("  %-24s", fmt.Sprintf("%8.2f (%.2f - %.2f)", m, v[0], v[len(v)-1]))
	}
	fmt.Printf("  %.2f\n", medians[1]/medians[0])
}
