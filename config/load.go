// SPDX-License-Identifier: MIT

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"oasis6/internal/wgkey"
)

// Option says what Load does beyond reading and checking. Without any, Load changes nothing on disk.
type Option func(*loader)

// CreateKey makes a missing PrivateKeyFile with a new key. Without it, a missing one is a notice
// and Interface.PrivateKey stays zero.
func CreateKey(l *loader) { l.createKey = true }

// RequireLAN makes a file without [LAN] an error, where OnlyLAN does not name one. Without it, that is a notice.
func RequireLAN(l *loader) { l.requireLAN = true }

// OnlyLAN is the LAN of the command line, see Config.WithLAN. The empty name changes nothing.
func OnlyLAN(iface string) Option { return func(l *loader) { l.lan = iface } }

type loader struct {
	*report
	path       string
	createKey  bool
	requireLAN bool
	lan        string
}

// Load reads the file at path as Parse does, and what Parse cannot see: who may read the file, and the key in
// PrivateKeyFile, whose name is relative to the folder of path. An error that is no Errors says that
// path itself cannot be read, or what is wrong with OnlyLAN.
func Load(path string, opts ...Option) (*Config, []Notice, error) {
	f, info, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	return newLoader(path, opts).box(info, f)
}

func newLoader(path string, opts []Option) *loader {
	l := &loader{report: &report{file: path}, path: path}
	for _, o := range opts {
		o(l)
	}
	return l
}

func open(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// box loads the text of a box's file.
func (l *loader) box(info fs.FileInfo, r io.Reader) (*Config, []Notice, error) {
	c, err := parse(l.report, r)
	if err != nil {
		return nil, nil, err // a PathError, it names the file
	}
	if l.lan != "" {
		only, err := c.cfg.WithLAN(l.lan)
		if err != nil {
			return nil, nil, err
		}
		c.cfg = *only
	}
	l.guardSecrets(info, c.raw)
	l.checkLAN(c)
	if l.readKey(c) { // last: it makes a key only if nothing is wrong
		key := c.cfg.Interface.PrivateKey
		public := key.Public()
		for i, p := range c.cfg.Peers {
			if err := c.checkNotOwn(p.PublicKey, key, public); err != nil && given(c.raw.peers[i].publicKey) {
				l.errorf(c.raw.peers[i].publicKey.line, "PublicKey: %v", err)
			}
		}
	}
	notices, err := l.done()
	if err != nil {
		return nil, notices, err
	}
	return &c.cfg, notices, nil
}

const (
	noLAN    = "no [LAN] section: add [LAN] with Interface = BRIDGE, or give --lan BRIDGE"
	needsLAN = "no [LAN] section: run needs --lan IFACE with this file, or add [LAN] with Interface = BRIDGE"
)

func (l *loader) checkLAN(c *checker) {
	switch {
	case len(c.raw.lans) > 0 || l.lan != "" || c.raw.last == 0:
	case l.requireLAN:
		l.errorf(c.raw.last, noLAN)
	default:
		l.noticef(c.raw.last, needsLAN)
	}
}

// othersMayAccess are the permissions that a file with a key must not have: reading gives the key
// away, writing lets another key in.
const othersMayAccess fs.FileMode = 0o066

func (l *loader) guardSecrets(info fs.FileInfo, raw rawFile) {
	if info.Mode()&othersMayAccess == 0 {
		return
	}
	guard := func(key string, v *value) {
		if v != nil {
			l.errorf(v.line, "%s: group or others may read or write this file (mode %04o): chmod 600 %s", key, info.Mode().Perm(), shellWord(l.path))
		}
	}
	if raw.iface != nil {
		guard("PrivateKey", raw.iface.privateKey)
	}
	for _, p := range raw.peers {
		guard("PresharedKey", p.presharedKey)
	}
	for _, s := range raw.sites {
		if s.presharedKey != nil {
			guard("PresharedKey", s.presharedKey)
			break // one says it for all
		}
	}
}

// readKey reads the key file, and makes it if that is asked and the rest of the file is right. It says whether there is
// a key now that was not in the text.
func (l *loader) readKey(c *checker) bool {
	if c.raw.iface == nil || !given(c.raw.iface.privateKeyFile) || c.raw.iface.privateKey != nil {
		return false
	}
	line := c.raw.iface.privateKeyFile.line
	path := c.raw.iface.privateKeyFile.text
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.path), path)
	}
	c.cfg.Interface.PrivateKeyFile = path
	key, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = l.missingKey(c.end, line, path)
	}
	if err != nil {
		l.errorf(line, "PrivateKeyFile: %v%s", err, asRoot(err, os.Geteuid()))
		return false
	}
	c.cfg.Interface.PrivateKey = key
	return !key.IsZero()
}

// asRoot is what to do about an error, empty if root gets it too.
func asRoot(err error, euid int) string {
	if euid == 0 || !errors.Is(err, fs.ErrPermission) { // EACCES or EPERM
		return ""
	}
	return ": run it as root"
}

func (l *loader) missingKey(end string, line int, path string) (wgkey.Private, error) {
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return wgkey.Private{}, fmt.Errorf("%s: the folder does not exist: mkdir -m 700 %s", path, shellWord(folder))
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSymlink == 0 {
			return readKeyFile(path) // another start has just made it
		}
		return wgkey.Private{}, fmt.Errorf("%s is a symbolic link to nowhere: remove it", path)
	}
	if !l.createKey || len(l.errors) > 0 {
		command := "run"
		if end != "box" {
			command = end
		}
		l.noticef(line, `PrivateKeyFile: %s does not exist yet: "oasis6 %s" makes it with a new key`, path, command)
		return wgkey.Private{}, nil
	}
	key := wgkey.GeneratePrivate()
	err := writeKeyFile(path, key)
	if errors.Is(err, fs.ErrExist) {
		return readKeyFile(path) // another start was faster; its key is the key
	}
	if err != nil {
		return wgkey.Private{}, fmt.Errorf("cannot make the missing key file: %w", err)
	}
	l.noticef(line, "PrivateKeyFile: %s made with a new key; its public key is %s", path, key.Public())
	return key, nil
}

// maxKeyFile is a key with room for stray blank lines.
const maxKeyFile = 256

func readKeyFile(path string) (wgkey.Private, error) {
	// Without O_NONBLOCK a FIFO would stop the start until somebody writes.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return wgkey.Private{}, err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	info, err := f.Stat()
	switch {
	case err != nil:
		return wgkey.Private{}, err
	case !info.Mode().IsRegular():
		return wgkey.Private{}, fmt.Errorf("%s is not a regular file", path)
	case info.Mode()&othersMayAccess != 0:
		return wgkey.Private{}, fmt.Errorf("%s: group or others may read or write it (mode %04o): chmod 600 %s", path, info.Mode().Perm(), shellWord(path))
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return wgkey.Private{}, err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return wgkey.Private{}, fmt.Errorf("%s is empty: remove it, and a new key is made", path)
	}
	key, err := wgkey.ParsePrivate(text)
	if err == nil && (key.IsZero() || len(b) > maxKeyFile) {
		err = errors.New("this is no key")
	}
	if err != nil {
		return wgkey.Private{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// writeKeyFile makes path with the whole key in it, or not at all. An existing path stays as it is
// (fs.ErrExist): link, unlike rename, never replaces.
func writeKeyFile(path string, key wgkey.Private) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".oasis6-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.WriteString(key.Reveal() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// shellWord quotes a file name so that the command in a message can be pasted.
func shellWord(s string) string {
	if strings.HasPrefix(s, "-") {
		s = "./" + s
	}
	plain := func(r rune) bool { return !isLDH(r) && !strings.ContainsRune("/.+:@", r) }
	if s != "" && !strings.ContainsFunc(s, plain) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
