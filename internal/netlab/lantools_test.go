// SPDX-License-Identifier: MIT

package netlab

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

const (
	routerLL  = "fe80::200:5eff:fe00:5301" // of the first MAC address of a lab
	testHosts = "2001:db8:ebbd:9900::"
)

// raOf is an RA by the library, with one more option in raw octets.
func raOf(t *testing.T, raw []byte, options ...ndp.Option) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{RouterLifetime: 30 * time.Minute, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	return append(b, raw...)
}

// settled is a wire's two ends past DAD.
func settled(t *testing.T) (r, h *Node) {
	t.Helper()
	r, h = lan(t)
	for _, n := range []*Node{r, h} {
		n.WaitFor(10*time.Second, "no link-local address past DAD", func() bool {
			return len(n.addresses("eth0", netip.Addr.IsLinkLocalUnicast)) > 0
		})
	}
	return r, h
}

func TestUserOptionsReachPrograms(t *testing.T) {
	t.Parallel()
	r, h := settled(t)
	seen, ras := h.WatchUserOptions(), h.WatchRA("eth0")
	nat64 := netip.MustParsePrefix("64:ff9b::/96")
	r.SendICMPv6("eth0", netip.MustParseAddr(routerLL), netip.MustParseAddr("ff02::1"), raOf(t, nil,
		&ndp.PREF64{Lifetime: 1800 * time.Second, Prefix: nat64}, &ndp.CaptivePortal{URI: "https://portal.example/api"},
		&ndp.RecursiveDNSServer{Lifetime: 0, Servers: []netip.Addr{netip.MustParseAddr(DNSv6)}},
		&ndp.DNSSearchList{Lifetime: time.Hour, DomainNames: []string{SearchList}}))
	for typ, want := range map[byte]func(UserOption) bool{
		OptPREF64: func(o UserOption) bool {
			p, lifetime := o.PREF64()
			return p == nat64 && lifetime == 1800*time.Second
		},
		OptCaptivePortal: func(o UserOption) bool { return o.Text() == "https://portal.example/api" },
		OptRDNSS:         func(o UserOption) bool { return slices.Equal(o.Value[2:6], []byte{0, 0, 0, 0}) },
		OptDNSSL:         func(o UserOption) bool { return slices.Equal(o.Value[2:6], []byte{0, 0, 14, 16}) },
	} {
		if _, err := seen.First(5*time.Second, func(o UserOption) bool { return o.Type == typ && want(o) }); err != nil {
			t.Errorf("option %d: %v: %v", typ, err, seen.All())
		}
	}
	if all := ras.All(); len(all) != 1 || len(all[0].Options(OptPREF64)) != 1 || all[0].Err != nil {
		t.Errorf("the wire shows %+v", all)
	}
}

// What mdlayher/ndp v1.1.0 hides or refuses is seen all the same.
func TestOptionsThatTheLibraryHides(t *testing.T) {
	t.Parallel()
	r, h := settled(t)
	ras := h.WatchRA("eth0")
	raw := []byte{3, 4, 64, 0xd0, 0, 0, 0, 90, 0, 0, 0, 45, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0xeb, 0xbd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	raw = append(raw, 24, 2, 60, 0x08, 0, 0, 1, 0, 0x20, 0x01, 0x0d, 0xb8, 0xeb, 0xbd, 0x99, 0x10)
	raw = append(raw, 3, 1, 64, 0, 0, 0, 0, 0) // a prefix option of the wrong length
	r.SendICMPv6("eth0", netip.MustParseAddr(routerLL), netip.MustParseAddr("ff02::1"), raOf(t, raw))
	ra, err := ras.First(5*time.Second, func(RA) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if ra.Err == nil || ra.Msg.RouterLifetime != 30*time.Minute {
		t.Errorf("the library does not mind: %+v", ra.Msg)
	}
	pio, ok := ra.PIO(netip.MustParsePrefix(lanSubnet))
	if want := (PIO{netip.MustParsePrefix(lanSubnet), true, true, true, 45 * time.Second, 90 * time.Second}); !ok || pio != want {
		t.Errorf("prefix option %+v, want %+v", pio, want)
	}
	if got, want := ra.RIOs(), (RIO{netip.MustParsePrefix(lanPDs + "/60"), 1, 256 * time.Second}); len(got) != 1 || got[0] != want {
		t.Errorf("routes %+v, want %+v", got, want)
	}
}

// The three kinds of host differ in what they are for.
func TestKindsOfHosts(t *testing.T) {
	t.Parallel()
	l := New(t)
	r := l.Node("r")
	hosts := map[string]*Node{}
	r.Bridge("br0")
	for _, kind := range []string{"normal", "android", "private", "optimistic"} {
		h := l.Node(kind)
		hosts[kind] = h
		l.Wire(h, "eth0", r, kind)
		r.Run("ip", "link", "set", kind, "master", "br0")
	}
	hosts["android"].AndroidLike("eth0")
	hosts["private"].PrivateLike("eth0")
	hosts["optimistic"].Optimistic("eth0")
	for _, n := range hosts {
		n.WaitFor(10*time.Second, "no link-local address past DAD", func() bool {
			return len(n.addresses("eth0", netip.Addr.IsLinkLocalUnicast)) > 0
		})
	}
	ll := netip.MustParseAddr("fe80::1")
	send := func(routerLifetime, valid time.Duration) {
		b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{RouterLifetime: routerLifetime, Options: []ndp.Option{
			&ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true,
				ValidLifetime: valid, PreferredLifetime: valid, Prefix: netip.MustParseAddr(testHosts)}}})
		if err != nil {
			t.Fatal(err)
		}
		r.SendICMPv6("br0", ll, netip.MustParseAddr("ff02::1"), b)
	}
	has := func(kind string) bool { return len(hosts[kind].GUAs("eth0")) > 0 }
	send(100*time.Second, 100*time.Second)
	if !Poll(10*time.Second, func() bool { return has("normal") && has("private") && has("optimistic") }) {
		t.Errorf("no address: normal %v, private %v, optimistic %v", has("normal"), has("private"), has("optimistic"))
	}
	if has("android") || hosts["android"].Run("ip", "-6", "route", "show", "default") != "" {
		t.Errorf("the Android-like host takes lifetimes of 100 s: %v", hosts["android"].GUAs("eth0"))
	}
	send(200*time.Second, 200*time.Second)
	if !Poll(10*time.Second, func() bool { return has("android") }) {
		t.Error("the Android-like host takes no lifetimes of 200 s")
	}
	if got := hosts["private"].GUAs("eth0"); len(got) != 2 || slices.ContainsFunc(got, func(a netip.Addr) bool { return a.As16()[11] == 0xff }) {
		t.Errorf("the private host has %v, want a stable and a temporary address without its MAC", got)
	}
	if has("normal") && hosts["normal"].GUAs("eth0")[0].As16()[11] != 0xff {
		t.Errorf("the normal host has %v", hosts["normal"].GUAs("eth0"))
	}
}

// The flood is as fast as asked, and it reaches whoever listens.
func TestFlood(t *testing.T) {
	r, h := settled(t)
	for kind, typ := range map[Malformed]byte{MalformedRS: 133, MalformedNS: 135, MalformedDHCPv6: 0} {
		var got, valid int
		sources := map[netip.Addr]bool{}
		var mu sync.Mutex
		r.readIPv6("eth0", func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			if len(b) < 48 || b[6] == protoICMPv6 && b[40] != typ || b[6] == protoUDP && typ != 0 {
				return
			}
			got++
			sum := append([]byte(nil), b...)
			at := 42
			if typ == 0 {
				at = 46
			}
			was := uint16(sum[at])<<8 | uint16(sum[at+1])
			sum[at], sum[at+1] = 0, 0
			if checksum(sum, b[6]) == was {
				valid++
			}
			src, _ := netip.AddrFromSlice(b[8:24])
			sources[src] = true
		})
		sent, took := h.Flood("eth0", kind, 10000, time.Second)
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		if rate := float64(sent) / took.Seconds(); rate < 5000 || rate > 10500 {
			t.Errorf("%s: %d sent in %v", kind, sent, took)
		}
		// What listens loses some: its socket's buffer is small.
		if got < sent/20 || valid < got*8/10 || valid == got || len(sources) < 500 {
			t.Errorf("%s: %d of %d came, %d of them with a right checksum, from %d sources", kind, got, sent, valid, len(sources))
		}
		t.Logf("%s: %d sent in %v, %d read", kind, sent, took, got)
		mu.Unlock()
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	r, h := settled(t)
	r.Addr("eth0", lanRouter+"/64")
	h.Addr("eth0", "2001:db8:0:6::1/64")
	h.Run("ip", "-6", "route", "add", lanSubnet, "via", routerLL, "dev", "eth0")
	r.Run("ip", "-6", "route", "add", "2001:db8:0:6::/64", "dev", "eth0")
	for kind, proto := range map[Probe]byte{ProbeEcho: protoICMPv6, ProbeSYN: 6} {
		targets := map[netip.Addr]bool{}
		var mu sync.Mutex
		r.readIPv6("eth0", func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			dst, _ := netip.AddrFromSlice(b[24:40])
			sum := append([]byte(nil), b...)
			at := map[byte]int{protoICMPv6: 42, 6: 56}[proto]
			if b[6] != proto || len(b) < at+2 || !netip.MustParsePrefix(lanSubnet).Contains(dst) {
				return
			}
			was := uint16(sum[at])<<8 | uint16(sum[at+1])
			sum[at], sum[at+1] = 0, 0
			if checksum(sum, proto) == was {
				targets[dst] = true
			}
		})
		took := h.Scan(netip.MustParsePrefix(lanSubnet), 200, 2000, kind)
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		if len(targets) != 200 || took < 90*time.Millisecond {
			t.Errorf("%s: %d targets in %v, want 200 in 100ms", kind, len(targets), took)
		}
		mu.Unlock()
	}
}

// A connection ends by an answer, by the kernel, by code 5, or not at all: the prober tells them apart.
func TestProber(t *testing.T) {
	t.Parallel()
	r, h := settled(t)
	r.Addr("eth0", lanRouter+"/64")
	h.Addr("eth0", "2001:db8:ebbd:9900::10/64")
	ln, err := r.Listen("tcp", "["+lanRouter+"]:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	probe := func(do func()) []Connection {
		p := h.Probe(netip.MustParseAddrPort("[" + lanRouter + "]:80"))
		do()
		time.Sleep(500 * time.Millisecond)
		all, err := p.Stop()
		if err != nil || len(all) < 8 {
			t.Fatalf("%d connections, %v", len(all), err)
		}
		return all
	}
	for _, c := range probe(func() {}) {
		if c.Err != nil || c.Source.String() != "2001:db8:ebbd:9900::10" {
			t.Errorf("open port: %s", c)
		}
	}
	rules := func(verdict string) {
		r.nft("table ip6 x { chain input { type filter hook input priority 0; tcp dport 80 " + verdict + "; }; }\n")
	}
	rules("reject with icmpv6 type policy-fail")
	for _, c := range probe(func() {}) {
		if !c.Refused() || !errors.Is(c.Err, unix.EACCES) {
			t.Errorf("code 5: %s, want EACCES", c)
		}
	}
	r.Run("nft", "delete", "table", "ip6", "x")
	rules("drop")
	all := probe(func() {})
	for _, c := range all {
		if !c.Hangs() {
			t.Errorf("silence: %s", c)
		}
	}
	t.Log(Summary(all))
	h.Run("ip", "-6", "addr", "flush", "dev", "eth0")
	for _, c := range probe(func() {}) {
		if !errors.Is(c.Err, unix.ENETUNREACH) {
			t.Errorf("no route: %s, want ENETUNREACH", c)
		}
	}
}
