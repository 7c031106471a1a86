// SPDX-License-Identifier: MIT

package tun

import (
	"bytes"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/blake2s"
	"golang.zx2c4.com/wireguard/device"

	"oasis6/internal/wgkey"
)

// mac1 computes the first mac of the handshake messages to a key, the public one: whoever can make it knows whom he calls,
// and has proved nothing else. It is not for several goroutines.
type mac1 struct {
	hash hash.Hash
	sum  [blake2s.Size128]byte
}

func newMAC1(to wgkey.Public) *mac1 {
	key := blake2s.Sum256(append([]byte(device.WGLabelMAC1), to[:]...))
	h, _ := blake2s.New128(key[:]) // fails for a key that is too long
	return &mac1{hash: h}
}

// of gives the mac of a message, which ends with its two macs, until it is called again.
func (m *mac1) of(msg []byte) []byte {
	m.hash.Reset()
	m.hash.Write(msg[:len(msg)-2*len(m.sum)])
	return m.hash.Sum(m.sum[:0])
}

// initiates says whether a datagram is an initiation that the device would look into. Nothing secret is compared.
func (m *mac1) initiates(msg []byte) bool {
	return len(msg) == initiationLen && binary.LittleEndian.Uint32(msg) == messageInitiation &&
		bytes.Equal(m.of(msg), msg[initiationLen-2*len(m.sum):initiationLen-len(m.sum)])
}
