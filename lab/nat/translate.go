// SPDX-License-Identifier: MIT

package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// fragmentKey names a datagram that comes in in pieces: only the first has ports. Deviates from RFC 4787 REQ-14: pieces
// that come before the first are dropped, as no wire of the lab changes their order.
type fragmentKey struct {
	src   netip.Addr
	proto Proto
	id    [2]byte
}

type fragment struct {
	inside  netip.Addr
	expires time.Time
}

// Outward translates a packet from the inside. One whose destination is the outside address itself comes back
// ("hairpin", RFC 4787 section 6).
func (m *Machine) Outward(now time.Time, b []byte) Result {
	p, err := parse(slices.Clone(b), false)
	if err != nil {
		return drop(err.Error(), "RFC 791 section 3.1")
	}
	r := m.out(now, &p)
	if r.Verdict != Passed || p.dst.Addr() != m.cfg.Outside {
		return r
	}
	if m.cfg.NoHairpin {
		return drop("the translator does not turn packets to its own address around", "RFC 4787 section 6")
	}
	back := m.Inward(now, p.b)
	if back.Verdict == Passed {
		back.Text, back.RFC = r.Text+"; turned around ("+back.Text+")", "RFC 4787 section 6"
	}
	return back
}

func (m *Machine) out(now time.Time, p *packet) Result {
	if p.isError() {
		return m.errorOut(now, p)
	}
	if at, _ := p.offset(); at > 0 {
		p.setSource(netip.AddrPortFrom(m.cfg.Outside, 0))
		return Result{Passed, p.b, "a later piece of a datagram: only the address changes", "RFC 4787 section 11"}
	}
	if err := p.ports(false); err != nil {
		return drop(err.Error(), "RFC 4787 section 4")
	}
	if p.proto == ICMP && p.body()[0] != icmpEcho {
		return drop("the translator passes no ICMP message of this type", "RFC 5508 section 8")
	}
	inside := p.src
	l, s, text := m.outward(now, p.proto, inside, p.dst)
	if s == nil {
		return Result{Verdict: Refused, Text: text, RFC: "RFC 5508 section 6"}
	}
	if p.proto == TCP {
		s.tcp.see(p.body()[tcpFlagsAt], true)
	}
	m.touch(now, l, s)
	p.setSource(netip.AddrPortFrom(m.cfg.Outside, l.port))
	return Result{Passed, p.b, fmt.Sprintf("%s from %v leaves as %v", l.proto, inside, p.src), mappingRFC(l.proto)}
}

func mappingRFC(p Proto) string {
	switch p {
	case TCP:
		return "RFC 5382 section 4.1"
	case ICMP:
		return "RFC 5508 section 3.1"
	}
	return "RFC 4787 section 4.1"
}

// Inward translates a packet from the outside to the outside address.
func (m *Machine) Inward(now time.Time, b []byte) Result {
	p, err := parse(slices.Clone(b), false)
	if err != nil {
		return drop(err.Error(), "RFC 791 section 3.1")
	}
	if p.isError() {
		return m.errorIn(now, &p)
	}
	at, more := p.offset()
	key := fragmentKey{p.src.Addr(), p.proto, [2]byte(p.b[4:])}
	if at > 0 {
		f, ok := m.fragments[key]
		if !ok || !f.expires.After(now) {
			return drop("a piece of a datagram whose first piece has not come", "RFC 4787 section 11")
		}
		p.setDestination(netip.AddrPortFrom(f.inside, 0))
		return Result{Passed, p.b, "a later piece of a datagram, to where the first went", "RFC 4787 section 11"}
	}
	if err := p.ports(false); err != nil {
		return drop(err.Error(), "RFC 4787 section 5")
	}
	if p.proto == ICMP && p.body()[0] != icmpEchoReply {
		if p.body()[0] == icmpEcho {
			return Result{Verdict: Local, Text: "an echo request to the translator itself", RFC: "RFC 1812 section 4.3.3.6"}
		}
		return drop("the translator passes no ICMP message of this type", "RFC 5508 section 8")
	}
	outside := p.dst
	l, s, text := m.inward(now, p.proto, outside.Port(), p.src)
	if s == nil {
		return drop(text, "RFC 4787 section 5")
	}
	s.answered = true
	if p.proto == TCP {
		s.tcp.see(p.body()[tcpFlagsAt], false)
	}
	m.touch(now, l, s)
	if more {
		m.remember(now, key, l.inside.Addr())
	}
	p.setDestination(l.inside)
	return Result{Passed, p.b, fmt.Sprintf("%s to %v goes to %v", l.proto, outside, l.inside), "RFC 4787 section 5"}
}

// remember keeps where a datagram in pieces goes.
func (m *Machine) remember(now time.Time, k fragmentKey, inside netip.Addr) {
	if len(m.fragments) >= maxFragments {
		for k, f := range m.fragments {
			if !f.expires.After(now) {
				delete(m.fragments, k)
			}
		}
	}
	if len(m.fragments) < maxFragments {
		m.fragments[k] = fragment{inside, now.Add(fragmentsWait)}
	}
}

// quote is the packet that an ICMP error is about. It shares the error's octets.
func quote(p *packet) (q packet, why string) {
	if _, more := p.offset(); more {
		return q, "an ICMP error in pieces"
	}
	if sum(0, p.body()) != 0xffff {
		return q, "wrong checksum of an ICMP error"
	}
	q, err := parse(p.body()[icmpHeader:], true)
	if err == nil {
		err = q.ports(true)
	}
	if err != nil {
		return q, "the packet in an ICMP error cannot be read"
	}
	return q, ""
}

const errorsRFC = "RFC 5508 section 4.2"

// errorIn translates an ICMP error about something that went out: the inside sees its own packet in it.
func (m *Machine) errorIn(now time.Time, p *packet) Result {
	q, why := quote(p)
	if why != "" {
		return drop(why, errorsRFC)
	}
	l := m.byOutside[outsideKey{q.proto, q.src.Port()}]
	if q.src.Addr() != m.cfg.Outside || l == nil {
		return drop("an ICMP error about nothing that the translator knows", errorsRFC)
	}
	if s := l.sessions[q.dst]; s == nil || !s.expires.After(now) {
		return drop("an ICMP error about nothing that the translator knows", errorsRFC)
	}
	q.setSource(l.inside)
	putChecksum(p.body(), icmpChecksumAt)
	p.setDestination(netip.AddrPortFrom(l.inside.Addr(), 0))
	return Result{Passed, p.b, fmt.Sprintf("an ICMP error about %v goes to %v", q.dst, l.inside.Addr()), errorsRFC}
}

// errorOut translates an ICMP error about something that came in.
func (m *Machine) errorOut(now time.Time, p *packet) Result {
	q, why := quote(p)
	if why != "" {
		return drop(why, errorsRFC)
	}
	l := m.byInside[insideKey{q.proto, q.dst, pairOf(m.cfg.Mapping, q.src)}]
	if l == nil {
		return drop("an ICMP error about nothing that the translator knows", errorsRFC)
	}
	if s := l.sessions[q.src]; s == nil || !s.expires.After(now) {
		return drop("an ICMP error about nothing that the translator knows", errorsRFC)
	}
	q.setDestination(netip.AddrPortFrom(m.cfg.Outside, l.port))
	putChecksum(p.body(), icmpChecksumAt)
	p.setSource(netip.AddrPortFrom(m.cfg.Outside, 0))
	return Result{Passed, p.b, fmt.Sprintf("an ICMP error from %v leaves as %v", l.inside.Addr(), m.cfg.Outside), errorsRFC}
}
