// SPDX-License-Identifier: MIT

package lab

import (
	"encoding/binary"
	"hash/maphash"

	"oasis6/internal/ip6pkt"
	"oasis6/lab/packet"
	"oasis6/lab/wire"
)

// identity is what of a packet stays the same from hop to hop.
type identity uint64

var identitySeed = maphash.MakeSeed()

// Of Ethernet, IPv4 and what is in it.
const (
	typeIPv4   = 0x0800
	typeARP    = 0x0806
	typeIPv6   = 0x86dd
	ipv4Header = 20
	protoICMP  = 1
	protoTCP   = 6
	protoUDP   = 17

	wgTransport       = 4
	wgTransportHeader = 16
)

// identify gives the identity of a frame, and what it carries if it is a transport message of WireGuard that open opens:
// then it is known by that.
func identify(frame []byte, open packet.Opener) (identity, []byte) {
	var h maphash.Hash
	h.SetSeed(identitySeed)
	if len(frame) < wire.Header {
		return 0, nil
	}
	body := frame[wire.Header:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case typeIPv6:
		hashIPv6(&h, body)
	case typeIPv4:
		if inner := carried(body, open); inner != nil {
			hashIPv6(&h, inner)
			return identity(h.Sum64()), inner
		}
		hashIPv4(&h, body)
	default:
		_, _ = h.Write(frame) // a hash takes all
	}
	return identity(h.Sum64()), nil
}

// identifyIPv6 is identify for a packet without a frame.
func identifyIPv6(pkt []byte) identity {
	var h maphash.Hash
	h.SetSeed(identitySeed)
	hashIPv6(&h, pkt)
	return identity(h.Sum64())
}

// hashIPv6 leaves out the hop limit, and what pads it.
func hashIPv6(h *maphash.Hash, p []byte) {
	if len(p) < ip6pkt.HeaderLen {
		_, _ = h.Write(p) // a hash takes all
		return
	}
	if n := ip6pkt.HeaderLen + int(binary.BigEndian.Uint16(p[4:])); n < len(p) {
		p = p[:n]
	}
	_, _ = h.Write(p[:7]) // as above
	_, _ = h.Write(p[8:]) // as above
}

// hashIPv4 takes only what no NAT changes.
func hashIPv4(h *maphash.Hash, p []byte) {
	proto, head, body := splitIPv4(p)
	_ = h.WriteByte(proto) // as above
	switch {
	case proto == protoUDP && len(body) >= ip6pkt.UDPHeaderLen:
		_, _ = h.Write(body[ip6pkt.UDPHeaderLen:]) // as above
	case proto == protoTCP && len(body) >= 20:
		_, _ = h.Write(body[4:16]) // as above; sequence numbers, flags, window
		_, _ = h.Write(body[20:])  // as above
	case proto == protoICMP && len(body) >= 8 && (body[0] == 0 || body[0] == 8):
		_, _ = h.Write(body[:2]) // as above; without the identifier
		_, _ = h.Write(body[6:]) // as above
	default:
		_, _ = h.Write(head) // as above
		_, _ = h.Write(body) // as above
	}
}

// splitIPv4 gives the identification field as head of what has no better sign.
func splitIPv4(p []byte) (proto byte, head, body []byte) {
	if len(p) < ipv4Header || int(p[0]&15)*4 > len(p) || p[0]&15 < 5 {
		return 0, nil, p
	}
	body = p[int(p[0]&15)*4:]
	if n := int(binary.BigEndian.Uint16(p[2:])) - int(p[0]&15)*4; n >= 0 && n < len(body) {
		body = body[:n]
	}
	return p[9], p[4:6], body
}

// carried is what a transport message of WireGuard in an IPv4 packet holds; nil: nothing that can be seen.
func carried(p []byte, open packet.Opener) []byte {
	proto, _, body := splitIPv4(p)
	if open == nil || proto != protoUDP || len(body) < ip6pkt.UDPHeaderLen+wgTransportHeader || body[ip6pkt.UDPHeaderLen] != wgTransport {
		return nil
	}
	inner, ok := open(body[ip6pkt.UDPHeaderLen:])
	if !ok || len(inner) == 0 {
		return nil
	}
	return inner
}
