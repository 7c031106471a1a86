// SPDX-License-Identifier: MIT

package invite

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"oasis6/internal/wgkey"
)

func key() (k wgkey.Public) {
	for n := range k {
		k[n] = 0xa0
	}
	return k
}

// The octets of docs/onboarding.md.
func TestDocumentedMessages(t *testing.T) {
	k := strings.Repeat("a0", wgkey.Size)
	for _, c := range []struct {
		what string
		got  []byte
		want string
	}{
		{"request", Request{Key: key(), Host: "box"}.Marshal(), "6f366a6e 01 01 00 00" + k + "03 626f78"},
		{"answer", Answer{Code: Accepted, Key: key(), Time: time.Unix(1795608000, 0), Name: "library"}.Marshal(),
			"6f366a6e 01 02 01 00" + k + "000000006b06cdc0 07 6c696272617279 00"},
	} {
		if want := strings.ReplaceAll(c.want, " ", ""); hex.EncodeToString(c.got) != want {
			t.Errorf("%s: %x, want %s", c.what, c.got, want)
		}
	}
}

func TestMessagesGoThrough(t *testing.T) {
	for _, r := range []Request{{Key: key()}, {Key: key(), Host: "box"}, {Key: key(), Host: strings.Repeat("x", MaxName)}} {
		if got, err := ParseRequest(r.Marshal()); err != nil || got != r {
			t.Errorf("ParseRequest() = %+v, %v, want %+v", got, err, r)
		}
	}
	for _, a := range []Answer{
		{Code: Used, Key: key()},
		{Code: Accepted, Key: key(), Time: time.Unix(1795608000, 0).UTC(), Name: "library", Text: "welcome"},
		{Code: 77, Key: key(), Text: strings.Repeat("é", 127)},
	} {
		a.Version = Version
		if got, err := ParseAnswer(a.Marshal()); err != nil || got != a {
			t.Errorf("ParseAnswer() = %+v, %v, want %+v", got, err, a)
		}
	}
}

// Text from the other end reaches terminals and logs.
func TestTextsAreCutAndCleaned(t *testing.T) {
	got, err := ParseRequest(Request{Key: key(), Host: "a\x1b[2J\nb" + strings.Repeat("é", 40)}.Marshal())
	if err != nil || !strings.HasPrefix(got.Host, "a?[2J?bé") || len(got.Host) > MaxName || !utf8.ValidString(got.Host) {
		t.Errorf("host %q, %v", got.Host, err)
	}
	raw := append(header(Version, typeAnswer, Bad, key()), make([]byte, 8)...)
	raw = append(raw, 2, 0x9b, 'x', 3, 0xff, '\r', 'y')
	a, err := ParseAnswer(raw)
	if err != nil || a.Name != "?x" || a.Text != "??y" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestMessagesOfOtherVersions(t *testing.T) {
	b := Request{Key: key()}.Marshal()
	b[offVersion] = 9
	var later *VersionError
	if _, err := ParseRequest(append(b, "more"...)); !errors.As(err, &later) || later.Version != 9 || later.Key != key() {
		t.Errorf("ParseRequest() = %v, want version 9 of the key", err)
	}
	b = Answer{Code: TooNew, Key: key()}.Marshal()[:headerLen]
	b[offVersion] = 3
	if a, err := ParseAnswer(b); err != nil || a != (Answer{Code: TooNew, Key: key(), Version: 3}) {
		t.Errorf("ParseAnswer() = %+v, %v", a, err)
	}
}

func TestMessagesThatAreNone(t *testing.T) {
	req, ans := Request{Key: key(), Host: "x"}.Marshal(), Answer{Code: Full, Key: key(), Text: "x"}.Marshal()
	change := func(b []byte, at int, c byte) []byte { b = bytes.Clone(b); b[at] = c; return b }
	for what, b := range map[string][]byte{
		"empty": nil, "an answer": ans, "magic": change(req, 0, 'x'), "version 0": change(req, offVersion, 0), "short": req[:headerLen-1],
		"without host": req[:headerLen], "cut host": req[:len(req)-1], "too much": append(bytes.Clone(req), 0), "long host": change(req, headerLen, 64),
		"no key": Request{}.Marshal(), "huge": append(bytes.Clone(req), make([]byte, MaxMessage)...),
	} {
		if r, err := ParseRequest(b); err == nil {
			t.Errorf("request, %s: %+v", what, r)
		}
	}
	for what, b := range map[string][]byte{
		"empty": nil, "a request": req, "code 0": change(ans, offCode, 0), "no time": ans[:headerLen+7], "no name": ans[:headerLen+8],
		"no text": ans[:headerLen+9], "cut text": ans[:len(ans)-1], "too much": append(bytes.Clone(ans), 0),
	} {
		if a, err := ParseAnswer(b); err == nil {
			t.Errorf("answer, %s: %+v", what, a)
		}
	}
	a, err := ParseAnswer(change(ans, headerLen, 0xff))
	if err != nil || !a.Time.IsZero() {
		t.Errorf("answer with a time out of reach: %+v, %v", a, err)
	}
}

func TestCodesHaveNames(t *testing.T) {
	for c := Accepted; c <= Later; c++ {
		if s := c.String(); s == "" || strings.HasPrefix(s, "code") {
			t.Errorf("Code(%d) = %q", c, s)
		}
	}
	if got := Code(99).String(); got != "code 99" {
		t.Errorf("Code(99) = %s", got)
	}
	if got := Code(0).String(); got != "code 0" {
		t.Errorf("Code(0) = %s", got)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(Request{Key: key(), Host: "box"}.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		if again, err := ParseRequest(r.Marshal()); err != nil || again != r {
			t.Errorf("ParseRequest() = %+v, %v, want %+v", again, err, r)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(Answer{Code: Accepted, Key: key(), Time: time.Unix(1795608000, 0), Name: "library", Text: "x"}.Marshal())
	f.Add(header(2, typeAnswer, TooNew, key()))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnswer(b)
		if err != nil {
			return
		}
		again, err := ParseAnswer(a.Marshal())
		a.Version = Version // all that we write is of ours
		if err != nil || again != a {
			t.Errorf("ParseAnswer() = %+v, %v, want %+v", again, err, a)
		}
	})
}
