// SPDX-License-Identifier: MIT

package hub

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/ra"
	"oasis6/tun"
)

var t0 = time.Unix(1_000_000, 0)

// Every site hears once in advertEvery, whatever their number, and the packets are spread.
func TestRingTellsEachSiteOnceAPeriod(t *testing.T) {
	for _, n := range []int{1, 2, 7, 1000, 10_000} {
		var r ring
		told := make([]int, n)
		most, end := 0, t0.Add(2*advertEvery)
		r.due(t0, n)
		for now := t0; !now.After(end); {
			first, count := r.due(now, n)
			most = max(most, count)
			for i := range count {
				told[(first+i)%n]++
			}
			at := r.wake(n)
			if !at.After(now) {
				t.Fatalf("%d sites: wake does not move on", n)
			}
			now = at
		}
		for i, k := range told {
			if k != 2 {
				t.Fatalf("%d sites: site %d was told %d times in two periods, want 2", n, i, k)
			}
		}
		if most > 2 {
			t.Errorf("%d sites: %d at once", n, most)
		}
	}
}

func TestRingHurriesWithNews(t *testing.T) {
	const n = 5000
	var r ring
	r.due(t0, n)
	now := t0.Add(time.Second)
	r.news(now, n)
	told, begin := 0, now
	for told < n {
		_, count := r.due(now, n)
		told += count
		now = r.wake(n)
	}
	if took := now.Sub(begin); took < 4*time.Second || took > 6*time.Second {
		t.Errorf("news for %d sites took %v, want about 5 s", n, took)
	}
	if p := r.period(n); p != advertEvery/n {
		t.Errorf("period after the news = %v, want %v", p, advertEvery/n)
	}
}

func TestRingAfterASleepDoesNotBurst(t *testing.T) {
	var r ring
	r.due(t0, 10)
	if _, count := r.due(t0.Add(8*time.Hour), 10); count != 10 {
		t.Errorf("%d sites told after a sleep, want each once", count)
	}
	if _, count := r.due(t0.Add(8*time.Hour), 10); count != 0 {
		t.Errorf("%d sites told again at once", count)
	}
	if first, count := r.due(t0, 0); first != 0 || count != 0 {
		t.Error("no sites, but somebody to tell")
	}
}

// Another address of the hub is news: sites have the old one as their router (RFC 4861 section 6.2.8).
func TestRFC4861_6_2_8_AnotherLinkLocalAddressIsNews(t *testing.T) {
	w := newWorld(t, 1)
	a := w.order[0]
	w.tunnel.reading[a.key] = tun.Reading{HandshakeAt: w.now, Endpoint: netip.MustParseAddrPort("198.51.100.2:1")}
	w.wait(10 * time.Second)
	cfg := *w.cfg
	cfg.Interface.LinkLocal = netip.MustParseAddr("fe80::9")
	before := a.adverts
	if err := w.h.take(w.now, &cfg); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.wait(time.Second)
	if got := a.adverts - before; got != 1 {
		t.Errorf("%d advertisements within a second, want 1", got)
	}
}

// Thousands may come in one poll: some at a time are told, and none is left out.
func TestSitesThatComeAreToldInTurns(t *testing.T) {
	const n, each = 100, 20 // in each advertTick, 1000 a second
	w := newWorld(t, n)
	for i, c := range w.order {
		w.tunnel.reading[c.key] = tun.Reading{HandshakeAt: w.now, Endpoint: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), uint16(1000+i))}
	}
	w.h.startPoll(w.now)
	w.h.onPoll(w.now, <-w.h.polled)
	told := func() (sum int) {
		w.settle()
		for _, c := range w.order {
			if c.adverts > 1 {
				t.Fatalf("a site was told %d times", c.adverts)
			}
			sum += c.adverts
		}
		return sum
	}
	if got := told(); got != 0 {
		t.Errorf("%d told before their turn", got)
	}
	for turn := 1; turn <= n/each; turn++ {
		w.h.tellAppeared(w.now)
		if got := told(); got != turn*each {
			t.Errorf("%d told after turn %d, want %d", got, turn, turn*each)
		}
	}
	if !w.h.appearedAt.IsZero() {
		t.Errorf("another turn at %v, want none", w.h.appearedAt)
	}
}

// Router Advertisements: an answer to each solicitation, one when the site appears, one in 450 s, all by unicast.
func TestAdvertisements(t *testing.T) {
	w := newWorld(t, 2)
	a, b := w.order[0], w.order[1]
	rs := func(c *client) {
		w.deliver(c.key, ip6pkt.ICMPv6(c.key.LinkLocal(), netip.MustParseAddr("ff02::2"), 255, []byte{ra.TypeRouterSolicitation, 0, 0, 0, 0, 0, 0, 0}))
	}
	rs(a)
	if a.adverts != 1 || b.adverts != 0 {
		t.Fatalf("after a solicitation of a: a has %d, b %d", a.adverts, b.adverts)
	}
	for range 50 {
		rs(a)
	}
	if a.adverts > 1+solicitBurst {
		t.Errorf("a flood of solicitations got %d answers", a.adverts)
	}
	a.adverts = 0
	up := func(c *client) {
		w.tunnel.reading[c.key] = tun.Reading{HandshakeAt: w.now, HandshakeAge: 0, Endpoint: netip.MustParseAddrPort("198.51.100.2:1")}
	}
	for range 90 { // b has a session for the whole time, a has none
		up(b)
		w.wait(10 * time.Second)
	}
	if a.adverts != 0 {
		t.Errorf("a site that is off was sent %d", a.adverts)
	}
	if b.adverts < 3 || b.adverts > 4 {
		t.Errorf("a site that is there was sent %d in 15 minutes, want one at first and one each 450 s", b.adverts)
	}
	b.adverts = 0
	cfg := *w.cfg
	cfg.Hub.DNS = []netip.Addr{netip.MustParseAddr("2001:db8:1::54")}
	w.cfg = &cfg
	if err := w.h.configure(w.now, w.cfg); err != nil {
		t.Fatal(err)
	}
	up(b)
	w.wait(time.Second)
	if b.adverts != 1 {
		t.Errorf("news of another DNS server came %d times within a second, want once", b.adverts)
	}
}

// DNS that is taken out of the file is withdrawn by lifetime 0, until it is in again.
func TestRFC8106_5_1_RemovedDNSIsWithdrawn(t *testing.T) {
	w := newWorld(t, 1)
	lifetimes := func() map[string]uint32 {
		out := map[string]uint32{}
		for _, body := range w.h.adverts {
			// As a site takes it out of a packet, with its checksum.
			packet := ip6pkt.ICMPv6(w.h.linkLocal(), netip.MustParseAddr("fe80::1"), 255, body)
			m, _, why := ra.ParseRA(w.h.linkLocal(), 255, packet[ip6pkt.HeaderLen:])
			if why != ra.Accepted {
				t.Fatalf("the advertisement is refused: %v", why)
			}
			for _, o := range m.Options {
				switch o := o.(type) {
				case ra.RDNSS:
					for _, a := range o.Servers {
						out[a.String()] = o.Lifetime
					}
				case ra.DNSSL:
					for _, d := range o.Domains {
						out[d] = o.Lifetime
					}
				}
			}
		}
		return out
	}
	reload := func(dns, search string) {
		cfg := *w.cfg
		cfg.Hub.DNS, cfg.Hub.Search = []netip.Addr{netip.MustParseAddr(dns)}, strings.Fields(search)
		w.cfg = &cfg
		if err := w.h.configure(w.now, w.cfg); err != nil {
			t.Fatal(err)
		}
	}
	reload("2001:db8:1::54", "")
	if got, want := fmt.Sprint(lifetimes()), "map[2001:db8:1::53:0 2001:db8:1::54:1800 lab.example:0]"; got != want {
		t.Errorf("another server and no domain: %s, want %s", got, want)
	}
	reload("2001:db8:1::53", "lab.example")
	if got, want := fmt.Sprint(lifetimes()), "map[2001:db8:1::53:1800 2001:db8:1::54:0 lab.example:1800]"; got != want {
		t.Errorf("all as before: %s, want %s", got, want)
	}
	for i := range 30 {
		reload(fmt.Sprintf("2001:db8:2::%x", i+1), "")
	}
	if n := len(w.h.withdrawn.DNS); n != maxWithdrawn {
		t.Errorf("%d servers withdrawn, want at most %d", n, maxWithdrawn)
	}
}
