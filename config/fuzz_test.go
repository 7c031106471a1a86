// SPDX-License-Identifier: MIT

package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		f.Fatalf("Glob = %v, %v", files, err)
	}
	for _, path := range append(files, referencePath) {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(iface + peer + "Endpoint = [fe80::1%a]]:1\nName = =#\n[Prefix]\nPrefix = 2000::/3\n[LAN]\nInterface = é\nSubnet = f\nRDNSS = self\n[LAN]\nInterface=x\n[Router]\nFirewall = open\n"))
	f.Add([]byte(iface + peer + "[Prefix]\nHint = ::/56, 2001:db8::/48\nHint = ::/56 2001:db8::/48\nRequestAddress = Yes\n"))
	f.Add([]byte(iface + peer + "[Prefix]\nPrefix = 2001:db8::/56\nHint = ::/56\nRequestAddress = no\n"))
	f.Add([]byte(iface + peer + "[Prefix]\nULA = fd00:db8:1::/48\n[LAN]\nInterface = a\nDHCPv6 = Stateful\nDelegate = no\nPREF64 = 2001:db8:64::/96\nCaptivePortal = HTTPS://[2001:db8::1]:8443/api?a=%20\n" +
		"[LAN]\nInterface = b\nDHCPv6 = off\nPREF64 = 64:ff9b::/32\nCaptivePortal = URN:ietf:params:capport:unrestricted\n"))
	f.Add([]byte("\ufeff[Hub]\r\n\x00\r\nDNS = 192.0.2.53 \u00a0 a.b.\r\n"))
}

// FuzzParse: no panic, no secret in a message, bounded output, and what is accepted says the same after
// being written out and read again.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		cfg, notices, err := Parse("f", bytes.NewReader(in))
		if !bytes.Equal(in, before) {
			t.Fatal("the input was changed")
		}
		if len(notices) > maxReports {
			t.Fatalf("%d notices", len(notices))
		}
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxReports+1 || cfg != nil {
				t.Fatalf("Parse = %v, %T with %d errors", cfg, err, len(errs))
			}
			return
		}
		text := reveal(cfg)
		for i := range cfg.LANs {
			cfg.LANs[i].AnySubnet = false // the text names the number
		}
		again, notices, err := Parse("f", strings.NewReader(text))
		if err != nil || len(notices) > literalPortals(cfg) || !reflect.DeepEqual(cfg, again) {
			t.Fatalf("Parse(%q) = %v, %v\n%+v\nwant\n%+v", text, notices, err, again, cfg)
		}
		if got := reveal(again); got != text {
			t.Fatalf("second text\n%s\nwant\n%s", got, text)
		}
		hidden := effectiveText(t, cfg)
		if !cfg.Interface.PrivateKey.IsZero() && strings.Contains(hidden, cfg.Interface.PrivateKey.Reveal()) {
			t.Fatalf("WriteEffective shows the private key:\n%s", hidden)
		}
	})
}

// literalPortals counts the LANs whose captive portal is at an address: the only value that works and is warned of.
func literalPortals(c *Config) int {
	n := 0
	for _, l := range c.LANs {
		if _, literal, _ := parseCaptivePortal(l.CaptivePortal); literal {
			n++
		}
	}
	return n
}

// FuzzImport: no panic, and a result that parses without a word and holds no hook.
func FuzzImport(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		text, _, err := Import("f", bytes.NewReader(in))
		if err != nil {
			if text != "" {
				t.Fatalf("Import = %q beside %v", text, err)
			}
			return
		}
		cfg, _, err := Parse("f", strings.NewReader(text))
		if err != nil {
			t.Fatalf("Parse(%q) = %v", text, err)
		}
		if len(cfg.LANs) == 0 {
			t.Fatalf("Import = %q, want a [LAN] in it", text)
		}
		twice, _, err := Import("f", strings.NewReader(text))
		if err != nil || twice != text {
			t.Fatalf("Import of its own result = %q, %v\nwant it unchanged: %q", twice, err, text)
		}
	})
}
