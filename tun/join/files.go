// SPDX-License-Identifier: MIT

package join

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"oasis6/config"
	"oasis6/internal/wholefile"
)

// Files in the folder of the configuration. The fingerprint is the invitation's, so the same one always finds the same key, and the
// key of a configuration that is being replaced stays where it is.
func (j *joining) keyFile() string { return "private-" + j.keys.Fingerprint + ".key" }
func (j *joining) draft() string   { return j.beside("join-" + j.keys.Fingerprint + ".conf") }

func (j *joining) beside(name string) string { return filepath.Join(filepath.Dir(j.Config), name) }

// already is the configuration if it is this hub's, or nil. One that is another's stops us, unless it may be replaced.
func (j *joining) already() (*config.Config, error) {
	_, err := os.Lstat(j.Config)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	cfg, _, err := config.Load(j.Config)
	ours := err == nil && len(cfg.Peers) > 0 && cfg.Peers[0].PublicKey == j.inv.Hub && !cfg.Interface.PrivateKey.IsZero()
	finished := ours && filepath.Base(cfg.Interface.PrivateKeyFile) == j.keyFile()
	switch {
	case finished, ours && !j.Replace:
		return cfg, nil
	case !j.Replace:
		return nil, fmt.Errorf("%s exists and is not of this hub: give --replace to set it aside", j.Config)
	}
	return nil, nil
}

// text is the configuration.
func (j *joining) text(site string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Made by oasis6 join.")
	if site != "" {
		line("# The hub calls this box %s.", site)
	}
	line("\n[Interface]\nPrivateKeyFile = %s", j.keyFile())
	line("\n[Peer]\nPublicKey = %s\nEndpoint = %s\nAllowedIPs = ::/0", j.inv.Hub, j.inv.Endpoint)
	if j.inv.LinkLocal.IsValid() {
		line("LinkLocal = %s", j.inv.LinkLocal)
	}
	line("\n[LAN]\nInterface = %s", j.LAN)
	return b.String()
}

// prepare makes the box's key, or finds the one of an earlier try, and lets package config look at what is going to be the
// configuration: nobody is asked if it could not be written or used then.
func (j *joining) prepare() error {
	if strings.ContainsAny(j.LAN, "\r\n#") {
		return fmt.Errorf("--lan %q: no interface has such a name", j.LAN)
	}
	for dir := filepath.Dir(j.Config); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		j.made = append(j.made, dir)
	}
	if err := os.MkdirAll(filepath.Dir(j.Config), 0o755); err != nil {
		return err
	}
	if err := wholefile.Write(j.draft(), []byte(j.text(""))); err != nil {
		return err
	}
	_, err := os.Lstat(j.beside(j.keyFile()))
	j.resumed = err == nil
	cfg, _, err := config.Load(j.draft(), config.CreateKey, config.RequireLAN)
	if err != nil {
		return fmt.Errorf("what would be the configuration is wrong: %w", err)
	}
	j.private = cfg.Interface.PrivateKey
	return nil
}

// tidy removes the draft, and if nothing came of it, what this Run has made: a key that never left for the hub, and folders.
func (j *joining) tidy() {
	_ = os.Remove(j.draft()) // left over it does no harm
	if j.kept {
		return
	}
	if !j.resumed && !j.heard {
		j.forget()
	}
	for _, dir := range j.made {
		if os.Remove(dir) != nil { // there is something in it
			return
		}
	}
}

// forget removes a key that the hub will never take.
func (j *joining) forget() { _ = os.Remove(j.beside(j.keyFile())) } // left over it does no harm

// maxBackups is where something else must be wrong.
const maxBackups = 100

// write makes the configuration, the old one or the new one at every moment, and keeps the old one.
func (j *joining) write(site string) (backup string, err error) {
	if _, err := os.Lstat(j.Config); err == nil {
		if backup, err = keep(j.Config); err != nil {
			return "", err
		}
	}
	return backup, wholefile.Write(j.Config, []byte(j.text(site)))
}

// keep gives the file a second name, FILE.bak or FILE.bak.1 and so on, which outlives its replacement.
func keep(path string) (string, error) {
	for n := range maxBackups {
		name := path + ".bak"
		if n > 0 {
			name += fmt.Sprintf(".%d", n)
		}
		err := os.Link(path, name)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", fmt.Errorf("%s.bak to %s.bak.%d exist: move some away", path, path, maxBackups-1)
}
