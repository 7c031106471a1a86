// SPDX-License-Identifier: MIT

package simwg

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/hub"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/note"
	"oasis6/internal/wgkey"
	"oasis6/lab/engine"
	"oasis6/router"
	"oasis6/tun"
)

var (
	_ router.Tunnel = (*Tunnel)(nil)
	_ hub.Tunnel    = (*Hub)(nil)
)

// The keys of the tests; nobody else uses them.
var (
	boxKey   = wgkey.Private{0: 0x08, 5: 0x67, 31: 0x41}
	hubKey   = wgkey.Private{0: 0x10, 5: 0x67, 31: 0x42}
	otherKey = wgkey.Private{0: 0x18, 5: 0x67, 31: 0x43}

	boxLL = boxKey.Public().LinkLocal()
	hubLL = hubKey.Public().LinkLocal()

	boxGUA  = netip.MustParseAddr("2001:db8:1::a")
	farGUA  = netip.MustParseAddr("2001:db8:2::b")
	boxAt   = netip.MustParseAddrPort("192.0.2.1:1000")
	hubAt   = netip.MustParseAddrPort("198.51.100.2:51820")
	lease   = netip.MustParsePrefix("2001:db8:1::/64")
	allDHCP = netip.MustParseAddr("ff02::1:2")
)

func boxConfig(endpoint string) tun.Config {
	return tun.Config{
		Name: "oasis0", PrivateKey: boxKey, ListenPort: boxAt.Port(),
		Peer: tun.Peer{Public: hubKey.Public(), Endpoint: endpoint, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("::/0")}},
	}
}

func boxSite(leases ...netip.Prefix) tun.Site {
	return tun.Site{Public: boxKey.Public(), AllowedIPs: append([]netip.Prefix{netip.PrefixFrom(boxLL, 128)}, leases...)}
}

// sched is the engine with the method that Scheduler wants.
type sched struct{ *engine.Engine }

func (s sched) AfterFunc(d time.Duration, f func()) (stop func()) {
	t := s.Engine.AfterFunc(d, f)
	return func() { t.Stop() }
}

// sim is a box and a hub in virtual time, and what came out of them.
type sim struct {
	t      *testing.T
	e      *engine.Engine
	box    *Tunnel
	hub    *Hub
	boxAt  netip.AddrPort // as the hub sees the box: a NAT may stand before it
	hubAt  netip.AddrPort // and the box the hub
	cut    bool
	lost   func() bool // nil: nothing is
	boxGot [][]byte
	hubGot [][]byte
	boxErr error // of sending
	asked  []string
	dns    func(name string) ([]netip.Addr, error)
	notes  []note.Note
	sent   int
}

const delay = 5 * time.Millisecond

func newSim(t *testing.T, cfg tun.Config) *sim {
	s := &sim{t: t, e: engine.New(engine.Config{Start: time.Unix(1000, 0).UTC(), Seed: 1}), boxAt: boxAt, hubAt: hubAt}
	var err error
	s.hub, err = NewHub(tun.HubConfig{Name: "oasis0", PrivateKey: hubKey, ListenPort: hubAt.Port(), Port: 40000}, Options{
		Scheduler: sched{s.e}, OnRest: s.e.OnRest, Rand: s.e.Rand("hub").Uint64,
		Deliver: func(p []byte) { s.hubGot = append(s.hubGot, p) },
		SendUDP: func(_ uint16, to netip.AddrPort, data []byte) error {
			s.fly(to == s.boxAt, func() { s.box.Datagram(s.hubAt, data) })
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.box, err = NewTunnel(cfg, s.options())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// options are the box's.
func (s *sim) options() Options {
	return Options{
		Scheduler: sched{s.e}, OnRest: s.e.OnRest, Rand: s.e.Rand("box").Uint64,
		Deliver: func(p []byte) { s.boxGot = append(s.boxGot, p) },
		Lookup:  s.lookup,
		Note:    func(n note.Note) { s.notes = append(s.notes, n) },
		SendUDP: func(_ uint16, to netip.AddrPort, data []byte) error {
			if s.boxErr != nil {
				return s.boxErr
			}
			s.fly(to == hubAt, func() { s.hub.Datagram(s.boxAt, data) })
			return nil
		},
	}
}

func (s *sim) fly(there bool, arrive func()) {
	s.sent++
	if there && !s.cut && (s.lost == nil || !s.lost()) {
		s.e.AfterFunc(delay, arrive)
	}
}

func (s *sim) lookup(name string, done func([]netip.Addr, error)) {
	s.asked = append(s.asked, s.e.Now().Sub(s.e.Start()).Round(time.Second).String())
	if s.dns == nil {
		done(nil, errors.New("no such host"))
		return
	}
	addrs, err := s.dns(name)
	s.e.AfterFunc(delay, func() { done(addrs, err) })
}

func (s *sim) run(d time.Duration) {
	if err := s.e.RunFor(context.Background(), d); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sim) sites(sites ...tun.Site) {
	s.t.Helper()
	if err := s.hub.SetSites(sites); err != nil {
		s.t.Fatal(err)
	}
}

// up is a pair with a session.
func up(t *testing.T) *sim {
	s := newSim(t, boxConfig(hubAt.String()))
	s.sites(boxSite(lease))
	s.run(time.Second)
	drain(s.box.Events())
	return s
}

func drain(c <-chan tun.Event) (all []tun.Event) {
	for {
		select {
		case ev := <-c:
			all = append(all, ev)
		default:
			return all
		}
	}
}

func count[E tun.Event](all []tun.Event) (n int) {
	for _, ev := range all {
		if _, ok := ev.(E); ok {
			n++
		}
	}
	return n
}

func data(from, to netip.Addr, text string) []byte {
	return ip6pkt.UDP(from, to, 1, 9, 64, []byte(text))
}

func has(got [][]byte, text string) bool {
	return slices.ContainsFunc(got, func(p []byte) bool {
		u, err := ip6pkt.ParseUDP(p)
		return err == nil && string(u.Payload) == text
	})
}
