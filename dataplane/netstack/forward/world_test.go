// SPDX-License-Identifier: MIT

package forward

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/ip6pkt"
)

// The site of dataplane/kernel's tests: two LANs, a router behind the first, local addresses, and an uplink that is not
// ours.
const (
	lan Index = iota + 1
	guest
	tunnel
	wan
)

var names = map[Index]string{lan: "br-lan", guest: "br-guest", tunnel: "oasis0", wan: "eth0"}

const (
	site       = "2001:db8:ebbd:9900::/56"
	lanBox     = "2001:db8:ebbd:990a::1"
	lanHost    = "2001:db8:ebbd:990a::10"
	lanNobody  = "2001:db8:ebbd:990a::77"
	guestBox   = "2001:db8:ebbd:990b::1"
	guestHost  = "2001:db8:ebbd:990b::20"
	routed     = "2001:db8:ebbd:9910::/60"
	routedHost = "2001:db8:ebbd:9910::1"
	routerAddr = "fe80::10"
	local      = "fd00:db8:1::/48"
	localHost  = "fd00:db8:1:a::10"
	localBox   = "fd00:db8:1:a::1"
	staleNet   = "2001:db8:ebbd:8809::/64"
	staleHost  = "2001:db8:ebbd:8809::10"
	farHost    = "2001:db8:ffff::1"
	foreign    = "2001:db8:7777::10"
	lanLL      = "fe80::200:5eff:fe00:5301"
	tunnelLL   = "fe80::9d23:9a19:b6c6:9d7c"
)

var (
	hostMAC   = [6]byte{0, 0, 0x5e, 0, 0x53, 0x10}
	routerMAC = [6]byte{0, 0, 0x5e, 0, 0x53, 0x11}
	otherMAC  = [6]byte{0, 0, 0x5e, 0, 0x53, 0x12}
)

func pfx(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func address(iface, prefix string) dataplane.Address {
	return dataplane.Address{Iface: iface, Prefix: netip.MustParsePrefix(prefix)}
}

// aSite is what the router package wants of a site like this, as dataplane/kernel's tests have it.
func aSite() dataplane.Desired {
	return dataplane.Desired{
		Tunnel: dataplane.Tunnel{Name: "oasis0", MTU: 1420},
		LANs:   []string{"br-lan", "br-guest"},
		Addresses: []dataplane.Address{
			address("oasis0", tunnelLL+"/64"), address("br-lan", lanBox+"/64"), address("br-lan", localBox+"/64"), address("br-guest", guestBox+"/64"),
		},
		Routes: []dataplane.Route{
			{Kind: dataplane.Unreachable, Dst: pfx(site)[0]},
			{Dst: pfx("::/0")[0], From: pfx(site)[0], Iface: "oasis0"},
			{Dst: pfx("::/0")[0], Iface: "oasis0", Metric: 4096, IfNoOther: true},
			{Dst: pfx(routed)[0], Via: ip(routerAddr), Iface: "br-lan"},
			{Dst: pfx(staleNet)[0], Iface: "br-lan", Metric: 1024},
		},
		Forward: true,
		Firewall: dataplane.Firewall{
			Tunnel: "oasis0", LANs: []string{"br-lan", "br-guest"}, Delegations: pfx(site), Local: pfx(local), Stale: pfx(staleNet),
			Sources: []dataplane.LANSources{
				{Iface: "br-lan", OnLink: pfx("2001:db8:ebbd:990a::/64", "fd00:db8:1:a::/64"), Routed: pfx(routed)},
				{Iface: "br-guest", OnLink: pfx("2001:db8:ebbd:990b::/64")},
			},
		},
	}
}

func links() map[string]Iface {
	return map[string]Iface{
		"br-lan":   {Index: lan, MTU: 1500, Ether: true, Up: true, Addrs: []netip.Addr{ip(lanLL), ip(lanBox), ip(localBox)}},
		"br-guest": {Index: guest, MTU: 1500, Ether: true, Up: true, Addrs: []netip.Addr{ip("fe80::200:5eff:fe00:5302"), ip(guestBox)}},
		"oasis0":   {Index: tunnel, MTU: 1420, Up: true, Addrs: []netip.Addr{ip(tunnelLL)}},
		"eth0":     {Index: wan, MTU: 1500, Ether: true, Up: true, Addrs: []netip.Addr{ip("2001:db8:1::2")}},
	}
}

// world is a Forwarder with its clock.
type world struct {
	t   testing.TB
	f   *Forwarder
	now time.Time
}

func newWorld(t testing.TB, want dataplane.Desired) *world {
	w := &world{t: t, f: New(Options{}), now: time.Unix(1000, 0)}
	w.set(want)
	return w
}

func (w *world) set(want dataplane.Desired) { w.f.Set(Compile(want, links())) }

func (w *world) after(d time.Duration) *world {
	w.now = w.now.Add(d)
	return w
}

// from lets a packet come in, from the host on the LANs.
func (w *world) from(in Index, pkt []byte) Verdict { return w.by(in, hostMAC, pkt) }

func (w *world) by(in Index, mac [6]byte, pkt []byte) Verdict {
	if !links()[names[in]].Ether {
		mac = [6]byte{}
	}
	return w.f.Packet(w.now, in, mac, pkt, 0)
}

// wants compares a verdict with its text.
func (w *world) wants(v Verdict, want string) {
	w.t.Helper()
	if got := text(v); got != want {
		w.t.Errorf("verdict = %q, want %q", got, want)
	}
}

// text is a verdict as a test writes it: "forward oasis0", "drop: stale, RFC 7084 L-14", "answer 1/5: stale, ...".
func text(v Verdict) string {
	switch v.Action {
	case Local:
		return "local"
	case Forward:
		s := "forward " + names[v.Out]
		if dst := netip.AddrFrom16([16]byte(v.Packet[24:40])); v.NextHop.IsValid() && dst != v.NextHop {
			s += " via " + v.NextHop.String()
		}
		if v.Redirect != nil {
			s += " and a redirect"
		}
		return s
	case Answer:
		if v.Packet[6] == protoTCP {
			return "reset: " + v.Reason.String()
		}
		s := fmt.Sprintf("answer %d/%d", v.Packet[40], v.Packet[41])
		if param := binary.BigEndian.Uint32(v.Packet[44:]); param != 0 {
			s += fmt.Sprintf(" %d", param)
		}
		return s + ": " + v.Reason.String()
	}
	return "drop: " + v.Reason.String()
}

// Packets.

func packetOf(proto uint8, src, dst string, upper []byte) []byte {
	return ip6pkt.Packet(ip(src), ip(dst), proto, 64, upper)
}

func udp(src, dst string) []byte { return udpPorts(src, dst, 40000, 53) }

func udpPorts(src, dst string, sport, dport uint16) []byte {
	return ip6pkt.UDP(ip(src), ip(dst), sport, dport, 64, []byte("question"))
}

func icmp(kind uint8, src, dst string) []byte {
	return ip6pkt.ICMPv6(ip(src), ip(dst), 64, []byte{kind, 0, 0, 0, 0x12, 0x34, 0, 1})
}

func echo(src, dst string) []byte { return icmp(typeEchoRequest, src, dst) }

func tcp(src, dst string, flags uint8) []byte { return tcpPorts(src, dst, 40000, 443, flags) }

func tcpPorts(src, dst string, sport, dport uint16, flags uint8) []byte {
	u := make([]byte, 20)
	binary.BigEndian.PutUint16(u, sport)
	binary.BigEndian.PutUint16(u[2:], dport)
	u[7], u[11], u[12], u[13] = 1, 2, 5<<4, flags
	binary.BigEndian.PutUint16(u[16:], ip6pkt.Checksum(ip(src), ip(dst), protoTCP, u))
	return packetOf(protoTCP, src, dst, u)
}

// back is the packet of the other direction.
func back(pkt []byte) []byte {
	out := append([]byte(nil), pkt...)
	copy(out[8:24], pkt[24:40])
	copy(out[24:40], pkt[8:24])
	if p := pkt[6]; p == protoTCP || p == protoUDP {
		copy(out[40:42], pkt[42:44])
		copy(out[42:44], pkt[40:42])
	}
	return out
}

// parts are a packet in fragments of n octets each, a multiple of 8.
func parts(pkt []byte, n int) (out [][]byte) {
	payload := pkt[40:]
	for off := 0; off < len(payload); off += n {
		piece := payload[off:min(len(payload), off+n)]
		h := []byte{pkt[6], 0, 0, 0, 0, 0, 0, 9}
		binary.BigEndian.PutUint16(h[2:], uint16(off))
		if off+n < len(payload) {
			h[3] |= 1
		}
		out = append(out, ip6pkt.Packet(netip.AddrFrom16([16]byte(pkt[8:24])), netip.AddrFrom16([16]byte(pkt[24:40])), protoFragment, pkt[7], append(h, piece...)))
	}
	return out
}

func with(pkt []byte, at int, b byte) []byte {
	pkt[at] = b
	return pkt
}

// An answer is well formed: whatever it is about.
func (w *world) checkAnswer(v Verdict, about []byte) {
	w.t.Helper()
	if v.Action != Answer {
		w.t.Errorf("no answer: %s", text(v))
		return
	}
	p := v.Packet
	if len(p) > minMTU || int(binary.BigEndian.Uint16(p[4:]))+40 != len(p) || p[7] != answerHopLimit {
		w.t.Errorf("answer of %d octets: header % x", len(p), p[:40])
	}
	src, dst := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	if sum := ip6pkt.Checksum(src, dst, p[6], p[40:]); sum != 0 {
		w.t.Errorf("checksum is off by %#x", sum)
	}
	if !strings.HasPrefix(string(about), string(p[48:])) && p[6] == protoICMPv6 {
		w.t.Errorf("quotes\n% x of\n% x", p[48:], about)
	}
	if want := min(len(about), minMTU-48); p[6] == protoICMPv6 && len(p)-48 != want {
		w.t.Errorf("quotes %d octets, want %d", len(p)-48, want)
	}
	if dst != netip.AddrFrom16([16]byte(about[8:24])) {
		w.t.Errorf("answer to %s", dst)
	}
}
