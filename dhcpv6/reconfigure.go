// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"crypto/hmac"
	"crypto/md5"
	"errors"
)

// The Reconfiguration Key Authentication Protocol (RFC 9915 section 20.4): the server gives a key in a
// Reply, and signs with it each Reconfigure that it sends later.
const (
	protocolRKAP     = 3
	algorithmHMACMD5 = 1
	rdmMonotonic     = 0 // the replay detection field only ever grows

	rkapKey    = 1 // type of the authentication information: the key
	rkapDigest = 2 // the digest of the message
)

// ReconfigureKey is the secret of RKAP, 128 bits. The zero value is none.
type ReconfigureKey [16]byte

// String does not show the key.
func (k ReconfigureKey) String() string {
	if k == (ReconfigureKey{}) {
		return "none"
	}
	return "(reconfigure key)"
}

// ReconfigureKey is the key that a Reply hands out; ok is false where it hands out none.
func (a *Auth) ReconfigureKey() (k ReconfigureKey, ok bool) {
	if !a.rkap(rkapKey) {
		return k, false
	}
	return ReconfigureKey(a.Info[1:]), true
}

// rkap says whether the option carries 16 octets of RKAP information of that type.
func (a *Auth) rkap(typ byte) bool {
	return a != nil && a.Protocol == protocolRKAP && a.Algorithm == algorithmHMACMD5 && a.RDM == rdmMonotonic &&
		len(a.Info) == 1+len(ReconfigureKey{}) && a.Info[0] == typ
}

// Reasons for which a Reconfigure is not believed.
var (
	errNoAuth    = errors.New("no authentication by a reconfigure key")
	errBadDigest = errors.New("digest is not made with our reconfigure key")
)

// digestAt finds the digest in the octets of a message: the Authentication option is not the last of them, as
// a rule.
func digestAt(b []byte) int {
	at := -1
	p := parser{m: &Message{}}
	p.walk(b[headerLen:], headerLen, func(c OptionCode, v []byte, offset int) {
		if c == OptionAuth && at < 0 && len(v) == authHeaderLen+1+md5.Size {
			at = offset + 4 + authHeaderLen + 1
		}
	})
	return at
}

// VerifyReconfigure checks the digest of a Reconfigure that ParseMessage has read from b: HMAC-MD5 over the
// whole message with the digest as zeros (RFC 9915 section 20.4.3). b is not changed.
func VerifyReconfigure(b []byte, m Message, key ReconfigureKey) error {
	if !m.Auth.rkap(rkapDigest) {
		return errNoAuth
	}
	at := digestAt(b)
	if at < 0 {
		return errNoAuth
	}
	mac := hmac.New(md5.New, key[:])
	mac.Write(b[:at])
	mac.Write(make([]byte, md5.Size))
	mac.Write(b[at+md5.Size:])
	if !hmac.Equal(mac.Sum(nil), m.Auth.Info[1:]) {
		return errBadDigest
	}
	return nil
}

// authHeaderLen is protocol, algorithm, RDM and replay detection (RFC 9915 section 21.11).
const authHeaderLen = 11
