// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hubKeyFileConfig = "[Interface]\nPrivateKeyFile = private.key\n" + hubPart

// loadHubSays is the error of LoadHub with the folder taken out.
func loadHubSays(path string, opts ...Option) string {
	_, _, err := LoadHub(path, opts...)
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), filepath.Dir(path), "DIR")
}

func TestLoadHubMakesTheKey(t *testing.T) {
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "f.conf"), hubKeyFileConfig, 0o644)
	cfg, notices, err := LoadHub(path)
	want := "DIR/f.conf:2: PrivateKeyFile: DIR/private.key does not exist yet: \"oasis6 hub\" makes it with a new key\n"
	if got := strings.ReplaceAll(lines(notices), folder, "DIR"); err != nil || got != want || !cfg.Interface.PrivateKey.IsZero() || names(t, folder) != "f.conf" {
		t.Fatalf("LoadHub = %+v, %q, %v, want no key and %q", cfg, got, err, want)
	}
	if got := loadHubSays(write(t, filepath.Join(folder, "g.conf"), hubKeyFileConfig+"Quux = 1\n", 0o644), CreateKey); got != `DIR/g.conf:5: unknown key "Quux" in [Hub]` || names(t, folder) != "f.conf g.conf" {
		t.Errorf("LoadHub = %q with files %q, want no key for a wrong file", got, names(t, folder))
	}
	first, notices, err := LoadHub(path, CreateKey, RequireLAN)
	if err != nil || first.Interface.PrivateKey.IsZero() || !strings.Contains(lines(notices), first.Interface.PrivateKey.Public().String()) {
		t.Fatalf("LoadHub = %+v, %v, %v, want a key, and its public key in a notice", first, notices, err)
	}
	if first.Interface.PrivateKeyFile != filepath.Join(folder, "private.key") || first.Interface.ListenPort != defaultHubPort {
		t.Errorf("LoadHub = %+v, want the full name of the key file and the port", first.Interface)
	}
	second, notices, err := LoadHub(path)
	if err != nil || second.Interface.PrivateKey != first.Interface.PrivateKey || len(notices) != 0 {
		t.Errorf("second LoadHub = %v, %v, want the same key without a word", notices, err)
	}
}

func TestLoadHubRefusesKeysThatOthersCanRead(t *testing.T) {
	psk := "PresharedKey = " + pskText
	for _, c := range []struct {
		text string
		mode fs.FileMode
		want string
	}{
		{inSite(psk), 0o600, ""},
		{inSite(psk) + site(otherText, psk), 0o640, "DIR/f.conf:2: PrivateKey: group or others may read or write this file (mode 0640): chmod 600 DIR/f.conf\n" +
			"DIR/f.conf:7: PresharedKey: group or others may read or write this file (mode 0640): chmod 600 DIR/f.conf"},
		{hubKeyFileConfig + site(publicText, "") + site(otherText, psk), 0o604, "DIR/f.conf:10: PresharedKey: group or others may read or write this file (mode 0604): chmod 600 DIR/f.conf"},
		{hubKeyFileConfig + site(publicText, ""), 0o644, ""},
	} {
		path := write(t, filepath.Join(t.TempDir(), "f.conf"), c.text, c.mode)
		if got := loadHubSays(path); got != c.want {
			t.Errorf("LoadHub(%q, mode %o):\n%s\nwant\n%s", c.text, c.mode, got, c.want)
		}
	}
}

// The hub's own key may be known only when the key file has been read.
func TestLoadHubOfTheOwnKeyAsSite(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{site(ownText, ""), "DIR/f.conf:6: PublicKey: this is the hub's own public key: the peer's belongs here"},
		{site(privateText, ""), "DIR/f.conf:6: PublicKey: this is the hub's own private key: the peer's public key belongs here"},
		{site(publicText, "LinkLocal = "+ownLL), `DIR/f.conf:7: LinkLocal = "` + ownLL + `": the hub makes the same one of its key`},
		{site(publicText, "LinkLocal = fe80::2"), ""},
	} {
		folder := t.TempDir()
		path := write(t, filepath.Join(folder, "f.conf"), hubKeyFileConfig+c.text, 0o644)
		write(t, filepath.Join(folder, "private.key"), privateText, 0o600)
		if got := loadHubSays(path); got != c.want {
			t.Errorf("LoadHub of %q = %q, want %q", c.text, got, c.want)
		}
	}
}

// Each command says in one line that the file is the other's.
func TestLoadOfTheOtherKindOfFile(t *testing.T) {
	folder := t.TempDir()
	hub := write(t, filepath.Join(folder, "hub.conf"), hubKeyFileConfig+"Foo = 1\n", 0o644)
	box := write(t, filepath.Join(folder, "box.conf"), keyFileConfig+"Foo = 1\n", 0o644)
	if got, want := loadSays(hub, RequireLAN, CreateKey), "DIR/hub.conf:3: [Hub]: this is the file of a hub, not of a box: oasis6 hub -c DIR/hub.conf"; strings.ReplaceAll(got, folder, "DIR") != want {
		t.Errorf("Load = %q, want %q", got, want)
	}
	if got, want := loadHubSays(box, CreateKey), "DIR/box.conf:8: no [Hub] section: this is the file of a box, not of a hub: oasis6 run -c DIR/box.conf"; strings.ReplaceAll(got, folder, "DIR") != want {
		t.Errorf("LoadHub = %q, want %q", got, want)
	}
	if got, want := names(t, folder), "box.conf hub.conf"; got != want {
		t.Errorf("folder holds %q, want %q", got, want)
	}
	if got, want := loadHubSays(hub, OnlyLAN("br-lan")), "--lan: this is the file of a hub, which has no LANs"; got != want {
		t.Errorf("LoadHub with OnlyLAN = %q, want %q", got, want)
	}
}

// What a file is shows when it has been read, and then it need not be there any more.
func TestReadThenLoad(t *testing.T) {
	for _, c := range []struct {
		text string
		hub  bool
	}{
		{iface + hubPart, true}, {iface + "[ hUB ] # ours", true}, {"[Hub", false}, {"# [Hub]", false}, {"Name = [Hub]", false},
		{iface + peer, false}, {"", false}, {strings.Repeat("#\n", maxFile) + iface + hubPart, true},
	} {
		path := write(t, filepath.Join(t.TempDir(), "f.conf"), c.text, 0o600)
		f, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := f.IsHub(); got != c.hub {
			t.Errorf("IsHub of %.40q = %v, want %v", c.text, got, c.hub)
		}
		_, _, errBox := f.Load()
		_, _, errHub := f.LoadHub()
		if wantBox, wantHub := c.text == iface+peer, strings.HasSuffix(c.text, iface+hubPart); (errBox == nil) != wantBox || (errHub == nil) != wantHub {
			t.Errorf("%.40q: Load = %v, LoadHub = %v, want success: %v, %v", c.text, errBox, errHub, wantBox, wantHub)
		}
	}
	folder := t.TempDir()
	if _, _, err := LoadHub(filepath.Join(folder, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadHub = %v, want fs.ErrNotExist", err)
	}
	if _, err := Read(folder); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("Read of a folder = %v, want that it is one", err)
	}
}
