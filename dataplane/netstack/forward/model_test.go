// SPDX-License-Identifier: MIT

package forward

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"oasis6/dataplane"
	"oasis6/internal/bucket"
	"oasis6/internal/ip6pkt"
)

// model is the slow and obvious Forwarder of a box: rules as a list, sets and routes looked through, flows as the story of
// their packets. It says why a packet is not sent on, and not whether its sender is told, which is limited.
type model struct {
	want      dataplane.Desired
	now       time.Time
	stories   map[string][]event
	expected  map[string]time.Time // parts of packets
	seen      map[netip.Addr]time.Time
	macs      map[netip.Addr][6]byte
	neighbors bucket.Bucket
}

type event struct {
	at    time.Time
	out   bool
	flags uint8
}

// judged is a packet in the model's words.
type judged struct {
	in, out  string
	mac      [6]byte
	src, dst netip.Addr
	proto    uint8
	kind     uint8
	flags    uint8
	later    bool
	first    bool
	ports    [2]uint16
	hop      byte
	size     int
}

func in6(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

var linksByName = links()

func (m *model) lan(name string) bool { return slices.Contains(m.want.Firewall.LANs, name) }

// route is the slow lookup of routes_test.go over what Desired says.
func (m *model) route(dst, src netip.Addr) (dataplane.Route, bool) {
	var slow []slowRoute
	all := slices.Clone(m.want.Routes)
	for _, a := range m.want.Addresses {
		if !a.Prefix.IsSingleIP() {
			all = append(all, dataplane.Route{Dst: a.Prefix.Masked(), Iface: a.Iface, Metric: 256})
		}
	}
	for i, r := range all {
		if r.Metric == 0 {
			r.Metric = 1024
			if r.Kind == dataplane.Unreachable {
				r.Metric = 1 << 30
			}
		}
		s := slowRoute{wantedRoute: wantedRoute{dst: r.Dst, route: route{metric: r.Metric, via: u128{lo: uint64(i)}}}, source: r.From}
		if r.From.IsValid() {
			s.bits = r.From.Bits()
		}
		slow = append(slow, s)
	}
	best := slowLookup(slow, dst, src)
	if best == nil {
		return dataplane.Route{}, false
	}
	return all[best.via.lo], true
}

// packet is what becomes of a packet.
func (m *model) packet(p judged) (reason Reason, local bool, out string, hop netip.Addr) {
	if p.dst.IsMulticast() || m.ours(p.dst, p.in) {
		return m.input(p), true, "", hop
	}
	if p.dst.IsLinkLocalUnicast() {
		return LinkLocalDestination, false, "", hop
	}
	r, ok := m.route(p.dst, p.src)
	switch {
	case !ok:
		return NoRoute, false, "", hop
	case r.Kind == dataplane.Unreachable:
		return UnreachableRoute, false, "", hop
	case p.hop < 2:
		return HopLimitExceeded, false, "", hop
	case p.src.IsLinkLocalUnicast() && r.Iface != p.in:
		return BeyondScope, false, "", hop
	case p.size > linksByName[r.Iface].MTU:
		return TooBig, false, "", hop
	}
	p.out = r.Iface
	if hop = r.Via; !hop.IsValid() {
		hop = p.dst
	}
	return m.forward(p), false, p.out, hop
}

func (m *model) ours(a netip.Addr, in string) bool {
	for name, l := range linksByName {
		if slices.Contains(l.Addrs, a) && (name == in || !a.IsLinkLocalUnicast()) {
			return true
		}
	}
	return slices.ContainsFunc(m.want.Addresses, func(o dataplane.Address) bool {
		return o.Prefix.Masked().Addr() == a && (o.Iface == in || !a.IsLinkLocalUnicast())
	})
}

// rule is one line of ruleset.go.
type rule struct {
	reason Reason // NoReason: accept
	is     bool
}

func first(rules []rule) Reason {
	for _, r := range rules {
		if r.is {
			return r.reason
		}
	}
	return NoReason
}

func (m *model) sources(p judged) []rule {
	fw := m.want.Firewall
	var rules []rule
	for _, s := range fw.Sources {
		rules = append(rules, rule{AnothersSource, p.in == s.Iface && in6(slices.Concat(fw.Delegations, fw.Local), p.src) && !in6(slices.Concat(s.OnLink, s.Routed), p.src)})
	}
	known, its := m.router(p.src, p.mac)
	return append(rules, rule{AnothersRouter, linksByName[p.in].Ether && known && !its})
}

func (m *model) router(a netip.Addr, mac [6]byte) (known, its bool) {
	for _, r := range m.want.Routes {
		if have, ok := m.macs[r.Via]; r.Via.IsValid() && r.Dst.Contains(a) && ok {
			known, its = true, its || have == mac
		}
	}
	return known, its
}

func (m *model) forward(p judged) Reason {
	fw := m.want.Firewall
	t := fw.Tunnel
	inLAN, outLAN := m.lan(p.in), m.lan(p.out)
	var onLink []netip.Prefix
	for _, s := range fw.Sources {
		onLink = append(onLink, s.OnLink...)
	}
	_, itsRouter := m.router(p.dst, p.mac)
	ula := netip.MustParsePrefix("fc00::/7")
	refused := first(slices.Concat([]rule{
		{Stale, inLAN && in6(fw.Stale, p.src) && !outLAN},
		{ToStale, !inLAN && in6(fw.Stale, p.dst)},
	}, m.sources(p), []rule{
		{BackToRouter, linksByName[p.in].Ether && itsRouter},
		{LocalFromOutside, !inLAN && in6(fw.Local, p.src)},
		{ToLocalFromOutside, !inLAN && in6(fw.Local, p.dst)},
		{LocalNotOutside, !outLAN && in6(fw.Local, p.src)},
		{ToLocalNotOutside, !outLAN && in6(fw.Local, p.dst)},
		{OursFromOutside, p.in == t && in6(fw.Delegations, p.src)},
		{AroundTheTunnel, in6(fw.Delegations, p.src) && !outLAN && p.out != t},
		{NotFromLAN, p.out == t && !inLAN},
		{SourceNotOurs, p.out == t && !in6(fw.Delegations, p.src)},
		{TunnelDead, fw.Dead && p.out == t},
		{ULAIntoTunnel, fw.NoULA && p.out == t && ula.Contains(p.dst)},
		{ULAOutOfTunnel, fw.NoULA && p.in == t && ula.Contains(p.src)},
		{ToLANAroundTunnel, !inLAN && p.in != t && in6(fw.Delegations, p.dst)},
		{NoTransit, p.in == t && !outLAN},
	}))
	if refused != NoReason {
		return refused
	}
	if p.in != t {
		begins := fw.Open || p.out != t || m.outbound(p)
		if begins && inLAN && in6(onLink, p.src) {
			m.seen[p.src] = m.now
		}
		return NoReason
	}
	transit := p.proto == protoICMPv6 && !p.later && (p.kind >= 1 && p.kind <= 4 || p.kind == 128 || p.kind == 129)
	if !fw.Open && m.established(p) {
		return NoReason
	}
	if !fw.Open && !transit {
		return Unsolicited
	}
	if at, known := m.seen[p.dst]; in6(onLink, p.dst) && (!known || m.now.Sub(at) >= seenTimeout+seenGrain) && !m.neighbors.Take(m.now, 1) {
		return NobodySeen
	}
	if !fw.Open && p.first {
		m.expected[p.dst.String()+p.src.String()] = m.now
	}
	return NoReason
}

func (m *model) input(p judged) Reason {
	fw := m.want.Firewall
	inLAN, t := m.lan(p.in), p.in == fw.Tunnel
	inside := in6(slices.Concat(fw.Delegations, fw.Local), p.src)
	reason := first(slices.Concat([]rule{
		{OursFromOutside, t && inside},
		{Forged, !inLAN && !t && inside},
		{ToLocalFromOutside, !inLAN && in6(fw.Local, p.dst)},
	}, m.sources(p)))
	switch {
	case reason != NoReason || !t || m.established(p):
		return reason
	case p.proto == protoICMPv6 && !p.later && slices.Contains([]uint8{1, 2, 3, 4, 128, 129}, p.kind):
		if p.first {
			m.expected[p.dst.String()+p.src.String()] = m.now
		}
		return NoReason
	case p.proto == protoICMPv6 && !p.later && (p.kind == 135 || p.kind == 136):
		return NoReason
	}
	return NoServiceOutside
}

func (m *model) key(p judged, out bool) string {
	in, to, ports := p.src, p.dst, p.ports
	if !out {
		in, to, ports = p.dst, p.src, [2]uint16{p.ports[1], p.ports[0]}
	}
	if p.proto == protoICMPv6 {
		return fmt.Sprint(in, to, "echo")
	}
	return fmt.Sprint(in, to, p.proto, ports)
}

// outbound says whether the packet begins a flow.
func (m *model) outbound(p judged) bool {
	if p.later || p.proto == protoICMPv6 && p.kind != 128 {
		return false
	}
	k := m.key(p, true)
	old := m.alive(k, p.proto)
	if old == nil && p.proto == protoTCP && p.flags != tcpSYN && p.flags != tcpACK {
		return false
	}
	m.stories[k] = append(old, event{m.now, true, p.flags})
	if old == nil {
		m.expected[p.src.String()+p.dst.String()] = m.now
	}
	return old == nil
}

func (m *model) established(p judged) bool {
	parts := p.dst.String() + p.src.String()
	if p.later {
		at, ok := m.expected[parts]
		return ok && m.now.Sub(at) < flowLives()[flowParts]+flowGrain
	}
	if p.proto == protoICMPv6 && p.kind != 129 {
		return false // what errors quote is not in these packets
	}
	k := m.key(p, false)
	old := m.alive(k, p.proto)
	if old == nil || p.proto == protoTCP && p.flags == tcpSYN && m.life(old, p.proto).begun {
		return false
	}
	m.stories[k] = append(old, event{m.now, false, p.flags})
	if p.first {
		m.expected[parts] = m.now
	}
	return true
}

// alive is the story of a flow, nil if it is over.
func (m *model) alive(k string, proto uint8) []event {
	s := m.stories[k]
	if s == nil {
		return nil
	}
	l := m.life(s, proto)
	if m.now.Sub(l.from) >= l.lasts+flowGrain {
		delete(m.stories, k)
		return nil
	}
	return s
}

// life is how long a flow lasts after its story.
type life struct {
	from  time.Time
	lasts time.Duration
	begun bool // the outside may not send a SYN
}

func (m *model) life(s []event, proto uint8) life {
	l := life{from: s[0].at, lasts: 5 * time.Minute}
	if proto == protoICMPv6 {
		l.lasts = 30 * time.Second
	}
	if proto != protoTCP {
		for _, e := range s {
			switch l.from = e.at; {
			case !e.out && proto == protoUDP:
				l.lasts = 5 * time.Minute
			case !e.out && proto != protoICMPv6:
				l.lasts = 10 * time.Minute
			}
		}
		return l
	}
	var syn, answered, finIn, finOut, reset, over bool
	for i, e := range s {
		switch {
		case e.flags&tcpRST != 0:
			reset = true
		case i == 0 || e.out && e.flags == tcpSYN && over:
			syn, answered, finIn, finOut, reset, over = e.flags == tcpSYN, false, false, false, false, false
			l = life{from: e.at, lasts: 5 * time.Minute, begun: !syn}
			continue
		case e.flags&tcpFIN != 0:
			finIn, finOut = finIn || !e.out, finOut || e.out
		case e.out && e.flags == tcpSYN: // again
		case e.out:
			reset, syn = false, syn && !answered
		case e.flags == tcpACK && syn && !answered:
			continue
		default:
			answered = true
		}
		wasOver := over
		if over = reset || finIn && finOut; over && wasOver && !e.out {
			continue
		}
		l.from, l.lasts, l.begun = e.at, 5*time.Minute, !syn
		switch {
		case over:
			l.lasts = 4 * time.Minute
		case answered && !syn:
			l.lasts = 2*time.Hour + 4*time.Minute
		}
	}
	l.begun = !syn
	return l
}

// variants are what a site may want.
func variants() (out []dataplane.Desired) {
	for i := range 16 {
		d := aSite()
		d.Firewall.Open, d.Firewall.NoULA, d.Firewall.Dead = i&1 != 0, i&2 != 0, i&4 != 0
		if i&8 != 0 {
			d.Firewall.Local, d.Firewall.Stale = nil, nil
			d.Firewall.Sources = d.Firewall.Sources[:1]
			d.Routes = append(d.Routes[:1:1], dataplane.Route{Dst: pfx("::/0")[0], Iface: "eth0"}, d.Routes[1], d.Routes[3])
		}
		out = append(out, d)
	}
	return out
}

// randomPacket is one that the rules have something to say about, most of the time.
func randomPacket(r *rand.Rand) (judged, []byte) {
	addrs := []string{lanHost, lanHost, lanHost, lanBox, guestHost, guestBox, routedHost, localHost, localBox, staleHost, farHost, farHost, farHost,
		foreign, lanLL, tunnelLL, "fe80::77", "fd00:db8:2::1", "2001:db8:ebbd:990a::", "2001:db8:ebbd:99aa::1", lanNobody, "2001:db8:1::2"}
	p := judged{in: names[Index(1+r.IntN(4))], hop: 64, mac: [][6]byte{hostMAC, routerMAC, otherMAC}[r.IntN(3)]}
	src, dst := addrs[r.IntN(len(addrs))], addrs[r.IntN(len(addrs))]
	if r.IntN(3) > 0 { // a conversation
		src, dst, p.in = lanHost, farHost, "br-lan"
		if r.IntN(2) == 0 {
			src, dst, p.in = dst, src, "oasis0"
		}
	}
	if r.IntN(30) == 0 {
		dst = "ff02::1"
	}
	if !linksByName[p.in].Ether {
		p.mac = [6]byte{}
	}
	p.src, p.dst = ip(src), ip(dst)
	p.ports = [2]uint16{1, 1}
	var pkt []byte
	switch r.IntN(6) {
	case 0, 1:
		p.proto, p.flags = protoTCP, []uint8{tcpSYN, tcpSYN | tcpACK, tcpACK, tcpACK, tcpACK, tcpFIN | tcpACK, tcpRST}[r.IntN(7)]
		pkt = tcpPorts(src, dst, 1, 1, p.flags)
	case 2, 3:
		p.proto = protoUDP
		pkt = udpPorts(src, dst, 1, 1)
		if r.IntN(4) == 0 {
			pkt = ip6pkt.UDP(p.src, p.dst, 1, 1, 64, make([]byte, []int{1371, 1372, 1373, 1453}[r.IntN(4)]))
		}
	case 4:
		p.proto, p.kind = protoICMPv6, []uint8{128, 129, 128, 129, 1, 2, 135, 136, 200}[r.IntN(9)]
		pkt = icmp(p.kind, src, dst)
	default:
		p.proto, p.ports = 50, [2]uint16{}
		pkt = packetOf(50, src, dst, []byte("12345678"))
	}
	if len(pkt) > 100 && r.IntN(2) == 0 {
		n := r.IntN(2)
		pkt, p.later, p.first = parts(pkt, 704)[n], n == 1, n == 0
	}
	if r.IntN(20) == 0 {
		p.hop = byte(r.IntN(2))
	}
	pkt[7], p.size = p.hop, len(pkt)
	return p, pkt
}

// The Forwarder and the model agree about everything but who is told.
func TestForwarderAgreesWithASlowModel(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 6))
		w := newWorld(t, aSite())
		m := &model{want: aSite(), now: w.now, stories: map[string][]event{}, expected: map[string]time.Time{}, seen: map[netip.Addr]time.Time{},
			macs: map[netip.Addr][6]byte{}, neighbors: perSecond(neighborRate, neighborBurst)}
		for step := range 2000 {
			switch r.IntN(60) {
			case 0:
				m.want = variants()[r.IntN(16)]
				w.set(m.want)
			case 1:
				mac := [][6]byte{hostMAC, routerMAC, otherMAC}[r.IntN(3)]
				w.f.Neighbor(w.now, lan, ip(routerAddr), mac)
				m.macs[ip(routerAddr)] = mac
			case 2, 3, 4, 5, 6:
				d := []time.Duration{time.Minute, 4 * time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour, 5 * time.Hour}[r.IntN(6)]
				w.after(d)
				m.now = w.now
			}
			p, pkt := randomPacket(r)
			v := w.f.Packet(w.now, linksByName[p.in].Index, p.mac, slices.Clone(pkt), 0)
			reason, local, out, hop := m.packet(p)
			ok := v.Reason == reason && (v.Action == Local) == (local && reason == NoReason) && (v.Action == Forward) == (!local && reason == NoReason)
			if v.Action == Forward && (names[v.Out] != out || v.NextHop != hop) {
				ok = false
			}
			if !ok {
				t.Fatalf("seed %d, step %d: %s -> %s proto %d kind %d flags %#x later %v from %s with %s:\n%q, want reason %q, local %v, out %s by %s",
					seed, step, p.src, p.dst, p.proto, p.kind, p.flags, p.later, p.in, m.want.Firewall, text(v), reason, local, out, hop)
			}
			if v.Action == Answer {
				w.checkAnswer(v, pkt)
			}
		}
	}
}
