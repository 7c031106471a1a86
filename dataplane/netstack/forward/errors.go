// SPDX-License-Identifier: MIT

package forward

import (
	"encoding/binary"

	"oasis6/internal/ip6pkt"
)

// answerHopLimit is that of errors and resets (RFC 1700, the default of Linux).
const answerHopLimit = 64

// deserves says whether a packet may be answered with an error at all (RFC 4443 section 2.4 e). Of a packet in parts only
// the first is: nobody needs as many errors as there are parts, and the later ones do not say whose they are.
func (p *packet) deserves(kind, code uint8) bool {
	if p.icmpError() || p.part == laterPart || p.src.unspecified() || p.src.multicast() || p.src.loopback() {
		return false
	}
	// "to allow Path MTU discovery to work for IPv6 multicast"; and code 2 "reporting an unrecognized IPv6 option"
	exempt := kind == typeTooBig || kind == typeParamProblem && code == codeOption
	return exempt || !p.dst.multicast()
}

// codeOption is Parameter Problem for an option that is not known (RFC 4443 section 3.4).
const codeOption = 2

// problem is an ICMPv6 error before it is a packet.
type problem struct {
	kind, code uint8
	param      uint32 // MTU, or pointer
}

// report makes the verdict for a packet that is not sent on: an answer to its source, if it gets one.
func (c *crossing) report(pr problem, why Reason) Verdict {
	c.f.count.add(why)
	silent := Verdict{Action: Drop, Reason: why}
	if !c.deserves(pr.kind, pr.code) {
		return silent
	}
	from, ok := c.state.sourceFor(c.in, c.src)
	if !ok {
		return silent
	}
	if !c.f.limits.allow(c.now, c.src, pr.kind) {
		c.f.count.limited.Add(1)
		return silent
	}
	const own = headerLen + 8
	quoted := c.data[:min(len(c.data), minMTU-own)]
	body := make([]byte, 8, 8+len(quoted))
	body[0], body[1] = pr.kind, pr.code
	binary.BigEndian.PutUint32(body[4:], pr.param)
	pkt := ip6pkt.ICMPv6(from.addr(), c.src.addr(), answerHopLimit, append(body, quoted...))
	return c.back(pkt, why)
}

// back sends an answer where the packet came from, whatever the routes say of its source: with a forged one the error
// would else hit somebody else.
func (c *crossing) back(pkt []byte, why Reason) Verdict {
	return Verdict{Action: Answer, Out: c.in.index, NextHop: c.src.addr(), MAC: c.mac, Packet: pkt, Reason: why}
}

// unreachable reports that a packet does not get where it should.
func (c *crossing) unreachable(code uint8, why Reason) Verdict {
	return c.report(problem{kind: typeUnreachable, code: code}, why)
}

// output is chain output for what we make ourselves.
func (t *Table) output(out *iface, src, dst u128) ruling {
	if t.box == nil {
		return ruling{}
	}
	return t.box.output(out, src, dst)
}

// sourceFor selects one of our addresses to send something to a host with (RFC 6724 section 5: rules 2, 3, 5, 6 and 8).
// What may not leave by the interface is no candidate.
func (t *Table) sourceFor(out *iface, to u128) (u128, bool) {
	best, score := u128{}, -1
	for i := range t.own {
		o := &t.own[i]
		local := o.addr.linkLocal()
		if o.anycast || local != to.linkLocal() || local && o.iface != out || t.output(out, o.addr, to).fate != pass {
			continue
		}
		s := o.addr.common(to)
		for i, better := range []bool{
			o.addr.ula() == to.ula(), o.iface == out, !o.deprecated, t.box != nil && out.tunnel && t.box.delegations.has(o.addr),
		} {
			if better {
				s += 1 << (8 + i) // common is at most 128
			}
		}
		if s > score {
			best, score = o.addr, s
		}
	}
	return best, score >= 0
}

// reset answers a segment of TCP with a reset, as its destination would (RFC 9293 section 3.10.7.1). It says nothing to a
// reset, nor without the whole header.
func (c *crossing) reset(why Reason) Verdict {
	c.f.count.add(why)
	if !c.ported || c.flags&tcpRST != 0 || !c.deserves(typeUnreachable, 0) {
		return Verdict{Action: Drop, Reason: why}
	}
	seg := c.data[c.upper:]
	u := make([]byte, 20)
	copy(u[0:2], seg[2:4])
	copy(u[2:4], seg[0:2])
	u[12] = 5 << 4
	if c.flags&tcpACK != 0 {
		copy(u[4:8], seg[8:12])
		u[13] = tcpRST
	} else {
		n := uint32(len(seg)) - 4*uint32(seg[12]>>4) + uint32(c.flags>>1&1) + uint32(c.flags&1) // SYN and FIN count
		binary.BigEndian.PutUint32(u[8:], binary.BigEndian.Uint32(seg[4:])+n)
		u[13] = tcpRST | tcpACK
	}
	from, to := c.dst.addr(), c.src.addr()
	binary.BigEndian.PutUint16(u[16:], ip6pkt.Checksum(from, to, protoTCP, u))
	pkt := ip6pkt.Packet(from, to, protoTCP, answerHopLimit, u)
	return c.back(pkt, why)
}
