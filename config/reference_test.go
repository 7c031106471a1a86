// SPDX-License-Identifier: MIT

package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const referencePath = "../docs/oasis6.conf.reference"

// documented is one key of the reference file with the prose directly above it.
type documented struct {
	section, key, value string
	line                int // index of its line
	commented           bool
	prose               string
}

func (d documented) id() string { return d.section + "." + d.key }

// prosed is the rest of the line of the prose that begins so, empty if there is none.
func (d documented) prosed(begin string) string {
	for l := range strings.SplitSeq(d.prose, "\n") {
		if rest, ok := strings.CutPrefix(l, "# "+begin+": "); ok {
			return rest
		}
	}
	return ""
}

// readReference takes the file apart by its own rule: "#Key" is a key, "# prose" is not.
func readReference(t *testing.T) (text []string, keys []documented, sections []string) {
	t.Helper()
	b, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	header := regexp.MustCompile(`^#?\[(\w+)\]$`)
	pair := regexp.MustCompile(`^(#?)(\w+) = (.+)$`)
	text = strings.Split(string(b), "\n")
	section, prose := "", ""
	for i, l := range text {
		if m := header.FindStringSubmatch(l); m != nil {
			section = m[1]
			sections = append(sections, section)
		}
		if m := pair.FindStringSubmatch(l); m != nil {
			keys = append(keys, documented{section, m[2], m[3], i, m[1] == "#", prose})
		}
		if strings.HasPrefix(l, "# ") {
			prose += l + "\n"
		} else {
			prose = ""
		}
	}
	return text, keys, sections
}

func TestReferenceParses(t *testing.T) {
	text, _, _ := readReference(t)
	cfg, notices, err := Parse(referencePath, strings.NewReader(strings.Join(text, "\n")))
	if err != nil || len(notices) != 0 {
		t.Fatalf("Parse = %v, %v, want neither", notices, err)
	}
	if len(cfg.Peers) != 1 || len(cfg.LANs) != 1 {
		t.Errorf("%d peers, %d LANs, want one of each", len(cfg.Peers), len(cfg.LANs))
	}
}

func TestReferenceHasEveryKeyAndNoOther(t *testing.T) {
	_, keys, documentedSections := readReference(t)
	var got, want, wantSections []string
	for _, d := range keys {
		got = append(got, d.id())
	}
	for _, s := range sections() {
		wantSections = append(wantSections, s.name)
		for _, k := range s.keys {
			want = append(want, s.name+"."+k.name)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s: no %s", referencePath, w)
		}
	}
	for i, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s: %s does not exist", referencePath, g)
		}
		if slices.Contains(got[:i], g) {
			t.Errorf("%s: %s stands twice", referencePath, g)
		}
	}
	if !slices.Equal(documentedSections, wantSections) {
		t.Errorf("%s: sections %v, want %v", referencePath, documentedSections, wantSections)
	}
}

// TestReferenceTellsTheDefaults compares each "Default:" with what a file with nothing but the
// required keys means.
func TestReferenceTellsTheDefaults(t *testing.T) {
	_, keys, _ := readReference(t)
	minimal := mustParse(t, iface+peer+"Endpoint = hub.example.net:51820\n[LAN]\nInterface = br-lan\n")
	effective := map[string]string{}
	section := ""
	for l := range strings.SplitSeq(effectiveText(t, minimal), "\n") {
		switch s := scan(l); s.kind {
		case header:
			section = s.name
		case pair:
			effective[section+"."+s.name] = s.value
		case blank, junk:
		}
	}
	for _, d := range keys {
		said, does := d.prosed("Default"), effective[d.id()]
		switch {
		case d.prosed("Range") == "" || said == "":
			t.Errorf("%s: %s has no Default or no Range", referencePath, d.id())
		case strings.HasSuffix(said, "required"), d.id() == "Peer.Endpoint":
		case does == "" && said != "none" && !strings.HasPrefix(said, "none, "), does != "" && said != does:
			t.Errorf("%s: %s: Default: %s, but it is %q", referencePath, d.id(), said, does)
		}
	}
}

// TestReferenceLinesDoWhatTheySay takes each commented key into use.
func TestReferenceLinesDoWhatTheySay(t *testing.T) {
	text, keys, _ := readReference(t)
	instead := map[string]string{"PrivateKey": "PrivateKeyFile"} // to take out for it
	for _, d := range keys {
		if !d.commented {
			continue
		}
		changed := slices.Clone(text)
		changed[d.line] = strings.TrimPrefix(changed[d.line], "#")
		for i, l := range changed {
			if other := instead[d.key]; other != "" && strings.HasPrefix(l, other+" =") {
				changed[i] = "#" + l
			}
		}
		_, notices, err := Parse("f", strings.NewReader(strings.Join(changed, "\n")))
		got := "accepted"
		switch {
		case err != nil && strings.Contains(err.Error(), ": "+d.key+": "+notAvailable):
			got = notAvailable
		case err != nil && strings.Contains(err.Error(), ": "+d.key+": refused: "):
			got = "refused"
		case err != nil:
			got = err.Error()
		case len(notices) > 0:
			got = "no effect"
		}
		want := "accepted"
		switch k := keyIn(t, d); {
		case k.absent && len(k.only) == 0:
			want = notAvailable
		case k.refused != "":
			want = "refused"
		case k.ignored != "":
			want = "no effect"
		}
		if got != want {
			t.Errorf("%s: %s = %s is %s, want %s", referencePath, d.id(), d.value, got, want)
		}
		if want != "accepted" && !strings.Contains(d.prose, want) {
			t.Errorf("%s: the prose of %s does not say: %s", referencePath, d.id(), want)
		}
		if says := strings.Contains(d.prosed("Range"), notAvailable); says != keyIn(t, d).absent {
			t.Errorf("%s: Range of %s says %q: %v, want %v", referencePath, d.id(), notAvailable, says, !says)
		}
	}
}

func keyIn(t *testing.T, d documented) key {
	t.Helper()
	for _, s := range sections() {
		if s.name == d.section {
			if k, ok := keyOf(s.keys, d.key); ok {
				return k
			}
		}
	}
	t.Fatalf("%s: %s does not exist", referencePath, d.id())
	return key{}
}

// The guide's examples are what people copy.
func TestGuideExamplesParse(t *testing.T) {
	b, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```ini\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(examples) != 3 {
		t.Fatalf("%d examples, want 3", len(examples))
	}
	for i, e := range examples {
		cfg, notices, err := Parse("example", strings.NewReader(e[1]))
		if want := min(i+1, 2); err != nil || len(notices) != 0 || len(cfg.LANs) != want {
			t.Errorf("example %d: %v, %v, want %d LANs and no word", i+1, notices, err, want)
		}
	}
}
