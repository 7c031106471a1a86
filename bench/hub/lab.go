// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"oasis6/bench/hub/swarm"
	"oasis6/internal/control"
	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
	"oasis6/status"
)

// The hub is at one end of a wire. At the other is a machine that has all of 10.0.0.0/8, an address for each site: WireGuard
// takes few handshakes from one address when it has much to do.
const (
	pool      = "2001:db8:4000::/48" // 65,536 times a /64
	iface     = "oasis0"
	port      = 51820
	hubv4     = "203.0.113.1"
	sitesv4   = "203.0.113.2"
	sitesNet  = "10.0.0.0/8"
	firstSite = "10.0.0.1"
)

// bench is what the parts have in common.
type bench struct {
	options
	t     netlab.T
	lab   *netlab.Lab
	hub   *netlab.Node // runs what is measured
	far   *netlab.Node // runs the sites
	key   wgkey.Private
	sites []swarm.Site
	proc  *netlab.Proc // the hub
	report
}

func newBench(t netlab.T, o options) *bench {
	netlab.Need(t, "ip", "wg", "kea-dhcp6", "perfdhcp", "mount")
	if err := netlab.CheckTun(); err != nil {
		t.Fatalf("bench: %v", err)
	}
	b := &bench{options: o, t: t, lab: netlab.New(t), key: wgkey.GeneratePrivate()}
	b.hub, b.far = b.lab.Node("hub"), b.lab.Node("sites")
	b.lab.Wire(b.hub, "eth0", b.far, "eth0")
	b.hub.Addr("eth0", hubv4+"/24")
	b.far.Addr("eth0", sitesv4+"/24")
	b.hub.Run("ip", "route", "add", sitesNet, "via", sitesv4)
	b.far.Run("ip", "route", "add", "local", sitesNet, "dev", "lo")
	at := netip.MustParseAddr(firstSite)
	for range b.count {
		b.sites = append(b.sites, swarm.Site{Key: wgkey.GeneratePrivate(), Source: at})
		at = at.Next()
	}
	b.hub.WriteFile(b.config(), b.hubConfig(), 0o600)
	return b
}

// measure does what is asked for.
func (b *bench) measure() {
	b.t.Helper()
	if b.only != "renewals" {
		b.measureSites()
	}
	if b.only != "sites" {
		b.measureRenewals()
	}
}

func (b *bench) config() string { return b.hub.Path("oasis6.conf") }

func (b *bench) hubConfig() string {
	var c strings.Builder
	fmt.Fprintf(&c, "[Interface]\nName = %s\nPrivateKey = %s\nListenPort = %d\n\n[Hub]\nPool = %s\nDNS = 2001:db8:0:6::53\n", iface, b.key.Reveal(), port, pool)
	for i, s := range b.sites {
		fmt.Fprintf(&c, "\n[Peer]\nName = site%d\nPublicKey = %s\n", i, s.Key.Public())
	}
	return c.String()
}

// disk makes a folder on the disk that is measured; netlab's own are in memory.
func (b *bench) disk(name string) string {
	b.t.Helper()
	dir, err := os.MkdirTemp(b.dir, "oasis6-bench-"+name+"-")
	if err != nil {
		b.t.Fatalf("bench: %v", err)
	}
	b.t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what stays is in a folder for temporary files
	return dir
}

func (b *bench) startHub(state string) {
	b.t.Helper()
	binary := b.binary
	if binary == "" {
		binary = netlab.Build(b.t, netlab.BoxPackage, "-trimpath", "-ldflags=-s -w")
	}
	b.proc = b.hub.Start(binary, "hub", "-c", b.config(), "--state", state, "--run", b.hub.Path("run"), "--log-level", "warn")
}

// status is the hub's, and says whether it answers.
func (b *bench) status() (s status.Snapshot, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := control.Call(ctx, b.hub.Path("run")+"/oasis6.sock", "status", nil, &s)
	return s, err == nil && s.Hub != nil
}

// waitHub waits until the hub says that it is ready with so many leases.
func (b *bench) waitHub(timeout time.Duration, leases int) {
	b.t.Helper()
	b.wait(timeout, fmt.Sprintf("hub ready with %d leases", leases), func() bool {
		s, ok := b.status()
		return ok && s.Ready && s.Hub.Leases == leases && len(s.Sites) == b.count
	})
}

// wait ends when done, and fails if that takes too long.
func (b *bench) wait(timeout time.Duration, what string, done func() bool) {
	b.t.Helper()
	for end := time.Now().Add(timeout); !done(); time.Sleep(100 * time.Millisecond) {
		if !b.proc.Running() {
			b.t.Fatalf("bench: the hub has ended:\n%s", b.proc.Output())
		}
		if time.Now().After(end) {
			b.t.Fatalf("bench: not within %v: %s", timeout, what)
		}
	}
}

// routes are how many routes to prefixes of the pool the kernel has on the tunnel.
func (b *bench) routes() int {
	out, err := b.hub.Try("ip", "-6", "route", "show", "proto", "66", "dev", iface)
	if err != nil {
		return 0 // the interface is not there yet
	}
	return inPool(out)
}

// inPool counts the prefixes of the pool in a text.
func inPool(text string) (n int) {
	all := netip.MustParsePrefix(pool)
	for word := range strings.FieldsSeq(text) {
		if p, err := netip.ParsePrefix(word); err == nil && p.Bits() > all.Bits() && all.Contains(p.Addr()) {
			n++
		}
	}
	return n
}

// allowed are how many prefixes of the pool the device has in its allowed-ips, as wg reads them.
func (b *bench) allowed() int {
	out, err := b.hub.Try("wg", "show", iface, "allowed-ips")
	if err != nil {
		return 0 // it is not there yet
	}
	return inPool(out)
}

// swarm makes the first n sites, which have not begun yet.
func (b *bench) swarm(n int, goal swarm.Goal) *swarm.Swarm {
	b.t.Helper()
	c := swarm.Config{Hub: b.key.Public(), Remote: netip.AddrPortFrom(netip.MustParseAddr(hubv4), port), Sites: b.sites[:n], Goal: goal}
	err := b.far.Do(func() (err error) {
		c.Conn, err = net.ListenUDP("udp4", nil)
		return err
	})
	if err != nil {
		b.t.Fatalf("bench: %v", err)
	}
	s, err := swarm.New(c)
	if err != nil {
		b.t.Fatalf("bench: %v", err)
	}
	b.t.Cleanup(func() { s.Close() })
	return s
}

// reach lets the sites of a swarm reach their goal, or fails. They begin within the spread.
func (b *bench) reach(s *swarm.Swarm, spread, timeout time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.Begin(spread)
	if err := s.Wait(ctx); err != nil {
		r := s.Close()
		b.t.Fatalf("bench: %d sites are there after %v (%v): %+v", len(r.Took), timeout, err, r.Counts)
	}
}
