// SPDX-License-Identifier: MIT

package config

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"oasis6/internal/wgkey"
)

func seeds(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.conf")
	hubs, hubErr := filepath.Glob("testdata/hub/*.conf")
	if err := errors.Join(err, hubErr); err != nil || len(files) == 0 || len(hubs) == 0 {
		f.Fatalf("Glob = %v, %v, %v", files, hubs, err)
	}
	files = append(files, hubs...)
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
	for _, c := range hubSeeds() {
		f.Add([]byte(c))
	}
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

func hubSeeds() []string {
	return []string{
		inHub(""), inHub("ValidLifetime = 1d2h3m4s\nPreferredLifetime = 60\nSiteLength = 60\nOnLink = yes\nUplink = a\nEndpoint = [2001:db8::1]:1\n[Router]\nFirewall = closed"),
		inSite("Prefix = 2001:db8:ebbd:990a::/64 2001:db8:7::/48\nName = é =\nLinkLocal = fe80::2\nPersistentKeepalive = 25") + site(otherText, "PresharedKey = "+pskText),
		inHub("Pool = 2001:db8:1::/48, fd00::/16") + site(otherText, "") + site(otherText, "Prefix = 2001:db8:1::/63, 2001:db8:1::/64"),
	}
}

// FuzzParseHub is FuzzParse for the file of a hub. A text is of a box or of a hub, never both.
func FuzzParseHub(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		cfg, notices, err := ParseHub("f", bytes.NewReader(in))
		if len(notices) > maxReports {
			t.Fatalf("%d notices", len(notices))
		}
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxReports+1 || cfg != nil {
				t.Fatalf("ParseHub = %v, %T with %d errors", cfg, err, len(errs))
			}
			return
		}
		if _, _, err := Parse("f", bytes.NewReader(in)); err == nil {
			t.Fatalf("Parse(%q) = no error, want that it is a hub's", in)
		}
		checkHub(t, cfg)
		for i := range cfg.Sites {
			cfg.Sites[i].Line = 0
		}
		text := effectiveHub(cfg, secret.Reveal)
		again, _, err := ParseHub("f", strings.NewReader(text))
		if err != nil {
			t.Fatalf("ParseHub(%q) = %v", text, err)
		}
		for i := range again.Sites {
			again.Sites[i].Line = 0
		}
		if !reflect.DeepEqual(cfg, again) {
			t.Fatalf("ParseHub(%q) =\n%+v\nwant\n%+v", text, again, cfg)
		}
		hidden := effectiveHubText(t, cfg)
		if !cfg.Interface.PrivateKey.IsZero() && strings.Contains(hidden, cfg.Interface.PrivateKey.Reveal()) {
			t.Fatalf("WriteEffectiveHub shows the private key:\n%s", hidden)
		}
	})
}

// checkHub holds what HubConfig promises against it, by the slow way.
func checkHub(t *testing.T, c *HubConfig) {
	t.Helper()
	h := c.Hub
	if h.MaxSiteLength > h.SiteLength || h.SiteLength > 64 || h.MaxSiteLength < minPoolLen || h.Preferred < minLifetime || h.Preferred > h.Valid || h.Valid > maxLifetime ||
		c.Interface.ListenPort == 0 || h.OnLink && h.Uplink == "" || len(h.Pools) == 0 || len(h.Pools) > maxPools {
		t.Fatalf("%+v, port %d", h, c.Interface.ListenPort)
	}
	apart := func(what string, list []netip.Prefix) {
		for i, p := range list {
			if p != p.Masked() || p.Bits() < minPoolLen || p.Bits() > 64 {
				t.Fatalf("%s %s", what, p)
			}
			for _, q := range list[:i] {
				if p.Overlaps(q) {
					t.Fatalf("%s %s overlaps %s", what, p, q)
				}
			}
		}
	}
	apart("pool", h.Pools)
	var reserved []netip.Prefix
	keys, names, locals := map[wgkey.Public]bool{}, map[string]bool{"": true}, map[netip.Addr]bool{}
	for i, s := range c.Sites {
		reserved = append(reserved, s.Prefixes...)
		local := s.LinkLocal
		if !local.IsValid() {
			local = s.PublicKey.LinkLocal()
		}
		name := strings.ToLower(s.Name)
		if keys[s.PublicKey] || names[name] && name != "" || locals[local] || s.PublicKey.IsZero() || i > 0 && s.Line <= c.Sites[i-1].Line {
			t.Fatalf("site %+v", s)
		}
		keys[s.PublicKey], names[name], locals[local] = true, true, true
	}
	apart("reservation", reserved)
	for _, r := range reserved {
		for _, a := range c.Interface.Addresses {
			if r.Overlaps(a) {
				t.Fatalf("reservation %s overlaps the tunnel's %s", r, a)
			}
		}
		for _, p := range h.Pools {
			if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
				t.Fatalf("reservation %s leaves nothing of %s", r, p)
			}
		}
	}
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
