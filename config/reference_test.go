// SPDX-License-Identifier: MIT

package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const referencePath = "../docs/oasis6.conf.reference"

// documented is one key of the reference file with the prose directly above it.
type documented struct {
	hub                 bool // stands in the part for a hub, which begins with [Hub]
	section, key, value string
	line                int // index of its line
	commented           bool
	prose               string
}

func (d documented) id() string {
	if d.hub {
		return "hub " + d.section + "." + d.key
	}
	return d.section + "." + d.key
}

// prosed is the rest of the line of the prose that begins so, empty if there is none.
func (d documented) prosed(begin string) string {
	for l := range strings.SplitSeq(d.prose, "\n") {
		if rest, ok := strings.CutPrefix(l, "# "+begin+": "); ok {
			return rest
		}
	}
	return ""
}

// readReference takes the file apart by its own rule: "#Key" is a key, "# prose" is not. What is for a hub alone begins
// on line hub.
func readReference(t *testing.T) (text []string, keys []documented, sections []string, hub int) {
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
			if section == "Hub" {
				hub = i
			}
		}
		if m := pair.FindStringSubmatch(l); m != nil {
			keys = append(keys, documented{hub > 0, section, m[2], m[3], i, m[1] == "#", prose})
		}
		if strings.HasPrefix(l, "# ") {
			prose += l + "\n"
		} else {
			prose = ""
		}
	}
	return text, keys, sections, hub
}

// hubReference is the file of a hub out of the reference: [Interface], and of the hub's part the headers and the lines of
// keys that must be there. also are lines to take into use beside.
func hubReference(t *testing.T, also ...int) string {
	t.Helper()
	text, keys, _, hub := readReference(t)
	out := slices.Clone(text[:slices.Index(text, "[Peer]")])
	for i := hub; i < len(text); i++ {
		line := func(d documented) bool { return d.line == i }
		k := slices.IndexFunc(keys, line)
		if strings.HasPrefix(text[i], "#[") || slices.Contains(also, i) || k >= 0 && strings.HasSuffix(keys[k].prosed("Default"), "required") {
			out = append(out, strings.TrimPrefix(text[i], "#"))
		}
	}
	return strings.Join(out, "\n")
}

func TestReferenceParses(t *testing.T) {
	text, _, _, _ := readReference(t)
	cfg, notices, err := Parse(referencePath, strings.NewReader(strings.Join(text, "\n")))
	if err != nil || len(notices) != 0 {
		t.Fatalf("Parse = %v, %v, want neither", notices, err)
	}
	if len(cfg.Peers) != 1 || len(cfg.LANs) != 1 {
		t.Errorf("%d peers, %d LANs, want one of each", len(cfg.Peers), len(cfg.LANs))
	}
}

// All of the hub's part that can be taken into use works at once.
func TestReferenceOfAHubParses(t *testing.T) {
	_, keys, _, _ := readReference(t)
	var all []int
	for _, d := range keys {
		if k := keyIn(t, d); d.hub && k.refused == "" && (!k.absent || len(k.only) > 0) {
			all = append(all, d.line)
		}
	}
	text := hubReference(t, all...)
	cfg, notices, err := ParseHub("f", strings.NewReader(text))
	if err != nil || len(notices) != 1 || !strings.HasPrefix(notices[0].Message, "OnLink = yes: ") {
		t.Fatalf("ParseHub(%s) = %v, %v, want a notice about OnLink alone", text, notices, err)
	}
	if len(cfg.Sites) != 1 || len(cfg.Sites[0].Prefixes) != 1 || cfg.Hub.Endpoint == "" {
		t.Errorf("ParseHub = %+v, want a site with a reservation", cfg)
	}
}

func TestReferenceHasEveryKeyAndNoOther(t *testing.T) {
	_, keys, documentedSections, _ := readReference(t)
	var got, want, wantSections []string
	for _, d := range keys {
		got = append(got, d.id())
	}
	for _, s := range sections() {
		if s.name == "Hub" {
			continue
		}
		wantSections = append(wantSections, s.name)
		for _, k := range s.keys {
			want = append(want, s.name+"."+k.name)
		}
	}
	for _, s := range hubSections() {
		if s.name != "Hub" && s.name != "Peer" {
			continue // in the box's part
		}
		wantSections = append(wantSections, s.name)
		for _, k := range s.keys {
			want = append(want, "hub "+s.name+"."+k.name)
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

// valuesOf has the keys of an effective text as ids of documented.
func valuesOf(effective, prefix string) map[string]string {
	values, section := map[string]string{}, ""
	for l := range strings.SplitSeq(effective, "\n") {
		switch s := scan(l); s.kind {
		case header:
			section = s.name
		case pair:
			values[prefix+section+"."+s.name] = s.value
		case blank, junk:
		}
	}
	return values
}

// TestReferenceTellsTheDefaults compares each "Default:" with what a file with nothing but the
// required keys means.
func TestReferenceTellsTheDefaults(t *testing.T) {
	_, keys, _, _ := readReference(t)
	effective := valuesOf(effectiveText(t, mustParse(t, iface+peer+"Endpoint = hub.example.net:51820\n[LAN]\nInterface = br-lan\n")), "")
	var hub strings.Builder
	if err := WriteEffectiveHub(&hub, mustParseHub(t, hubReference(t))); err != nil {
		t.Fatal(err)
	}
	maps.Copy(effective, valuesOf(hub.String(), "hub "))
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
	for id, differs := range map[string]string{"hub Interface.ListenPort": "51820", "hub Router.Firewall": "open"} {
		if _, ok := effective[id]; !ok || effective[id] != differs {
			t.Errorf("%s is %q on a hub, want %q as the prose says", id, effective[id], differs)
		}
	}
}

// boxReference is the reference with that key in use.
func boxReference(t *testing.T, d documented) string {
	t.Helper()
	text, _, _, _ := readReference(t)
	text[d.line] = strings.TrimPrefix(text[d.line], "#")
	instead := map[string]string{"PrivateKey": "PrivateKeyFile"} // to take out for it
	for i, l := range text {
		if other := instead[d.key]; other != "" && strings.HasPrefix(l, other+" =") {
			text[i] = "#" + l
		}
	}
	return strings.Join(text, "\n")
}

// use says what becomes of a commented key that is taken into use.
func use(t *testing.T, d documented) string {
	t.Helper()
	var notices []Notice
	var err error
	if d.hub {
		also := []int{d.line}
		if d.key == "OnLink" {
			_, keys, _, _ := readReference(t)
			also = append(also, keys[slices.IndexFunc(keys, func(k documented) bool { return k.id() == "hub Hub.Uplink" })].line)
		}
		_, notices, err = ParseHub("f", strings.NewReader(hubReference(t, also...)))
	} else {
		_, notices, err = Parse("f", strings.NewReader(boxReference(t, d)))
	}
	switch {
	case err != nil && strings.Contains(err.Error(), ": "+d.key+": "+notAvailable):
		return notAvailable
	case err != nil && strings.Contains(err.Error(), ": "+d.key+": refused: "):
		return "refused"
	case err != nil:
		return err.Error()
	case len(notices) > 0 && !strings.HasPrefix(notices[0].Message, "OnLink = yes: "):
		return "no effect"
	}
	return "accepted"
}

// TestReferenceLinesDoWhatTheySay takes each commented key into use.
func TestReferenceLinesDoWhatTheySay(t *testing.T) {
	_, keys, _, _ := readReference(t)
	for _, d := range keys {
		if !d.commented {
			continue
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
		if got := use(t, d); got != want {
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
	all := sections()
	if d.hub {
		all = hubSections()
	}
	for _, s := range all {
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
	if len(examples) != 4 {
		t.Fatalf("%d examples, want 4", len(examples))
	}
	for i, e := range examples[:3] {
		cfg, notices, err := Parse("example", strings.NewReader(e[1]))
		if want := min(i+1, 2); err != nil || len(notices) != 0 || len(cfg.LANs) != want {
			t.Errorf("example %d: %v, %v, want %d LANs and no word", i+1, notices, err, want)
		}
	}
	cfg, notices, err := ParseHub("example", strings.NewReader(examples[3][1]))
	if err != nil || len(notices) != 0 || len(cfg.Sites) != 2 {
		t.Errorf("example of a hub: %v, %v, want two sites and no word", notices, err)
	}
}
