// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
	"oasis6/internal/wgkey"
)

// onboarding is the port that the hub's tap takes out in the tests.
const onboarding = 4001

// testSite is a site's own end, in memory.
type testSite struct {
	key   wgkey.Private
	ll    netip.Addr
	lease netip.Prefix
	*Tunnel
	host *Memory
}

// testKey is the key of site n.
func testKey(n int) wgkey.Private { return wgkey.Private{0: 8, 1: byte(n), 2: byte(n >> 8), 31: 0x44} }

// testLease is the prefix of site n.
func testLease(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 6: byte(n >> 8), 7: byte(n)}), 64)
}

// testSiteConfig is what the hub knows of site n.
func testSiteConfig(n int) Site {
	public := testKey(n).Public()
	return Site{Public: public, AllowedIPs: []netip.Prefix{netip.PrefixFrom(public.LinkLocal(), 128), testLease(n)}}
}

func openHub(t testing.TB) (*Hub, *Memory) {
	t.Helper()
	h, m, err := OpenHubMemory(HubConfig{Name: "hub", PrivateKey: testHub, Port: onboarding}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h, m
}

// openSite brings site n up and waits for its handshake with h.
func openSite(t *testing.T, h *Hub, n int) *testSite {
	t.Helper()
	key := testKey(n)
	s := &testSite{key: key, ll: key.Public().LinkLocal(), lease: testLease(n)}
	s.Tunnel, s.host = openMemory(t, Config{
		Name: "site", PrivateKey: key,
		Peer: Peer{Public: testHub.Public(), Endpoint: loopback(h.Snapshot().ListenPort), AllowedIPs: prefixes("::/0")},
	})
	if !s.shakes() {
		s.handshake(t)
	}
	return s
}

func setSites(t testing.TB, h *Hub, sites ...Site) {
	t.Helper()
	if err := h.SetSites(sites); err != nil {
		t.Fatal(err)
	}
}

func readSite(t testing.TB, h *Hub, n int) Reading {
	t.Helper()
	all, err := h.Sites()
	if err != nil {
		t.Fatal(err)
	}
	r, ok := all[testKey(n).Public()]
	if !ok {
		t.Fatalf("site %d is not among the readings", n)
	}
	return r
}

func (s *testSite) addr() netip.Addr { return s.lease.Addr().Next() }

// send gives packets to the hub, past the site's own tap and allowed-ips.
func (s *testSite) send(t *testing.T, pkts ...[]byte) {
	t.Helper()
	for _, p := range pkts {
		if err := s.Send(p); err != nil {
			t.Fatal(err)
		}
	}
}

// Control packets of a site come with its key, all else goes to the hub's host, and answers find the site.
func TestHubKnowsWhoSpeaks(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1), testSiteConfig(2))
	hubLL := testHub.Public().LinkLocal()
	for n := 1; n <= 2; n++ {
		s := openSite(t, h, n)
		for _, pkt := range [][]byte{
			ip6pkt.UDP(s.ll, allDHCP, 546, 547, 1, []byte{1}),
			ip6pkt.UDP(s.ll, hubLL, 40000, onboarding, 64, []byte("join")),
			nd(s.ll, hubLL, 255, 133),
		} {
			s.send(t, bytes.Clone(pkt))
			if got := event[Received](t, h.Events()); got.Site != s.key.Public() || !bytes.Equal(got.Packet, pkt) {
				t.Errorf("site %d: received %x of %s, want %x of %s", n, got.Packet, got.Site, pkt, s.key.Public())
			}
		}
		data := ip6pkt.UDP(s.addr(), farGUA, 1, 2, 64, []byte("data"))
		s.send(t, bytes.Clone(data))
		if p := next(t, host.Packets()); !bytes.Equal(p, data) {
			t.Errorf("site %d: the host gets %x, want %x", n, p, data)
		}
		reply := ip6pkt.UDP(hubLL, s.ll, 547, 546, 64, []byte{7})
		if err := h.Send(bytes.Clone(reply)); err != nil {
			t.Fatal(err)
		}
		if got := event[Received](t, s.Events()); !bytes.Equal(got.Packet, reply) || got.Site != (wgkey.Public{}) {
			t.Errorf("site %d: gets %x, want %x", n, got.Packet, reply)
		}
		back := ip6pkt.UDP(farGUA, s.addr(), 2, 1, 64, []byte("back"))
		if err := host.Send(bytes.Clone(back)); err != nil {
			t.Fatal(err)
		}
		if p := next(t, s.host.Packets()); !bytes.Equal(p, back) {
			t.Errorf("site %d: its host gets %x, want %x", n, p, back)
		}
	}
	if s := h.Snapshot(); s.Taken != 6 || s.Injected != 2 || s.Strange+s.Limited+s.Dropped != 0 || s.ListenPort == 0 {
		t.Errorf("Snapshot = %+v", s)
	}
}

// What allowed-ips do: nothing with a source that is not the site's own comes out, neither to us nor to the host.
func TestHubTakesNoForeignSource(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	setSites(t, h, testSiteConfig(1), testSiteConfig(2))
	a, hubLL := openSite(t, h, 1), testHub.Public().LinkLocal()
	b := testSite{ll: testKey(2).Public().LinkLocal(), lease: testLease(2)}
	for _, src := range []netip.Addr{b.ll, b.addr(), hubLL, farGUA, unspec, netip.MustParseAddr("fe80::1234"), allDHCP} {
		a.send(t,
			ip6pkt.UDP(src, allDHCP, 546, 547, 1, []byte{5}),
			ip6pkt.UDP(src, hubLL, 40000, onboarding, 64, []byte("join")),
			nd(src, hubLL, 255, 133),
			ip6pkt.UDP(src, farGUA, 1, 2, 64, []byte("forged")))
	}
	// Control traffic of the right site with the wrong address of it: nobody could say whose it is by a link-local.
	a.send(t, ip6pkt.UDP(a.addr(), hubLL, 546, 547, 64, []byte{5}))
	a.send(t, ip6pkt.UDP(a.ll, allDHCP, 546, 547, 1, []byte("end")), ip6pkt.UDP(a.addr(), farGUA, 1, 2, 64, []byte("end")))
	if got := event[Received](t, h.Events()); !bytes.HasSuffix(got.Packet, []byte("end")) {
		t.Errorf("received %x of %s", got.Packet, got.Site)
	}
	if p := next(t, host.Packets()); !bytes.HasSuffix(p, []byte("end")) {
		t.Errorf("the host gets %x", p)
	}
	if n := h.Snapshot().Strange; n != 1 {
		t.Errorf("%d strange packets, want 1", n)
	}
}

// A guest speaks with us, and with nothing else at the hub: not with its kernel either.
func TestHubKeepsAGuestFromItsHost(t *testing.T) {
	noLeaks(t)
	h, host := openHub(t)
	guest := testSiteConfig(1)
	guest.AllowedIPs, guest.Guest = guest.AllowedIPs[:1], true
	setSites(t, h, guest, testSiteConfig(2))
	a, b, hubLL := openSite(t, h, 1), openSite(t, h, 2), testHub.Public().LinkLocal()
	a.send(t, ip6pkt.UDP(a.ll, hubLL, 40000, 22, 64, []byte("to a service")), ip6pkt.UDP(a.ll, farGUA, 1, 2, 64, []byte("out")),
		ip6pkt.UDP(a.ll, hubLL, 40000, onboarding, 64, []byte("join")))
	if got := event[Received](t, h.Events()); !bytes.HasSuffix(got.Packet, []byte("join")) {
		t.Errorf("received %x", got.Packet)
	}
	b.send(t, ip6pkt.UDP(b.ll, hubLL, 40000, 22, 64, []byte("of a site")))
	if p := next(t, host.Packets()); !bytes.HasSuffix(p, []byte("of a site")) {
		t.Errorf("the host gets %x", p)
	}
	if n := h.Snapshot().Refused; n != 2 {
		t.Errorf("%d packets refused, want 2", n)
	}
	guest.Guest = false
	setSites(t, h, guest, testSiteConfig(2))
	a.send(t, ip6pkt.UDP(a.ll, hubLL, 40000, 22, 64, []byte("no guest")))
	if p := next(t, host.Packets()); !bytes.HasSuffix(p, []byte("no guest")) {
		t.Errorf("the host gets %x", p)
	}
}

// A site that floods is cut down to its own share, and the others are heard.
func TestHubLimitsASite(t *testing.T) {
	noLeaks(t)
	h, _ := openHub(t)
	setSites(t, h, testSiteConfig(1), testSiteConfig(2))
	a, b := openSite(t, h, 1), openSite(t, h, 2)
	const flood = 4 * siteBurst
	for range flood {
		for errors.Is(a.Send(ip6pkt.UDP(a.ll, allDHCP, 546, 547, 1, []byte("flood"))), ErrQueueFull) {
			time.Sleep(time.Millisecond)
		}
	}
	if !netlab.Poll(soon, func() bool { return h.Snapshot().Taken == flood }) {
		t.Fatalf("%d of %d packets came", h.Snapshot().Taken, flood)
	}
	b.send(t, ip6pkt.UDP(b.ll, allDHCP, 546, 547, 1, []byte("b")))
	got := 0
	for ev := event[Received](t, h.Events()); ev.Site != b.key.Public(); ev = event[Received](t, h.Events()) {
		got++
	}
	if got < siteBurst || got > flood-siteBurst {
		t.Errorf("%d of %d packets taken, want some more than %d", got, flood, siteBurst)
	}
	if r := readSite(t, h, 1); r.Limited != uint64(flood-got) || h.Snapshot().Limited != r.Limited {
		t.Errorf("%d limited, %d of the site, want %d", h.Snapshot().Limited, r.Limited, flood-got)
	}
	if r := readSite(t, h, 2); r.Limited != 0 {
		t.Errorf("the other site: %d limited", r.Limited)
	}
}

// A port that another program has: who starts a hub learns what to do.
func TestHubOnAPortThatIsTaken(t *testing.T) {
	_, port, _ := openBind(t)
	_, _, err := OpenHubMemory(HubConfig{Name: "hub0", PrivateKey: testHub, ListenPort: port}, slog.New(slog.DiscardHandler))
	if err == nil || !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "stop it, or set another ListenPort in [Interface]") {
		t.Errorf("OpenHubMemory = %v, want a hint", err)
	}
}
