// SPDX-License-Identifier: MIT

package invite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"oasis6/internal/wgkey"
)

// sample is the invitation of docs/onboarding.md.
func sample() Invitation {
	hub, err := wgkey.ParsePublic("E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=")
	if err != nil {
		panic(err)
	}
	i := Invitation{Hub: hub, Endpoint: "hub.example.net:51820", Expires: time.Unix(1795608000, 0).UTC()}
	for n := range i.Secret {
		i.Secret[n] = byte(n)
	}
	return i
}

func reveal(t *testing.T, i Invitation) string {
	t.Helper()
	s, err := i.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The documented vector: any change of text or derivation cuts invited boxes off from their hub.
func TestDocumentedInvitation(t *testing.T) {
	i := sample()
	const text = "oasis6:aej73lc66spihrzaqgmetpbtu7nwz6i6uv7hsig5xdwdr2a4ahhqyaabaibqibiga4eascqlbqgq4d3la3g4aaiwabuhkyromv4gc3lqnrss43tfoq5dkmjygiykra6mvq"
	if got := reveal(t, i); got != text {
		t.Errorf("Reveal() = %s, want %s", got, text)
	}
	k := i.Keys()
	got := []string{k.Private.Reveal(), k.Private.Public().String(), k.Preshared.Reveal(), k.Fingerprint, k.Private.Public().LinkLocal().String()}
	want := []string{"ABXMRe9r9fDkEgZOcsL7e6+eDz6mN8zXYloFAJROhHg=", "3m0Y8ll4xPbanx/Hq6NWar79P5MqXQ9KREZHxQCu9iA=", "fwTA3kLAjNjPE4K0jx+k9wx0wKL8GTyT4FpOHjLqxoE=", "307f1b87fdaa2c42", "fe80::7ce6:b0f5:eabf:95a3"}
	for n := range want {
		if got[n] != want[n] {
			t.Errorf("output %d = %s, want %s", n, got[n], want[n])
		}
	}
	page, err := os.ReadFile("../../docs/onboarding.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(want, text, infoPrivate, infoPreshared, infoFingerprint, "oasis6 invitation checksum", "port "+strconv.Itoa(Port)) {
		if !strings.Contains(string(page), s) {
			t.Errorf("docs/onboarding.md does not have %s", s)
		}
	}
}

func TestParseGivesBackWhatWasRevealed(t *testing.T) {
	for _, c := range []struct {
		endpoint string
		local    netip.Addr
	}{
		{"hub.example.net:51820", netip.Addr{}},
		{"192.0.2.1:1", netip.Addr{}},
		{"[2001:db8::1]:65535", netip.MustParseAddr("fe80::1")},
		{strings.Repeat("a.", 120) + "example:443", netip.MustParseAddr("fe80::9d23:9a19:b6c6:9d7c")},
	} {
		i := sample()
		i.Endpoint, i.LinkLocal = c.endpoint, c.local
		got, err := Parse(reveal(t, i))
		if err != nil || got != i {
			t.Errorf("Parse(%s) = %+v, %v, want %+v", c.endpoint, got, err, i)
		}
		want := c.local
		if !want.IsValid() {
			want = i.Hub.LinkLocal()
		}
		if got.HubLinkLocal() != want {
			t.Errorf("HubLinkLocal() = %s, want %s", got.HubLinkLocal(), want)
		}
	}
}

// What mail programs, phones and people do to the line.
func TestParseForgives(t *testing.T) {
	i := sample()
	text := reveal(t, i)
	wrapped := ""
	for n := 0; n < len(text); n += 20 {
		wrapped += text[n:min(n+20, len(text))] + " \r\n\t-"
	}
	for _, s := range []string{
		strings.ToUpper(text), " " + text + "\n", wrapped,
		strings.NewReplacer("o", "0", "l", "1", "b", "8").Replace(strings.TrimPrefix(text, Prefix)),
	} {
		if !strings.Contains(s, ":") {
			s = Prefix + s
		}
		if got, err := Parse(s); err != nil || got != i {
			t.Errorf("Parse(%q) = %+v, %v", s, got, err)
		}
	}
}

func TestParseTellsATypo(t *testing.T) {
	text := reveal(t, sample())
	for n := len(Prefix); n < len(text); n++ {
		c := byte('a')
		if text[n] == c {
			c = 'c'
		}
		for what, s := range map[string]string{
			"changed": text[:n] + string(c) + text[n+1:], "missing": text[:n] + text[n+1:], "the rest missing": text[:n],
		} {
			if what == "missing" && n+1 < len(text) && strings.Trim(text[n:], text[n:n+1]) == "" {
				continue
			}
			if _, err := Parse(s); err != errTypo {
				t.Errorf("character %d %s: %v, want %v", n, what, err, errTypo)
			}
		}
	}
	if _, err := Parse(text[:20] + text[21:22] + text[20:21] + text[22:]); err != errTypo {
		t.Errorf("two characters exchanged: %v", err)
	}
}

// sealed is the text of any body.
func sealed(body ...[]byte) string {
	b := bytes.Join(body, nil)
	return Prefix + encoding().EncodeToString(append(b, checksum(b)...))
}

func TestParseRefuses(t *testing.T) {
	i := sample()
	fixed := append([]byte{version}, i.Hub[:]...)
	fixed = append(append(fixed, i.Secret[:]...), 0, 0, 0, 9)
	option := func(kind byte, v string) []byte { return append([]byte{kind, byte(len(v))}, v...) }
	udp := option(optEndpoint, "\x00192.0.2.1:1")
	for _, c := range []struct {
		what, text string
		want       error
	}{
		{"nothing", "", errNoInvitation},
		{"another thing", "https://example.net/", errNoInvitation},
		{"a book", strings.Repeat("oasis6:", 1000), errNoInvitation},
		{"no body", Prefix, errTypo},
		{"not base32", Prefix + "!!!!", errTypo},
		{"a later version", sealed([]byte{2, 7, 7}), errTooNew},
		{"too short", sealed(fixed[:40]), errDamaged},
		{"no endpoint", sealed(fixed), errDamaged},
		{"another carrier", sealed(fixed, option(optEndpoint, "\x01192.0.2.1:1")), errTooNew},
		{"empty endpoint", sealed(fixed, option(optEndpoint, "")), errDamaged},
		{"two endpoints", sealed(fixed, udp, udp), errDamaged},
		{"endpoint without port", sealed(fixed, option(optEndpoint, "\x00192.0.2.1")), errDamaged},
		{"an option of a later version", sealed(fixed, udp, option(3, "x")), errTooNew},
		{"cut option", sealed(fixed, udp[:len(udp)-1]), errDamaged},
		{"half an option", sealed(fixed, udp, []byte{optLinkLocal}), errDamaged},
		{"short link-local", sealed(fixed, udp, option(optLinkLocal, "xxx")), errDamaged},
		{"global link-local", sealed(fixed, udp, option(optLinkLocal, "\x20\x01\x0d\xb8xxxxxxxxxxxx")), errDamaged},
		{"no secret", sealed(fixed[:33], make([]byte, SecretSize+4), udp), errDamaged},
		{"no hub", sealed([]byte{version}, make([]byte, 32), fixed[33:], udp), errDamaged},
	} {
		if _, err := Parse(c.text); err != c.want {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	got, err := Parse(sealed(fixed, option(200, "something"), option(optEndpoint, "\x07tls"), udp))
	if err != nil || got.Endpoint != "192.0.2.1:1" {
		t.Errorf("with optional things of a later version: %+v, %v", got, err)
	}
}

func TestRevealRefuses(t *testing.T) {
	for what, change := range map[string]func(*Invitation){
		"hub":        func(i *Invitation) { i.Hub = wgkey.Public{} },
		"secret":     func(i *Invitation) { i.Secret = Secret{} },
		"year":       func(i *Invitation) { i.Expires = time.Unix(1<<32, 0) },
		"link-local": func(i *Invitation) { i.LinkLocal = netip.MustParseAddr("2001:db8::1") },
		"endpoint":   func(i *Invitation) { i.Endpoint = "hub.example.net" },
	} {
		i := sample()
		change(&i)
		if s, err := i.Reveal(); err == nil {
			t.Errorf("%s: %s", what, s)
		}
	}
}

func TestCheckEndpoint(t *testing.T) {
	for _, s := range []string{"a:1", "hub.example.net:65535", "hub_1.example.net.:51820", "192.0.2.1:51820", "[2001:db8::1]:51820"} {
		if err := CheckEndpoint(s); err != nil {
			t.Errorf("CheckEndpoint(%s) = %v", s, err)
		}
	}
	for _, s := range []string{"", ":", ":51820", "hub", "hub:", "hub:0", "hub:65536", "hub:+1", "hub:x", "2001:db8::1:51820", "[hub]:1", "-a:1", "a-:1", "a..b:1",
		"192.0.2:1", "192.0.2.256:1", "[fe80::1]:1", "[fe80::1%eth0]:1", "[::]:1", "[ff02::1]:1", "0.0.0.0:1", "hub :1", "hub/x:1", strings.Repeat("a", 64) + ":1", strings.Repeat("a.", 127) + "a:1"} {
		if err := CheckEndpoint(s); err == nil {
			t.Errorf("CheckEndpoint(%q) = nil", s)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, s := range []string{"library", "Haus am See", "école", "a", strings.Repeat("x", MaxName)} {
		if err := CheckName(s); err != nil {
			t.Errorf("CheckName(%q) = %v", s, err)
		}
	}
	for _, s := range []string{"", strings.Repeat("x", MaxName+1), "-x", " x", "x ", "a\nb", "a\x1b[2Jb", "\xff"} {
		if err := CheckName(s); err == nil {
			t.Errorf("CheckName(%q) = nil", s)
		}
	}
}

func TestKeysDependOnSecretAndHub(t *testing.T) {
	i := sample()
	seen := map[string]string{}
	for what, change := range map[string]func(*Invitation){
		"itself": func(*Invitation) {}, "another secret": func(i *Invitation) { i.Secret[15]++ }, "another hub": func(i *Invitation) { i.Hub[0]++ },
	} {
		j := i
		change(&j)
		k := j.Keys()
		for n, s := range []string{k.Private.Reveal(), k.Preshared.Reveal(), k.Fingerprint} {
			if who, again := seen[s]; again {
				t.Errorf("%s: output %d is that of %s", what, n, who)
			}
			seen[s] = what
		}
		if k.Private[0]&7 != 0 || k.Private[31]&0xc0 != 0x40 {
			t.Errorf("%s: the private key is not clamped", what)
		}
	}
	i.Endpoint, i.Expires = "x:1", i.Expires.Add(time.Hour)
	if i.Keys() != sample().Keys() {
		t.Error("the keys depend on more than secret and hub")
	}
}

func TestSecretsStayHidden(t *testing.T) {
	i := sample()
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "a", i, "b", i.Secret, "c", i.Keys())
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "a", i, "b", i.Secret, "c", &i)
	fmt.Fprintf(&b, "%v %+v %#v %s %#v", i, i, i, i.Secret, i.Secret)
	if err := json.NewEncoder(&b).Encode(i); err != nil {
		t.Fatal(err)
	}
	k := i.Keys()
	secret := fmt.Sprint([SecretSize]byte(i.Secret))
	for _, s := range []string{secret[1 : len(secret)-1], "000102030405060708", "AAECAwQFBgc", "0x0, 0x1, 0x2", k.Private.Reveal(), k.Preshared.Reveal()} {
		if strings.Contains(b.String(), s) {
			t.Errorf("the secret shows in %s", b.String())
		}
	}
}

func FuzzParse(f *testing.F) {
	text, err := sample().Reveal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(strings.ToUpper(text))
	f.Add(sealed([]byte{1}))
	f.Add(sealed([]byte{2}))
	f.Fuzz(func(t *testing.T, s string) {
		i, err := Parse(s)
		if err != nil {
			if i != (Invitation{}) {
				t.Errorf("Parse(%q) = %v and %+v", s, err, i)
			}
			return
		}
		again, err := i.Reveal()
		if err != nil {
			t.Fatalf("Reveal() of %q = %v", s, err)
		}
		if j, err := Parse(again); err != nil || j != i {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", again, j, err, i)
		}
	})
}

// FuzzBody gets past the checksum, which FuzzParse rarely does.
func FuzzBody(f *testing.F) {
	i := sample()
	i.LinkLocal = netip.MustParseAddr("fe80::1")
	text, err := i.Reveal()
	if err != nil {
		f.Fatal(err)
	}
	b, err := encoding().DecodeString(strings.TrimPrefix(text, Prefix))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:len(b)-checksumLen])
	f.Add(b[:fixedLen])
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Parse(sealed(body))
		if err != nil {
			return
		}
		again, err := got.Reveal()
		if err != nil {
			t.Fatalf("Reveal() of %x = %v", body, err)
		}
		if j, err := Parse(again); err != nil || j != got {
			t.Errorf("Parse() = %+v, %v, want %+v", j, err, got)
		}
	})
}
