// SPDX-License-Identifier: MIT

package config

import "testing"

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"abc", "acb", 1},
		{"ca", "abc", 3}, // optimal string alignment: no edit inside a swap
		{"kitten", "sitting", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"PrivateKey", "PublicKey", "PresharedKey", "Endpoint", "AllowedIPs", "PersistentKeepalive", "DNS"}
	for name, want := range map[string]string{
		"PubKey": "PublicKey", "privkey": "PrivateKey", "AllowedIP": "AllowedIPs", "Keepalive": "PersistentKeepalive", "EndPiont": "Endpoint",
		"PSK": "", "Foo": "", "DSN": "DNS", "": "", "Endpoints6": "Endpoint", "xxxxxxxxxxxxxxxxxxxxxxxxEndpoint": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
