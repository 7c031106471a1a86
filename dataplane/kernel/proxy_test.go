// SPDX-License-Identifier: MIT

//go:build !small

package kernel

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/ip6pkt"
	"oasis6/internal/netlab"
)

const (
	testOnLinkISP = "2001:db8:ebbd:9900::1"
	testOnLinkHub = "2001:db8:ebbd:9900::2"
)

// newOnLinkWorld is a hub whose provider thinks that the whole pool is on the link.
func newOnLinkWorld(t *testing.T) *hubWorld {
	t.Helper()
	w := newHubWorld(t)
	w.isp.Run("ip", "-6", "route", "del", testPool)
	w.onLink()
	w.isp.Addr("eth0", testOnLinkISP+"/56")
	for name, value := range map[string]string{"delay_first_probe_time": "1", "retrans_time_ms": "300", "base_reachable_time_ms": "1000"} {
		w.isp.Sysctl("net.ipv6.neigh.eth0."+name, value)
	}
	return w
}

// onLink gives the hub its address on the uplink.
func (w *hubWorld) onLink() { w.box.Addr("eth0", testOnLinkHub+"/56") }

// proxying is the hub with answers for the first site.
func (w *hubWorld) proxying(prefixes ...string) dataplane.Desired {
	d := w.hub()
	d.Hub.Taken = []netip.Prefix{netip.MustParsePrefix("2001:db8:ebbd:9900::/64")}
	p := dataplane.NDProxy{Iface: "eth0"}
	for _, s := range prefixes {
		p.Prefixes = append(p.Prefixes, netip.MustParsePrefix(s))
	}
	d.Proxy = []dataplane.NDProxy{p}
	return d
}

func (w *hubWorld) proxyStats() dataplane.ProxyStats {
	w.t.Helper()
	s := w.plane.ProxyStats()
	if len(s) != 1 || s[0].Iface != "eth0" {
		w.t.Fatalf("ProxyStats = %+v", s)
	}
	return s[0]
}

// The provider's router reaches a host of a site only if somebody answers for it, and goes on reaching it when it asks again.
func TestRFC4861_7_2_8_OnLinkPrefixReachesSites(t *testing.T) {
	w := newOnLinkWorld(t)
	w.open()
	w.apply(w.proxying())
	w.reaches(w.isp, testOnLinkISP, testOnLinkHub)
	w.reaches(w.a, testHostA, testOnLinkHub)
	if pings(w.isp, testOnLinkISP, testHostA) {
		t.Fatal("reached without answers")
	}
	w.apply(w.proxying(testSiteA))
	w.reaches(w.isp, testOnLinkISP, testHostA)
	w.reaches(w.a, testHostA, testOnLinkISP)
	w.reaches(w.a, testHostA, testFarAddr)
	if pings(w.isp, testOnLinkISP, testHostB) {
		t.Error("the other site is reached without a lease there")
	}
	if got := w.isp.Run("ip", "-6", "neigh", "show", testHostA); !strings.Contains(got, w.mac("eth0")) || strings.Contains(got, "router") {
		t.Errorf("the provider's neighbor: %s", got)
	}
	before := w.proxyStats()
	w.box.WaitFor(3*time.Second, "all counted", func() bool {
		before = w.proxyStats()
		return before.Up && before.Answered > 0 && before.Dropped[whyNotOurs] > 0
	})
	// 1 s reachable, 1 s delay, then a question by unicast. Packets of UDP confirm nothing.
	w.isp.WaitFor(8*time.Second, "questions by unicast", func() bool {
		w.datagram(w.isp, testHostA)
		return w.proxyStats().Answered >= before.Answered+2
	})
	if got := w.isp.Run("ip", "-6", "neigh", "show", testHostA); !strings.Contains(got, w.mac("eth0")) {
		t.Errorf("the provider's neighbor, after questions: %s", got)
	}
	// Somebody takes an address of a site: it is not free.
	w.isp.Run("ip", "-6", "address", "add", testHostA+"/64", "dev", "eth0")
	w.isp.WaitFor(5*time.Second, "a duplicate", func() bool {
		return strings.Contains(w.isp.Run("ip", "-6", "address", "show", "dev", "eth0"), "dadfailed")
	})
	w.isp.Run("ip", "-6", "address", "del", testHostA+"/64", "dev", "eth0")
	w.restore()
	if got := w.plane.ProxyStats(); len(got) != 0 {
		t.Errorf("after Restore: %+v", got)
	}
	if got := w.box.Run("ip", "-d", "link", "show", "eth0"); !strings.Contains(got, "allmulti 0") {
		t.Errorf("still takes all multicast: %s", got)
	}
}

// datagram sends one to the discard port.
func (w *hubWorld) datagram(n *netlab.Node, to string) {
	w.t.Helper()
	if err := n.Do(func() error {
		c, err := net.Dial("udp6", "["+to+"]:9")
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte{0}) // refused, or unreachable: it was sent
		return c.Close()
	}); err != nil {
		w.t.Fatal(err)
	}
}

// A lease as long as the on-link prefix wins over the kernel's connected route, the hub's own address there stays its own, and
// errors of the provider's router reach the site.
func TestLeaseOfTheWholeOnLinkPrefix(t *testing.T) {
	w := newOnLinkWorld(t)
	const hub, isp = "2001:db8:ebbd:990a::2", "2001:db8:ebbd:990a::1"
	w.box.Run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
	w.box.Run("ip", "-6", "address", "add", hub+"/64", "dev", "eth0", "nodad")
	w.isp.Run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
	w.isp.Run("ip", "-6", "address", "add", isp+"/64", "dev", "eth0", "nodad")
	w.box.Run("ip", "-6", "route", "add", isp, "dev", "eth0")
	w.box.Run("ip", "-6", "route", "replace", "default", "via", isp)
	w.open()
	d := w.proxying(testSiteA)
	d.Hub.Pools, d.Hub.Taken = []netip.Prefix{netip.MustParsePrefix(testSiteA)}, []netip.Prefix{netip.MustParsePrefix(hub + "/128")}
	d.Routes = d.Routes[:1]
	w.apply(d)
	routes := w.box.Run("ip", "-6", "route", "show", testSiteA)
	if !strings.Contains(routes, "dev eth0 proto kernel metric 256") || !strings.Contains(routes, "dev oasis0 proto 66 metric 128") {
		t.Fatalf("routes to the prefix:\n%s", routes)
	}
	if got := w.box.Run("ip", "-6", "route", "get", testHostA); !strings.Contains(got, "dev oasis0") {
		t.Errorf("the lease does not win: %s", got)
	}
	w.reaches(w.isp, testFarAddr, testHostA)
	w.reaches(w.a, testHostA, testFarAddr)
	w.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
	w.reaches(w.isp, testFarAddr, hub)
	w.box.WaitFor(3*time.Second, "the hub's own address, left to the kernel", func() bool { return w.proxyStats().Dropped[whyOwn] > 0 })
	// An error from an address of the prefix.
	src, dst := netip.MustParseAddr(isp), netip.MustParseAddr(testHostA)
	seen := w.a.Start("tcpdump", "-nli", "eth0", "icmp6")
	w.a.WaitFor(5*time.Second, "tcpdump", func() bool {
		_ = pings(w.a, testHostA, testFarAddr)
		return strings.Contains(seen.Output(), testFarAddr)
	})
	w.isp.WaitFor(5*time.Second, "packet too big at the site", func() bool {
		inject(t, w.isp, "eth0", w.mac("eth0"), 1, func(int) []byte {
			b := append([]byte{2, 0, 0, 0, 0, 0, 5, 0}, echo(dst, netip.MustParseAddr(testFarAddr))...)
			return ip6pkt.ICMPv6(src, dst, 64, b)
		})
		return strings.Contains(seen.Output(), "packet too big")
	})
}

// The interface goes down and comes back, is unplugged, and is another of the same name.
func TestProxySurvivesTheInterface(t *testing.T) {
	w := newOnLinkWorld(t)
	w.open()
	d := w.proxying(testSiteA)
	w.apply(d)
	again := func(what string) {
		t.Helper()
		w.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
		t.Log(what)
		w.reaches(w.isp, testOnLinkISP, testHostA)
	}
	again("at first")
	w.box.Run("ip", "link", "set", "eth0", "down")
	w.box.WaitFor(5*time.Second, "it said so", func() bool { return !w.proxyStats().Up })
	w.box.Run("ip", "link", "set", "eth0", "up")
	w.onLink()
	again("down and up")
	w.Cut(w.isp, "eth0")
	w.Heal(w.isp, "eth0")
	w.isp.Addr("eth0", testOnLinkISP+"/56")
	again("no carrier")
	w.box.Run("ip", "link", "set", "eth0", "address", "00:00:5e:00:53:77")
	again("another MAC")
	w.box.Run("ip", "link", "del", "eth0")
	w.box.WaitFor(5*time.Second, "it said so", func() bool { return !w.proxyStats().Up })
	w.Wire(w.box, "eth0", w.isp, "eth0")
	w.onLink()
	w.isp.Addr("eth0", testOnLinkISP+"/56")
	again("another interface")
	if got := w.proxyStats(); !got.Up {
		t.Errorf("ProxyStats = %+v", got)
	}
}

// Leases come and go without a new socket.
func TestProxyFollowsTheLeases(t *testing.T) {
	w := newOnLinkWorld(t)
	w.open()
	w.apply(w.proxying(testSiteA))
	w.reaches(w.isp, testOnLinkISP, testHostA)
	socket := func() (f *os.File) {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		return w.plane.proxies.list["eth0"].f
	}
	before, answered := socket(), w.proxyStats().Answered
	w.apply(w.proxying(testSiteA, testSiteB))
	w.reaches(w.isp, testOnLinkISP, testHostB)
	w.apply(w.proxying(testSiteB))
	w.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
	if pings(w.isp, testOnLinkISP, testHostA) {
		t.Error("reached without a lease")
	}
	if socket() != before || w.proxyStats().Answered <= answered {
		t.Errorf("another socket, or nothing counted: %+v", w.proxyStats())
	}
	d := w.proxying()
	d.Proxy[0].Iface = "oasis9"
	w.apply(d) // not there: no error
	d.Proxy[0].Iface = "lo"
	if err := w.plane.Apply(t.Context(), d); err == nil || !strings.Contains(err.Error(), "lo: neighbor solicitations for sites: the interface has no MAC") {
		t.Errorf("Apply on lo = %v", err)
	}
}

// What is wrong on the wire is counted and not answered, and a flood costs the router nothing.
func TestProxyUnderAttack(t *testing.T) {
	w := newOnLinkWorld(t)
	w.open()
	w.apply(w.proxying(testSiteA))
	w.reaches(w.isp, testOnLinkISP, testHostA)
	router, target := netip.MustParseAddr("fe80::9"), netip.MustParseAddr(testHostA)
	bad := func(hop byte) []byte {
		pkt := nsPacket(router, ip6pkt.SolicitedNode(target), target, nil)
		pkt[7] = hop
		return pkt
	}
	w.box.WaitFor(3*time.Second, "a first answer", func() bool { return w.proxyStats().Answered > 0 })
	before := w.proxyStats()
	for why, pkt := range map[string][]byte{
		errHopLimit.Error():  bad(64),
		errChecksum.Error():  append(bad(255)[:63], 0x55),
		errMalformed.Error(): nsPacket(router, target, target, []byte{1, 0, 0, 0, 0, 0, 0, 0}),
		errSource.Error():    nsPacket(netip.IPv6Unspecified(), target, target, nil),
		whyNotOurs:           nsPacket(router, target, netip.MustParseAddr(testHostB), nil),
	} {
		n := w.proxyStats().Dropped[why]
		inject(t, w.isp, "eth0", w.mac("eth0"), 3, func(int) []byte { return pkt })
		w.box.WaitFor(3*time.Second, "counted: "+why, func() bool { return w.proxyStats().Dropped[why] >= n+3 })
	}
	if after := w.proxyStats(); after.Answered != before.Answered {
		t.Errorf("answered: %+v", after)
	}
	dad := nsPacket(netip.IPv6Unspecified(), ip6pkt.SolicitedNode(target), target, nil)
	inject(t, w.isp, "eth0", w.mac("eth0"), 500, func(int) []byte { return dad })
	w.box.WaitFor(3*time.Second, "a flood to be limited", func() bool { return w.proxyStats().Dropped[whyRate] > 400 })
	w.isp.Run("ip", "-6", "neigh", "flush", "dev", "eth0")
	w.reaches(w.isp, testOnLinkISP, testHostA)
}

// Each neighbor has a measure of its own, and there is an end to how many have.
func TestProxyMeasures(t *testing.T) {
	var l limits
	now := time.Unix(1, 0)
	mac := func(i int) [6]byte { return [6]byte{0, 0, 0x5e, 0, byte(i >> 8), byte(i)} }
	took := func(i int, n int) (k int) {
		for range n {
			if l.take(now, mac(i), false) {
				k++
			}
		}
		return k
	}
	if got := took(0, 2*answerBurst); got != answerBurst {
		t.Errorf("%d at once, want %d", got, answerBurst)
	}
	if got := took(1, 1); got != 1 {
		t.Error("a flood from one is another's loss")
	}
	now = now.Add(time.Second)
	if got := took(0, answerBurst); got != 2000 {
		t.Errorf("%d in a second, want 2000", got)
	}
	for i := range 1000 {
		took(i, 1)
	}
	if len(l.by) != maxSolicitors {
		t.Errorf("%d measures, want %d", len(l.by), maxSolicitors)
	}
	if a, b := took(2000, answerBurst), took(2001, answerBurst); a+b > answerBurst {
		t.Errorf("%d answers of the shared measure", a+b)
	}
	now = now.Add(solicitorTime)
	took(3000, 1)
	if len(l.by) != 1 || l.by[mac(3000)] == nil {
		t.Errorf("silent ones are not forgotten: %d", len(l.by))
	}
	for i, want := range []bool{true, false} {
		n := 0
		for range dadAnswerBurst {
			if l.take(now, mac(i), true) {
				n++
			}
		}
		if (n == dadAnswerBurst) != want {
			t.Errorf("answers to all nodes: %d", n)
		}
	}
}
