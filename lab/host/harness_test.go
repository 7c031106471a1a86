// SPDX-License-Identifier: MIT

package host

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"oasis6/internal/lifetime"
	"oasis6/lab/engine"
	"oasis6/lab/host/inet6"
	"oasis6/lab/nat"
	"oasis6/lab/wire"
	"oasis6/ra"
)

var t0 = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const (
	lanA      = "2001:db8:a::/64"
	lanB      = "2001:db8:b::/64"
	webAddr   = "2001:db8:ffff::80"
	dnsAddr   = "2001:db8:ffff::53"
	lanRouter = 0 // port of the router
)

func mac(n byte) [6]byte { return [6]byte{0x00, 0x00, 0x5e, 0x00, 0x53, n} }

// world is two hosts on a switch – router – web and DNS server.
type world struct {
	*testing.T
	e         *engine.Engine
	lan       [3]*wire.Wire // to host a, to host b, to the router
	far       *wire.Wire    // router to server
	a, b      *Host
	server    *Host
	router    *inet6.Router
	lanSwitch *wire.Switch
	frames    int
	hash      [32]byte
}

func newWorld(t *testing.T, seed uint64, c Config) *world {
	w := &world{T: t, e: engine.New(engine.Config{Start: t0, Seed: seed})}
	w.lanSwitch = wire.NewSwitch(w.e)
	for i, node := range []string{"a", "b", "router"} {
		w.lan[i] = w.wire("lan-"+node, node, "switch", byte(2*i+1))
		w.lanSwitch.Plug(w.lan[i].Port(1))
	}
	w.far = w.wire("far", "router", "server", 0x21)
	var err error
	w.router, err = inet6.New(w.e, inet6.Config{Name: "router", Ports: []inet6.PortConfig{
		{Wire: w.lan[2].Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:a::1/64"), netip.MustParsePrefix("2001:db8:b::1/64")}},
		{Wire: w.far.Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:ffff::1/64")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.server = w.host(Config{Name: "server", Port: w.far.Port(1), Gateway6: netip.MustParseAddr("2001:db8:ffff::1"),
		IPv6: []netip.Prefix{netip.MustParsePrefix(webAddr + "/64"), netip.MustParsePrefix(dnsAddr + "/64")}})
	for _, err := range []error{w.server.ServeWeb(nil), w.server.ServeEcho(),
		w.server.ServeDNS(Zone{"www.example.net": {netip.MustParseAddr(webAddr)}, "empty.example.net": nil})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.Autoconf = true
	ca, cb := c, c
	ca.Name, ca.Port = "a", w.lan[0].Port(0)
	cb.Name, cb.Port = "b", w.lan[1].Port(0)
	w.a, w.b = w.host(ca), w.host(cb)
	return w
}

func (w *world) wire(id, left, right string, n byte) *wire.Wire {
	x := wire.New(w.e, wire.Config{ID: id, Delay: time.Millisecond}, [2]string{left, right}, [2][6]byte{mac(n), mac(n + 1)})
	x.Tap(func(p *wire.Passage) {
		w.frames++
		h := sha256.New()
		h.Write(w.hash[:])
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(p.At.UnixNano())))
		h.Write([]byte(p.Wire + p.From + p.Dropped))
		h.Write(p.Frame)
		h.Sum(w.hash[:0])
	})
	return x
}

func (w *world) host(c Config) *Host {
	w.Helper()
	h, err := New(w.e, c)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(h.Close)
	return h
}

func (w *world) run(d time.Duration) {
	w.Helper()
	if err := w.e.RunFor(w.Context(), d); err != nil {
		w.Fatal(err)
	}
}

// until runs until done says so.
func (w *world) until(what string, done func() bool) {
	w.Helper()
	ok, err := w.e.RunUntil(w.Context(), 15*time.Minute, done)
	if err != nil || !ok {
		w.Fatalf("%s: never, %v", what, err)
	}
}

// content is what the router tells the LAN: prefixes with 45 and 90 minutes.
func (w *world) content(prefixes ...string) ra.Content {
	c := ra.Content{DefaultRouter: true, RDNSS: []netip.Addr{netip.MustParseAddr(dnsAddr)}, DNSSL: []string{"example.net"}}
	now := w.e.Now()
	for _, p := range prefixes {
		c.Prefixes = append(c.Prefixes, ra.Prefix{Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: true,
			Preferred: lifetime.At(now.Add(45 * time.Minute)), Valid: lifetime.At(now.Add(90 * time.Minute))})
	}
	return c
}

func (w *world) advertise(c ra.Content) { w.router.Advertise(lanRouter, ra.Config{}, c) }

// in is the address of a host in a prefix with that state, if it has one.
func in(h *Host, prefix string, s State) *Address {
	p := netip.MustParsePrefix(prefix)
	for _, a := range h.View().Addresses {
		if p.Contains(a.Prefix.Addr()) && a.State == s {
			return &a
		}
	}
	return nil
}

func (w *world) fetch(h *Host, url string, o FetchOptions) Page {
	w.Helper()
	var got *Page
	h.Fetch(url, o, func(p Page) { got = &p })
	w.until(url, func() bool { return got != nil })
	return *got
}

func (w *world) ping(h *Host, dst netip.Addr, o PingOptions) Pong {
	w.Helper()
	var got *Pong
	h.Ping(dst, o, func(p Pong) { got = &p })
	w.until("ping "+dst.String(), func() bool { return got != nil })
	return *got
}

func (w *world) resolve(h *Host, name string) Answer {
	w.Helper()
	var got *Answer
	h.Resolve(name, func(a Answer) { got = &a })
	w.until("resolve "+name, func() bool { return got != nil })
	return *got
}

// newWorld4 is newWorld whose hosts have IPv4, too: by a translator and that of its provider to server4.
func newWorld4(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed, Config{IPv4: netip.MustParsePrefix("192.168.1.10/24"), Gateway4: netip.MustParseAddr("192.168.1.1"),
		DNS: []netip.Addr{netip.MustParseAddr("198.51.100.53")}})
	w.b.Close() // it has the same IPv4 address
	home, carrier, far := w.wire("home", "nat", "switch", 0x31), w.wire("carrier", "nat", "cgn", 0x33), w.wire("inet", "cgn", "server4", 0x35)
	w.lanSwitch.Plug(home.Port(1))
	for _, c := range []nat.NodeConfig{
		{Name: "nat", NAT: &nat.Config{}, Ports: []nat.PortConfig{
			{Wire: home.Port(0), Address: netip.MustParsePrefix("192.168.1.1/24"), Inside: true},
			{Wire: carrier.Port(0), Address: netip.MustParsePrefix("100.64.0.9/24")}},
			Routes: []nat.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("100.64.0.1")}}},
		{Name: "cgn", NAT: &nat.Config{RandomPorts: true, Mapping: nat.AddressAndPortDependent, Filtering: nat.AddressAndPortDependent},
			Ports: []nat.PortConfig{
				{Wire: carrier.Port(1), Address: netip.MustParsePrefix("100.64.0.1/24"), Inside: true},
				{Wire: far.Port(0), Address: netip.MustParsePrefix("198.51.100.2/24")}}},
	} {
		if _, err := nat.NewNode(w.e, c); err != nil {
			t.Fatal(err)
		}
	}
	s := w.host(Config{Name: "server4", Port: far.Port(1), IPv4: netip.MustParsePrefix("198.51.100.53/24"), Gateway4: netip.MustParseAddr("198.51.100.2")})
	zone := Zone{"both.example.net": {netip.MustParseAddr("198.51.100.53"), netip.MustParseAddr(webAddr)}}
	for _, err := range []error{s.ServeDNS(zone), s.ServeWeb(nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return w
}
