// SPDX-License-Identifier: MIT

package kernel

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/netlab"
)

const (
	testSite      = "2001:db8:ebbd:9900::/56"
	testGuest     = "2001:db8:ebbd:990b::/64"
	testGuestHost = "2001:db8:ebbd:990b::20"
	testRouted    = "2001:db8:ebbd:9910::/60" // of a router on br-lan
	testLocal     = "fd00:db8:1::/48"
	testLocalHost = "fd00:db8:1:a::10" // h1
	testLocalBox  = "fd00:db8:1:a::1"
)

// site is a box with two LANs, a router behind the first, and local addresses.
func (w *world) site() dataplane.Desired {
	pfx := netip.MustParsePrefix
	d := w.desired()
	d.LANs = append(d.LANs, "br-guest")
	for _, a := range []string{testLocalBox + "/64", "2001:db8:ebbd:990b::1/64"} {
		iface := "br-lan"
		if strings.Contains(a, "990b") {
			iface = "br-guest"
		}
		d.Addresses = append(d.Addresses, dataplane.Address{Iface: iface, Prefix: pfx(a), NoDAD: true})
	}
	d.Routes = append(d.Routes, dataplane.Route{Dst: pfx("::/0"), From: pfx(testSite), Iface: "oasis0"},
		dataplane.Route{Dst: pfx(testRouted), Via: netip.MustParseAddr("fe80::10"), Iface: "br-lan"})
	d.Firewall = dataplane.Firewall{
		Tunnel: "oasis0", LANs: d.LANs, Delegations: []netip.Prefix{pfx(testSite)}, Local: []netip.Prefix{pfx(testLocal)},
		Sources: []dataplane.LANSources{
			{Iface: "br-lan", OnLink: []netip.Prefix{pfx(testDelegation), pfx("fd00:db8:1:a::/64")}, Routed: []netip.Prefix{pfx(testRouted)}},
			{Iface: "br-guest", OnLink: []netip.Prefix{pfx(testGuest)}},
		},
	}
	return d
}

// newSite is a world with a host on the guest LAN.
func newSite(t *testing.T) (w *world, guest *netlab.Node) {
	t.Helper()
	w = newWorld(t)
	guest = w.Node("guest")
	w.Wire(w.box, "eth2", guest, "eth0")
	w.box.Run("ip", "link", "add", "br-guest", "type", "bridge")
	w.box.Run("ip", "link", "set", "eth2", "master", "br-guest")
	w.box.Run("ip", "link", "set", "br-guest", "up")
	guest.Run("ip", "-6", "address", "add", testGuestHost+"/64", "dev", "eth0", "nodad")
	guest.Run("ip", "-6", "route", "add", "default", "via", "2001:db8:ebbd:990b::1")
	w.h1.Run("ip", "-6", "address", "add", testLocalHost+"/64", "dev", "eth0", "nodad")
	w.h1.Run("ip", "-6", "route", "add", "fd00:db8:1::/48", "via", testLocalBox)
	w.far.Run("ip", "-6", "route", "add", "fd00::/8", "dev", "oasis0")
	w.open()
	return w, guest
}

// counted waits until a rule has counted something.
func (w *world) counted(rule string, try func()) {
	w.t.Helper()
	w.box.WaitFor(6*time.Second, "a packet counted by: "+rule, func() bool {
		try()
		got := w.counter(rule)
		return !strings.Contains(got, "packets 0 ") && !strings.HasPrefix(got, "no rule")
	})
}

// A host on one LAN cannot send with an address of another LAN, of a router, or of nobody: not to the outside, not to
// another LAN, not to the box. What is behind its own LAN passes.
func TestRFC7084_S2_NoLANUsesAnothersPrefix(t *testing.T) {
	w, guest := newSite(t)
	w.apply(w.site())
	w.far.Run("ip", "-6", "neigh", "replace", "2001:db8:ebbd:9910::1", "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.far.Run("ip", "-6", "neigh", "replace", testGuestHost, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.h1.Run("ip", "-6", "address", "add", "fe80::10/64", "dev", "eth0", "nodad")
	w.h1.Run("ip", "-6", "address", "add", "2001:db8:ebbd:9910::1/128", "dev", "lo", "nodad")
	ping := func(n *netlab.Node, from, to string) bool {
		_, err := n.Try("ping", "-c1", "-W1", "-I", from, to)
		return err == nil
	}
	for name, from := range map[string]string{"own": testHostAddr, "routed": "2001:db8:ebbd:9910::1"} {
		w.h1.WaitFor(6*time.Second, name+" source to the far end", func() bool { return ping(w.h1, from, testFarAddr) })
		w.h1.WaitFor(6*time.Second, name+" source to the guest", func() bool { return ping(w.h1, from, testGuestHost) })
	}
	seen := w.far.Start("tcpdump", "-nli", "oasis0", "-Q", "in", "icmp6")
	w.far.WaitFor(5*time.Second, "tcpdump", func() bool {
		_ = ping(guest, testGuestHost, testFarAddr)
		return strings.Contains(seen.Output(), testGuestHost)
	})
	forged := []string{testHostAddr, "2001:db8:ebbd:9910::1", "2001:db8:ebbd:99ff::1", testLocalHost}
	for _, from := range forged {
		guest.Run("ip", "-6", "address", "add", from+"/128", "dev", "lo", "nodad")
		for _, to := range []string{testFarAddr, testHostAddr, testBox} {
			if from == to {
				continue
			}
			before := w.counters("another's source")
			w.box.WaitFor(6*time.Second, from+" to "+to+" counted", func() bool {
				_, _ = guest.Try("ping", "-c1", "-W0.1", "-I", from, to)
				return w.counters("another's source") != before
			})
		}
		guest.Run("ip", "-6", "address", "del", from+"/128", "dev", "lo")
	}
	for _, from := range forged {
		if strings.Contains(seen.Output(), from+" >") {
			t.Errorf("%s of the guest LAN left by the tunnel", from)
		}
	}
	if !ping(guest, testGuestHost, testFarAddr) {
		t.Error("the guest's own source does not pass any more")
	}
}

// counters are all lines of a kind.
func (w *world) counters(rule string) (out string) {
	for _, l := range strings.Split(w.box.Run("nft", "list", "table", "ip6", tableName), "\n") {
		if strings.Contains(l, rule) {
			out += l + "\n"
		}
	}
	return out
}

// "By DEFAULT, an IPv6 CE router MUST act as a site border router according to Section 4.3 of [RFC4193] and filter
// packets with local IPv6 source or destination addresses accordingly." (RFC 7084 ULA-4)
func TestRFC7084_ULA4_LocalAddressesStayInside(t *testing.T) {
	w, guest := newSite(t)
	w.nativeWAN(testLocalHost, testLocalBox)
	d := w.site()
	d.Firewall.Open = true // it is not the closed firewall that does it
	// The LAN's own default leads out for local sources too.
	d.Routes = append(d.Routes, dataplane.Route{Dst: netip.MustParsePrefix("::/0"), From: netip.MustParsePrefix("fd00::/8"), Iface: "oasis0"})
	w.apply(d)
	try := func(n *netlab.Node, args ...string) func() {
		return func() { _, _ = n.Try(append([]string{"ping", "-c1", "-W1"}, args...)...) }
	}
	// Inside, between LANs too, local addresses are free.
	guest.WaitFor(6*time.Second, "LAN to LAN", func() bool {
		_, err := guest.Try("ping", "-c1", "-W1", testLocalHost)
		return err == nil
	})
	w.h1.WaitFor(6*time.Second, "LAN to box", func() bool {
		_, err := w.h1.Try("ping", "-c1", "-W1", "-I", testLocalHost, testLocalBox)
		return err == nil
	})
	if _, err := w.box.Try("ping", "-c1", "-W1", "-I", testLocalBox, testLocalBox); err != nil {
		t.Error("the box does not reach its own local address")
	}
	seen := w.far.Start("tcpdump", "-nli", "oasis0", "-Q", "in", "icmp6")
	w.far.WaitFor(5*time.Second, "tcpdump", func() bool {
		try(w.h1, "-I", testHostAddr, testFarAddr)()
		return strings.Contains(seen.Output(), testHostAddr)
	})
	if got := w.code(w.h1, testLocalHost); got != icmpPolicyFail {
		t.Errorf("from a local source: code %d, want %d", got, icmpPolicyFail)
	}
	w.counted("local source, not outside", try(w.h1, "-I", testLocalHost, testFarAddr))
	// An address of the site that no LAN has: its route leads out.
	w.h1.Run("ip", "-6", "route", "add", "fd00:db8:1:ff::/64", "via", "2001:db8:ebbd:990a::1")
	w.counted("to a local prefix, not outside", try(w.h1, "-I", testHostAddr, "fd00:db8:1:ff::1"))
	w.counted("own local source, not outside", try(w.box, "-I", testLocalBox, testFarAddr))
	if out := seen.Output(); strings.Contains(out, "fd00:") {
		t.Errorf("left by the tunnel:\n%s", out)
	}
	// From outside.
	w.far.Run("ip", "-6", "neigh", "replace", testLocalHost, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.far.Run("ip", "-6", "neigh", "replace", testLocalBox, "lladdr", w.mac("oasis0"), "dev", "oasis0")
	w.counted("to a local prefix from outside", try(w.far, "-I", testFarAddr, testLocalHost))
	w.far.Run("ip", "-6", "address", "add", "fd00:db8:1:a::66/128", "dev", "lo", "nodad")
	w.counted("local source from outside", try(w.far, "-I", "fd00:db8:1:a::66", testHostAddr))
	for _, l := range []string{testLocalHost, testLocalBox} {
		if got := w.byWAN(l); !strings.Contains(got, "packets 0 ") {
			t.Errorf("left by the WAN: %s", got)
		}
	}
}
