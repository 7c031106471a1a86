// SPDX-License-Identifier: MIT

package forward

import (
	"testing"

	"oasis6/dataplane"
)

// The hub of dataplane/kernel's tests.
const (
	pool    = "2001:db8:ebbd:9900::/56"
	siteA   = "2001:db8:ebbd:990a::10"
	siteB   = "2001:db8:ebbd:990b::10"
	ofHub   = "2001:db8:ebbd:99ff::1"
	hubAddr = "2001:db8:1::2"
	noSite  = "2001:db8:2::66"
)

func aHub() dataplane.Desired {
	return dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		Routes: []dataplane.Route{
			{Dst: pfx("2001:db8:ebbd:990a::/64")[0], Iface: "oasis0", Metric: 128},
			{Dst: pfx("2001:db8:ebbd:990b::/64")[0], Iface: "oasis0", Metric: 128},
			{Kind: dataplane.Unreachable, Dst: pfx(pool)[0]},
			{Dst: pfx("::/0")[0], Via: ip("2001:db8:1::1"), Iface: "eth0"},
		},
		Forward: true,
		Hub:     dataplane.HubFirewall{Tunnel: "oasis0", Open: true, Pools: pfx(pool), Taken: pfx(ofHub + "/128")},
	}
}

const (
	up   = "forward eth0 via 2001:db8:1::1"
	down = "forward oasis0"
)

// What leaves the tunnel is of a site, and a site's source has one way.
func TestHubSourcesHaveOneWay(t *testing.T) {
	d := aHub()
	d.Hub.SiteToSite = true // it is not that which does it
	run(t, d, []ruleCase{
		{tunnel, udp(siteA, farHost), up},
		{tunnel, udp(siteA, siteB), down},
		{wan, udp(farHost, siteA), down},
		{tunnel, udp(noSite, farHost), "drop: source of no site"},
		{tunnel, udp(noSite, siteB), "drop: source of no site"},
		{tunnel, udp(ofHub, farHost), "drop: source that no site has"},
		{wan, udp(siteA, siteB), "drop: a site's source by another way, forged"},
		{wan, udp(siteA, hubAddr), "drop: a site's source by another way, forged"},
		{wan, udp(ofHub, siteB), down},
		{wan, udp(ofHub, hubAddr), "local"},
		{tunnel, tcp(siteA, hubAddr, tcpSYN), "local"},
		{wan, tcp(farHost, hubAddr, tcpSYN), "local"},
		{wan, icmp(typeNeighborSolicit, farHost, siteA), "drop: neighbor discovery ends at its link"},
		{tunnel, icmp(134, siteA, farHost), "drop: neighbor discovery ends at its link"},
		{tunnel, udp(siteA, "2001:db8:ebbd:9977::1"), "answer 1/0: unreachable route"},
	})
	d.Proxy = []dataplane.NDProxy{{Iface: "eth0"}}
	run(t, d, []ruleCase{
		{wan, icmp(typeTooBig, siteA, siteB), down},
		{wan, icmp(typeNeighborSolicit, siteA, hubAddr), "local"},
		{wan, icmp(typeEchoRequest, siteA, hubAddr), "drop: a site's source by another way, forged"},
		{wan, icmp(typeEchoRequest, siteA, siteB), "drop: a site's source by another way, forged"},
	})
}

func TestHubSiteToSite(t *testing.T) {
	run(t, aHub(), []ruleCase{{tunnel, echo(siteA, siteB), "answer 1/1: site to site"}})
	w := newWorld(t, aHub())
	for range refuseBurst {
		w.wants(w.from(tunnel, syn(siteA, siteB)), "answer 1/1: site to site")
	}
	w.wants(w.from(tunnel, syn(siteA, siteB)), "reset: site to site")
}

// An open hub keeps nothing; a closed one lets out, and lets answers in.
func TestHubOpenAndClosed(t *testing.T) {
	w := newWorld(t, aHub())
	w.wants(w.from(wan, syn(farHost, siteA)), down)
	w.wants(w.from(tunnel, syn(siteA, farHost)), up)
	if n := w.f.Stats().Flows; n != 0 {
		t.Errorf("an open hub keeps %d flows", n)
	}
	d := aHub()
	d.Hub.Open = false
	w.set(d)
	q := udp(siteA, farHost)
	w.wants(w.from(wan, back(q)), "drop: unsolicited")
	w.wants(w.from(tunnel, q), up)
	w.wants(w.from(wan, back(q)), down)
	w.wants(w.from(wan, echo(farHost, siteA)), down) // RFC 4890
	w.wants(w.from(wan, syn(farHost, siteA)), "drop: unsolicited")
	w.wants(w.from(tunnel, syn(siteA, siteB)), "answer 1/1: site to site")
}
