// SPDX-License-Identifier: MIT

package forward

import (
	"encoding/binary"
	"time"
)

// Classes of flows, in the order in which they give way. The times are those of RFC 6092 section 3, which wants more than
// Linux has by default, and those of Linux where it says nothing.
const (
	// flowQuery is an ICMPv6 query: its answers pass anyway, but take no token of RFC 6583.
	flowQuery class = iota
	// flowParts lets parts of a packet in whose first part has passed, or may be late: they have no ports.
	flowParts
	// flowTrying has had no answer.
	flowTrying
	// flowClosing is TCP that was reset, or closed from both ends (REC-35).
	flowClosing
	// flowDatagram is UDP with answers (REC-14).
	flowDatagram
	// flowOther is any other protocol with answers.
	flowOther
	// flowStream is TCP, SCTP or DCCP that is established (REC-35, REC-40, REC-44).
	flowStream
)

func flowLives() []time.Duration {
	return []time.Duration{
		flowQuery:    30 * time.Second, // nf_conntrack_icmpv6_timeout
		flowParts:    time.Minute,      // nf_conntrack_frag6_timeout, RFC 8200 section 4.5
		flowTrying:   5 * time.Minute,
		flowClosing:  4 * time.Minute,
		flowDatagram: 5 * time.Minute,
		flowOther:    10 * time.Minute, // nf_conntrack_generic_timeout
		flowStream:   2*time.Hour + 4*time.Minute,
	}
}

// State of a flow.
const (
	stateSYN      = 1 << iota // it began with a SYN from the inside that has had no SYN back
	stateAnswered             // the outside has said something
	stateInFIN
	stateOutFIN
	stateRST
)

// flows are what the inside began with the outside. As with Linux's connection tracking a flow is two addresses, two ports
// and a protocol.
type flows struct{ *store }

// flowGrain is how exactly the last packet of a flow is known.
const flowGrain = time.Second

func newFlows(seed [2]uint64, most int) flows {
	return flows{newStore(seed, most, flowGrain, flowLives()...)}
}

func outboundKey(p *packet) key {
	return key{in: p.src, out: p.dst, inPort: p.sport, outPort: p.dport, proto: p.proto}
}

func inboundKey(p *packet) key {
	return key{in: p.dst, out: p.src, inPort: p.dport, outPort: p.sport, proto: p.proto}
}

// query makes a key of an ICMPv6 query that its answer has too: the type of the query stands where a port would be.
func (k key) query(identifier uint16, kind uint8) key {
	switch kind {
	case typeEchoReply:
		kind = typeEchoRequest
	case typeInfoReply:
		kind = typeInfoQuery
	}
	k.inPort, k.outPort = identifier, uint16(kind)
	return k
}

func partsKey(in, out u128) key { return key{in: in, out: out, proto: protoFragment} }

// outbound notes a packet that leaves. begins: it is the first one of a flow.
func (f flows) outbound(now time.Time, p *packet) (begins bool) {
	if !p.ported || p.part == laterPart {
		return false
	}
	k := outboundKey(p)
	if p.proto == protoICMPv6 {
		if p.kind != typeEchoRequest && p.kind != typeInfoQuery {
			return false
		}
		k = k.query(p.sport, p.kind)
	}
	at := now.UnixNano()
	part, h := f.lock(&k)
	if e := part.get(&k, h, at); e != nil {
		part.sent(e, p, at)
		part.Unlock()
		return false
	}
	c, begins := flowTrying, true
	switch p.proto {
	case protoTCP:
		// What is in the middle of a connection is taken for one: the box may have started anew (as Linux has it,
		// nf_conntrack_tcp_loose).
		begins = p.flags&(tcpSYN|tcpACK) != 0 && p.flags&(tcpSYN|tcpACK) != tcpSYN|tcpACK && p.flags&(tcpRST|tcpFIN) == 0
	case protoICMPv6:
		c = flowQuery
	case protoDCCP:
		c = flowOther // "not [...] less than eight minutes"
	}
	if begins {
		e := part.put(&k, h, at, c, flowStream)
		if p.proto == protoTCP && p.flags&tcpSYN != 0 {
			e.state = stateSYN
		}
	}
	part.Unlock()
	if begins {
		f.expectParts(at, p.src, p.dst)
	}
	return begins
}

// sent renews a flow for a packet from the inside.
func (p *part) sent(e *entry, k *packet, now int64) {
	if e.proto != protoTCP {
		p.renew(e, now, e.class)
		return
	}
	switch {
	case k.flags&tcpRST != 0:
		e.state |= stateRST
	case k.flags&tcpSYN != 0 && k.flags&tcpACK == 0 && e.class == flowClosing:
		e.state = stateSYN // the same ports again
		p.renew(e, now, flowTrying)
		return
	case k.flags&tcpFIN != 0:
		e.state |= stateOutFIN
	default:
		// A host that goes on after a reset has not believed it: it was forged, or of another connection.
		e.state &^= stateRST
		if e.state&stateAnswered != 0 {
			e.state &^= stateSYN
		}
	}
	p.renew(e, now, e.tcpClass())
}

// tcpClass is the class that the state of a TCP flow makes.
func (e *entry) tcpClass() class {
	switch {
	case e.state&stateRST != 0, e.state&(stateInFIN|stateOutFIN) == stateInFIN|stateOutFIN:
		return flowClosing
	case e.state&stateAnswered == 0, e.state&stateSYN != 0:
		return flowTrying
	}
	return flowStream
}

// inbound says whether a packet from the outside belongs to what the inside began, and notes it.
func (f flows) inbound(now time.Time, p *packet) bool {
	at := now.UnixNano()
	if p.part == laterPart {
		k := partsKey(p.dst, p.src)
		part, h := f.lock(&k)
		defer part.Unlock()
		return part.get(&k, h, at) != nil
	}
	if p.icmpError() {
		return f.related(at, p)
	}
	if !p.ported {
		return false
	}
	k := inboundKey(p)
	if p.proto == protoICMPv6 {
		if p.kind != typeEchoReply && p.kind != typeInfoReply {
			return false
		}
		k = k.query(p.sport, p.kind)
	}
	part, h := f.lock(&k)
	e := part.get(&k, h, at)
	ok := e != nil && part.received(e, p, at)
	part.Unlock()
	if ok && p.part == firstPart {
		f.expectParts(at, p.dst, p.src)
	}
	return ok
}

// received renews a flow for a packet from the outside; false for one that cannot be of it.
func (p *part) received(e *entry, k *packet, now int64) bool {
	if e.proto != protoTCP {
		e.state |= stateAnswered
		p.renew(e, now, e.answeredClass())
		return true
	}
	switch {
	case k.flags&tcpRST != 0:
		e.state |= stateRST
	case k.flags&(tcpSYN|tcpACK) == tcpSYN:
		// Both ends have begun at once (RFC 6092 REC-31), or the outside wants to begin.
		if e.state&stateSYN == 0 {
			return false
		}
		e.state |= stateAnswered
	case k.flags&tcpFIN != 0:
		e.state |= stateInFIN
	case k.flags&tcpSYN == 0 && e.state&(stateSYN|stateAnswered) == stateSYN:
		return true // the other end has an older connection there and says so (RFC 9293 section 3.5.1)
	default:
		e.state |= stateAnswered
	}
	if c := e.tcpClass(); c != flowClosing || e.class != flowClosing {
		p.renew(e, now, c) // the outside does not keep open what is over
	}
	return true
}

// answeredClass is the class of a flow that is not TCP and has an answer.
func (e *entry) answeredClass() class {
	switch e.proto {
	case protoICMPv6:
		return flowQuery
	case protoUDP, protoUDPLite:
		return flowDatagram
	case protoSCTP, protoDCCP:
		return flowStream
	}
	return flowOther
}

// related says whether an ICMPv6 error is about a packet of a flow, and goes to who has sent that.
func (f flows) related(at int64, p *packet) bool {
	const quote = 8 // where the quoted packet begins (RFC 4443 section 3)
	if len(p.data) < p.upper+quote+headerLen || p.kind == typeRedirect {
		return false
	}
	q := packet{data: p.data[p.upper+quote:]}
	q.src, q.dst = load(q.data[offSource:]), load(q.data[offDest:])
	if q.data[0]>>4 != 6 || q.src != p.dst {
		return false
	}
	q.walk()
	k := outboundKey(&q)
	switch u := q.data[q.upper:]; {
	case q.part == laterPart:
		k = partsKey(q.src, q.dst)
	case q.proto == protoTCP, q.proto == protoUDP, q.proto == protoUDPLite, q.proto == protoSCTP, q.proto == protoDCCP:
		if len(u) < 4 {
			return false
		}
		k.inPort, k.outPort = binary.BigEndian.Uint16(u), binary.BigEndian.Uint16(u[2:])
	case q.proto == protoICMPv6:
		if len(u) < 8 {
			return false
		}
		k = k.query(binary.BigEndian.Uint16(u[4:]), u[0])
	}
	part, h := f.lock(&k)
	defer part.Unlock()
	return part.get(&k, h, at) != nil
}

// passed notes a packet that came in without a flow: if it is the first part of one, the others may come too.
func (f flows) passed(now time.Time, p *packet) {
	if p.part == firstPart {
		f.expectParts(now.UnixNano(), p.dst, p.src)
	}
}

func (f flows) expectParts(at int64, in, out u128) {
	k := partsKey(in, out)
	part, h := f.lock(&k)
	if e := part.get(&k, h, at); e != nil {
		part.renew(e, at, flowParts)
	} else {
		part.put(&k, h, at, flowParts, flowParts)
	}
	part.Unlock()
}
