// SPDX-License-Identifier: MIT

// Package wgkey holds WireGuard's keys as types that cannot be mixed up and do not show their
// secrets, and the link-local address that a public key stands for.
//
// It must not know files, devices or configuration. Start at Public and LinkLocal.
package wgkey

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
)

// Size is the length of each key in octets.
const Size = 32

type (
	// Public identifies a peer. Its text form is base64, as wg prints it.
	Public [Size]byte
	// Private is a Curve25519 private key. The zero value means "not set".
	Private [Size]byte
	// Preshared is the optional symmetric key. The zero value means "none", as in WireGuard itself.
	Preshared [Size]byte
)

// ErrSyntax says that a text is not 32 octets of base64.
var ErrSyntax = errors.New("not a WireGuard key: want 44 characters of base64 that end in =")

func parse(s string) (k [Size]byte, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != Size {
		return k, ErrSyntax // the cause would quote parts of a secret
	}
	return [Size]byte(b), nil
}

// ParsePublic reads the base64 form.
func ParsePublic(s string) (Public, error) { k, err := parse(s); return k, err }

// ParsePrivate reads the base64 form. The error never quotes the text.
func ParsePrivate(s string) (Private, error) { k, err := parse(s); return k, err }

// ParsePreshared reads the base64 form. The error never quotes the text.
func ParsePreshared(s string) (Preshared, error) { k, err := parse(s); return k, err }

// GeneratePrivate makes a new private key, clamped as wg genkey does.
func GeneratePrivate() Private {
	var k Private
	_, _ = rand.Read(k[:]) // crypto/rand.Read never fails, it ends the process
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k
}

// Public computes the public key.
func (k Private) Public() Public {
	p, err := ecdh.X25519().NewPrivateKey(k[:])
	if err != nil {
		return Public{} // the length is right by type: there is no other cause
	}
	return Public(p.PublicKey().Bytes())
}

// IsZero says whether the key is not set.
func (k Private) IsZero() bool { return k == Private{} }

// IsZero says whether there is no preshared key.
func (k Preshared) IsZero() bool { return k == Preshared{} }

// IsZero says whether the key is not set.
func (k Public) IsZero() bool { return k == Public{} }

const redacted = "(hidden)"

// String is base64.
func (k Public) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Hex is the form of the WireGuard configuration protocol.
func (k Public) Hex() string { return hex.EncodeToString(k[:]) }

// String hides the key, as wg show does.
func (k Private) String() string { return redacted }

// GoString hides the key from %#v.
func (k Private) GoString() string { return redacted }

// LogValue hides the key from log/slog.
func (k Private) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from encoders.
func (k Private) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal is the base64 form, for `genkey` and key files only.
func (k Private) Reveal() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Derive makes another secret of the key, the same for the same label: HMAC-SHA256 of the label.
func (k Private) Derive(label string) [sha256.Size]byte {
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte(label))
	return [sha256.Size]byte(m.Sum(nil))
}

// RevealHex is the form of the WireGuard configuration protocol.
func (k Private) RevealHex() string { return hex.EncodeToString(k[:]) }

// String hides the key.
func (k Preshared) String() string { return redacted }

// GoString hides the key from %#v.
func (k Preshared) GoString() string { return redacted }

// LogValue hides the key from log/slog.
func (k Preshared) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the key from encoders.
func (k Preshared) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Reveal is the base64 form, for key files only.
func (k Preshared) Reveal() string { return base64.StdEncoding.EncodeToString(k[:]) }

// RevealHex is the form of the WireGuard configuration protocol.
func (k Preshared) RevealHex() string { return hex.EncodeToString(k[:]) }

// linkLocalLabel separates this use of SHA-256 from any other use of the key.
const linkLocalLabel = "oasis6 link-local"

// LinkLocal is the address that both ends of a tunnel compute from a public key: fe80::/64 and the
// first 8 octets of SHA-256(label, key) with the universal/local bit (RFC 4291 section 2.5.1) cleared.
func (k Public) LinkLocal() netip.Addr {
	h := sha256.New()
	h.Write([]byte(linkLocalLabel))
	h.Write(k[:])
	sum := h.Sum(nil)
	var a [16]byte
	a[0], a[1] = 0xfe, 0x80
	copy(a[8:], sum[:8])
	a[8] &^= 0x02
	return netip.AddrFrom16(a)
}
