// SPDX-License-Identifier: MIT

package ra

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/internal/lifetime"
)

// dnsFrom is an RA of a hub with these options.
func dnsFrom(src netip.Addr, opts ...Option) Received {
	b, err := RouterAdvertisement{RouterLifetime: 1800, Options: opts}.Append(nil)
	if err != nil {
		panic(err)
	}
	return Received{Src: src, HopLimit: 255, Data: b}
}

func (w *rworld) wantDNS(want string) {
	w.t.Helper()
	l := w.r.Learned()
	if got := fmt.Sprint(l.DNS, l.Search); got != want {
		w.t.Fatalf("at %v learned %s, want %s", w.now, got, want)
	}
}

func upWorld(t *testing.T) *rworld {
	t.Helper()
	w := newRWorld(t, half)
	w.step(LinkUp{})
	return w
}

// "A value of all one bits (0xffffffff) represents infinity. A value of zero means that the RDNSS addresses MUST no
// longer be used." Lifetimes end by themselves too, and a renewal changes nothing.
func TestRFC8106_5_3_LifetimesAreHonoured(t *testing.T) {
	w := upWorld(t)
	w.at(sec, dnsFrom(ourLL, RDNSS{100, []netip.Addr{dns1, dns2}}, DNSSL{200, []string{"Lan.Example", "example.net"}}))
	w.wantDNS("[2001:db8:a::1 2001:db8:53::53] [lan.example example.net]")
	w.wantChanged(sec)
	for i := range 5 {
		w.at(time.Duration(20*i+20)*sec, dnsFrom(ourLL, RDNSS{100, []netip.Addr{dns1, dns2}}))
	}
	w.wantChanged(sec)
	w.at(150*sec, dnsFrom(ourLL, RDNSS{0, []netip.Addr{dns1}}))
	w.wantDNS("[2001:db8:53::53] [lan.example example.net]")
	w.until(200*sec - 1)
	w.wantDNS("[2001:db8:53::53] [lan.example example.net]")
	w.until(200 * sec)
	w.wantDNS("[] [lan.example example.net]")
	w.until(201 * sec)
	w.wantDNS("[] []")
	w.wantChanged(sec, 150*sec, 200*sec, 201*sec)
	w.at(202*sec, dnsFrom(ourLL, RDNSS{lifetime.Infinity, []netip.Addr{dns1}}))
	w.until(100 * 24 * time.Hour)
	w.wantDNS("[2001:db8:a::1] []")
}

// A lifetime runs on while the link is down.
func TestRFC8106_5_3_LinkDownKeepsAndEnds(t *testing.T) {
	w := upWorld(t)
	w.at(sec, dnsFrom(ourLL, RDNSS{100, []netip.Addr{dns1}}))
	w.at(2*sec, LinkDown{})
	w.until(101*sec - 1)
	w.wantDNS("[2001:db8:a::1] []")
	w.until(101 * sec)
	w.wantDNS("[] []")
}

// What the LAN cannot reach, or nobody, is left out.
func TestRFC8106_5_3_UnusableServers(t *testing.T) {
	w := upWorld(t)
	var addrs []netip.Addr
	for _, s := range []string{"fe80::1", "ff02::fb", "::", "::1", "::ffff:192.0.2.1", "fd00:6:6::1"} {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	w.at(sec, dnsFrom(ourLL, RDNSS{100, addrs}))
	w.wantDNS("[fd00:6:6::1] []")
	w.at(2*sec, dnsFrom(ourLL, RDNSS{100, addrs[:1]}))
	w.wantDNS("[fd00:6:6::1] []")
}

// Another hub after the link came up: what the one before gave counts until then, kind by kind.
func TestRFC8106_5_3_AfterLinkUp(t *testing.T) {
	w := upWorld(t)
	w.at(sec, dnsFrom(ourLL, RDNSS{3600, []netip.Addr{dns1}}, DNSSL{3600, []string{"lan.example"}}))
	w.at(100*sec, LinkUp{})
	w.wantDNS("[2001:db8:a::1] [lan.example]")
	w.at(101*sec, raFrom(hostA, 1800, ""))
	w.wantDNS("[2001:db8:a::1] [lan.example]")
	w.at(102*sec, dnsFrom(hostA, RDNSS{3600, []netip.Addr{dns2}}))
	w.wantDNS("[2001:db8:53::53] [lan.example]")
	w.at(103*sec, dnsFrom(hostA, DNSSL{3600, []string{"example.net"}}))
	w.wantDNS("[2001:db8:53::53] [example.net]")
	// The same again after a LinkUp is no change.
	n := len(w.changed)
	w.at(200*sec, LinkUp{})
	w.at(201*sec, dnsFrom(hostA, RDNSS{3600, []netip.Addr{dns2}}, DNSSL{3600, []string{"example.net"}}))
	w.wantDNS("[2001:db8:53::53] [example.net]")
	if len(w.changed) != n {
		t.Errorf("changed at %v", w.changed)
	}
}

// Bounded, the first stay, and a hub that gives others all the time is not followed at each.
func TestReceiverDNSFlood(t *testing.T) {
	w := upWorld(t)
	w.at(sec, dnsFrom(ourLL, RDNSS{3600, []netip.Addr{dns1}}, DNSSL{3600, []string{"lan.example"}}))
	for i := range 5000 {
		a := netip.MustParseAddr(fmt.Sprintf("2001:db8:53::%x", i+1))
		life := uint32(3600 * (i % 2))
		w.at(2*sec+time.Duration(i)*time.Millisecond, dnsFrom(ourLL, RDNSS{life, []netip.Addr{a}}, DNSSL{life, []string{fmt.Sprintf("d%d.example", i)}}))
	}
	l := w.r.Learned()
	if len(l.DNS) != maxLearnedServers || len(l.Search) != maxLearnedDomains || l.DNS[0] != dns1 || l.Search[0] != "lan.example" {
		t.Errorf("%v %v", l.DNS, l.Search)
	}
	for i := range 100 { // one in, one out
		w.at(10*sec+time.Duration(i)*100*time.Millisecond, dnsFrom(ourLL, RDNSS{uint32(3600 * (i % 2)), []netip.Addr{dns1}}))
	}
	if n := len(w.changed); n > changeBurst+4 {
		t.Errorf("changed %d times", n)
	}
	w.until(60 * sec)
	if w.r.news(boot.Add(w.now)) {
		t.Error("the last change was not told")
	}
	if !slices.Contains(w.r.Learned().DNS, dns1) {
		t.Errorf("%v", w.r.Learned().DNS)
	}
}
