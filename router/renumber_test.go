// SPDX-License-Identifier: MIT

package router

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"oasis6/dhcpv6"
	"oasis6/internal/underrace"
	"oasis6/ra"
)

const (
	// connectEvery is how often each host opens a connection.
	connectEvery = 100 * time.Millisecond
	// newAddressWithin of the change the dead source is no longer picked: 2 s of duplicate address detection, and what
	// is left for the box and the wire.
	newAddressWithin = 2500 * time.Millisecond
	// joinedWithin a host that has just come has an address: its own link-local one 2 s, the answer to its
	// solicitation 0.5 s, the global one 2 s, which RFC 4861 and RFC 4862 give it, and two ticks.
	joinedWithin = 4700 * time.Millisecond
	poolSize     = 6 // with temporary ones no more addresses than a Linux host takes
)

// trigger is how the box comes to hear that the hub has renumbered.
type trigger uint8

const (
	byReconfigure trigger = iota
	byRenew               // T1
	byFlap                // the tunnel was dead, and the lease is verified when it is back
	byCrash               // kill -9, and a successor of the same boot
	byReboot              // another boot, with lease and what hosts were told on the disk
	byLeaseLost           // another boot, and lease.json is gone; what hosts were told is there
	triggers
)

func (t trigger) String() string {
	return [...]string{"Reconfigure", "Renew", "tunnel flap", "crash", "reboot", "reboot without lease"}[t]
}

// change is one renumbering as the hosts live through it.
type change struct {
	old     netip.Prefix
	how     farewell
	by      trigger
	at      time.Time // by the hub
	learned time.Time // zero: the box does not know yet
	calm    bool      // nothing else has happened since: no outage, no restart
}

// tally counts connections of one kind of host.
type tally struct {
	all, ok, refused, noRoute    int
	blind, unknown, dead, frozen int // left out: see renumberRun.connect
}

// renumberRun is one seed. What happens in it is always the same; the order in which the loop of the box takes two
// events of the same instant is not.
type renumberRun struct {
	*world
	seed    uint64
	limit   trigger // those before it happen
	change  change
	past    map[netip.Prefix]change // how each prefix that is gone went
	calmAt  time.Time               // the last time that the way to the Internet came back, or the box
	before  time.Time               // the last tick
	tallies map[string]*tally
	// broken are the assertions that failed: how often, and the first time in words.
	broken map[string]int
	first  map[string]string
	slow   time.Duration // the longest that a host waited for its first RA after it had joined
	n      int
	opened uint64 // connections
}

// fail notes a failed assertion by how the source's prefix had gone.
func (r *renumberRun) fail(h *lanHost, what string, src netip.Addr) {
	key := what + " [the present prefix"
	if !src.IsValid() {
		key = what + " [no source"
	}
	for p, c := range r.past {
		switch {
		case !p.Contains(src):
		case c.at.After(r.born):
			key = what + " [" + c.by.String() + ", " + c.how.String()
		default: // only the disk can know
			key = what + " [let go before the process of the box began"
		}
	}
	key += "]"
	if r.broken[key]++; r.broken[key] == 1 {
		r.first[key] = fmt.Sprintf("seed %d, renumbering %d (%s, %s), %v after the box learned, %v after host %q joined: %s",
			r.seed, r.n, r.change.by, r.change.how, time.Since(r.change.learned), time.Since(h.joined), h.kind, src)
	}
}

// pass lets d go by with connections all along.
func (r *renumberRun) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		r.tick(connectEvery)
	}
}

func (r *renumberRun) tick(d time.Duration) {
	dead := !r.far.answering || r.knowsDead()
	time.Sleep(d)
	r.settle()
	if dead && r.far.answering && !r.knowsDead() {
		r.calmAt = time.Now()
	}
	r.observe()
	for _, h := range r.hosts {
		if h.model.Up() && !h.asleep {
			r.connect(h)
		}
	}
	r.far.traffic()
	r.before = time.Now()
}

// observe notes when the box has heard of the change: not before the last tick at which it had not.
func (r *renumberRun) observe() {
	present := func(p netip.Prefix) bool { return r.far.prefix.Contains(p.Addr()) }
	if r.change.learned.IsZero() && r.alive && slices.ContainsFunc(r.preferred, present) {
		r.change.learned = r.before
	}
}

// destination is a host of the Internet, in no prefix of the pool.
func destination(n uint64) netip.Addr {
	n = n*40503 | 1 // an odd multiplier spreads them
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n), 15: 1})
}

// connect opens one connection and asks whether it may end as it does. Left out, and counted: the box is not running;
// the tunnel is dead and the box cannot know yet; the hub has renumbered and the box cannot know yet; a host whose
// clock stood still for hours holds what every router was right to forget.
func (r *renumberRun) connect(h *lanHost) {
	now := time.Now()
	src, v := r.open(h, destination(r.opened))
	r.opened++
	t := r.tallies[h.kind]
	t.all++
	joining := now.Sub(h.joined) < joinedWithin
	calm := now.Sub(r.calmAt)
	since := min(now.Sub(r.change.learned), now.Sub(h.heard))
	touched := r.change.old.Contains(src) || r.far.prefix.Contains(src)
	switch {
	case v == works:
		t.ok++
	case !r.alive:
		t.dead++
	case v == noRoute:
		if t.noRoute++; !joining && min(calm, since) > newAddressWithin && !r.knowsDead() && !r.change.learned.IsZero() {
			r.fail(h, "no address or no default router, although the box has all", src)
		}
	case !r.far.answering && !r.knowsDead():
		t.blind++
	case r.change.learned.IsZero():
		t.unknown++
	case h.frozen:
		t.frozen++
	case touched && r.change.how.carried() && r.change.calm && !joining && now.Sub(h.joined) > now.Sub(r.change.learned):
		r.fail(h, "fails although the hub carries old and new", src)
	case v == hangs:
		r.fail(h, "hangs", src)
	case !h.heard.IsZero() && since > newAddressWithin:
		r.fail(h, "dead source picked more than 2.5 s after the change", src)
	default:
		t.refused++
	}
	if h.heard.IsZero() && r.alive {
		r.slow = max(r.slow, min(now.Sub(h.joined), calm))
	}
}

// renumber is one renumbering with what leads to it, up to ten seconds after the box has learned.
func (r *renumberRun) renumber() {
	r.n++
	to := r.far.prefix
	for to == r.far.prefix {
		to = poolPrefix(r.rnd.IntN(poolSize))
	}
	how, by := farewell(r.rnd.IntN(int(farewells))), trigger(r.rnd.IntN(int(r.limit)))
	if by == byRenew && r.rnd.IntN(5) > 0 {
		by = byReconfigure // half an hour each is much
	}
	set := func() {
		r.change = change{at: time.Now(), old: r.far.prefix, how: how, by: by, calm: by == byReconfigure || by == byRenew}
		r.far.renumber(to, how)
		r.past[r.change.old] = r.change
		delete(r.past, to)
	}
	begin := time.Now()
	switch by {
	case byReconfigure:
		set()
		r.far.reconfigure([]dhcpv6.MessageType{dhcpv6.Renew, dhcpv6.Rebind}[r.rnd.IntN(2)])
	case byRenew:
		set()
		for r.change.learned.IsZero() && time.Now().Before(begin.Add(r.far.preferred)) {
			d := connectEvery
			if time.Until(r.nextDHCP) > 2*time.Second {
				d = time.Second
			}
			r.tick(d)
		}
	case byFlap:
		r.far.answer(false)
		r.pass(time.Duration(16+r.rnd.IntN(44)) * time.Second) // a shorter one goes unnoticed
		set()
		r.far.answer(true)
	case byCrash, byReboot, byLeaseLost:
		r.restart(by, set)
	}
	for i := 0; r.change.learned.IsZero(); i++ {
		if r.tick(connectEvery); i > 1200 {
			r.fail(r.hosts[0], "the box does not learn of it in two minutes", netip.Addr{})
			return
		}
	}
	r.pass(10 * time.Second)
}

// restart kills the box, lets the hub renumber, and starts it again.
func (r *renumberRun) restart(by trigger, meanwhile func()) {
	state, boot := r.b.opt.State, r.b.opt.BootID
	if by == byCrash {
		r.kill()
	} else {
		r.powerOff()
		boot += "'"
		if r.rnd.IntN(2) == 0 { // the ports of the box were those of the hosts
			for _, h := range r.hosts {
				if h.model.Up() {
					r.unplug(h)
				}
			}
		}
	}
	r.pass(time.Duration(1+r.rnd.IntN(20)) * time.Second)
	meanwhile()
	if by == byLeaseLost {
		if err := os.Remove(filepath.Join(state, "lease.json")); err != nil {
			r.Fatal(err)
		}
	}
	r.before = time.Now()
	r.boot(r.far.prefix, state, boot, by == byCrash)
	r.calmAt = time.Now()
	r.observe()
	for _, h := range r.hosts {
		if !h.model.Up() && !h.asleep {
			r.plug(h)
		}
	}
}

// disturb is what happens between two renumberings.
func (r *renumberRun) disturb() {
	what := r.rnd.IntN(5)
	if what == 2 && r.limit <= byCrash {
		what = 0
	}
	switch what {
	case 0: // the tunnel flaps
		r.change.calm = false
		r.far.answer(false)
		r.pass(time.Duration(1+r.rnd.IntN(59)) * time.Second)
		r.far.answer(true)
		r.calmAt = time.Now()
		r.pass(6 * time.Second) // the next initiation
	case 1: // a host is plugged into another port
		h := r.hosts[r.rnd.IntN(len(r.hosts))]
		r.unplug(h)
		r.pass(time.Duration(r.rnd.IntN(5)) * time.Second)
		r.plug(h)
		r.pass(6 * time.Second)
	case 2: // a crash or a reboot with nothing else
		r.change.calm = false
		r.restart([]trigger{byCrash, byReboot}[r.rnd.IntN(2)], func() {})
	}
	r.pass(time.Duration(1+r.rnd.IntN(15)) * time.Second)
}

// night has half of the hosts sleep for eight hours with renumberings in between.
func (r *renumberRun) night(renumberings int) {
	var sleepers []*lanHost
	for _, h := range r.hosts {
		if r.rnd.IntN(2) == 0 {
			sleepers = append(sleepers, h)
			r.sleep(h)
		}
	}
	begin := time.Now()
	hours := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); {
			r.tick(5 * time.Second)
		}
	}
	hours(4 * time.Hour)
	for range renumberings {
		r.renumber()
	}
	hours(8*time.Hour - time.Since(begin))
	for _, h := range sleepers {
		h.frozen = h.kind == "clock stands still"
		r.resume(h, time.Since(begin))
	}
	r.pass(10 * time.Second)
	hours(2 * time.Hour) // until the frozen one has lost what it dreamt of
	for _, h := range sleepers {
		h.frozen = false
	}
}

// Renumberings with crashes, reboots, flaps, replugged and sleeping hosts. From 2.5 s after the box has learned of it no
// new connection of any host picks a dead source; before that none hangs; where the hub carries the old prefix none
// fails at all. What hosts were told must outlive the process: see the test below for what does not need that.
func TestRenumberings(t *testing.T) {
	seeds, each := uint64(20), 50
	if underrace.Is {
		seeds = 2 // `make renumber` has all
	}
	testRenumberings(t, seeds, each, triggers)
}

// The same while the process lives: nothing need be on the disk.
func TestRenumberingsOfOneProcess(t *testing.T) {
	if underrace.Is {
		t.Skip("the test above does the same steps")
	}
	testRenumberings(t, 6, 50, byCrash)
}

// testRenumberings runs the seeds beside each other and reports on all. Only triggers before limit happen.
func testRenumberings(t *testing.T, seeds uint64, each int, limit trigger) {
	var mu sync.Mutex
	sum := renumberRun{tallies: map[string]*tally{}, broken: map[string]int{}, first: map[string]string{}}
	t.Run("seeds", func(t *testing.T) {
		for seed := range seeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				r := renumberings(t, seed, each, limit)
				mu.Lock()
				defer mu.Unlock()
				sum.add(r)
			})
		}
	})
	report(t, &sum)
	for _, k := range slices.Sorted(maps.Keys(sum.broken)) {
		t.Errorf("%d connections: %s\n\tfirst: %s", sum.broken[k], k, sum.first[k])
	}
	if most := ra.MinDelayBetweenRAs + connectEvery; sum.slow > most { // the port came up, and the floor held the RA back
		t.Errorf("a host that joined waited %v for its first RA, want at most %v", sum.slow, most)
	}
	if sum.n < int(seeds)*each {
		t.Errorf("%d renumberings, want %d", sum.n, int(seeds)*each)
	}
}

func (r *renumberRun) add(s *renumberRun) {
	r.n += s.n
	r.slow = max(r.slow, s.slow)
	for k, n := range s.broken {
		if r.broken[k] += n; r.first[k] == "" {
			r.first[k] = s.first[k]
		}
	}
	for k, x := range s.tallies {
		if r.tallies[k] == nil {
			r.tallies[k] = &tally{}
		}
		r.tallies[k].add(*x)
	}
}

func (t *tally) add(u tally) {
	t.all, t.ok, t.refused, t.noRoute = t.all+u.all, t.ok+u.ok, t.refused+u.refused, t.noRoute+u.noRoute
	t.blind, t.unknown, t.dead, t.frozen = t.blind+u.blind, t.unknown+u.unknown, t.dead+u.dead, t.frozen+u.frozen
}

// report prints the counts.
func report(t *testing.T, sum *renumberRun) {
	var b strings.Builder
	fmt.Fprintf(&b, "%d renumberings; connections by kind of host:\n", sum.n)
	line := func(name string, columns ...any) {
		fmt.Fprintf(&b, "%-24s %8v %8v %8v %8v | %8v %8v %8v %8v\n", append([]any{name}, columns...)...)
	}
	fmt.Fprintf(&b, "%-24s %35s | %s\n", "", "", "left out, nobody can know yet:")
	line("", "all", "work", "refused", "no route", "box dead", "tunnel", "untold", "frozen")
	var all tally
	for _, k := range slices.Sorted(maps.Keys(sum.tallies)) {
		x := sum.tallies[k]
		all.add(*x)
		line(k, x.all, x.ok, x.refused, x.noRoute, x.dead, x.blind, x.unknown, x.frozen)
	}
	line("all", all.all, all.ok, all.refused, all.noRoute, all.dead, all.blind, all.unknown, all.frozen)
	t.Logf("%slongest wait of a host that has joined for its first RA: %v", b.String(), sum.slow)
}

// renumberings runs one seed.
func renumberings(t *testing.T, seed uint64, n int, limit trigger) (r *renumberRun) {
	synctest.Test(t, func(t *testing.T) {
		r = &renumberRun{seed: seed, limit: limit, past: map[netip.Prefix]change{}, tallies: map[string]*tally{}, broken: map[string]int{}, first: map[string]string{}}
		for _, k := range hostKinds() {
			r.tallies[k.kind] = &tally{}
		}
		r.calmAt, r.before = time.Now(), time.Now()
		r.change.learned = time.Now()
		r.world = newWorld(t, seed, poolPrefix(0))
		defer func() {
			if r.alive {
				r.b.end()
			}
		}()
		r.pass(10 * time.Second)
		for r.n < n {
			if r.rnd.IntN(2*n/3) == 0 || r.n == n-3 {
				r.night(min(3, n-r.n))
				continue
			}
			r.renumber()
			r.disturb()
		}
	})
	return r
}
