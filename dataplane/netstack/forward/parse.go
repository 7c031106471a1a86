// SPDX-License-Identifier: MIT

package forward

import (
	"encoding/binary"

	"oasis6/internal/ip6pkt"
)

// Numbers of the IANA protocol registry. Extension headers are those that Linux walks through.
const (
	protoHopByHop = ip6pkt.ProtoHopByHop
	protoTCP      = 6
	protoUDP      = ip6pkt.ProtoUDP
	protoDCCP     = 33
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMPv6   = ip6pkt.ProtoICMPv6
	protoNone     = 59 // no next header
	protoDestOpts = 60
	protoSCTP     = 132
	protoUDPLite  = 136
	protoBroken   = 255 // reserved: here, a packet that ends within its headers
)

// maxHeaders is how many extension headers are walked through. RFC 8200 section 4.1 has seven of them in a packet.
const maxHeaders = 8

// ICMPv6 types that decide something (RFC 4443, RFC 4861, RFC 4620).
const (
	typeUnreachable     = 1
	typeTooBig          = 2
	typeTimeExceeded    = 3
	typeParamProblem    = 4
	typeInformational   = 128 // the first that is no error
	typeEchoRequest     = ip6pkt.TypeEchoRequest
	typeEchoReply       = ip6pkt.TypeEchoReply
	typeRouterSolicit   = 133
	typeNeighborSolicit = 135
	typeNeighborAdvert  = 136
	typeRedirect        = 137
	typeInfoQuery       = 139
	typeInfoReply       = 140
)

// Flags of TCP (RFC 9293 section 3.1).
const (
	tcpFIN = 1 << 0
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)

// fragment says which part of a packet this is.
type fragment uint8

const (
	whole fragment = iota
	firstPart
	laterPart // without the upper layer's header
)

// packet is what the headers say.
type packet struct {
	data     []byte // without what a link has padded
	src, dst u128
	upper    int // where the header of proto is; len(data) if it is not there
	proto    uint8
	part     fragment
	// ported: the ports, or the identifier of an ICMPv6 query in sport, and the flags are there. A part of TCP that ends
	// within its header is not.
	ported       bool
	sport, dport uint16
	kind         uint8 // type of an ICMPv6 message, 0 (reserved) if there is none
	flags        uint8 // of TCP
	segment      int   // longest packet that goes on a wire of it
}

// header offsets, RFC 8200 section 3.
const (
	headerLen     = ip6pkt.HeaderLen
	offPayloadLen = 4
	offNextHeader = 6
	offHopLimit   = 7
	offSource     = 8
	offDest       = 24
)

// parse reads the headers; false for what is no IPv6 packet. gso is the payload of each segment of a super-packet, 0 for
// what is one packet.
func parse(p *packet, data []byte, gso int) bool {
	if len(data) < headerLen || data[0]>>4 != 6 {
		return false
	}
	n := int(binary.BigEndian.Uint16(data[offPayloadLen:]))
	if n == 0 && gso > 0 {
		n = len(data) - headerLen // longer than the field can say
	}
	if n > len(data)-headerLen {
		return false
	}
	p.data = data[:headerLen+n]
	p.src, p.dst = load(data[offSource:]), load(data[offDest:])
	p.walk()
	p.readUpper()
	p.segment = len(p.data)
	if gso > 0 {
		p.segment = min(p.segment, p.payload()+gso)
	}
	return true
}

// walk finds the header of the upper layer.
func (p *packet) walk() {
	next, at := p.data[offNextHeader], headerLen
	p.part, p.upper = whole, len(p.data)
	for range maxHeaders {
		rest := p.data[at:]
		size := 0
		switch next {
		case protoHopByHop, protoRouting, protoDestOpts:
			if len(rest) >= 8 {
				size = 8 * (int(rest[1]) + 1)
			}
		case protoAH: // RFC 4302 section 2.2: in 32-bit words, less 2
			if len(rest) >= 8 {
				size = 4 * (int(rest[1]) + 2)
			}
		case protoFragment:
			if len(rest) >= 8 {
				size = 8
				if off := binary.BigEndian.Uint16(rest[2:]); off>>3 != 0 {
					p.part, p.proto = laterPart, rest[0]
					return
				} else if off&1 != 0 {
					p.part = firstPart
				}
			}
		case protoNone:
			p.proto = protoNone
			return
		default:
			p.proto, p.upper = next, at
			return
		}
		if size == 0 || size > len(rest) {
			break
		}
		next, at = rest[0], at+size
	}
	p.proto = protoBroken
}

// readUpper reads ports, type and flags.
func (p *packet) readUpper() {
	p.ported, p.kind, p.flags, p.sport, p.dport = false, 0, 0, 0, 0
	u := p.data[p.upper:]
	switch p.proto {
	case protoTCP:
		if len(u) < 20 || len(u) < int(u[12]>>4)*4 || u[12]>>4 < 5 {
			return
		}
		p.flags = u[13]
	case protoUDP, protoUDPLite:
		if len(u) < 8 {
			return
		}
	case protoSCTP, protoDCCP:
		if len(u) < 12 {
			return
		}
	case protoICMPv6:
		if len(u) > 0 {
			p.kind = u[0]
		}
		if len(u) >= 8 {
			p.ported, p.sport = true, binary.BigEndian.Uint16(u[4:])
		}
		return
	default:
		p.ported = p.proto != protoBroken // without ports, then
		return
	}
	p.ported = true
	p.sport, p.dport = binary.BigEndian.Uint16(u), binary.BigEndian.Uint16(u[2:])
}

// payload is where the data of the upper layer begins: what comes before is in each segment of a super-packet.
func (p *packet) payload() int {
	switch {
	case p.proto == protoTCP && p.ported:
		return p.upper + int(p.data[p.upper+12]>>4)*4
	case p.proto == protoUDP && p.ported:
		return p.upper + ip6pkt.UDPHeaderLen
	}
	return p.upper
}

// icmpError says whether it is an ICMPv6 error message, or one that is treated so (RFC 4443 section 2.4 e).
func (p *packet) icmpError() bool {
	return p.proto == protoICMPv6 && p.part != laterPart && (p.kind < typeInformational || p.kind == typeRedirect)
}

// How a router treats an option that it does not know: the two highest bits of the type (RFC 8200 section 4.2).
const (
	optPad1        = 0
	optPadN        = 1
	optRouterAlert = 5    // RFC 2711
	optJumbo       = 0xc2 // RFC 2675
	// maxOptions is as many as Linux reads (net.ipv6.max_hbh_opts_number); RFC 9673 section 5.2.2 lets a router stop.
	maxOptions = 8
)

// hopByHop reads the options that are for routers. ok: the packet may go on. bad is where the option is that the sender is
// told of, 0 if it is told nothing.
func (p *packet) hopByHop() (ok bool, bad int) {
	if p.data[offNextHeader] != protoHopByHop {
		return true, 0
	}
	if len(p.data) < headerLen+8 {
		return false, 0
	}
	end := headerLen + 8*(int(p.data[headerLen+1])+1)
	if end > len(p.data) {
		return false, 0
	}
	for at, options := headerLen+2, 0; at < end; {
		kind := p.data[at]
		if kind == optPad1 {
			at++
			continue
		}
		if at+2 > end || at+2+int(p.data[at+1]) > end {
			return false, 0
		}
		if kind != optPadN {
			if options++; options > maxOptions {
				return false, 0
			}
		}
		switch {
		case kind == optJumbo: // there are none on links like ours
			return false, 0
		case kind == optPadN, kind == optRouterAlert, kind>>6 == 0:
		case kind>>6 == 1:
			return false, 0
		case kind>>6 == 3 && p.dst.multicast():
			return false, 0
		default:
			return false, at
		}
		at += 2 + int(p.data[at+1])
	}
	return true, 0
}
