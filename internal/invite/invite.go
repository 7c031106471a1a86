// SPDX-License-Identifier: MIT

// Package invite is what a hub and a box that joins it must agree on: the invitation as one line of text, the keys that
// are made of its secret, the two messages that go through the temporary tunnel, and how the box asks (Asker).
// docs/onboarding.md has all of it for those who write another end.
//
// A WireGuard responder answers only keys that it knows. So both ends make the same temporary key pair and preshared key of
// the secret; the box proves by them that it holds the invitation, and sends the public key that it made for itself.
//
// It must not know devices, files or the hub's book of invitations. Start at Parse, Invitation.Keys and Asker.
package invite

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"oasis6/internal/wgkey"
)

// Invitation is one line of text in its parts.
type Invitation struct {
	Hub       wgkey.Public
	LinkLocal netip.Addr // the hub's on the tunnel; invalid: the one that its key stands for
	Endpoint  string     // where WireGuard's datagrams go by UDP, host:port
	Secret    Secret
	Expires   time.Time // by the hub's clock, whole seconds; a box uses it for words only: its own clock may be wrong
}

// HubLinkLocal is where the hub is asked.
func (i Invitation) HubLinkLocal() netip.Addr {
	if i.LinkLocal.IsValid() {
		return i.LinkLocal
	}
	return i.Hub.LinkLocal()
}

// The text is Prefix and the base32 form of: version, hub key, secret, expiry (seconds since 1970, 4 octets, big endian),
// options (type, length, value), checksum.
const (
	// Prefix begins the text.
	Prefix = "oasis6:"

	version     = 1
	fixedLen    = 1 + wgkey.Size + SecretSize + 4
	checksumLen = 4
	// maxBody bounds the work; all that this version writes has at most 345 octets.
	maxBody = 512
	// maxText leaves room for line breaks that a mail program put in.
	maxText = 2048
)

// Options. A reader passes over those it does not know from firstOptional on; one below is refused with advice to update.
const (
	optEndpoint   = 1 // a carrier (carrierUDP), then host:port
	optLinkLocal  = 2 // 16 octets
	firstOptional = 128

	// carrierUDP is WireGuard as it is. Endpoints of other carriers are passed over as long as there is one of this.
	carrierUDP = 0
)

// encoding is RFC 4648 base32 in lower case: it survives being read out, and in capitals fits the small mode of QR codes.
func encoding() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// Reveal is the text, for the one who is invited only: whoever has it can join.
func (i Invitation) Reveal() (string, error) {
	if err := i.check(); err != nil {
		return "", err
	}
	b := make([]byte, 0, maxBody)
	b = append(b, version)
	b = append(b, i.Hub[:]...)
	b = append(b, i.Secret[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(i.Expires.Unix()))
	b = append(b, optEndpoint, byte(1+len(i.Endpoint)), carrierUDP)
	b = append(b, i.Endpoint...)
	if i.LinkLocal.IsValid() {
		a := i.LinkLocal.As16()
		b = append(b, optLinkLocal, 16)
		b = append(b, a[:]...)
	}
	return Prefix + encoding().EncodeToString(append(b, checksum(b)...)), nil
}

func (i Invitation) check() error {
	switch {
	case i.Hub.IsZero():
		return errors.New("invitation without the hub's key")
	case i.Secret.IsZero():
		return errors.New("invitation without a secret")
	case i.Expires.Unix() < 0 || i.Expires.Unix() > 1<<32-1:
		return fmt.Errorf("invitation until %s: want a year from 1970 to 2106", i.Expires.UTC().Format(time.RFC3339))
	case i.LinkLocal.IsValid() && !linkLocal(i.LinkLocal):
		return fmt.Errorf("link-local address %s: not in fe80::/10", i.LinkLocal)
	}
	return CheckEndpoint(i.Endpoint)
}

// checksum tells a text with a typo from one that is old or used. It protects against nobody.
func checksum(body []byte) []byte {
	h := sha256.New()
	h.Write([]byte("oasis6 invitation checksum"))
	h.Write(body)
	return h.Sum(nil)[:checksumLen]
}

var (
	errNoInvitation = errors.New("this is no invitation: want the line that begins with " + Prefix + ", as oasis6 invite prints it")
	errTypo         = errors.New("the invitation has a typo, or a part is missing: copy the whole line again")
	errTooNew       = errors.New("the invitation is of a later version: update oasis6 on this box")
	errDamaged      = errors.New("the invitation holds something that cannot be: the hub that made it is broken")
)

// Parse reads the text, also with blanks, line breaks and hyphens in it, in capitals, and with 0, 1 and 8 for the letters that
// look like them. Errors never quote it.
func Parse(text string) (Invitation, error) {
	if len(text) > maxText {
		return Invitation{}, errNoInvitation
	}
	line, ok := strings.CutPrefix(tidy(text), tidy(Prefix))
	if !ok {
		return Invitation{}, errNoInvitation
	}
	b, err := encoding().DecodeString(line)
	if err != nil || len(b) <= checksumLen || len(b) > maxBody || encoding().EncodeToString(b) != line {
		return Invitation{}, errTypo // the cause would quote the secret
	}
	body, sum := b[:len(b)-checksumLen], b[len(b)-checksumLen:]
	if !bytes.Equal(sum, checksum(body)) {
		return Invitation{}, errTypo
	}
	if body[0] != version {
		return Invitation{}, errTooNew
	}
	return parseBody(body)
}

// tidy takes out what was put in on the way: mail breaks lines, people write in groups and take digits for letters.
func tidy(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '0':
			return 'o'
		case r == '1':
			return 'l'
		case r == '8':
			return 'b'
		case r == '-' || r == '\u00a0' || strings.ContainsRune(" \t\r\n\v\f", r):
			return -1
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

func parseBody(b []byte) (Invitation, error) {
	if len(b) < fixedLen {
		return Invitation{}, errDamaged
	}
	i := Invitation{Hub: wgkey.Public(b[1:]), Secret: Secret(b[1+wgkey.Size:])}
	i.Expires = time.Unix(int64(binary.BigEndian.Uint32(b[fixedLen-4:])), 0).UTC()
	carriers := false
	for rest := b[fixedLen:]; len(rest) > 0; {
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return Invitation{}, errDamaged
		}
		kind, v := rest[0], rest[2:2+int(rest[1])]
		rest = rest[2+len(v):]
		switch {
		case kind == optEndpoint && len(v) > 0 && v[0] == carrierUDP && i.Endpoint == "":
			i.Endpoint = string(v[1:])
		case kind == optEndpoint && len(v) > 0 && v[0] != carrierUDP:
			carriers = true
		case kind == optLinkLocal && len(v) == 16 && !i.LinkLocal.IsValid():
			i.LinkLocal = netip.AddrFrom16([16]byte(v))
		case kind == optEndpoint, kind == optLinkLocal:
			return Invitation{}, errDamaged
		case kind < firstOptional:
			return Invitation{}, errTooNew
		}
	}
	if i.Endpoint == "" && carriers {
		return Invitation{}, errTooNew
	}
	if i.check() != nil {
		return Invitation{}, errDamaged // the cause is of no use to whoever got the line
	}
	return i, nil
}

func linkLocal(a netip.Addr) bool { return a.Is6() && a.Zone() == "" && a.IsLinkLocalUnicast() }

// maxEndpoint is what fits an option.
const maxEndpoint = 254

// CheckEndpoint accepts host:port, the host a name, an IPv4 address or an IPv6 address in brackets.
func CheckEndpoint(s string) error {
	bad := func(why string) error { return fmt.Errorf("endpoint %q: %s", s, why) }
	if ap, err := netip.ParseAddrPort(s); err == nil {
		switch a := ap.Addr(); {
		case ap.Port() == 0:
			return bad("port 0: want 1 to 65535")
		case a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.Is6() && a.IsLinkLocalUnicast():
			return bad("no box elsewhere can reach this address")
		}
		return nil
	}
	cut := strings.LastIndexByte(s, ':')
	if cut < 0 || strings.ContainsAny(s[:cut], ":[]") {
		return bad("want host:port, or [address]:port for IPv6")
	}
	if port, err := strconv.ParseUint(s[cut+1:], 10, 16); err != nil || port == 0 || s[cut+1] == '+' {
		return bad("want a port from 1 to 65535 behind the host")
	}
	if !hostname(s[:cut]) || len(s) > maxEndpoint {
		return bad("the host is neither a name nor an address")
	}
	return nil
}

// hostname follows RFC 1123 section 2.1: labels of letters, digits and inner hyphens. The last one is not all digits, or it were
// an IPv4 address with a mistake. Underscores exist in practice.
func hostname(s string) bool {
	s = strings.TrimSuffix(s, ".")
	last := s[strings.LastIndexByte(s, '.')+1:]
	if _, err := strconv.ParseUint(last, 10, 64); err == nil {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// MaxName is the length of a site's name in octets.
const MaxName = 63

// CheckName says whether a site can be called so: names stand in status, logs and on command lines.
func CheckName(s string) error {
	switch {
	case s == "" || len(s) > MaxName:
		return fmt.Errorf("name %q: want 1 to %d characters", s, MaxName)
	case clean(s) != s || strings.TrimSpace(s) != s || s[0] == '-':
		return fmt.Errorf("name %q: want printable characters, no blank at either end, no - at the beginning", s)
	}
	return nil
}

// clean makes text from the other end fit for a terminal: what does not print becomes a question mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// cut shortens s to at most n octets, at the edge of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
