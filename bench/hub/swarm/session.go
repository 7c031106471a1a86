// SPDX-License-Identifier: MIT

package swarm

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// session is what a handshake has led to. It knows no replay window: its one peer is the hub under test.
type session struct {
	remote     uint32
	send, recv cipher.AEAD
	counter    uint64
}

func newSession(chain [32]byte, remote uint32) (*session, error) {
	keys, err := derive(chain, nil, 2)
	if err != nil {
		return nil, err
	}
	s := &session{remote: remote}
	if s.send, err = chacha20poly1305.New(keys[0][:]); err != nil {
		return nil, err
	}
	s.recv, err = chacha20poly1305.New(keys[1][:])
	return s, err
}

func nonce(counter uint64) []byte {
	return binary.LittleEndian.AppendUint64(make([]byte, 4, chacha20poly1305.NonceSize), counter)
}

// seal makes a transport message; nothing in it is a keepalive.
func (s *session) seal(packet []byte) []byte {
	const multiple = 16
	m := make([]byte, headerLen, headerLen+len(packet)+multiple+tagLen)
	m[0] = typeTransport
	binary.LittleEndian.PutUint32(m[4:], s.remote)
	binary.LittleEndian.PutUint64(m[8:], s.counter)
	plain := append([]byte(nil), packet...)
	for len(plain)%multiple != 0 {
		plain = append(plain, 0)
	}
	m = s.send.Seal(m, nonce(s.counter), plain, nil)
	s.counter++
	return m
}

var errShort = errors.New("shorter than a transport message")

// open gives what is in a transport message, with what fills it up.
func (s *session) open(m []byte) ([]byte, error) {
	if len(m) < headerLen+tagLen {
		return nil, errShort
	}
	return s.recv.Open(nil, nonce(binary.LittleEndian.Uint64(m[8:])), m[headerLen:], nil)
}
