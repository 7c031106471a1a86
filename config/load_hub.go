// SPDX-License-Identifier: MIT

package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
)

// File is a file that has been read, but not looked at. What it is a file of shows only then, and a pipe can be read only
// once.
type File struct {
	path string
	info fs.FileInfo
	data []byte
}

// Read reads the file at path, whatever it holds.
func Read(path string) (*File, error) {
	f, info, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	data, err := io.ReadAll(io.LimitReader(f, maxHubFile+1))
	if err != nil {
		return nil, err // a PathError, it names the file
	}
	return &File{path, info, data}, nil
}

// IsHub says whether it is the file of a hub, for LoadHub: it has a [Hub].
func (f *File) IsHub() bool {
	lines, _, err := readLines(bytes.NewReader(f.data), maxHubFile)
	return err == nil && hubLine(lines) != 0
}

// Load is the function Load of this file.
func (f *File) Load(opts ...Option) (*Config, []Notice, error) {
	return newLoader(f.path, opts).box(f.info, bytes.NewReader(f.data))
}

// LoadHub is the function LoadHub of this file.
func (f *File) LoadHub(opts ...Option) (*HubConfig, []Notice, error) {
	l := newLoader(f.path, opts)
	if l.lan != "" {
		return nil, nil, errors.New("--lan: this is the file of a hub, which has no LANs")
	}
	c, err := parseHub(l.report, bytes.NewReader(f.data))
	if err != nil {
		return nil, nil, err
	}
	l.guardSecrets(f.info, c.raw)
	l.readKey(&c.checker) // it makes a key only if nothing else is wrong
	c.notOwn()
	notices, err := l.done()
	if err != nil {
		return nil, notices, err
	}
	return c.config(), notices, nil
}

// LoadHub is Load for the file of a hub. RequireLAN changes nothing.
func LoadHub(path string, opts ...Option) (*HubConfig, []Notice, error) {
	f, err := Read(path)
	if err != nil {
		return nil, nil, err
	}
	return f.LoadHub(opts...)
}
