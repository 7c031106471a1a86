// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"oasis6/bench/hub/swarm"
	"oasis6/hub/store"
	"oasis6/internal/netlab"
)

const (
	mega = 1e6
	// endpointsWritten is when the hub has written where its sites are.
	endpointsWritten = 35 * time.Second
)

// storm is how far apart sites begin: as they do when a hub comes up that all have been calling. WireGuard calls every 5 s.
const storm = 5 * time.Second

// measureSites is everything that needs WireGuard: all sites bind at once, the hub is killed and comes back, and memory.
func (b *bench) measureSites() {
	b.t.Helper()
	b.startHub(b.disk("instant"))
	b.waitHub(time.Minute, 0)
	instant := b.bind(0)
	b.proc.Kill()
	state := b.disk("hub")
	b.startHub(state)
	b.waitHub(time.Minute, 0)
	all := b.bind(storm)
	bound := b.memory(b.proc)
	b.add(fmt.Sprintf("%d sites begin within %v: all have prefixes", b.count, storm), seconds(all), "≤ 30 s", all <= 30*time.Second)
	b.add("the same, all in one instant", seconds(instant), "≤ 30 s", instant <= 30*time.Second)
	time.Sleep(min(b.settle, endpointsWritten)) // so that it is on disk where the sites are
	b.restart(state)
	whole := b.live(state)
	b.proc.Kill()
	bare := b.bare()
	b.add("memory while all began, at its highest", megabytes(bound.peak), "", true)
	b.add(fmt.Sprintf("memory, %d sites with leases, %d live", b.count, b.alive), megabytes(whole.now), "≤ 450 MB", whole.now <= 450*mega)
	b.add("  the bare WireGuard device's share", megabytes(bare.now), "", true)
	b.add("  ours", megabytes(whole.now-bare.now), "≤ 60 MB", whole.now-bare.now <= 60*mega)
}

// bind lets all sites ask for prefixes, and returns how long it takes until all have theirs.
func (b *bench) bind(spread time.Duration) time.Duration {
	b.t.Helper()
	s := b.swarm(b.count, swarm.Leases)
	before := b.cpu(b.proc)
	b.reach(s, spread, 3*time.Minute)
	busy := b.cpu(b.proc) - before
	b.waitHub(10*time.Second, b.count)
	if r, a := b.routes(), b.allowed(); r != b.count || a != b.count {
		b.t.Fatalf("bench: %d sites have leases, but there are %d routes and %d prefixes in allowed-ips", b.count, r, a)
	}
	r := s.Close()
	within, seen := netip.MustParsePrefix(pool), map[netip.Prefix]bool{}
	for _, p := range r.Leases {
		if seen[p] || !within.Contains(p.Addr()) {
			b.t.Fatalf("bench: %s is out of the pool, or two sites have it", p)
		}
		seen[p] = true
	}
	if b.verbose {
		b.t.Logf("prefixes in each second: %v", perSecond(r.Took))
	}
	b.note("sites that begin within %v: half have prefixes after %s; the hub computed for %s; %d handshakes begun, %d told to\n"+
		"  come back with a cookie; %d Solicits; %d answers of no use",
		spread, seconds(r.Took[len(r.Took)/2]), seconds(busy), r.Initiations, r.Cookies, r.Solicits, r.Refused)
	return r.Took[len(r.Took)-1]
}

// perSecond counts sorted times.
func perSecond(took []time.Duration) []int {
	n := make([]int, took[len(took)-1]/time.Second+1)
	for _, d := range took {
		n[d/time.Second]++
	}
	return n
}

// restart kills the hub and starts it again: until all is there as it was.
func (b *bench) restart(state string) {
	b.t.Helper()
	b.proc.Kill()
	start := time.Now()
	b.startHub(state)
	// In this order: allowed-ips come before routes, and asking the kernel costs the hub nothing.
	b.wait(time.Minute, "routes after the restart", func() bool { return b.routes() == b.count })
	routes := time.Since(start)
	b.wait(time.Minute, "allowed-ips after the restart", func() bool { return b.allowed() == b.count })
	b.waitHub(time.Minute, b.count)
	ready, busy := time.Since(start), b.cpu(b.proc)
	b.add("killed and started again: leases, routes, allowed-ips", seconds(ready), "≤ 5 s", ready <= 5*time.Second)
	b.note("  routes were there after %s; wg and then status were asked after that; the hub computed for %s", seconds(routes), seconds(busy))
}

// live is the memory of a hub some of whose sites are there, and the others have been away for long.
func (b *bench) live(state string) memory {
	b.t.Helper()
	b.proc.Kill()
	if err := b.away(filepath.Join(state, "hub.db")); err != nil {
		b.t.Fatalf("bench: %v", err)
	}
	b.startHub(state)
	b.wait(time.Minute, "routes after another start", func() bool { return b.routes() == b.count })
	s := b.swarm(b.alive, swarm.Sessions)
	b.reach(s, 0, time.Minute)
	defer s.Close()
	time.Sleep(b.settle)
	m := b.memory(b.proc) // before anything is asked: the status of so many sites takes memory itself
	b.wait(time.Minute, fmt.Sprintf("hub knows that %d sites are there", b.alive), func() bool {
		s, ok := b.status()
		return ok && s.Hub.SitesUp == b.alive
	})
	return m
}

// away does to the store what the hub does ten minutes after the last handshake of all sites but those that live: else it
// would call them when it starts.
func (b *bench) away(path string) (err error) {
	ctx := context.Background()
	s, damage, err := store.OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if damage != nil {
		return damage
	}
	records, _, err := s.Load(ctx)
	if err != nil {
		return err
	}
	live := map[string]bool{}
	for _, site := range b.sites[:b.alive] {
		live["endpoint/"+site.Key.Public().Hex()] = true
	}
	var changes []store.Change
	for _, r := range records {
		if strings.HasPrefix(r.Key, "endpoint/") && !live[r.Key] {
			changes = append(changes, store.Change{Key: r.Key, Value: append(r.Value, " away"...), If: store.Any})
		}
	}
	_, err = s.Commit(ctx, changes)
	return err
}

// bare is the memory of this program as nothing but the device: see bareDevice.
func (b *bench) bare() memory {
	b.t.Helper()
	var keys strings.Builder
	for _, s := range b.sites {
		fmt.Fprintln(&keys, s.Key.Public())
	}
	b.hub.WriteFile(b.hub.Path("sites"), keys.String(), 0o600)
	b.hub.WriteFile(b.hub.Path("key"), b.key.Reveal(), 0o600)
	p := b.hub.Start(b.self(), "-role", roleDevice, "-key", b.hub.Path("key"), "-peers", b.hub.Path("sites"))
	if !p.WaitOutput(time.Minute, ready) {
		b.t.Fatalf("bench: the bare device: %s", p.Output())
	}
	s := b.swarm(b.alive, swarm.Sessions)
	b.reach(s, 0, time.Minute)
	defer s.Close()
	time.Sleep(b.settle)
	defer p.Kill()
	return b.memory(p)
}

// cpu is what a process has computed so far, on all processors together.
func (b *bench) cpu(p *netlab.Proc) time.Duration {
	b.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/stat")
	if err != nil {
		b.t.Fatalf("bench: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name
	f := strings.Fields(rest)
	const user, system, perSecond = 11, 12, 100 // proc_pid_stat(5): fields 14 and 15, in USER_HZ
	if len(f) <= system {
		b.t.Fatalf("bench: /proc/%d/stat: %q", p.Pid(), text)
	}
	u, _ := strconv.Atoi(f[user]) // the kernel writes numbers
	s, _ := strconv.Atoi(f[system])
	return time.Duration(u+s) * time.Second / perSecond
}

// memory is what a process has of it, in octets.
type memory struct{ now, peak float64 }

func (b *bench) memory(p *netlab.Proc) (m memory) {
	b.t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/status")
	if err != nil {
		b.t.Fatalf("bench: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, _ := strconv.ParseFloat(f[1], 64) // the kernel writes numbers
		switch f[0] {
		case "VmRSS:":
			m.now = n * 1024
		case "VmHWM:":
			m.peak = n * 1024
		}
	}
	return m
}

func megabytes(octets float64) string { return fmt.Sprintf("%.0f MB", octets/mega) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// machine is what the figures depend on.
func machine() string {
	kernel, _ := exec.Command("uname", "-r").Output() // left out if there is no uname
	return strings.TrimSpace(string(kernel))
}
