// SPDX-License-Identifier: MIT

// Package noise is the cryptography of WireGuard's messages (its paper, section 5.4) as pure functions:
// a handshake made or followed with the keys of the end that begins it, and the messages of its session
// sealed and opened. A Reader follows all that a lab's devices send and opens it.
//
// It is for showing what is inside, never for protecting anything: no key is cleared, nothing is
// compared in constant time, no timer ends a session, no counter is refused twice. It must not know
// time, randomness, sockets or the simulated messages. Start at Begin and Reader.
package noise

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hmac"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"oasis6/internal/wgkey"
	"oasis6/lab/pcapng"
)

// Types and sizes of messages (section 5.4).
const (
	TypeInitiation = 1
	TypeResponse   = 2
	TypeCookie     = 3
	TypeTransport  = 4

	InitiationLen = 148
	ResponseLen   = 92
	CookieLen     = 64
	HeaderLen     = 16 // of a transport message
	TagLen        = 16
	macsLen       = 32
)

// Constants of section 5.4.
const (
	construction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
	identifier   = "WireGuard v1 zx2c4 Jason@zx2c4.com"
	labelMAC1    = "mac1----"
	labelCookie  = "cookie--"
)

// Handshake is one that has begun and has no answer yet, as its initiator sees it.
type Handshake struct {
	// Index is the initiator's, to which the answer comes.
	Index uint32
	keys  pcapng.Secrets
	state symmetric
}

// Session is what a handshake ends in.
type Session struct {
	Initiator, Responder         uint32 // index of each end
	fromInitiator, fromResponder cipher.AEAD
}

// symmetric is the chaining key and the hash of the transcript.
type symmetric struct{ chain, hash [32]byte }

func sum(parts ...[]byte) [32]byte {
	h, _ := blake2s.New256(nil) // without a key it cannot fail
	for _, p := range parts {
		_, _ = h.Write(p) // a hash takes all
	}
	return [32]byte(h.Sum(nil))
}

func mac(key []byte, parts ...[]byte) [32]byte {
	h := hmac.New(func() hash.Hash {
		h, _ := blake2s.New256(nil) // as above
		return h
	}, key)
	for _, p := range parts {
		_, _ = h.Write(p) // a hash takes all
	}
	return [32]byte(h.Sum(nil))
}

// derive is KDF_n of section 5.4.
func derive(key, input []byte, n int) [][32]byte {
	secret := mac(key, input)
	var out [][32]byte
	var last []byte
	for i := range n {
		t := mac(secret[:], last, []byte{byte(i + 1)})
		out = append(out, t)
		last = t[:]
	}
	return out
}

func newSymmetric(responder wgkey.Public) (s symmetric) {
	s.chain = sum([]byte(construction))
	s.hash = sum(s.chain[:], []byte(identifier))
	s.mixHash(responder[:])
	return s
}

func (s *symmetric) mixHash(b []byte) { s.hash = sum(s.hash[:], b) }

// mixKey takes in a secret; the second value encrypts.
func (s *symmetric) mixKey(secret []byte) [32]byte {
	k := derive(s.chain[:], secret, 2)
	s.chain = k[0]
	return k[1]
}

// seal encrypts a field and takes it into the transcript.
func (s *symmetric) seal(key [32]byte, plain []byte) []byte {
	b := newAEAD(key).Seal(nil, make([]byte, chacha20poly1305.NonceSize), plain, s.hash[:])
	s.mixHash(b)
	return b
}

// open is seal for who reads.
func (s *symmetric) open(key [32]byte, sealed []byte) (plain []byte, ok bool) {
	plain, err := newAEAD(key).Open(nil, make([]byte, chacha20poly1305.NonceSize), sealed, s.hash[:])
	s.mixHash(sealed)
	return plain, err == nil
}

func newAEAD(key [32]byte) cipher.AEAD {
	a, _ := chacha20poly1305.New(key[:]) // the key has the right length
	return a
}

// shared is Curve25519; zeros for a public key that is none.
func shared(private wgkey.Private, public wgkey.Public) []byte {
	k, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return make([]byte, 32) // the length is right by type: there is no other cause
	}
	p, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return make([]byte, 32) // as above
	}
	x, err := k.ECDH(p)
	if err != nil {
		return make([]byte, 32)
	}
	return x
}

// start is what both making and reading an initiation begin with; it returns the key of the static field.
func start(k pcapng.Secrets) (s symmetric, key [32]byte) {
	ephemeral := k.Ephemeral.Public()
	s = newSymmetric(k.Remote)
	s.mixKey(ephemeral[:]) // KDF1, whose result is that of KDF2's first
	s.mixHash(ephemeral[:])
	return s, s.mixKey(shared(k.Ephemeral, k.Remote))
}

// Begin makes an initiation without MACs; at is its timestamp, TAI64N.
func Begin(k pcapng.Secrets, index uint32, at [12]byte) ([]byte, *Handshake) {
	b := make([]byte, 8, InitiationLen)
	b[0] = TypeInitiation
	binary.LittleEndian.PutUint32(b[4:], index)
	s, key := start(k)
	ephemeral, static := k.Ephemeral.Public(), k.Static.Public()
	b = append(b, ephemeral[:]...)
	b = append(b, s.seal(key, static[:])...)
	key = s.mixKey(shared(k.Static, k.Remote))
	b = append(b, s.seal(key, at[:])...)
	return b[:InitiationLen], &Handshake{index, k, s}
}

// typeOf is a message's type with the three octets behind it, which are 0 in all that WireGuard takes. b has four at least.
func typeOf(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// Follow takes an initiation that somebody made with these keys. Not ok: it was made with others.
func Follow(k pcapng.Secrets, b []byte) (*Handshake, bool) {
	if len(b) != InitiationLen || typeOf(b) != TypeInitiation {
		return nil, false
	}
	ephemeral, static := k.Ephemeral.Public(), k.Static.Public()
	if wgkey.Public(b[8:40]) != ephemeral {
		return nil, false
	}
	s, key := start(k)
	if got, ok := s.open(key, b[40:88]); !ok || wgkey.Public(got) != static {
		return nil, false
	}
	key = s.mixKey(shared(k.Static, k.Remote))
	if _, ok := s.open(key, b[88:116]); !ok {
		return nil, false
	}
	return &Handshake{binary.LittleEndian.Uint32(b[4:]), k, s}, true
}

// answer goes on with the responder's ephemeral key up to the key of the empty field. The initiator's keys are enough: what
// the responder computes with its own is the same.
func (h *Handshake) answer(ephemeral wgkey.Public) (s symmetric, key [32]byte) {
	s = h.state
	s.mixHash(ephemeral[:])
	s.mixKey(ephemeral[:])
	s.mixKey(shared(h.keys.Ephemeral, ephemeral))
	s.mixKey(shared(h.keys.Static, ephemeral))
	k := derive(s.chain[:], h.keys.Preshared[:], 3)
	s.chain = k[0]
	s.mixHash(k[1][:])
	return s, k[2]
}

// Respond makes the answer without MACs, and the session. Ephemeral is the responder's.
func (h *Handshake) Respond(ephemeral wgkey.Private, index uint32) ([]byte, *Session) {
	b := make([]byte, 12, ResponseLen)
	b[0] = TypeResponse
	binary.LittleEndian.PutUint32(b[4:], index)
	binary.LittleEndian.PutUint32(b[8:], h.Index)
	public := ephemeral.Public()
	s, key := h.answer(public)
	b = append(b, public[:]...)
	b = append(b, s.seal(key, nil)...)
	return b[:ResponseLen], h.session(s, index)
}

// Finish takes the answer. Not ok: it is none to this handshake.
func (h *Handshake) Finish(b []byte) (*Session, bool) {
	if len(b) != ResponseLen || typeOf(b) != TypeResponse || binary.LittleEndian.Uint32(b[8:]) != h.Index {
		return nil, false
	}
	s, key := h.answer(wgkey.Public(b[12:44]))
	if _, ok := s.open(key, b[44:60]); !ok {
		return nil, false
	}
	return h.session(s, binary.LittleEndian.Uint32(b[4:])), true
}

func (h *Handshake) session(s symmetric, responder uint32) *Session {
	k := derive(s.chain[:], nil, 2)
	return &Session{Initiator: h.Index, Responder: responder, fromInitiator: newAEAD(k[0]), fromResponder: newAEAD(k[1])}
}

// AddMACs writes the last 32 octets of a handshake message to this end (section 5.4.4); a zero cookie is none.
func AddMACs(b []byte, to wgkey.Public, cookie [16]byte) {
	key := sum([]byte(labelMAC1), to[:])
	n := len(b) - macsLen
	copy(b[n:], mac128(key[:], b[:n]))
	clear(b[n+16:])
	if cookie != ([16]byte{}) {
		copy(b[n+16:], mac128(cookie[:], b[:n+16]))
	}
}

func mac128(key, b []byte) []byte {
	h, _ := blake2s.New128(key) // keys here have 16 or 32 octets
	_, _ = h.Write(b)           // a hash takes all
	return h.Sum(nil)
}

// CookieReply is what from answers to the message with this MAC1 (section 5.4.7).
func CookieReply(from wgkey.Public, receiver uint32, nonce [24]byte, cookie, mac1 [16]byte) []byte {
	b := make([]byte, 8, CookieLen)
	b[0] = TypeCookie
	binary.LittleEndian.PutUint32(b[4:], receiver)
	b = append(b, nonce[:]...)
	key := sum([]byte(labelCookie), from[:])
	a, _ := chacha20poly1305.NewX(key[:]) // the key has the right length
	return a.Seal(b, nonce[:], cookie[:], mac1[:])
}

// keyOf is the key for messages to an index of the session; nil if it is none of its two.
func (s *Session) keyOf(receiver uint32) cipher.AEAD {
	switch receiver {
	case s.Responder:
		return s.fromInitiator
	case s.Initiator:
		return s.fromResponder
	}
	return nil
}

func nonce(counter uint64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 4, 12), counter)
}

// Seal makes a transport message to the end with this index; content is padded already. nil: no such end.
func (s *Session) Seal(receiver uint32, counter uint64, content []byte) []byte {
	key := s.keyOf(receiver)
	if key == nil {
		return nil
	}
	b := make([]byte, HeaderLen, HeaderLen+len(content)+TagLen)
	b[0] = TypeTransport
	binary.LittleEndian.PutUint32(b[4:], receiver)
	binary.LittleEndian.PutUint64(b[8:], counter)
	return key.Seal(b, nonce(counter), content, nil)
}

// Open gives what is in a transport message of the session, with its padding.
func (s *Session) Open(b []byte) (content []byte, ok bool) {
	if len(b) < HeaderLen+TagLen || typeOf(b) != TypeTransport {
		return nil, false
	}
	key := s.keyOf(binary.LittleEndian.Uint32(b[4:]))
	if key == nil {
		return nil, false
	}
	content, err := key.Open(nil, nonce(binary.LittleEndian.Uint64(b[8:])), b[HeaderLen:], nil)
	return content, err == nil
}
