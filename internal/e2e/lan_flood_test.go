// SPDX-License-Identifier: MIT

package e2e

import (
	"math"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"oasis6/internal/netlab"
)

// lost ends a ping and returns how many requests it sent and how many replies are missing.
func (b *box) lost(p *netlab.Proc) (sent, missing int) {
	b.Helper()
	p.Stop(syscall.SIGINT)
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(p.Output())
	if m == nil {
		b.Fatalf("no statistics from ping: %s", p.Output())
	}
	sent, _ = strconv.Atoi(m[1])
	got, _ := strconv.Atoi(m[2])
	return sent, sent - got
}

// RFC 6583: somebody on the Internet scans the LAN's /64. The host that is there does not notice.
func TestScanOfTheLAN(t *testing.T) {
	for _, kind := range []netlab.Probe{netlab.ProbeEcho, netlab.ProbeSYN} {
		t.Run(kind.String(), func(t *testing.T) {
			b := newLoneBox(t, netlab.WorldConfig{})
			b.WriteBoxConfig(b.BoxConfig("[Router]", "Firewall = open")) // a closed one stops most of a scan before
			b.up()
			host := b.H1.GUAs("eth0")[0].String()
			ping := b.WWW.Start("ping", "-n", "-c", "100", "-i", "0.06", "-W", "2", host)
			before := b.status().Neighbors
			took := b.WWW.Scan(gua64(b.H1), 10000, 2000, kind)
			after := b.status().Neighbors
			if code := ping.WaitTimeout(enough); code > 1 {
				t.Fatalf("ping: %s", ping.Output())
			}
			sent, missing := b.lost(ping)
			t.Logf("10000 %s in %v: %d of %d pings lost; neighbours before %+v, after %+v", kind, took.Round(10*time.Millisecond), missing, sent, before, after)
			if sent != 100 || missing != 0 {
				t.Errorf("%d of %d pings lost, want none of 100", missing, sent)
			}
			if after.Dropped-before.Dropped < 5000 || after.Known == 0 {
				t.Errorf("%d packets were dropped by the limit, %d addresses known", after.Dropped-before.Dropped, after.Known)
			}
			if after.Most > 0 && after.Entries > after.Most/2 {
				t.Errorf("the scan left %d entries in a neighbour table of %d", after.Entries, after.Most)
			}
		})
	}
}

const (
	floodRate = 50000
	floodTime = 10 * time.Second
	// rssSlack is what a Go program's memory may differ by without a leak: a garbage collection more or less. Half a
	// million packets that leave nine octets each behind are over it.
	rssSlack = 4 << 20
)

// flooded floods a LAN from h2 while h1 pings www, and returns how much of that was lost.
func (b *box) flooded(what string, kind netlab.Malformed) (sent, missing int) {
	b.Helper()
	ping := b.pinging()
	n, took := b.H2.Flood("eth0", kind, floodRate, floodTime)
	sent, missing = b.lost(ping)
	if rate := float64(n) / took.Seconds(); rate < floodRate/5 {
		b.Errorf("%s: the flood came to %.0f a second only: this machine is too busy to show anything", what, rate)
	}
	b.Logf("%s: %d broken %s in %v (%.0f/s), %d of %d pings lost", what, n, kind, took.Round(10*time.Millisecond), float64(n)/took.Seconds(), missing, sent)
	return sent, missing
}

// Broken RS, NS and DHCPv6 messages, 50,000 a second for 10 s: memory stays flat, and live hosts are unharmed. What the
// bare kernel loses under such a flood, with radvd and dhcp6c beside it, is allowed to the box too.
func TestFloodsFromTheLAN(t *testing.T) {
	kinds := []netlab.Malformed{netlab.MalformedRS, netlab.MalformedNS, netlab.MalformedDHCPv6}
	bare := map[netlab.Malformed]int{}
	t.Run("bare kernel", func(t *testing.T) {
		b := newLoneBox(t, netlab.WorldConfig{})
		b.StartR2()
		b.StartHandMade()
		if !netlab.Poll(2*enough, func() bool { return b.online(b.H1) }) {
			t.Fatal("h1 is not on IPv6 with the hand-made R1")
		}
		for _, kind := range kinds {
			_, bare[kind] = b.flooded("bare kernel", kind)
		}
	})
	for name, userspace := range map[string]bool{"box": false, "box without the kernel": true} {
		t.Run(name, func(t *testing.T) {
			b := newLoneBox(t, netlab.WorldConfig{Userspace: userspace})
			b.up()
			for _, kind := range kinds {
				peer := bare[kind]
				if userspace {
					peer = math.MaxInt // the kernel, which need not share the processors with who floods, is none
				}
				b.withstands(name, kind, peer)
			}
		})
	}
}

// withstands floods a box, whose peer has lost so many pings.
func (b *box) withstands(what string, kind netlab.Malformed, peer int) {
	b.Helper()
	before, dropped := b.proc.RSS(), b.dropped()
	sent, missing := b.flooded(what, kind)
	after := b.proc.RSS()
	time.Sleep(time.Second)
	b.Logf("%s: RSS %d KiB before the %s, %d KiB at their end, %d KiB a second later; %d refused", what, before>>10, kind, after>>10, b.proc.RSS()>>10, b.dropped()-dropped)
	if grown := max(after, b.proc.RSS()) - before; grown > rssSlack {
		b.Errorf("%s: the box grew by %d KiB, want at most %d", kind, grown>>10, rssSlack>>10)
	}
	if allowed := min(peer, sent/20) + sent/100; missing > allowed {
		b.Errorf("%s: %d pings lost, want at most %d", kind, missing, allowed)
	}
	b.wantService(kind.String())
}

// dropped is how many messages from the LAN the status counts as refused, of all reasons.
func (b *box) dropped() (n uint64) {
	b.Helper()
	for _, k := range b.status().LANs[0].Dropped {
		n += k
	}
	return n
}

// wantService asks the box for what hosts ask for.
func (b *box) wantService(after string) {
	b.Helper()
	netlab.Need(b.T, "rdisc6")
	begin := time.Now()
	if out, err := b.H2.Try("rdisc6", "-1", "-r", "1", "-w", "4000", "eth0"); err != nil {
		b.Errorf("after the flood of %s a solicitation is not answered: %v\n%s", after, err, out)
	}
	ra := time.Since(begin)
	begin = time.Now()
	c := b.H2.StartDHClient("eth0", "-S")
	if _, err := c.First(enough, netlab.Has("RENEW6", "new_dhcp6_name_servers", netlab.DNSv6)); err != nil {
		b.Errorf("after the flood of %s a DHCPv6 client is not served: %v", after, err)
	}
	c.Kill()
	b.Logf("after the flood of %s: RA after %v, DHCPv6 after %v", after, ra.Round(10*time.Millisecond), time.Since(begin).Round(10*time.Millisecond))
}
