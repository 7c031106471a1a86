// SPDX-License-Identifier: MIT

package forward

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"oasis6/internal/ip6pkt"
)

const (
	out = "forward oasis0"
	in  = "forward br-lan"
	no  = "drop: unsolicited"
)

// sends lets the host send, answers lets the far end answer to it.
func (w *world) sends(pkt []byte, want string) {
	w.t.Helper()
	w.wants(w.from(lan, bytes.Clone(pkt)), want)
}

func (w *world) answers(pkt []byte, want string) {
	w.t.Helper()
	w.wants(w.from(tunnel, bytes.Clone(pkt)), want)
}

// lasts checks that a flow lives as long as it should, to the second, and then ends.
func (w *world) lasts(d time.Duration, answer []byte) {
	w.t.Helper()
	saved := w.now
	// A look at another world, so that the packet does not renew the flow.
	look := func(at time.Duration, want bool) {
		w.t.Helper()
		var p packet
		parse(&p, answer, 0)
		k := inboundKey(&p)
		if p.proto == protoICMPv6 {
			k = k.query(p.sport, p.kind)
		}
		part, h := w.f.flows.lock(&k)
		defer part.Unlock()
		if got := part.get(&k, h, saved.Add(at).UnixNano()) != nil; got != want {
			w.t.Errorf("after %v the flow is there: %v, want %v", at, got, want)
		}
	}
	look(d-1, true)
	look(d, true)
	look(d+flowGrain, false)
	w.now = saved.Add(d + flowGrain)
}

// "A state record for a UDP flow [...] MUST NOT expire in less than two minutes of idle time. [...] The default is five
// minutes." (RFC 6092 REC-14), and what goes out renews it (REC-16).
func TestRFC6092_REC14_FlowsOfUDP(t *testing.T) {
	q := udp(lanHost, farHost)
	a := back(q)
	w := newWorld(t, aSite())
	w.answers(a, no)
	w.sends(q, out)
	w.answers(a, in)
	w.answers(udpPorts(farHost, lanHost, 53, 40001), no)
	w.answers(udpPorts(farHost, lanHost, 54, 40000), no)
	w.answers(udpPorts("2001:db8:ffff::2", lanHost, 53, 40000), no)
	w.answers(udpPorts(farHost, lanNobody, 53, 40000), no)
	for range 10 {
		w.after(4*time.Minute).sends(q, out)
	}
	w.answers(a, in)
	w.after(4*time.Minute).answers(a, in) // one-way streams live too
	w.lasts(5*time.Minute, a)
	w.answers(a, no)
	w.sends(q, out) // without any answer
	w.lasts(5*time.Minute, a)
}

// hostTCP and farTCP are segments of one connection that the host began.
func hostTCP(flags uint8) []byte { return tcp(lanHost, farHost, flags) }
func farTCP(flags uint8) []byte  { return back(hostTCP(flags)) }

func (w *world) connect() {
	w.t.Helper()
	w.sends(hostTCP(tcpSYN), out)
	w.answers(farTCP(tcpSYN|tcpACK), in)
	w.sends(hostTCP(tcpACK), out)
}

// "the value of the 'established flow idle-timeout' MUST NOT be less than two hours four minutes [...]. The value of the
// 'transitory flow idle-timeout' MUST NOT be less than four minutes." (RFC 6092 REC-35)
func TestRFC6092_REC35_FlowsOfTCP(t *testing.T) {
	const data = tcpACK
	t.Run("established", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.answers(farTCP(tcpSYN), no)
		w.answers(farTCP(data), no)
		w.connect()
		w.after(2*time.Hour).answers(farTCP(data), in)
		w.answers(farTCP(tcpSYN), no) // the outside does not begin anew
		w.lasts(2*time.Hour+4*time.Minute, farTCP(data))
		w.answers(farTCP(data), no)
	})
	t.Run("half open", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.sends(hostTCP(tcpSYN), out)
		w.lasts(5*time.Minute, farTCP(data))
		w.sends(hostTCP(tcpSYN), out)
		w.answers(farTCP(tcpSYN|tcpACK), in)
		w.lasts(5*time.Minute, farTCP(data))
	})
	t.Run("closed", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.connect()
		w.sends(hostTCP(tcpFIN|tcpACK), out)
		w.after(time.Hour).answers(farTCP(data), in) // half closed is as good as established
		w.answers(farTCP(tcpFIN|tcpACK), in)
		w.sends(hostTCP(tcpACK), out)
		w.after(3*time.Minute).answers(farTCP(tcpFIN|tcpACK), in) // it did not get the last one
		w.lasts(time.Minute, farTCP(data))                        // and does not keep it open
		w.answers(farTCP(data), no)
	})
}

// A reset shortens the life of a flow, and no more: who sends it may not be who is meant.
func TestRFC6092_REC35_ResetsOfTCP(t *testing.T) {
	const data = tcpACK
	t.Run("reset", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.connect()
		w.answers(farTCP(tcpRST), in)
		w.lasts(4*time.Minute, farTCP(data))
		w.connect()
		w.sends(hostTCP(tcpRST), out)
		w.lasts(4*time.Minute, farTCP(data))
	})
	t.Run("a forged reset", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.connect()
		w.answers(farTCP(tcpRST), in)
		w.after(time.Minute).sends(hostTCP(data), out) // the host has not believed it
		w.after(time.Hour).answers(farTCP(data), in)
		w.lasts(2*time.Hour+4*time.Minute, farTCP(data))
	})
	t.Run("the same ports again", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.connect()
		w.answers(farTCP(tcpRST), in)
		w.connect()
		w.lasts(2*time.Hour+4*time.Minute, farTCP(data))
	})
	t.Run("an older connection at the other end", func(t *testing.T) {
		w := newWorld(t, aSite())
		w.sends(hostTCP(tcpSYN), out)
		w.answers(farTCP(tcpACK), in) // RFC 9293 section 3.5.1, figure 9
		w.sends(hostTCP(tcpRST), out)
		w.sends(hostTCP(tcpSYN), out)
		w.answers(farTCP(tcpSYN|tcpACK), in)
	})
	t.Run("no beginning", func(t *testing.T) {
		w := newWorld(t, aSite())
		for _, flags := range []uint8{tcpRST, tcpFIN | tcpACK, tcpSYN | tcpACK, 0, tcpRST | tcpACK} {
			w.sends(hostTCP(flags), out)
			w.answers(farTCP(data), no)
		}
	})
}

// "both the normal TCP 3-way handshake mode of operation and the simultaneous-open mode of operation MUST be supported."
// (RFC 6092 REC-31)
func TestRFC6092_REC31_SimultaneousOpen(t *testing.T) {
	w := newWorld(t, aSite())
	w.answers(farTCP(tcpSYN), no)
	w.sends(hostTCP(tcpSYN), out)
	w.answers(farTCP(tcpSYN), in)
	w.sends(hostTCP(tcpSYN|tcpACK), out)
	w.answers(farTCP(tcpSYN|tcpACK), in)
	w.sends(hostTCP(tcpACK), out)
	w.lasts(2*time.Hour+4*time.Minute, farTCP(tcpACK))
}

// The box has started anew: what hosts go on with is let back in.
func TestConnectionsOutliveTheBox(t *testing.T) {
	w := newWorld(t, aSite())
	data := tcp(lanHost, farHost, tcpACK)
	w.answers(back(data), no)
	w.sends(data, out)
	w.answers(back(data), in)
	w.lasts(2*time.Hour+4*time.Minute, back(data))
}

// Other protocols that the inside begins get their answers (RFC 6092 REC-12, REC-20, REC-25, REC-40, REC-44).
func TestRFC6092_REC20_OtherProtocols(t *testing.T) {
	ports := make([]byte, 16)
	binary.BigEndian.PutUint32(ports, 0x11112222)
	swapped := make([]byte, 16)
	binary.BigEndian.PutUint32(swapped, 0x22221111)
	for _, c := range []struct {
		name        string
		proto       uint8
		life, after time.Duration
	}{
		{"UDP-Lite", protoUDPLite, 5 * time.Minute, 5 * time.Minute},
		{"SCTP", protoSCTP, 5 * time.Minute, 2*time.Hour + 4*time.Minute},
		{"DCCP", protoDCCP, 10 * time.Minute, 2*time.Hour + 4*time.Minute},
		{"ESP", 50, 5 * time.Minute, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, aSite())
			q, a := packetOf(c.proto, lanHost, farHost, ports), packetOf(c.proto, farHost, lanHost, swapped)
			w.sends(packetOf(protoUDP, lanHost, farHost, ports), out) // not the same
			w.answers(a, no)
			w.sends(q, out)
			w.lasts(c.life, a)
			w.sends(q, out)
			w.answers(a, in)
			w.lasts(c.after, a)
			w.answers(a, no)
		})
	}
}

// An echo reply takes no token of RFC 6583, as it is of a flow; a node information reply passes by it alone.
func TestQueries(t *testing.T) {
	w := newWorld(t, aSite())
	q, a := icmp(typeInfoQuery, lanHost, farHost), icmp(typeInfoReply, farHost, lanHost)
	w.answers(a, no)
	w.sends(q, out)
	w.answers(a, in)
	w.lasts(30*time.Second, a)
	w.answers(a, no)
	w.answers(icmp(typeInfoQuery, farHost, lanHost), no)
}

// What the box itself begins comes back to it; what it may not send it does not.
func TestTheBoxsOwnFlows(t *testing.T) {
	w := newWorld(t, aSite())
	q := udp(lanBox, farHost)
	w.wants(w.from(tunnel, back(q)), "drop: no services outside")
	w.wants(w.f.Output(w.now, tunnel, q), out)
	w.wants(w.from(tunnel, back(q)), "local")
	w.wants(w.f.Output(w.now, lan, udp(lanBox, lanHost)), in)
	for _, c := range []struct {
		out  Index
		pkt  []byte
		want string
	}{
		{wan, udp(lanBox, farHost), "drop: only by the tunnel, never around it"},
		{tunnel, udp(localBox, farHost), "drop: local source, not outside, RFC 7084 ULA-4"},
		{tunnel, udp(lanBox, "fd00:db8:1:ff::1"), "drop: to a local prefix, not outside, RFC 7084 ULA-4"},
		{lan, udp(localBox, localHost), in},
		{wan, udp("2001:db8:1::2", farHost), "forward eth0"},
		{9, q, "drop: unknown interface"},
		{tunnel, q[:20], "drop: malformed"},
	} {
		if got := text(w.f.Output(w.now, c.out, c.pkt)); got != c.want {
			t.Errorf("Output by %s: %q, want %q", names[c.out], got, c.want)
		}
	}
}

// Parts of a packet pass when the first has, in whichever order they come from a node that the host talks to; no others do.
func TestFragmentsFollowTheFirst(t *testing.T) {
	question := udp(lanHost, farHost)
	answer := parts(ip6pkt.UDP(ip(farHost), ip(lanHost), 53, 40000, 64, make([]byte, 3000)), 1232)
	w := newWorld(t, aSite())
	for _, p := range answer {
		w.answers(p, no)
	}
	w.sends(question, out)
	for _, n := range []int{2, 0, 1} {
		w.answers(answer[n], in)
	}
	w.after(2*time.Minute).answers(answer[2], no) // the first is too long ago
	w.answers(answer[0], in)
	w.answers(answer[1], in)
	other := parts(ip6pkt.UDP(ip("2001:db8:ffff::2"), ip(lanHost), 53, 40000, 64, make([]byte, 3000)), 1232)
	w.answers(other[1], no)
	// A large ping from outside, to the host and to the box.
	for dst, want := range map[string]string{lanHost: in, lanBox: "local"} {
		body := make([]byte, 2000)
		body[0] = typeEchoRequest
		ping := parts(ip6pkt.ICMPv6(ip("2001:db8:ffff::3"), ip(dst), 64, body), 1232)
		w.answers(ping[0], want)
		w.answers(ping[1], want)
	}
	// The inside sends what it wants.
	for _, p := range parts(ip6pkt.UDP(ip(lanHost), ip("2001:db8:ffff::4"), 1, 2, 64, make([]byte, 3000)), 1232) {
		w.sends(p, out)
	}
	// A first part without ports is of no flow (RFC 7112 section 5).
	tiny := parts(udpPorts(farHost, lanHost, 53, 40000), 8)
	cut := with(tiny[0], 5, 8+4)[:40+8+4]
	w.answers(cut, no)
	// What is all in one part is a whole packet.
	atomic := packetOf(protoFragment, farHost, lanHost, append([]byte{protoUDP, 0, 0, 0, 0, 0, 0, 1}, back(question)[40:]...))
	w.answers(atomic, in)
}

// An error about a packet of a flow is related to it (RFC 6092 REC-18): it takes no token.
func TestRelatedErrorsTakeNoToken(t *testing.T) {
	quote := func(to string, pkt []byte) []byte {
		return ip6pkt.ICMPv6(ip("2001:db8:ffff::99"), ip(to), 64, append([]byte{typeTooBig, 0, 0, 0, 0, 0, 5, 0}, pkt...))
	}
	for name, pkt := range map[string][]byte{
		"UDP": udp(lanHost, farHost), "TCP": tcp(lanHost, farHost, tcpSYN), "echo": echo(lanHost, farHost),
		"ESP": packetOf(50, lanHost, farHost, []byte("12345678")), "a later part": parts(big(lanHost, farHost, 1300), 640)[1],
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aSite())
			w.sends(udpPorts(lanHost, farHost, 1, 2), out) // for the part
			w.sends(pkt, out)
			w.f.seen = newSeen([2]uint64{}) // forget the host
			for range neighborBurst {
				w.answers(echo(farHost, lanNobody), in)
			}
			w.answers(echo(farHost, lanNobody), "drop: nobody seen there, RFC 6583")
			w.answers(quote(lanHost, pkt[:min(len(pkt), 48+8)]), in)
			w.answers(quote(lanHost, pkt[:48]), in)
			other := bytes.Clone(pkt)
			other[39]++ // the far end
			w.answers(quote(lanHost, other), "drop: nobody seen there, RFC 6583")
			w.answers(quote(lanNobody, pkt), "drop: nobody seen there, RFC 6583")
			w.answers(quote(lanHost, pkt[:30]), "drop: nobody seen there, RFC 6583")
		})
	}
}

// A flood of new flows pushes out none that has answers, and the table stays as large as it may be.
func TestAFloodOfFlowsPushesOutNoOther(t *testing.T) {
	w := newWorld(t, aSite())
	w.f = New(Options{Flows: 1024, Seed: [2]uint64{1, 2}})
	w.set(aSite())
	var good [][]byte
	for i := range 200 {
		q := udpPorts(lanHost, farHost, uint16(1000+i), 53)
		w.sends(q, out)
		w.answers(back(q), in)
		good = append(good, back(q))
	}
	c := tcp(lanHost, farHost, tcpSYN)
	w.sends(c, out)
	w.answers(back(tcp(lanHost, farHost, tcpSYN|tcpACK)), in)
	w.sends(tcp(lanHost, farHost, tcpACK), out)
	for i := range 20000 {
		dst := ip("2001:db8:fffe::").As16()
		binary.BigEndian.PutUint32(dst[12:], uint32(i))
		w.sends(udpPorts(lanNobody, netip.AddrFrom16(dst).String(), uint16(i), 53), out)
	}
	for _, a := range good {
		w.answers(a, in)
	}
	w.answers(back(tcp(lanHost, farHost, tcpACK)), in)
	if n := w.f.Stats().Flows; n > 1024 || n < 900 {
		t.Errorf("%d flows, want nearly 1024", n)
	}
	// And a table full of flows with answers still takes new ones: the one that was idle longest goes.
	w.after(time.Minute)
	for i := range 2000 {
		q := udpPorts(lanHost, farHost, uint16(10000+i), 53)
		w.sends(q, out)
		w.answers(back(q), in)
	}
	w.answers(good[0], no)
	w.answers(back(tcp(lanHost, farHost, tcpACK)), in)
}

// An open firewall keeps nothing, and one that closes lets go on what the inside goes on with.
func TestOpenKeepsNoFlows(t *testing.T) {
	d := aSite()
	d.Firewall.Open = true
	w := newWorld(t, d)
	q := tcp(farHost, lanHost, tcpSYN)
	w.f.Neighbor(w.now, lan, ip(lanHost), hostMAC)
	w.answers(q, in)
	w.sends(back(tcp(farHost, lanHost, tcpSYN|tcpACK)), out)
	if n := w.f.Stats().Flows; n != 0 {
		t.Errorf("%d flows in an open firewall", n)
	}
	w.set(aSite())
	w.answers(tcp(farHost, lanHost, tcpACK), no)
	w.sends(back(tcp(farHost, lanHost, tcpACK)), out)
	w.answers(tcp(farHost, lanHost, tcpACK), in)
}

// Walking headers never leaves the packet, and finds the upper layer behind those that Linux knows.
func TestHeadersAreWalked(t *testing.T) {
	u := udp(lanHost, farHost)[40:]
	ext := func(next uint8, size int) []byte {
		return append([]byte{next, byte(size/8 - 1)}, make([]byte, size-2)...)
	}
	ah := append([]byte{protoUDP, 4}, make([]byte, 22)...) // 24 octets
	for name, c := range map[string]struct {
		first uint8
		rest  []byte
		proto uint8
		upper int
	}{
		"plain":               {protoUDP, u, protoUDP, 40},
		"destination options": {protoDestOpts, append(ext(protoUDP, 16), u...), protoUDP, 56},
		"routing":             {protoRouting, append(ext(protoUDP, 24), u...), protoUDP, 64},
		"authentication":      {protoAH, append(ah, u...), protoUDP, 64},
		"several":             {protoHopByHop, append(append(ext(protoDestOpts, 8), ext(protoUDP, 8)...), u...), protoUDP, 56},
		"none":                {protoNone, u, protoNone, 40 + len(u)},
		"cut":                 {protoDestOpts, ext(protoUDP, 16)[:12], protoBroken, 52},
		"too short":           {protoRouting, []byte{17, 0, 0, 0}, protoBroken, 44},
		"too many":            {protoDestOpts, append(bytes.Repeat(ext(protoDestOpts, 8), maxHeaders), u...), protoBroken, 40 + 8*maxHeaders + len(u)},
		"unknown":             {253, u, 253, 40},
	} {
		var p packet
		if !parse(&p, packetOf(c.first, lanHost, farHost, c.rest), 0) {
			t.Fatalf("%s: not parsed", name)
		}
		if got, want := fmt.Sprint(p.proto, p.upper), fmt.Sprint(c.proto, c.upper); got != want {
			t.Errorf("%s: protocol and offset %s, want %s", name, got, want)
		}
		if want := c.proto == protoUDP; (p.dport == 53) != want {
			t.Errorf("%s: port %d", name, p.dport)
		}
	}
}
