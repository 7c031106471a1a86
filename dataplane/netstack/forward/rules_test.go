// SPDX-License-Identifier: MIT

package forward

import (
	"testing"

	"oasis6/dataplane"
)

// ruleCase is one packet and what becomes of it.
type ruleCase struct {
	in   Index
	pkt  []byte
	want string
}

// run gives each packet to a world of its own.
func run(t *testing.T, want dataplane.Desired, cases []ruleCase) {
	t.Helper()
	for _, c := range cases {
		w := newWorld(t, want)
		w.f.Neighbor(w.now, lan, ip(routerAddr), routerMAC)
		var p packet
		parse(&p, c.pkt, 0)
		if got := text(w.from(c.in, c.pkt)); got != c.want {
			t.Errorf("%s -> %s proto %d from %s: %q, want %q", p.src.addr(), p.dst.addr(), p.proto, names[c.in], got, c.want)
		}
	}
}

// What leaves has a source of ours (BCP 38), and each LAN has only what is behind it.
func TestRFC7084_S2_SourcesOfTheLANs(t *testing.T) {
	run(t, aSite(), []ruleCase{
		{lan, udp(lanHost, farHost), "forward oasis0"},
		{guest, udp(guestHost, farHost), "forward oasis0"},
		{lan, udp(lanHost, guestHost), "forward br-guest"},
		{lan, udp(foreign, farHost), "answer 1/5: source not ours, RFC 7084 S-2 and L-14"},
		{guest, udp(lanHost, farHost), "drop: another's source, RFC 7084 S-2"},
		{guest, udp(routedHost, farHost), "drop: another's source, RFC 7084 S-2"},
		{guest, udp("2001:db8:ebbd:99ff::1", farHost), "drop: another's source, RFC 7084 S-2"},
		{guest, udp(localHost, lanHost), "drop: another's source, RFC 7084 S-2"},
		{guest, udp(lanHost, lanBox), "drop: another's source, RFC 7084 S-2"},
		{guest, udp(guestHost, lanBox), "local"},
		{wan, udp(foreign, farHost), "drop: not from a LAN"},
		{wan, udp(foreign, lanHost), "drop: to the LAN around the tunnel"},
		{wan, udp(lanHost, lanBox), "drop: a LAN's source by another way, forged"},
	})
}

// "The IPv6 CE router MUST send an ICMPv6 Destination Unreachable message, code 5 (Source address failed ingress/egress
// policy) for packets forwarded to it that use an address from a prefix that has been invalidated." (RFC 7084 L-14)
func TestRFC7084_L14_StaleSource(t *testing.T) {
	around := aSite() // the WAN carries what it wants
	around.Routes = append(around.Routes[:2:2], dataplane.Route{Dst: pfx("::/0")[0], Iface: "eth0", Metric: 100}, around.Routes[3], around.Routes[4])
	for name, d := range map[string]dataplane.Desired{"tunnel only": aSite(), "beside a native default": around} {
		t.Run(name, func(t *testing.T) {
			run(t, d, []ruleCase{
				{lan, udp(staleHost, farHost), "answer 1/5: stale, RFC 7084 L-14"},
				{tunnel, udp(farHost, staleHost), "drop: to a stale prefix"},
				{wan, udp(farHost, staleHost), "drop: to a stale prefix"},
				{lan, udp(staleHost, guestHost), "forward br-guest"},
			})
		})
	}
	run(t, around, []ruleCase{{lan, udp(foreign, farHost), "forward eth0"}})
}

// "By DEFAULT, an IPv6 CE router MUST act as a site border router according to Section 4.3 of [RFC4193] and filter
// packets with local IPv6 source or destination addresses accordingly." (RFC 7084 ULA-4)
func TestRFC7084_ULA4_LocalAddresses(t *testing.T) {
	d := aSite()
	d.Firewall.Open = true
	cases := []ruleCase{
		{guest, udp(guestHost, localHost), "forward br-lan"},
		{lan, udp(localHost, localBox), "local"},
		{lan, udp(localHost, farHost), "answer 1/5: local source, not outside, RFC 7084 ULA-4"},
		{lan, udp(lanHost, "fd00:db8:1:ff::1"), "answer 1/1: to a local prefix, not outside, RFC 7084 ULA-4"},
		{tunnel, udp("fd00:db8:1:a::66", lanHost), "drop: local source from outside, RFC 7084 ULA-4"},
		{tunnel, udp(farHost, localHost), "drop: to a local prefix from outside, RFC 7084 ULA-4"},
		{tunnel, udp(farHost, localBox), "drop: to a local prefix from outside, RFC 7084 ULA-4"},
		{wan, udp(foreign, localBox), "drop: to a local prefix from outside, RFC 7084 ULA-4"},
		{lan, udp(lanHost, "fd00:db8:2::1"), "forward oasis0"}, // of another site, at the other end
		{tunnel, udp("fd00:db8:2::1", lanHost), "forward br-lan"},
	}
	run(t, d, cases)
	d.Firewall.NoULA = true
	cases[8].want = "answer 1/1: ULA into the tunnel, RFC 7084 ULA-4"
	cases[9].want = "drop: ULA out of the tunnel, RFC 7084 ULA-4"
	run(t, d, cases)
}

// RFC 6092 REC-5: what comes from outside with a source of the inside is forged.
func TestRFC6092_REC5_OurSourceFromOutside(t *testing.T) {
	d := aSite()
	d.Firewall.Open = true
	run(t, d, []ruleCase{
		{tunnel, udp(lanNobody, lanHost), "drop: our own source from outside"},
		{tunnel, echo(lanNobody, lanBox), "drop: our own source from outside"},
		{tunnel, echo(localHost, lanBox), "drop: our own source from outside"},
		{tunnel, udp(farHost, lanHost), "forward br-lan"},
	})
}

// "By DEFAULT, subscriber-managed residential gateways MUST NOT offer management application services to the exterior
// network." (RFC 6092 REC-50)
func TestRFC6092_REC50_NoServiceOutside(t *testing.T) {
	for _, open := range []bool{false, true} {
		d := aSite()
		d.Firewall.Open = open
		run(t, d, []ruleCase{
			{tunnel, tcp(farHost, lanBox, tcpSYN), "drop: no services outside"},
			{tunnel, udp(farHost, lanBox), "drop: no services outside"},
			{tunnel, udp(farHost, "ff0e::101"), "drop: no services outside"},
			{tunnel, icmp(134, "fe80::1", "ff02::1"), "drop: no services outside"}, // nobody is our router by RA
			{tunnel, icmp(typeNeighborSolicit, "fe80::1", tunnelLL), "local"},
			{tunnel, icmp(typeNeighborAdvert, "fe80::1", tunnelLL), "local"},
			{tunnel, echo(farHost, lanBox), "local"},
			{tunnel, icmp(typeTooBig, farHost, lanBox), "local"},
			{lan, tcp(lanHost, lanBox, tcpSYN), "local"},
			{lan, tcp(lanHost, guestBox, tcpSYN), "local"},
		})
	}
}

// RFC 4890 section 4.3.1: errors and echo pass.
func TestRFC4890_4_3_1_ErrorsAndEchoPass(t *testing.T) {
	run(t, aSite(), []ruleCase{
		{tunnel, icmp(typeUnreachable, farHost, lanHost), "forward br-lan"},
		{tunnel, icmp(typeTooBig, farHost, lanHost), "forward br-lan"},
		{tunnel, icmp(typeTimeExceeded, farHost, lanHost), "forward br-lan"},
		{tunnel, icmp(typeParamProblem, farHost, lanHost), "forward br-lan"},
		{tunnel, icmp(typeEchoRequest, farHost, lanHost), "forward br-lan"},
		{tunnel, icmp(typeEchoReply, farHost, lanHost), "forward br-lan"},
		{tunnel, icmp(typeInfoQuery, farHost, lanHost), "drop: unsolicited"},
		{tunnel, icmp(typeNeighborSolicit, farHost, lanHost), "drop: unsolicited"},
		{tunnel, udp(farHost, lanHost), "drop: unsolicited"},
		{tunnel, tcp(farHost, lanHost, tcpSYN), "drop: unsolicited"},
		{tunnel, packetOf(50, farHost, lanHost, []byte("ESP")), "drop: unsolicited"},
		{lan, icmp(typeTooBig, lanHost, farHost), "forward oasis0"},
	})
}

// Never around the tunnel: it is down, or dead, and a native default would carry the packet away.
func TestNeverAroundTheTunnel(t *testing.T) {
	d := aSite()
	d.Routes = append(d.Routes, dataplane.Route{Dst: pfx("::/0")[0], Iface: "eth0", Metric: 9999})
	down := links()
	tun := down["oasis0"]
	tun.Up = false
	down["oasis0"] = tun
	w := newWorld(t, d)
	w.f.Set(Compile(d, down))
	w.wants(w.from(lan, udp(lanHost, farHost)), "answer 1/5: only by the tunnel, never around it")
	w.wants(w.from(tunnel, udp(farHost, foreign)), "drop: no transit")
	w.set(d)
	w.wants(w.from(tunnel, udp(farHost, foreign)), "drop: not from a LAN")
	d.Firewall.Dead = true
	w.set(d)
	w.wants(w.from(lan, udp(lanHost, farHost)), "answer 1/0: the tunnel is dead")
	w.wants(w.from(lan, udp(lanHost, guestHost)), "forward br-guest")
}

// A refused connection ends at once: with errors first, with resets beyond their limit.
func TestRefusedConnectionsEndAtOnce(t *testing.T) {
	w := newWorld(t, aSite())
	for range refuseBurst {
		w.wants(w.from(lan, tcp(staleHost, farHost, tcpSYN)), "answer 1/5: stale, RFC 7084 L-14")
	}
	syn := tcp(staleHost, farHost, tcpSYN)
	v := w.from(lan, syn)
	w.wants(v, "reset: stale, RFC 7084 L-14")
	w.checkAnswer(v, syn)
	if u := v.Packet[40:]; u[13] != tcpRST|tcpACK || u[11] != 2 || u[7] != 0 || u[0] != 443>>8 || u[3] != 40000&0xff || v.MAC != hostMAC {
		t.Errorf("reset of a SYN: % x to %x", u, v.MAC)
	}
	v = w.from(lan, tcp(staleHost, farHost, tcpACK))
	if u := v.Packet[40:]; u[13] != tcpRST || u[7] != 2 {
		t.Errorf("reset of what acknowledges: % x", u)
	}
	w.wants(w.from(lan, tcp(staleHost, farHost, tcpRST)), "drop: stale, RFC 7084 L-14")
	w.wants(w.from(lan, udp(staleHost, farHost)), "answer 1/5: stale, RFC 7084 L-14")
	w.after(1000000000).wants(w.from(lan, tcp(staleHost, farHost, tcpSYN)), "answer 1/5: stale, RFC 7084 L-14")
}

// Without a firewall there is only routing.
func TestNoTable(t *testing.T) {
	d := aSite()
	d.Firewall = dataplane.Firewall{}
	run(t, d, []ruleCase{
		{tunnel, udp(farHost, lanHost), "forward br-lan"},
		{tunnel, udp(farHost, lanBox), "local"},
		{lan, udp(foreign, farHost), "forward oasis0"},
	})
	d.Forward = false
	run(t, d, []ruleCase{
		{tunnel, udp(farHost, lanHost), "drop: forwarding is off"},
		{tunnel, udp(farHost, lanBox), "local"},
	})
	w := newWorld(t, d)
	w.f = New(Options{})
	w.wants(w.from(lan, udp(lanHost, lanBox)), "drop: unknown interface")
}
