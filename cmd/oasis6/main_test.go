// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"oasis6/internal/wgkey"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// result is what one command line did.
type result struct {
	code           int
	stdout, stderr string
}

func oasis6(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := execute(t.Context(), env{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}, commands(), args)
	return result{code, out.String(), errs.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestHelp(t *testing.T) {
	r := oasis6(t, "", "help")
	if r.code != exitDone || r.stderr != "" {
		t.Errorf("help: %+v", r)
	}
	golden(t, "help.txt", r.stdout)
	for _, args := range [][]string{{"help", "help"}, {"help", "--help"}, {"--help"}, {"-h"}} {
		if again := oasis6(t, "", args...); again != r {
			t.Errorf("%q: %+v, want what help prints", args, again)
		}
	}
	for _, c := range commands() {
		r := oasis6(t, "", "help", c.name)
		if r.code != exitDone || r.stderr != "" {
			t.Errorf("help %s: %+v", c.name, r)
		}
		golden(t, "help-"+c.name+".txt", r.stdout)
		if again := oasis6(t, "", c.name, "--help"); again != r {
			t.Errorf("%s --help: %+v, want what help %s prints", c.name, again, c.name)
		}
		for _, line := range strings.Split(r.stdout, "\n") {
			if len(line) > 100 {
				t.Errorf("help %s: line of %d columns: %s", c.name, len(line), line)
			}
		}
	}
}

func TestHelpOfEveryCommandIsListed(t *testing.T) {
	help := oasis6(t, "", "--help").stdout
	for _, c := range commands() {
		if !strings.Contains(help, "\n  "+c.name+" ") {
			t.Errorf("%s is not in the help", c.name)
		}
		if c.short == "" || c.topic == "" {
			t.Errorf("%s has no short text or topic", c.name)
		}
	}
	for _, name := range laterCommands() {
		if strings.Contains(help, "\n  "+name+" ") {
			t.Errorf("%s is in the help, but not in this version", name)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "usage: oasis6 COMMAND"},
		{[]string{"statsu"}, "oasis6: no command \"statsu\": did you mean status?\nsee: oasis6 help\n"},
		{[]string{"chekc"}, `no command "chekc": did you mean check?`},
		{[]string{"hlep"}, `no command "hlep": did you mean help?`},
		{[]string{"nonsense"}, "oasis6: no command \"nonsense\": there are run, check, try, status, leave, hub, invite, join, import, genkey, pubkey, demo, version, help\nsee: oasis6 help\n"},
		{[]string{"help", "nonsense"}, "version, help\nsee: oasis6 help\n"},
		{[]string{"help", "chekc"}, "did you mean check?\nsee: oasis6 help\n"},
		{[]string{"help", "run", "check"}, "help takes one command\nsee: oasis6 help\n"},
		{[]string{"status", "now"}, `oasis6 status: "now" is too much`},
		{[]string{"status", "--color"}, "oasis6 status: no option --color\nsee: oasis6 help status\n"},
		{[]string{"status", "-x"}, "oasis6 status: no option -x\n"},
		{[]string{"pubkey", "--linklocal"}, "oasis6 pubkey: no option --linklocal: did you mean --link-local?\nsee: oasis6 help pubkey\n"},
		{[]string{"status", "--run"}, "oasis6 status: --run needs DIR\n"},
		{[]string{"check", "-c"}, "oasis6 check: -c needs FILE\n"},
		{[]string{"status", "--json=perhaps"}, "invalid boolean value"},
		{[]string{"run", "--log-level", "loud"}, "oasis6 run: --log-level loud: want debug, info, warn or error\n"},
		{[]string{"run", "--log-format", "xml"}, "oasis6 run: --log-format xml: want text or json\n"},
		{[]string{"status", "--json", "--watch"}, "--json and --watch exclude each other"},
		{[]string{"genkey", "extra"}, `oasis6 genkey: "extra" is too much: it takes no words`},
		{[]string{"version", "x"}, `"x" is too much`},
		{[]string{"pubkey", "x"}, "standard input"},
		{[]string{"pubkey", "--link-local", "x"}, "not a WireGuard key"},
		{[]string{"pubkey", "--link-local", "x", "y"}, "standard input"},
	} {
		r := oasis6(t, "", c.args...)
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: %+v, want exit code 2 and %q", c.args, r, c.want)
		}
	}
}

func TestCommandsOfLaterVersions(t *testing.T) {
	for _, name := range laterCommands() {
		r := oasis6(t, "", name, "--listen", "x")
		want := "oasis6: " + name + ": not available in this version\n"
		if r.code != exitUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, want) {
			t.Errorf("%s: %+v, want exit code 2 and %q", name, r, want)
		}
		if _, ok := find(commands(), name); ok {
			t.Errorf("%s exists and is called not available", name)
		}
	}
}

func TestOptionsAndWordsMix(t *testing.T) {
	for _, c := range []struct{ args, words, file string }{
		{"", "", "default"},
		{"a", "a", "default"},
		{"-c f a", "a", "f"},
		{"a -c f b", "a b", "f"},
		{"a --config=f -", "a -", "f"},
		{"a -- -c f", "a -c f", "default"},
		{"-- a -- b", "a -- b", "default"},
	} {
		var file string
		o := newOptions("test")
		o.text(&file, option{long: "config", short: "c", arg: "FILE", def: "default"})
		words, err := o.parse(strings.Fields(c.args))
		if got := strings.Join(words, " "); err != nil || got != c.words || file != c.file {
			t.Errorf("%q: words %q, file %q, %v; want %q, %q", c.args, got, file, err, c.words, c.file)
		}
	}
}

func TestKeys(t *testing.T) {
	r := oasis6(t, "", "genkey")
	if r.code != exitDone || r.stderr != "" {
		t.Fatalf("genkey: %+v", r)
	}
	private, err := wgkey.ParsePrivate(strings.TrimSuffix(r.stdout, "\n"))
	if err != nil {
		t.Fatalf("genkey printed no key: %v", err)
	}
	if got, want := oasis6(t, r.stdout, "pubkey"), (result{stdout: private.Public().String() + "\n"}); got != want {
		t.Errorf("pubkey: %+v, want %+v", got, want)
	}
	want := result{stdout: private.Public().LinkLocal().String() + "\n"}
	if got := oasis6(t, r.stdout, "pubkey", "--link-local"); got != want {
		t.Errorf("pubkey --link-local: %+v, want %+v", got, want)
	}
	// The contract's own example.
	want = result{stdout: "fe80::9d23:9a19:b6c6:9d7c\n"}
	if got := oasis6(t, "", "pubkey", "--link-local", "E/2sXvSeg8cggZhJvDOn22z5HqV+eSDduOw46BwBzww="); got != want {
		t.Errorf("pubkey --link-local KEY: %+v, want %+v", got, want)
	}
}

func TestPubkeyDoesNotRepeatTheSecret(t *testing.T) {
	secret := wgkey.GeneratePrivate().Reveal()
	r := oasis6(t, secret+secret, "pubkey")
	if r.code != exitFailed || strings.Contains(r.stderr, secret[:8]) || !strings.Contains(r.stderr, "not a WireGuard key") {
		t.Errorf("%+v, want exit code 1 and no part of the key", r)
	}
}

func TestPubkeyOfNothing(t *testing.T) {
	for _, in := range []string{"", "\n"} {
		r := oasis6(t, in, "pubkey")
		if r.code != exitFailed || !strings.HasPrefix(r.stderr, "oasis6 pubkey: nothing on standard input: ") {
			t.Errorf("%q: %+v, want exit code 1 and what to do", in, r)
		}
	}
}

// The key is written all the same, as wg genkey does.
func TestGenkeyWarnsOfAFileThatOthersCanRead(t *testing.T) {
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: true, 0o644: true, 0o602: true} {
		path := filepath.Join(t.TempDir(), "private.key")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Chmod(mode); err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		code := execute(t.Context(), env{stdout: f, stderr: &errs}, commands(), []string{"genkey"})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(path)
		if err != nil || len(key) != 45 {
			t.Errorf("mode %o: %d octets written, %v", mode, len(key), err)
		}
		if warned := strings.Contains(errs.String(), "umask to 077"); code != exitDone || warned != want {
			t.Errorf("mode %o: exit code %d, %q, want a warning: %v", mode, code, errs.String(), want)
		}
	}
}

func TestVersion(t *testing.T) {
	r := oasis6(t, "", "version")
	if r.code != exitDone || !strings.HasPrefix(r.stdout, "oasis6 ") || !strings.HasSuffix(r.stdout, ")\n") {
		t.Errorf("%+v", r)
	}
	set := func(kv ...string) *debug.BuildInfo {
		bi := &debug.BuildInfo{}
		bi.Main.Version = "(devel)"
		for i := 0; i < len(kv); i += 2 {
			bi.Settings = append(bi.Settings, debug.BuildSetting{Key: kv[i], Value: kv[i+1]})
		}
		return bi
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	vcs := []string{"vcs.revision", commit, "vcs.time", "2026-11-23T12:00:00Z", "vcs.modified"}
	pseudo := set(append(vcs, "true")...)
	pseudo.Main.Version = "v0.0.0-20261123120000-0123456789ab+dirty"
	release := set(append(vcs, "false")...)
	release.Main.Version = "v1.2.3"
	for want, bi := range map[string]*debug.BuildInfo{
		"devel (go":  nil,   // built without module information
		"devel (go1": set(), // -buildvcs=false
		"devel 0123456789ab 2026-11-23T12:00:00Z (go":             set(append(vcs, "false")...),
		"devel 0123456789ab 2026-11-23T12:00:00Z modified (go":    set(append(vcs, "true")...),
		"v0.0.0-20261123120000-0123456789ab+dirty 2026-11-23T12:": pseudo,
		"v1.2.3 0123456789ab 2026-11-23T12:00:00Z (go":            release,
	} {
		if got := describe(bi); !strings.HasPrefix(got, want) {
			t.Errorf("describe() = %q, want %q at its start", got, want)
		}
	}
	if got := describe(set("-tags", "small")); !strings.HasSuffix(got, " small)") {
		t.Errorf("describe() = %q, want the build tag at its end", got)
	}
	if got := buildVersion(); got == "" || strings.ContainsAny(got, "()\n") {
		t.Errorf("buildVersion() = %q", got)
	}
}

func TestLogger(t *testing.T) {
	for _, c := range []struct {
		args, want string
		debug      bool
	}{
		{"", "level=WARN msg=hello iface=br-lan", false},
		{"--log-level debug", "msg=hello", true},
		{"--log-level ERROR", "", false},
		{"--log-format json", `"msg":"hello","iface":"br-lan"}`, false},
	} {
		var l logOptions
		o := newOptions("test")
		l.declare(o)
		if _, err := o.parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		log := l.logger(&b)
		log.Debug("detail")
		log.Warn("hello", "iface", "br-lan")
		if got := b.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" || strings.Contains(got, "detail") != c.debug {
			t.Errorf("%q logs %q, want %q in it, debug %v", c.args, got, c.want, c.debug)
		}
	}
	for _, args := range []string{"--log-level loud", "--log-format xml"} {
		var l logOptions
		o := newOptions("test")
		l.declare(o)
		if _, err := o.parse(strings.Fields(args)); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestPermissionErrorsSayWhoMay(t *testing.T) {
	for _, c := range []struct {
		err  error
		euid int
		want string
	}{
		{syscall.EACCES, 1000, "oasis6 run: permission denied: run it as root\n"},
		{fmt.Errorf("tun: %w", syscall.EPERM), 1000, "oasis6 run: tun: operation not permitted: run it as root\n"},
		{fmt.Errorf("%w: run as root or with CAP_NET_ADMIN", syscall.EPERM), 1000, "oasis6 run: operation not permitted: run as root or with CAP_NET_ADMIN\n"},
		{syscall.EACCES, 0, "oasis6 run: permission denied\n"},
		{syscall.ENOENT, 1000, "oasis6 run: no such file or directory\n"},
	} {
		var errs bytes.Buffer
		if code := report(env{stderr: &errs, euid: c.euid}, "run", c.err); code != exitFailed || errs.String() != c.want {
			t.Errorf("%v as user %d: exit code %d, %q, want %q", c.err, c.euid, code, errs.String(), c.want)
		}
	}
}

// A reader that is gone (oasis6 genkey | true) is a failure, not a success.
func TestBrokenOutputFails(t *testing.T) {
	for _, args := range [][]string{{"genkey"}, {"version"}, {"help"}, {"help", "status"}} {
		var errs bytes.Buffer
		code := execute(context.Background(), env{stdin: strings.NewReader(""), stdout: broken{}, stderr: &errs}, commands(), args)
		if code != exitFailed || !strings.Contains(errs.String(), "closed pipe") {
			t.Errorf("%q: exit code %d, %q", args, code, errs.String())
		}
	}
}
