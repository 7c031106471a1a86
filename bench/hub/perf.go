// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"oasis6/internal/netlab"
)

// contender is a DHCPv6 server that perfdhcp asks.
type contender struct {
	name  string
	link  string // of the machine where perfdhcp is, towards it
	proc  *netlab.Proc
	found []float64

	busy    time.Duration // how long it has computed while it was asked
	answers int           // and how many answers it gave
}

// cost is how long it computes for one answer.
func (c *contender) cost() time.Duration { return c.busy / time.Duration(max(c.answers, 1)) }

// Kea's files, where Debian's AppArmor profile lets it have them.
const (
	keaConf   = "/etc/kea/kea-dhcp6.conf"
	keaData   = "/var/lib/kea"
	keaLeases = keaData + "/kea-leases6.csv"
)

// measureRenewals is the DHCPv6 part alone, beside Kea: the highest rate at which perfdhcp misses less than 1% of the
// answers. The two are asked in turns.
func (b *bench) measureRenewals() {
	b.t.Helper()
	alone := b.alone()
	kea := &contender{name: "Kea", link: "kea0"}
	ours := &contender{name: "oasis6", link: "hub0"}
	k, r := b.server("kea", kea.link), b.server("relay", ours.link)
	for _, link := range []link{{k, "eth0"}, {r, "eth0"}, {b.far, kea.link}, {b.far, ours.link}} {
		link.settle()
	}
	kea.proc, ours.proc = b.startKea(k), b.startRelay(r)
	for _, c := range []*contender{kea, ours} {
		// The clients get their leases before anything is measured.
		all := time.Duration(1.2 * float64(b.count) / b.firstRate * float64(time.Second))
		if _, ok := b.perfdhcp(c, b.firstRate, all); !ok {
			b.perfdhcp(c, b.firstRate, all)
		}
		c.busy, c.answers = 0, 0
	}
	for range b.rounds {
		b.search(kea, ours)
	}
	theirs, us := median(kea.found), median(ours.found)
	b.add("renewals a second, perfdhcp to oasis6", rate(us), "", true)
	b.add("renewals a second, perfdhcp to Kea", rate(theirs), "", true)
	b.add("  ratio of the medians", fmt.Sprintf("%.2f", us/theirs), "> 1", us > theirs)
	b.add("processor time for an answer, oasis6", micros(ours.cost()), "", true)
	b.add("processor time for an answer, Kea", micros(kea.cost()), "", true)
	b.add("renewals a second, oasis6 without sockets and perfdhcp", rate(alone), "", true)
	b.note("  found with Kea %s, with oasis6 %s", rates(kea.found), rates(ours.found))
	b.note(`  perfdhcp asks %d clients in turns, and beside each Renew makes a whole exchange: Solicit, Advertise, Request, Reply.
  Kea: its own sockets, one thread and leases in memory and a CSV file that is not synced, as Debian ships it; warnings
  alone are logged. It makes no routes. oasis6: a UDP socket in place of WireGuard, then the hub's loop, DHCPv6 machine, store
  synced before each answer that promises something new, and the kernel's routes. Both files are on the same disk, and
  perfdhcp takes as much of the processors as it wants from either.`, b.count)
}

func micros(d time.Duration) string {
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}

func rate(r float64) string { return fmt.Sprintf("%.0f/s", r) }

func rates(all []float64) string {
	var words []string
	for _, r := range all {
		words = append(words, rate(r))
	}
	return strings.Join(words, ", ")
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// alone runs renewAlone in a machine of its own.
func (b *bench) alone() float64 {
	b.t.Helper()
	n := b.lab.Node("alone")
	n.Run("ip", "tuntap", "add", iface, "mode", "tun")
	out := n.Run(b.self(), "-role", roleAlone, "-sites", strconv.Itoa(b.count), "-dir", b.disk("alone"), "-trial", b.trial.String())
	var figure float64
	if _, err := fmt.Sscanf(out, aloneWord+" %g", &figure); err != nil {
		b.t.Fatalf("bench: the hub alone: %q", out)
	}
	return figure
}

// self is this command, built, for other processes.
func (b *bench) self() string {
	b.t.Helper()
	return netlab.Build(b.t, selfPackage, "-trimpath", "-ldflags=-s -w")
}

// server makes a machine at the other end of a link.
func (b *bench) server(name, link string) *netlab.Node {
	b.t.Helper()
	n := b.lab.Node(name)
	for _, m := range []*netlab.Node{n, b.far} {
		m.Sysctl("net.ipv6.conf.default.accept_dad", "0") // there is nobody else on the wire
	}
	b.lab.Wire(b.far, link, n, "eth0")
	return n
}

// link is one end of a wire.
type link struct {
	*netlab.Node
	iface string
}

// settle waits until it has a link-local address that may be used.
func (l link) settle() {
	l.WaitFor(10*time.Second, "no link-local address on "+l.iface, func() bool {
		out := l.Run("ip", "-6", "-o", "addr", "show", "dev", l.iface, "scope", "link")
		return out != "" && !strings.Contains(out, "tentative")
	})
}

func (b *bench) startKea(n *netlab.Node) *netlab.Proc {
	b.t.Helper()
	n.Tmpfs("/etc/kea")
	n.Run("mkdir", "-p", keaData, "/run/kea", "/run/lock/kea")
	n.Run("mount", "--bind", b.disk("kea"), keaData)
	n.WriteFile(keaConf, keaConfig(), 0o644)
	p := n.Start("kea-dhcp6", "-c", keaConf)
	if !p.WaitOutput(15*time.Second, "DHCP6_MULTI_THREADING_INFO") {
		b.t.Fatalf("bench: kea-dhcp6 does not serve:\n%s", p.Output())
	}
	return p
}

// keaConfig is for Kea 2.2 and later: what Debian's file leaves to choose is as the hub has it.
func keaConfig() string {
	type obj = map[string]any
	network, length, _ := strings.Cut(pool, "/")
	bits, _ := strconv.Atoi(length)                 // pool is a constant
	text, _ := json.MarshalIndent(obj{"Dhcp6": obj{ // maps of strings and numbers
		"interfaces-config":  obj{"interfaces": []string{"eth0"}},
		"lease-database":     obj{"type": "memfile", "persist": true, "name": keaLeases, "lfc-interval": 3600},
		"preferred-lifetime": 2700, "valid-lifetime": 5400, "renew-timer": 1350, "rebind-timer": 2160,
		"subnet6": []obj{{
			"id": 1, "subnet": "2001:db8:5000::/64", "interface": "eth0",
			"pd-pools": []obj{{"prefix": network, "prefix-len": bits, "delegated-len": 64}},
		}},
		"loggers": []obj{{"name": "kea-dhcp6", "severity": "WARN", "output_options": []obj{{"output": "stdout", "flush": true}}}},
	}}, "", "  ")
	return string(text)
}

func (b *bench) startRelay(n *netlab.Node) *netlab.Proc {
	b.t.Helper()
	n.Run("ip", "tuntap", "add", iface, "mode", "tun")
	p := n.Start(b.self(), "-role", roleRelay, "-sites", strconv.Itoa(b.count), "-dir", b.disk("relay"), "-link", "eth0")
	if !p.WaitOutput(30*time.Second, ready) {
		b.t.Fatalf("bench: the hub for perfdhcp: %s", p.Output())
	}
	return p
}

// search finds for each contender the highest rate that it bears, to a tenth. One asks after the other.
func (b *bench) search(all ...*contender) {
	b.t.Helper()
	type limits struct{ low, high, renewals float64 }
	at := make([]limits, len(all))
	for i, c := range all {
		if at[i].low = b.firstRate / 2; len(c.found) > 0 {
			at[i].low = median(c.found) / 2
		}
	}
	for busy := true; busy; {
		busy = false
		for i, c := range all {
			l := &at[i]
			if l.high > 0 && l.high < 1.1*l.low || l.low >= b.topRate {
				continue
			}
			busy = true
			next := min(2*l.low, b.topRate)
			if l.high > 0 {
				next = math.Sqrt(l.low * l.high)
			}
			renewals, ok := b.perfdhcp(c, next, b.trial)
			if !ok { // one miss may be the machine's
				renewals, ok = b.perfdhcp(c, next, b.trial)
			}
			if ok {
				l.low, l.renewals = next, max(l.renewals, renewals)
			} else {
				l.high = next
			}
		}
	}
	for i, c := range all {
		c.found = append(c.found, at[i].renewals)
	}
}

// perfdhcp asks so often, and says how many Renews a second were answered, and whether less than 1% of all was missed. That
// perfdhcp itself could not ask so often counts as a miss.
func (b *bench) perfdhcp(c *contender, rate float64, lasts time.Duration) (renewals float64, ok bool) {
	b.t.Helper()
	r, period := strconv.Itoa(int(rate)), math.Ceil(lasts.Seconds()) // perfdhcp takes whole ones
	before := b.cpu(c.proc)
	out, err := b.far.Try("perfdhcp", "-6", "-e", "prefix-only", "-b", "duid=000300010000005e00530000", "-l", c.link,
		"-r", r, "-f", r, "-R", strconv.Itoa(b.count), "-p", strconv.Itoa(int(period)), "-W", "500000")
	c.busy += b.cpu(c.proc) - before
	kinds := perfReport(out)
	if len(kinds) != 3 { // a failure alone may say that something was missed
		b.t.Fatalf("bench: perfdhcp: %v\n%s", err, out)
	}
	ok = float64(kinds[0].sent) > 0.95*rate*period
	for _, k := range kinds {
		c.answers += k.got
		ok = ok && k.got > 0 && float64(k.sent-k.got) < 0.01*float64(k.sent)
	}
	if b.verbose {
		b.t.Logf("%-8s %8.0f/s %v %v", c.name, rate, kinds, ok)
	}
	return float64(kinds[2].got) / period, ok
}

// exchange is a kind of question: how many perfdhcp has sent, and had answers to.
type exchange struct{ sent, got int }

// perfReport reads perfdhcp's report: Solicit, Request, Renew.
func perfReport(text string) (kinds []exchange) {
	lines := regexp.MustCompile(`sent packets: (\d+)\nreceived packets: (\d+)\n`)
	for _, m := range lines.FindAllStringSubmatch(text, -1) {
		sent, _ := strconv.Atoi(m[1]) // digits
		got, _ := strconv.Atoi(m[2])
		kinds = append(kinds, exchange{sent, got})
	}
	return kinds
}
