// SPDX-License-Identifier: MIT

package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// ReadFrom is Read of what has no place on disk: nobody else can read it there, and a PrivateKeyFile is relative to the
// current folder.
func ReadFrom(name string, r io.Reader) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxHubFile+1))
	if err != nil {
		return nil, err
	}
	return &File{name, private{}, data}, nil
}

// LoadTry is Load of a box's file that is only tried: no [LAN] is missed, and a wg-quick file is taken as Import takes it.
// One that nothing makes a file of ours may be as the broker's page left it on disk: that others may read it is a notice.
func (f *File) LoadTry() (*Config, []Notice, error) {
	brokers := f.isBrokers()
	cfg, notices, err := f.tried(bytes.NewReader(f.data), brokers)
	if wrong := (Errors)(nil); errors.As(err, &wrong) {
		text, said, problem := Import(f.path, bytes.NewReader(f.data))
		switch {
		case problem == nil:
			cfg, notices, err = f.tried(strings.NewReader(text), brokers)
			notices = slices.DeleteFunc(notices, func(n Notice) bool { return slices.Contains(said, n) }) // Import has parsed it, too
			notices = append(said, notices...)
		case brokers:
			notices, err = said, problem
		}
	}
	if brokers {
		notices = append(notices, f.open()...)
	}
	return cfg, notices, err
}

// tried is box of a text of this file, for which no LAN is missed.
func (f *File) tried(r io.Reader, brokers bool) (*Config, []Notice, error) {
	info := f.info
	if brokers {
		info = private{}
	}
	cfg, notices, err := newLoader(f.path, nil).box(info, r)
	return cfg, slices.DeleteFunc(notices, func(n Notice) bool { return n.Message == needsLAN }), err
}

// open is what guardSecrets has against a broker's file.
func (f *File) open() []Notice {
	l := newLoader(f.path, nil)
	if c, err := parse(&report{}, bytes.NewReader(f.data)); err == nil {
		l.guardSecrets(f.info, c.raw)
	}
	return l.errors
}

// private is a file that nobody else may read.
type private struct{ fs.FileInfo }

func (private) Mode() fs.FileMode { return 0o600 }

// isBrokers says whether the file has no more than what wg-quick knows.
func (f *File) isBrokers() bool {
	lines, problem, err := readLines(bytes.NewReader(f.data), maxFile)
	if err != nil || problem != "" {
		return false
	}
	raw := readRaw(&report{}, lines, sections(), openBox)
	ours := len(raw.lans) > 0 || raw.prefix != nil || raw.router != nil || raw.iface != nil && raw.iface.privateKeyFile != nil
	return !ours
}
