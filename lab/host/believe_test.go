// SPDX-License-Identifier: MIT

package host

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"oasis6/internal/hostmodel"
	"oasis6/internal/ip6pkt"
	"oasis6/lab/host/inet6"
	"oasis6/lab/host/trouble"
	"oasis6/lab/wire"
	"oasis6/ra"
)

// A new prefix comes and the old one is withdrawn: within a round of duplicate address detection new connections use the
// new one, and the old is deprecated until it ends after what is left of it.
func TestHostRenumbers(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	w.run(time.Minute)
	at := w.e.Now()
	w.advertise(w.content(lanB))
	w.until("the new address", func() bool { return in(w.a, lanB, Preferred) != nil })
	if took := w.e.Now().Sub(at); took > 6*time.Second {
		t.Errorf("takes %v", took)
	}
	old := in(w.a, lanA, Deprecated)
	if old == nil {
		t.Fatalf("the old is not deprecated: %+v", w.a.View().Addresses)
	}
	if p := w.fetch(w.a, "http://www/", FetchOptions{}); p.Err != nil || !netip.MustParsePrefix(lanB).Contains(p.Attempts[0].Source) {
		t.Errorf("%+v", p)
	}
	ends, _ := old.ValidUntil.Time()
	w.run(ends.Sub(w.e.Now()) - time.Second)
	if in(w.a, lanA, Deprecated) == nil {
		t.Error("the old is gone a second too early")
	}
	w.run(time.Second)
	if in(w.a, lanA, Deprecated) != nil || w.a.addrs[old.Prefix.Addr()] != nil {
		t.Error("the old is still there")
	}
}

// RFC 4862 section 5.4.5 and RFC 7217 section 6.
func TestDuplicateAddress(t *testing.T) {
	for _, tc := range []struct {
		name  string
		most  int // claimed
		state State
	}{{"one", 1, Preferred}, {"all", 100, Duplicate}} {
		w := newWorld(t, 1, Config{})
		free := w.wire("lan-claimant", "claimant", "switch", 0x31)
		w.lanSwitch.Plug(free.Port(1))
		w.lan[1].SetUp(false) // host b would be hit, too
		c := trouble.NewClaimant(w.e, free.Port(0))
		c.Claim(func(a netip.Addr) bool {
			return netip.MustParsePrefix(lanA).Contains(a) && len(c.Took()) < tc.most
		})
		w.advertise(w.content(lanA))
		w.until(tc.name, func() bool { return in(w.a, lanA, tc.state) != nil })
		a := in(w.a, lanA, tc.state)
		if mine := slices.Contains(c.Took(), a.Prefix.Addr()); mine != (tc.state == Duplicate) {
			t.Errorf("%s: %v after %v were claimed", tc.name, a, c.Took())
		}
		if tc.state == Preferred {
			if p := w.fetch(w.a, "http://www/", FetchOptions{}); p.Err != nil {
				t.Errorf("%s: %+v", tc.name, p)
			}
			continue
		}
		if len(c.Took()) != 4 || a.Holder != mac(0x31) {
			t.Errorf("%s: %d claimed, holder %x", tc.name, len(c.Took()), a.Holder)
		}
		if p := w.fetch(w.a, "http://["+webAddr+"]/", FetchOptions{}); p.Err == nil {
			t.Errorf("%s: %+v", tc.name, p)
		}
	}
}

func TestDNSServersExpireAndAreWithdrawn(t *testing.T) {
	w := newWorld(t, 1, Config{})
	c := w.content(lanA)
	w.advertise(c)
	w.until("a DNS server", func() bool { return len(w.a.View().DNS) == 1 && in(w.a, lanA, Preferred) != nil })
	if a := w.resolve(w.a, "www"); a.Err != nil || len(a.Addrs) != 1 || a.Name != "www.example.net" {
		t.Errorf("%+v", a)
	}
	for _, name := range []string{"nobody.example.net", "empty.example.net"} {
		if a := w.resolve(w.a, name); !errors.Is(a.Err, ErrNoName) || a.Server.String() != dnsAddr {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := w.resolve(w.a, strings.Repeat("x", 64)+".example.net"); a.Err == nil {
		t.Error("a name with a label of 64 octets")
	}
	c.RDNSS = nil
	w.advertise(c)
	w.run(10 * time.Second)
	if a := w.resolve(w.a, "www"); a.Err == nil || len(w.a.View().DNS) != 0 {
		t.Errorf("withdrawn: %+v, servers %v", a, w.a.View().DNS)
	}
	w.advertise(w.content(lanA))
	w.run(10 * time.Second)
	v := w.b.View()
	if len(v.DNS) != 1 || len(v.Search) != 1 {
		t.Fatalf("%+v", v)
	}
	ends, _ := v.DNS[0].Until.Time()
	w.lan[2].SetFilter(func(*wire.Port, []byte) string { return "nobody refreshes it" })
	w.run(ends.Sub(w.e.Now()) - time.Second)
	if len(w.b.View().DNS) != 1 {
		t.Error("ends a second too early")
	}
	w.run(time.Second)
	if len(w.b.View().DNS) != 0 {
		t.Error("does not end")
	}
}

// gVisor alone ignores the option (reference/netstack.md section 7); it is of IPv6 alone.
func TestMTUOption(t *testing.T) {
	w := newWorld(t, 1, Config{IPv4: netip.MustParsePrefix("192.168.1.10/24")})
	c := w.content(lanA)
	c.LinkMTU = 1420
	w.advertise(c)
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	if v := w.a.View(); v.MTU != 1420 || v.MTUFrom.MAC != mac(5) || w.a.link4.MTU() != 1500 {
		t.Errorf("MTU %d from %v, IPv4 %d", v.MTU, v.MTUFrom, w.a.link4.MTU())
	}
	longest := 0
	w.lan[0].Tap(func(p *wire.Passage) { longest = max(longest, len(p.Frame)-wire.Header) })
	if p := w.fetch(w.a, "http://www/octets/50000", FetchOptions{}); p.Err != nil || longest > 1420 || longest < 1380 {
		t.Errorf("%v, longest packet %d", p.Err, longest)
	}
}

// Who sleeps hears nothing, and what ends meanwhile is gone at once.
func TestSuspend(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	w.a.Suspend()
	if !w.a.View().Suspended {
		t.Error("awake")
	}
	sent := 0
	w.lan[0].Tap(func(p *wire.Passage) {
		if p.From == "a" {
			sent++
		}
	})
	w.run(2 * time.Hour)
	w.advertise(w.content(lanB))
	w.run(time.Minute)
	if in(w.a, lanB, Preferred) != nil || sent > 0 {
		t.Errorf("a host that sleeps hears, or sends %d frames", sent)
	}
	w.a.Resume()
	if in(w.a, lanA, Preferred) != nil || in(w.a, lanA, Deprecated) != nil {
		t.Error("an address has outlived its lifetime")
	}
	w.until("the next advertisement", func() bool { return in(w.a, lanB, Preferred) != nil })
}

func TestCablePulled(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	before := in(w.a, lanA, Preferred).Prefix
	w.lan[0].SetUp(false)
	w.run(time.Second)
	if v := w.a.View(); v.Up || len(v.Addresses) > 0 || len(v.DNS) > 0 || len(v.Neighbors) > 0 {
		t.Errorf("%+v", v)
	}
	w.lan[0].SetUp(true)
	w.until("the address again", func() bool { return in(w.a, lanA, Preferred) != nil })
	if a := in(w.a, lanA, Preferred).Prefix; a != before {
		t.Errorf("%v, it was %v", a, before)
	}
	if p := w.fetch(w.a, "http://www/", FetchOptions{}); p.Err != nil {
		t.Error(p.Err)
	}
}

// RFC 8981: temporary addresses are preferred, where they are switched on.
func TestTemporaryAddresses(t *testing.T) {
	w := newWorld(t, 1, Config{Model: hostmodel.Config{TempAddrs: true}})
	w.advertise(w.content(lanA))
	w.run(20 * time.Second)
	p := w.fetch(w.a, "http://www/", FetchOptions{})
	for _, a := range w.a.View().Addresses {
		if a.Prefix.Addr() == p.Attempts[0].Source && !a.Temporary {
			t.Errorf("%v is used", a)
		}
	}
}

// A router that has no business there takes the hosts, until it says goodbye; what it gave says that it is from it.
func TestRogueRouter(t *testing.T) {
	w := newWorld(t, 1, Config{Model: hostmodel.Config{Rule55: true}}) // else it keeps the rogue's address as source
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	free := w.wire("lan-rogue", "rogue", "switch", 0x31)
	w.lanSwitch.Plug(free.Port(1))
	rogue, err := inet6.New(w.e, inet6.Config{Name: "rogue", Ports: []inet6.PortConfig{{Wire: free.Port(0)}}})
	if err != nil {
		t.Fatal(err)
	}
	c := w.content("2001:db8:bad::/64")
	c.Preference = ra.High
	rogue.Advertise(0, ra.Config{}, c)
	w.until("an address of the rogue", func() bool { return in(w.a, "2001:db8:bad::/64", Preferred) != nil })
	if a := in(w.a, "2001:db8:bad::/64", Preferred); a.From[0].MAC != mac(0x31) {
		t.Errorf("%+v", a)
	}
	if p := w.fetch(w.a, "http://["+webAddr+"]/", FetchOptions{}); p.Err == nil {
		t.Error("the rogue leads to the server")
	}
	rogue.Silence(0, ra.Stop{Final: true})
	w.run(time.Second)
	if p := w.fetch(w.a, "http://["+webAddr+"]/", FetchOptions{}); p.Err != nil {
		t.Error(p.Err)
	}
}

// Another router of the LAN is nearer to a place: its own says so, and from then on packets go there directly.
func TestRedirect(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	free := w.wire("lan-other", "other", "switch", 0x31)
	w.lanSwitch.Plug(free.Port(1))
	var came []netip.Addr
	free.Tap(func(p *wire.Passage) {
		if p.From == "switch" && [6]byte(p.Frame) == mac(0x31) && p.Frame[54] == 128 {
			came = append(came, netip.AddrFrom16([16]byte(p.Frame[38:])))
		}
	})
	if _, err := inet6.New(w.e, inet6.Config{Name: "other", Ports: []inet6.PortConfig{{Wire: free.Port(0)}}}); err != nil {
		t.Fatal(err)
	}
	web, other := netip.MustParseAddr(webAddr), inet6.LinkLocal(mac(0x31))
	own := in(w.a, lanA, Preferred).Prefix.Addr()
	redirect := func(from netip.Addr, hops uint8, target, dst netip.Addr) {
		body := append(append(make([]byte, 8), target.AsSlice()...), dst.AsSlice()...)
		body[0] = 137
		m := mac(1)
		f := append(append(append([]byte(nil), m[:]...), 0, 0, 0x5e, 0, 0x53, 5, 0x86, 0xdd), ip6pkt.ICMPv6(from, own, hops, body)...)
		if err := w.lan[2].Port(0).Send(f); err != nil {
			t.Error(err)
		}
		w.run(time.Second)
	}
	router := inet6.LinkLocal(mac(5))
	redirect(other, 255, other, web) // not the way there
	redirect(router, 254, other, web)
	redirect(router, 255, netip.MustParseAddr("2001:db8:a::7"), web) // a router has a link-local address
	redirect(router, 255, other, netip.MustParseAddr("ff02::1"))
	if p := w.ping(w.a, web, PingOptions{}); p.Err != nil || len(came) > 0 {
		t.Errorf("%+v; %v went by the other", p, came)
	}
	redirect(router, 255, other, web)
	w.ping(w.a, web, PingOptions{})
	if len(came) != 1 || came[0] != web {
		t.Errorf("%v went by the other", came)
	}
	for i := range 2 * maxRedirects {
		a := web.As16()
		a[14] = byte(i + 1)
		redirect(router, 255, other, netip.AddrFrom16(a))
	}
	if len(w.a.redirects) != maxRedirects {
		t.Errorf("%d are remembered", len(w.a.redirects))
	}
	c := w.content(lanA)
	c.DefaultRouter = false
	w.advertise(c)
	w.run(10 * time.Second)
	if p := w.ping(w.a, web, PingOptions{}); p.Err == nil || !strings.Contains(p.Err.Error(), "no route") {
		t.Errorf("%+v without a router", p)
	}
}

func TestDecisionsAreExplained(t *testing.T) {
	var said []string
	w := newWorld(t, 1, Config{Explain: func(d Decision) { said = append(said, d.Text+" ("+d.RFC+")") }})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	w.fetch(w.a, "http://www/", FetchOptions{})
	all := strings.Join(said, "\n")
	for _, want := range []string{"new address 2001:db8:a:", "new: route ::/0 by fe80::200:5eff:fe00:5305", "new: DNS server " + dnsAddr,
		"new: search domain example.net", "(RFC 4861 section 6.3.4)", "is mine: answered (RFC 4861 section 7.2.4)"} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody said %q:\n%s", want, all)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t, 1, Config{})
	free := w.wire("free", "x", "y", 0x41)
	if _, err := New(w.e, Config{Name: "x", Port: free.Port(0), Autoconf: true, Gateway6: netip.MustParseAddr("fe80::1")}); err == nil {
		t.Error("by itself and by hand")
	}
}
