// SPDX-License-Identifier: MIT

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"oasis6/internal/netlab"
	"oasis6/status"
)

// outage is how long the tunnel is away in TestOutageKeepsAddresses. `make soak` sets the ten minutes. Which state the box
// is in after a while is no matter of the data plane: in userspace it is enough that the tunnel is down.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OASIS6_OUTAGE")
	if text == "" && strings.HasPrefix(t.Name(), userspaceTest) {
		return 30 * time.Second
	}
	if text == "" {
		return 75 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("OASIS6_OUTAGE: %v", err)
	}
	return d
}

// kept watches the addresses of h1 and a ping from it.
type kept struct {
	*box
	before  []string
	monitor *netlab.Proc
	ping    *netlab.Proc
}

// watchHost begins to watch; finish ends it.
func (b *box) watchHost() *kept {
	b.Helper()
	k := &kept{box: b, before: b.addresses()}
	k.monitor = b.H1.Start("ip", "-6", "monitor", "address")
	k.ping = b.H1.Start("ping", "-n", "-i", "0.1", netlab.WWWv6)
	if !k.ping.WaitOutput(soon, "icmp_seq=3 ") {
		b.Fatalf("ping does not run: %s", k.ping.Output())
	}
	return k
}

// addresses are the global ones of h1, sorted.
func (b *box) addresses() (out []string) {
	b.Helper()
	for _, a := range b.H1.GUAs("eth0") {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return out
}

// finish waits until h1 is online, prints how many pings were lost, and fails if h1 lost an address, even for a moment,
// or has another one than before.
func (k *kept) finish(what string) {
	k.Helper()
	if !netlab.Poll(enough, func() bool { return k.online(k.H1) }) {
		k.Errorf("%s: h1 is not on IPv6\n%s", what, k.text())
	}
	k.ping.Stop(syscall.SIGINT)
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(k.ping.Output())
	if m == nil {
		k.Fatalf("no statistics from ping: %s", k.ping.Output())
	}
	sent, _ := strconv.Atoi(m[1])
	got, _ := strconv.Atoi(m[2])
	k.Logf("%s: %d of %d pings lost, one every 100 ms", what, sent-got, sent)
	for line := range strings.Lines(k.monitor.Output()) {
		if strings.HasPrefix(line, "Deleted") && strings.Contains(line, "global") {
			k.Errorf("%s: h1 lost an address: %s", what, line)
		}
	}
	if after := k.addresses(); !slices.Equal(after, k.before) {
		k.Errorf("%s: addresses of h1 %v, before %v", what, after, k.before)
	}
}

func TestRestartKeepsAddresses(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	dhcp := b.WatchDHCPv6()
	k := b.watchHost()
	asked := len(dhcp.All())
	b.proc.Kill()
	b.start()
	b.waitSummary("up: ", "")
	k.finish("kill -9 and restart")
	all := dhcp.All()[asked:]
	if len(all) == 0 || all[0].Msg.MessageType != dhcpv6.MessageTypeRebind {
		t.Fatalf("messages after the restart: %v, want a Rebind first", all)
	}
	if ps := all[0].Msg.Options.OneIAPD().Options.Prefixes(); len(ps) != 1 || ps[0].Prefix.String() != b.Delegated().String() {
		t.Errorf("the Rebind names %v, want %s", ps, b.Delegated())
	}
}

func TestKeaRestartKeepsAddresses(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{Preferred: 40 * time.Second, Valid: 80 * time.Second})
	b.up()
	k := b.watchHost()
	b.StopKea()
	time.Sleep(25 * time.Second) // T1 passes unanswered
	b.StartKea()
	if !netlab.Poll(enough, func() bool { return b.preferredFor(b.status()) > 30 }) {
		t.Errorf("the lease was not renewed after the server's return\n%s", b.text())
	}
	k.finish("Kea away for 25 s")
}

// preferredFor are the seconds that the first delegation is preferred for.
func (b *box) preferredFor(s status.Snapshot) float64 {
	if len(s.Prefixes) == 0 {
		return 0
	}
	return s.Prefixes[0].PreferredS
}

// The tunnel is dead for minutes: LAN addresses stay, and hosts are without default router so that IPv4 is used at once.
func TestOutageKeepsAddresses(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	k := b.watchHost()
	d := outage(t)
	b.CutTunnel()
	end := time.Now().Add(d)
	b.waitSummaryFor(20*time.Second, "down: ", "")
	if !netlab.Poll(soon, func() bool { return !b.HostDefaultRoute(b.H1).IsValid() }) {
		t.Error("h1 has a default route into a dead tunnel")
	}
	time.Sleep(time.Until(end))
	b.HealTunnel()
	begin := time.Now()
	b.waitOnline(b.H1)
	t.Logf("online %v after the tunnel came back", time.Since(begin).Round(100*time.Millisecond))
	k.finish(fmt.Sprintf("tunnel away for %v", d))
}

func TestNATPortKeepsAddresses(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	k := b.watchHost()
	for range 2 {
		b.RebindNAT()
		if !netlab.Poll(enough, func() bool { return b.H1.Ping(netlab.WWWv6) == nil }) {
			t.Errorf("no IPv6 through the new NAT port\n%s", b.text())
		}
	}
	k.finish("two handshakes on new NAT ports")
}

// leave: hosts are told, the server has its prefix back, the box is gone and the kernel as before.
func TestLeave(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	before6, before4 := b.R1.Snapshot6(), b.R1.Snapshot4()
	b.up()
	ras, dhcp := b.H1.WatchRA("eth0"), b.WatchDHCPv6()
	out := b.R1.Run(b.BoxArgs(b.bin, "leave")...)
	if !strings.Contains(out, "the server has taken the lease back") {
		t.Errorf("leave says %q", out)
	}
	if code := b.proc.WaitTimeout(soon); code != 0 {
		t.Errorf("exit code of the box %d\n%s", code, b.proc.Output())
	}
	if _, err := ras.First(soon, func(r netlab.RA) bool {
		p := r.Prefix(delegated)
		return r.Msg.RouterLifetime == 0 && p != nil && p.PreferredLifetime == 0 && p.ValidLifetime == 0
	}); err != nil {
		t.Errorf("RA that withdraws the prefix: %v", err)
	}
	if n := dhcp.Count(dhcpv6.MessageTypeRelease); n != 1 {
		t.Errorf("%d Releases, want 1 since it was answered: %v", n, dhcp.All())
	}
	lines := strings.Split(strings.TrimSpace(b.KeaLeases()), "\n")
	// address,duid,valid_lifetime,...: the last line of a prefix is what is so, and 0 is a lease that was given back
	if last := strings.Split(lines[len(lines)-1], ","); len(last) < 3 || last[0] != delegated.Addr().String() || last[2] != "0" {
		t.Errorf("Kea still has the lease:\n%s", b.KeaLeases())
	}
	if l := b.lease(); strings.Contains(l, delegated.Addr().String()[:14]) || !strings.Contains(l, "duid") {
		t.Errorf("lease.json after leaving: %s", l)
	}
	b.wantState("after leave", before6, before4)
	b.start() // and a new start gets a prefix again
	b.waitOnline(b.H1)
}

// The flash is full: the box works on and says what is wrong; the last whole lease stays, and a restart finds it.
func TestFullDisk(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	if err := os.MkdirAll(b.BoxState(), 0o700); err != nil {
		t.Fatal(err)
	}
	b.R1.Run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", b.BoxState())
	b.up()
	file := b.BoxState() + "/lease.json"
	whole := b.R1.Run("cat", file)
	_, _ = b.R1.Try("dd", "if=/dev/zero", "of="+b.BoxState()+"/filler", "bs=1k", "count=64") // ends when the disk is full
	b.KeaForget()
	b.KeaRenumber(netip.MustParsePrefix("2001:db8:ebbd:8800::/56"))
	b.CutTunnel() // the handshake after the outage verifies the lease, so that there is something to write
	b.waitSummaryFor(time.Minute, "down: ", "")
	b.HealTunnel()
	b.waitSummaryFor(time.Minute, "degraded: ", "state cannot be saved")
	works := func() bool { return b.H1.Ping(netlab.WWWv6) == nil }
	if !netlab.Poll(enough, works) {
		t.Errorf("no IPv6 although only the disk is full\n%s", b.text())
	}
	if got := b.R1.Run("cat", file); got != whole {
		t.Errorf("lease.json changed on a full disk:\n%s", got)
	}
	b.proc.Kill()
	b.start()
	if !netlab.Poll(enough, func() bool { return works() && strings.HasPrefix(b.status().Summary, "degraded: ") }) {
		t.Errorf("no IPv6 after a restart on a full disk\n%s", b.text())
	}
}
