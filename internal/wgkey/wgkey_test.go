// SPDX-License-Identifier: MIT

package wgkey

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The pair of key and address is the contract's own example: any change of the derivation
// cuts every deployed box off from its hub.
func TestLinkLocalOfTheArticlesKey(t *testing.T) {
	k, err := ParsePublic("E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.LinkLocal().String(), "fe80::9d23:9a19:b6c6:9d7c"; got != want {
		t.Errorf("LinkLocal() = %s, want %s", got, want)
	}
}

// The vector is Alice's key pair of RFC 7748 section 6.1.
func TestRFC7748_6_1_PublicKey(t *testing.T) {
	k, err := ParsePrivate("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Public().String(), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="; got != want {
		t.Errorf("Public() = %s, want %s", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "x", "E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww", "E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzwx=", strings.Repeat("A", 48)} {
		if _, err := ParsePrivate(s); err != ErrSyntax {
			t.Errorf("ParsePrivate(%q) = %v, want ErrSyntax", s, err)
		}
	}
}

func TestSecretsStayHidden(t *testing.T) {
	priv := GeneratePrivate()
	psk := Preshared(GeneratePrivate())
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, nil))
	log.Info("x", "a", priv, "b", psk, "c", struct{ K Private }{priv})
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "a", priv, "b", psk, "c", &priv)
	fmt.Fprintf(&b, "%v %s %+v %#v %q", priv, psk, struct{ K Private }{priv}, psk, priv)
	if err := json.NewEncoder(&b).Encode(map[string]any{"a": priv, "b": &psk}); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{priv.Reveal(), psk.Reveal(), priv.RevealHex(), psk.RevealHex()} {
		if strings.Contains(b.String(), secret) {
			t.Fatalf("a secret shows in %s", b.String())
		}
	}
}

// The label tells secrets apart, and a secret outlasts versions: it must not change.
func TestDerive(t *testing.T) {
	k := Private{1, 2, 3}
	m := hmac.New(sha256.New, k[:])
	m.Write([]byte("a label"))
	if got := k.Derive("a label"); !bytes.Equal(got[:], m.Sum(nil)) {
		t.Errorf("Derive = %x, want HMAC-SHA256 of the label", got)
	}
	if k.Derive("a") == k.Derive("b") || k.Derive("a") == (Private{}).Derive("a") {
		t.Error("another label or key gives the same secret")
	}
}
