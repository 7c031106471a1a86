// SPDX-License-Identifier: MIT

// Package wholefile replaces files so that a crash leaves the old one or the new one, whole.
//
// The folder must be there. What is written may hold keys: only its owner may read it. Start at Write.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write makes data the content of the file. A rename that went through outlasts a power cut. A file of that name gives way
// with its mode and owner; a symbolic link is replaced, never followed. After an error the old file stands, but if
// syncing the folder failed.
func Write(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)) // mode 0600
	if err != nil {
		return steady(path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the error that counts is there already
		return steady(path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// steady leaves the random name of the temporary file out of an error: the same fault must give the same text, or it is
// logged anew each time.
func steady(path string, err error) error {
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return &os.PathError{Op: pe.Op, Path: path, Err: pe.Err}
	case errors.As(err, &le):
		return &os.PathError{Op: le.Op, Path: path, Err: le.Err}
	}
	return err
}
