// SPDX-License-Identifier: MIT

package simwg

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"sync"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/simwg/device"
	"oasis6/tun"
	"oasis6/tun/health"
)

func (s *sim) reading() tun.Reading {
	s.t.Helper()
	all, err := s.hub.Sites()
	if err != nil {
		s.t.Fatal(err)
	}
	return all[boxKey.Public()]
}

func TestReadingsFollowTheSite(t *testing.T) {
	s := newSim(t, boxConfig(hubAt.String()))
	site := boxSite(lease)
	site.Keepalive = 25 * time.Second
	s.sites(site)
	if r := s.reading(); r.Endpoint.IsValid() || r.HandshakeAge != -1 || r.AllowedIPs != 2 {
		t.Errorf("before the first handshake: %+v", r)
	}
	s.run(time.Second)
	if st, _ := s.hub.Peer(boxKey.Public()); st.Keepalive != 0 {
		t.Errorf("keepalive %v before a reading found the handshake", st.Keepalive)
	}
	if r := s.reading(); r.Endpoint != boxAt || r.HandshakeAge < 900*time.Millisecond || r.Initiations != 1 || r.RxBytes == 0 {
		t.Errorf("after it: %+v", r)
	}
	if st, _ := s.hub.Peer(boxKey.Public()); st.Keepalive != 25*time.Second {
		t.Errorf("keepalive %v after a reading found the handshake, want 25 s", st.Keepalive)
	}
	s.boxAt = netip.MustParseAddrPort("203.0.113.5:5")
	s.box.Packet(data(boxGUA, farGUA, "x"))
	s.run(time.Second)
	if r := s.reading(); r.Endpoint != s.boxAt || r.Moves != 1 || r.Returns != 0 {
		t.Errorf("elsewhere: %+v", r)
	}
	s.boxAt = boxAt
	s.box.Packet(data(boxGUA, farGUA, "x"))
	s.run(time.Second)
	if r := s.reading(); r.Moves != 2 || r.Returns != 1 {
		t.Errorf("and back: %+v", r)
	}
}

// To a site without a session go a few packets that call it; the rest would wait for nothing.
func TestLonelyPackets(t *testing.T) {
	s := up(t)
	s.cut = true
	s.run(10 * time.Minute)
	sent, passed := s.sent, 0
	for range 20 {
		if text := s.hub.Packet(data(farGUA, boxGUA, "x")); text == device.Waiting.String() {
			passed++
		}
		s.run(100 * time.Millisecond)
	}
	if passed != tun.Knocks || s.sent-sent != 1 {
		t.Errorf("%d packets go on and %d datagrams leave, want %d and an initiation", passed, s.sent-sent, tun.Knocks)
	}
	if got := s.hub.Snapshot().Lonely; got != uint64(20-passed) {
		t.Errorf("%d lonely packets, want %d", got, 20-passed)
	}
	s.cut = false
	s.run(10 * time.Second)
	if n := len(s.boxGot); n != passed {
		t.Errorf("%d packets arrive when the way is free, want %d", n, passed)
	}
}

func TestOneSiteMayNotFillTheQueue(t *testing.T) {
	s := up(t)
	for range tun.SiteBurst + 30 {
		if err := s.box.Send(ip6pkt.UDP(boxLL, allDHCP, 546, 547, 1, []byte("solicit"))); err != nil {
			t.Fatal(err)
		}
	}
	s.run(100 * time.Millisecond)
	if n := count[tun.Received](drain(s.hub.Events())); n != tun.SiteBurst {
		t.Errorf("%d are received, want %d", n, tun.SiteBurst)
	}
	if h := s.hub.Snapshot(); h.Limited != 30 || s.reading().Limited != 30 {
		t.Errorf("%d of all and %d of the site are limited, want 30", h.Limited, s.reading().Limited)
	}
	s.run(tun.SiteEvery)
	_ = s.box.Send(ip6pkt.UDP(boxLL, allDHCP, 546, 547, 1, []byte("solicit")))
	s.run(100 * time.Millisecond)
	if n := count[tun.Received](drain(s.hub.Events())); n != 1 {
		t.Errorf("%d are received after a while, want 1", n)
	}
}

// A hub that starts anew knows where its sites were, and calls them.
func TestHubCallsASite(t *testing.T) {
	s := newSim(t, boxConfig("")) // it waits to be called
	site := boxSite(lease)
	site.Endpoint = boxAt
	s.sites(site)
	s.run(time.Second)
	if s.sent != 0 {
		t.Fatalf("%d datagrams before anybody called", s.sent)
	}
	if !s.hub.Initiate(boxKey.Public()) || !s.hub.Initiate(otherKey.Public()) {
		t.Error("no room for a call")
	}
	s.run(time.Second)
	all := drain(s.box.Events())
	if r := s.reading(); r.HandshakeAge < 0 || count[tun.EndpointChanged](all) != 1 || count[tun.Handshake](all) != 1 {
		t.Errorf("reading %+v, the box has %v; want a handshake", r, all)
	}
	if got := s.box.Snapshot().Endpoint; got != hubAt {
		t.Errorf("the box takes the hub to be at %v", got)
	}
}

func TestHubUnderLoadAndClockOf1970(t *testing.T) {
	s := newSim(t, boxConfig(hubAt.String()))
	s.sites(boxSite(lease))
	s.hub.SetLoad(true)
	s.run(time.Second)
	if r := s.reading(); r.HandshakeAge >= 0 {
		t.Error("a handshake at once, under load")
	}
	s.run(6 * time.Second)
	if r := s.reading(); r.HandshakeAge < 0 {
		t.Error("no handshake with the cookie")
	}
	s.box.SetWall(-time.Hour)
	s.box.Packet(data(boxGUA, farGUA, "x"))
	s.run(3 * time.Minute)
	was := s.reading().Initiations
	s.box.Packet(data(boxGUA, farGUA, "x"))
	s.run(30 * time.Second)
	if got := s.reading().Initiations; got != was {
		t.Errorf("%d initiations of an hour ago are answered", got-was)
	}
	s.box.SetWall(0)
	s.run(30 * time.Second)
	if got := s.reading().Initiations; got != was+1 {
		t.Errorf("%d initiations are answered when the clock is right, want 1", got-was)
	}
}

func TestHubReconfigure(t *testing.T) {
	s := up(t)
	cfg := tun.HubConfig{Name: "oasis0", PrivateKey: hubKey, ListenPort: 4500, MTU: 1300}
	if err := s.hub.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if h := s.hub.Snapshot(); h.ListenPort != 4500 || h.MTU != 1300 || s.hub.Port() != 4500 {
		t.Errorf("%+v, want port 4500 and MTU 1300", h)
	}
	cfg.PrivateKey = otherKey
	if err := s.hub.Reconfigure(cfg); !errors.Is(err, tun.ErrRestart) {
		t.Errorf("another key: %v, want ErrRestart", err)
	}
	if err := s.hub.Reconfigure(tun.HubConfig{}); err == nil {
		t.Error("an empty configuration is taken")
	}
}

func TestBadSites(t *testing.T) {
	s := up(t)
	other := tun.Site{Public: otherKey.Public(), AllowedIPs: []netip.Prefix{lease}}
	if err := s.hub.SetSites([]tun.Site{boxSite(lease), other}); err == nil {
		t.Error("two sites with the same prefix are taken")
	}
	other.AllowedIPs = nil
	s.sites(boxSite(lease), other)
	if err := s.hub.SetAllowed([]tun.Allowed{{Site: other.Public, IPs: []netip.Prefix{lease}}}); err == nil {
		t.Error("a prefix of another site is taken")
	}
	twice := tun.Allowed{Site: other.Public}
	if err := s.hub.SetAllowed([]tun.Allowed{twice, twice}); err == nil {
		t.Error("a site twice is taken")
	}
	moved := []tun.Allowed{{Site: boxKey.Public(), IPs: boxSite().AllowedIPs}, {Site: other.Public, IPs: []netip.Prefix{lease}}}
	if err := s.hub.SetAllowed(moved); err != nil {
		t.Errorf("a prefix that its site gives up: %v", err)
	}
	if r := s.reading(); r.AllowedIPs != 1 {
		t.Errorf("%d allowed-ips are left, want 1", r.AllowedIPs)
	}
}

// course is a hash of all datagrams of an hour with losses.
func course(t *testing.T, seed uint64) uint64 {
	s := newSim(t, boxConfig(hubAt.String()))
	s.sites(boxSite(lease))
	h, r := fnv.New64a(), s.e.Rand(fmt.Sprint("loss ", seed))
	s.lost = func() bool { return r.Float64() < 0.2 }
	w := watch(s)
	for range 60 {
		s.box.Packet(data(boxGUA, farGUA, "there"))
		s.hub.Packet(data(farGUA, boxGUA, "back"))
		w.run(10 * time.Second)
		b := s.box.Snapshot()
		_, _ = fmt.Fprint(h, b.RxBytes, b.TxBytes, b.HandshakeAt, len(s.boxGot), len(s.hubGot), w.changes)
	}
	if len(s.hubGot) < 30 {
		t.Errorf("seed %d: %d of 60 packets arrive", seed, len(s.hubGot))
	}
	return h.Sum64()
}

func TestSameSeedSameCourse(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(3) {
		a, b := course(t, seed), course(t, seed)
		if a != b {
			t.Errorf("seed %d: another course the second time", seed)
		}
		seen[a] = true
	}
	if len(seen) != 3 {
		t.Errorf("3 seeds have %d courses", len(seen))
	}
}

// Loops call from goroutines of their own while the engine runs. They end by themselves: virtual time does not go on before
// all is at rest.
func TestLoopsCallAtAnyTime(t *testing.T) {
	s := up(t)
	var running sync.WaitGroup
	loop := func(f func()) {
		running.Go(func() {
			for range 200 {
				f()
				time.Sleep(50 * time.Microsecond)
			}
		})
	}
	loop(func() {
		drain(s.box.Events())
		_ = s.box.Send(ip6pkt.UDP(boxLL, allDHCP, 546, 547, 1, []byte("solicit")))
		s.box.Perform(health.Actions{Resolve: true, Initiate: true, Probe: true, Watch: true}, s.box.Sample())
		s.box.Snapshot()
		_ = s.box.Reconfigure(boxConfig(hubAt.String()))
	})
	loop(func() {
		drain(s.hub.Events())
		_ = s.hub.Send(ip6pkt.UDP(hubLL, boxLL, 547, 546, 64, []byte("reply")))
		_ = s.hub.SetSites([]tun.Site{boxSite(lease)})
		_ = s.hub.SetAllowed([]tun.Allowed{{Site: boxKey.Public(), IPs: boxSite(lease).AllowedIPs}})
		_, _ = s.hub.Sites()
		s.hub.Initiate(boxKey.Public())
		s.hub.Snapshot()
	})
	loop(func() { s.box.Packet(data(boxGUA, farGUA, "there")) })
	for range 50 {
		s.run(10 * time.Millisecond)
	}
	running.Wait()
	s.run(time.Second)
	if !has(s.hubGot, "there") {
		t.Error("no packet arrives")
	}
}
