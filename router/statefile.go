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

// stateFile is one file of the state folder: written whole, set aside when it is damaged.
type stateFile struct{ dir, name string }

func (f stateFile) path() string { return filepath.Join(f.dir, f.name) }

// read is the file's content, nil if there is none. What a process that was killed while it wrote has left goes.
func (f stateFile) read() ([]byte, error) {
	all, _ := os.ReadDir(f.dir) // without the folder there is no file either
	for _, e := range all {
		if rest, ok := strings.CutPrefix(e.Name(), "."+f.name); ok && strings.Trim(rest, "0123456789") == "" {
			_ = os.Remove(filepath.Join(f.dir, e.Name())) // it is only in the way
		}
	}
	data, err := os.ReadFile(f.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return data, nil
}

// setAside keeps a damaged file for a person to look at, out of the way; the error says so.
func (f stateFile) setAside(cause error) error {
	bad := f.path() + ".bad"
	if err := os.Rename(f.path(), bad); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("%s is damaged and now called %s: %w", f.path(), bad, cause)
}

// write replaces the file, and that outlasts a power cut: a Reconfigure that was acted upon must not be taken again.
func (f stateFile) write(data []byte) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	return wholefile.Write(f.path(), data)
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
