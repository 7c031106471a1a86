// SPDX-License-Identifier: MIT

package router

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"oasis6/internal/bucket"
	"oasis6/internal/wholefile"
)

// Files are the files of the state folder, by name.
type Files interface {
	// Read is the file's content, nil if there is none.
	Read(name string) ([]byte, error)
	// Write replaces the file whole, and that outlasts a power cut: a Reconfigure that was acted upon must not be taken again.
	Write(name string, data []byte) error
	// SetAside keeps a damaged file for a person to look at, out of the way; the error is cause and says so.
	SetAside(name string, cause error) error
}

// stateFile is one file of the state folder.
type stateFile struct {
	in   Files
	name string
}

func (f stateFile) read() ([]byte, error)      { return f.in.Read(f.name) }
func (f stateFile) write(data []byte) error    { return f.in.Write(f.name, data) }
func (f stateFile) setAside(cause error) error { return f.in.SetAside(f.name, cause) }

// folder is Files on a disk.
type folder string

// Read also removes what a process that was killed while it wrote has left.
func (d folder) Read(name string) ([]byte, error) {
	all, _ := os.ReadDir(string(d)) // without the folder there is no file either
	for _, e := range all {
		if rest, ok := strings.CutPrefix(e.Name(), "."+name); ok && strings.Trim(rest, "0123456789") == "" {
			_ = os.Remove(filepath.Join(string(d), e.Name())) // it is only in the way
		}
	}
	data, err := os.ReadFile(filepath.Join(string(d), name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return data, nil
}

// SetAside renames it.
func (d folder) SetAside(name string, cause error) error {
	path := filepath.Join(string(d), name)
	bad := path + ".bad"
	if err := os.Rename(path, bad); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("%s is damaged and now called %s: %w", path, bad, cause)
}

// Write makes the folder if it is not there.
func (d folder) Write(name string, data []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(string(d), name), data)
}

// reportSave keeps in last why a file could not be written, for the status, and logs the first failure of a row.
func (r *Router) reportSave(last *string, err error, msg string) {
	if err == nil {
		*last = ""
		return
	}
	if *last == "" {
		r.journal.Warn(msg, "err", err.Error())
	}
	*last = err.Error()
}

// wear spares the flash of changes that come by the second: so many are written at once, and then one for
// each refill.
type wear struct{ bucket.Bucket }

func newWear(burst int, refill time.Duration) wear {
	return wear{bucket.Bucket{Burst: burst, Every: refill}}
}

// atOnce is now as long as the budget lasts, else when there will be some again.
func (w *wear) atOnce(now time.Time) time.Time {
	if w.Take(now, 1) {
		return now
	}
	return w.Next()
}
