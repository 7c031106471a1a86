// SPDX-License-Identifier: MIT

package neigh

import (
	"errors"
	"net/netip"
	"time"

	"oasis6/internal/ip6pkt"
)

// ND messages and options (RFC 4861 section 4).
const (
	typeRS, typeRA, typeNS, typeNA = 133, 134, 135, 136
	lenRS, lenRA, lenNS            = 8, 16, 24 // without options; an advertisement is as long as a solicitation
	hopLimit                       = 255

	offSrc, offDst = 8, 24 // in the packet (RFC 8200 section 3)

	optSource, optTarget = 1, 2
	optLen               = 8 // of an Ethernet address

	flagRouter, flagSolicited, flagOverride = 0x80, 0x40, 0x20
)

// message is what an ND message says of neighbors.
type message struct {
	typ      byte
	src, dst netip.Addr
	target   netip.Addr // of NS and NA
	mac      MAC        // from the option that fits the type
	hasMAC   bool
	flags    byte // of NA
}

// Hear takes a whole IPv6 packet that came in by the link and is perhaps an ND message; own says whether an address is
// the node's own on this link, which nobody else has. It keeps nothing of the packet.
func (t *Table[P]) Hear(now time.Time, pkt []byte, own func(netip.Addr) bool) (act Actions[P]) {
	m, ok := parse(pkt)
	switch {
	case !ok:
	case m.typ == typeNA:
		if !own(m.target) {
			t.confirmation(now, m, &act)
		}
	case m.hasMAC && !m.src.IsUnspecified() && !own(m.src):
		t.spoke(now, m.src, m.mac, &act)
	}
	return act
}

// confirmation is RFC 4861 section 7.2.5.
func (t *Table[P]) confirmation(now time.Time, m message, act *Actions[P]) {
	e := t.entries[m.target]
	if e == nil {
		// RFC 9131 section 6.1.1: a router makes a stale entry of an unsolicited advertisement for a new address.
		if m.hasMAC {
			t.spoke(now, m.target, m.mac, act)
		}
		return
	}
	if e.state == incomplete {
		if !m.hasMAC {
			return // "the receiving node SHOULD silently discard the received advertisement"
		}
		t.learn(now, e, m.mac, act)
		if m.flags&flagSolicited != 0 {
			t.confirm(now, e, act)
		}
		t.release(e, act)
		return
	}
	other := m.hasMAC && m.mac != e.mac
	if other && m.flags&flagOverride == 0 {
		if e.state == reachable {
			e.state = stale
		}
		return
	}
	e.seen = now
	if other {
		t.setMAC(e, m.mac)
		act.News = append(act.News, News{Addr: e.addr, MAC: e.mac})
	}
	switch {
	case m.flags&flagSolicited != 0:
		t.confirm(now, e, act)
	case other:
		t.disarm(e)
		e.state = stale
	}
}

// spoke is RFC 4861 section 7.2.3: who sends with a source link-layer address is there, but may not hear us.
func (t *Table[P]) spoke(now time.Time, a netip.Addr, mac MAC, act *Actions[P]) {
	e := t.entries[a]
	switch {
	case e == nil:
		e = t.add(now, a, rankHeard, act)
		t.learn(now, e, mac, act)
	case e.state == incomplete:
		t.learn(now, e, mac, act)
		t.release(e, act)
	case e.mac != mac:
		t.learn(now, e, mac, act)
	default:
		e.seen = now
	}
}

// learn sets the MAC of an entry, stale.
func (t *Table[P]) learn(now time.Time, e *entry[P], mac MAC, act *Actions[P]) {
	t.disarm(e)
	t.setMAC(e, mac)
	e.state, e.seen, e.asked = stale, now, 0
	if e.rank == rankAsked {
		t.promote(e, rankHeard, act)
	}
	act.News = append(act.News, News{Addr: e.addr, MAC: mac})
}

// confirm makes it reachable: it has answered.
func (t *Table[P]) confirm(now time.Time, e *entry[P], act *Actions[P]) {
	t.disarm(e)
	e.state, e.seen = reachable, now
	e.until = now.Add(time.Duration((minReachable + spread*t.rand()) * float64(ReachableTime)))
	if e.rank != rankKnown {
		act.News = append(act.News, News{Addr: e.addr, MAC: e.mac, Answered: true})
	}
	t.promote(e, rankKnown, act)
}

// release lets go what waited.
func (t *Table[P]) release(e *entry[P], act *Actions[P]) {
	for _, p := range e.waiting {
		t.octets -= t.size(p)
		act.Send = append(act.Send, Out[P]{e.mac, p})
	}
	if len(e.waiting) > 0 && e.state == stale {
		e.state = delay
		t.arm(e, e.seen.Add(DelayFirstProbeTime))
	}
	e.waiting = nil
}

// parse takes what is valid by RFC 4861 sections 6.1 and 7.1.
func parse(pkt []byte) (m message, ok bool) {
	if len(pkt) < ip6pkt.HeaderLen+lenRS || pkt[6] != ip6pkt.ProtoICMPv6 || pkt[7] != hopLimit ||
		pkt[ip6pkt.HeaderLen] < typeRS || pkt[ip6pkt.HeaderLen] > typeNA {
		return m, false // most packets
	}
	icmp, err := ip6pkt.ParseICMPv6(pkt)
	if err != nil || icmp.Body[1] != 0 {
		return m, false
	}
	m.typ, m.src, m.dst = icmp.Body[0], icmp.Src, icmp.Dst
	fixed, option := lenNS, byte(optSource)
	switch m.typ {
	case typeRS:
		fixed = lenRS
	case typeRA:
		fixed = lenRA
	case typeNA:
		option = optTarget
	}
	if len(icmp.Body) < fixed {
		return m, false
	}
	if m.typ == typeNS || m.typ == typeNA {
		m.target = netip.AddrFrom16([16]byte(icmp.Body[8:24]))
		m.flags = icmp.Body[4]
	}
	return m, m.options(icmp.Body[fixed:], option) && m.sane()
}

// options finds the MAC; false: malformed.
func (m *message) options(b []byte, want byte) bool {
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || int(b[1])*8 > len(b) {
			return false
		}
		n := int(b[1]) * 8
		if b[0] == want && n == optLen && !m.hasMAC {
			m.mac, m.hasMAC = MAC(b[2:optLen]), true
		}
		b = b[n:]
	}
	return true
}

func (m *message) sane() bool {
	switch {
	case m.hasMAC && (m.mac[0]&1 != 0 || m.mac == MAC{}):
		return false
	case m.src.IsMulticast() || m.src.IsLoopback() || m.src.Is4In6():
		return false
	case m.typ == typeRA && !m.src.IsLinkLocalUnicast():
		return false
	case m.typ == typeNS || m.typ == typeNA:
		if m.target.IsMulticast() || m.target.IsUnspecified() || m.target.IsLoopback() || m.target.Is4In6() {
			return false
		}
		// A solicited advertisement goes to who asked (RFC 4861 section 7.1.2).
		return m.typ != typeNA || !m.dst.IsMulticast() || m.flags&flagSolicited == 0
	}
	return true
}

// solicitation is a Neighbor Solicitation for target (RFC 4861 section 7.2.2).
func solicitation(as Solicitor, dst, target netip.Addr) []byte {
	body := make([]byte, lenNS, lenNS+optLen)
	body[0] = typeNS
	ip := target.As16()
	copy(body[8:], ip[:])
	body = append(append(body, optSource, 1), as.MAC[:]...)
	return ip6pkt.ICMPv6(as.From, dst, hopLimit, body)
}

// Solicitation is a Neighbor Solicitation that somebody may answer for another node.
type Solicitation struct {
	Src, Target netip.Addr
}

// errNotSolicitation is for all that is not a valid one.
var errNotSolicitation = errors.New("not a valid Neighbor Solicitation")

// ParseSolicitation reads one.
func ParseSolicitation(pkt []byte) (Solicitation, error) {
	m, ok := parse(pkt)
	if !ok || m.typ != typeNS {
		return Solicitation{}, errNotSolicitation
	}
	if m.src.IsUnspecified() && (m.hasMAC || m.dst != ip6pkt.SolicitedNode(m.target)) {
		return Solicitation{}, errNotSolicitation
	}
	return Solicitation{m.src, m.target}, nil
}

// DAD says whether somebody checks if an address is free (RFC 4862 section 5.4).
func (s Solicitation) DAD() bool { return s.Src.IsUnspecified() }

// Advertisement is the answer for somebody else's address, with our MAC (RFC 4861 sections 7.2.4 and 7.2.8): without
// Override, so that a node that is on the link itself is believed more. Whoever checks if the address is free is told
// with all nodes that it is not.
func (s Solicitation) Advertisement(from netip.Addr, mac MAC) []byte {
	return s.advertisement(from, mac, 0)
}

// AdvertisementOfRouter is Advertisement for an address that all routers of a subnet have.
func (s Solicitation) AdvertisementOfRouter(from netip.Addr, mac MAC) []byte {
	return s.advertisement(from, mac, flagRouter)
}

func (s Solicitation) advertisement(from netip.Addr, mac MAC, flags byte) []byte {
	body := make([]byte, lenNS, lenNS+optLen)
	body[0] = typeNA
	to := s.Src
	if s.DAD() {
		to = netip.IPv6LinkLocalAllNodes()
	} else {
		flags |= flagSolicited
	}
	body[4] = flags
	ip := s.Target.As16()
	copy(body[8:], ip[:])
	body = append(append(body, optTarget, 1), mac[:]...)
	return ip6pkt.ICMPv6(from, to, hopLimit, body)
}
