// SPDX-License-Identifier: MIT

package offload

import (
	"bytes"
	"encoding/binary"

	"oasis6/internal/ip6pkt"
)

// Bounds of what is made one.
const (
	maxParts = 64    // payloads of one super-packet
	maxSuper = 65535 // octets of it, with the IPv6 header: what a tap of any kernel takes
	maxOpen  = 8     // super-packets that are begun at one time: the flows of one batch
)

// Super is a packet that is to be sent, in parts: headers first, then payloads.
type Super[K comparable] struct {
	To    K
	Info  Info
	Parts [][]byte

	key   flow
	next  uint32 // sequence number that would follow
	size  int    // payload of the first segment
	total int    // octets of payload
	ended bool   // nothing may follow: the last segment was short, or has a flag
}

// flow says which segments belong together; all of their headers but the sequence number, length and checksum is equal.
type flow struct {
	addrs [32]byte
	ports [4]byte
	proto byte
}

// Coalescer makes super-packets of the segments of a batch, for destinations of type K. Order within a flow is kept. What
// it is given must stay as it is until Flush has returned.
type Coalescer[K comparable] struct {
	UDP bool // the link takes super-packets of UDP, too

	open [maxOpen]Super[K]
	n    int
	out  func(*Super[K])
}

// NewCoalescer makes one that gives super-packets, and packets that are none, to out. out must not keep what it gets, and
// may change headers.
func NewCoalescer[K comparable](out func(*Super[K])) *Coalescer[K] { return &Coalescer[K]{out: out} }

// Add takes a whole packet without anything left to be done.
func (c *Coalescer[K]) Add(to K, pkt []byte) {
	key, headers, kind := classify(pkt, c.UDP)
	if kind == other {
		c.flushFlow(to, key, true)
		one := Super[K]{To: to, Parts: [][]byte{pkt}}
		c.out(&one)
		return
	}
	for i := range c.n {
		s := &c.open[i]
		if s.To != to || s.key != key {
			continue
		}
		if s.join(pkt, headers, kind) {
			return
		}
		c.flush(i)
		break
	}
	if c.n == maxOpen {
		c.flush(0)
	}
	c.open[c.n].begin(to, key, pkt, headers, kind)
	c.n++
}

// flushFlow sends what has been begun of a flow; of all flows of those addresses if ports say nothing.
func (c *Coalescer[K]) flushFlow(to K, key flow, all bool) {
	for i := 0; i < c.n; {
		s := &c.open[i]
		if s.To == to && s.key.addrs == key.addrs && (all || s.key == key) {
			c.flush(i)
			continue
		}
		i++
	}
}

// flush sends one and closes the gap, so that the others stay in order.
func (c *Coalescer[K]) flush(i int) {
	s := &c.open[i]
	s.finish()
	c.out(s)
	parts := s.Parts[:0]
	clear(s.Parts)
	copy(c.open[i:], c.open[i+1:c.n])
	c.n--
	c.open[c.n] = Super[K]{Parts: parts}
}

// Flush sends all that has been begun.
func (c *Coalescer[K]) Flush() {
	for c.n > 0 {
		c.flush(0)
	}
}

// kind says what a packet may become.
type kind uint8

const (
	other   kind = iota // goes as it is
	segment             // of TCP: may be followed
	final               // of TCP: may follow, and ends it
	message             // of UDP
)

// classify reads the headers. Of what is other only the addresses count.
func classify(pkt []byte, udp bool) (key flow, headers int, k kind) {
	if len(pkt) < headerLen {
		return key, 0, other
	}
	copy(key.addrs[:], pkt[offSrc:headerLen])
	if int(binary.BigEndian.Uint16(pkt[offLength:])) != len(pkt)-headerLen {
		return key, 0, other
	}
	u := pkt[headerLen:]
	switch pkt[offNext] {
	case protoTCP:
		if len(u) < tcpMin {
			return key, 0, other
		}
		n := int(u[tcpOffset]>>4) * 4
		flags := u[tcpFlags]
		if n < tcpMin || n >= len(u) || flags&flagACK == 0 || flags&^(flagACK|flagPSH) != 0 {
			return key, 0, other
		}
		headers, k = headerLen+n, segment
		if flags&flagPSH != 0 {
			k = final
		}
	case ip6pkt.ProtoUDP:
		if !udp || len(u) <= ip6pkt.UDPHeaderLen || int(binary.BigEndian.Uint16(u[udpLen:])) != len(u) || u[udpSum] == 0 && u[udpSum+1] == 0 {
			return key, 0, other
		}
		headers, k = headerLen+ip6pkt.UDPHeaderLen, message
	default:
		return key, 0, other
	}
	if !valid(pkt) {
		return key, 0, other // a kernel that is told that the checksum is right must not be lied to
	}
	copy(key.ports[:], u)
	key.proto = pkt[offNext]
	return key, headers, k
}

// valid says whether the checksum is right.
func valid(pkt []byte) bool {
	u := pkt[headerLen:]
	start := add(sum(uint16(pkt[offNext]), pkt[offSrc:headerLen]), uint16(len(u)))
	return sum(start, u) == 0xffff
}

func (s *Super[K]) begin(to K, key flow, pkt []byte, headers int, k kind) {
	s.To, s.key, s.Info = to, key, Info{}
	s.Parts = append(s.Parts[:0], pkt[:headers:headers], pkt[headers:])
	s.size = len(pkt) - headers
	s.total = s.size
	s.ended = k == final
	if key.proto == protoTCP {
		s.next = binary.BigEndian.Uint32(pkt[headerLen+tcpSeq:]) + uint32(s.size)
	}
}

// join takes a segment that follows; false: it does not.
func (s *Super[K]) join(pkt []byte, headers int, k kind) bool {
	head, n := s.Parts[0], len(pkt)-headers
	if s.ended || len(s.Parts) > maxParts || n > s.size || len(head) != headers || len(head)+s.total+n > maxSuper {
		return false
	}
	// Version, class, label, and hop limit: whoever looks at them must see what was sent.
	if !bytes.Equal(head[:offLength], pkt[:offLength]) || head[offNext+1] != pkt[offNext+1] {
		return false
	}
	u, w := head[headerLen:], pkt[headerLen:headers]
	if s.key.proto == protoTCP {
		if binary.BigEndian.Uint32(w[tcpSeq:]) != s.next ||
			!bytes.Equal(u[tcpAck:tcpFlags], w[tcpAck:tcpFlags]) || !bytes.Equal(u[tcpFlags+1:tcpSum], w[tcpFlags+1:tcpSum]) ||
			!bytes.Equal(u[tcpSum+2:], w[tcpSum+2:]) {
			return false
		}
		s.next += uint32(n)
		u[tcpFlags] |= w[tcpFlags]
	}
	s.Parts = append(s.Parts, pkt[headers:])
	s.total += n
	s.ended = n < s.size || k == final
	return true
}

// finish makes the headers those of a super-packet.
func (s *Super[K]) finish() {
	if len(s.Parts) == 2 {
		return // one packet, as it came
	}
	head := s.Parts[0]
	u := head[headerLen:]
	n := len(u) + s.total
	binary.BigEndian.PutUint16(head[offLength:], uint16(n))
	at := tcpSum
	if s.key.proto != protoTCP {
		at = udpSum
		binary.BigEndian.PutUint16(u[udpLen:], uint16(n))
	}
	// What the kernel completes, for each segment if it has to.
	binary.BigEndian.PutUint16(u[at:], add(sum(uint16(s.key.proto), head[offSrc:headerLen]), uint16(n)))
	s.Info = Info{Size: uint16(s.size), Partial: true, Start: headerLen, Field: uint16(at)}
}
