// SPDX-License-Identifier: MIT

package device

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"oasis6/internal/wgkey"
)

// Types of messages: the first octet, and three of zero after it.
const (
	TypeInitiation = 1
	TypeResponse   = 2
	TypeCookie     = 3
	TypeTransport  = 4
)

// Message is what a datagram says: an Initiation, a Response, a Cookie or a Transport.
type Message interface{ message() }

type (
	// Initiation is whitepaper section 5.4.2. Static is who sends it and Time when, which a real one hides.
	Initiation struct {
		Sender    uint32
		Ephemeral [32]byte // random, no key
		Static    wgkey.Public
		Time      Timestamp
		MAC2      [16]byte // zero: no cookie
	}
	// Response is whitepaper section 5.4.3.
	Response struct {
		Sender, Receiver uint32
		Ephemeral        [32]byte
		MAC2             [16]byte
	}
	// Cookie is whitepaper section 5.4.7.
	Cookie struct {
		Receiver uint32
		Nonce    [24]byte
		Cookie   [16]byte // a real one hides it
	}
	// Transport is whitepaper section 5.4.6. Content is in clear and padded, and a part of the datagram.
	Transport struct {
		Receiver uint32
		Counter  uint64
		Content  []byte
	}
)

func (Initiation) message() {}
func (Response) message()   {}
func (Cookie) message()     {}
func (Transport) message()  {}

// Offsets. A field is followed by the 16 octets of its tag where a real message encrypts it.
const (
	offSender      = 4
	offReceiver    = 8
	offEphemeralI  = 8
	offStatic      = 40
	offTime        = 88
	offEphemeralR  = 12
	offEmpty       = 44 // the tag of nothing, which proves the preshared key
	offTransportTo = 4
	offCounter     = 8
	offNonce       = 8
	offCookie      = 32
	macs           = 32 // mac1 and mac2 are the last two times 16 octets of a handshake message
)

// ErrMessage says that a datagram has the type or the length of no message.
var ErrMessage = errors.New("not a WireGuard message")

// Parse reads a datagram of a Device. That it is authentic only a Device can say.
func Parse(b []byte) (Message, error) {
	switch kind(b) {
	case TypeInitiation:
		return Initiation{
			Sender: get32(b[offSender:]), Ephemeral: [32]byte(b[offEphemeralI:]), Static: wgkey.Public(b[offStatic:]),
			Time: Timestamp(b[offTime:]), MAC2: [16]byte(b[len(b)-16:]),
		}, nil
	case TypeResponse:
		return Response{
			Sender: get32(b[offSender:]), Receiver: get32(b[offReceiver:]), Ephemeral: [32]byte(b[offEphemeralR:]),
			MAC2: [16]byte(b[len(b)-16:]),
		}, nil
	case TypeCookie:
		return Cookie{Receiver: get32(b[offSender:]), Nonce: [24]byte(b[offNonce:]), Cookie: [16]byte(b[offCookie:])}, nil
	case TypeTransport:
		return transport(b), nil
	}
	return nil, ErrMessage
}

func transport(b []byte) Transport {
	return Transport{Receiver: get32(b[offTransportTo:]), Counter: get64(b[offCounter:]), Content: b[HeaderLen : len(b)-TagLen]}
}

// Inner is the IPv6 packet in a transport message, without its padding; false if there is none.
func Inner(datagram []byte) ([]byte, bool) {
	if kind(datagram) != TypeTransport {
		return nil, false
	}
	return whole(transport(datagram).Content)
}

// kind is the type of a message that has the length of that type, else zero.
func kind(b []byte) byte {
	if len(b) < KeepaliveLen || b[1] != 0 || b[2] != 0 || b[3] != 0 {
		return 0
	}
	ok := false
	switch b[0] {
	case TypeInitiation:
		ok = len(b) == InitiationLen
	case TypeResponse:
		ok = len(b) == ResponseLen
	case TypeCookie:
		ok = len(b) == CookieLen
	case TypeTransport:
		ok = true
	}
	if !ok {
		return 0
	}
	return b[0]
}

// Offsets in the IPv6 header (RFC 8200 section 3).
const (
	ip6HeaderLen  = 40
	offPayloadLen = 4
	offSrc        = 8
	offDst        = 24
)

// whole cuts off what lies behind the payload of an IPv6 packet.
func whole(p []byte) ([]byte, bool) {
	if len(p) < ip6HeaderLen || p[0]>>4 != 6 {
		return nil, false
	}
	n := ip6HeaderLen + int(binary.BigEndian.Uint16(p[offPayloadLen:]))
	if n > len(p) {
		return nil, false
	}
	return p[:n], true
}

// Timestamp is TAI64N, as in an initiation: octets in the order of time.
type Timestamp [12]byte

// tai64 is 2^62 and the ten seconds by which TAI was ahead when it began.
const tai64 = 1<<62 + 10

// stamp keeps the nanoseconds' high octet only, as wireguard-go does: what a stamp tells of the clock is no more than 17 ms
// exact.
func stamp(wall time.Time) (t Timestamp) {
	binary.BigEndian.PutUint64(t[:], uint64(tai64+wall.Unix()))
	t[8] = byte(wall.Nanosecond() >> 24)
	return t
}

// Time is the stamp as an instant.
func (t Timestamp) Time() time.Time {
	sec := binary.BigEndian.Uint64(t[:]) - tai64
	return time.Unix(int64(sec), int64(binary.BigEndian.Uint32(t[8:]))).UTC()
}

// secret stands for a key. What it proves is not hard to forge: it tells messages of one session, peer or preshared key from
// those of another, and notices any octet that was changed on the way.
type secret struct{ a, b uint64 }

// with is another secret, of this one and some octets.
func (k secret) with(b []byte) secret {
	k.a = scramble(k.a ^ uint64(len(b)))
	for len(b) > 0 {
		var word [8]byte
		b = b[copy(word[:], b):]
		k.a = scramble(k.a ^ get64(word[:]))
		k.b = scramble(k.b + k.a)
	}
	return k
}

// proof is what stands in place of a tag or a MAC.
func (k secret) proof(n uint64, b []byte) (p [TagLen]byte) {
	x := scramble(k.a ^ scramble(n) ^ uint64(crc32.ChecksumIEEE(b))<<32 ^ uint64(len(b)))
	put64(p[:], x)
	put64(p[8:], scramble(k.b+x))
	return p
}

// scramble is a permutation of the 64-bit words that spreads each bit (the finalizer of MurmurHash3).
func scramble(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func get32(b []byte) uint32    { return binary.LittleEndian.Uint32(b) }
func get64(b []byte) uint64    { return binary.LittleEndian.Uint64(b) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
