// SPDX-License-Identifier: MIT

package host

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"oasis6/internal/ip6pkt"
	"oasis6/internal/lifetime"
	"oasis6/lab/host/inet6"
	"oasis6/lab/wire"
	"oasis6/ra"
)

// twoRouters is a world in which a second router, of low preference, is the only way to another server.
type twoRouters struct {
	*world
	first, second netip.Addr // link-local
	toSecond      *wire.Wire
	asked         []solicited
}

// solicited is a Neighbor Solicitation of host a for its first router.
type solicited struct {
	at    time.Time
	group bool // to a group, not to the router alone
}

// behind is the server behind the second router. The first one knows no way there.
var behind = netip.MustParseAddr("2001:db8:eeee::80")

func newTwoRouters(t *testing.T) *twoRouters {
	w := &twoRouters{world: newWorld(t, 1, Config{}), first: inet6.LinkLocal(mac(5)), second: inet6.LinkLocal(mac(0x31))}
	w.toSecond = w.wire("lan-second", "second", "switch", 0x31)
	far := w.wire("far-second", "second", "behind", 0x33)
	w.lanSwitch.Plug(w.toSecond.Port(1))
	second, err := inet6.New(w.e, inet6.Config{Name: "second", Ports: []inet6.PortConfig{
		{Wire: w.toSecond.Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:a::2/64")}},
		{Wire: far.Port(0), Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8:eeee::1/64")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.host(Config{Name: "behind", Port: far.Port(1), Gateway6: netip.MustParseAddr("2001:db8:eeee::1"),
		IPv6: []netip.Prefix{netip.PrefixFrom(behind, 64)}})
	w.advertise(w.content(lanA))
	second.Advertise(0, ra.Config{}, ra.Content{DefaultRouter: true, Preference: ra.Low,
		Prefixes: []ra.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:c::/64"), OnLink: true, Preferred: lifetime.Forever, Valid: lifetime.Forever}}})

	w.until("an address and two routers", func() bool { return in(w.a, lanA, Preferred) != nil && len(w.ways()) == 2 })
	w.lan[0].Tap(w.tap)
	return w
}

func (w *twoRouters) tap(p *wire.Passage) {
	m, err := ip6pkt.ParseICMPv6(p.Frame[wire.Header:])
	if err == nil && p.From == "a" && m.Body[0] == byte(header.ICMPv6NeighborSolicit) && netip.AddrFrom16([16]byte(m.Body[8:])) == w.first {
		w.asked = append(w.asked, solicited{w.e.Now(), p.Frame[0]&1 != 0})
	}
}

// ways are host a's default routes, the best first.
func (w *twoRouters) ways() (out []Route) {
	for _, r := range w.a.View().Routes {
		if r.Dst.Bits() == 0 {
			out = append(out, r)
		}
	}
	return out
}

// pings lets host a send a packet each second until done says so, and gives how many seconds that took.
func (w *twoRouters) pings(limit int, done func(Pong) bool) int {
	w.Helper()
	for n := range limit {
		begun := w.e.Now()
		if done(w.ping(w.a, behind, PingOptions{})) {
			return n
		}
		w.run(time.Second - w.e.Now().Sub(begun))
	}
	w.Fatalf("not within %d packets: %+v", limit, w.a.View())
	return 0
}

// "Neighbor Unreachability Detection is used for all paths between hosts and neighboring nodes" (RFC 4861 section 7.3): a
// router that does not answer three probes is passed over for another one long before its lifetime ends.
func TestSilentRouterIsPassedOver(t *testing.T) {
	w := newTwoRouters(t)
	if v := w.ways(); v[0].Via != w.first || v[1].Via != w.second || v[0].Silent || v[1].Silent {
		t.Fatalf("at first: %+v", v)
	}
	if p := w.ping(w.a, netip.MustParseAddr(webAddr), PingOptions{}); p.Err != nil {
		t.Fatal(p.Err)
	}
	w.lan[2].SetUp(false)
	began := w.e.Now()
	w.asked = nil
	w.pings(60, func(Pong) bool {
		v := w.ways()
		if silent := len(w.asked) == 3 && w.e.Now().Sub(w.asked[2].at) >= time.Second; silent != (v[len(v)-1].Silent) {
			t.Fatalf("%v after the cable was pulled, %d probes: %+v", w.e.Now().Sub(began), len(w.asked), v)
		}
		return v[0].Via == w.second
	})
	// "MAX_UNICAST_SOLICIT 3 transmissions", RETRANS_TIMER apart, DELAY_FIRST_PROBE_TIME after the first packet to a stale one.
	if len(w.asked) != 3 || slices.ContainsFunc(w.asked, func(q solicited) bool { return q.group }) {
		t.Fatalf("probes: %+v", w.asked)
	}
	for i, q := range w.asked[1:] {
		if d := q.at.Sub(w.asked[i].at); d != time.Second {
			t.Errorf("%v between two probes", d)
		}
	}
	if v := w.ways(); len(v) != 2 || v[1].Via != w.first || !v[1].Silent || v[0].Silent {
		t.Errorf("afterwards: %+v", v)
	}
	if p := w.ping(w.a, behind, PingOptions{}); p.Err != nil {
		t.Errorf("by the second router: %v", p.Err)
	}
}

// goesSilent pulls the first router's cable and lets host a find out.
func (w *twoRouters) goesSilent() {
	w.Helper()
	w.lan[2].SetUp(false)
	w.pings(60, func(p Pong) bool { return w.ways()[0].Via == w.second && p.Err == nil })
	w.asked = nil
}

// A router that advertises again is a router again: probably reachable, and the better one.
func TestSilentRouterComesBackByAdvertising(t *testing.T) {
	w := newTwoRouters(t)
	w.goesSilent()
	w.lan[2].SetUp(true)
	w.until("an advertisement", func() bool { return w.ways()[0].Via == w.first })
	if v := w.ways(); v[0].Silent {
		t.Errorf("%+v", v)
	}
	if p := w.ping(w.a, netip.MustParseAddr(webAddr), PingOptions{}); p.Err != nil {
		t.Error(p.Err)
	}
}

// "a single Neighbor Solicitation", "no more than one per minute per router", none "in the absence of useful traffic that
// the host would have sent to the router if it were reachable" (RFC 4191 section 3.5), and its answer is enough.
func TestSilentRouterIsAskedWhetherItIsBack(t *testing.T) {
	w := newTwoRouters(t)
	w.goesSilent()
	for range 6 { // what does not need a router is no traffic for it
		w.ping(w.a, w.second, PingOptions{})
		w.run(30 * time.Second)
	}
	if len(w.asked) > 0 {
		t.Errorf("asked without traffic: %+v", w.asked)
	}
	for range 200 {
		w.ping(w.a, behind, PingOptions{})
		w.run(time.Second)
	}
	if len(w.asked) < 3 || len(w.asked) > 4 {
		t.Errorf("%d questions in 200 s: %+v", len(w.asked), w.asked)
	}
	for i, q := range w.asked[1:] {
		if d := q.at.Sub(w.asked[i].at); d < probeEach || !q.group {
			t.Errorf("%v after the last one, to a group %v", d, q.group)
		}
	}
	w.router.Silence(lanRouter, ra.Stop{}) // nothing but its answer tells that it is back
	w.lan[2].SetUp(true)
	w.pings(70, func(Pong) bool { return w.ways()[0].Via == w.first })
	if v := w.ways(); v[0].Silent {
		t.Errorf("%+v", v)
	}
	if p := w.ping(w.a, netip.MustParseAddr(webAddr), PingOptions{}); p.Err != nil {
		t.Error(p.Err)
	}
}

// Without another router packets still go to the silent one: it is looked for again, and who sent them learns in three
// seconds that nobody is there.
func TestOnlyRouterStaysWhenItIsSilent(t *testing.T) {
	w := newWorld(t, 1, Config{})
	w.advertise(w.content(lanA))
	w.until("an address", func() bool { return in(w.a, lanA, Preferred) != nil })
	w.lan[2].SetUp(false)
	web := netip.MustParseAddr(webAddr)
	way := func() Route {
		v := w.a.View().Routes
		return v[slices.IndexFunc(v, func(r Route) bool { return r.Dst.Bits() == 0 })]
	}
	w.until("silence", func() bool {
		w.ping(w.a, web, PingOptions{})
		return way().Silent
	})
	begun := w.e.Now()
	p := w.ping(w.a, web, PingOptions{Timeout: time.Minute})
	if took := w.e.Now().Sub(begun); p.Err == nil || p.Err == ErrTimeout || took > 4*time.Second {
		t.Errorf("%v after %v", p.Err, took)
	}
	w.lan[2].SetUp(true)
	w.until("it is back", func() bool { return w.ping(w.a, web, PingOptions{}).Err == nil })
	if r := way(); r.Silent {
		t.Errorf("%+v", r)
	}
}

// A host that was sent to a better first hop goes back to its router when that hop is silent (RFC 4861 section 7.3.3).
func TestSilentTargetOfRedirectIsForgotten(t *testing.T) {
	w := newTwoRouters(t)
	m := append([]byte{137, 0, 0, 0, 0, 0, 0, 0}, w.second.AsSlice()...)
	m = append(m, behind.AsSlice()...)
	if text, _ := w.a.redirect(ip6pkt.Message{Src: w.first, HopLimit: 255, Body: m}); len(w.a.redirects) != 1 {
		t.Fatal(text)
	}
	if p := w.ping(w.a, behind, PingOptions{}); p.Err != nil {
		t.Fatal(p.Err)
	}
	w.toSecond.SetUp(false)
	w.pings(60, func(Pong) bool { return len(w.a.redirects) == 0 })
}

// A host that sleeps sends no probes, and does not take it for silence that nobody answers them.
func TestSleeperFindsNobodySilent(t *testing.T) {
	w := newTwoRouters(t)
	web := netip.MustParseAddr(webAddr)
	w.ping(w.a, web, PingOptions{})
	w.run(time.Minute)
	w.ping(w.a, web, PingOptions{}) // from now on its router is to confirm itself
	w.a.Suspend()
	w.run(30 * time.Second)
	w.a.Resume()
	if v := w.ways(); v[0].Via != w.first || v[0].Silent {
		t.Errorf("%+v", v)
	}
	if p := w.ping(w.a, web, PingOptions{}); p.Err != nil {
		t.Error(p.Err)
	}
}
