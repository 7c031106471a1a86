// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"oasis6/internal/wgkey"
)

const keyFileConfig = "[Interface]\nPrivateKeyFile = private.key\n" + peer + "[LAN]\nInterface = br-lan\n"

// write puts a file in a fresh folder, with its mode whatever the umask is.
func write(t *testing.T, path, text string, mode fs.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadSays is the error of Load with the folder taken out.
func loadSays(path string, opts ...Option) string {
	_, _, err := Load(path, opts...)
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), filepath.Dir(path), "DIR")
}

func names(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestLoadRefusesKeysThatOthersCanRead(t *testing.T) {
	secret := iface + peer + "PresharedKey = " + pskText + "\n"
	open := "[Interface]\nPrivateKeyFile = private.key\n" + peer
	for _, c := range []struct {
		text string
		mode fs.FileMode
		want string
	}{
		{secret, 0o600, ""},
		{secret, 0o400, ""},
		{secret, 0o711, ""},
		{secret, 0o640, "DIR/f.conf:2: PrivateKey: group or others may read or write this file (mode 0640): chmod 600 DIR/f.conf\n" +
			"DIR/f.conf:6: PresharedKey: group or others may read or write this file (mode 0640): chmod 600 DIR/f.conf"},
		{secret, 0o604, "DIR/f.conf:2: PrivateKey: group or others may read or write this file (mode 0604): chmod 600 DIR/f.conf\n" +
			"DIR/f.conf:6: PresharedKey: group or others may read or write this file (mode 0604): chmod 600 DIR/f.conf"},
		{open, 0o644, ""},
		{open + "PresharedKey = " + pskText, 0o644, "DIR/f.conf:6: PresharedKey: group or others may read or write this file (mode 0644): chmod 600 DIR/f.conf"},
		{iface + peer + "Foo = 1", 0o620, "DIR/f.conf:2: PrivateKey: group or others may read or write this file (mode 0620): chmod 600 DIR/f.conf\n" +
			`DIR/f.conf:6: unknown key "Foo" in [Peer]`},
	} {
		path := write(t, filepath.Join(t.TempDir(), "f.conf"), c.text, c.mode)
		if got := loadSays(path); got != c.want {
			t.Errorf("Load(%q, mode %o):\n%s\nwant\n%s", c.text, c.mode, got, c.want)
		}
	}
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.conf")
	if _, _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %v, want fs.ErrNotExist", err)
	}
	if got, want := loadSays(filepath.Dir(path)), "is a directory"; !strings.Contains(got, want) {
		t.Errorf("Load of a folder = %q, want %q in it", got, want)
	}
}

func TestLoadReadsTheKeyFile(t *testing.T) {
	for _, c := range []struct {
		text string
		mode fs.FileMode
		want string
	}{
		{privateText, 0o600, ""},
		{"\n" + privateText + "\r\n\n", 0o400, ""},
		{privateText, 0o644, "DIR/f.conf:2: PrivateKeyFile: DIR/private.key: group or others may read or write it (mode 0644): chmod 600 DIR/private.key"},
		{"", 0o600, "DIR/f.conf:2: PrivateKeyFile: DIR/private.key is empty: remove it, and a new key is made"},
		{privateText[1:], 0o600, "DIR/f.conf:2: PrivateKeyFile: DIR/private.key: not a WireGuard key: want 44 characters of base64 that end in ="},
		{zeroText, 0o600, "DIR/f.conf:2: PrivateKeyFile: DIR/private.key: this is no key"},
		{privateText + strings.Repeat("\n", maxKeyFile), 0o600, "DIR/f.conf:2: PrivateKeyFile: DIR/private.key: this is no key"},
	} {
		folder := t.TempDir()
		path := write(t, filepath.Join(folder, "f.conf"), keyFileConfig, 0o644)
		key := write(t, filepath.Join(folder, "private.key"), c.text, c.mode)
		if got := loadSays(path, CreateKey); got != c.want {
			t.Errorf("Load with key file %q, mode %o:\n%s\nwant\n%s", c.text, c.mode, got, c.want)
		}
		if after, err := os.ReadFile(key); err != nil || string(after) != c.text {
			t.Errorf("key file is now %q, %v, want %q: it must never be replaced", after, err, c.text)
		}
		if c.want != "" {
			continue
		}
		cfg, _, err := Load(path)
		if err != nil || cfg.Interface.PrivateKey.Reveal() != privateText || cfg.Interface.PrivateKeyFile != key {
			t.Errorf("Load = %+v, %v, want the key of the file and its full name", cfg, err)
		}
	}
}

func TestLoadOfTheOwnKeyAsPeer(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), strings.ReplaceAll(keyFileConfig, publicText, ownText), 0o644)
	write(t, filepath.Join(folder, "private.key"), privateText, 0o600)
	if got, want := loadSays(path), "DIR/f.conf:4: PublicKey: this is the box's own public key: the peer's belongs here"; got != want {
		t.Errorf("Load = %q, want %q", got, want)
	}
}

func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), keyFileConfig, 0o644)
	if err := syscall.Mkfifo(filepath.Join(folder, "private.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := loadSays(path, CreateKey), "DIR/f.conf:2: PrivateKeyFile: DIR/private.key is not a regular file"; got != want {
		t.Errorf("Load with a FIFO as key file = %q, want %q", got, want)
	}
}

func TestLoadWithoutCreateKeyChangesNothing(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), keyFileConfig, 0o644)
	cfg, notices, err := Load(path)
	if err != nil || !cfg.Interface.PrivateKey.IsZero() {
		t.Fatalf("Load = %+v, %v, want no error and no key", cfg, err)
	}
	want := "DIR/f.conf:2: PrivateKeyFile: DIR/private.key does not exist yet: \"oasis6 run\" makes it with a new key\n"
	if got := strings.ReplaceAll(lines(notices), folder, "DIR"); got != want {
		t.Errorf("notices %q, want %q", got, want)
	}
	if got, want := names(t, folder), "f.conf"; got != want {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestLoadCreatesTheKeyOnce(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), keyFileConfig, 0o644)
	first, notices, err := Load(path, CreateKey)
	if err != nil || first.Interface.PrivateKey.IsZero() || !strings.Contains(lines(notices), first.Interface.PrivateKey.Public().String()) {
		t.Fatalf("Load = %+v, %v, %v, want a key, and its public key in a notice", first, notices, err)
	}
	if strings.Contains(lines(notices), first.Interface.PrivateKey.Reveal()) {
		t.Error("the notice shows the private key")
	}
	info, err := os.Stat(filepath.Join(folder, "private.key"))
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("key file = %v, %v, want mode 0600", info.Mode(), err)
	}
	if got, want := names(t, folder), "f.conf private.key"; got != want {
		t.Errorf("folder holds %q, want %q", got, want)
	}
	second, notices, err := Load(path, CreateKey)
	if err != nil || second.Interface.PrivateKey != first.Interface.PrivateKey || len(notices) != 0 {
		t.Errorf("second Load = %v, %v, want the same key without a word", notices, err)
	}
}

// Two starts at once agree on one key.
func TestLoadCreatesOneKeyForAll(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), keyFileConfig, 0o644)
	keys := make([]wgkey.Private, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			cfg, _, err := Load(path, CreateKey)
			if err != nil {
				t.Errorf("Load = %v", err)
				return
			}
			keys[i] = cfg.Interface.PrivateKey
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k.IsZero() || k != keys[0] {
			t.Fatal("starts at the same time got different keys")
		}
	}
	if got, want := names(t, folder), "f.conf private.key"; got != want {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestLoadCreatesNoKeyForAWrongFile(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), keyFileConfig+"Foo = 1\n", 0o644)
	if got, want := loadSays(path, CreateKey), `DIR/f.conf:8: unknown key "Foo" in [LAN]`; got != want {
		t.Errorf("Load = %q, want %q", got, want)
	}
	noLANs := write(t, filepath.Join(folder, "f.conf"), strings.Split(keyFileConfig, "[LAN]")[0], 0o644)
	for want, opts := range map[string][]Option{
		"DIR/f.conf:5: " + noLAN:                             {CreateKey, RequireLAN},
		`--lan "lo": no hosts are on the loopback interface`: {CreateKey, OnlyLAN("lo")},
	} {
		if got := loadSays(noLANs, opts...); got != want {
			t.Errorf("Load = %q, want %q", got, want)
		}
	}
	if got, want := names(t, folder), "f.conf"; got != want {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestLoadCannotCreateTheKey(t *testing.T) {
	folder := t.TempDir()
	text := strings.ReplaceAll(keyFileConfig, "private.key", "it's/private.key")
	path := write(t, filepath.Join(folder, "f.conf"), text, 0o644)
	want := `DIR/f.conf:2: PrivateKeyFile: DIR/it's/private.key: the folder does not exist: mkdir -m 700 'DIR/it'\''s'`
	for _, opts := range [][]Option{nil, {CreateKey}} {
		if got := loadSays(path, opts...); got != want {
			t.Errorf("Load = %q, want %q", got, want)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(folder, "it's"), 0o700), os.Symlink("nowhere", filepath.Join(folder, "it's/private.key"))); err != nil {
		t.Fatal(err)
	}
	want = "DIR/f.conf:2: PrivateKeyFile: DIR/it's/private.key is a symbolic link to nowhere: remove it"
	if got := loadSays(path, CreateKey); got != want {
		t.Errorf("Load = %q, want %q", got, want)
	}
}

func TestWriteKeyFileNeverReplaces(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "private.key"), "mine", 0o600)
	if err := writeKeyFile(path, wgkey.GeneratePrivate()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writeKeyFile = %v, want fs.ErrExist", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("file holds %q, %v, want %q", b, err, "mine")
	}
	if got, want := names(t, filepath.Dir(path)), "private.key"; got != want {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}

func TestLANOfTheCommandLine(t *testing.T) {
	folder := t.TempDir()
	broker := write(t, filepath.Join(folder, "broker.conf"), iface+peer, 0o600)
	two := write(t, filepath.Join(folder, "two.conf"), iface+peer+"[LAN]\nInterface = a\n[LAN]\nInterface = b\nDNSSL = lan.example\n", 0o600)
	for _, c := range []struct {
		path string
		opts []Option
		want string // of the LANs, or the error
	}{
		{broker, nil, ""},
		{broker, []Option{OnlyLAN("")}, ""},
		{broker, []Option{OnlyLAN("br0"), RequireLAN}, "br0/0/[]/medium"},
		{broker, []Option{RequireLAN}, "DIR/broker.conf:5: " + noLAN},
		{two, []Option{RequireLAN}, "a/0/[]/medium b/1/[lan.example]/medium"},
		{two, []Option{OnlyLAN("b")}, "b/1/[lan.example]/medium"},
		{two, []Option{OnlyLAN("c")}, "c/0/[]/medium"},
		{two, []Option{OnlyLAN("oasis0")}, `--lan "oasis0": this is the tunnel: name the bridge or network card that the hosts are on`},
		{two, []Option{OnlyLAN("a b")}, `--lan "a b": not a possible interface name: no spaces, /, : and % in it`},
	} {
		got := loadSays(c.path, c.opts...)
		if got == "" {
			cfg, _, _ := Load(c.path, c.opts...)
			got = lansText(cfg)
		}
		if got != c.want {
			t.Errorf("Load(%s, %d options) = %q, want %q", filepath.Base(c.path), len(c.opts), got, c.want)
		}
	}
	_, notices, err := Load(broker)
	if want := broker + ":5: " + needsLAN + "\n"; err != nil || lines(notices) != want {
		t.Errorf("Load = notices %q, %v, want %q", lines(notices), err, want)
	}
}

func TestWithLANKeepsItsReceiver(t *testing.T) {
	c := mustParse(t, iface+peer+"[LAN]\nInterface = a\n")
	if _, err := c.WithLAN("b"); err != nil || lansText(c) != "a/0/[]/medium" {
		t.Errorf("after WithLAN the receiver has %q, %v, want it as before", lansText(c), err)
	}
}

func lansText(c *Config) string {
	var all []string
	for _, l := range c.LANs {
		all = append(all, strings.Join([]string{l.Interface, string("0123456789"[l.Subnet]), "[" + strings.Join(l.DNSSL, " ") + "]", l.Preference}, "/"))
	}
	return strings.Join(all, " ")
}

func TestPermissionErrorsSayWhoMay(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "/etc/oasis6/private.key", Err: syscall.EACCES}
	for _, c := range []struct {
		err  error
		euid int
		want string
	}{
		{denied, 1000, ": run it as root"},
		{denied, 0, ""},
		{fs.ErrNotExist, 1000, ""},
	} {
		if got := asRoot(c.err, c.euid); got != c.want {
			t.Errorf("asRoot(%v, %d) = %q, want %q", c.err, c.euid, got, c.want)
		}
	}
}
