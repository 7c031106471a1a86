// SPDX-License-Identifier: MIT

package forward

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"oasis6/dataplane"
	"oasis6/internal/ip6pkt"
)

// A delegated prefix is its router's alone, also among the nodes of one LAN; a router with a new MAC is not cut off.
func TestRFC8987_ADelegationIsItsRoutersAlone(t *testing.T) {
	const another = "drop: a router's source by another node, RFC 8987"
	w := newWorld(t, aSite())
	pkt := func() []byte { return udp(routedHost, farHost) }
	w.wants(w.by(lan, otherMAC, pkt()), out) // nobody has heard the router yet
	w.f.Neighbor(w.now, guest, ip(routerAddr), otherMAC)
	w.wants(w.by(lan, otherMAC, pkt()), out) // it is not that one
	w.f.Neighbor(w.now, lan, ip(routerAddr), routerMAC)
	w.wants(w.by(lan, otherMAC, pkt()), another)
	w.wants(w.by(lan, routerMAC, pkt()), out)
	w.wants(w.by(lan, otherMAC, udp(routedHost, lanBox)), another)
	w.wants(w.by(lan, otherMAC, udp(lanHost, farHost)), out)
	w.set(aSite()) // the MAC is known from before
	w.wants(w.by(lan, otherMAC, pkt()), another)
	w.f.Neighbor(w.now, lan, ip(routerAddr).WithZone("br-lan"), otherMAC)
	w.wants(w.by(lan, routerMAC, pkt()), another)
	w.wants(w.by(lan, otherMAC, pkt()), out)
	d := aSite()
	d.Routes = d.Routes[:3]
	w.set(d)
	w.set(aSite())
	w.wants(w.by(lan, routerMAC, pkt()), out) // forgotten with the route
}

// What a router sends back to us of its own prefix does not go to it again; other nodes of the LAN reach it by us.
func TestRFC8987_NoLoopWithTheRouter(t *testing.T) {
	w := newWorld(t, aSite())
	w.f.Neighbor(w.now, lan, ip(routerAddr), routerMAC)
	pkt := func() []byte { return udp(farHost, "2001:db8:ebbd:9915::99") }
	v := w.by(lan, routerMAC, pkt())
	w.wants(v, "answer 1/6: a router's own prefix would go back to it, RFC 8987")
	if v.MAC != routerMAC {
		t.Errorf("the answer goes to %x", v.MAC)
	}
	w.answers(echo(farHost, "2001:db8:ebbd:9915::99"), in+" via "+routerAddr)
	w.wants(w.by(lan, hostMAC, udp(lanHost, routedHost)), in+" via "+routerAddr+" and a redirect")
}

// Prefixes of routers inside each other, and more of them than are checked.
func TestRFC8987_PrefixesInsideEachOther(t *testing.T) {
	d := aSite()
	add := func(prefix, via string) {
		p := netip.MustParsePrefix(prefix)
		d.Firewall.Sources[0].Routed = append(d.Firewall.Sources[0].Routed, p)
		d.Routes = append(d.Routes, dataplane.Route{Dst: p, Via: ip(via), Iface: "br-lan"})
	}
	add("2001:db8:ebbd:9918::/62", "fe80::11") // in routed
	w := newWorld(t, d)
	w.f.Neighbor(w.now, lan, ip(routerAddr), routerMAC)
	w.f.Neighbor(w.now, lan, ip("fe80::11"), otherMAC)
	for mac, want := range map[[6]byte]string{
		routerMAC: out, otherMAC: out, hostMAC: "drop: a router's source by another node, RFC 8987",
	} {
		w.wants(w.by(lan, mac, udp("2001:db8:ebbd:9918::1", farHost)), want)
	}
	w.wants(w.by(lan, otherMAC, udp(routedHost, farHost)), "drop: a router's source by another node, RFC 8987")
	for i := range 2 * maxRouters {
		add(fmt.Sprintf("2001:db8:ebbe:%x::/64", i), "fe80::11")
	}
	if n := len(Compile(d, links()).routers); n != maxRouters {
		t.Errorf("%d routers are checked, want %d", n, maxRouters)
	}
}

// "A router SHOULD send a redirect message, subject to rate limiting, whenever it forwards a packet that is not explicitly
// addressed to itself" to a neighbor that has a better first hop (RFC 4861 section 8.2).
func TestRFC4861_8_2_Redirect(t *testing.T) {
	w := newWorld(t, aSite())
	w.f.Neighbor(w.now, lan, ip(routerAddr), routerMAC)
	pkt := udp(lanHost, routedHost)
	before := bytes.Clone(pkt)
	v := w.from(lan, pkt)
	w.wants(v, in+" via "+routerAddr+" and a redirect")
	m, err := ip6pkt.ParseICMPv6(v.Redirect)
	if err != nil || m.Src != ip(lanLL) || m.Dst != ip(lanHost) || m.HopLimit != 255 || v.MAC != hostMAC {
		t.Fatalf("redirect %+v to %x, %v", m, v.MAC, err)
	}
	target, dst := ip(routerAddr).As16(), ip(routedHost).As16()
	want := append([]byte{137, 0, m.Body[2], m.Body[3], 0, 0, 0, 0}, target[:]...)
	want = append(append(want, dst[:]...), 2, 1)
	want = append(append(want, routerMAC[:]...), 4, byte(1+len(before)/8), 0, 0, 0, 0, 0, 0)
	if want = append(want, before[:len(before)&^7]...); !bytes.Equal(m.Body, want) {
		t.Errorf("redirect\n% x, want\n% x", m.Body, want)
	}
	w.wants(w.from(lan, udp(lanHost, routedHost)), in+" via "+routerAddr) // a host that does not listen is told again later
	w.after(1000000000).wants(w.from(lan, udp(lanHost, routedHost)), in+" via "+routerAddr+" and a redirect")

	// The destination itself is the better first hop; its MAC is the host's to find.
	v = w.from(lan, big(lanHost, lanNobody, 1500))
	w.wants(v, in+" and a redirect")
	m, err = ip6pkt.ParseICMPv6(v.Redirect)
	if err != nil || !bytes.Equal(m.Body[8:24], m.Body[24:40]) || m.Body[40] != optRedirectedHeader || len(v.Redirect) > minMTU || len(v.Redirect) < minMTU-8 {
		t.Errorf("redirect to the destination: %d octets % x, %v", len(v.Redirect), m.Body, err)
	}
	w.wants(w.by(lan, routerMAC, udp(routedHost, lanHost)), in) // its source is no neighbor
	run(t, aSite(), []ruleCase{
		{lan, udp(staleHost, lanHost), in + " and a redirect"},  // but this one is
		{lan, udp(lanHost, guestHost), "forward br-guest"},      // another link
		{guest, udp(guestHost, lanHost), in},                    // another link
		{lan, udp(foreign, lanHost), in},                        // from anywhere
		{lan, parts(big(lanHost, lanNobody, 1300), 640)[1], in}, // once is enough
		{lan, parts(big(lanHost, lanNobody, 1300), 640)[0], in + " and a redirect"},
	})
}
