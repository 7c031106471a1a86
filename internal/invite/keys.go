// SPDX-License-Identifier: MIT

package invite

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"

	"oasis6/internal/wgkey"
)

// SecretSize is 128 bits: nobody guesses that, and WireGuard says nothing to those who try.
const SecretSize = 16

// Secret is the one-time secret of an invitation. It hides as wgkey's keys do. The zero value means "not set".
type Secret [SecretSize]byte

const redacted = "(hidden)"

// IsZero says whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// String hides the secret.
func (s Secret) String() string { return redacted }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return redacted }

// MarshalText hides the secret from encoders, and so from log/slog: its handlers ask String or this.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Keys are what both ends make of an invitation.
type Keys struct {
	Private   wgkey.Private   // of the temporary peer
	Preshared wgkey.Preshared // between it and the hub
	// Fingerprint names the invitation in file names and logs, 16 hex digits. It gives nothing of the secret away.
	Fingerprint string
}

// Labels of HKDF (RFC 5869): the salt is the hub's public key, so a secret is good for one hub only; each output has an info of
// its own.
const (
	infoPrivate     = "oasis6 invitation 1: private key"
	infoPreshared   = "oasis6 invitation 1: preshared key"
	infoFingerprint = "oasis6 invitation 1: fingerprint"

	fingerprintLen = 8
)

// Keys derives the keys by HKDF with SHA-256.
func (i Invitation) Keys() Keys {
	private := wgkey.Private(i.derive(infoPrivate, wgkey.Size))
	private[0] &= 248 // clamped as wg genkey does
	private[31] = private[31]&127 | 64
	return Keys{
		Private:     private,
		Preshared:   wgkey.Preshared(i.derive(infoPreshared, wgkey.Size)),
		Fingerprint: hex.EncodeToString(i.derive(infoFingerprint, fingerprintLen)),
	}
}

func (i Invitation) derive(info string, n int) []byte {
	k, err := hkdf.Key(sha256.New, i.Secret[:], i.Hub[:], info, n)
	if err != nil {
		panic("hkdf: " + err.Error()) // only for more than 255 blocks
	}
	return k
}
