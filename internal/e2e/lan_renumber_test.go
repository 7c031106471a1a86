// SPDX-License-Identifier: MIT

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// settling is how long after a change a host may still begin connections from the old prefix: its new address must pass
// DAD first.
const settling = 2500 * time.Millisecond

// ahead is how long before hosts see the RA the box may have changed already: it applies first, and then says so.
const ahead = 500 * time.Millisecond

// renumbering is a world whose hub changes its mind, and two hosts that connect to www all the time: h1 as Linux is,
// h2 as Android is.
type renumbering struct {
	*box
	hosts   []*netlab.Node
	ras     []*netlab.RAWatch
	probers []*netlab.Prober
	changes [][]change // of each host: a new box says it by unicast to those that it knows, and to all within three seconds
}

// change is a new prefix, from the moment that a host could hear of it.
type change struct {
	at     time.Time
	prefix netip.Prefix // the pool that it is of
}

func newRenumbering(t *testing.T) *renumbering {
	t.Helper()
	// Lifetimes of minutes, so that h2 believes them; the box asks every 6 s, and so hears of the new prefix.
	r := &renumbering{box: newLoneBox(t, netlab.WorldConfig{Preferred: 20 * time.Minute, Valid: 40 * time.Minute, Renew: 6 * time.Second})}
	r.hosts = []*netlab.Node{r.H1, r.H2}
	r.H2.AndroidLike("eth0")
	r.up()
	r.waitOnline(r.H2)
	for _, h := range r.hosts {
		r.ras = append(r.ras, h.WatchRA("eth0"))
		r.changes = append(r.changes, []change{{time.Now(), delegated}})
		r.probers = append(r.probers, h.Probe(netip.MustParseAddrPort("["+netlab.WWWv6+"]:80")))
	}
	return r
}

// pool is the i-th pool that the hub renumbers to.
func pool(i int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:ebbd:%x00::/56", 0xb0+i))
}

// arrived waits until hosts hear of a new prefix and are online with it.
func (r *renumbering) arrived(p netip.Prefix) {
	r.Helper()
	var last time.Time
	for i, h := range r.hosts {
		fresh, err := r.ras[i].First(2*enough, func(ra netlab.RA) bool {
			pio, ok := ra.PIO(p)
			return ok && pio.Valid > 0
		})
		if err != nil {
			r.Fatalf("%s: RA with %s: %v\n%s", h.Name, p, err, r.text())
		}
		r.changes[i] = append(r.changes[i], change{fresh.At, p})
		if last.Before(fresh.At) {
			last = fresh.At
		}
	}
	for _, h := range r.hosts {
		if !netlab.Poll(enough, func() bool { return r.HostHasGUA(h, p) }) {
			r.Errorf("%s has %v, want an address of %s", h.Name, h.GUAs("eth0"), p)
		}
	}
	time.Sleep(time.Until(last.Add(settling + 1500*time.Millisecond))) // connections of the time after
}

// finish counts the connections.
func (r *renumbering) finish(failures bool) {
	r.Helper()
	for i, h := range r.hosts {
		all, err := r.probers[i].Stop()
		if err != nil {
			r.Fatalf("%s: %v", h.Name, err)
		}
		var dead, hang, refusedLate int
		for _, c := range all {
			prefix, since := in(r.changes[i], c.At)
			_, soonAfter := in(r.changes[i], c.At.Add(ahead))
			late := since > settling && soonAfter > since
			if late && c.Source.IsValid() && c.Source.IsGlobalUnicast() && !prefix.Contains(c.Source) {
				dead++
				r.Errorf("%s: %v after the change to %s: %s", h.Name, since.Round(time.Millisecond), prefix, c)
			}
			if c.Hangs() {
				hang++
				r.Errorf("%s: %v after the change to %s: %s", h.Name, since.Round(time.Millisecond), prefix, c)
			}
			if late && c.Refused() {
				refusedLate++
			}
		}
		r.Logf("%s: %d changes, %d connections: %s; from a dead source after %v: %d, hanging: %d, failed after %v: %d",
			h.Name, len(r.changes[i])-1, len(all), netlab.Summary(all), settling, dead, hang, settling, refusedLate)
		if refusedLate > 0 && !failures {
			r.Errorf("%s: %d connections failed later than %v after a change", h.Name, refusedLate, settling)
		}
	}
}

// in is the prefix that was right at a moment, and since when.
func in(changes []change, at time.Time) (p netip.Prefix, since time.Duration) {
	for _, c := range changes {
		if !c.at.After(at) {
			p, since = c.prefix, at.Sub(c.at)
		}
	}
	return p, since
}

// Three worlds at once, for the time that takes: a probe every 50 ms to each host leaves two processors idle.
func TestRenumberings(t *testing.T) {
	for name, renumber := range map[string]func(*testing.T){
		"again and again": manyRenumberings, "while killed": renumberedWhileKilled, "over a reboot": renumberedOverAReboot,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); renumber(t) })
	}
}

// "From 2.5 s after the change no new connection picks a dead source; before that none hangs": ten times for real. The
// thousand in virtual time are in package router. Each takes ten seconds: in userspace, where what changes is the table and
// nothing else, three must do.
func manyRenumberings(t *testing.T) {
	r := newRenumbering(t)
	times := 10
	if r.Config.Userspace {
		times = 3
	}
	for i := range times {
		r.KeaRenumber(pool(i))
		r.arrived(pool(i))
	}
	r.finish(false)
}

// The box is killed, the hub renumbers meanwhile, and the next box starts with what it finds on disk.
func renumberedWhileKilled(t *testing.T) {
	r := newRenumbering(t)
	for i := range 2 {
		r.proc.Kill()
		r.KeaRenumber(pool(i))
		r.start()
		r.arrived(pool(i))
	}
	r.finish(true) // a box that is not there answers nobody
}

// The same with all gone that a reboot takes: RUN, addresses, routes, rules, forwarding. STATE stays. What a namespace
// cannot change is the kernel's boot id: the box believes that it is the same boot, with a clock that went on.
func renumberedOverAReboot(t *testing.T) {
	r := newRenumbering(t)
	r.reboot(func() { r.KeaRenumber(pool(0)) })
	r.arrived(pool(0))
	old, ok := func() (netlab.PIO, bool) {
		for _, ra := range r.ras[0].All() {
			if pio, ok := ra.PIO(delegated); ok && pio.Valid == 0 {
				return pio, true
			}
		}
		return netlab.PIO{}, false
	}()
	if !ok || old.Preferred != 0 || !old.OnLink || !old.Autonomous {
		t.Errorf("the prefix of before the reboot: %+v, want both lifetimes 0, A and L as before (RFC 9096 section 3.5)", old)
	}
	r.finish(true)
}

// reboot is kill -9 and the loss of what a machine does not keep.
func (b *box) reboot(meanwhile func()) {
	b.Helper()
	b.proc.Kill()
	meanwhile()
	if err := os.RemoveAll(b.BoxRun()); err != nil {
		b.Fatal(err)
	}
	for _, line := range []string{
		"nft flush ruleset", "ip -6 addr flush dev br-lan scope global", "ip -6 route flush proto 66",
		"sysctl -qw net.ipv6.conf.all.forwarding=0",
	} {
		b.R1.Run(strings.Fields(line)...)
	}
	b.start()
}
