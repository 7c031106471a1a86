// SPDX-License-Identifier: MIT

package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"oasis6/lab/packet"

	"oasis6/lab/page/pagetest"
)

// What lab/packet may call a packet has a color on the page, and no policy is broken by the files.
func TestPageFiles(t *testing.T) {
	read := func(name string) string {
		b, err := embedded.ReadFile("static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	kinds := read("kinds.js")
	for _, k := range packet.Kinds() {
		if !regexp.MustCompile(`[{ ]"?` + string(k) + `"?: "`).MatchString(kinds) {
			t.Errorf("kinds.js: kind %q is in no family", k)
		}
	}
	keys := read("keys.js")
	for _, k := range PageKeys {
		if !strings.Contains(keys, `"`+string(k)+`": `) && !strings.Contains(keys, " "+string(k)+": ") {
			t.Errorf("keys.js: PageKeys has %q, which does nothing", k)
		}
	}
	files, err := embedded.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	outside := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]+/|@import|url\(`)
	inline := regexp.MustCompile(`<style|\sstyle="|\son[a-z]+="|<script>|eval\(|innerHTML|document\.write`)
	for _, f := range files {
		text := read(f.Name())
		if strings.Count(text, "\n") > 500 || len(text) == 0 {
			t.Errorf("static/%s: %d lines", f.Name(), strings.Count(text, "\n"))
		}
		if !strings.Contains(text[:min(len(text), 150)], "SPDX-License-Identifier: MIT") {
			t.Errorf("static/%s: no SPDX line", f.Name())
		}
		for _, m := range outside.FindAllString(text, -1) {
			if m != "http://www.w3.org/" { // the name of SVG
				t.Errorf("static/%s: %q: the page loads nothing from outside", f.Name(), m)
			}
		}
		for _, m := range inline.FindAllString(text, -1) {
			t.Errorf("static/%s: %q is forbidden by the content policy", f.Name(), m)
		}
	}
}

// Texts can be read: 4.5 to 1 at least (WCAG 2.2 section 1.4.3), in both themes, on every ground they stand on. And the dark
// theme of the system is the one of the switch.
func TestColorsHaveContrast(t *testing.T) {
	css, err := embedded.ReadFile("static/base.css")
	if err != nil {
		t.Fatal(err)
	}
	block := func(selector string) string {
		_, rest, _ := strings.Cut(string(css), selector+" {")
		body, _, ok := strings.Cut(rest, "}")
		if !ok {
			t.Fatalf("base.css has no %s", selector)
		}
		return strings.Join(strings.Fields(body), " ")
	}
	if a, b := block(`[data-theme="dark"]`), block(`:root:not([data-theme])`); a != b {
		t.Errorf("dark by switch: %s\ndark by system: %s", a, b)
	}
	grounds := "card page sunk"
	for theme, text := range map[string]string{"light": block(`[data-theme="light"]`), "dark": block(`[data-theme="dark"]`)} {
		color := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(text, -1) {
			color[m[1]] = luminance(m[2])
		}
		for ink, on := range map[string]string{
			"ink": grounds + " faint accent-soft oasis-soft bad-soft", "soft": grounds + " faint accent-soft oasis-soft", "pale": grounds, "accent": grounds + " accent-soft", "accent-ink": "accent",
			"oasis": grounds + " oasis-soft", "good": grounds + " oasis-soft", "warn": grounds + " warn-soft", "bad": grounds + " bad-soft",
			"f-ra": "card", "f-nd": "card", "f-dhcpv6": "card", "f-wg": "card", "f-echo": "card", "f-error": "card", "f-tcp": "card", "f-dns": "card", "f-other": "card",
		} {
			for _, ground := range strings.Fields(on) {
				a, okA := color[ink]
				b, okB := color[ground]
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); !okA || !okB || ratio < pagetest.LeastContrast {
					t.Errorf("%s: %s on %s: contrast %.2f, want %g", theme, ink, ground, ratio, pagetest.LeastContrast)
				}
			}
		}
	}
}

// luminance of a color #rrggbb (WCAG 2.2, relative luminance).
func luminance(hex string) float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
		if err != nil {
			panic(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
