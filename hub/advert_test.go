// SPDX-License-Identifier: MIT

package hub

import (
	"net/netip"
	"testing"
	"time"

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
