// SPDX-License-Identifier: MIT

package swarm

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
)

// Types and lengths of WireGuard's messages, sections 5.4.2 to 5.4.7 of its paper. The first octet is the type.
const (
	typeInitiation = 1
	typeResponse   = 2
	typeCookie     = 3
	typeTransport  = 4

	initiationLen = 148
	responseLen   = 92
	cookieLen     = 64
	headerLen     = 16 // of a transport message
	tagLen        = chacha20poly1305.Overhead

	mac1At, mac2At = 116, 132 // in an initiation
)

const (
	construction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
	identifier   = "WireGuard v1 zx2c4 Jason@zx2c4.com"
	labelMAC1    = "mac1----"
	labelCookie  = "cookie--"
)

// hub is what all sites know of the responder.
type hub struct {
	key         *ecdh.PublicKey
	public      []byte
	chain, hash [32]byte // before the first message
	mac1Key     [32]byte
	cookieKey   [32]byte
}

func newHub(public [32]byte) (*hub, error) {
	key, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return nil, err
	}
	h := &hub{key: key, public: public[:], chain: blake2s.Sum256([]byte(construction))}
	h.hash = mix(mix(h.chain, []byte(identifier)), h.public)
	h.mac1Key = blake2s.Sum256(append([]byte(labelMAC1), h.public...))
	h.cookieKey = blake2s.Sum256(append([]byte(labelCookie), h.public...))
	return h, nil
}

func mix(hash [32]byte, data []byte) [32]byte {
	return blake2s.Sum256(append(hash[:], data...))
}

// derive is the paper's KDF: n keys, the first of which is the next chaining key.
func derive(chain [32]byte, input []byte, n int) ([][32]byte, error) {
	newHash := func() hash.Hash { h, _ := blake2s.New256(nil); return h } // fails for a key that is too long
	out, err := hkdf.Key(newHash, input, chain[:], "", 32*n)
	if err != nil {
		return nil, err
	}
	keys := make([][32]byte, n)
	for i := range keys {
		copy(keys[i][:], out[32*i:])
	}
	return keys, nil
}

func mac(key, data []byte) []byte {
	h, _ := blake2s.New128(key) // fails for a key that is too long
	h.Write(data)
	return h.Sum(nil)
}

// identity is one initiator.
type identity struct {
	key    *ecdh.PrivateKey
	public []byte
	shared []byte // with the hub's static key
}

func (h *hub) identity(private [32]byte) (identity, error) {
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return identity{}, err
	}
	shared, err := key.ECDH(h.key)
	return identity{key, key.PublicKey().Bytes(), shared}, err
}

// handshake is an initiation that waits for its response.
type handshake struct {
	index       uint32
	message     []byte
	chain, hash [32]byte
	ephemeral   *ecdh.PrivateKey
}

// initiate makes the first message.
func (h *hub) initiate(id identity, index uint32, now time.Time) (*handshake, error) {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	hs := &handshake{index: index, chain: h.chain, hash: h.hash, ephemeral: ephemeral}
	m := make([]byte, 8, initiationLen)
	m[0] = typeInitiation
	binary.LittleEndian.PutUint32(m[4:], index)
	m = append(m, ephemeral.PublicKey().Bytes()...)
	if err := hs.mixKey(ephemeral.PublicKey().Bytes()); err != nil {
		return nil, err
	}
	secret, err := ephemeral.ECDH(h.key)
	if err != nil {
		return nil, err
	}
	if m, err = hs.seal(m, secret, id.public); err != nil {
		return nil, err
	}
	if m, err = hs.seal(m, id.shared, tai64n(now)); err != nil {
		return nil, err
	}
	m = append(m, mac(h.mac1Key[:], m)...)
	hs.message = m[:initiationLen]
	return hs, nil
}

// show puts the hub's cookie into the message.
func (hs *handshake) show(cookie []byte) {
	copy(hs.message[mac2At:], mac(cookie, hs.message[:mac2At]))
}

// mixKey takes a public key of the other side, or our own, into chain and hash.
func (hs *handshake) mixKey(public []byte) error {
	keys, err := derive(hs.chain, public, 1)
	if err == nil {
		hs.chain, hs.hash = keys[0], mix(hs.hash, public)
	}
	return err
}

// seal appends plain to m, under a key of the chain and secret.
func (hs *handshake) seal(m, secret, plain []byte) ([]byte, error) {
	keys, err := derive(hs.chain, secret, 2)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(keys[1][:])
	if err != nil {
		return nil, err
	}
	at := len(m)
	m = aead.Seal(m, make([]byte, chacha20poly1305.NonceSize), plain, hs.hash[:])
	hs.chain, hs.hash = keys[0], mix(hs.hash, m[at:])
	return m, nil
}

// tai64n is the time as WireGuard wants it: labels that never go back.
func tai64n(t time.Time) []byte {
	b := binary.BigEndian.AppendUint64(nil, 1<<62+10+uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

var errResponse = errors.New("not a response to this handshake")

// finish takes the response and gives the session.
func (hs *handshake) finish(id identity, m []byte) (*session, error) {
	if len(m) != responseLen || m[0] != typeResponse || binary.LittleEndian.Uint32(m[8:]) != hs.index {
		return nil, errResponse
	}
	theirs, err := ecdh.X25519().NewPublicKey(m[12:44])
	if err != nil {
		return nil, err
	}
	next := *hs // what is not a response of the hub must not spoil the handshake
	if err := next.mixKey(m[12:44]); err != nil {
		return nil, err
	}
	for _, ours := range []*ecdh.PrivateKey{hs.ephemeral, id.key} {
		secret, err := ours.ECDH(theirs)
		if err != nil {
			return nil, err
		}
		keys, err := derive(next.chain, secret, 1)
		if err != nil {
			return nil, err
		}
		next.chain = keys[0]
	}
	keys, err := derive(next.chain, make([]byte, 32), 3) // no preshared key
	if err != nil {
		return nil, err
	}
	next.hash = mix(next.hash, keys[1][:])
	aead, err := chacha20poly1305.New(keys[2][:])
	if err != nil {
		return nil, err
	}
	if _, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), m[44:60], next.hash[:]); err != nil {
		return nil, err
	}
	return newSession(keys[0], binary.LittleEndian.Uint32(m[4:]))
}

// cookie takes it out of a cookie reply to the initiation.
func (h *hub) cookie(hs *handshake, m []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(h.cookieKey[:])
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, m[8:32], m[32:cookieLen], hs.message[mac1At:mac2At])
}
