// SPDX-License-Identifier: MIT

package e2e

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"oasis6/internal/netlab"
	"oasis6/status"
)

// onlineBehind says whether h3 has an address of R3's prefix, which is in the pool, and reaches www with it.
func (b *box) onlineBehind(d *netlab.Downstream, pool netip.Prefix) bool {
	b.Helper()
	p := d.Prefix()
	if !p.IsValid() || !pool.Contains(p.Addr()) || !b.HostHasGUA(b.H3, p) {
		return false
	}
	body, err := b.H3.Fetch(netlab.WWWv6)
	return err == nil && strings.HasPrefix(body, netlab.WWWText) &&
		slices.ContainsFunc(b.H3.GUAs("eth0"), func(a netip.Addr) bool { return p.Contains(a) && strings.Contains(body, "["+a.String()+"]") })
}

// A router behind the LAN takes a prefix from the box and serves a LAN of its own, which reaches the IPv6 Internet.
func TestRouterBehindTheLAN(t *testing.T) {
	t.Parallel()
	for _, length := range []int{60, 56} {
		t.Run(netip.PrefixFrom(delegated.Addr(), length).String(), func(t *testing.T) { routerBehindTheLAN(t, length) })
	}
}

func routerBehindTheLAN(t *testing.T, length int) {
	b := newBox(t, netlab.WorldConfig{Downstream: true, DelegatedLen: length, Renew: 10 * time.Second})
	b.WriteBoxConfig(b.BoxConfig("Delegate = yes"))
	b.up()
	d := b.StartDownstream(64)
	begin := time.Now()
	if !netlab.Poll(2*enough, func() bool { return b.onlineBehind(d, delegated) }) {
		t.Fatalf("h3 is not online: R3 has %s, h3 %v\n%s", d.Prefix(), b.H3.GUAs("eth0"), b.text())
	}
	t.Logf("h3 is online %v after R3's start", time.Since(begin).Round(100*time.Millisecond))
	p := d.Prefix()
	if !b.bound("IA_PD", p.Addr()) {
		t.Errorf("status has no binding of %s: %+v", p, b.status().LANs[0].DHCPv6)
	}
	if b.Config.Userspace {
		// the route is not the kernel's: that packets take it is seen
	} else if route, via := b.R1.Run("ip", "-6", "route", "show", "to", "match", p.Addr().String(), "dev", "br-lan"), b.R3.LinkLocals("eth0"); !strings.Contains(route, "via "+via[0].String()) {
		t.Errorf("route to %s: %q, want via %s", p, route, via[0])
	}
	b.wantSourceChecks(d)

	begin = time.Now()
	ras := b.H1.WatchRA("eth0")
	b.KeaRenumber(otherPool)
	fresh, err := ras.First(enough, func(r netlab.RA) bool { return r.Prefix(otherPool) != nil })
	if err != nil {
		t.Fatalf("RA with the new pool: %v\n%s", err, b.text())
	}
	if !netlab.Poll(2*time.Minute, func() bool { return b.onlineBehind(d, otherPool) }) {
		t.Fatalf("h3 is not online after the renumbering: R3 has %s, h3 %v\n%s\n%s", d.Prefix(), b.H3.GUAs("eth0"), b.text(), d.DHCPcd.Output())
	}
	t.Logf("h3 is online %v after the box had the new prefix, %v after the hub had it",
		time.Since(fresh.At).Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond))
	if b.bound("IA_PD", p.Addr()) {
		t.Errorf("status still has a binding of %s that is not stale", p)
	}
	if !b.bound("IA_PD", d.Prefix().Addr()) {
		t.Errorf("status has no binding of %s", d.Prefix())
	}
	after := time.Now()
	b.proc.Kill()
	b.start()
	if !netlab.Poll(enough, func() bool { return b.onlineBehind(d, otherPool) }) || !b.bound("IA_PD", d.Prefix().Addr()) {
		t.Errorf("h3 is not online, or the binding is lost, after kill -9\n%s", b.text())
	}
	t.Logf("h3 is online %v after kill -9 and start", time.Since(after).Round(100*time.Millisecond))
}

// wantSourceChecks sends from R3 and h1 with sources that are not theirs: nothing of it may reach www.
func (b *box) wantSourceChecks(d *netlab.Downstream) {
	b.Helper()
	seen := b.WWW.WatchIPv6("eth1")
	nobodys := b.unassigned(d)
	spoofs := []struct {
		what string
		from *netlab.Node
		src  netip.Addr
	}{
		{"R3 with a source of the delegation that is nobody's", b.R3, nobodys},
		{"h1 with a source of R3's prefix", b.H1, d.Prefix().Addr().Next().Next()},
		{"R3 with a source of elsewhere", b.R3, netip.MustParseAddr("2001:db8:bad::1")},
	}
	for _, s := range spoofs {
		b.spoof(s.from, "eth0", s.src)
	}
	own := d.Prefix().Addr().Next()
	_, err := b.R3.Try("ping", "-n", "-c1", "-W2", "-I", own.String(), netlab.WWWv6)
	// What was sent before it has been seen by then, or never will be.
	if !netlab.Poll(soon, func() bool { return seen.From(netip.PrefixFrom(own, 128)) > 0 }) || err != nil {
		b.Errorf("R3 with its own source %s: %v", own, err)
	}
	for _, s := range spoofs {
		if n := seen.From(netip.PrefixFrom(s.src, 128)); n > 0 {
			b.Errorf("%s, %s: %d packets reached www", s.what, s.src, n)
		}
	}
}

// unassigned is an address of the delegation in a /64 that is neither a LAN's nor R3's.
func (b *box) unassigned(d *netlab.Downstream) netip.Addr {
	b.Helper()
	used := []netip.Prefix{d.Prefix()}
	for _, l := range b.status().LANs {
		for _, p := range l.Prefixes {
			used = append(used, netip.MustParsePrefix(p.Prefix))
		}
	}
	a := b.Delegated().Addr().As16()
	for a[7] |= 0xf; ; a[7]-- {
		p := netip.PrefixFrom(netip.AddrFrom16(a), 64)
		if !slices.Contains(used, p) {
			return p.Addr().Next()
		}
	}
}

// spoof pings www three times from a source that a node takes for itself.
func (b *box) spoof(n *netlab.Node, iface string, src netip.Addr) {
	b.Helper()
	n.Addr(iface, src.String()+"/128")
	if out, err := n.Try("ping", "-n", "-c3", "-i0.2", "-W1", "-I", src.String(), netlab.WWWv6); err == nil {
		b.Errorf("%s gets answers as %s:\n%s", n.Name, src, out)
	}
	n.Run("ip", "-6", "addr", "del", src.String()+"/128", "dev", iface)
}

var expires = regexp.MustCompile(` expires -?\d+sec`)

// routes are all routes of the box, without what counts down.
func (b *box) routes() string {
	b.Helper()
	return expires.ReplaceAllString(b.R1.Run("ip", "-6", "route", "show", "table", "all"), "")
}

// Another router on the LAN, which contradicts us (RFC 4861 section 6.2.7): it is named at once, and followed in nothing.
func TestSecondRouterOnTheLAN(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	other := b.Node("other")
	b.PlugIntoLAN(other)
	b.up()
	// An address in duplicate address detection has no route yet.
	b.R1.WaitFor(enough, "addresses still in DAD", func() bool { return b.R1.Run("ip", "-6", "-o", "addr", "show", "tentative") == "" })
	before := b.routes()
	ras := b.H1.WatchRA("eth0")
	other.Forward()
	other.WaitFor(enough, "no link-local address past DAD", func() bool { return len(other.LinkLocals("eth0")) > 0 })
	addr := other.LinkLocals("eth0")[0]
	other.StartRadvd("eth0", "\tAdvLinkMTU 1400;", "\tAdvManagedFlag on;", "\tAdvDefaultLifetime 600;", "\tprefix 2001:db8:ebbd:7700::/64 { };")
	first, err := ras.First(enough, func(r netlab.RA) bool { return r.Src == addr })
	if err != nil {
		t.Fatalf("RA of the other router: %v", err)
	}
	var found status.LANRouter
	if !netlab.Poll(soon, func() bool {
		for _, r := range b.status().LANs[0].Routers {
			if r.Address == addr.String() {
				found = r
				return true
			}
		}
		return false
	}) {
		t.Fatalf("status does not name %s: %+v", addr, b.status().LANs[0].Routers)
	}
	t.Logf("named %v after its first RA", time.Since(first.At).Round(10*time.Millisecond))
	said := strings.Join(found.Conflicts, "; ")
	if found.MAC != other.MAC("eth0").String() || found.RouterLifetimeS < 500 || !slices.Contains(found.Prefixes, "2001:db8:ebbd:7700::/64") ||
		!strings.Contains(said, "MTU") || !strings.Contains(said, "M flag") && !strings.Contains(said, "managed") {
		t.Errorf("status says %+v, want its MAC, lifetime, prefix, and the MTU and M flag as conflicts", found)
	}
	if after := b.routes(); after != before {
		t.Errorf("an RA on the LAN changed the box's routes:\n%s", netlab.Diff(before, after))
	}
	for _, a := range b.R1.GUAs("br-lan") {
		if netip.MustParsePrefix("2001:db8:ebbd:7700::/64").Contains(a) {
			t.Errorf("the box gave itself %s", a)
		}
	}
	if !netlab.Poll(soon, func() bool { return b.ownIPv6() == nil }) {
		t.Errorf("the box itself has no IPv6: %v", b.ownIPv6())
	}
}

// A node that sends RAs from the box's own link-local address, as a second box with a copied state would: the status
// says who.
func TestSomebodyUsesOurLinkLocal(t *testing.T) {
	b := newBox(t, netlab.WorldConfig{})
	ras := b.H1.WatchRA("eth0")
	b.up()
	own := ras.All()[0].Src
	mac := b.H2.MAC("eth0")
	msg, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{CurrentHopLimit: 64, RouterLifetime: 30 * time.Minute, Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}, &ndp.MTU{MTU: 1280}}})
	if err != nil {
		t.Fatal(err)
	}
	b.R1.WaitFor(enough, "no address of br-lan is tentative: with the last comes a route", func() bool {
		return b.R1.Run("ip", "-6", "addr", "show", "dev", "br-lan", "tentative") == ""
	})
	before := b.routes()
	said := func() bool {
		for _, p := range b.status().Problems {
			if strings.Contains(p, "link-local") && strings.Contains(p, mac.String()) {
				return true
			}
		}
		return false
	}
	if !netlab.Poll(enough, func() bool {
		b.H2.SendICMPv6("eth0", own, netip.MustParseAddr("ff02::1"), msg)
		return said()
	}) {
		t.Errorf("no problem names %s as a sender with our link-local address %s: %q", mac, own, b.status().Problems)
	}
	if after := b.routes(); after != before {
		t.Errorf("that RA changed the box's routes:\n%s", netlab.Diff(before, after))
	}
}
