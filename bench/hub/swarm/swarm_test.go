// SPDX-License-Identifier: MIT

package swarm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"oasis6/dhcpv6"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/wgkey"
	"oasis6/tun"
)

// world is the hub's device on the loopback interface, and sites that are seen at addresses of their own there.
type world struct {
	*testing.T
	hub    *tun.Hub
	config Config
}

// newWorld has a hub to which so many first Solicits are lost.
func newWorld(t *testing.T, n int, goal Goal, lost int) *world {
	t.Helper()
	key := wgkey.GeneratePrivate()
	h, _, err := tun.OpenHubMemory(tun.HubConfig{Name: "hub", PrivateKey: key}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, hub: h}
	var sites []tun.Site
	for i := range n {
		k := wgkey.GeneratePrivate()
		w.config.Sites = append(w.config.Sites, Site{Key: k, Source: netip.AddrFrom4([4]byte{127, 0, 1, byte(i + 1)})})
		sites = append(sites, tun.Site{Public: k.Public(), AllowedIPs: []netip.Prefix{netip.PrefixFrom(k.Public().LinkLocal(), 128)}})
	}
	if err := h.SetSites(sites); err != nil {
		t.Fatal(err)
	}
	if w.config.Conn, err = net.ListenUDP("udp4", nil); err != nil {
		t.Fatal(err)
	}
	w.config.Hub, w.config.Goal = key.Public(), goal
	w.config.Remote = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), h.Snapshot().ListenPort)
	var served sync.WaitGroup
	stop := make(chan struct{})
	served.Go(func() { w.serve(stop, lost) })
	t.Cleanup(func() { close(stop); served.Wait(); _ = h.Close() })
	return w
}

// serve gives every site a prefix.
func (w *world) serve(stop <-chan struct{}, lost int) {
	next := netip.MustParsePrefix("2001:db8:1::/48").Addr().As16()
	for {
		var ev tun.Event
		select {
		case <-stop:
			return
		case ev = <-w.hub.Events():
		}
		r, ok := ev.(tun.Received)
		if !ok {
			w.Errorf("the hub's device: %v", ev)
			return
		}
		u, err := ip6pkt.ParseUDP(r.Packet)
		if err != nil {
			w.Errorf("packet of a site: %v", err)
			continue
		}
		m, problems, err := dhcpv6.ParseMessage(u.Payload)
		if err != nil || len(problems) > 0 || m.Type != dhcpv6.Solicit || !m.RapidCommit || len(m.IAs) != 1 {
			w.Errorf("message of a site: %+v %v %v", m, problems, err)
			continue
		}
		if lost > 0 {
			lost--
			continue
		}
		next[7]++
		m.Type, m.ServerID = dhcpv6.Reply, dhcpv6.DUIDFromPublicKey(w.config.Hub)
		m.IAs[0].Prefixes = []dhcpv6.IAPrefix{{Preferred: 60, Valid: 60, Prefix: netip.PrefixFrom(netip.AddrFrom16(next), 64)}}
		_ = w.hub.Send(ip6pkt.UDP(w.hub.Snapshot().LinkLocal, u.Src.Addr(), dhcpv6.ServerPort, dhcpv6.ClientPort, 64, m.Append(nil))) // the site asks again
	}
}

// run lets all sites reach the goal.
func (w *world) run() Report {
	w.Helper()
	s, err := New(w.config)
	if err != nil {
		w.Fatal(err)
	}
	s.Begin(0)
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	err = s.Wait(ctx)
	r := s.Close()
	if err != nil {
		w.Fatalf("%v, %+v", err, r)
	}
	return r
}

func TestSitesGetSessionsAndPrefixes(t *testing.T) {
	const n = 40
	w := newWorld(t, n, Leases, 3)
	r := w.run()
	seen := map[netip.Prefix]bool{}
	for _, p := range r.Leases {
		seen[p] = true
	}
	if len(r.Took) != n || len(seen) != n || seen[netip.Prefix{}] {
		t.Errorf("%d sites have %d prefixes, want %d", len(r.Took), len(seen), n)
	}
	if r.Initiations < n || r.Solicits < n+3 || r.Refused != 0 {
		t.Errorf("counts %+v", r.Counts)
	}
	all, err := w.hub.Sites()
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range w.config.Sites {
		got := all[s.Key.Public()]
		if got.HandshakeAge < 0 || got.Endpoint.Addr() != s.Source {
			t.Errorf("site %d: the hub knows %+v, want it at %s", i, got, s.Source)
		}
	}
}

func TestSessionsAlone(t *testing.T) {
	w := newWorld(t, 10, Sessions, 0)
	if r := w.run(); len(r.Took) != 10 || r.Solicits != 0 {
		t.Errorf("%d of 10, %+v", len(r.Took), r.Counts)
	}
}

// A hub under load wants to see the cookie that it gave: what wireguard-go makes and checks.
func TestCookie(t *testing.T) {
	key := wgkey.GeneratePrivate()
	h, err := newHub(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id, err := h.identity(wgkey.GeneratePrivate())
	if err != nil {
		t.Fatal(err)
	}
	var checker device.CookieChecker
	checker.Init(device.NoisePublicKey(key.Public()))
	from := []byte{192, 0, 2, 1, 0, 1}
	first, err := h.initiate(id, 16, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !checker.CheckMAC1(first.message) || checker.CheckMAC2(first.message, from) {
		t.Error("an initiation without cookie: want a right MAC1 and no MAC2")
	}
	reply, err := checker.CreateReply(first.message, first.index, from)
	if err != nil {
		t.Fatal(err)
	}
	var m bytes.Buffer
	fmt.Fprintf(&m, "\x03\x00\x00\x00\x10\x00\x00\x00%s%s", reply.Nonce[:], reply.Cookie[:])
	cookie, err := h.cookie(first, m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.initiate(id, 17, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	second.show(cookie)
	if !checker.CheckMAC1(second.message) || !checker.CheckMAC2(second.message, from) {
		t.Error("an initiation with the cookie is refused")
	}
	if _, err := h.cookie(second, m.Bytes()); err == nil {
		t.Error("a cookie for another initiation is taken")
	}
}

// What is not a response of the hub does not end the handshake.
func TestForgedResponse(t *testing.T) {
	h, err := newHub(wgkey.GeneratePrivate().Public())
	if err != nil {
		t.Fatal(err)
	}
	id, err := h.identity(wgkey.GeneratePrivate())
	if err != nil {
		t.Fatal(err)
	}
	hs, err := h.initiate(id, 16, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	chain, hash := hs.chain, hs.hash
	m := make([]byte, responseLen)
	m[0], m[8] = typeResponse, 16
	m[12] = 9
	if _, err := hs.finish(id, m); err == nil {
		t.Error("it is taken")
	}
	if hs.chain != chain || hs.hash != hash {
		t.Error("it spoils the handshake")
	}
}
