// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// "msg-type: 5 for Renew message, 6 for Rebind message, 11 for Information-request message."
func TestRFC9915_21_19_ReconfigureMessage(t *testing.T) {
	for i := range 256 {
		want := MessageType(0)
		if i == 5 || i == 6 || i == 11 {
			want = MessageType(i)
		}
		b := append([]byte{byte(Reconfigure), 0, 0, 0}, option(OptionReconfigureMessage, byte(i))...)
		m, problems := mustParse(t, b)
		if m.ReconfigureMessage != want || (len(problems) == 0) != (want != 0) {
			t.Errorf("%d is read as %s, problems %v", i, m.ReconfigureMessage, problems)
		}
	}
	for _, v := range [][]byte{nil, {5, 5}} {
		m, problems := mustParse(t, replyWith(option(OptionReconfigureMessage, v...)))
		if m.ReconfigureMessage != 0 {
			t.Errorf("%x is read as %s", v, m.ReconfigureMessage)
		}
		wantOne(t, problems, "want 1")
	}
	_, problems := mustParse(t, replyWith(option(OptionReconfigureMessage, 3)))
	wantOne(t, problems, "Reconfigure Message option at offset 4: Request is no answer to a Reconfigure")
}

func TestRFC9915_21_20_ReconfigureAccept(t *testing.T) {
	if m, problems := mustParse(t, replyWith(option(OptionReconfigureAccept))); !m.ReconfigureAccept || problems != nil {
		t.Errorf("not read, problems %v", problems)
	}
	m, problems := mustParse(t, replyWith(option(OptionReconfigureAccept, 0)))
	if m.ReconfigureAccept {
		t.Error("read from an option with data")
	}
	wantOne(t, problems, "length 1, want 0")
}

// Figure 21: protocol, algorithm, RDM, 64 bits of replay detection, information.
func TestRFC9915_21_11_Authentication(t *testing.T) {
	v := []byte{3, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 'i', 'n', 'f', 'o'}
	b := replyWith(option(OptionAuth, v...))
	m, problems := mustParse(t, b)
	clear(b)
	want := &Auth{Protocol: 3, Algorithm: 1, Replay: 0x0102030405060708, Info: []byte("info")}
	if d := cmp.Diff(want, m.Auth); d != "" || problems != nil {
		t.Errorf("problems %v, (-want +got):\n%s", problems, d)
	}
	for n, ok := range map[int]bool{0: false, 10: false, 11: true, 28: true, 11 + maxAuthInfo: true, 12 + maxAuthInfo: false} {
		m, problems := mustParse(t, replyWith(option(OptionAuth, make([]byte, n)...)))
		if (m.Auth != nil) != ok || (problems == nil) != ok {
			t.Errorf("%d octets: %+v, problems %v", n, m.Auth, problems)
		}
	}
	// "Any DHCP message MUST NOT include more than one Authentication option."
	m, problems = mustParse(t, replyWith(option(OptionAuth, v...), option(OptionAuth, make([]byte, 11)...)))
	if d := cmp.Diff(want, m.Auth); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	wantOne(t, problems, "Authentication option at offset 23: appears more than once")
}

var testKey = ReconfigureKey([]byte("0123456789abcdef"))

// signed is a Reconfigure with a digest, the Authentication option in the middle of it.
func signed(key ReconfigureKey) []byte {
	b := slices.Concat([]byte{byte(Reconfigure), 0, 0, 0},
		option(OptionServerID, []byte(serverDUID)...), option(OptionClientID, []byte(clientDUID)...))
	at := len(b) + 4 + 3 + 8 + 1
	b = slices.Concat(b, option(OptionAuth, append([]byte{3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, rkapDigest}, make([]byte, 16)...)...),
		option(OptionReconfigureMessage, byte(Renew)))
	copy(b[at:], rfc2104(key, b))
	return b
}

// rfc2104 is HMAC-MD5 written down from RFC 2104 section 2: H(K XOR opad, H(K XOR ipad, text)).
func rfc2104(key ReconfigureKey, text []byte) []byte {
	inner, outer := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5c}, 64)
	for i, k := range key {
		inner[i] ^= k
		outer[i] ^= k
	}
	h := md5.Sum(append(inner, text...))
	h = md5.Sum(append(outer, h[:]...))
	return h[:]
}

// The test's own HMAC is that of RFC 2104's example: key 16 times 0x0b, "Hi There".
func TestHMACOfTheTest(t *testing.T) {
	if got := fmt.Sprintf("%x", rfc2104(ReconfigureKey(bytes.Repeat([]byte{0x0b}, 16)), []byte("Hi There"))); got != "9294727a3638bb1c13f48ef8158bfc9d" {
		t.Errorf("rfc2104 = %s", got)
	}
}

// "If this computed HMAC-MD5 matches the value in the Authentication option, the client accepts the
// Reconfigure message."
func TestRFC9915_20_4_3_DigestMatches(t *testing.T) {
	b := signed(testKey)
	was := bytes.Clone(b)
	m, problems := mustParse(t, b)
	if problems != nil || m.Auth == nil || m.Auth.Replay != 9 {
		t.Fatalf("message %+v, problems %v", m, problems)
	}
	if err := VerifyReconfigure(b, m, testKey); err != nil {
		t.Errorf("VerifyReconfigure = %v", err)
	}
	if !bytes.Equal(b, was) {
		t.Error("VerifyReconfigure changed the message")
	}
}

// Not one octet may be another, whether the message is read before or after the change.
func TestRFC9915_20_4_3_TamperingIsFound(t *testing.T) {
	b := signed(testKey)
	before, _ := mustParse(t, b)
	for i := range b {
		for bit := range 8 {
			forged := bytes.Clone(b)
			forged[i] ^= 1 << bit
			if err := VerifyReconfigure(forged, before, testKey); err == nil {
				t.Errorf("bit %d of octet %d: believed", bit, i)
			}
			if m, _, err := ParseMessage(forged); err == nil && VerifyReconfigure(forged, m, testKey) == nil {
				t.Errorf("bit %d of octet %d, read after it: believed", bit, i)
			}
		}
		if m, _, err := ParseMessage(b[:i]); err == nil && VerifyReconfigure(b[:i], m, testKey) == nil {
			t.Errorf("cut to %d octets: believed", i)
		}
		if VerifyReconfigure(b[:i], before, testKey) == nil {
			t.Errorf("cut to %d octets after it was read: believed", i)
		}
	}
}

func TestRFC9915_20_4_3_WhatIsNotBelieved(t *testing.T) {
	good := signed(testKey)
	second := option(OptionAuth, append([]byte{3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, rkapDigest}, make([]byte, 16)...)...)
	// resigned has the digest made good for the octets as they are, where the first Authentication stands.
	resigned := func(b []byte) []byte {
		at := bytes.Index(b, []byte{0, byte(OptionAuth), 0, 28}) + 16
		clear(b[at : at+16])
		copy(b[at:], rfc2104(testKey, b))
		return b
	}
	edit := func(at int, value byte) []byte { // of the body of the option
		b := bytes.Clone(good)
		b[bytes.Index(b, []byte{0, byte(OptionAuth), 0, 28})+4+at] = value
		return resigned(b)
	}
	otherKey := testKey
	otherKey[15] ^= 1
	for _, tc := range []struct {
		name string
		b    []byte
		key  ReconfigureKey
		want error
	}{
		{"the message itself, signed again", resigned(bytes.Clone(good)), testKey, nil},
		{"an option at the end", resigned(append(bytes.Clone(good), option(999, 1, 2)...)), testKey, nil},
		{"another key", good, otherKey, errBadDigest},
		{"no key", signed(ReconfigureKey{}), ReconfigureKey{}, errNoKey},
		{"two Authentication options", resigned(append(bytes.Clone(good), second...)), testKey, errNoAuth},
		{"a short second one", resigned(append(bytes.Clone(good), option(OptionAuth)...)), testKey, errNoAuth},
		{"another protocol", edit(0, 2), testKey, errNoAuth},
		{"another algorithm", edit(1, 2), testKey, errNoAuth},
		{"another replay detection", edit(2, 1), testKey, errNoAuth},
		{"a key instead of a digest", edit(11, rkapKey), testKey, errNoAuth},
		{"half an option at the end", resigned(append(bytes.Clone(good), 0, 1, 0)), testKey, errNoAuth},
		{"no Authentication option", []byte{byte(Reconfigure), 0, 0, 0, 0, 19, 0, 1, 5}, testKey, errNoAuth},
		{"no options", []byte{byte(Reconfigure), 0, 0, 0}, testKey, errNoAuth},
	} {
		m, _ := mustParse(t, tc.b)
		if err := VerifyReconfigure(tc.b, m, tc.key); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	m, _ := mustParse(t, good)
	for _, b := range [][]byte{nil, {10}, {10, 0, 0}} {
		if err := VerifyReconfigure(b, m, testKey); !errors.Is(err, errNoAuth) {
			t.Errorf("%x: %v", b, err)
		}
	}
	if err := VerifyReconfigure(good, Message{}, testKey); !errors.Is(err, errNoAuth) {
		t.Errorf("message without Authentication: %v", err)
	}
}

// "Type 1: Reconfigure key value (used in the Reply message)."
func TestRFC9915_20_4_1_ReconfigureKey(t *testing.T) {
	info := append([]byte{rkapKey}, testKey[:]...)
	m, problems := mustParse(t, Message{Type: Reply, Auth: &Auth{Protocol: 3, Algorithm: 1, Replay: 1, Info: info}}.Append(nil))
	if k, ok := m.Auth.ReconfigureKey(); k != testKey || !ok || problems != nil {
		t.Errorf("key %x %t, problems %v", [16]byte(k), ok, problems)
	}
	for name, a := range map[string]*Auth{
		"no option":         nil,
		"another protocol":  {Protocol: 2, Algorithm: 1, Info: info},
		"another algorithm": {Protocol: 3, Algorithm: 0, Info: info},
		"another RDM":       {Protocol: 3, Algorithm: 1, RDM: 1, Info: info},
		"a digest":          {Protocol: 3, Algorithm: 1, Info: append([]byte{rkapDigest}, testKey[:]...)},
		"15 octets":         {Protocol: 3, Algorithm: 1, Info: info[:16]},
		"17 octets":         {Protocol: 3, Algorithm: 1, Info: append(bytes.Clone(info), 0)},
		"no information":    {Protocol: 3, Algorithm: 1},
		"zeros":             {Protocol: 3, Algorithm: 1, Info: append([]byte{rkapKey}, make([]byte, 16)...)},
	} {
		if k, ok := a.ReconfigureKey(); ok {
			t.Errorf("%s: key %x", name, [16]byte(k))
		}
	}
}

func TestReconfigureKeyIsNotShown(t *testing.T) {
	text := fmt.Sprintf("%v %s %+v", testKey, testKey, struct{ Key ReconfigureKey }{testKey})
	if strings.Contains(text, "0123") || strings.Contains(text, "48 49") || !strings.Contains(text, "(reconfigure key)") {
		t.Errorf("printed as %s", text)
	}
	if got := (ReconfigureKey{}).String(); got != "none" {
		t.Errorf("no key is printed as %q", got)
	}
}

// A key shows in no log, whatever prints it.
func TestReconfigureKeyIsRedacted(t *testing.T) {
	key := ReconfigureKey([]byte("0123456789abcdef"))
	a := &Auth{Protocol: 3, Algorithm: 1, Info: append([]byte{1}, key[:]...)}
	js, err := json.Marshal(struct{ Key ReconfigureKey }{key})
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(string(js), key, a) + fmt.Sprintf("%v %+v %#v %s %v", key, key, key, key, Message{Auth: a})
	for _, secret := range []string{"0123456789abcdef", "30313233", "48 49 50 51", "0x30, 0x31", "48,49,50,51"} {
		if strings.Contains(all, secret) {
			t.Errorf("the key shows in %s", all)
		}
	}
}

// What is signed is what section 20.4.3 verifies, with RFC 2104's own formula as the judge.
func TestRFC9915_20_4_2_SignReconfigure(t *testing.T) {
	m := Message{Type: Reconfigure, ClientID: clientDUID, ServerID: serverDUID, ReconfigureMessage: Renew}
	b := SignReconfigure(m, testKey, 7)
	got, problems := mustParse(t, b)
	if problems != nil || got.Type != Reconfigure || got.XID != 0 || got.ClientID != clientDUID || got.ServerID != serverDUID ||
		got.ReconfigureMessage != Renew || got.Auth == nil || got.Auth.Replay != 7 {
		t.Fatalf("read as %+v, problems %v", got, problems)
	}
	if err := VerifyReconfigure(b, got, testKey); err != nil {
		t.Errorf("VerifyReconfigure: %v", err)
	}
	other := testKey
	other[0]++
	if err := VerifyReconfigure(b, got, other); !errors.Is(err, errBadDigest) {
		t.Errorf("with another key: %v", err)
	}
	at, ok := digestAt(b)
	if !ok {
		t.Fatal("no digest")
	}
	digest := bytes.Clone(b[at : at+md5.Size])
	clear(b[at : at+md5.Size])
	if !bytes.Equal(digest, rfc2104(testKey, b)) {
		t.Errorf("digest %x, RFC 2104 gives %x", digest, rfc2104(testKey, b))
	}
	if again := SignReconfigure(m, testKey, 8); bytes.Equal(again[at:at+md5.Size], digest) {
		t.Error("another replay value has the same digest")
	}
}

// The key that a Reply hands out is the one that its reader takes.
func TestRFC9915_20_4_2_KeyAuth(t *testing.T) {
	m, problems := mustParse(t, Message{Type: Reply, Auth: KeyAuth(testKey, 3)}.Append(nil))
	if key, ok := m.Auth.ReconfigureKey(); !ok || key != testKey || m.Auth.Replay != 3 || problems != nil {
		t.Errorf("key %x %v, problems %v", [16]byte(key), ok, problems)
	}
}
