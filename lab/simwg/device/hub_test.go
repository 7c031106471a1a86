// SPDX-License-Identifier: MIT

package device

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/wgkey"
)

// star is a hub with sites, each with a /64 of its own.
func star(t testing.TB, n int) (w *world, hub *node, sites []*node) {
	w = newWorld(t)
	hub = w.add("hub", "198.51.100.2:51820")
	for i := range n {
		s := w.add(fmt.Sprintf("site%d", i), fmt.Sprintf("192.0.2.%d:1000", i+1))
		w.do(s, SetPeers{[]Peer{hub.peer(true, "::/0")}})
		sites = append(sites, s)
	}
	w.do(hub, SetPeers{peersOf(sites)})
	return w, hub, sites
}

func peersOf(sites []*node) (ps []Peer) {
	for i, s := range sites {
		ps = append(ps, s.peer(false, fmt.Sprintf("2001:db8:1:%x::/64", i)))
	}
	return ps
}

func at(site int) string { return fmt.Sprintf("2001:db8:1:%x::a", site) }

func TestHubKnowsItsSites(t *testing.T) {
	w, hub, sites := star(t, 3)
	for i, s := range sites {
		w.do(s, PacketOut{ping(at(i), hubHost, 60+i)})
	}
	w.run("1s")
	if len(hub.in) != 3 {
		t.Fatalf("the hub gets %d packets, want 3", len(hub.in))
	}
	for i := range sites {
		w.do(hub, PacketOut{ping(hubHost, at(i), 80+i)})
	}
	if v := w.do(hub, PacketOut{ping(hubHost, at(9), 80)}).Verdict; v != NoPeer {
		t.Errorf("to a prefix of nobody: %v, want NoPeer", v)
	}
	w.run("2s")
	for i, s := range sites {
		if len(s.in) != 1 || len(s.in[0]) != 80+i {
			t.Errorf("site %d gets %d packets, want its own", i, len(s.in))
		}
	}
	w.do(sites[1], PacketOut{ping(at(2), hubHost, 60)})
	w.run("3s")
	if hub.last != Spoofed || len(hub.in) != 3 {
		t.Errorf("with the source of another site: %v, %d packets; want Spoofed and 3", hub.last, len(hub.in))
	}
}

func TestLongestAllowedPrefixWins(t *testing.T) {
	w, hub, sites := star(t, 2)
	ps := peersOf(sites)
	ps[1].AllowedIPs = []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/48")}
	w.do(hub, SetPeers{ps})
	for dst, want := range map[string]*node{at(0): sites[0], at(1): sites[1], at(7): sites[1]} {
		if k, ok := hub.dev.Route(netip.MustParseAddr(dst)); !ok || k != want.key {
			t.Errorf("%s goes to %q, want %s", dst, k[:], want.name)
		}
	}
	if _, ok := hub.dev.Route(netip.MustParseAddr("192.0.2.1")); ok {
		t.Error("an IPv4 address has a route")
	}
}

// Allowed-ips move from one site to another, and sites come and go, while sessions stay.
func TestPeersChangeLive(t *testing.T) {
	w, hub, sites := star(t, 3)
	for i, s := range sites {
		w.do(s, PacketOut{ping(at(i), hubHost, 60)})
	}
	w.run("1s")
	ps := peersOf(sites)
	ps[0].AllowedIPs, ps[1].AllowedIPs = ps[1].AllowedIPs, ps[0].AllowedIPs
	w.log = nil
	w.do(hub, SetPeers{ps[:2]})
	w.do(hub, PacketOut{ping(hubHost, at(0), 80)})
	w.do(sites[2], PacketOut{ping(at(2), hubHost, 60)})
	w.run("2s")
	w.wants("1s hub>site1 data 112", "1s site2>hub data 96")
	if hub.last != NoSession {
		t.Errorf("from a site that is no more: %v, want NoSession", hub.last)
	}
	if got := hub.dev.Peers(); !slices.Equal(got, []wgkey.Public{sites[0].key, sites[1].key}) {
		t.Errorf("peers %v, want the first two", got)
	}
	if _, ok := hub.dev.Peer(sites[2].key); ok {
		t.Error("a site that is no more has a state")
	}
	if n := len(hub.dev.index); n != 2 {
		t.Errorf("%d indices, want those of 2 sessions", n)
	}
	w.do(hub, SetPeers{peersOf(sites)})
	hub.in = nil
	w.run("30s") // 15 s after its packet was not answered the site begins anew
	w.do(sites[2], PacketOut{ping(at(2), hubHost, 60)})
	w.run("31s")
	if len(hub.in) != 1 {
		t.Errorf("%d packets of the site that came back, want 1", len(hub.in))
	}
}

func TestOwnKeyIsNoPeer(t *testing.T) {
	w, hub, sites := star(t, 1)
	w.do(hub, SetPeers{append(peersOf(sites), hub.peer(true, "2001:db8:9::/64"))})
	if n := len(hub.dev.Peers()); n != 1 {
		t.Errorf("%d peers, want 1", n)
	}
}

// An hour of traffic over a path that loses 30 % each way, reorders nothing and has a NAT that moves every 5 minutes: no
// packet arrives twice or changed, silence never lasts longer than a series of lost handshakes, and the two ends agree.
func lossyHour(t *testing.T, seed uint64) (sum uint64) {
	w, box, hub := pair(t)
	w.rand = rand.New(rand.NewPCG(seed, 1))
	w.quiet = true
	w.drop = func(_, _ *node, _ []byte) bool { return w.rand.Float64() < 0.3 }
	w.nat = func(n *node) netip.AddrPort {
		if n == box {
			return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(5000+w.since()/(5*time.Minute)))
		}
		return n.at
	}
	h := fnv.New64a()
	w.got = func(at *node, v Verdict, data []byte) { _, _ = h.Write(append(data, byte(v))) }
	w.do(box, SetKeepalive{hub.key, 25 * time.Second})
	seen := map[string]bool{}
	last, silence := w.now, time.Duration(0)
	for i := range 3600 {
		p := ping(boxHost, hubHost, 100)
		p[60], p[61] = byte(i), byte(i>>8)
		w.do(box, PacketOut{p})
		w.do(hub, PacketOut{ping(hubHost, boxHost, 100+i%50)})
		w.runTo(w.now.Add(time.Second))
		for _, in := range hub.in {
			if seen[string(in)] {
				t.Fatalf("seed %d: packet %d arrives twice", seed, i)
			}
			seen[string(in)] = true
			silence, last = max(silence, w.now.Sub(last)), w.now
		}
		hub.in, box.in = nil, nil
	}
	if len(seen) < 2000 {
		t.Errorf("seed %d: %d of 3600 packets arrive, want some 2500", seed, len(seen))
	}
	if silence > time.Minute {
		t.Errorf("seed %d: silence of %v", seed, silence)
	}
	for _, n := range []*node{box, hub} {
		if len(n.dev.index) > 4 {
			t.Errorf("seed %d: %s has %d indices, want 4 at most", seed, n.name, len(n.dev.index))
		}
	}
	return h.Sum64()
}

func TestLossyHours(t *testing.T) {
	sums := map[uint64]bool{}
	for seed := range uint64(10) {
		sum := lossyHour(t, seed)
		if again := lossyHour(t, seed); again != sum {
			t.Errorf("seed %d: another course the second time", seed)
		}
		sums[sum] = true
	}
	if len(sums) != 10 {
		t.Errorf("10 seeds have %d courses", len(sums))
	}
}
