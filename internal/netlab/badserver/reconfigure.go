// SPDX-License-Identifier: MIT

package main

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// key is the secret of the Reconfiguration Key Authentication Protocol (RFC 9915 section 20.4).
type key [16]byte

// The fixed part of an Authentication option (RFC 9915 section 21.11) in that protocol: 3, algorithm
// HMAC-MD5, replay detection by a growing number; and the types of its information (section 20.4.1).
const (
	rkapProtocol, rkapHMACMD5, rkapMonotonic = 3, 1, 0
	rkapKey, rkapDigest                      = 1, 2
)

// reconfigured is what a server must remember of Reconfigures.
type reconfigured struct {
	replay uint64 // of the last Authentication option
	last   []byte // the last Reconfigure, to send it once more
}

// auth is the next Authentication option; the replay detection grows.
func (s *server) auth(typ byte, data []byte) []byte {
	s.signed.replay++
	if s.odhcpd != nil {
		s.signed.replay = s.odhcpd.replay()
	}
	v := []byte{rkapProtocol, rkapHMACMD5, rkapMonotonic}
	v = binary.BigEndian.AppendUint64(v, s.signed.replay)
	return append(append(v, typ), data...)
}

// handOut gives the key to a client that accepts Reconfigures: "The server selects a reconfigure key for a
// client during the Request/Reply, Solicit/Reply, or Information-request/Reply message exchange"
// (RFC 9915 section 20.4.2).
func (s *server) handOut(in *dhcpv6.Message, d *draft) {
	first := []dhcpv6.MessageType{dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeInformationRequest}
	if d.typ == dhcpv6.MessageTypeReply && slices.Contains(first, in.MessageType) {
		d.options = append(d.options, generic(dhcpv6.OptionAuth, s.auth(rkapKey, s.key[:])...))
	}
}

// reconfigure makes a Reconfigure of words: what the client is to send (renew, rebind, information-request), and
// what is wrong: no-auth, wrong-key, replayed (the last one once more), no-client, wrong-server.
func (s *server) reconfigure(words []string) (datagram, error) {
	if s.client == nil {
		return datagram{}, errors.New("no client has been here yet")
	}
	text := "Reconfigure " + strings.Join(words, " ")
	if slices.Contains(words, "replayed") {
		if s.signed.last == nil {
			return datagram{}, errors.New("nothing to replay")
		}
		return datagram{text, s.signed.last}, nil
	}
	want, k := byte(0), s.key
	sign, client, from := true, s.client, itself
	for _, w := range words {
		switch w {
		case "renew":
			want = byte(dhcpv6.MessageTypeRenew)
		case "rebind":
			want = byte(dhcpv6.MessageTypeRebind)
		case "information-request":
			want = byte(dhcpv6.MessageTypeInformationRequest)
		case "no-auth":
			sign = false
		case "wrong-key":
			k[0] ^= 1
		case "no-client":
			client = nil
		case "wrong-server":
			from = another
		default:
			return datagram{}, fmt.Errorf("reconfigure: no word %q", w)
		}
	}
	b := []byte{byte(dhcpv6.MessageTypeReconfigure), 0, 0, 0}
	b = append(b, option(dhcpv6.OptionServerID, duid(from))...)
	if client != nil {
		b = append(b, option(dhcpv6.OptionClientID, client)...)
	}
	digestAt := 0
	if sign {
		a := option(dhcpv6.OptionAuth, s.auth(rkapDigest, make([]byte, md5.Size)))
		b = append(b, a...)
		digestAt = len(b) - md5.Size
	}
	b = append(b, option(dhcpv6.OptionReconfMessage, []byte{want})...)
	if sign {
		copy(b[digestAt:], digest(k, b))
		s.signed.last = b
	}
	return datagram{text, b}, nil
}

// digest is the HMAC-MD5 of a whole message in which the place of the digest is zeros (RFC 9915 section 20.4.3).
func digest(k key, message []byte) []byte {
	mac := hmac.New(md5.New, k[:])
	mac.Write(message)
	return mac.Sum(nil)
}
