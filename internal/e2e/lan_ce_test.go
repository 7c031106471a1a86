// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"oasis6/internal/netlab"
)

// RFC 7084 G-3: "MUST NOT forward any IPv6 traffic between its LAN interface(s) and its WAN interface until the router has
// successfully completed the IPv6 address and delegated prefix acquisition process". The tunnel is up and the hub routes, and still.
func TestRFC7084_G3_NothingBeforeThePrefix(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{NoDHCPv6: true})
	b.StartR2()
	b.start()
	b.waitSummary("starting: tunnel is up", "")
	const own = "2001:db8:ebbd:9900::77"
	b.H1.Addr("eth0", own+"/64")
	b.H1.Run("ip", "-6", "route", "add", "default", "via", b.routerOnLAN().String(), "dev", "eth0")
	at := b.WWW.WatchIPv6("eth1")
	if err := b.H1.Ping(netlab.WWWv6); err == nil {
		t.Error("h1 gets an answer before there is a prefix")
	}
	if err := b.WWW.Ping(own); err == nil {
		t.Error("www reaches h1 before there is a prefix")
	}
	if n := at.From(netip.MustParsePrefix(own + "/128")); n > 0 {
		t.Errorf("%d packets of h1 reached www", n)
	}
}

// CE 2.7.6, RFC 7084 L-14: a source from a prefix that the box never had is answered with code 5.
func TestCE_2_7_06_UnknownPrefix(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	refused := b.refusesSources(b.H1)
	b.H1.Addr("eth0", "2001:db8:77::7/64")
	out, err := b.H1.Try("ping", "-n", "-c1", "-W2", "-I", "2001:db8:77::7", netlab.WWWv6)
	if err == nil {
		t.Errorf("www answers a source that is not ours: %s", out)
	}
	if !netlab.Poll(soon, refused) {
		t.Errorf("nothing was refused with code 5:\n%s %v", out, err)
	}
}

// CE 3.2.2: the default route is lost: what hosts still send is refused with an error instead of vanishing in a dead tunnel.
func TestCE_3_2_02_LostDefaultRoute(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	b.up()
	router := b.HostDefaultRoute(b.H1)
	b.CutTunnel()
	b.waitSummaryFor(2*enough, "down: ", "")
	b.H1.Run("ip", "-6", "route", "add", "default", "via", router.String(), "dev", "eth0") // a host that does not obey
	out, _ := b.H1.Try("ping", "-n", "-c2", "-W2", netlab.WWWv6)
	if !strings.Contains(out, "No route") {
		t.Errorf("ping into a dead tunnel says %q, want Destination unreachable: No route", out)
	}
	b.HealTunnel()
	b.waitOnline(b.H1)
}

// CE 3.2.3: a packet for a subnet that no LAN has comes out of the tunnel once, is answered once, and never goes back into it.
func TestCE_3_2_03_NoForwardingLoop(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{DelegatedLen: 56})
	b.up()
	here, back := b.outOfTunnel(), b.R2.WatchIPv6("wg0") // each sees what comes in
	const nobody, pings = "2001:db8:ebbd:9977::1", 3     // errors are rate limited: one of them may stay unanswered
	if out, err := b.WWW.Try("ping", "-n", "-c", strconv.Itoa(pings), "-W2", nobody); err == nil || !strings.Contains(out, "nreachable") {
		t.Errorf("ping to a subnet of nobody: %v, %s, want Destination unreachable", err, out)
	}
	to := netip.MustParseAddr(nobody)
	toNobody := func(p netlab.Packet) bool { return p.Dst == to }
	netlab.Poll(soon, func() bool { return here(toNobody) >= pings }) // ping may end before it is seen what it sent
	if in, out := here(toNobody), back.Count(toNobody); in == 0 || in > pings || out != 0 {
		t.Errorf("%d packets came out of the tunnel %d times and went back %d times, want once each and never", pings, in, out)
	}
}
