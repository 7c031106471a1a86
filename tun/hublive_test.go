// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
)

// toSite is a packet from the Internet to a host of site n.
func toSite(n int, text string) []byte {
	return ip6pkt.UDP(farGUA, testLease(n).Addr().Next(), 1, 2, 64, []byte(text))
}

// hostSends gives packets to the hub as its kernel does, as fast as they are taken.
func hostSends(t *testing.T, host *Memory, pkts ...[]byte) {
	t.Helper()
	for _, p := range pkts {
		for err := host.Send(p); err != nil; err = host.Send(p) {
			if !errors.Is(err, ErrQueueFull) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// A site that was never heard of gets nothing and is not called, whoever sends to its lease; a site with a session gets all.
func TestHubKeepsNothingForSitesThatAreAway(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1), testSiteConfig(2))
	s := openSite(t, h, 1)
	const flood = 500
	for i := range flood {
		hostSends(t, host, toSite(2, "away"), toSite(1, fmt.Sprint(i)))
		if i%50 == 0 { // no more than its socket can hold
			next(t, s.host.Packets())
		}
	}
	for range flood - flood/50 {
		next(t, s.host.Packets())
	}
	if n := h.Snapshot().Lonely; n != flood {
		t.Errorf("%d packets dropped, want %d", n, flood)
	}
	if n := h.obs.initiationsSent.Load(); n != 0 || h.obs.sendErrors.Load() != 0 {
		t.Errorf("%d initiations, %d errors", n, h.obs.sendErrors.Load())
	}
}

// A site without a session whose endpoint is known is called by a packet for it, and gets that one.
func TestHubCallsASiteThatIsQuiet(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1))
	s := openSite(t, h, 1)
	one := testSiteConfig(1)
	one.Endpoint = readSite(t, h, 1).Endpoint
	setSites(t, h) // the session goes, as with a hub that starts again
	setSites(t, h, one)
	const more = 20
	for range more {
		hostSends(t, host, toSite(1, "call"))
	}
	if p := next(t, s.host.Packets()); !bytes.HasSuffix(p, []byte("call")) {
		t.Errorf("the site gets %x", p)
	}
	if n := h.Snapshot().Lonely; n > more-knocks {
		t.Errorf("%d packets dropped, want %d at most", n, more-knocks)
	}
	if r := readSite(t, h, 1); r.HandshakeAge < 0 || h.obs.initiationsSent.Load() != 1 {
		t.Errorf("reading %+v after %d initiations", r, h.obs.initiationsSent.Load())
	}
}

// A peer that was made again with wg is the same site.
func TestHubCountsAPeerThatWasMadeAgain(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1))
	s := openSite(t, h, 1)
	one := testSiteConfig(1)
	wgSet(t, h, "public_key="+one.Public.Hex(), "remove=true", "public_key="+one.Public.Hex(),
		"allowed_ip="+one.AllowedIPs[0].String(), "allowed_ip="+one.AllowedIPs[1].String())
	s.handshake(t) // with a peer that nobody has met
	if r := readSite(t, h, 1); r.Initiations < 2 || r.Drifted {
		t.Errorf("reading %+v", r)
	}
	hostSends(t, host, toSite(1, "again"))
	if p := next(t, s.host.Packets()); !bytes.HasSuffix(p, []byte("again")) {
		t.Errorf("the site gets %x", p)
	}
}

// filtered says what the filter does with one packet.
func filtered(h *Hub, s *site, now time.Duration) bool {
	return s.live(now) || s.callable.Load() && h.knocks(s, now)
}

// The edges of the limits: a session ends after 180 s, then 4 packets pass in 5 s, and 256 and 32 a second of all sites.
func TestKnocksAreLimited(t *testing.T) {
	h := &Hub{knock: bucket.Bucket{Burst: knockBurst, Every: knockAgain}}
	const t0 = time.Hour
	s := newSite(testKey(1).Public())
	if filtered(h, s, t0) {
		t.Error("a packet passes to nowhere")
	}
	s.shook(t0)
	for range 2 * knockBurst {
		if !filtered(h, s, t0+sessionFor-1) {
			t.Fatal("a packet of a session is dropped")
		}
	}
	passed := func(s *site, at time.Duration) (n int) {
		for range 2 * knocks {
			if filtered(h, s, t0+sessionFor+at) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{0, knocks}, {knockEvery - 1, 0}, {knockEvery, knocks}} {
		if n := passed(s, c.at); n != c.want {
			t.Errorf("after %v: %d packets pass, want %d", c.at, n, c.want)
		}
	}
	all := 0
	for range knockBurst {
		other := newSite(wgkey.Public{})
		other.callable.Store(true)
		all += passed(other, time.Minute)
	}
	if all != knockBurst {
		t.Errorf("%d packets pass to many sites, want %d", all, knockBurst)
	}
	if n := passed(s, time.Minute+knockAgain-1); n != 0 {
		t.Errorf("%d more pass", n)
	}
	if n := passed(s, time.Minute+knockAgain); n != 1 {
		t.Errorf("%d pass when one more may, want 1", n)
	}
}

// lookup finds what the longest prefix says, as the slow way does.
func TestLookupIsLongestPrefix(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h := &Hub{}
	owner := map[netip.Prefix]*site{}
	random := func() netip.Addr {
		a := testLease(r.IntN(4)).Addr().As16()
		a[7], a[8], a[15] = a[7]<<r.IntN(3), byte(r.IntN(2)<<7), byte(r.IntN(2))
		return netip.AddrFrom16(a)
	}
	for range 300 {
		p, _ := random().Prefix([]int{48, 56, 60, 63, 64, 65, 128}[r.IntN(7)])
		owner[p] = newSite(wgkey.Public{})
	}
	h.setOwner(owner, nil)
	if !slices.IsSortedFunc(h.lengths, func(a, b int) int { return b - a }) || len(slices.Compact(slices.Clone(h.lengths))) != len(h.lengths) {
		t.Errorf("lengths %v", h.lengths)
	}
	for range 2000 {
		dst := random()
		var want *site
		best := -1
		for p, s := range owner {
			if p.Contains(dst) && p.Bits() > best {
				want, best = s, p.Bits()
			}
		}
		if got := h.lookup(dst); got != want {
			t.Fatalf("lookup(%s) = %p, want %p", dst, got, want)
		}
	}
}

// liveHub has many sites with sessions, on no device.
func liveHub(tb testing.TB) *Hub {
	tb.Helper()
	h, owner := &Hub{peers: peerTable{start: time.Now()}}, map[netip.Prefix]*site{}
	for i := range manySites {
		s := newSite(wgkey.Public{})
		s.shook(h.peers.now())
		owner[testLease(i)] = s
		owner[netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(i >> 8), 15: byte(i)}), 128)] = s
	}
	h.setOwner(owner, nil)
	return h
}

func TestFilterAllocatesNothing(t *testing.T) {
	h := liveHub(t)
	bufs, sizes := batchTo(func(i int) int { return i })
	if n := testing.AllocsPerRun(100, func() { h.filter(bufs, sizes, offset) }); n != 0 {
		t.Errorf("%v allocations per batch, want 0", n)
	}
	if slices.Contains(sizes, 0) || h.lonely.Load() != 0 {
		t.Error("a packet of a session is dropped")
	}
}

func batchTo(site func(int) int) (bufs [][]byte, sizes []int) {
	for i := range 45 {
		p := ip6pkt.UDP(farGUA, testLease(site(i)).Addr().Next(), 443, uint16(i), 60, make([]byte, 1300))
		bufs, sizes = append(bufs, buf(p)), append(sizes, len(p))
	}
	return bufs, sizes
}

func BenchmarkFilter45ToOneSite(b *testing.B) {
	h := liveHub(b)
	bufs, sizes := batchTo(func(int) int { return 7 })
	b.ReportAllocs()
	for b.Loop() {
		h.filter(bufs, sizes, offset)
	}
}

func BenchmarkFilter45ToManySites(b *testing.B) {
	h := liveHub(b)
	bufs, sizes := batchTo(func(i int) int { return i * 200 })
	b.ReportAllocs()
	for b.Loop() {
		h.filter(bufs, sizes, offset)
	}
}
