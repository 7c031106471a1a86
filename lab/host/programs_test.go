// SPDX-License-Identifier: MIT

package host

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/lab/engine"
	"oasis6/lab/wire"
)

func TestPing(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	web := netip.MustParseAddr(webAddr)
	if p := w.ping(w.a, web, PingOptions{}); p.Err != nil || p.RTT < 6*time.Millisecond || p.RTT > 20*time.Millisecond {
		t.Errorf("%+v", p)
	}
	router, far := netip.MustParseAddr("2001:db8:a::1"), netip.MustParseAddr("2001:db8:ffff::77")
	for _, tc := range []struct {
		name string
		dst  netip.Addr
		o    PingOptions
		want ICMPError
	}{
		{"hop limit", web, PingOptions{HopLimit: 1}, ICMPError{From: router, Type: 3}},
		{"no route", netip.MustParseAddr("2001:db8:dead::1"), PingOptions{}, ICMPError{From: router, Type: 1}},
		{"nobody there", far, PingOptions{Timeout: 5 * time.Second}, ICMPError{From: router, Type: 1, Code: 3}},
	} {
		var e ICMPError
		p := w.ping(w.a, tc.dst, tc.o)
		if tc.want.six = true; !errors.As(p.Err, &e) || e != tc.want {
			t.Errorf("%s: %+v", tc.name, p)
		}
	}
	w.far.SetMTU(1300)
	var e ICMPError
	if p := w.ping(w.a, web, PingOptions{Size: 1400}); !errors.As(p.Err, &e) || e.MTU != 1300 {
		t.Errorf("too big: %+v", p)
	}
	w.far.SetMTU(1500)
	if p := w.ping(w.a, web, PingOptions{Size: 4000}); p.Err != nil {
		t.Errorf("in pieces: %+v", p)
	}
	w.far.SetUp(false)
	if p := w.ping(w.a, web, PingOptions{}); !errors.Is(p.Err, ErrTimeout) {
		t.Errorf("the cable is pulled: %+v", p)
	}
	if p := w.ping(w.a, netip.MustParseAddr("192.0.2.1"), PingOptions{}); p.Err == nil {
		t.Error("a host without IPv4 pings by IPv4")
	}
	if len(w.a.watchers) > 0 {
		t.Errorf("%d sockets are still watched", len(w.a.watchers))
	}
}

// The path's MTU is found although only the router before the narrow wire knows it; without ICMPv6 the page does not come.
func TestPathMTUDiscovery(t *testing.T) {
	for _, blind := range []bool{false, true} {
		w := newWorld(t, 1, Config{})
		w.advertise(w.content(lanA))
		w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
		w.lan[2].SetMTU(1300)
		if blind {
			w.far.SetFilter(func(_ *wire.Port, f []byte) string {
				if f[20] == 58 && f[54] == 2 {
					return "no Packet Too Big"
				}
				return ""
			})
		}
		p := w.fetch(w.a, "http://["+webAddr+"]/octets/100000", FetchOptions{})
		if (p.Err != nil) != blind || !blind && p.Octets != 100_000 {
			t.Errorf("without Packet Too Big %v: %v, %d octets", blind, p.Err, p.Octets)
		}
	}
}

func TestFetchFails(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	for url, want := range map[string]string{
		"http://[" + webAddr + "]:81/":      "refused",
		"http://[2001:db8:dead::1]/":        "no route to destination",
		"http://nobody.example.net/":        "no such name",
		"ftp://www/":                        "no http address",
		"http://www:port/":                  "no http address",
		"http://[2001:db8:ffff::77]/absent": "address unreachable",
	} {
		if p := w.fetch(w.a, url, FetchOptions{ConnectTimeout: 10 * time.Second}); p.Err == nil || !strings.Contains(p.Err.Error(), want) {
			t.Errorf("%s: %v, want %s", url, p.Err, want)
		}
	}
	if p := w.fetch(w.a, "http://www/octets/many", FetchOptions{}); p.Err != nil || p.Status != 404 {
		t.Errorf("%+v", p)
	}
	w.far.SetFilter(func(from *wire.Port, f []byte) string {
		if from.Node() == "server" && len(f) > 200 {
			return "no content"
		}
		return ""
	})
	if p := w.fetch(w.a, "http://["+webAddr+"]/octets/9999", FetchOptions{}); !errors.Is(p.Err, ErrTimeout) {
		t.Errorf("%+v", p)
	}
}

func TestScan(t *testing.T) {
	w := newWorld(t, 1, Config{})
	over := false
	s, err := w.server.Scan(netip.MustParsePrefix(lanA), 200, 5*time.Millisecond, func() { over = true })
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	w.lan[2].Tap(func(p *wire.Passage) {
		if p.From == "router" && binary.BigEndian.Uint16(p.Frame[12:]) == 0x86dd && p.Frame[54] == 135 {
			asked++
		}
	})
	w.until("the scan", func() bool { return over })
	w.run(5 * time.Second)
	if s.Sent != 200 || s.Answered != 0 || asked < 200 {
		t.Errorf("%d sent, %d answered, %d solicitations", s.Sent, s.Answered, asked)
	}
	if _, err := w.server.Scan(netip.MustParsePrefix("2001:db8::/48"), 1, time.Second, nil); err == nil {
		t.Error("a scan of a /48")
	}
}

func TestEcho(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	var got string
	src, _ := w.a.Source(netip.MustParseAddr(dnsAddr))
	d, err := w.a.listenUDP(netip.AddrPortFrom(src, 0), func(b []byte, from netip.AddrPort, _ func([]byte)) { got = from.String() + " " + string(b) })
	if err != nil {
		t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(dnsAddr), echoPort) // the second address of the server
	d.sendTo(to, []byte("hello"))
	w.run(time.Second)
	if got != to.String()+" hello" {
		t.Errorf("got %q", got)
	}
}

// Home: host – translator – carrier's translator – Internet – server with both families. IPv6 is preferred where there is
// some; without it the page comes through both translators.
func TestFetchByIPv4ThroughTwoTranslators(t *testing.T) {
	w := newWorld4(t, 1)
	w.run(5 * time.Second)
	p := w.fetch(w.a, "http://both.example.net/", FetchOptions{})
	if p.Err != nil || string(p.Body) != "This is server4. You came by IPv4, from 198.51.100.2.\n" {
		t.Errorf("%s %+v", p.Body, p)
	}
	if v := w.a.View(); len(v.Neighbors) != 1 || v.Neighbors[0].Addr.String() != "192.168.1.1" {
		t.Errorf("neighbors: %+v", v.Neighbors)
	}
	if p := w.ping(w.a, netip.MustParseAddr("198.51.100.53"), PingOptions{}); p.Err != nil {
		t.Errorf("%+v", p)
	}
	var e ICMPError
	if p := w.ping(w.a, netip.MustParseAddr("198.51.100.53"), PingOptions{HopLimit: 2}); !errors.As(p.Err, &e) || e.Type != 11 || e.From.String() != "100.64.0.1" {
		t.Errorf("%+v", p)
	}
	c := w.content(lanA)
	c.RDNSS = nil
	w.advertise(c)
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	if p := w.fetch(w.a, "http://both.example.net/", FetchOptions{}); p.Err != nil || !strings.Contains(string(p.Body), "by IPv6") || len(p.Attempts) != 1 {
		t.Errorf("%s %+v", p.Body, p)
	}
	w.far.SetFilter(func(*wire.Port, []byte) string { return "no IPv6 Internet" })
	p = w.fetch(w.a, "http://both.example.net/", FetchOptions{})
	if p.Err != nil || len(p.Attempts) != 2 || !errors.Is(p.Attempts[0].Err, ErrTimeout) || !strings.Contains(string(p.Body), "by IPv4") {
		t.Errorf("%s %+v", p.Body, p)
	}
}

// In real time gVisor's goroutines and ours run beside each other: the race detector looks on.
func TestInRealTime(t *testing.T) {
	e := engine.New(engine.Config{Start: t0, Seed: 1, Real: true})
	x := wire.New(e, wire.Config{ID: "x"}, [2]string{"a", "b"}, [2][6]byte{mac(1), mac(2)})
	var hosts [2]*Host
	for i, a := range []string{"2001:db8::1/64", "2001:db8::2/64"} {
		var err error
		hosts[i], err = New(e, Config{Name: a, Port: x.Port(i), IPv6: []netip.Prefix{netip.MustParsePrefix(a)}})
		if err != nil {
			t.Fatal(err)
		}
		defer hosts[i].Close()
	}
	if err := hosts[1].ServeWeb(nil); err != nil {
		t.Fatal(err)
	}
	var got *Page
	e.Post(func() {
		hosts[0].Fetch("http://[2001:db8::2]/octets/3000000", FetchOptions{}, func(p Page) { got = &p })
	})
	ok, err := e.RunUntil(t.Context(), 20*time.Second, func() bool { return got != nil })
	if !ok || err != nil || got.Err != nil || got.Octets != 3_000_000 {
		t.Errorf("%v, %v, %+v", ok, err, got)
	}
}
