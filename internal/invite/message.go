// SPDX-License-Identifier: MIT

package invite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"oasis6/internal/wgkey"
)

// Port is where the hub listens, by UDP on its link-local address in the tunnel, and where answers come from. IANA has given
// 914 to 952 to nobody: taking it out of the tunnel hides no service, and being below 1024 it is never the port that a kernel
// chose for a program of the hub.
const Port = 946

// Version is of the messages. All versions have the same first 40 octets: magic, version, type, code, a zero, the box's new
// public key; so each end can say which version it is that it does not speak.
const Version = 1

const (
	magic     = "o6jn"
	headerLen = len(magic) + 4 + wgkey.Size

	offVersion = 4
	offType    = 5
	offCode    = 6
	offKey     = 8

	typeRequest = 1
	typeAnswer  = 2

	maxReason = 255 // octets of Answer.Text
	// MaxMessage bounds what either end reads. It fits the smallest MTU.
	MaxMessage = 1200
)

// Code is what an answer says.
type Code uint8

const (
	Accepted Code = 1 // the hub has the key on disk and in its device: switch to it
	Used     Code = 2 // another key came with this invitation before
	Expired  Code = 3
	Full     Code = 4 // the hub takes no more sites
	Bad      Code = 5 // the request cannot be granted as it is; the text says why
	TooNew   Code = 6 // the hub speaks only up to the version of the answer
	Later    Code = 7 // something is wrong at the hub for now: go on asking
)

// String is one word.
func (c Code) String() string {
	if names := [...]string{"", "accepted", "used", "expired", "full", "bad", "too new", "later"}; c > 0 && int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Request is what the box asks, through the temporary tunnel, and through its own one to learn whether it is joined.
type Request struct {
	Key  wgkey.Public // the box's new one
	Host string       // what the box calls itself, for the hub's log; the site's name is the invitation's
}

// Answer is what the hub says to it.
type Answer struct {
	Code Code
	Key  wgkey.Public // of the request: an answer to another one is none
	Time time.Time    // the hub's clock, whole seconds; zero: it does not know
	Name string       // of the site, when accepted
	Text string       // for people; may be empty
	// Version is the one that the hub speaks.
	Version uint8
}

// VersionError says that the other end speaks a later version. Key is whom to answer.
type VersionError struct {
	Version uint8
	Key     wgkey.Public
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("version %d of the message is not known", e.Version)
}

var errMessage = errors.New("no message of this protocol")

func header(version, kind uint8, code Code, key wgkey.Public) []byte {
	b := make([]byte, headerLen, MaxMessage)
	copy(b, magic)
	b[offVersion], b[offType], b[offCode] = version, kind, byte(code)
	copy(b[offKey:], key[:])
	return b
}

func isMessage(b []byte, kind uint8) bool {
	return len(b) >= headerLen && len(b) <= MaxMessage && string(b[:len(magic)]) == magic && b[offType] == kind && b[offVersion] > 0
}

// Marshal is the UDP payload; a longer Host is cut.
func (r Request) Marshal() []byte {
	return appendText(header(Version, typeRequest, 0, r.Key), r.Host, MaxName)
}

// ParseRequest reads the UDP payload. For a later version the error is a *VersionError.
func ParseRequest(b []byte) (Request, error) {
	if !isMessage(b, typeRequest) {
		return Request{}, errMessage
	}
	r := Request{Key: wgkey.Public(b[offKey:])}
	if b[offVersion] != Version {
		return Request{}, &VersionError{b[offVersion], r.Key}
	}
	host, rest, err := takeText(b[headerLen:], MaxName)
	if err != nil || len(rest) > 0 || r.Key.IsZero() {
		return Request{}, errMessage
	}
	r.Host = host
	return r, nil
}

// Marshal is the UDP payload; longer texts are cut.
func (a Answer) Marshal() []byte {
	b := header(Version, typeAnswer, a.Code, a.Key)
	var at uint64
	if !a.Time.IsZero() && a.Time.Unix() > 0 {
		at = uint64(a.Time.Unix())
	}
	b = binary.BigEndian.AppendUint64(b, at)
	b = appendText(b, a.Name, MaxName)
	return appendText(b, a.Text, maxReason)
}

// ParseAnswer reads the UDP payload. Of an answer that is not of our version only code, key and version count: an older hub
// says TooNew in its own.
func ParseAnswer(b []byte) (Answer, error) {
	if !isMessage(b, typeAnswer) || b[offCode] == 0 {
		return Answer{}, errMessage
	}
	a := Answer{Code: Code(b[offCode]), Key: wgkey.Public(b[offKey:]), Version: b[offVersion]}
	if a.Version != Version {
		return a, nil
	}
	rest := b[headerLen:]
	if len(rest) < 8 {
		return Answer{}, errMessage
	}
	// Later than the year 9999 no clock is.
	if at := binary.BigEndian.Uint64(rest); at > 0 && at < 253402300800 {
		a.Time = time.Unix(int64(at), 0).UTC()
	}
	var err error
	if a.Name, rest, err = takeText(rest[8:], MaxName); err != nil {
		return Answer{}, err
	}
	if a.Text, rest, err = takeText(rest, maxReason); err != nil || len(rest) > 0 {
		return Answer{}, errMessage
	}
	return a, nil
}

// appendText writes one octet of length and the text.
func appendText(b []byte, s string, most int) []byte {
	s = cut(clean(s), most)
	return append(append(b, byte(len(s))), s...)
}

func takeText(b []byte, most int) (text string, rest []byte, err error) {
	if len(b) == 0 || int(b[0]) > most || len(b) < 1+int(b[0]) {
		return "", nil, errMessage
	}
	n := 1 + int(b[0])
	return cut(clean(string(b[1:n])), most), b[n:], nil
}
