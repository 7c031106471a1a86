// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
)

// authHeaderLen is protocol, algorithm, RDM and replay detection (RFC 9915 section 21.11).
const authHeaderLen = 11

// maxAuthInfo bounds what is kept of a message for authentication. RKAP's is 17 octets; nothing else is in use.
const maxAuthInfo = 256

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

// GoString does not show it either.
func (k ReconfigureKey) GoString() string { return k.String() }

// MarshalText keeps it out of JSON and logs; what must keep the key takes its octets.
func (k ReconfigureKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String shows what the option is, not what it carries: that may be a key.
func (a *Auth) String() string {
	if a == nil {
		return "none"
	}
	return "(authentication)"
}

// ReconfigureKey is the key that a Reply hands out; ok is false where it hands out none, or one of zeros, which
// "cannot easily be predicted" (RFC 9915 section 20.4.2) does not fit.
func (a *Auth) ReconfigureKey() (k ReconfigureKey, ok bool) {
	if !a.rkap(rkapKey) {
		return k, false
	}
	k = ReconfigureKey(a.Info[1:])
	return k, k != ReconfigureKey{}
}

// rkap says whether the option carries 16 octets of RKAP information of that type.
func (a *Auth) rkap(typ byte) bool {
	return a != nil && a.Protocol == protocolRKAP && a.Algorithm == algorithmHMACMD5 && a.RDM == rdmMonotonic &&
		len(a.Info) == 1+len(ReconfigureKey{}) && a.Info[0] == typ
}

// auth reads an Authentication option (RFC 9915 section 21.11).
func (p *parser) auth(v []byte, at int) (*Auth, bool) {
	if len(v) < authHeaderLen || len(v) > authHeaderLen+maxAuthInfo {
		p.problem(OptionAuth, at, "length %d, want %d to %d", len(v), authHeaderLen, authHeaderLen+maxAuthInfo)
		return nil, false
	}
	return &Auth{Protocol: v[0], Algorithm: v[1], RDM: v[2], Replay: binary.BigEndian.Uint64(v[3:]),
		Info: append([]byte(nil), v[authHeaderLen:]...)}, true
}

// reconfigureMessage reads a Reconfigure Message option (RFC 9915 section 21.19).
func (p *parser) reconfigureMessage(v []byte, at int) (MessageType, bool) {
	if !p.length(OptionReconfigureMessage, v, at, 1) {
		return 0, false
	}
	t := MessageType(v[0])
	if t != Renew && t != Rebind && t != InformationRequest {
		p.problem(OptionReconfigureMessage, at, "%s is no answer to a Reconfigure", t)
		return 0, false
	}
	return t, true
}

// appendReconfigure writes the options around Reconfigure.
func (m Message) appendReconfigure(b []byte) []byte {
	if m.ReconfigureMessage != 0 {
		b = appendOption(b, OptionReconfigureMessage, []byte{byte(m.ReconfigureMessage)})
	}
	if m.ReconfigureAccept {
		b = appendOption(b, OptionReconfigureAccept, nil)
	}
	if a := m.Auth; a != nil {
		v := binary.BigEndian.AppendUint64([]byte{a.Protocol, a.Algorithm, a.RDM}, a.Replay)
		b = appendOption(b, OptionAuth, append(v, a.Info...))
	}
	return b
}

// KeyAuth is the Authentication option that hands the key out in a Reply (RFC 9915 section 20.4.2).
func KeyAuth(key ReconfigureKey, replay uint64) *Auth {
	return &Auth{Protocol: protocolRKAP, Algorithm: algorithmHMACMD5, RDM: rdmMonotonic, Replay: replay,
		Info: append([]byte{rkapKey}, key[:]...)}
}

// SignReconfigure writes m, a Reconfigure, with an Authentication option that VerifyReconfigure believes: the digest
// is made over the whole message with zeros in its place (RFC 9915 section 20.4.2).
func SignReconfigure(m Message, key ReconfigureKey, replay uint64) []byte {
	m.Auth = KeyAuth(ReconfigureKey{}, replay)
	m.Auth.Info[0] = rkapDigest
	b := m.Append(nil)
	at, _ := digestAt(b) // it is there: we have just written it
	mac := hmac.New(md5.New, key[:])
	mac.Write(b)
	copy(b[at:], mac.Sum(nil))
	return b
}

// Reasons for which a Reconfigure is not believed.
var (
	errNoKey     = errors.New("no reconfigure key to check it with")
	errNoAuth    = errors.New("no authentication by a reconfigure key")
	errBadDigest = errors.New("digest is not made with our reconfigure key")
)

// digestAt finds the digest in the octets of a message: the Authentication option is not the last of them, as
// a rule. It must be the only one: "Any DHCP message MUST NOT include more than one Authentication option"
// (RFC 9915 section 20.2), and options that end in the middle of one hide what is there.
func digestAt(b []byte) (at int, ok bool) {
	if len(b) < headerLen {
		return 0, false
	}
	for rest := b[headerLen:]; len(rest) > 0; {
		c, v, next, reason := nextOption(rest)
		if reason != "" || c == OptionAuth && (ok || len(v) != authHeaderLen+1+md5.Size) {
			return 0, false
		}
		if c == OptionAuth {
			at, ok = len(b)-len(next)-md5.Size, true
		}
		rest = next
	}
	return at, ok
}

// VerifyReconfigure checks the digest of a Reconfigure that ParseMessage has read from b: HMAC-MD5 over the
// whole message with the digest as zeros (RFC 9915 section 20.4.3). b is not changed. Replays are for the
// caller to find, who knows what came before (section 20.3).
func VerifyReconfigure(b []byte, m Message, key ReconfigureKey) error {
	if key == (ReconfigureKey{}) {
		return errNoKey // anybody could sign with that
	}
	at, ok := digestAt(b)
	if !ok || !m.Auth.rkap(rkapDigest) {
		return errNoAuth
	}
	mac := hmac.New(md5.New, key[:])
	mac.Write(b[:at])
	mac.Write(make([]byte, md5.Size))
	mac.Write(b[at+md5.Size:])
	if !hmac.Equal(mac.Sum(nil), b[at:at+md5.Size]) {
		return errBadDigest
	}
	return nil
}
